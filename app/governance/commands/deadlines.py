"""What time does to approvals: raised while they wait, ended when they are due. The jobs run these (APR-7, APR-8)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.governance.deciding import OPEN, has_expired, lock_requests, note_stage, request_records, settle
from app.governance.rules import HIGHEST_ESCALATION
from app.unit_of_work import UnitOfWork
from db.enums import AlertSeverity, ApprovalDecision, AuditSeverity, ChangeRecordType, OpEventType
from db.models import ApprovalRecord

APPROVAL_ESCALATED: Final = "APPROVAL_ESCALATED"
"""Notification event of a request that was raised; `level` 1 is for approvers, 2 for admins, 3 for everybody."""
SLA_SETTING: Final = "approvalSlaMinutes"
"""Key of a tenant's settings: minutes that a request may wait before it is raised."""
DEFAULT_SLA_MINUTES: Final = 30
BATCH: Final = 200
"""Most requests of one transaction; a job runs the command again as long as `more` is true."""


@command("write:approvals", ChangeRecordType.APPROVAL_DECIDED, callers=(ActorKind.PLATFORM,))
async def expire_approvals(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """APR-7. End every request that is past its time; what waited for it is denied, and its requester is told."""
    ids = await _due(uow, limit, ApprovalRecord.expires_at < uow.now)
    expired = 0
    for approval in await lock_requests(uow, ids):
        if has_expired(uow, approval):
            await settle(uow, approval, ApprovalDecision.EXPIRED, "nobody decided in time")
            expired += 1
    return Done(None, {"expired": expired, "more": len(ids) == limit})


@command("write:approvals", OpEventType.DECISION_MADE, callers=(ActorKind.PLATFORM,))
async def escalate_approvals(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """APR-8. Raise every request that waits for longer than the tenant's limit, one level for each such span."""
    span = await _sla(uow)
    asked = func.coalesce(ApprovalRecord.requested_at, ApprovalRecord.created_at)
    due = [
        or_(
            *(
                and_(ApprovalRecord.escalation_level == level, asked <= uow.now - (level + 1) * span)
                for level in range(HIGHEST_ESCALATION)
            )
        ),
        func.coalesce(ApprovalRecord.expires_at, uow.now) >= uow.now,
    ]
    ids = await _due(uow, limit, *due)
    found = await uow.lock_all(ApprovalRecord, ids)
    raised = [one for one in found if one.status in OPEN and _is_due(one, span, uow.now)]
    records = await request_records(uow, [one.id for one in raised])
    for approval in raised:
        _raise(uow, approval, records.get(approval.id))
    return Done(None, {"escalated": len(raised), "more": len(ids) == limit})


async def _due(uow: UnitOfWork, limit: int, *conditions: ColumnElement[bool]) -> list[UUID]:
    """Ids of open requests that meet the conditions, those that end first in front."""
    statement = (
        select(ApprovalRecord.id)
        .where(ApprovalRecord.tenant_id == uow.tenant_id, ApprovalRecord.status.in_(OPEN), *conditions)
        .order_by(ApprovalRecord.expires_at, ApprovalRecord.id)
        .limit(limit)
    )
    return list(await uow.session.scalars(statement))


async def _sla(uow: UnitOfWork) -> timedelta:
    minutes: Any = ((await uow.tenant()).settings or {}).get(SLA_SETTING)
    is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool) and minutes > 0
    return timedelta(minutes=minutes if is_number else DEFAULT_SLA_MINUTES)


def _age(approval: ApprovalRecord, now: datetime) -> timedelta:
    return now - (approval.requested_at or approval.created_at)


def _is_due(approval: ApprovalRecord, span: timedelta, now: datetime) -> bool:
    """Asked of the locked row once more: somebody may have raised it meanwhile."""
    level = approval.escalation_level
    return level < HIGHEST_ESCALATION and _age(approval, now) >= (level + 1) * span


def _raise(uow: UnitOfWork, approval: ApprovalRecord, record_id: UUID | None) -> None:
    minutes = int(_age(approval, uow.now) / timedelta(minutes=1))
    approval.status = ApprovalDecision.ESCALATED
    approval.escalation_level += 1
    approval.escalated_at, approval.escalated_by_operator_id = uow.now, None
    approval.escalation_reason = f"open for {minutes} minutes"
    level = approval.escalation_level
    note_stage(uow, approval, "ESCALATED", record_id, level=level, reason=approval.escalation_reason)
    uow.audit(
        "APPROVAL_ESCALATED",
        severity=AuditSeverity.WARNING,
        resource=ApprovalRecord.__name__,
        resource_id=approval.id,
        description=f"Raised to level {level}: {approval.escalation_reason}.",
    )
    uow.notify(APPROVAL_ESCALATED, approval, {"level": level, "actionSummary": approval.action_summary})
    if level < HIGHEST_ESCALATION:
        return
    uow.alert(
        "APPROVAL_OVERDUE",
        AlertSeverity.CRITICAL,
        "A request for approval is overdue",
        f"{approval.action_summary} Nobody has decided on it; it is {approval.escalation_reason}.",
        project_id=approval.project_id,
        instance_id=approval.requester_instance_id,
        task_id=approval.task_id,
        about_id=approval.id,
        metadata={"approvalId": str(approval.id)},
    )
