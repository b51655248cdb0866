"""Runs, what they cost, and the budgets that they use up (RUN-1 to RUN-6, COST-1, COST-2, BUD-2 to BUD-6)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.execution.machines import RUN
from app.execution.rules.prices import PRICES, Price, Tokens, cost_of, is_mismatch, price_of
from app.governance.rules import ApprovalChoice
from app.governance.spend import next_reset, reset_if_due
from app.idempotency import Key
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ActorType,
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    OpEventType,
    PauseCause,
    RunStatus,
    TaskStatus,
    TaskType,
    ToolCallStatus,
)
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest

UNSET: Any = object()


async def do(scene: Scene, name: str, actor: Actor | None = None, key: str | None = None, **given: Any) -> Any:
    """Run a command as the agent."""
    used = None if key is None else Key.of(name, key, {one: str(value) for one, value in given.items()})
    return await run(scene.tenant.database, actor or scene.agent, name, given, used)


async def done(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Any:
    """Run a command that must succeed; the row."""
    outcome = await do(scene, name, actor, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def start(scene: Scene, actor: Actor | None = None, key: str | None = None, **given: Any) -> Any:
    """Begin a run of the scene's agent."""
    values = {"instance_id": scene.instance.id, "model": "m-1", "session_key": "s", **given}
    return await do(scene, "start_run", actor, key, **values)


async def agent(scene: Scene) -> models.AgentInstance:
    """The agent as it is now."""
    (found,) = await scene.rows(models.AgentInstance, id=scene.instance.id)
    row: models.AgentInstance = found
    return row


async def task(scene: Scene) -> models.Task:
    """The task as it is now."""
    (found,) = await scene.rows(models.Task, id=scene.task.id)
    row: models.Task = found
    return row


async def events(scene: Scene, *kinds: OpEventType) -> list[Any]:
    """The tenant's op events of these kinds, in order."""
    return [one for one in await scene.rows(models.OpEvent) if not kinds or one.type in kinds]


async def tz(tenant: TenantUnderTest, name: str) -> None:
    """Move the tenant."""
    async with tenant.database.platform() as connection:
        await connection.execute(update(models.Tenant).where(models.Tenant.id == tenant.id).values(timezone=name))


# --- beginning --------------------------------------------------------------------------------------------------------


async def test_run_3_a_run_has_its_agents_exact_version_and_limit(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=2, cost_limits={"perRunUsd": 0.5}, attached_to_project_id=scene.task.project_id)
    outcome = await start(scene, task_id=scene.task.id)
    made = outcome.row
    assert (made.version_id, made.template_id) == (scene.version.id, scene.template.id)
    assert (made.status, made.budget_allocated, made.cost_usd) == (RunStatus.RUNNING, Decimal("0.5"), 0)
    assert outcome.extras["policy_decision"]["decision"] == "ALLOW"
    (started,) = await events(scene, OpEventType.RUN_STARTED)
    assert started.run_id == made.id
    assert started.payload == {"model": "m-1", "sessionKey": "s"}


async def test_run_3_a_run_knows_the_mission(scene: Scene) -> None:
    async with scene.tenant.database.platform() as connection:
        values = {"settings": {"missionStatement": "Feed the town"}}
        await connection.execute(update(models.Tenant).where(models.Tenant.id == scene.tenant.id).values(**values))
    outcome = await start(scene)
    assert outcome.row.metadata_ == {"missionStatement": "Feed the town"}


async def test_run_2_the_same_key_is_the_same_run_for_ever(scene: Scene) -> None:
    first = await start(scene, key="k")
    await scene.tenant.forget_keys()
    again = await start(scene, key="k")
    assert again.row.id == first.row.id
    assert again.is_replay
    assert len(await scene.rows(models.Run)) == 2  # with the scene's own


async def test_run_2_two_starts_with_one_key_at_once_are_one_run(scene: Scene) -> None:
    outcomes = await asyncio.gather(*(start(scene, key="k") for _ in range(5)))
    assert all(isinstance(one, Done) for one in outcomes)
    assert len(await scene.rows(models.Run)) == 2


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (InstanceState.ACTIVE, "ALLOW"),
        (InstanceState.READONLY, "ALLOW"),
        (InstanceState.DRAINING, "DENY"),
        (InstanceState.PROVISIONING, "DENY"),
        (InstanceState.PAUSED, "DENY"),
    ],
)
async def test_run_2_ins_4_who_may_begin_a_run(scene: Scene, state: InstanceState, expected: str) -> None:
    await scene.set(scene.instance, state=state)
    outcome = await start(scene)
    assert outcome.extras["policy_decision"]["decision"] == expected
    assert (outcome.row is not None) is (expected == "ALLOW")


async def test_run_2_a_quarantined_agent_may_do_nothing(scene: Scene) -> None:
    scene.instance.state = InstanceState.QUARANTINED
    await scene.set(scene.instance, state=InstanceState.QUARANTINED)
    with pytest.raises(PermissionDenied):
        await start(scene)


@pytest.mark.parametrize("mode", [OperatorMode.DRAINING, OperatorMode.PAUSED, OperatorMode.QUARANTINED])
async def test_run_2_emg_2_no_run_begins_in_an_emergency(scene: Scene, mode: OperatorMode) -> None:
    await scene.tenant.add(models.OperatorControl(mode=mode, reason="test", updated_at=datetime.now(UTC)))
    outcome = await start(scene)
    assert outcome.row is None
    assert outcome.extras["policy_decision"]["decision"] == "DENY"
    assert len(await scene.rows(models.Run)) == 1


async def test_run_2_an_estimate_beyond_the_limit_of_a_run_asks_and_then_goes_ahead_once(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"perRunUsd": 0.25})
    asked = await start(scene, key="one", estimated_cost_usd=0.4)
    assert asked.row is None
    assert asked.extras["policy_decision"]["decision"] == "NEEDS_APPROVAL"
    (request,) = await scene.rows(models.ApprovalRecord)
    assert (request.request_type, request.status) == ("BUDGET_OVERRIDE", ApprovalDecision.PENDING)
    given = {"approval_id": request.id, "decision": ApprovalChoice.APPROVE, "reason": "fine"}
    await done(scene, "decide_approval", scene.person, **given)
    started = await start(scene, key="two", estimated_cost_usd=0.4)
    assert started.row is not None
    again = await start(scene, key="three", estimated_cost_usd=0.4)
    assert again.row is None


async def test_run_2_a_used_up_day_is_refused_and_contained(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"dailyUsd": 1})
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await scene.set(scene.instance, spend_today=Decimal(1), spend_reset_at=tomorrow)
    outcome = await start(scene)
    assert outcome.row is None
    assert outcome.extras["policy_decision"]["decision"] == "DENY"
    assert (await agent(scene)).paused_by is PauseCause.BUDGET


async def test_run_2_bud_5_a_task_without_budget_waits_and_its_refusal_is_kept(scene: Scene) -> None:
    await scene.set(scene.task, budget_allocated=Decimal(2), actual_cost=Decimal(2))
    outcome = await start(scene, task_id=scene.task.id)
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET
    assert (await task(scene)).status is TaskStatus.NEEDS_APPROVAL
    records = await scene.rows(models.ChangeRecord)
    assert [one.type for one in records] == [
        ChangeRecordType.BUDGET_EXCEEDED,
        ChangeRecordType.TASK_TRANSITIONED,
        ChangeRecordType.APPROVAL_REQUESTED,
    ]
    assert records[0].after_state == {"scope": "TASK", "limit": 2.0, "spend": 2.0}
    assert [one.caused_by_id for one in records[1:]] == [records[0].id, records[0].id]
    again = await start(scene, task_id=scene.task.id)
    assert isinstance(again, Refused)
    assert len(await scene.rows(models.ApprovalRecord)) == 1  # nothing is asked twice


async def test_bud_5_more_for_a_task_lets_it_go_on(scene: Scene) -> None:
    await scene.set(scene.task, budget_allocated=Decimal(2), actual_cost=Decimal(2))
    await start(scene, task_id=scene.task.id)
    (request,) = await scene.rows(models.ApprovalRecord)
    given = {"approval_id": request.id, "decision": ApprovalChoice.APPROVE, "reason": "fine"}
    await done(scene, "decide_approval", scene.person, **given)
    now = await task(scene)
    assert (now.status, now.budget_allocated, now.budget_remaining) == (TaskStatus.IN_PROGRESS, Decimal(3), Decimal(1))
    assert (await start(scene, task_id=scene.task.id)).row is not None


@pytest.mark.parametrize("status", [TaskStatus.DONE, TaskStatus.CANCELED])
async def test_run_2_no_run_works_on_a_task_that_is_over(scene: Scene, status: TaskStatus) -> None:
    await scene.set(scene.task, status=status)
    outcome = await start(scene, task_id=scene.task.id)
    assert (outcome.code, outcome.field) == (Refusal.DEPENDENCY_NOT_MET, "task_id")


async def test_rbac_11_an_agent_begins_and_reports_its_own_runs_alone(
    scene: Scene, other_tenant: TenantUnderTest
) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    others = models.Task(id=new_id(), project_id=far.id, title="Far", type=TaskType.DOCS, status=TaskStatus.INBOX)
    place = {"version_id": scene.version.id, "environment_id": scene.tenant.environment.id}
    peer = models.AgentInstance(id=new_id(), project_id=scene.tenant.project.id, state=InstanceState.ACTIVE, **place)
    await scene.tenant.add(far, others, peer)
    with pytest.raises(PermissionDenied):
        await start(scene, instance_id=peer.id)
    outcome = await start(scene, task_id=others.id)
    assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "task_id")
    for name, more in (
        ("complete_run", {}),
        ("record_cost", {"cost_usd": 1.0}),
        ("record_run_step", {"index": 0, "kind": "x"}),
    ):
        outcome = await do(scene, name, scene.agent_of(peer), run_id=scene.run.id, **more)
        assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "run_id"), name
    theirs = await make_scene(other_tenant)
    outcome = await do(theirs, "complete_run", run_id=scene.run.id)
    assert outcome.code is Refusal.NOT_FOUND
    (untouched,) = await scene.rows(models.Run, id=scene.run.id)
    assert untouched.status is RunStatus.RUNNING


# --- the way ----------------------------------------------------------------------------------------------------------


async def test_run_5_steps_are_events(scene: Scene) -> None:
    await done(scene, "record_run_step", run_id=scene.run.id, index=1, kind="plan", summary="three parts")
    (step,) = await events(scene, OpEventType.RUN_STEP)
    assert step.payload == {"index": 1, "kind": "plan", "summary": "three parts"}
    assert step.version_id == scene.version.id


async def test_cost_1_ticks_add_up_to_the_run_and_to_the_agents_day(scene: Scene) -> None:
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.1, input_tokens=100)
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.25, input_tokens=300, output_tokens=20)
    await done(scene, "complete_run", run_id=scene.run.id, cost_usd=0.3, input_tokens=300, output_tokens=50)
    ticks = await events(scene, OpEventType.COST_TICK)
    assert [one.delta_usd for one in ticks] == [Decimal("0.1"), Decimal("0.15"), Decimal("0.05")]
    assert [one.payload["totalUsd"] for one in ticks] == [0.1, 0.25, 0.3]
    assert [one.payload["inputTokens"] for one in ticks] == [100, 200, 0]
    assert {one.payload["source"] for one in ticks} == {"inference"}
    (ended,) = await scene.rows(models.Run, id=scene.run.id)
    assert (ended.cost_usd, ended.input_tokens, ended.output_tokens) == (Decimal("0.3"), 300, 50)
    assert (await agent(scene)).spend_today == Decimal("0.3")
    assert (await agent(scene)).spend_month == Decimal("0.3")
    assert (await task(scene)).actual_cost == Decimal("0.3")


async def test_cost_1_what_was_reported_is_not_taken_back(scene: Scene) -> None:
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.5, input_tokens=100)
    for given, blamed in (({"cost_usd": 0.4}, "cost_usd"), ({"input_tokens": 99}, "input_tokens")):
        for name in ("record_cost", "complete_run"):
            outcome = await do(scene, name, run_id=scene.run.id, **given)
            assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, blamed)
    outcome = await do(scene, "record_cost", run_id=scene.run.id, cost_usd=0.5)
    assert outcome.code is Refusal.VALIDATION_ERROR
    assert len(await events(scene, OpEventType.COST_TICK)) == 1


async def test_cost_2_without_a_cost_the_tokens_price_counts(scene: Scene) -> None:
    provider = models.Provider(
        id=new_id(), name="Vendor", type="ANTHROPIC", config={"prices": {"m": {"input": 2, "output": 10}}}
    )
    await scene.tenant.add(provider)
    await scene.set(scene.instance, provider_id=provider.id)
    await done(scene, "record_cost", run_id=scene.run.id, input_tokens=1_000, output_tokens=100)
    (tick,) = await events(scene, OpEventType.COST_TICK)
    assert tick.delta_usd == Decimal("0.003")
    assert "costMismatch" not in tick.payload


async def test_cost_2_a_cost_that_does_not_fit_its_tokens_is_kept_and_marked(scene: Scene) -> None:
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=1, input_tokens=1_000)
    (tick,) = await events(scene, OpEventType.COST_TICK)
    assert tick.delta_usd == 1
    assert tick.payload["costMismatch"] is True
    assert tick.payload["expectedUsd"] == 0.001


@pytest.mark.parametrize(
    ("tokens", "price", "expected"),
    [
        (Tokens(1000, 1000), PRICES["gpt-4"], "0.09"),
        (Tokens(1_000_000, 0), PRICES["claude-3-opus"], "15"),
        (Tokens(0, 0, 1_000_000, 0), PRICES["claude-3-sonnet"], "0.3"),
        (Tokens(0, 0, 0, 1_000_000), PRICES["claude-3-sonnet"], "3.75"),
    ],
)
def test_cost_2_the_formula(tokens: Tokens, price: Price, expected: str) -> None:
    assert cost_of(tokens, price) == Decimal(expected)


@pytest.mark.parametrize(
    ("model", "own", "expected"),
    [
        ("gpt-4-turbo-2024-04-09", None, PRICES["gpt-4-turbo"]),
        ("gpt-4-0613", None, PRICES["gpt-4"]),
        ("something-else", None, Price(Decimal(1), Decimal(3))),
        ("gpt-4", {"gpt-4": {"input": 7, "output": 8}}, Price(Decimal(7), Decimal(8))),
        ("gpt-4", {"gpt-4": {"input": -7, "output": 8}}, PRICES["gpt-4"]),
        ("gpt-4", {"gpt-4": "free"}, PRICES["gpt-4"]),
    ],
)
def test_cost_2_which_price(model: str, own: Any, expected: Price) -> None:
    assert price_of(model, own) == expected


def test_cost_2_a_tenth_is_near_enough() -> None:
    assert not is_mismatch(Decimal("1.1"), Decimal(1))
    assert is_mismatch(Decimal("1.11"), Decimal(1))
    assert not is_mismatch(Decimal(5), Decimal(0))


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(RunStatus))
@pytest.mark.parametrize("to", [one for one in RunStatus if one is not RunStatus.RUNNING])
@pytest.mark.parametrize("who", list(ActorType))
def test_run_1_the_table(status: RunStatus, to: RunStatus, who: ActorType) -> None:
    may = status is RunStatus.RUNNING and (to is not RunStatus.TIMEOUT or who is ActorType.SYSTEM)
    assert (who in RUN[status].get(to, frozenset())) is may


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (None, {"open": ("SUCCESS", None), "asked": ("DENIED", "its run ended before anybody approved it")}),
        (
            "crashed",
            {
                "open": ("FAILED", "ended with its run"),
                "asked": ("DENIED", "its run ended before anybody approved it"),
            },
        ),
    ],
)
async def test_run_4_what_the_calls_of_a_run_that_ends_say(
    scene: Scene, error: str | None, ends: dict[str, tuple[str, str | None]]
) -> None:
    """TOL-4. A call that waited never ran: it has an error whatever became of the run, and no duration."""
    about = {"run_id": scene.run.id, "instance_id": scene.instance.id, "version_id": scene.version.id}
    started = datetime.now(UTC) - timedelta(seconds=5)
    states = {"open": ToolCallStatus.RUNNING, "asked": ToolCallStatus.PENDING}
    await scene.tenant.add(
        *(
            models.ToolCall(tool_name=name, risk_level="GREEN", status=status, started_at=started, **about)
            for name, status in states.items()
        )
    )
    await done(scene, "complete_run", run_id=scene.run.id, error=error)
    calls = {one.tool_name: one for one in await scene.rows(models.ToolCall)}
    assert {name: (one.status.value, one.error) for name, one in calls.items()} == ends
    assert calls["asked"].duration_ms is None
    assert calls["open"].duration_ms >= 5_000


async def test_run_4_a_run_ends_once_with_all_that_hangs_on_it(scene: Scene) -> None:
    def call(name: str, status: ToolCallStatus) -> models.ToolCall:
        about = {"run_id": scene.run.id, "instance_id": scene.instance.id, "version_id": scene.version.id}
        return models.ToolCall(tool_name=name, risk_level="GREEN", status=status, started_at=datetime.now(UTC), **about)

    await scene.set(scene.task, budget_allocated=Decimal(5))
    await scene.tenant.add(call("open", ToolCallStatus.RUNNING), call("asked", ToolCallStatus.PENDING))
    ended = await done(scene, "complete_run", run_id=scene.run.id, cost_usd=1.5, output_tokens=7)
    assert ended.status is RunStatus.COMPLETED
    assert ended.duration_ms >= 0
    calls = {one.tool_name: one.status for one in await scene.rows(models.ToolCall)}
    assert calls == {"open": ToolCallStatus.SUCCESS, "asked": ToolCallStatus.DENIED}
    now = await task(scene)
    assert (now.actual_cost, now.budget_remaining) == (Decimal("1.5"), Decimal("3.5"))
    (completed,) = await events(scene, OpEventType.RUN_COMPLETED)
    (stored,) = await scene.rows(models.Run, id=scene.run.id)
    assert stored.duration_ms == int((stored.ended_at - stored.started_at).total_seconds() * 1000)
    assert completed.payload["costUsd"] == 1.5
    assert completed.payload["status"] == "COMPLETED"
    assert completed.payload["durationMs"] == stored.duration_ms
    assert completed.payload["outputTokens"] == 7
    again = await do(scene, "complete_run", run_id=scene.run.id)
    assert (again.code, again.field) == (Refusal.INVALID_STATE_TRANSITION, "run_id")
    for name, more in (("record_cost", {"cost_usd": 2.0}), ("record_run_step", {"index": 0, "kind": "x"})):
        late = await do(scene, name, run_id=scene.run.id, **more)
        assert late.code is Refusal.INVALID_STATE_TRANSITION, name


async def test_run_4_of_two_ends_at_once_one_counts(scene: Scene) -> None:
    outcomes = await asyncio.gather(*(do(scene, "complete_run", run_id=scene.run.id, cost_usd=1.0) for _ in range(4)))
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    assert (await agent(scene)).spend_today == 1
    assert len(await events(scene, OpEventType.RUN_COMPLETED)) == 1


async def test_run_4_an_error_makes_it_failed_and_keeps_no_secret(scene: Scene) -> None:
    secret = "sk-" + "a" * 40
    ended = await done(scene, "complete_run", run_id=scene.run.id, error=f"refused: {secret}")
    assert ended.status is RunStatus.FAILED
    (failed,) = await events(scene, OpEventType.RUN_FAILED)
    assert secret not in str(failed.payload)
    assert secret not in str(ended.error)


async def test_run_4_over_its_limit_a_run_ends_all_the_same_with_an_alert(scene: Scene) -> None:
    await scene.set(scene.run, budget_allocated=Decimal("0.5"))
    ended = await done(scene, "complete_run", run_id=scene.run.id, cost_usd=0.6)
    assert ended.status is RunStatus.COMPLETED
    (alert,) = await scene.rows(models.Alert)
    assert (alert.type, alert.run_id) == ("BUDGET_EXCEEDED", scene.run.id)


async def test_bud_5_the_cost_that_uses_up_a_tasks_budget_holds_the_task(scene: Scene) -> None:
    await scene.set(scene.task, budget_allocated=Decimal(1))
    await done(scene, "complete_run", run_id=scene.run.id, cost_usd=1)
    now = await task(scene)
    assert (now.status, now.budget_remaining) == (TaskStatus.NEEDS_APPROVAL, Decimal(0))
    (request,) = await scene.rows(models.ApprovalRecord)
    assert (request.request_type, request.target_id, request.estimated_cost) == ("BUDGET_OVERRIDE", scene.task.id, 0.5)
    (alert,) = await scene.rows(models.Alert)
    assert (alert.type, alert.task_id) == ("BUDGET_EXCEEDED", scene.task.id)


# --- budgets ----------------------------------------------------------------------------------------------------------


async def test_bud_4_the_tick_that_uses_up_the_day_contains_in_the_same_transaction(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"dailyUsd": 1})
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=1)
    found = await agent(scene)
    assert (found.state, found.paused_by) == (InstanceState.PAUSED, PauseCause.BUDGET)
    assert (await task(scene)).status is TaskStatus.NEEDS_APPROVAL
    records = await scene.rows(models.ChangeRecord)
    exceeded = records[0]
    assert exceeded.type is ChangeRecordType.BUDGET_EXCEEDED
    assert exceeded.after_state == {"scope": "DAY", "limit": 1.0, "spend": 1.0}
    (tick,) = await events(scene, OpEventType.COST_TICK)
    assert tick.payload["budgetExceeded"] is True
    assert tick.change_record_id == exceeded.id
    (request,) = await scene.rows(models.ApprovalRecord)
    assert (request.request_type, request.estimated_cost) == ("BUDGET_OVERRIDE", Decimal("0.5"))
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=1.2)
    assert len(await scene.rows(models.ApprovalRecord)) == 1  # once an agent and day


async def test_bud_4_a_month_that_is_used_up_contains_as_a_day_does(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"monthlyUsd": 1})
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.9)
    assert (await agent(scene)).state is InstanceState.ACTIVE
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=1)
    found = await agent(scene)
    assert (found.state, found.paused_by) == (InstanceState.PAUSED, PauseCause.BUDGET)
    (exceeded, *_) = await scene.rows(models.ChangeRecord)
    assert exceeded.after_state == {"scope": "MONTH", "limit": 1.0, "spend": 1.0}


async def test_bud_1_the_agents_own_cap_is_the_narrower_limit(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"dailyUsd": 10})
    await scene.set(scene.instance, cost_caps={"dailyUsd": 0.5})
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.5)
    assert (await agent(scene)).state is InstanceState.PAUSED


async def test_bud_6_a_day_that_is_nearly_spent_is_told_once(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"dailyUsd": 10})
    for total in (7.9, 8.0, 9.4, 9.5, 9.6):
        await done(scene, "record_cost", run_id=scene.run.id, cost_usd=total)
    shares = [one.payload.get("dailyLimitUsed") for one in await events(scene, OpEventType.COST_TICK)]
    assert shares == [None, 0.8, 0.94, 0.95, 0.96]
    alerts = await scene.rows(models.Alert)
    assert [(one.type, one.severity.value, one.occurrences) for one in alerts] == [("BUDGET_CRITICAL", "WARNING", 1)]


async def work_at_once(scene: Scene) -> tuple[list[models.OpEvent], Decimal]:
    """Six runs of one agent that report and end at once; their ticks, and what the agent's day has come to."""
    runs = [
        models.Run(
            id=new_id(),
            project_id=scene.tenant.project.id,
            idempotency_key=str(new_id()),
            instance_id=scene.instance.id,
            version_id=scene.version.id,
            session_key="s",
            started_at=datetime.now(UTC),
            model="m",
            status=RunStatus.RUNNING,
        )
        for _ in range(6)
    ]
    await scene.tenant.add(*runs)

    async def work(run_id: UUID) -> None:
        for total in (0.01, 0.03, 0.07):
            await done(scene, "record_cost", run_id=run_id, cost_usd=total)
        await done(scene, "complete_run", run_id=run_id, cost_usd=0.1)

    await asyncio.gather(*(work(one.id) for one in runs))
    ticks = await events(scene, OpEventType.COST_TICK)
    assert len(ticks) == 24
    for one in await scene.rows(models.Run):
        assert one.cost_usd == sum(tick.delta_usd or 0 for tick in ticks if tick.run_id == one.id)
    return ticks, (await agent(scene)).spend_today


async def test_cost_1_the_counter_is_the_sum_of_the_days_ticks_whoever_writes(scene: Scene) -> None:
    ticks, spent = await work_at_once(scene)
    assert sum(one.delta_usd or 0 for one in ticks) == spent == Decimal("0.6")


async def test_cost_1_the_counter_is_the_new_days_ticks_where_midnight_falls_between(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports of one agent at once, half of which begin before midnight in Auckland and half behind it."""
    await tz(scene.tenant, "Pacific/Auckland")
    midnight = next_reset(datetime.now(UTC), ZoneInfo("Pacific/Auckland"))
    begun = count()

    def clock() -> datetime:
        return midnight + timedelta(minutes=-2 if next(begun) < 12 else 2)

    monkeypatch.setattr("app.unit_of_work.utc_now", clock)
    ticks, spent = await work_at_once(scene)
    days = [sum(one.delta_usd or 0 for one in ticks if (one.timestamp >= midnight) is new) for new in (False, True)]
    assert all(days)
    assert sum(days) == Decimal("0.6")
    assert spent == days[1]


async def test_bud_2_the_day_begins_at_the_tenants_midnight(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks before and after midnight in Auckland, where it is not midnight in UTC."""
    await tz(scene.tenant, "Pacific/Auckland")
    zone = ZoneInfo("Pacific/Auckland")
    midnight = next_reset(datetime.now(UTC), zone)
    moment = [midnight - timedelta(minutes=2)]
    monkeypatch.setattr("app.unit_of_work.utc_now", lambda: moment[0])
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.4)
    assert (await agent(scene)).spend_reset_at == midnight
    moment[0] = midnight + timedelta(minutes=2)
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.5)
    found = await agent(scene)
    assert (found.spend_today, found.spend_reset_at) == (Decimal("0.1"), midnight + timedelta(days=1))
    moment[0] = midnight - timedelta(minutes=1)  # one that had waited for the row since before midnight
    await done(scene, "record_cost", run_id=scene.run.id, cost_usd=0.7)
    assert (await agent(scene)).spend_today == Decimal("0.1")
    ticks = await events(scene, OpEventType.COST_TICK)
    of_today = [one.delta_usd for one in ticks if one.timestamp >= midnight]
    assert of_today == [(await agent(scene)).spend_today]


@pytest.mark.parametrize(
    ("now", "zone", "expected"),
    [
        ("2026-03-10T12:00:00+00:00", "UTC", "2026-03-11T00:00:00+00:00"),
        ("2026-03-10T23:30:00+00:00", "Europe/Berlin", "2026-03-11T23:00:00+00:00"),
        ("2026-03-29T00:30:00+00:00", "Europe/Berlin", "2026-03-29T22:00:00+00:00"),  # a day of 23 hours
        ("2026-10-25T00:30:00+00:00", "Europe/Berlin", "2026-10-25T23:00:00+00:00"),  # and one of 25
    ],
)
def test_bud_2_the_next_local_midnight(now: str, zone: str, expected: str) -> None:
    assert next_reset(datetime.fromisoformat(now), ZoneInfo(zone)) == datetime.fromisoformat(expected)


def test_bud_2_a_new_month_begins_its_own_counter() -> None:
    found = models.AgentInstance(spend_today=Decimal(1), spend_month=Decimal(9))
    found.spend_reset_at = datetime(2026, 11, 30, tzinfo=UTC)
    zone = ZoneInfo("UTC")
    assert not reset_if_due(found, datetime(2026, 11, 29, 23, 59, tzinfo=UTC), zone)
    assert reset_if_due(found, datetime(2026, 11, 30, 0, 0, tzinfo=UTC), zone)
    assert (found.spend_today, found.spend_month) == (Decimal(0), Decimal(9))
    assert reset_if_due(found, datetime(2026, 12, 1, 0, 0, tzinfo=UTC), zone)
    assert (found.spend_month, found.spend_reset_at) == (Decimal(0), datetime(2026, 12, 2, tzinfo=UTC))
