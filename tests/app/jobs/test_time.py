"""What time does to runs, budgets, children, series and versions (RUN-6, BUD-2, POL-9, TASK-7, GEN-9)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from app.commands import Done
from app.execution.commands.renewal import BATCH
from app.governance.spend import next_reset
from app.jobs.all import JOBS, sweep
from app.running import run_as_system
from db import models
from db.enums import (
    AlertStatus,
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    OpEventType,
    PauseCause,
    RunStatus,
    TaskStatus,
)
from db.ids import new_id
from tests.app.execution.desk import Desk, desk, registry
from tests.asking import recorded
from tests.governed import GENOME

__all__ = ["desk", "registry"]


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


async def job(desk: Desk, name: str) -> dict[str, Any]:
    outcome = await run_as_system(desk.tenant.database, desk.tenant.id, name, {})
    assert isinstance(outcome, Done)
    return outcome.extras


async def all_of(desk: Desk, model: Any) -> list[Any]:
    async with desk.tenant.database.transaction(desk.human) as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def alter(desk: Desk, row: Any, **columns: Any) -> None:
    async with desk.tenant.database.transaction(desk.human) as session:
        found = await session.get(type(row), (desk.tenant.id, row.id))
        for name, value in columns.items():
            setattr(found, name, value)


def test_behaviour_18_every_job_is_there() -> None:
    """The scheduled work of this part, by name."""
    names = {one.name for one in JOBS}
    assert {
        "loop-detector",
        "stale-heartbeats",
        "run-timeout",
        "budget-reset",
        "integrity-sweep",
        "recurring-tasks",
    } <= names


# --- RUN-6 ------------------------------------------------------------------------------------------------------------


async def a_run(desk: Desk, minutes: float, *, agent: models.AgentInstance | None = None, **columns: Any) -> models.Run:
    agent = agent or await desk.agent()
    made = models.Run(
        id=new_id(),
        idempotency_key=new_id().hex,
        instance_id=agent.id,
        version_id=agent.version_id,
        session_key="s",
        started_at=ago(minutes=minutes),
        model="m",
        **{"status": RunStatus.RUNNING, **columns},
    )
    await desk.tenant.add(made)
    return made


@pytest.mark.parametrize(("minutes", "ended"), [(59, 0), (61, 1)])
async def test_run_6_an_hour_is_enough(desk: Desk, minutes: float, ended: int) -> None:
    """TIMEOUT, with RUN_FAILED for an event; its cost so far goes to its task; once."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    run = await a_run(desk, minutes, agent=agent, task_id=task.id, cost_usd=Decimal("0.5"))
    assert await job(desk, "time_out_runs") == {"ended": ended, "more": False}
    assert (await job(desk, "time_out_runs"))["ended"] == 0
    row = await desk.get(models.Run, run.id)
    assert row.status is (RunStatus.TIMEOUT if ended else RunStatus.RUNNING)
    if ended:
        (event,) = await all_of(desk, models.OpEvent)
        assert (event.type, event.payload["status"], event.run_id) == (OpEventType.RUN_FAILED, "TIMEOUT", run.id)
        assert row.error == "Its end was not reported within 60 minutes."
        assert (await desk.get(models.Task, task.id)).actual_cost == Decimal("0.5")
        assert (await desk.get(models.Task, task.id)).status is TaskStatus.IN_PROGRESS


@pytest.mark.parametrize(("cap", "minutes", "ended"), [(5, 4, 0), (5, 6, 1), (120, 61, 0), (120, 121, 1)])
async def test_run_6_the_policy_may_say_otherwise(desk: Desk, cap: int, minutes: float, ended: int) -> None:
    """`caps.maxRunMinutes` of the agent's policy in force, and nobody else's."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="c",
            attached_to_version_id=desk.version.id,
            caps={"maxRunMinutes": cap, "maxRunsPerHour": 1},
            version=1,
            active=True,
        )
    )
    other = await desk.registry.version()
    await a_run(desk, minutes)
    free = await a_run(desk, 30, agent=await desk.agent(version_id=other.id))
    assert (await job(desk, "time_out_runs"))["ended"] == ended
    assert (await desk.get(models.Run, free.id)).status is RunStatus.RUNNING


async def test_run_6_what_has_ended_is_left_alone(desk: Desk) -> None:
    """Whatever its age; and two jobs at once end a run once."""
    for status in (RunStatus.COMPLETED, RunStatus.FAILED):
        await a_run(desk, 600, status=status)
    await a_run(desk, 61)
    found = await asyncio.gather(*(job(desk, "time_out_runs") for _ in range(4)))
    assert sum(one["ended"] for one in found) == 1
    assert len(await all_of(desk, models.OpEvent)) == 1


# --- BUD-2 ------------------------------------------------------------------------------------------------------------


async def zone(desk: Desk, name: str) -> None:
    async with desk.tenant.database.platform() as connection:
        await connection.exec_driver_sql("UPDATE tenants SET timezone = $2 WHERE id = $1", (desk.tenant.id, name))


@pytest.mark.parametrize("name", ["UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland"])
async def test_bud_2_a_day_begins_anew_at_local_midnight(desk: Desk, name: str) -> None:
    """Today's spend is 0, the next reset is the next midnight there; the month's spend goes with the month alone."""
    await zone(desk, name)
    here = ZoneInfo(name)
    midnight = datetime.now(here).replace(hour=0, minute=0, second=0, microsecond=0)
    first = midnight.replace(day=1)
    spent: dict[str, Any] = {"spend_today": Decimal(2), "spend_month": Decimal(5)}
    over = await desk.agent(spend_reset_at=midnight.astimezone(UTC), **spent)
    month = await desk.agent(spend_reset_at=first.astimezone(UTC), **spent)
    running = await desk.agent(spend_reset_at=next_reset(datetime.now(UTC), here), **spent)
    await job(desk, "renew_budgets")
    rows = [await desk.get(models.AgentInstance, one.id) for one in (over, month, running)]
    assert [row.spend_today for row in rows] == [0, 0, 2]
    same_month = midnight.day != 1
    assert [row.spend_month for row in rows] == [5 if same_month else 0, 0, 5]
    tomorrow = (midnight + timedelta(days=1, hours=3)).replace(hour=0)
    assert {row.spend_reset_at for row in rows} == {tomorrow.astimezone(UTC)}
    assert await all_of(desk, models.ChangeRecord) == []


async def contained(desk: Desk, until: datetime, **columns: Any) -> models.AgentInstance:
    """An agent that its budget paused, with its work held, its alert and its request, as containment leaves them."""
    agent = await desk.agent(spend_today=Decimal(2), spend_month=Decimal(2), spend_reset_at=until, **columns)
    await alter(desk, agent, cost_caps={"dailyUsd": 2.0, **(columns.get("cost_caps") or {})})
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    run = await desk.do(
        "start_run", desk.as_agent(agent), instance_id=agent.id, model="m", session_key="s", task_id=task.id
    )
    assert run is not None
    assert (await desk.get(models.AgentInstance, agent.id)).state is InstanceState.PAUSED
    return agent


async def test_bud_2_an_agent_that_its_budget_paused_goes_on(desk: Desk) -> None:
    """With its work, by the gateway; the request for more is withdrawn, the alert resolved; no second time."""
    agent = await contained(desk, datetime.now(UTC) + timedelta(hours=1))
    assert (await job(desk, "renew_budgets"))["resumed"] == 0
    await _end_of_day(desk, agent)
    assert (await job(desk, "renew_budgets"))["resumed"] == 1
    assert (await job(desk, "renew_budgets"))["resumed"] == 0
    row = await desk.get(models.AgentInstance, agent.id)
    assert (row.state, row.paused_by, row.spend_today) == (InstanceState.ACTIVE, None, 0)
    assert [one.status for one in await all_of(desk, models.Task)] == [TaskStatus.IN_PROGRESS]
    assert [one.status for one in await all_of(desk, models.ApprovalRecord)] == [ApprovalDecision.CANCELED]
    assert [one.status for one in await all_of(desk, models.Alert)] == [AlertStatus.RESOLVED]
    moved = [
        one for one in await all_of(desk, models.ChangeRecord) if one.type is ChangeRecordType.INSTANCE_TRANSITIONED
    ]
    assert (moved[-1].actor_type.value, moved[-1].after_state["state"]) == ("SYSTEM", "ACTIVE")


async def _end_of_day(desk: Desk, agent: models.AgentInstance) -> None:
    row = await desk.get(models.AgentInstance, agent.id)
    over = ago(minutes=1)
    await alter(
        desk, agent, spend_reset_at=over, metadata_={**(row.metadata_ or {}), "budgetContainedUntil": over.isoformat()}
    )


async def test_bud_2_a_month_that_is_spent_keeps_it_paused(desk: Desk) -> None:
    """Until the month is over, looked at once a day."""
    agent = await contained(desk, datetime.now(UTC) + timedelta(hours=1), cost_caps={"monthlyUsd": 2.0})
    await alter(desk, agent, spend_month=Decimal(200))
    row = await desk.get(models.AgentInstance, agent.id)
    await alter(desk, agent, cost_caps={**row.cost_caps, "monthlyUsd": 2.0})
    await _end_of_day(desk, agent)
    if (ago(minutes=1) - timedelta(milliseconds=1)).month != datetime.now(UTC).month:
        pytest.skip("the month has just ended")
    assert (await job(desk, "renew_budgets"))["resumed"] == 0
    row = await desk.get(models.AgentInstance, agent.id)
    assert (row.state, row.spend_today) == (InstanceState.PAUSED, 0)
    assert datetime.fromisoformat(row.metadata_["budgetContainedUntil"]) > datetime.now(UTC)
    assert [one.status for one in await all_of(desk, models.ApprovalRecord)] == [ApprovalDecision.PENDING]


@pytest.mark.parametrize("cause", [PauseCause.OPERATOR, PauseCause.EMERGENCY])
async def test_bud_2_what_others_paused_stays_paused(desk: Desk, cause: PauseCause) -> None:
    """EMG-6."""
    agent = await desk.agent(state=InstanceState.PAUSED, paused_by=cause, spend_reset_at=ago(minutes=1))
    assert (await job(desk, "renew_budgets"))["resumed"] == 0
    assert (await desk.get(models.AgentInstance, agent.id)).state is InstanceState.PAUSED


async def test_bud_2_in_an_emergency_it_is_the_emergency_that_holds_it(desk: Desk) -> None:
    """EMG-6: its end lets it go on."""
    agent = await contained(desk, datetime.now(UTC) + timedelta(hours=1))
    await desk.mode(OperatorMode.PAUSED)
    await _end_of_day(desk, agent)
    await job(desk, "renew_budgets")
    row = await desk.get(models.AgentInstance, agent.id)
    assert (row.state, row.paused_by, row.pre_pause_state) == (
        InstanceState.PAUSED,
        PauseCause.EMERGENCY,
        InstanceState.ACTIVE,
    )


async def test_bud_2_a_thousand_days_end_with_one_statement(desk: Desk) -> None:
    """However many agents: nobody waits for their loop."""
    await desk.agents(300, spend_today=Decimal(1), spend_reset_at=ago(minutes=1))
    with recorded(desk.tenant.database.engine) as statements:
        assert (await job(desk, "renew_budgets"))["more"] is False
    assert len([one for one in statements if one.startswith("UPDATE agent_instances")]) == 1
    assert len(statements) <= 5, statements
    assert {one.spend_today for one in await all_of(desk, models.AgentInstance)} == {0}
    assert BATCH < 300


# --- POL-9 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hours", "retired"), [(5.9, 0), (6.1, 1)])
async def test_pol_9_a_child_lives_six_hours(desk: Desk, hours: float, retired: int) -> None:
    """From its activation; its parent and other agents go on."""
    parent = await desk.agent(activated_at=ago(days=9))
    child = await desk.agent(parent_instance_id=parent.id, activated_at=ago(hours=hours))
    assert (await job(desk, "retire_children"))["retired"] == retired
    row = await desk.get(models.AgentInstance, child.id)
    assert (row.state is InstanceState.RETIRED) is bool(retired)
    assert (row.retired_at is not None) is bool(retired)
    assert (await desk.get(models.AgentInstance, parent.id)).state is InstanceState.ACTIVE


async def test_pol_9_its_parents_policy_may_give_it_less(desk: Desk) -> None:
    """`spawnLimits.ttlMs`."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="s",
            attached_to_version_id=desk.version.id,
            spawn_limits={"ttlMs": 60_000},
            version=1,
            active=True,
        )
    )
    parent = await desk.agent()
    await desk.agent(parent_instance_id=parent.id, activated_at=ago(seconds=50))
    await desk.agent(parent_instance_id=parent.id, activated_at=ago(seconds=70))
    assert (await job(desk, "retire_children"))["retired"] == 1


@pytest.mark.parametrize("status", list(TaskStatus))
async def test_pol_9_a_child_ends_with_the_task_that_it_is_for(desk: Desk, status: TaskStatus) -> None:
    """DONE, CANCELED or FAILED; notes that name no task are passed over."""
    parent = await desk.agent()
    task = await desk.task(status, parent)
    await desk.agent(parent_instance_id=parent.id, metadata_={"parentTaskId": str(task.id)})
    await desk.agent(parent_instance_id=parent.id, metadata_={"parentTaskId": "no id"})
    over = status in (TaskStatus.DONE, TaskStatus.CANCELED, TaskStatus.FAILED)
    assert (await job(desk, "retire_children"))["retired"] == int(over)


async def test_pol_9_children_go_with_their_parent_level_by_level(desk: Desk) -> None:
    """Each pass retires those whose parent has retired, in whatever state they are."""
    parent = await desk.agent(state=InstanceState.RETIRED)
    child = await desk.agent(state=InstanceState.QUARANTINED, parent_instance_id=parent.id)
    await desk.agent(parent_instance_id=child.id)
    assert (await job(desk, "retire_children"))["retired"] == 1
    assert (await job(desk, "retire_children"))["retired"] == 1
    assert (await job(desk, "retire_children"))["retired"] == 0


# --- TASK-7 -----------------------------------------------------------------------------------------------------------

WEEKLY = {"frequency": "WEEKLY", "interval": 1}


async def test_task_7_the_next_copy(desk: Desk) -> None:
    """In INBOX, nobody's, a week later, with its due date moved along; the series goes on with it, and once."""
    agent = await desk.agent()
    first = ago(minutes=1)
    task = await desk.task(
        TaskStatus.DONE, agent, recurrence=WEEKLY, scheduled_for=first, due_at=first + timedelta(hours=8), labels=["x"]
    )
    assert (await job(desk, "repeat_tasks"))["made"] == 1
    assert (await job(desk, "repeat_tasks"))["made"] == 0
    old, copy = await all_of(desk, models.Task)
    assert (old.id, old.status, old.metadata_["repeatedAs"]) == (task.id, TaskStatus.DONE, str(copy.id))
    assert (copy.status, copy.title, copy.labels, copy.recurrence) == (TaskStatus.INBOX, task.title, ["x"], WEEKLY)
    assert copy.scheduled_for - old.scheduled_for == timedelta(weeks=1)
    assert copy.due_at - copy.scheduled_for == timedelta(hours=8)
    assert copy.created_by.value == "SYSTEM"
    (record,) = await all_of(desk, models.ChangeRecord)
    assert (record.type, record.target_id) == (ChangeRecordType.TASK_CREATED, copy.id)
    async with desk.tenant.database.transaction(desk.human) as session:
        links = list(await session.scalars(select(models.TaskAssignee)))
    assert [one.task_id for one in links] == [task.id]


@pytest.mark.parametrize(
    "columns",
    [
        {"recurrence": WEEKLY, "scheduled_for": datetime.now(UTC) + timedelta(hours=1)},
        {"recurrence": WEEKLY},
        {"scheduled_for": datetime.now(UTC) - timedelta(hours=1)},
        {"recurrence": {**WEEKLY, "endDate": "2020-01-01T00:00:00Z"}, "scheduled_for": ago(hours=1)},
        {"recurrence": {"frequency": "NEVER"}, "scheduled_for": ago(hours=1)},
    ],
)
async def test_task_7_no_copy(desk: Desk, columns: dict[str, Any]) -> None:
    """Before its time, without a time or a series, after the end; what an import brought that is none."""
    await desk.task(**columns)
    assert (await job(desk, "repeat_tasks"))["made"] == 0
    assert len(await all_of(desk, models.Task)) == 1


async def test_task_7_two_at_once_make_one_copy(desk: Desk) -> None:
    """They take turns on the task; and nothing comes again in a project that is deleted."""
    await desk.task(recurrence=WEEKLY, scheduled_for=ago(minutes=1))
    made = await asyncio.gather(*(job(desk, "repeat_tasks") for _ in range(5)))
    assert sum(one["made"] for one in made) == 1
    gone = models.Project(id=new_id(), name="Gone", slug="gone", deleted_at=ago(days=1))
    await desk.tenant.add(gone)
    await desk.task(recurrence=WEEKLY, scheduled_for=ago(minutes=1), project_id=gone.id)
    assert (await job(desk, "repeat_tasks"))["made"] == 0


# --- GEN-9 ------------------------------------------------------------------------------------------------------------


async def test_gen_9_an_altered_version_is_found_and_contained_once(desk: Desk) -> None:
    """Its agents are quarantined; sound and RETIRED ones leave nothing; people hear of each once."""
    agent = await desk.agent()
    sound = await desk.registry.version()
    for _ in range(2):
        await desk.tenant.add(
            models.AgentVersion(
                id=new_id(), template_id=desk.registry.template.id, genome={**GENOME, "x": 1}, genome_hash="0" * 64
            )
        )
    for _ in range(2):
        await sweep(desk.tenant.database, desk.tenant.id)
    records = await all_of(desk, models.ChangeRecord)
    assert [one.type for one in records] == [ChangeRecordType.VERSION_INTEGRITY_FAILED] * 2
    assert sound.id not in {one.target_id for one in records}
    assert [one.occurrences for one in await all_of(desk, models.Alert)] == [1, 1]
    assert (await desk.get(models.AgentInstance, agent.id)).state is InstanceState.ACTIVE
    for alert in await all_of(desk, models.Alert):
        await desk.registry.done("resolve_alert", alert_id=alert.id)
    await sweep(desk.tenant.database, desk.tenant.id)
    assert len(await all_of(desk, models.ChangeRecord)) == 4


async def test_gen_9_batch_by_batch_every_version_is_looked_at(desk: Desk) -> None:
    """The next batch begins after the last one."""
    for _ in range(4):
        await desk.registry.version()
    seen, after = 0, None
    while True:
        arguments = {"after": after, "limit": 2}
        outcome = await run_as_system(desk.tenant.database, desk.tenant.id, "sweep_versions", arguments)
        assert isinstance(outcome, Done)
        seen += outcome.extras["looked_at"]
        if not outcome.extras["more"]:
            break
        after = outcome.extras["last"]
    assert seen == 5
