"""What a verdict leaves behind: the row of a tool call, a request for approval, the payload of an event (POL-10)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from app.governance.approving import Requested, make_request
from app.governance.asking import Asked
from app.governance.granting import grant_of
from app.governance.loading import Situation
from app.governance.policy import Decision
from app.governance.policy.risk import preview, redact_value
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import PolicyVerdict, ToolCallStatus
from db.models import AgentInstance, ApprovalRecord, ToolCall

ALLOW, ASK, DENY = PolicyVerdict
_CALL_STATUS: Final = {ALLOW: ToolCallStatus.RUNNING, ASK: ToolCallStatus.PENDING, DENY: ToolCallStatus.DENIED}


def scoped_key(instance_id: UUID | None, key: str | None) -> str | None:
    """A key means something for its instance alone (POL-11); the column is unique in the tenant."""
    return None if instance_id is None or key is None else f"{instance_id.hex}:{key}"


def wanted_grant(found: Situation, asked: Asked) -> JsonObject:
    """The grant that would let this action through (POL-12)."""
    return grant_of(asked.action, asked.hash, instance_id=found.instance_id, task_id=found.task_id)


def request_for(
    uow: UnitOfWork,
    found: Situation,
    asked: Asked,
    decision: Decision,
    approval_id: UUID,
    tool_call_id: UUID | None,
) -> Requested:
    """The request for the approval that the verdict asks for; of several kinds it is of the first."""
    action = asked.action
    what = action.tool or (action.transition_to.value if action.transition_to else action.type.value)
    return make_request(
        uow,
        decision.required[0].type,
        action_summary=f"{action.type.value}: {what} ({decision.risk.value})",
        justification=asked.justification or decision.reason,
        rollback_plan=asked.rollback_plan,
        risk_level=decision.risk,
        target=AgentInstance(id=found.instance_id),
        may_approve_itself=False,
        instance_id=found.instance_id,
        estimated_cost=float(action.estimated_cost) or None,
        project_id=found.project_id,
        task_id=found.task_id,
        version_id=found.version_id,
        id=approval_id,
        tool_call_id=tool_call_id,
        policy_envelope_id=decision.envelope_ids[0] if decision.envelope_ids else None,
        idempotency_key=None
        if uow.key is None or found.instance_id is None
        else scoped_key(found.instance_id, uow.key),
        action_payload={
            "actionType": action.type.value,
            "toolName": action.tool,
            "toolArgs": redact_value(action.args),
            "transitionTo": None if action.transition_to is None else action.transition_to.value,
            "reasons": [one.reason for one in decision.required],
            "triggeredRules": list(decision.rules),
        },
        grant=wanted_grant(found, asked),
        event=event_payload(asked, decision, ASK, decision.reason),
    )


def tool_call(
    uow: UnitOfWork,
    found: Situation,
    asked: Asked,
    decision: Decision,
    verdict: PolicyVerdict,
    reason: str,
    approval_id: UUID | None = None,
) -> ToolCall:
    """TOL-2, TOL-3. The row of the call, for every verdict, its input redacted."""
    is_denied = verdict is DENY
    return uow.add(
        ToolCall(
            project_id=found.project_id,
            run_id=asked.run_id,
            instance_id=found.instance_id,
            task_id=found.task_id,
            tool_name=asked.action.tool,
            risk_level=decision.risk,
            policy_result=policy_result(verdict, reason, approval_id),
            input_preview=preview(dict(asked.action.args)),
            input_hash=asked.hash,
            started_at=uow.now,
            ended_at=uow.now if is_denied else None,
            status=_CALL_STATUS[verdict],
            error=reason if is_denied else None,
            version_id=found.version_id,
            policy_envelope_id=decision.envelope_ids[0] if decision.envelope_ids else None,
        )
    )


def policy_result(verdict: PolicyVerdict, reason: str, approval_id: UUID | None) -> JsonObject:
    """What a tool call keeps of its verdict (TOL-3)."""
    found = {"decision": verdict.value, "reason": reason}
    return found if approval_id is None else {**found, "approvalId": str(approval_id)}


def approved_by(granted: ApprovalRecord) -> str:
    """The reason of an action that an approval let through (POL-12)."""
    who = "the gateway" if granted.decided_by_operator_id is None else f"operator {granted.decided_by_operator_id}"
    return f"approved by {who} in request {granted.id}"


def event_payload(asked: Asked, decision: Decision, verdict: PolicyVerdict, reason: str) -> JsonObject:
    """What the event of a verdict says (POL-10)."""
    return {
        "decision": verdict.value,
        "reason": reason,
        "actionType": asked.action.type.value,
        "toolName": asked.action.tool,
        "risk": decision.risk.value,
    }
