"""The end of a request for approval: decided, expired or withdrawn, with what follows from that (APR-4, APR-13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, case, func, select

from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ActorType, ApprovalDecision, ChangeRecordType, OpEventType
from db.models import AgentInstance, ApprovalRecord, ChangeRecord, Task, ToolCall

APPROVAL_DECIDED: Final = "APPROVAL_DECIDED"
"""Notification event of a request that has ended (NOT-3)."""
OPEN: Final = (ApprovalDecision.PENDING, ApprovalDecision.ESCALATED)
"""The states in which a request can still be decided (APR-4)."""

Effect: TypeAlias = Callable[[UnitOfWork, ApprovalRecord, UUID], Awaitable[None]]
"""What follows once a request has ended; gets the request in its final state, and the id of its record, which is what
caused the effect. The request's agent, task and tool call are locked already."""

EFFECTS: Final[dict[str, Effect]] = {}
"""What the end of a request does, by request type (APR-13). The domains that own the rows fill it."""


async def lock_requests(uow: UnitOfWork, approval_ids: Sequence[UUID]) -> list[ApprovalRecord]:
    """Requests by id, locked, and before them the agents, tasks and tool calls that their end may touch.

    Five statements, however many requests; in the order in which everybody locks.
    """
    table = ApprovalRecord
    is_about_agent = table.target_entity == AgentInstance.__name__
    statement = select(
        table.requester_instance_id,
        case((is_about_agent, table.target_id)).label("about"),
        table.task_id,
        table.tool_call_id,
    ).where(table.tenant_id == uow.tenant_id, table.id.in_(approval_ids))
    seen = list(await uow.session.execute(statement))
    for model, keys in (
        (AgentInstance, {row.requester_instance_id for row in seen} | {row.about for row in seen}),
        (Task, {row.task_id for row in seen}),
        (ToolCall, {row.tool_call_id for row in seen}),
    ):
        await uow.lock_all(model, [key for key in keys if key is not None])
    return await uow.lock_all(table, approval_ids)


def has_expired(uow: UnitOfWork, approval: ApprovalRecord) -> bool:
    """APR-7: open, and strictly past its time; at that very moment a decision still counts."""
    return approval.status in OPEN and approval.expires_at is not None and uow.now > approval.expires_at


def about(approval: ApprovalRecord) -> JsonObject:
    """What a request's records and events are about, besides the request."""
    return {
        "project_id": approval.project_id,
        "version_id": approval.version_id,
        "instance_id": approval.requester_instance_id,
    }


def note_stage(
    uow: UnitOfWork, approval: ApprovalRecord, stage: str, change_record_id: UUID | None, **payload: str | int | None
) -> UUID:
    """APR-10. The op event of a step; linked to the record that the step belongs to."""
    return uow.emit(
        OpEventType.DECISION_MADE,
        change_record_id=change_record_id,
        task_id=approval.task_id,
        tool_call_id=approval.tool_call_id,
        payload={"stage": stage, "approvalId": str(approval.id), "requestType": approval.request_type, **payload},
        **about(approval),
    )


async def request_records(uow: UnitOfWork, approval_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """The APPROVAL_REQUESTED record of each request: what a step without a record of its own belongs to."""
    statement = select(ChangeRecord.target_id, ChangeRecord.id).where(
        ChangeRecord.tenant_id == uow.tenant_id,
        ChangeRecord.target_entity == ApprovalRecord.__name__,
        ChangeRecord.target_id.in_(approval_ids),
        ChangeRecord.type == ChangeRecordType.APPROVAL_REQUESTED,
    )
    return {row.target_id: row.id for row in await uow.session.execute(statement)}


async def settle(
    uow: UnitOfWork,
    approval: ApprovalRecord,
    outcome: ApprovalDecision,
    reason: str | None,
    *,
    by_system: bool = False,
    caused_by_id: UUID | None = None,
) -> UUID:
    """End a request: its state, its record, its event, its notification, its effect. Returns the record's id.

    `by_system` for what the caller's command brings about rather than the caller; so does time.
    """
    before, approval.status = approval.status, outcome
    approval.decided_at, approval.decision_reason = uow.now, reason
    decided_by_person = outcome in (ApprovalDecision.APPROVED, ApprovalDecision.DENIED)
    approval.decided_by_operator_id = uow.actor.id if decided_by_person else None
    change_id = uow.record(
        ChangeRecordType.APPROVAL_DECIDED,
        approval,
        before={"status": before.value},
        after={
            "status": outcome.value,
            "decision": outcome.value,
            "requestType": approval.request_type,
            "decisionCount": approval.decision_count,
        },
        reason=reason,
        by_system=by_system or outcome is ApprovalDecision.EXPIRED,
        caused_by_id=caused_by_id,
        **about(approval),
    )
    person = str(uow.actor.id) if uow.actor_type is ActorType.HUMAN and decided_by_person else None
    note_stage(uow, approval, outcome.value, change_id, operatorId=person, reason=reason)
    uow.notify(
        APPROVAL_DECIDED,
        approval,
        {"status": outcome.value, "actionSummary": approval.action_summary, "reason": reason},
    )
    effect = EFFECTS.get(approval.request_type)
    if effect is not None:
        await effect(uow, approval, change_id)
    return change_id


async def withdraw_for_calls(
    uow: UnitOfWork, call_ids: Sequence[UUID], reason: str, caused_by_id: UUID | None = None
) -> dict[UUID, ApprovalRecord]:
    """TOL-2. Withdraw, as the gateway itself, what is still open of the requests that locked tool calls wait for, since
    their run is over. Returns the requests by the ids of their APPROVAL_DECIDED records."""
    waiting = select(ApprovalRecord.id).where(
        ApprovalRecord.tenant_id == uow.tenant_id,
        ApprovalRecord.tool_call_id == func.any(bindparam(None, list(call_ids), ARRAY(Uuid()))),
        ApprovalRecord.status.in_(OPEN),
    )
    withdrawn = {}
    for approval in await uow.lock_all(ApprovalRecord, list(await uow.session.scalars(waiting))):
        if approval.status in OPEN:
            canceled = ApprovalDecision.CANCELED
            change_id = await settle(uow, approval, canceled, reason, by_system=True, caused_by_id=caused_by_id)
            withdrawn[change_id] = approval
    return withdrawn
