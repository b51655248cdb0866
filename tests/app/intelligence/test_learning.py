"""What finished tasks teach about their agents, as tasks finish."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.commands import Done
from app.running import run
from db import models
from db.connections import Connections
from db.enums import TaskStatus, TaskType
from db.session import Database
from tests.app.execution.desk import Desk, desk, registry

__all__ = ["desk", "registry"]

T = TaskStatus


async def finished(desk: Desk, *agents: models.AgentInstance, fails: bool = False, **columns: Any) -> models.Task:
    """A task that one step ends."""
    task = await desk.task(T.IN_PROGRESS if fails else T.REVIEW, *agents, **columns)
    if fails:
        await desk.moved(task, T.FAILED, desk.system, error="broken")
    else:
        await desk.moved(task, T.DONE)
    return task


async def test_lrn_1_done_counts_for_each_agent_with_its_part_of_the_cost(desk: Desk) -> None:
    """At the version that it runs; running means of time and cost."""
    one, two = await desk.agents(2)
    begun = datetime.now(UTC) - timedelta(minutes=10)
    await finished(desk, one, two, actual_cost=Decimal(4), started_at=begun)
    await finished(desk, one, actual_cost=Decimal(1))
    first, second = sorted(await desk.rows(models.AgentPerformance), key=lambda row: row.instance_id != one.id)
    assert (first.instance_id, first.version_id, first.task_type) == (one.id, desk.version.id, "OPS")
    assert (first.success_count, first.failure_count, first.total_tasks_completed) == (2, 0, 2)
    assert first.avg_cost_usd == Decimal("1.5")
    assert first.avg_completion_time_ms == pytest.approx(600_000, abs=60_000)
    assert (second.success_count, second.avg_cost_usd) == (1, Decimal(2))


async def test_lrn_1_failed_counts_as_failure_and_canceled_not_at_all(desk: Desk) -> None:
    """What is not known moves no mean."""
    agent = await desk.agent()
    await finished(desk, agent, fails=True)
    dropped = await desk.task(T.REVIEW, agent)
    await desk.moved(dropped, T.CANCELED)
    (row,) = await desk.rows(models.AgentPerformance)
    assert (row.success_count, row.failure_count, row.total_tasks_completed) == (0, 1, 1)
    assert (row.avg_cost_usd, row.avg_completion_time_ms) == (Decimal(0), 0.0)


async def test_lrn_1_nobodys_task_teaches_nothing(desk: Desk) -> None:
    """No row."""
    await finished(desk)
    assert await desk.rows(models.AgentPerformance) == []


async def test_lrn_3_two_successes_are_a_strength_and_more_make_it_surer(desk: Desk) -> None:
    """One pattern, its evidence the tasks, each once."""
    agent = await desk.agent()
    await finished(desk, agent)
    assert await desk.rows(models.AgentPattern) == []
    second, third = await finished(desk, agent), await finished(desk, agent)
    (pattern,) = await desk.rows(models.AgentPattern)
    assert (pattern.pattern, pattern.confidence) == ("strength:OPS", 1.0)
    assert sorted(pattern.evidence) == sorted([str(second.id), str(third.id)])
    await finished(desk, agent, fails=True)  # 3 of 4: neither
    (same,) = await desk.rows(models.AgentPattern)
    assert same.last_seen_at == pattern.last_seen_at


async def test_lrn_2_a_weakness_is_less_sure_once_there_is_a_success(desk: Desk) -> None:
    """0.4 of before and 0.6 of now."""
    agent = await desk.agent()
    for _ in range(2):
        await finished(desk, agent, fails=True)
    await finished(desk, agent)
    (pattern,) = await desk.rows(models.AgentPattern)
    assert pattern.pattern == "weakness:OPS"
    assert pattern.confidence == pytest.approx(0.4 * 1.0 + 0.6 * (1 - 1 / 3))


async def test_lrn_1_types_and_versions_are_apart(desk: Desk) -> None:
    """So that versions can be compared."""
    agent, newer = await desk.agent(), await desk.agent(version_id=(await desk.registry.version()).id)
    await finished(desk, agent)
    await finished(desk, agent, type=TaskType.DOCS)
    await finished(desk, newer)
    rows = await desk.rows(models.AgentPerformance)
    assert {(row.version_id, row.task_type, row.total_tasks_completed) for row in rows} == {
        (agent.version_id, "OPS", 1),
        (agent.version_id, "DOCS", 1),
        (newer.version_id, "OPS", 1),
    }


async def test_lrn_1_many_tasks_that_end_at_once_are_all_counted(desk: Desk, connections: Connections) -> None:
    """Shared by the same two agents in either order: none is lost, and nobody is deadlocked."""
    one, two = await desk.agents(2)
    tasks = [await desk.task(T.REVIEW, *((one, two) if at % 2 else (two, one))) for at in range(20)]
    database = Database(connections, pool_size=16, pool_timeout_seconds=120)
    try:
        outcomes = await asyncio.gather(
            *(run(database, desk.human, "transition_task", {"task_id": task.id, "to": T.DONE}) for task in tasks)
        )
    finally:
        await database.close()
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    rows = await desk.rows(models.AgentPerformance)
    assert [(row.success_count, row.total_tasks_completed) for row in rows] == [(20, 20), (20, 20)]
