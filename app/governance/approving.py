"""Making a request for approval: one way for people, for agents, and for the gateway itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.auth.actor import ActorKind
from app.execution.moving import move_task
from app.governance.rules import LONGEST_REQUEST, approves_itself, request_lifetime, votes_needed
from app.unit_of_work import UnitOfWork
from db.base import JsonObject, Model
from db.enums import ApprovalDecision, ChangeRecordType, OpEventType, RiskLevel, TaskStatus
from db.models import ApprovalRecord, Task

APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
"""Notification event of a request that waits for a decision (NOT-3)."""
GRANT = "grant"
"""Key of a request's metadata: the action that it lets through once (POL-12)."""


@dataclass(frozen=True)
class Requested:
    """A request that was made."""

    approval: ApprovalRecord
    change_id: UUID
    """Its APPROVAL_REQUESTED record."""
    event_id: UUID
    """Its DECISION_MADE event."""


def make_request(
    uow: UnitOfWork,
    request_type: str,
    *,
    action_summary: str,
    justification: str,
    risk_level: RiskLevel | None,
    target: Model | None = None,
    by_system: bool = False,
    instance_id: UUID | None = None,
    may_approve_itself: bool = True,
    expires_at: datetime | None = None,
    required_decision_count: int | None = None,
    estimated_cost: float | None = None,
    project_id: UUID | None = None,
    task_id: UUID | None = None,
    version_id: UUID | None = None,
    evidence_links: Sequence[str] | None = None,
    caused_by_id: UUID | None = None,
    event: JsonObject | None = None,
    grant: JsonObject | None = None,
    metadata: JsonObject | None = None,
    **columns: Any,
) -> Requested:
    """APR-1 to APR-3, APR-6, APR-10, APR-11. Make a request for approval, with its record, event and notification.

    The requester is the caller, and nobody where `by_system` (containment); `instance_id` is the agent that it is for.
    `may_approve_itself` is false where policy itself asks for a person. `event` are further keys of the event's
    payload, `columns` further columns of the row. `grant` is the exact action that an approval lets through once
    (POL-12): policy's own to set, so `metadata` may not bring one. What a person must give (APR-1: a justification, a
    way back for RED) is the asking command's to check.
    """
    latest = uow.now + LONGEST_REQUEST
    target_row: Any = target
    requester = None if by_system else uow.actor.kind
    approval = uow.add(
        ApprovalRecord(
            request_type=request_type,
            requester_id=uow.actor.id if requester is ActorKind.OPERATOR else None,
            requester_instance_id=uow.actor.id if requester is ActorKind.INSTANCE else None,
            target_entity=None if target is None else type(target).__name__,
            target_id=None if target is None else target_row.id,
            action_summary=action_summary,
            justification=justification,
            risk_level=risk_level,
            status=ApprovalDecision.PENDING,
            required_decision_count=votes_needed(risk_level, required_decision_count),
            decision_count=0,
            estimated_cost=estimated_cost,
            expires_at=min(expires_at or uow.now + request_lifetime(request_type), latest),
            evidence_links=None if evidence_links is None else list(evidence_links),
            project_id=project_id,
            task_id=task_id,
            version_id=version_id,
            requested_at=uow.now,
            metadata_=_notes(grant, metadata),
            **columns,
        )
    )
    about: JsonObject = {
        "project_id": project_id,
        "version_id": version_id,
        "instance_id": instance_id or approval.requester_instance_id,
    }
    change_id = uow.record(
        ChangeRecordType.APPROVAL_REQUESTED,
        approval,
        after={
            "status": approval.status.value,
            "requestType": request_type,
            "riskLevel": None if risk_level is None else risk_level.value,
            "requiredDecisionCount": approval.required_decision_count,
        },
        reason=justification,
        summary=action_summary,
        by_system=by_system,
        caused_by_id=caused_by_id,
        **about,
    )
    event_id = uow.emit(
        OpEventType.DECISION_MADE,
        change_record_id=change_id,
        task_id=task_id,
        tool_call_id=approval.tool_call_id,
        payload={"stage": "REQUESTED", "approvalId": str(approval.id), "requestType": request_type, **(event or {})},
        **about,
    )
    if may_approve_itself and approves_itself(request_type, risk_level):
        _approve(uow, approval, change_id, about)
    else:
        uow.notify(APPROVAL_REQUIRED, approval, {"actionSummary": action_summary})
    return Requested(approval, change_id, event_id)


def _notes(grant: JsonObject | None, metadata: JsonObject | None) -> JsonObject | None:
    notes = {name: value for name, value in (metadata or {}).items() if name != GRANT}
    return notes | ({} if grant is None else {GRANT: grant}) or None


async def hold_task(uow: UnitOfWork, task: Task, *, reason: str, caused_by_id: UUID) -> None:
    """TSK-1, POL-10. Put a task that is in progress, and locked, on hold until an approval is decided."""
    if task.status is TaskStatus.IN_PROGRESS:
        await move_task(uow, task, TaskStatus.NEEDS_APPROVAL, reason=reason, by_system=True, caused_by_id=caused_by_id)


def _approve(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID, about: JsonObject) -> None:
    """APR-3. A GREEN request is approved as it is made."""
    approval.status = ApprovalDecision.APPROVED
    approval.decided_at = uow.now
    approval.decision_reason = "auto-approved (GREEN)"
    uow.record(
        ChangeRecordType.APPROVAL_DECIDED,
        approval,
        before={"status": ApprovalDecision.PENDING.value},
        after={"status": approval.status.value},
        reason=approval.decision_reason,
        by_system=True,
        caused_by_id=caused_by_id,
        **about,
    )
