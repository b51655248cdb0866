"""Requests for a decision, with their votes and what both logs say about them (APR-1 to APR-10)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from db.base import Model
from db.canonical import canonical_hash
from db.demo.stage import SYSTEM, Stage, actor, text_of
from db.enums import ApprovalDecision, ChangeRecordType, OpEventType, RiskLevel
from db.models import AgentInstance, AgentVersion, ApprovalRecord, Operator, PolicyEnvelope, Project, Task, ToolCall

_FINAL_BY_A_PERSON: Final = {ApprovalDecision.APPROVED, ApprovalDecision.DENIED}
_TELEMETRY: Final = timedelta(days=28)
_LONGEST: Final = timedelta(days=7)
"""What is open stays open for as long as a request may (APR-6), so that a demo of yesterday still has something to
decide."""
_OPEN: Final = {ApprovalDecision.PENDING, ApprovalDecision.ESCALATED}


def request(
    stage: Stage,
    request_type: str,
    by: Operator | AgentInstance,
    at: datetime,
    target: Model,
    *,
    summary: str,
    why: str,
    risk: RiskLevel,
    status: ApprovalDecision,
    lifetime: timedelta,
    rollback_plan: str | None = None,
    decided_after: timedelta = timedelta(minutes=25),
    voters: list[Operator] | None = None,
    verdict: str | None = None,
    envelope: PolicyEnvelope | None = None,
    project: Project | None = None,
    task: Task | None = None,
    call: ToolCall | None = None,
    version: AgentVersion | None = None,
    cost: Decimal | None = None,
    payload: dict[str, Any] | None = None,
) -> ApprovalRecord:
    """A request made at `at` that reached `status`. `voters` cast the votes: two to approve RED, one to deny; the first
    of two may have voted while the request is still open."""
    needed = 2 if risk is RiskLevel.RED else 1
    row = ApprovalRecord(
        id=stage.id(at),
        request_type=request_type,
        requester_id=by.id if isinstance(by, Operator) else None,
        requester_instance_id=by.id if isinstance(by, AgentInstance) else None,
        target_entity=type(target).__name__,
        target_id=target.id,  # type: ignore[attr-defined]
        action_summary=summary,
        justification=why,
        rollback_plan=rollback_plan,
        risk_level=risk,
        estimated_cost=cost,
        status=status,
        required_decision_count=needed,
        expires_at=at + (_LONGEST if status in _OPEN else lifetime),
        policy_envelope_id=envelope.id if envelope else None,
        project_id=project.id if project else None,
        task_id=task.id if task else None,
        tool_call_id=call.id if call else None,
        version_id=version.id if version else None,
        action_payload=payload,
        requested_at=at,
    )
    stage.add(row)
    row.idempotency_key = canonical_hash({"type": request_type, "target": str(row.target_id), "at": text_of(at)})[:32]
    row.updated_at = at
    asked = stage.change(
        ChangeRecordType.APPROVAL_REQUESTED,
        row,
        at,
        actor(by),
        f"Approval asked for: {summary}",
        after={"status": ApprovalDecision.PENDING.value, "riskLevel": risk.value, "requestType": request_type},
        reason=why,
        project_id=row.project_id,
        instance_id=row.requester_instance_id,
        version_id=row.version_id,
    )
    _tell(stage, row, at, "REQUESTED", by, task, asked)
    if status is ApprovalDecision.ESCALATED:
        _escalate(stage, row, at)
        _tell(stage, row, at + timedelta(minutes=30), "ESCALATED", by, task, asked)
    denied = status is ApprovalDecision.DENIED
    votes = []
    for number, voter in enumerate(voters or []):
        moment = at + decided_after * (number + 1) / len(voters or [])
        reason = verdict or ("Not now." if denied else "Seen and agreed.")
        votes.append(
            {
                "operatorId": str(voter.id),
                "decision": "DENIED" if denied else "APPROVED",
                "reason": reason,
                "at": text_of(moment),
            }
        )
        last = number + 1 == (1 if denied else needed)
        _tell(stage, row, moment, status.value if last else "FIRST_APPROVAL", by, task, asked)
        row.updated_at = moment
    row.decisions = votes or None
    row.decision_count = 0 if denied else len(votes)
    if status in _OPEN:
        return row
    _decide(stage, row, at, at + decided_after, voters or [], verdict)
    return row


def _escalate(stage: Stage, row: ApprovalRecord, at: datetime) -> None:
    """Raised once, by a person."""
    row.escalation_level = 1
    row.escalated_at = at + timedelta(minutes=30)
    row.escalated_by_operator_id = stage.approvers()[-1].id
    row.escalation_reason = "It is wanted today, and nobody has looked at it."
    row.updated_at = row.escalated_at


def _decide(
    stage: Stage, row: ApprovalRecord, at: datetime, decided: datetime, voters: list[Operator], verdict: str | None
) -> None:
    status = row.status
    if status is ApprovalDecision.EXPIRED:
        decided, reason, by = row.expires_at or decided, "Nobody decided in time.", SYSTEM
    elif status is ApprovalDecision.CANCELED:
        reason, by = "The work was given up.", SYSTEM
    else:
        reason, by = verdict or "Seen and agreed.", actor(voters[-1])
        row.decided_by_operator_id = voters[-1].id
    row.decided_at = row.updated_at = decided
    row.decision_reason = reason
    stage.change(
        ChangeRecordType.APPROVAL_DECIDED,
        row,
        decided,
        by,
        f"{status.value.capitalize()}: {row.action_summary}",
        before={"status": ApprovalDecision.PENDING.value},
        after={"status": status.value, "decision": status.value},
        reason=reason,
        project_id=row.project_id,
        instance_id=row.requester_instance_id,
        version_id=row.version_id,
    )


def _tell(
    stage: Stage,
    row: ApprovalRecord,
    at: datetime,
    stage_name: str,
    by: Operator | AgentInstance,
    task: Task | None,
    change: Any,
) -> None:
    if at < stage.now - _TELEMETRY:
        return
    stage.event(
        OpEventType.DECISION_MADE,
        at,
        instance=by if isinstance(by, AgentInstance) else None,
        task=task,
        payload={"stage": stage_name, "approvalId": str(row.id), "risk": row.risk_level},
        change=change,
        project_id=row.project_id,
    )
