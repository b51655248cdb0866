"""Tool calls: a row for every verdict, reports, retries (TOL-1 to TOL-4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.execution.commands.timeouts import time_out_runs
from app.execution.commands.tool_calls import MOST_RETRIES
from app.execution.machines import TOOL_CALL
from app.governance.policy.action import args_hash
from app.governance.rules import ApprovalChoice
from app.running import run, run_as_system
from db import models
from db.canonical import canonical_hash
from db.enums import (
    ActorType,
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    OpEventType,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest

S = ToolCallStatus
SECRET = "ghp_" + "a" * 36


async def do(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Done | Refused:
    """Run a command as the agent."""
    return await run(scene.tenant.database, actor or scene.agent, name, given)


async def call(scene: Scene, tool: str = "search", actor: Actor | None = None, **given: Any) -> Any:
    """Ask for a tool; the row."""
    outcome = await do(scene, "request_tool_call", actor, run_id=scene.run.id, tool_name=tool, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def finish(scene: Scene, made: Any, **given: Any) -> Any:
    """Report the end of a call; the row."""
    outcome = await do(scene, "finish_tool_call", tool_call_id=made.id, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def again(scene: Scene, made: Any, args: Any = None) -> Done | Refused:
    """Try a call again."""
    return await do(scene, "retry_tool_call", tool_call_id=made.id, tool_args=args)


async def kinds(scene: Scene) -> list[OpEventType]:
    """The types of the tenant's events, in order."""
    return [one.type for one in await scene.rows(models.OpEvent)]


# --- every verdict has its row ----------------------------------------------------------------------------------------


async def test_tol_2_an_allowed_call_runs(scene: Scene) -> None:
    made = await call(scene, tool_args={"query": "leeks"}, tool_version="1.2")
    assert (made.status, made.run_id, made.version_id, made.task_id, made.tool_version) == (
        S.RUNNING,
        scene.run.id,
        scene.version.id,
        scene.task.id,
        "1.2",
    )
    assert made.policy_envelope_id == scene.envelopes[0].id
    assert made.input_hash == args_hash({"query": "leeks"})
    assert made.policy_result["decision"] == "ALLOW"
    assert await kinds(scene) == [OpEventType.TOOL_CALL_STARTED]


async def test_tol_2_a_denied_call_has_its_row_and_its_record(scene: Scene) -> None:
    made = await call(scene, "undeclared")
    assert (made.status, made.policy_result["decision"]) == (S.DENIED, "DENY")
    assert made.ended_at is not None
    assert await kinds(scene) == [OpEventType.TOOL_CALL_BLOCKED]
    assert [one.type.value for one in await scene.rows(models.ChangeRecord)] == ["POLICY_EVALUATED"]


async def test_tol_2_a_call_that_needs_approval_waits_for_it(scene: Scene) -> None:
    made = await call(scene, "payment", justification="buy", rollback_plan="refund")
    assert made.status is S.PENDING
    (waiting,) = await scene.rows(models.Task)
    assert waiting.status is TaskStatus.NEEDS_APPROVAL
    (request,) = await scene.rows(models.ApprovalRecord)
    assert (request.tool_call_id, request.status) == (made.id, ApprovalDecision.PENDING)
    early = await do(scene, "finish_tool_call", tool_call_id=made.id, output=1)
    assert isinstance(early, Refused)
    assert (early.code, early.allowed) == (Refusal.INVALID_STATE_TRANSITION, ())


async def test_tol_2_an_approved_call_runs_and_ends(scene: Scene) -> None:
    made = await call(scene, "payment", justification="buy", rollback_plan="refund")
    (request,) = await scene.rows(models.ApprovalRecord)
    people = [models.Operator(id=new_id(), auth_id=f"p{n}", name=f"P{n}", email=f"p{n}@example.com") for n in range(2)]
    await scene.tenant.add(*people)
    for person in people:  # RED takes two
        given = {"approval_id": request.id, "decision": ApprovalChoice.APPROVE, "reason": "fine"}
        await do(scene, "decide_approval", scene.tenant.actor(operator_id=person.id), **given)
    assert (await finish(scene, made, output="paid")).status is S.SUCCESS


@pytest.mark.parametrize("how", ["completed", "failed", "timed out", "another waits"])
async def test_tol_2_a_request_ends_with_the_run_that_it_is_for(scene: Scene, how: str) -> None:
    """As the gateway's doing, on record and told; the task that it held goes on, unless something else holds it."""
    made = await call(scene, "payment", justification="buy", rollback_plan="refund")
    (request,) = await scene.rows(models.ApprovalRecord)
    if how == "another waits":
        about: dict[str, Any] = {"task_id": scene.task.id, "justification": "j", "requested_at": request.requested_at}
        await scene.tenant.add(models.ApprovalRecord(request_type="BUDGET_OVERRIDE", action_summary="More.", **about))
    if how == "timed out":
        await scene.set(scene.run, started_at=scene.run.started_at - timedelta(days=1))
        outcome = await run_as_system(scene.tenant.database, scene.tenant.id, time_out_runs.__name__, {})
    else:
        outcome = await do(scene, "complete_run", run_id=scene.run.id, error="broke" if how == "failed" else None)
    assert isinstance(outcome, Done), outcome
    (ended,) = await scene.rows(models.ApprovalRecord, id=request.id)
    assert (ended.status, ended.decided_by_operator_id) == (ApprovalDecision.CANCELED, None)
    assert "run ended" in ended.decision_reason
    (denied,) = await scene.rows(models.ToolCall)
    assert (denied.id, denied.status) == (made.id, S.DENIED)
    (record,) = await scene.rows(models.ChangeRecord, type=ChangeRecordType.APPROVAL_DECIDED)
    assert (record.target_id, record.actor_type, record.after_state["decision"]) == (
        request.id,
        ActorType.SYSTEM,
        "CANCELED",
    )
    decided = [one for one in await scene.rows(models.OpEvent) if one.change_record_id == record.id]
    assert [one.type for one in decided] == [OpEventType.DECISION_MADE, OpEventType.TOOL_CALL_BLOCKED]
    assert "APPROVAL_DECIDED" in {one.event_type for one in await scene.rows(models.NotificationEvent)}
    (task,) = await scene.rows(models.Task)
    assert task.status is (TaskStatus.NEEDS_APPROVAL if how == "another waits" else TaskStatus.IN_PROGRESS)


@pytest.mark.parametrize("choice", list(ApprovalChoice))
async def test_tol_2_a_call_that_costs_too_much_runs_or_is_denied_too(scene: Scene, choice: ApprovalChoice) -> None:
    """Whatever kind of approval it was that it needed."""
    await scene.set(scene.envelopes[0], cost_limits={"perRunUsd": 1})
    made = await call(scene, estimated_cost_usd=2.0)
    (request,) = await scene.rows(models.ApprovalRecord)
    assert (made.status, request.request_type) == (S.PENDING, "BUDGET_OVERRIDE")
    given = {"approval_id": request.id, "decision": choice, "reason": "so"}
    assert isinstance(await do(scene, "decide_approval", scene.person, **given), Done)
    (after,) = await scene.rows(models.ToolCall)
    assert after.status is (S.RUNNING if choice is ApprovalChoice.APPROVE else S.DENIED)
    last = (await kinds(scene))[-1]
    is_denied = choice is ApprovalChoice.DENY
    assert last is (OpEventType.TOOL_CALL_BLOCKED if is_denied else OpEventType.TOOL_CALL_STARTED)
    if not is_denied:
        same = await call(scene, estimated_cost_usd=2.0)
        assert (same.id, same.status) == (made.id, S.RUNNING), "the approval is for one call"


# --- reports ----------------------------------------------------------------------------------------------------------


async def test_tol_3_an_output_is_a_preview_without_secrets_and_a_hash_of_the_whole(scene: Scene) -> None:
    made = await call(scene)
    output = {"text": f"token {SECRET} " + "x" * 700}
    ended = await finish(scene, made, output=output)
    assert ended.status is S.SUCCESS
    assert SECRET not in ended.output_preview
    assert len(ended.output_preview) == 600
    assert ended.output_preview.endswith("...")
    assert ended.output_hash == canonical_hash(output)
    assert ended.duration_ms >= 0
    *_, event = await scene.rows(models.OpEvent)
    assert event.type is OpEventType.TOOL_CALL_COMPLETED
    assert event.payload == {"toolName": "search", "status": "SUCCESS", "durationMs": ended.duration_ms}


async def test_tol_4_an_error_makes_it_failed(scene: Scene) -> None:
    made = await call(scene)
    ended = await finish(scene, made, error=f"401 with {SECRET}")
    assert ended.status is S.FAILED
    assert SECRET not in ended.error
    *_, event = await scene.rows(models.OpEvent)
    assert event.payload["status"] == "FAILED"
    assert SECRET not in str(event.payload)


async def test_tol_1_a_call_ends_once(scene: Scene) -> None:
    made = await call(scene)
    outcomes = await asyncio.gather(*(do(scene, "finish_tool_call", tool_call_id=made.id) for _ in range(4)))
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    assert (await kinds(scene)).count(OpEventType.TOOL_CALL_COMPLETED) == 1


# --- retries ----------------------------------------------------------------------------------------------------------


async def test_tol_1_a_failed_call_is_tried_again_three_times(scene: Scene) -> None:
    args = {"query": "leeks"}
    made = await call(scene, tool_args=args)
    for attempt in range(1, MOST_RETRIES + 1):
        await finish(scene, made, error="slow")
        outcome = await again(scene, made, args)
        assert isinstance(outcome, Done), outcome
        row: Any = outcome.row
        assert (row.status, row.retry_count, row.error, row.ended_at) == (S.RUNNING, attempt, None, None)
    await finish(scene, made, error="slow")
    outcome = await again(scene, made, args)
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET


async def test_tol_1_a_retry_has_the_same_arguments(scene: Scene) -> None:
    made = await call(scene, tool_args={"query": "leeks"})
    await finish(scene, made, error="slow")
    for other in (None, {"query": "rm"}, {"query": "leeks", "more": 1}):
        outcome = await again(scene, made, other)
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, "tool_args")


@pytest.mark.parametrize("change", ["paused", "denied", "run over", "emergency"])
async def test_tol_1_a_retry_is_asked_of_policy_as_it_is_now(scene: Scene, change: str) -> None:
    made = await call(scene)
    await finish(scene, made, error="slow")
    match change:
        case "paused":
            await scene.set(scene.instance, state=InstanceState.PAUSED)
        case "denied":
            await scene.set(scene.envelopes[0], denied_tools=["search"])
        case "run over":
            await scene.set(scene.run, status=RunStatus.COMPLETED)
        case "emergency":
            given = {"mode": OperatorMode.PAUSED, "reason": "stop"}
            await do(scene, "set_operator_control", scene.person, **given)
    outcome = await again(scene, made)
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET
    (unchanged,) = await scene.rows(models.ToolCall)
    assert (unchanged.status, unchanged.retry_count) == (S.FAILED, 0)


# --- the table, and whose calls ---------------------------------------------------------------------------------------

AGENT, HUMAN, SYSTEM = ActorType.AGENT, ActorType.HUMAN, ActorType.SYSTEM
STEPS = {
    (S.PENDING, S.RUNNING): {SYSTEM},
    (S.PENDING, S.DENIED): {SYSTEM},
    (S.RUNNING, S.SUCCESS): {AGENT, HUMAN, SYSTEM},
    (S.RUNNING, S.FAILED): {AGENT, HUMAN, SYSTEM},
    (S.FAILED, S.RUNNING): {AGENT, HUMAN},
}


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize("to", list(S))
def test_tol_1_the_table(state: ToolCallStatus, to: ToolCallStatus) -> None:
    assert set(TOOL_CALL[state].get(to, ())) == STEPS.get((state, to), set())


async def test_rbac_11_an_agent_asks_and_reports_for_its_own_runs_alone(
    scene: Scene, other_tenant: TenantUnderTest
) -> None:
    place = {"version_id": scene.version.id, "environment_id": scene.tenant.environment.id}
    peer = models.AgentInstance(id=new_id(), project_id=scene.tenant.project.id, state=InstanceState.ACTIVE, **place)
    await scene.tenant.add(peer)
    made = await call(scene)
    theirs = await make_scene(other_tenant)
    for asking, actor in ((scene, scene.agent_of(peer)), (theirs, theirs.agent), (theirs, theirs.person)):
        outcome = await do(asking, "request_tool_call", actor, run_id=scene.run.id, tool_name="search")
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "run_id")
        for name in ("finish_tool_call", "retry_tool_call"):
            outcome = await do(asking, name, actor, tool_call_id=made.id)
            assert isinstance(outcome, Refused)
            assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "tool_call_id")


async def test_no_call_in_a_run_that_is_over(scene: Scene) -> None:
    await do(scene, "complete_run", run_id=scene.run.id)
    outcome = await do(scene, "request_tool_call", run_id=scene.run.id, tool_name="search")
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.DEPENDENCY_NOT_MET, "run_id")
