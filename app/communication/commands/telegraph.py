"""Commands of the telegraph: conversations, what is said in them, and how far it got (TEL-1 to TEL-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.communication.machines import TELEGRAPH_MESSAGE
from app.communication.rules.telegraph import sending_fault
from app.communication.standing import agents_by_id, linked, place
from app.execution.commands.threads import refuse_agent
from app.execution.rules.threads import ready
from app.execution.standing import is_agent
from app.governance.policy.risk import redact_value
from app.lifecycle import refuse_step
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import OperatorStatus, OpEventType, TelegraphChannel, TelegraphMessageStatus
from db.models import AgentInstance, ApprovalRecord, Operator, Task, TelegraphMessage, TelegraphThread

MOST_PARTICIPANTS: Final = 200
_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_S: Final = TelegraphMessageStatus
_LINKS: Final = {"linked_task_id": Task, "linked_approval_id": ApprovalRecord}


@command("write:telegraph", "TELEGRAPH_THREAD_CREATED")
async def create_telegraph_thread(
    uow: UnitOfWork,
    title: str,
    channel: TelegraphChannel,
    project_id: UUID | None = None,
    participant_ids: Sequence[tuple[str, UUID]] | None = None,
    participant_names: Sequence[str] | None = None,
    external_thread_ref: str | None = None,
    linked_task_id: UUID | None = None,
    linked_approval_id: UUID | None = None,
    linked_incident_id: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """TEL-3, TEL-4. Open a conversation of agents and people, perhaps about a task, an approval or an incident."""
    subject = ready(title)
    if not subject:
        return Refused(Refusal.VALIDATION_ERROR, "A conversation has a subject.", "title")
    if refused := await place(uow, project_id):
        return refused
    people = await _participants(uow, project_id, participant_ids or (), participant_names or ())
    if isinstance(people, Refused):
        return people
    links = {"linked_task_id": linked_task_id, "linked_approval_id": linked_approval_id}
    if refused := await _refuse_links(uow, project_id, links):
        return refused
    thread = uow.add(
        TelegraphThread(
            project_id=project_id,
            title=subject,
            channel=channel,
            participants=people,
            external_thread_ref=external_thread_ref,
            linked_incident_id=linked_incident_id,
            message_count=0,
            metadata_=metadata,
            **links,
        )
    )
    _audit(uow, thread, "TELEGRAPH_THREAD_CREATED", {"channel": channel.value})
    return Done(thread)


async def _participants(
    uow: UnitOfWork, project_id: UUID | None, ids: Sequence[tuple[str, UUID]], names: Sequence[str]
) -> list[str] | Refused:
    """Agents of the project and people of the tenant by id, then names from outside; everybody once."""
    for position, (kind, _) in enumerate(ids):
        if kind not in (AgentInstance.__name__, Operator.__name__):
            return Refused(Refusal.NOT_FOUND, "No such agent or operator.", f"participant_ids[{position}]")
    agents = [row_id for kind, row_id in ids if kind == AgentInstance.__name__]
    wanted = [row_id for kind, row_id in ids if kind == Operator.__name__]
    known = select(Operator.id).where(
        Operator.tenant_id == uow.tenant_id, Operator.id.in_(wanted), Operator.status == OperatorStatus.ACTIVE
    )
    found = set(await uow.session.scalars(known)) if wanted else set()
    here = await agents_by_id(uow, agents, project_id, "participant_ids")
    if isinstance(here, Refused):
        of_agents = [position for position, (kind, _) in enumerate(ids) if kind == AgentInstance.__name__]
        blamed = of_agents[int((here.field or "").removeprefix("participant_ids[").removesuffix("]"))]
        return Refused(here.code, here.message, f"participant_ids[{blamed}]")
    for position, (kind, row_id) in enumerate(ids):
        if kind == Operator.__name__ and row_id not in found:
            return Refused(Refusal.NOT_FOUND, "No such active operator.", f"participant_ids[{position}]")
    outside = [name for one in names if (name := ready(one))]
    return list(dict.fromkeys([*(str(row_id) for _, row_id in ids), *outside]))


@command("write:telegraph", "TELEGRAPH_THREAD_LINKED")
async def link_telegraph_thread(
    uow: UnitOfWork, thread_id: UUID, reason: str | None = None, **links: Any
) -> Done | Refused:
    """TEL-4. Say what a conversation is about: a task, an approval, an incident. What is left out stays, null goes."""
    thread = await uow.lock(TelegraphThread, thread_id)
    if thread is None:
        return _no_thread()
    uow.permit(project_id=thread.project_id)
    if refused := await _refuse_links(uow, thread.project_id, links):
        return refused
    before, after = edit(thread, links)
    _audit(uow, thread, "TELEGRAPH_THREAD_LINKED", {"before": before, "after": after}, reason)
    return Done(thread)


async def _refuse_links(uow: UnitOfWork, project_id: UUID | None, links: Mapping[str, Any]) -> Refused | None:
    for field, model in _LINKS.items():
        found = await linked(uow, model, links.get(field), project_id, field)
        if isinstance(found, Refused):
            return found
    return None


@command("write:telegraph", OpEventType.MESSAGE_SENT, callers=_AGENT_OR_PERSON)
async def send_telegraph_message(
    uow: UnitOfWork,
    thread_id: UUID,
    content: str,
    reply_to_id: UUID | None = None,
    external_ref: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """TEL-1 to TEL-3. Say something in a conversation; the sender takes part in it from then on. What looks like a
    secret is not sent to Telegram, and is taken out of what stays inside.

    Agents write in the conversations of their own project.
    """
    thread = await _thread(uow, thread_id)
    if isinstance(thread, Refused):
        return thread
    text = ready(content)
    if fault := sending_fault(thread.channel, text):
        return Refused(Refusal.VALIDATION_ERROR, fault, "content")
    if reply_to_id is not None:
        answered = await uow.get(TelegraphMessage, reply_to_id)
        if answered is None or answered.thread_id != thread.id:
            return Refused(Refusal.NOT_FOUND, "The conversation has no such message.", "reply_to_id")
    if refused := await refuse_agent(uow, thread.project_id):
        return refused
    message = uow.add(
        TelegraphMessage(
            project_id=thread.project_id,
            thread_id=thread.id,
            sender_type=uow.actor_type,
            sender_instance_id=uow.actor.id if is_agent(uow) else None,
            sender_operator_id=uow.actor.id if uow.actor.kind is ActorKind.OPERATOR else None,
            content=redact_value(text),
            reply_to_id=reply_to_id,
            channel=thread.channel,
            external_ref=external_ref,
            status=_S.SENT,
            metadata_=metadata,
        )
    )
    _count(uow, thread, message)
    _emit_sent(uow, thread, message)
    return Done(message, {"message_id": str(message.id)})


@command("write:telegraph", OpEventType.MESSAGE_SENT)
async def resend_telegraph_message(
    uow: UnitOfWork, message_id: UUID, expected_status: TelegraphMessageStatus | None = None
) -> Done | Refused:
    """TEL-1, TEL-2. Send what failed, or what was only written, under the same rules as anything that is sent."""
    found = await _step(uow, message_id, _S.SENT, expected_status)
    if isinstance(found, Refused):
        return found
    thread, message = found
    if fault := sending_fault(message.channel, message.content):
        return Refused(Refusal.VALIDATION_ERROR, fault, "message_id")
    if message.status is _S.DRAFT:
        _count(uow, thread, message)
    message.status = _S.SENT
    _emit_sent(uow, thread, message)
    return Done(message)


@command("write:telegraph", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def mark_telegraph_message_read(
    uow: UnitOfWork, message_id: UUID, expected_status: TelegraphMessageStatus | None = None
) -> Done | Refused:
    """TEL-1. Say that a message was read, by somebody else than its sender; an agent takes part in the conversation."""
    found = await _step(uow, message_id, _S.READ, expected_status)
    if isinstance(found, Refused):
        return found
    thread, message = found
    if uow.actor.id in (message.sender_instance_id, message.sender_operator_id):
        return Refused(Refusal.DEPENDENCY_NOT_MET, "It is your own; others read it.", "message_id")
    if is_agent(uow) and str(uow.actor.id) not in thread.participants:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The agent takes no part in this conversation.", "message_id")
    if refused := await refuse_agent(uow, thread.project_id):
        return refused
    return _arrive(uow, thread, message, _S.READ)


@command("write:telegraph", OpEventType.DECISION_MADE)
async def mark_telegraph_message_delivered(
    uow: UnitOfWork,
    message_id: UUID,
    external_ref: str | None = None,
    expected_status: TelegraphMessageStatus | None = None,
) -> Done | Refused:
    """TEL-1. Say that the channel has confirmed a message, and what the message is called there."""
    found = await _step(uow, message_id, _S.DELIVERED, expected_status)
    if isinstance(found, Refused):
        return found
    thread, message = found
    if external_ref is not None:
        message.external_ref = external_ref
    return _arrive(uow, thread, message, _S.DELIVERED)


@command("write:telegraph", OpEventType.DECISION_MADE)
async def mark_telegraph_message_failed(
    uow: UnitOfWork, message_id: UUID, reason: str, expected_status: TelegraphMessageStatus | None = None
) -> Done | Refused:
    """TEL-1. Say that the channel has refused a message, and why; it may be sent again."""
    found = await _step(uow, message_id, _S.FAILED, expected_status)
    if isinstance(found, Refused):
        return found
    thread, message = found
    why = redact_value(ready(reason))
    if not why:
        return Refused(Refusal.VALIDATION_ERROR, "Say why it failed.", "reason")
    message.metadata_ = {**(message.metadata_ or {}), "failureReason": why}
    return _arrive(uow, thread, message, _S.FAILED)


# --- what they have in common -----------------------------------------------------------------------------------------


def _no_thread() -> Refused:
    return Refused(Refusal.NOT_FOUND, "No such conversation.", "thread_id")


async def _thread(uow: UnitOfWork, thread_id: UUID) -> TelegraphThread | Refused:
    """The conversation, locked, where the caller may write in it (RBAC-11)."""
    thread = await uow.lock(TelegraphThread, thread_id)
    if thread is None or (is_agent(uow) and thread.project_id != uow.actor.project_id):
        return _no_thread()
    uow.permit(project_id=thread.project_id, instance_id=uow.actor.id if is_agent(uow) else None)
    return thread


async def _step(
    uow: UnitOfWork, message_id: UUID, to: TelegraphMessageStatus, expected: TelegraphMessageStatus | None
) -> tuple[TelegraphThread, TelegraphMessage] | Refused:
    """The conversation and the message, locked in this order, where the table lets the message go there."""
    missing = Refused(Refusal.NOT_FOUND, "No such message.", "message_id")
    known = await uow.get(TelegraphMessage, message_id)
    if known is None:
        return missing
    thread = await _thread(uow, known.thread_id)
    message = await uow.lock(TelegraphMessage, message_id)
    if isinstance(thread, Refused) or message is None:
        return missing
    refused = refuse_step(
        TELEGRAPH_MESSAGE, message.status, to, uow.actor_type, expected, expected_field="expected_status"
    )
    if refused is not None:
        field = "message_id" if refused.field == "to" else refused.field
        return Refused(refused.code, refused.message, field, refused.allowed)
    return thread, message


def _count(uow: UnitOfWork, thread: TelegraphThread, message: TelegraphMessage) -> None:
    """TEL-3. One message more, its sender among those who take part."""
    thread.message_count += 1
    # Of two that waited for the thread, the one that began first may write last.
    thread.last_message_at = max(thread.last_message_at or uow.now, uow.now)
    sender = message.sender_instance_id or message.sender_operator_id
    if sender is not None and str(sender) not in thread.participants:
        thread.participants = [*thread.participants, str(sender)]


def _emit_sent(uow: UnitOfWork, thread: TelegraphThread, message: TelegraphMessage) -> None:
    uow.emit(
        OpEventType.MESSAGE_SENT,
        instance_id=message.sender_instance_id,
        project_id=thread.project_id,
        task_id=thread.linked_task_id,
        payload={"telegraphMessageId": str(message.id), "channel": message.channel.value},
    )


def _arrive(uow: UnitOfWork, thread: TelegraphThread, message: TelegraphMessage, to: TelegraphMessageStatus) -> Done:
    message.status = to
    uow.emit(
        OpEventType.DECISION_MADE,
        instance_id=uow.actor.id if is_agent(uow) else None,
        project_id=thread.project_id,
        task_id=thread.linked_task_id,
        payload={"stage": f"TELEGRAPH_MESSAGE_{to.value}", "telegraphMessageId": str(message.id)},
    )
    return Done(message, {"message_id": str(message.id)})


def _audit(
    uow: UnitOfWork, thread: TelegraphThread, action: str, metadata: JsonObject, description: str | None = None
) -> None:
    uow.audit(
        action,
        resource=TelegraphThread.__name__,
        resource_id=thread.id,
        description=description,
        metadata=metadata,
    )
