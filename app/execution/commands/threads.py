"""Commands of a task's thread: post, redact, follow (MSG-1 to MSG-3, SUB-1, PII-4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.moving import assignees_of
from app.execution.rules.threads import mentions_in, message_fault, plan_text, progress_text, quote, ready
from app.execution.standing import is_agent
from app.governance.policy import ActionType
from app.governance.policy.gate import gate
from app.governance.policy.risk import redact
from app.registry.commands import mode_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject, JsonObjects
from db.enums import (
    AuditSeverity,
    InstanceState,
    MessageType,
    OperatorStatus,
    OpEventType,
    PolicyVerdict,
)
from db.ids import created_at, new_id
from db.models import AgentInstance, Message, Operator, Task, ThreadSubscription

MENTION: Final = "MENTION"
"""Notification event of somebody who was called (MSG-2)."""
MESSAGE_POSTED: Final = "MESSAGE_POSTED"
"""Notification event of a new message, for those who follow the thread (SUB-1)."""
MAY_SPEAK: Final = (InstanceState.ACTIVE, InstanceState.READONLY, InstanceState.DRAINING)
"""INS-4. The states in which an agent says anything."""
_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_NO_TASK: Final = "No such task."


async def refuse_agent(uow: UnitOfWork, project_id: UUID | None) -> Refused | None:
    """EMG-2, INS-4. Why the agent that asks may not speak now; nothing stands in a person's way."""
    if not is_agent(uow):
        return None
    state = uow.actor.instance_state
    if state not in MAY_SPEAK:
        message = f"The agent is {state}: one that is {', '.join(MAY_SPEAK)} takes part."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    mode = await mode_of(uow, project_id)
    if gate(mode, ActionType.MESSAGE, uow.actor_type) is not PolicyVerdict.ALLOW:
        return Refused(Refusal.DEPENDENCY_NOT_MET, f"The emergency mode is {mode.value}: agents are silent (EMG-2).")
    return None


async def visible_task(uow: UnitOfWork, task_id: UUID) -> Task | Refused:
    """The task, where the caller may take part in it; an agent in those of its own project alone (RBAC-11)."""
    task = await uow.get(Task, task_id)
    if task is None or (is_agent(uow) and task.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, _NO_TASK, "task_id")
    uow.permit(project_id=task.project_id, instance_id=uow.actor.id if is_agent(uow) else None)
    return task


@command("write:messages", OpEventType.MESSAGE_SENT, callers=_AGENT_OR_PERSON)
async def post_message(
    uow: UnitOfWork,
    task_id: UUID,
    content: str | None = None,
    type: MessageType | None = None,
    mentions: Sequence[str] | None = None,
    artifacts: JsonObjects | None = None,
    reply_to_id: UUID | None = None,
    progress_percent: int | None = None,
    thread_ref: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """MSG-1 to MSG-3. Post to a task's thread; whoever is called with @ is told, and so are those who follow it.

    Secrets are taken out of what others than its author and the people who work on tasks see (PII-4).
    """
    task = await visible_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if (known := await _known(uow)) is not None:
        return Done(known, is_replay=True)
    kind = type or MessageType.COMMENT
    text = _text(task, kind, ready(content), progress_percent)
    if isinstance(text, Refused):
        return text
    if refused := _refuse_artifacts(kind, artifacts):
        return refused
    if refused := await _refuse_reply(uow, task, reply_to_id):
        return refused
    if refused := await refuse_agent(uow, task.project_id):
        return refused
    names = mentions_in(text, mentions or ())
    safe = redact(text)
    message = uow.add(
        Message(
            project_id=task.project_id,
            idempotency_key=_key(uow),
            task_id=task.id,
            author_type=uow.actor_type,
            author_instance_id=uow.actor.id if is_agent(uow) else None,
            author_operator_id=uow.actor.id if uow.actor.kind is ActorKind.OPERATOR else None,
            type=kind,
            content=text,
            content_redacted=None if safe == text else safe,
            redacted_fields=None if safe == text else ["content"],
            artifacts=artifacts,
            mentions=names or None,
            reply_to_id=reply_to_id,
            thread_ref=thread_ref,
            metadata_=metadata,
        )
    )
    await uow.session.flush()
    await _tell(uow, task, message, names, safe)
    uow.emit(
        OpEventType.MESSAGE_SENT,
        instance_id=message.author_instance_id,
        project_id=task.project_id,
        task_id=task.id,
        payload={"messageId": str(message.id), "messageType": kind.value},
    )
    return Done(message)


def _key(uow: UnitOfWork) -> str | None:
    """A key means something for its author alone; the column is unique in the tenant."""
    return None if uow.key is None else f"{uow.actor.id.hex}:{uow.key}"


async def _known(uow: UnitOfWork) -> Message | None:
    """The message that the key posted before, however long ago."""
    if (key := _key(uow)) is None:
        return None
    found = select(Message).where(Message.tenant_id == uow.tenant_id, Message.idempotency_key == key)
    return (await uow.session.scalars(found)).first()


def _text(task: Task, kind: MessageType, text: str, percent: int | None) -> str | Refused:
    """MSG-3. What is stored; a plan without words is the task's own."""
    if kind is MessageType.SYSTEM:
        return Refused(Refusal.VALIDATION_ERROR, "SYSTEM notes are the gateway's own.", "type")
    if (percent is not None) is not (kind is MessageType.PROGRESS):
        message = "`progressPercent` goes with PROGRESS, and PROGRESS with it."
        return Refused(Refusal.VALIDATION_ERROR, message, "progress_percent")
    if percent is not None:
        if not 0 <= percent <= 100:
            return Refused(Refusal.VALIDATION_ERROR, "It is 0 to 100.", "progress_percent")
        text = progress_text(percent, text)
    if kind is MessageType.WORK_PLAN and not text and task.work_plan:
        text = ready(plan_text(task.work_plan))
    fault = message_fault(text)
    return text if fault is None else Refused(Refusal.VALIDATION_ERROR, fault, "content")


def _refuse_artifacts(kind: MessageType, artifacts: JsonObjects | None) -> Refused | None:
    if kind is MessageType.ARTIFACT and not artifacts:
        return Refused(Refusal.VALIDATION_ERROR, "An ARTIFACT hands something over.", "artifacts")
    for position, one in enumerate(artifacts or ()):
        is_complete = bool(one.get("name") and one.get("type"))
        if not is_complete or not (one.get("url") or one.get("content")):
            message = "An artifact has a `name`, a `type`, and a `url` or its `content`."
            return Refused(Refusal.VALIDATION_ERROR, message, f"artifacts[{position}]")
    return None


async def _refuse_reply(uow: UnitOfWork, task: Task, reply_to_id: UUID | None) -> Refused | None:
    if reply_to_id is None:
        return None
    answered = await uow.get(Message, reply_to_id)
    if answered is None or answered.task_id != task.id:
        return Refused(Refusal.NOT_FOUND, "The task's thread has no such message.", "reply_to_id")
    return None


async def _tell(uow: UnitOfWork, task: Task, message: Message, names: Sequence[str], safe: str) -> None:
    """MSG-2, SUB-1. Who is called hears of it, once; who follows the thread hears of it otherwise."""
    agents, people = await _called(uow, task, names)
    await follow(uow, task, [*await assignees_of(uow, task.id), *agents])
    about = {
        "messageId": str(message.id),
        "fromInstanceId": None if message.author_instance_id is None else str(message.author_instance_id),
        "fromOperatorId": None if message.author_operator_id is None else str(message.author_operator_id),
        "summary": quote(safe),
    }
    if agents or people:
        uow.notify(
            MENTION,
            task,
            {**about, "instanceIds": [str(one) for one in agents], "operatorIds": [str(one) for one in people]},
        )
    silent = [*agents, *([message.author_instance_id] if message.author_instance_id else [])]
    uow.notify(MESSAGE_POSTED, task, {**about, "exceptIds": [str(one) for one in silent]})


async def _called(uow: UnitOfWork, task: Task, names: Sequence[str]) -> tuple[list[UUID], list[UUID]]:
    """The agents of the project and the people of the tenant that bear these names exactly; never the author."""
    if not names:
        return [], []
    agents = select(AgentInstance.id).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.project_id == task.project_id,
        AgentInstance.name.in_(names),
        AgentInstance.state != InstanceState.RETIRED,
        AgentInstance.id != uow.actor.id,
    )
    people = select(Operator.id).where(
        Operator.tenant_id == uow.tenant_id,
        Operator.name.in_(names),
        Operator.status == OperatorStatus.ACTIVE,
        Operator.id != uow.actor.id,
    )
    return (
        list(await uow.session.scalars(agents.order_by(AgentInstance.id))),
        list(await uow.session.scalars(people.order_by(Operator.id))),
    )


async def follow(uow: UnitOfWork, task: Task, instance_ids: Iterable[UUID]) -> list[UUID]:
    """SUB-1. Let agents follow a task's thread; who does already goes on. Gives those who are new."""
    rows = [
        {
            "tenant_id": uow.tenant_id,
            "id": (row_id := new_id(uow.now)),
            "created_at": created_at(row_id),
            "project_id": task.project_id,
            "task_id": task.id,
            "instance_id": instance_id,
            "subscribed_at": uow.now,
        }
        for instance_id in sorted(set(instance_ids))
    ]
    if not rows:
        return []
    statement = insert(ThreadSubscription).values(rows).on_conflict_do_nothing()
    return list(await uow.session.scalars(statement.returning(ThreadSubscription.instance_id)))


@command("write:messages", "MESSAGE_REDACTED", callers=_AGENT_OR_PERSON)
async def redact_message(
    uow: UnitOfWork, message_id: UUID, content_redacted: str | None = None, reason: str | None = None
) -> Done | Refused:
    """PII-4. Give a message a safe text, which is all that others than its author and the people who work on tasks see;
    without one the secrets are taken out of it. Its author may, and who holds `write:tasks` as well."""
    message = await uow.lock(Message, message_id)
    if message is None or (is_agent(uow) and message.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, "No such message.", "message_id")
    uow.permit(project_id=message.project_id, instance_id=uow.actor.id if is_agent(uow) else None)
    if uow.actor.id not in (message.author_instance_id, message.author_operator_id):
        uow.permit(project_id=message.project_id, permission="write:tasks")
    safe = ready(content_redacted) if content_redacted is not None else redact(message.content)
    if fault := message_fault(safe):
        return Refused(Refusal.VALIDATION_ERROR, fault, "content_redacted")
    if safe in (message.content, message.content_redacted):
        text = "Nothing in it looks like a secret. Give the text that others shall see."
        return Refused(Refusal.VALIDATION_ERROR, text, "content_redacted")
    message.content_redacted = safe
    message.redacted_fields = sorted({*(message.redacted_fields or ()), "content"})
    uow.audit(
        "MESSAGE_REDACTED",
        resource=Message.__name__,
        resource_id=message.id,
        severity=AuditSeverity.INFO,
        description=reason,
        metadata={"taskId": str(message.task_id)},
    )
    return Done(message)


@command("write:messages", "THREAD_FOLLOWED", callers=_AGENT_OR_PERSON)
async def subscribe_thread(uow: UnitOfWork, task_id: UUID, instance_id: UUID) -> Done | Refused:
    """SUB-1. Let an agent follow a task's thread; once it does, nothing changes. An agent follows for itself."""
    found = await _follower(uow, task_id, instance_id)
    if isinstance(found, Refused):
        return found
    task, instance = found
    if await follow(uow, task, [instance.id]):
        uow.audit("THREAD_FOLLOWED", resource=Task.__name__, resource_id=task.id, metadata=_who(instance))
    return Done(task)


@command("write:messages", "THREAD_LEFT", callers=_AGENT_OR_PERSON)
async def unsubscribe_thread(uow: UnitOfWork, task_id: UUID, instance_id: UUID) -> Done | Refused:
    """SUB-1. Let an agent follow a task's thread no longer; called by name it is told all the same."""
    found = await _follower(uow, task_id, instance_id)
    if isinstance(found, Refused):
        return found
    task, instance = found
    link = select(ThreadSubscription).where(
        ThreadSubscription.tenant_id == uow.tenant_id,
        ThreadSubscription.task_id == task.id,
        ThreadSubscription.instance_id == instance.id,
    )
    row = (await uow.session.scalars(link.with_for_update())).first()
    if row is not None:
        await uow.session.delete(row)
        uow.audit("THREAD_LEFT", resource=Task.__name__, resource_id=task.id, metadata=_who(instance))
    return Done(task)


def _who(instance: AgentInstance) -> JsonObject:
    return {"instanceId": str(instance.id)}


async def _follower(uow: UnitOfWork, task_id: UUID, instance_id: UUID) -> tuple[Task, AgentInstance] | Refused:
    task = await visible_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    instance: Any = await uow.get(AgentInstance, instance_id)
    if instance is None or instance.project_id != task.project_id or (is_agent(uow) and instance.id != uow.actor.id):
        return Refused(Refusal.NOT_FOUND, "The task's project has no such agent.", "instance_id")
    return task, instance
