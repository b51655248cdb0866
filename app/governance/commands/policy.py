"""The command of policy: may this instance do this? Every answer leaves its trace (POL-1 to POL-12)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.governance.approving import hold_task
from app.governance.asking import Asked, action_of, exact_hash
from app.governance.budgets import contain_spend
from app.governance.granting import find_grant, take_grant
from app.governance.loading import Situation, situation_for
from app.governance.policy import ActionType, Decision, evaluate
from app.governance.question import Question
from app.governance.traces import (
    approved_by,
    event_payload,
    policy_result,
    request_for,
    scoped_key,
    tool_call,
    wanted_grant,
)
from app.governance.verdicts import decision_json
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ApprovalDecision,
    ChangeRecordType,
    OpEventType,
    PolicyVerdict,
    RiskLevel,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.ids import new_id
from db.models import AgentInstance, ApprovalRecord, Task, ToolCall

ALLOW, ASK, DENY = PolicyVerdict
_OPEN: Final = (ApprovalDecision.PENDING, ApprovalDecision.ESCALATED)
_POLICY_VIOLATION: Final = "POLICY_VIOLATION"
"""Notification event of a denied tool call (NOT-3)."""


@dataclass
class _Written:
    """Rows that a verdict left behind."""

    tool_call_id: UUID | None = None
    approval_id: UUID | None = None
    event_id: UUID | None = None
    change_id: UUID | None = None


@command(
    "evaluate:policies",
    ChangeRecordType.POLICY_EVALUATED,
    callers=(ActorKind.OPERATOR, ActorKind.INSTANCE),
    mostly_brief=lambda given: given.get("run_id") is None,
)
async def evaluate_policy(
    uow: UnitOfWork,
    instance_id: UUID,
    action_type: ActionType,
    tool_name: str | None = None,
    tool_args: JsonObject | None = None,
    risk_level: RiskLevel | None = None,
    transition_to: TaskStatus | None = None,
    estimated_cost_usd: float | None = None,
    estimated_tokens: int | None = None,
    task_id: UUID | None = None,
    project_id: UUID | None = None,
    run_id: UUID | None = None,
    child_template_id: UUID | None = None,
    justification: str | None = None,
    rollback_plan: str | None = None,
    dry_run: bool = False,
    if_allowed: JsonObject | None = None,
) -> Done | Refused:
    """POL-1 to POL-12. May an agent do this now? ALLOW, NEEDS_APPROVAL (and the request is made) or DENY, with reasons.

    An agent asks for itself alone. The verdict is no error, whatever it is. Another command that asks here, and whose
    own event the ALLOW's is, says in `if_allowed` what else stands in it.
    """
    action = action_of(
        action_type, tool_name, tool_args, risk_level, transition_to, estimated_cost_usd, estimated_tokens, task_id
    )
    if isinstance(action, Refused):
        return action
    hashed = exact_hash(dict(action.args), "tool_args")
    if isinstance(hashed, Refused):
        return hashed
    question = Question(
        tenant_id=uow.tenant_id,
        now=uow.now,
        instance_id=instance_id,
        project_id=project_id,
        task_id=task_id,
        run_id=run_id,
        child_template_id=child_template_id,
        is_spawn=action.is_spawn,
        key=scoped_key(instance_id, uow.key),
    )
    found = await situation_for(uow, question)
    if found is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    if refused := _refuse(uow, found, question):
        return refused
    if found.child_role is not None:
        action = replace(action, child_role=found.child_role)
    asked = Asked(action, hashed, run_id, justification, rollback_plan, if_allowed or {})
    decision = evaluate(found.facts, action)
    if dry_run:
        return await _rehearse(uow, found, asked, decision)
    if decision.verdict is ALLOW:
        return await _allow(uow, found, asked, decision)
    if decision.verdict is DENY:
        return await _deny(uow, found, asked, decision)
    return await _ask(uow, found, asked, decision)


# --- What is asked ----------------------------------------------------------------------------------------------------


def _refuse(uow: UnitOfWork, found: Situation, question: Question) -> Refused | None:
    """Scope, and what the question names that is not there. Raises PermissionDenied."""
    uow.permit(project_id=found.own_project_id, environment_id=found.environment_id, instance_id=question.instance_id)
    is_agent = uow.actor.kind is ActorKind.INSTANCE
    if question.project_id is not None and (
        found.project_id is None or (is_agent and found.project_id != found.own_project_id)
    ):
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    if question.project_id is not None and not is_agent:
        uow.permit(project_id=found.project_id, environment_id=found.environment_id)
    if question.task_id is not None and (
        found.task_project_id is None or (is_agent and found.task_project_id != found.own_project_id)
    ):
        return Refused(Refusal.NOT_FOUND, "No such task.", "task_id")
    if question.run_id is not None and found.run_status is None:
        return Refused(Refusal.NOT_FOUND, "The instance has no such run.", "run_id")
    if question.run_id is not None and found.run_status != RunStatus.RUNNING:
        message = f"The run is {found.run_status}; only a RUNNING one calls tools. Start another run."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "run_id")
    if question.child_template_id is not None and found.child_role is None:
        return Refused(Refusal.NOT_FOUND, "No such template.", "child_template_id")
    if question.child_template_id is not None and not found.child_role and found.facts.build.child_roles:
        return Refused(
            Refusal.NOT_FOUND, "The template has no default role, and only some may be.", "child_template_id"
        )
    return None


# --- The four ends ----------------------------------------------------------------------------------------------------


async def _rehearse(uow: UnitOfWork, found: Situation, asked: Asked, decision: Decision) -> Done:
    """POL-1. A dry run: the same answer, and nothing is written or used up."""
    if decision.verdict is ASK and (
        grant := await find_grant(uow, wanted_grant(found, asked), asked.action.estimated_cost)
    ):
        return _answer(uow, found, asked, decision, _Written(approval_id=grant.id), granted=grant)
    return _answer(uow, found, asked, decision, _Written())


async def _allow(uow: UnitOfWork, found: Situation, asked: Asked, decision: Decision) -> Done:
    """POL-10. A tool call is RUNNING now; every action has its event."""
    written = _Written()
    if asked.run_id is not None and asked.action.type is ActionType.TOOL_CALL:
        written.tool_call_id = tool_call(uow, found, asked, decision, ALLOW, decision.reason).id
    return _go(uow, found, asked, decision, written)


def _go(
    uow: UnitOfWork,
    found: Situation,
    asked: Asked,
    decision: Decision,
    written: _Written,
    granted: ApprovalRecord | None = None,
    *,
    is_started: bool = False,
) -> Done:
    is_start = asked.action.type is ActionType.TOOL_CALL and not is_started
    kind = OpEventType.TOOL_CALL_STARTED if is_start else OpEventType.DECISION_MADE
    reason = decision.reason if granted is None else approved_by(granted)
    payload = {**event_payload(asked, decision, ALLOW, reason), **asked.if_allowed}
    if granted is not None:
        payload["approvalId"] = str(granted.id)
    written.event_id = uow.emit(kind, payload=payload, **_about(found, asked, written))
    return _answer(uow, found, asked, decision, written, granted=granted)


async def _deny(uow: UnitOfWork, found: Situation, asked: Asked, decision: Decision) -> Done:
    """POL-10. The denial is on record; a used-up budget contains the instance as well (BUD-3)."""
    written = _Written()
    is_call = asked.action.type is ActionType.TOOL_CALL
    instance = await uow.get(AgentInstance, found.instance_id)
    if instance is None:
        return _answer(uow, found, asked, decision, written)
    if is_call and asked.run_id is not None:
        written.tool_call_id = tool_call(uow, found, asked, decision, DENY, decision.reason).id
    payload = event_payload(asked, decision, DENY, decision.reason)
    written.change_id = uow.record(
        ChangeRecordType.POLICY_EVALUATED,
        instance,
        after={**payload, "violations": list(decision.violations)},
        reason=decision.reason,
        project_id=found.project_id,
        instance_id=found.instance_id,
        version_id=found.version_id,
    )
    if decision.exhausted is not None:
        payload["budgetExceeded"] = True
    written.event_id = uow.emit(
        OpEventType.TOOL_CALL_BLOCKED if is_call else OpEventType.DECISION_MADE,
        payload=payload,
        change_record_id=written.change_id,
        **_about(found, asked, written),
    )
    if is_call:
        uow.notify(_POLICY_VIOLATION, instance, {"toolName": asked.action.tool, "reason": decision.reason})
    if decision.exhausted is not None:
        await contain_spend(uow, instance.id, decision.exhausted)
    return _answer(uow, found, asked, decision, written)


async def _ask(uow: UnitOfWork, found: Situation, asked: Asked, decision: Decision) -> Done | Refused:
    """POL-10 to POL-12. A grant is used up, an open request answers again, or a new one is made."""
    grant = wanted_grant(found, asked)
    if found.asked is not None and found.asked["status"] in _OPEN:
        if found.asked["grant"] != grant:
            message = "The idempotency key was used for another action, which waits for approval. Use a new key."
            return Refused(Refusal.CONFLICT, message, "idempotency_key")
        waiting = _Written(
            approval_id=UUID(found.asked["id"]),
            tool_call_id=None if found.asked["toolCallId"] is None else UUID(found.asked["toolCallId"]),
        )
        return _answer(uow, found, asked, decision, waiting)
    task = None
    if found.task_id is not None and found.facts.task is not None:
        task = await uow.lock(Task, found.task_id)
    if likely := await find_grant(uow, grant, asked.action.estimated_cost):
        await uow.lock(ToolCall, likely.tool_call_id)  # whoever decides on the request takes the call first, too
        if granted := await take_grant(uow, grant, asked.action.estimated_cost):
            return await _use(uow, found, asked, decision, granted)
    if found.asked is not None:
        message = "The idempotency key belongs to a request that is decided. Use a new key for a new request."
        return Refused(Refusal.CONFLICT, message, "idempotency_key")
    written = _Written()
    approval_id = new_id(uow.now)
    if asked.run_id is not None and asked.action.type is ActionType.TOOL_CALL:
        call = tool_call(uow, found, asked, decision, ASK, decision.reason, approval_id)
        written.tool_call_id = call.id
        await uow.session.flush()  # the request refers to it
    requested = request_for(uow, found, asked, decision, approval_id, written.tool_call_id)
    written.approval_id, written.change_id = requested.approval.id, requested.change_id
    written.event_id = requested.event_id
    if task is not None:
        await hold_task(uow, task, reason=decision.reason, caused_by_id=requested.change_id)
    return _answer(uow, found, asked, decision, written)


async def _use(uow: UnitOfWork, found: Situation, asked: Asked, decision: Decision, granted: ApprovalRecord) -> Done:
    """POL-12. What was approved goes ahead, once; the tool call that waited for it is the one that runs."""
    written = _Written(approval_id=granted.id)
    call = await uow.lock(ToolCall, granted.tool_call_id)
    is_started = call is not None and call.status is ToolCallStatus.RUNNING  # the approval did so, with its event
    if call is not None and call.status in (ToolCallStatus.PENDING, ToolCallStatus.RUNNING):
        call.status = ToolCallStatus.RUNNING
        call.policy_result = policy_result(ALLOW, approved_by(granted), granted.id)
        written.tool_call_id = call.id
    elif asked.run_id is not None and asked.action.type is ActionType.TOOL_CALL:
        call = tool_call(uow, found, asked, decision, ALLOW, approved_by(granted), granted.id)
        written.tool_call_id = call.id
    return _go(uow, found, asked, decision, written, granted, is_started=is_started)


# --- Rows -------------------------------------------------------------------------------------------------------------


def _about(found: Situation, asked: Asked, written: _Written) -> dict[str, Any]:
    return {
        "instance_id": found.instance_id,
        "version_id": found.version_id,
        "project_id": found.project_id,
        "task_id": found.task_id,
        "run_id": asked.run_id,
        "tool_call_id": written.tool_call_id,
    }


def _answer(
    uow: UnitOfWork,
    found: Situation,
    asked: Asked,
    decision: Decision,
    written: _Written,
    *,
    granted: ApprovalRecord | None = None,
) -> Done:
    answer = decision_json(found.facts.policy, asked.action, decision, uow.now)
    if granted is not None:
        answer |= {"decision": ALLOW.value, "reason": approved_by(granted), "requiredApprovals": []}
        answer["triggeredRules"] = [*answer["triggeredRules"], "approved_request"]
    ids = {
        "approvalRecordId": written.approval_id,
        "changeRecordId": written.change_id,
        "opEventId": written.event_id,
        "toolCallId": written.tool_call_id,
    }
    answer |= {name: None if value is None else str(value) for name, value in ids.items()}
    return Done(None, {"policy_decision": answer})
