"""The emergency mode against a database: cascades, resumes, scopes, races, and its size."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.scope import TENANT_WIDE, Grants, Scope
from app.commands import Done, Refused
from app.graph.ids import global_id
from app.platform.rules import STOPPED_WORK, Standing, under
from app.running import run_as_system
from db import models
from db.base import Model
from db.enums import (
    AlertStatus,
    InstanceState,
    OperatorMode,
    PauseCause,
    TaskStatus,
    WatchEntityType,
)
from db.ids import new_id
from tests.app.platform.fleet import Fleet
from tests.asking import ask

N, M, T = InstanceState, OperatorMode, TaskStatus


@pytest.mark.parametrize("mode", [M.DRAINING, M.PAUSED, M.QUARANTINED])
async def test_emg_4_the_cascade_over_every_state_and_status(fleet: Fleet, mode: OperatorMode) -> None:
    """Agents stand as the rules say, tasks of stopped ones are blocked, and each that moved has its record."""
    free = [Standing(state) for state in N] + [Standing(N.PAUSED, PauseCause.BUDGET, N.ACTIVE)]
    agents = [fleet.agent(one) for one in free]
    await fleet.add(*agents)
    active = agents[free.index(Standing(N.ACTIVE))]
    retired = agents[free.index(Standing(N.RETIRED))]
    working = [fleet.task(status, [active]) for status in T]
    idle = fleet.task(T.IN_PROGRESS, [retired])
    nobodys = fleet.task(T.INBOX, [])
    await fleet.add(*(row for rows in [*working, idle, nobodys] for row in rows))

    outcome = await fleet.set(mode)
    assert isinstance(outcome, Done)
    after = await fleet.agents()
    assert [after[agent.id] for agent in agents] == [under(mode, standing) for standing in free]
    tasks = await fleet.tasks()
    stops = mode is not M.DRAINING
    reason = "emergency pause" if mode is M.PAUSED else "emergency quarantine"
    for (task, *_), status in zip(working, T, strict=True):
        now = tasks[task.id]  # type: ignore[attr-defined]
        if stops and status in STOPPED_WORK:
            assert now[:2] == (T.BLOCKED, reason)
            assert now[2]["preBlockStatus"] == status.value
        else:
            assert now[:2] == (status, "waits for a key" if status is T.BLOCKED else None)
    assert tasks[idle[0].id][0] is T.IN_PROGRESS  # type: ignore[attr-defined]
    assert tasks[nobodys[0].id][0] is T.INBOX  # type: ignore[attr-defined]

    moved = [agent.id for agent, one in zip(agents, free, strict=True) if under(mode, one).state is not one.state]
    records = await fleet.rows(models.ChangeRecord)
    kinds = Counter(record.type.value for record in records)
    assert kinds["INSTANCE_TRANSITIONED"] == len(moved) == outcome.extras["instances_changed"]
    assert kinds["TASK_TRANSITIONED"] == (len(STOPPED_WORK) if stops else 0) == outcome.extras["tasks_changed"]
    whole = [record for record in records if record.type.value.startswith("EMERGENCY_")]
    if mode is M.DRAINING:
        assert whole == []
        assert outcome.extras["change_record"] is None
        assert {record.caused_by_id for record in records} == {None}
    else:
        (first,) = whole
        assert first is records[0]
        assert first.target_entity == "OperatorControl"
        assert set(first.after_state["instanceIds"]) == {str(one) for one in moved}
        assert len(first.after_state["taskIds"]) == len(STOPPED_WORK)
        assert outcome.extras["change_record"] == str(first.id)
        assert {record.caused_by_id for record in records[1:]} == {first.id}
    assert {record.actor_type.value for record in records if record not in whole} <= {"SYSTEM"}


async def test_emg_4_the_names_of_the_two_records(fleet: Fleet) -> None:
    """A pause and a quarantine have a type of their own; draining and resuming have none."""
    for mode in (M.PAUSED, M.QUARANTINED, M.DRAINING, M.NORMAL):
        await fleet.set(mode)
    assert await fleet.registry.types() == ["EMERGENCY_PAUSE", "EMERGENCY_QUARANTINE"]


async def test_emg_4_alert_audit_and_notification(fleet: Fleet) -> None:
    """One open alert a scope, as bad as its mode; a row in the security journal and a notification for each change."""
    await fleet.set(M.PAUSED)
    await fleet.set(M.QUARANTINED)
    (alert,) = await fleet.rows(models.Alert)
    assert (alert.type, alert.severity.value, alert.status.value) == ("OPERATOR_CONTROL_MODE", "CRITICAL", "OPEN")
    await fleet.set(M.DRAINING)
    (alert,) = await fleet.rows(models.Alert)
    assert alert.severity.value == "WARNING"
    await fleet.set(M.NORMAL, reason=None)
    (alert,) = await fleet.rows(models.Alert)
    assert alert.status is AlertStatus.RESOLVED
    logs = [row for row in await fleet.rows(models.AuditLog) if row.action == "OPERATOR_MODE_CHANGED"]
    assert [(row.severity.value, row.metadata_["mode"], row.metadata_["previousMode"]) for row in logs] == [
        ("WARNING", "PAUSED", "NORMAL"),
        ("WARNING", "QUARANTINED", "PAUSED"),
        ("WARNING", "DRAINING", "QUARANTINED"),
        ("WARNING", "NORMAL", "DRAINING"),
    ]
    events = [row for row in await fleet.rows(models.NotificationEvent) if row.event_type == "EMERGENCY_MODE_CHANGED"]
    assert [row.payload["mode"] for row in events] == ["PAUSED", "QUARANTINED", "DRAINING", "NORMAL"]
    assert [row.mode for row in await fleet.rows(models.OperatorControl)] == [
        M.PAUSED,
        M.QUARANTINED,
        M.DRAINING,
        M.NORMAL,
    ]


@pytest.mark.parametrize("mode", [M.DRAINING, M.PAUSED, M.QUARANTINED])
async def test_emg_4_a_reason_is_needed(fleet: Fleet, mode: OperatorMode) -> None:
    """Without one nothing happens."""
    refused = await fleet.set(mode, reason="  ")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == ("VALIDATION_ERROR", "reason")
    assert await fleet.rows(models.OperatorControl) == []


async def test_emg_4_a_stale_belief_is_a_conflict(fleet: Fleet) -> None:
    """Whoever believes in another mode is told."""
    refused = await fleet.set(M.NORMAL, expected_mode=M.PAUSED)
    assert isinstance(refused, Refused)
    assert refused.code == "CONFLICT"
    assert isinstance(await fleet.set(M.PAUSED, expected_mode=M.NORMAL), Done)


async def test_emg_6_a_project_stays_stopped_while_its_own_mode_says_so(fleet: Fleet) -> None:
    """C19: resuming the tenant does not resume a project that was paused for itself, nor the other way round."""
    other = await fleet.project("other")
    ours, theirs = fleet.agent(Standing(N.ACTIVE)), fleet.agent(Standing(N.READONLY), other)
    await fleet.add(ours, theirs)
    shared = fleet.task(T.REVIEW, [ours, theirs])
    await fleet.add(*shared)
    task_id = shared[0].id  # type: ignore[attr-defined]

    async def states() -> tuple[str, str, str]:
        agents, tasks = await fleet.agents(), await fleet.tasks()
        return agents[ours.id].state.value, agents[theirs.id].state.value, tasks[task_id][0].value

    await fleet.set(M.PAUSED, other)
    assert await states() == ("ACTIVE", "PAUSED", "BLOCKED")
    await fleet.set(M.PAUSED)
    assert await states() == ("PAUSED", "PAUSED", "BLOCKED")
    await fleet.set(M.NORMAL)
    assert await states() == ("ACTIVE", "PAUSED", "BLOCKED")
    await fleet.set(M.PAUSED)
    await fleet.set(M.NORMAL, other)
    assert await states() == ("PAUSED", "PAUSED", "BLOCKED")
    await fleet.set(M.NORMAL)
    assert await states() == ("ACTIVE", "READONLY", "REVIEW")


async def test_emg_6_an_agent_paused_otherwise_stays_paused_and_quarantine_stays(fleet: Fleet) -> None:
    """Nothing that was paused for another cause is resumed, and a quarantined agent waits for its reactivation."""
    agents = [fleet.agent(Standing(N.PAUSED, PauseCause.BUDGET, N.ACTIVE)), fleet.agent(Standing(N.ACTIVE))]
    await fleet.add(*agents)
    await fleet.set(M.PAUSED)
    await fleet.set(M.NORMAL)
    after = await fleet.agents()
    assert [after[one.id].state for one in agents] == [N.PAUSED, N.ACTIVE]
    await fleet.set(M.QUARANTINED)
    await fleet.set(M.NORMAL)
    assert {one.state for one in (await fleet.agents()).values()} == {N.QUARANTINED}


async def test_emg_6_who_is_drained_by_an_emergency_is_not_retired(fleet: Fleet) -> None:
    """INS-1. Draining ends in retirement, but for agents that go on when the mode is NORMAL again."""
    active, leaving = fleet.agent(Standing(N.ACTIVE)), fleet.agent(Standing(N.DRAINING))
    await fleet.add(active, leaving)
    await fleet.set(M.DRAINING)
    tenant = fleet.registry.tenant
    outcome = await run_as_system(tenant.database, tenant.id, "complete_drains", {})
    assert isinstance(outcome, Done)
    assert outcome.extras["retired"] == 1
    await fleet.set(M.NORMAL)
    after = await fleet.agents()
    assert (after[active.id].state, after[leaving.id].state) == (N.ACTIVE, N.RETIRED)


async def test_emg_6_what_a_person_moved_during_the_emergency_is_left_alone(fleet: Fleet) -> None:
    """A task that was freed and blocked again for another reason is not the emergency's any more."""
    agent = fleet.agent(Standing(N.ACTIVE))
    await fleet.add(agent)
    rows = fleet.task(T.IN_PROGRESS, [agent])
    await fleet.add(*rows)
    await fleet.set(M.PAUSED)
    tenant = fleet.registry.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        (task,) = await session.scalars(select(models.Task).where(models.Task.tenant_id == tenant.id))
        task.blocked_reason = "waits for a key"
    await fleet.set(M.NORMAL)
    assert (await fleet.tasks())[task.id][:2] == (T.BLOCKED, "waits for a key")


async def test_emg_4_permission_in_one_project_stops_that_project_alone(fleet: Fleet) -> None:
    """RBAC-7. A scoped grant sets its project's mode; the tenant's needs a tenant-wide one. Agents never."""
    tenant = fleet.registry.tenant
    here = Scope(projects=frozenset({tenant.project.id}))
    reads = ("read:control", "read:projects", "read:operators", "read:change-records")
    grants = Grants({"emergency:control": here, **dict.fromkeys(reads, TENANT_WIDE)})
    actor = tenant.actor(grants=grants, operator_id=fleet.registry.operator.id)
    mutation = """mutation($input: OperatorControlSetInput!) { operatorControlSet(input: $input) {
        operatorControl { mode project { slug } updatedBy { name } } changeRecord { type target { id } }
        instancesChanged tasksChanged runsFailed userErrors { code field } } }"""
    wide = await ask(tenant.database, actor, mutation, input={"mode": "PAUSED", "reason": "drill"})
    assert wide.code == "FORBIDDEN"
    project = global_id("prj", tenant.project.id)
    answer = await ask(
        tenant.database, actor, mutation, input={"mode": "PAUSED", "reason": "drill", "projectId": project}
    )
    assert not answer.errors
    payload = answer.data["operatorControlSet"]
    assert payload["operatorControl"] == {
        "mode": "PAUSED",
        "project": {"slug": "core"},
        "updatedBy": {"name": "Ada"},
    }
    assert payload["changeRecord"]["type"] == "EMERGENCY_PAUSE"
    assert payload["userErrors"] == []


async def test_emg_9_the_modes_in_force_and_where_they_come_from(fleet: Fleet) -> None:
    """The tenant's mode and each project's, with the setting that holds; who sees one project sees that one."""
    tenant = fleet.registry.tenant
    await fleet.project("other")
    query = """query($ids: [ID!]) { emergencyModes(projectIds: $ids) {
        project { slug } mode source reason updatedBy { name } operatorControl { mode } } }"""

    async def seen(ids: list[str] | None = None, grants: Grants | None = None) -> list[tuple[Any, ...]]:
        answer = await ask(tenant.database, tenant.actor(grants=grants), query, ids=ids)
        assert not answer.errors, answer.errors
        return [
            ((one["project"] or {}).get("slug"), one["mode"], one["source"], one["reason"])
            for one in answer.data["emergencyModes"]
        ]

    nothing = ("NORMAL", "DEFAULT", None)
    assert await seen() == [(None, *nothing), ("core", *nothing), ("other", *nothing)]
    await fleet.set(M.DRAINING)
    await fleet.set(M.PAUSED, tenant.project.id, reason="here")
    drained = ("DRAINING", "GLOBAL", "a drill")
    assert await seen() == [(None, *drained), ("core", "PAUSED", "PROJECT", "here"), ("other", *drained)]
    await fleet.set(M.NORMAL, tenant.project.id, reason=None)
    assert await seen([global_id("prj", tenant.project.id)]) == [(None, *drained), ("core", *drained)]
    reads = ("read:projects", "read:operators")
    here = Scope(projects=frozenset({tenant.project.id}))
    scoped = Grants({"read:control": here, **dict.fromkeys(reads, TENANT_WIDE)})
    assert await seen(grants=scoped) == [("core", *drained)]
    refused = await ask(tenant.database, tenant.actor("read:tasks"), "{ emergencyModes { mode } }")
    assert refused.code == "FORBIDDEN"


async def test_emg_4_nothing_starts_beside_a_cascade(fleet: Fleet) -> None:
    """An agent that is started while the mode changes is either refused or stopped with the others."""
    agents = [fleet.agent(Standing(N.PROVISIONING)) for _ in range(6)]
    await fleet.add(*agents)
    starts = [fleet.registry.do("transition_instance", instance_id=agent.id, to=N.ACTIVE) for agent in agents]
    outcomes = await asyncio.gather(*starts[:3], fleet.set(M.PAUSED), *starts[3:])
    after = await fleet.agents()
    for agent, outcome in zip(agents, [*outcomes[:3], *outcomes[4:]], strict=True):
        assert after[agent.id].state is (N.PAUSED if isinstance(outcome, Done) else N.PROVISIONING)


async def test_emg_4_two_changes_at_once_take_turns(fleet: Fleet) -> None:
    """Whatever comes last is in force, and the fleet stands as it says."""
    agents = [fleet.agent(Standing(N.ACTIVE)) for _ in range(5)]
    await fleet.add(*agents, *(row for agent in agents for row in fleet.task(T.ASSIGNED, [agent])))
    modes = [M.PAUSED, M.NORMAL, M.DRAINING, M.PAUSED, M.NORMAL]
    assert all(isinstance(one, Done) for one in await asyncio.gather(*(fleet.set(mode) for mode in modes)))
    last = (await fleet.rows(models.OperatorControl))[-1].mode
    assert set((await fleet.agents()).values()) == {under(last, Standing(N.ACTIVE))}
    expected = T.BLOCKED if last is M.PAUSED else T.ASSIGNED
    assert {one[0] for one in (await fleet.tasks()).values()} == {expected}


async def test_emg_1_what_is_set_last_is_in_force_whatever_the_clocks_say(fleet: Fleet) -> None:
    """The newest id counts, so it is made under the lock and behind every earlier one, such as that of a gateway whose
    clock is ahead."""
    agent = fleet.agent(Standing(N.ACTIVE))
    ahead = datetime.now(UTC) + timedelta(seconds=30)
    await fleet.add(agent, models.OperatorControl(id=new_id(ahead), mode=M.NORMAL, updated_at=ahead))
    for mode in (M.PAUSED, M.NORMAL, M.PAUSED):
        assert isinstance(await fleet.set(mode), Done)
        assert (await fleet.rows(models.OperatorControl))[-1].mode is mode
        assert set((await fleet.agents()).values()) == {under(mode, Standing(N.ACTIVE))}


async def test_decision_38_a_thousand_agents_and_twenty_thousand_tasks(fleet: Fleet) -> None:
    """One transaction, however large, within the minute that EMG-5 gives; and back again."""
    agents = [fleet.agent(Standing(N.ACTIVE)) for _ in range(1_000)]
    tasks = [row for at in range(20_000) for row in fleet.task(T.ASSIGNED, [agents[at % 1_000]])]
    await _bulk(fleet, models.AgentInstance, agents)
    await _bulk(fleet, models.Task, [row for row in tasks if isinstance(row, models.Task)])
    await _bulk(fleet, models.TaskAssignee, [row for row in tasks if isinstance(row, models.TaskAssignee)])
    for mode in (M.PAUSED, M.NORMAL):
        began = time.perf_counter()
        outcome = await fleet.set(mode)
        took = time.perf_counter() - began
        assert isinstance(outcome, Done)
        assert outcome.extras["instances_changed"] == 1_000
        assert outcome.extras["tasks_changed"] == 20_000
        print(f"{mode.value}: {took:.1f} s")
        assert took < 60


async def _bulk(fleet: Fleet, model: Any, rows: Sequence[Model]) -> None:
    tenant = fleet.registry.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        for row in rows:
            row.tenant_id = tenant.id  # type: ignore[attr-defined]
        session.add_all(rows)


async def test_tsk_7_a_cascade_tells_those_who_follow_and_leaves_no_event_where_nobody_does(fleet: Fleet) -> None:
    """One event of the followed task for each step; none of the other, nor of another project's."""
    active = fleet.agent(Standing(N.ACTIVE))
    followed, quiet = fleet.task(T.IN_PROGRESS, [active]), fleet.task(T.IN_PROGRESS, [active])
    watched: Any = followed[0]
    person = models.Operator(id=new_id(), auth_id="w", name="W", email="w@example.com")
    await fleet.add(active, *followed, *quiet, person)
    await fleet.add(
        models.WatchSubscription(operator_id=person.id, entity_type=WatchEntityType.TASK, entity_id=watched.id)
    )
    await fleet.set(M.PAUSED)
    await fleet.set(M.NORMAL)
    events = [one for one in await fleet.rows(models.NotificationEvent) if one.event_type == "TASK_TRANSITIONED"]
    assert [(one.source_id, one.payload["from"], one.payload["to"]) for one in events] == [
        (watched.id, "IN_PROGRESS", "BLOCKED"),
        (watched.id, "BLOCKED", "IN_PROGRESS"),
    ]
