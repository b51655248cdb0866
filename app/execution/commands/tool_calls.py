"""Commands of tool calls: ask, try again, report (TOL-1 to TOL-4)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.ending import end_call
from app.execution.machines import TOOL_CALL
from app.execution.refs import call_refs
from app.execution.standing import hold_mode, is_agent
from app.governance.asking import exact_hash, refused_input
from app.governance.commands.policy import evaluate_policy
from app.governance.policy import ActionType
from app.governance.policy.action import DEEPEST_ARGUMENTS, args_hash, is_too_deep
from app.governance.policy.risk import preview, redact
from app.lifecycle import refuse_step
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.canonical import CanonicalError
from db.enums import OpEventType, PolicyVerdict, RiskLevel, RunStatus, ToolCallStatus
from db.models import AgentInstance, Run, ToolCall

MOST_RETRIES: Final = 3
"""TOL-1. How often a failed call is tried again."""
_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)


@command("execute:tool-calls", OpEventType.TOOL_CALL_STARTED, callers=_AGENT_OR_PERSON)
async def request_tool_call(
    uow: UnitOfWork,
    run_id: UUID,
    tool_name: str,
    tool_args: JsonObject | None = None,
    tool_version: str | None = None,
    risk_level: RiskLevel | None = None,
    estimated_cost_usd: float | None = None,
    estimated_tokens: int | None = None,
    justification: str | None = None,
    rollback_plan: str | None = None,
) -> Done | Refused:
    """TOL-1 to TOL-4, POL-10. Ask to call a tool in a run under way. Every verdict has its row: RUNNING where it may go
    ahead, PENDING where somebody must approve, DENIED where it may not.
    """
    instance_id = await _caller_of(uow, run_id)
    if isinstance(instance_id, Refused):
        return instance_id
    decided = await evaluate_policy(
        uow,
        instance_id=instance_id,
        action_type=ActionType.TOOL_CALL,
        tool_name=tool_name,
        tool_args=tool_args,
        risk_level=risk_level,
        estimated_cost_usd=estimated_cost_usd,
        estimated_tokens=estimated_tokens,
        run_id=run_id,
        justification=justification,
        rollback_plan=rollback_plan,
    )
    if isinstance(decided, Refused):
        return decided
    call = await uow.lock(ToolCall, UUID(decided.extras["policy_decision"]["toolCallId"]))
    if call is None:
        raise LookupError("a verdict left no row of its call")
    if tool_version is not None and call.tool_version is None:
        call.tool_version = tool_version
    return Done(call, decided.extras)


async def _caller_of(uow: UnitOfWork, run_id: UUID) -> UUID | Refused:
    """The agent of a run, which does not end before this transaction does; an agent's own run alone."""
    found = select(Run.instance_id).where(Run.tenant_id == uow.tenant_id, Run.id == run_id).with_for_update(read=True)
    instance_id: UUID | None = await uow.session.scalar(found)
    if instance_id is None or (is_agent(uow) and instance_id != uow.actor.id):
        return Refused(Refusal.NOT_FOUND, "No such run.", "run_id")
    return instance_id


@command("execute:tool-calls", OpEventType.TOOL_CALL_COMPLETED, callers=_AGENT_OR_PERSON)
async def finish_tool_call(
    uow: UnitOfWork, tool_call_id: UUID, output: Any = None, error: str | None = None
) -> Done | Refused:
    """TOL-1, TOL-3, TOL-4. Report how a call that runs has ended: with an output, or with an error.

    The output is kept as a preview without secrets, and as a hash of the whole.
    """
    call = await _own_call(uow, tool_call_id)
    if isinstance(call, Refused):
        return call
    fault = redact((error or "").strip()) or None
    goal = ToolCallStatus.FAILED if fault else ToolCallStatus.SUCCESS
    if refused := refuse_step(TOOL_CALL, call.status, goal, uow.actor_type):
        return Refused(refused.code, refused.message, "tool_call_id", refused.allowed)
    if output is not None:
        hashed = exact_hash(output, "output")
        if isinstance(hashed, Refused):
            return hashed
        call.output_preview, call.output_hash = preview(output), hashed
    end_call(uow, call, goal, error=fault)
    return Done(call)


@command("execute:tool-calls", OpEventType.TOOL_CALL_STARTED, callers=_AGENT_OR_PERSON)
async def retry_tool_call(uow: UnitOfWork, tool_call_id: UUID, tool_args: JsonObject | None = None) -> Done | Refused:
    """TOL-1. Try a failed call again with the same arguments, at most three times, if policy still allows it by itself.

    What somebody approved was approved once: ask for another call instead (POL-12).
    """
    await hold_mode(uow)
    call = await _own_call(uow, tool_call_id)
    if isinstance(call, Refused):
        return call
    if refused := refuse_step(TOOL_CALL, call.status, ToolCallStatus.RUNNING, uow.actor_type):
        return Refused(refused.code, refused.message, "tool_call_id", refused.allowed)
    if call.retry_count >= MOST_RETRIES:
        message = f"It was tried again {MOST_RETRIES} times. Ask for another call."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "tool_call_id")
    if is_too_deep(tool_args):
        return refused_input("tool_args", f"`toolArgs` is nested deeper than {DEEPEST_ARGUMENTS} levels.")
    try:
        is_same = args_hash(tool_args or {}) == call.input_hash
    except CanonicalError:
        is_same = False
    if not is_same:
        message = "These are not the arguments of the call. Ask for another call with them."
        return Refused(Refusal.VALIDATION_ERROR, message, "tool_args")
    run = await uow.lock(Run, call.run_id)
    if run is None or run.status is not RunStatus.RUNNING:
        message = "The run of the call has ended. Start another run."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "tool_call_id")
    now = await evaluate_policy(
        uow,
        instance_id=call.instance_id,
        action_type=ActionType.TOOL_CALL,
        tool_name=call.tool_name,
        tool_args=tool_args,
        run_id=call.run_id,
        dry_run=True,
    )
    if isinstance(now, Refused):
        return now
    verdict = now.extras["policy_decision"]
    if verdict["decision"] != PolicyVerdict.ALLOW.value or "approved_request" in verdict["triggeredRules"]:
        message = f"Policy does not let it go ahead by itself: {verdict['reason']} Ask for another call."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "tool_call_id")
    call.status, call.retry_count = ToolCallStatus.RUNNING, call.retry_count + 1
    call.started_at, call.ended_at, call.duration_ms, call.error = uow.now, None, None, None
    uow.emit(
        OpEventType.TOOL_CALL_STARTED,
        **call_refs(call),
        payload={"toolName": call.tool_name, "retry": call.retry_count, "decision": verdict["decision"]},
    )
    return Done(call)


async def _own_call(uow: UnitOfWork, tool_call_id: UUID) -> ToolCall | Refused:
    """RBAC-11. The call, locked, where the caller may report of it; an agent sees its own alone."""
    call = await uow.lock(ToolCall, tool_call_id)
    if call is None or (is_agent(uow) and call.instance_id != uow.actor.id):
        return Refused(Refusal.NOT_FOUND, "No such tool call.", "tool_call_id")
    instance = await uow.get(AgentInstance, call.instance_id)
    environment_id = None if instance is None else instance.environment_id
    uow.permit(project_id=call.project_id, environment_id=environment_id, instance_id=call.instance_id)
    return call
