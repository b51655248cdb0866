"""Giving tasks to agents: who may be given what, claims by many at once, and the best of a project."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.commands import Done, Refusal, Refused
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.connections import Connections
from db.enums import (
    InstanceState,
    OperatorMode,
    OrgPosition,
    OrgScope,
    TaskStatus,
    TaskType,
)
from db.ids import new_id
from db.session import Database
from tests.app.execution.desk import Desk, desk, registry

__all__ = ["desk", "registry"]

T = TaskStatus


async def assign(desk: Desk, task: models.Task, *agents: models.AgentInstance, actor: Any = None) -> Done | Refused:
    return await desk.do("assign_task", actor, task_id=task.id, instance_ids=[one.id for one in agents])


async def claim(desk: Desk, agent: models.AgentInstance, task: models.Task | None = None) -> Done | Refused:
    arguments = {} if task is None else {"task_id": task.id}
    return await desk.do("claim_task", desk.as_agent(agent), instance_id=agent.id, **arguments)


# --- Assigning --------------------------------------------------------------------------------------------------------


async def test_task_3_assigning_out_of_inbox_moves_the_task(desk: Desk) -> None:
    """TASK_ASSIGNED, and TASK_TRANSITIONED that hangs on it; the agents in the order given."""
    one, two = await desk.agents(2)
    task = await desk.task()
    outcome = await assign(desk, task, two, one)
    assert isinstance(outcome, Done)
    assert (await desk.get(models.Task, task.id)).status is T.ASSIGNED
    assert await desk.assignees(task) == [two.id, one.id]
    assigned, moved = await desk.registry.journal()
    assert (assigned["type"], assigned["causedBy"]) == ("TASK_ASSIGNED", None)
    assert (assigned["beforeState"], assigned["afterState"]) == (
        {"assigneeIds": []},
        {"assigneeIds": [str(two.id), str(one.id)]},
    )
    assert (moved["type"], moved["causedBy"]) == ("TASK_TRANSITIONED", {"seq": assigned["seq"]})


async def test_task_3_later_the_task_stays_where_it_is(desk: Desk) -> None:
    """Only TASK_ASSIGNED, and only the new agent is told."""
    one, two = await desk.agents(2)
    task = await desk.task(T.IN_PROGRESS, one)
    await assign(desk, task, one, two)
    assert (await desk.get(models.Task, task.id)).status is T.IN_PROGRESS
    assert await desk.registry.types() == ["TASK_ASSIGNED"]
    (event,) = await desk.rows(models.NotificationEvent)
    assert (event.event_type, event.payload["assigneeIds"]) == ("TASK_ASSIGNED", [str(two.id)])


async def test_sm_3_the_same_agents_again_are_a_conflict(desk: Desk) -> None:
    """Nothing would change; in another order it would."""
    one, two = await desk.agents(2)
    task = await desk.task(T.ASSIGNED, one, two)
    again = await assign(desk, task, one, two)
    assert isinstance(again, Refused)
    assert (again.code, again.field) == (Refusal.CONFLICT, "instance_ids")
    assert isinstance(await assign(desk, task, two, one), Done)


@pytest.mark.parametrize("state", list(InstanceState))
async def test_task_3_only_active_and_readonly_agents_are_given_work(desk: Desk, state: InstanceState) -> None:
    """The others are refused, and the field names which of them."""
    good, other = await desk.agent(), await desk.agent(state=state)
    task = await desk.task()
    outcome = await assign(desk, task, good, other)
    if state in (InstanceState.ACTIVE, InstanceState.READONLY):
        assert isinstance(outcome, Done)
    else:
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field) == (Refusal.DEPENDENCY_NOT_MET, "instance_ids[1]")
        assert await desk.assignees(task) == []


async def test_task_3_the_type_must_be_allowed_and_the_project_the_same(desk: Desk) -> None:
    """By the policy in force for each agent."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="docs", version=1, active=True, allowed_task_types=["DOCS"], attached_to_version_id=desk.version.id
        )
    )
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    agent, far = await desk.agent(), await desk.agent(project_id=project.id)
    ops, docs = await desk.task(), await desk.task(type=TaskType.DOCS)
    refused = await assign(desk, ops, agent)
    assert isinstance(refused, Refused)
    assert "OPS" in refused.message
    stranger = await assign(desk, docs, far)
    assert isinstance(stranger, Refused)
    assert (stranger.code, stranger.field) == (Refusal.VALIDATION_ERROR, "instance_ids[0]")
    assert isinstance(await assign(desk, docs, agent), Done)


@pytest.mark.parametrize("state", [T.DONE, T.CANCELED, T.FAILED])
async def test_task_3_what_is_over_is_given_to_nobody(desk: Desk, state: TaskStatus) -> None:
    """With the steps that there are."""
    refused = await assign(desk, await desk.task(state), await desk.agent())
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.INVALID_STATE_TRANSITION


@pytest.mark.parametrize("mode", [OperatorMode.DRAINING, OperatorMode.PAUSED, OperatorMode.QUARANTINED])
@pytest.mark.parametrize("how", ["assign", "claim", "claim next", "auto"])
async def test_emg_4_nobody_is_given_work_in_an_emergency(desk: Desk, mode: OperatorMode, how: str) -> None:
    """In whatever way."""
    agent, task = await desk.agent(), await desk.task()
    await desk.mode(mode)
    match how:
        case "assign":
            outcome = await assign(desk, task, agent)
        case "claim":
            outcome = await claim(desk, agent, task)
        case "claim next":
            outcome = await claim(desk, agent)
        case _:
            outcome = await desk.do("auto_assign_task", task_id=task.id)
    assert isinstance(outcome, Refused)
    assert "EMG-4" in outcome.message
    assert await desk.assignees(task) == []


@pytest.mark.parametrize("how", ["position", "legacy", "neither", "elsewhere"])
async def test_tsk_8_a_lead_gives_work_to_others(desk: Desk, how: str) -> None:
    """A LEAD or CEO of the project, or one of the legacy system; nobody else."""
    lead = await desk.agent(metadata_={"legacyRole": "LEAD"} if how == "legacy" else None)
    other, task = await desk.agent(), await desk.task()
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    if how in ("position", "elsewhere"):
        place = desk.tenant.project.id if how == "position" else project.id
        await desk.tenant.add(
            models.OrgAssignment(
                instance_id=lead.id,
                project_id=place,
                org_position=OrgPosition.LEAD,
                scope=OrgScope.PROJECT,
                assigned_at=datetime.now(UTC),
            )
        )
    outcome = await assign(desk, task, other, actor=desk.as_agent(lead))
    assert isinstance(outcome, Done if how in ("position", "legacy") else Refused), outcome
    far = await desk.task(project_id=project.id)
    beyond = await assign(desk, far, other, actor=desk.as_agent(lead))
    assert isinstance(beyond, Refused)


# --- Claiming ---------------------------------------------------------------------------------------------------------


async def test_task_3_a_claim_takes_the_named_task_and_the_second_comes_too_late(desk: Desk) -> None:
    """The first wins."""
    one, two = await desk.agents(2)
    task = await desk.task()
    assert isinstance(await claim(desk, one, task), Done)
    late = await claim(desk, two, task)
    assert isinstance(late, Refused)
    assert (late.code, late.field) == (Refusal.CONFLICT, "task_id")
    assert await desk.assignees(task) == [one.id]
    assert await desk.registry.types() == ["TASK_ASSIGNED", "TASK_TRANSITIONED"]


async def test_rbac_11_an_agent_claims_for_itself_alone(desk: Desk) -> None:
    """And in its own project."""
    one, two = await desk.agents(2)
    task = await desk.task()
    with pytest.raises(PermissionDenied):
        await desk.do("claim_task", desk.as_agent(one), instance_id=two.id, task_id=task.id)
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    far = await claim(desk, one, await desk.task(project_id=project.id))
    assert isinstance(far, Refused)
    assert far.code is Refusal.NOT_FOUND


async def test_tsk_8_an_agent_of_tier_1_claims_nothing(desk: Desk) -> None:
    """Neither a named task nor the next."""
    agent, task = await desk.agent(), await desk.task()
    await desk.tenant.add(
        models.PolicyEnvelope(name="t", version=1, active=True, autonomy_tier=1, attached_to_version_id=desk.version.id)
    )
    for outcome in (await claim(desk, agent, task), await claim(desk, agent)):
        assert isinstance(outcome, Refused)
        assert "TSK-8" in outcome.message


async def test_task_3_the_next_task_is_the_most_urgent_that_the_agent_may_begin(desk: Desk) -> None:
    """By priority, then age; not one that is meant for another, that waits for another, or that it may not do."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="p",
            version=1,
            active=True,
            allowed_task_types=["OPS", "DOCS"],
            attached_to_version_id=desk.version.id,
        )
    )
    agent, other = await desk.agents(2)
    parent = await desk.task(T.BLOCKED)
    await desk.task(T.INBOX, other, priority=1)
    await desk.task(priority=1, type=TaskType.CONTENT)
    waiting = await desk.task(priority=1, parent_task_id=parent.id)
    before = await desk.task(T.REVIEW, parent_task_id=parent.id)
    await desk.tenant.add(
        models.TaskDependency(parent_task_id=parent.id, task_id=waiting.id, depends_on_task_id=before.id)
    )
    third, first, second = await desk.task(priority=3), await desk.task(priority=2), await desk.task(priority=2)
    mine = await desk.task(T.INBOX, agent, priority=4)
    taken = []
    for _ in range(4):
        outcome = await claim(desk, agent)
        assert isinstance(outcome, Done), outcome
        row: Any = outcome.row
        taken.append(row.id)
    assert taken == [first.id, second.id, third.id, mine.id]
    nothing = await claim(desk, agent)
    assert isinstance(nothing, Refused)
    assert nothing.code is Refusal.NOT_FOUND
    await desk.moved(before, T.DONE)
    last = await claim(desk, agent)
    assert isinstance(last, Done)


async def test_two_hundred_agents_claim_at_once_and_each_task_is_claimed_once(
    desk: Desk, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One queue of 200 tasks: nobody gets nothing, nobody gets what another got, and no deadlock is tried again."""
    monkeypatch.setattr("app.running.RETRIES", 0)
    agents = await desk.agents(200)
    tasks = [
        models.Task(id=new_id(), project_id=desk.tenant.project.id, title=f"{at}", type=TaskType.OPS, status=T.INBOX)
        for at in range(200)
    ]
    await desk.tenant.add(*tasks)
    database = Database(connections, pool_size=40, pool_timeout_seconds=120)
    try:
        outcomes = await asyncio.gather(
            *(run(database, desk.as_agent(agent), "claim_task", {"instance_id": agent.id}) for agent in agents)
        )
    finally:
        await database.close()
    assert all(isinstance(one, Done) for one in outcomes), [one for one in outcomes if isinstance(one, Refused)][:3]
    links = await desk.tenant_links()
    assert Counter(link.task_id for link in links) == dict.fromkeys((task.id for task in tasks), 1)
    assert Counter(link.instance_id for link in links) == dict.fromkeys((agent.id for agent in agents), 1)
    assert Counter(await types_of(desk)) == {"TASK_ASSIGNED": 200, "TASK_TRANSITIONED": 200}


async def types_of(desk: Desk) -> list[str]:
    return [record.type.value for record in await desk.rows(models.ChangeRecord)]


async def test_task_3_of_many_claims_of_one_task_one_wins(desk: Desk, connections: Connections) -> None:
    """The others learn that somebody was faster."""
    agents, task = await desk.agents(30), await desk.task()
    database = Database(connections, pool_size=30, pool_timeout_seconds=120)
    try:
        outcomes = await asyncio.gather(
            *(
                run(database, desk.as_agent(one), "claim_task", {"instance_id": one.id, "task_id": task.id})
                for one in agents
            )
        )
    finally:
        await database.close()
    assert Counter(type(one).__name__ for one in outcomes) == {"Done": 1, "Refused": 29}
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {Refusal.CONFLICT}
    assert len(await desk.assignees(task)) == 1


async def test_emg_1_claims_and_an_emergency_at_once_leave_nothing_behind(desk: Desk, connections: Connections) -> None:
    """Whatever was claimed before the pause is blocked by it; nothing is claimed after it, and nobody is deadlocked."""
    agents = await desk.agents(20)
    await desk.tenant.add(
        *(
            models.Task(id=new_id(), project_id=desk.tenant.project.id, title="x", type=TaskType.OPS, status=T.INBOX)
            for _ in range(20)
        )
    )
    database = Database(connections, pool_size=24, pool_timeout_seconds=120)
    claims = [run(database, desk.as_agent(one), "claim_task", {"instance_id": one.id}) for one in agents]
    arguments = {"mode": OperatorMode.PAUSED, "reason": "drill"}
    stop = run(database, desk.human, "set_operator_control", arguments)
    try:
        outcomes = await asyncio.gather(*claims[:10], stop, *claims[10:])
    finally:
        await database.close()
    assert isinstance(outcomes[10], Done)
    tasks = await desk.rows(models.Task)
    claimed = sum(isinstance(one, Done) for at, one in enumerate(outcomes) if at != 10)
    assert Counter(task.status for task in tasks) == Counter({T.BLOCKED: claimed, T.INBOX: 20 - claimed}) - Counter()


# --- The best ---------------------------------------------------------------------------------------------------------


async def test_rte_2_the_best_agent_gets_it(desk: Desk) -> None:
    """Not the paused, not the one without budget, not the busy; ties by load and id."""
    idle = await desk.agent("idle")
    busy = await desk.agent("busy")
    for _ in range(3):
        await desk.task(T.IN_PROGRESS, busy)
    await desk.agent("paused", InstanceState.PAUSED)
    broke = await desk.agent("broke", cost_caps={"dailyUsd": 1}, spend_today=1)
    month = await desk.agent("month", cost_caps={"dailyUsd": 1, "monthlyUsd": 5}, spend_month=5)
    task = await desk.task()
    outcome = await desk.do("auto_assign_task", task_id=task.id)
    assert isinstance(outcome, Done), outcome
    assert outcome.extras["instance"] == str(idle.id)
    assert await desk.assignees(task) == [idle.id]
    assert (await desk.get(models.Task, task.id)).status is T.ASSIGNED
    again = await desk.do("auto_assign_task", task_id=task.id)
    assert isinstance(again, Done)
    assert await desk.assignees(task) == [idle.id, busy.id]
    none = await desk.do("auto_assign_task", task_id=task.id)
    assert isinstance(none, Refused)
    assert not {broke.id, month.id} & set(await desk.assignees(task))


@pytest.mark.parametrize("types", [[], [TaskType.OPS]])
async def test_rte_2_who_may_not_do_it_is_no_candidate(desk: Desk, types: list[TaskType]) -> None:
    """However idle: a list without the type, and one without any (POL-8), would only have TASK-3 refuse them."""
    other = await desk.registry.version()
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="narrow", version=1, active=True, allowed_task_types=types, attached_to_version_id=other.id
        )
    )
    await desk.agent("narrow", version_id=other.id)
    busy = await desk.agent("busy")
    await desk.task(T.IN_PROGRESS, busy)
    task = await desk.task(type=TaskType.DOCS)
    outcome = await desk.do("auto_assign_task", task_id=task.id)
    assert isinstance(outcome, Done), outcome
    assert await desk.assignees(task) == [busy.id]


async def test_rte_2_a_reset_that_is_due_gives_the_budget_back(desk: Desk) -> None:
    """BUD-2: spend of yesterday does not count."""
    due = datetime.now(UTC) - timedelta(minutes=1)
    agent = await desk.agent(cost_caps={"dailyUsd": 1}, spend_today=1, spend_reset_at=due)
    task = await desk.task()
    assert isinstance(await desk.do("auto_assign_task", task_id=task.id), Done)
    assert await desk.assignees(task) == [agent.id]


async def test_rte_2_history_decides_between_equals(desk: Desk) -> None:
    """Success of this type of task, of all versions."""
    worse, better = await desk.agent("worse"), await desk.agent("better")
    for agent, good, bad in ((worse, 1, 4), (better, 5, 0)):
        await desk.tenant.add(
            models.AgentPerformance(
                instance_id=agent.id,
                version_id=desk.version.id,
                task_type="OPS",
                success_count=good,
                failure_count=bad,
                last_updated_at=datetime.now(UTC),
            )
        )
    task = await desk.task()
    await desk.do("auto_assign_task", task_id=task.id)
    assert await desk.assignees(task) == [better.id]
