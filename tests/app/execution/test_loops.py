"""Loops: each detector just below and at its threshold, what comes of one, and nothing twice (LOOP-1 to LOOP-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.commands import Done
from app.execution.commands.loops import BATCH
from app.execution.looping import DEFAULTS, find_loops
from app.governance.loading import policies_in, policies_statement
from app.running import run_as_system
from db import models
from db.enums import (
    ActorType,
    AlertSeverity,
    AlertStatus,
    ChangeRecordType,
    InstanceState,
    MessageType,
    RiskLevel,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.ids import new_id
from db.logs import ChangeDraft, append_change_records
from tests.app.execution.desk import Desk, desk, registry
from tests.asking import recorded

__all__ = ["desk", "registry"]


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


async def contain(desk: Desk) -> int:
    outcome = await run_as_system(desk.tenant.database, desk.tenant.id, "contain_loops", {})
    assert isinstance(outcome, Done)
    return int(outcome.extras["contained"])


async def all_of(desk: Desk, model: Any) -> list[Any]:
    async with desk.tenant.database.transaction(desk.human) as session:
        return list(await session.scalars(select(model).order_by(model.id)))


async def seen(desk: Desk) -> tuple[str, int, int] | None:
    """What the newest alert says of the loop, once the job has been there."""
    await contain(desk)
    found = [one for one in await all_of(desk, models.Alert) if one.type == "LOOP_DETECTED"]
    if not found:
        return None
    data = found[-1].loop_data
    return data["type"], data["count"], data["threshold"]


async def say(
    desk: Desk, task: models.Task, authors: Sequence[models.AgentInstance | None], *, minutes: float = 1
) -> None:
    """Messages in this order; None is a person."""
    start = ago(minutes=minutes)
    rows = [
        models.Message(
            id=new_id(start + timedelta(milliseconds=at)),
            task_id=task.id,
            author_type=ActorType.HUMAN if author is None else ActorType.AGENT,
            author_instance_id=None if author is None else author.id,
            type=MessageType.COMMENT,
            content="and another thing",
        )
        for at, author in enumerate(authors)
    ]
    await desk.tenant.add(*rows)


async def steps(desk: Desk, task: models.Task, pairs: Sequence[tuple[str, str]], *, minutes: float = 1) -> None:
    """Steps that the journal has of a task."""
    at = ago(minutes=minutes)
    drafts = [
        ChangeDraft(
            type=ChangeRecordType.TASK_TRANSITIONED,
            actor_type=ActorType.HUMAN,
            target_entity="Task",
            target_id=task.id,
            before_state={"status": before},
            after_state={"status": after},
            timestamp=at,
            id=new_id(at),
        )
        for before, after in pairs
    ]
    async with desk.tenant.database.transaction(desk.human) as session:
        await append_change_records(await session.connection(), desk.tenant.id, drafts)


async def runs(
    desk: Desk, task: models.Task, agent: models.AgentInstance, statuses: Sequence[RunStatus], *, minutes: float = 5
) -> list[models.Run]:
    start = ago(minutes=minutes)
    rows = [
        models.Run(
            id=new_id(start + timedelta(milliseconds=at)),
            idempotency_key=new_id().hex,
            instance_id=agent.id,
            version_id=agent.version_id,
            task_id=task.id,
            session_key="s",
            started_at=start + timedelta(milliseconds=at),
            model="m",
            status=status,
        )
        for at, status in enumerate(statuses)
    ]
    await desk.tenant.add(*rows)
    return rows


async def calls(
    desk: Desk, run: models.Run, errors: Sequence[str], *, tool: str = "search", minutes: float = 1, **columns: Any
) -> None:
    given = {"status": ToolCallStatus.FAILED, "ended_at": ago(minutes=minutes), **columns}
    await desk.tenant.add(
        *(
            models.ToolCall(
                id=new_id(),
                run_id=run.id,
                instance_id=run.instance_id,
                task_id=run.task_id,
                tool_name=tool,
                risk_level=RiskLevel.GREEN,
                started_at=ago(minutes=minutes),
                error=error,
                **given,
            )
            for error in errors
        )
    )


# --- Each detector ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "minutes", "found"), [(20, 1, False), (21, 1, True), (21, 29, True), (21, 31, False)]
)
async def test_loop_1_comment_storm(desk: Desk, count: int, minutes: float, found: bool) -> None:
    """More than 20 in 30 minutes."""
    task = await desk.task(TaskStatus.IN_PROGRESS)
    await say(desk, task, [None] * count, minutes=minutes)
    assert await seen(desk) == (("COMMENT_STORM", count, 20) if found else None)


@pytest.mark.parametrize(("cycles", "found"), [(3, False), (4, True)])
async def test_loop_1_review_ping_pong(desk: Desk, cycles: int, found: bool) -> None:
    """More than three."""
    await desk.task(TaskStatus.REVIEW, review_cycles=cycles)
    assert await seen(desk) == (("REVIEW_PING_PONG", cycles, 3) if found else None)


FORTH, BACK, ASIDE = ("ASSIGNED", "IN_PROGRESS"), ("IN_PROGRESS", "ASSIGNED"), ("IN_PROGRESS", "REVIEW")


@pytest.mark.parametrize(
    ("pairs", "minutes", "found"),
    [
        ([FORTH, BACK] * 3, 1, True),
        ([FORTH, BACK] * 3, 59, True),
        ([FORTH, BACK] * 3, 61, False),
        ([FORTH, BACK] * 2 + [FORTH], 1, False),
        ([FORTH, BACK, ASIDE] * 2, 1, False),
        ([FORTH] * 3 + [BACK, ASIDE, ASIDE], 1, True),
    ],
)
async def test_loop_1_back_and_forth(desk: Desk, pairs: list[tuple[str, str]], minutes: float, found: bool) -> None:
    """Six steps within an hour, half of them the same one."""
    task = await desk.task(TaskStatus.ASSIGNED)
    await steps(desk, task, pairs, minutes=minutes)
    assert await seen(desk) == (("BACK_AND_FORTH", len(pairs), 6) if found else None)


@pytest.mark.parametrize(
    ("pattern", "minutes", "found"),
    [
        ("ABABABAB", 1, None),
        ("ABABABABA", 1, 9),
        ("ABABABABA", 9, 9),
        ("ABABABABA", 11, None),
        ("ABABAABABA", 1, None),
        ("ABABhABABA", 1, None),
        ("AAAAAAAAAA", 1, None),
        ("ABCABCABCABC", 1, None),
        ("CCABABABABABC", 1, 10),
    ],
)
async def test_loop_1_agent_ping_pong(desk: Desk, pattern: str, minutes: float, found: int | None) -> None:
    """The same two in turns, more than eight messages; a third one's, a person's or two in a row break it."""
    agents = dict(zip("ABC", await desk.agents(3), strict=True))
    task = await desk.task(TaskStatus.IN_PROGRESS, agents["A"])
    await say(desk, task, [agents.get(letter) for letter in pattern], minutes=minutes)
    assert await seen(desk) == (None if found is None else ("AGENT_PING_PONG", found, 8))


F, C, R = RunStatus.FAILED, RunStatus.COMPLETED, RunStatus.RUNNING


@pytest.mark.parametrize(
    ("statuses", "found"),
    [([F] * 4, None), ([F] * 5, 5), ([F, C] * 5, 5), ([F] + [C] * 6 + [F] * 4, None), ([F] * 5 + [C] * 6, None)],
)
async def test_loop_1_repeated_failures(desk: Desk, statuses: list[RunStatus], found: int | None) -> None:
    """Five of the last ten runs."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    await runs(desk, task, agent, statuses)
    assert await seen(desk) == (None if found is None else ("REPEATED_FAILURES", found, 5))


@pytest.mark.parametrize(("cap", "found"), [(None, None), (240, ("REPEATED_FAILURES", 5, 5))])
async def test_loop_1_runs_that_may_take_long_are_looked_at_for_as_long(
    desk: Desk, cap: int | None, found: tuple[str, int, int] | None
) -> None:
    """RUN-6. Where a run may take four hours, one that began three hours ago has only just failed."""
    if cap is not None:
        await desk.tenant.add(
            models.PolicyEnvelope(
                name="long",
                version=1,
                active=True,
                autonomy_tier=2,
                caps={"maxRunMinutes": cap},
                attached_to_tenant=True,
            )
        )
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    await runs(desk, task, agent, [F] * 5, minutes=180)
    assert await seen(desk) == found


@pytest.mark.parametrize(
    ("errors", "columns", "found"),
    [
        (["no"] * 2, {}, None),
        (["no"] * 3, {}, 3),
        (["no", "no", "never"], {}, None),
        (["no"] * 3, {"minutes": 11}, None),
        (["no"] * 3, {"status": ToolCallStatus.SUCCESS}, None),
        (["no"], {"retry_count": 2}, 3),
        (["no"], {"retry_count": 1}, None),
    ],
)
async def test_loop_1_tool_retry(desk: Desk, errors: list[str], columns: dict[str, Any], found: int | None) -> None:
    """The same tool, three times within ten minutes, with the same error, in one run; its agent is quarantined."""
    agent, other = await desk.agents(2)
    task = await desk.task(TaskStatus.IN_PROGRESS, other)
    one, two = await runs(desk, task, agent, [R, R])
    await calls(desk, one, errors, **columns)
    await calls(desk, two, ["no"])
    await calls(desk, one, ["no"], tool="read")
    assert await seen(desk) == (None if found is None else ("TOOL_RETRY", found, 3))
    state = (await desk.get(models.AgentInstance, agent.id)).state
    assert state is (InstanceState.ACTIVE if found is None else InstanceState.QUARANTINED)
    assert (await desk.get(models.AgentInstance, other.id)).state is InstanceState.ACTIVE


async def test_loop_1_the_first_hit_wins(desk: Desk) -> None:
    """In the order of the rule: as long as nothing before it hits."""
    agent, other = await desk.agents(2)
    task = await desk.task(TaskStatus.REVIEW, agent, review_cycles=9)
    (run, *_) = await runs(desk, task, agent, [F] * 5)
    await calls(desk, run, ["no"] * 3)
    assert await seen(desk) == ("REVIEW_PING_PONG", 9, 3)
    storm = await desk.task(TaskStatus.REVIEW, agent, review_cycles=9)
    await say(desk, storm, [agent, other] * 11)
    assert await seen(desk) == ("COMMENT_STORM", 22, 20)
    pong = await desk.task(TaskStatus.IN_PROGRESS, agent)
    await say(desk, pong, [agent, other] * 5)
    await runs(desk, pong, agent, [F] * 5)
    await steps(desk, pong, [FORTH, BACK] * 3)
    assert await seen(desk) == ("BACK_AND_FORTH", 6, 6)


@pytest.mark.parametrize("status", list(TaskStatus))
async def test_loop_1_which_tasks_are_looked_at(desk: Desk, status: TaskStatus) -> None:
    """Those that are not over, failed or blocked."""
    await desk.task(status, review_cycles=4)
    over = status in (TaskStatus.DONE, TaskStatus.CANCELED, TaskStatus.FAILED, TaskStatus.BLOCKED)
    assert await contain(desk) == (0 if over else 1)


# --- Thresholds -------------------------------------------------------------------------------------------------------


async def envelope(desk: Desk, thresholds: dict[str, Any], **columns: Any) -> models.PolicyEnvelope:
    made = models.PolicyEnvelope(
        id=new_id(),
        name=f"e{new_id().hex[-8:]}",
        loop_thresholds=thresholds,
        version=1,
        **{"active": True, "autonomy_tier": 1, **columns},
    )
    await desk.tenant.add(made)
    return made


async def test_loop_1_thresholds_of_every_level(desk: Desk) -> None:
    """POL-4, POL-5: key by key, the strongest level that has one; the agent's own in the place of its version's; what
    the detectors go by is what the policy in force says."""
    ids = {"tenant": {"attached_to_tenant": True}, "project": {"attached_to_project_id": desk.tenant.project.id}}
    await envelope(desk, {"maxReviewCycles": 5, "maxCommentsPerWindow": 2}, **ids["tenant"], priority=9)
    await envelope(desk, {"maxReviewCycles": 99}, **ids["tenant"], priority=8)
    await envelope(desk, {"maxReviewCycles": 6}, **ids["project"])
    await envelope(desk, {"maxReviewCycles": 98}, **ids["project"], active=False, priority=50)
    await envelope(desk, {"maxReviewCycles": 7}, attached_to_template_id=desk.registry.template.id)
    await envelope(desk, {"maxReviewCycles": 8}, attached_to_version_id=desk.version.id)
    other = await desk.registry.version()
    own = await envelope(desk, {"maxPingPong": 2}, attached_to_version_id=other.id)
    plain, special = await desk.agent(), await desk.agent(policy_envelope_id=own.id)
    elsewhere = await desk.agent(version_id=other.id)
    async with desk.tenant.database.transaction(desk.human) as session:
        statement = policies_statement(desk.tenant.id, [plain.id, special.id, elsewhere.id])
        policies = policies_in(await session.execute(statement))
    for agent, wanted in ((plain, 8), (special, 7), (elsewhere, 7), (None, 6)):
        assignees = () if agent is None else (agent,)
        await desk.task(TaskStatus.REVIEW, *assignees, review_cycles=wanted)
        assert await contain(desk) == 0, wanted
        await desk.task(TaskStatus.REVIEW, *assignees, review_cycles=wanted + 1)
        assert await seen(desk) == ("REVIEW_PING_PONG", wanted + 1, wanted)
        if agent is not None:
            assert policies[agent.id].values["loop_thresholds"]["maxReviewCycles"] == wanted
        for alert in await all_of(desk, models.Alert):
            await desk.do("resolve_alert", alert_id=alert.id)
    talk = await desk.task(TaskStatus.IN_PROGRESS)
    await say(desk, talk, [None] * 3)
    assert await seen(desk) == ("COMMENT_STORM", 3, 2)


async def test_loop_1_a_threshold_that_is_none_is_passed_over(desk: Desk) -> None:
    """An import may bring anything; null inherits."""
    await envelope(
        desk, {"maxReviewCycles": None, "windowMinutes": "soon", "backAndForthLimit": True}, attached_to_tenant=True
    )
    await desk.task(TaskStatus.REVIEW, review_cycles=4)
    assert await seen(desk) == ("REVIEW_PING_PONG", 4, DEFAULTS["maxReviewCycles"])


async def test_loop_1_a_wider_window_looks_further_back(desk: Desk) -> None:
    """Two hours, where an envelope says so."""
    await envelope(desk, {"windowMinutes": 120}, attached_to_tenant=True)
    await say(desk, await desk.task(TaskStatus.IN_PROGRESS), [None] * 21, minutes=119)
    assert await seen(desk) == ("COMMENT_STORM", 21, 20)


# --- Containment ------------------------------------------------------------------------------------------------------


async def test_loop_2_what_comes_of_a_loop(desk: Desk) -> None:
    """BLOCKED by the gateway, LOOP_DETECTED, an alert with its data, a note in the first agent's memory."""
    first, second = await desk.agents(2)
    task = await desk.task(TaskStatus.REVIEW, first, second, review_cycles=4)
    assert await contain(desk) == 1
    row = await desk.get(models.Task, task.id)
    assert (row.status, row.blocked_reason) == (TaskStatus.BLOCKED, "Loop detected: REVIEW_PING_PONG (4 > 3)")
    loop, moved = await all_of(desk, models.ChangeRecord)
    assert (loop.type, loop.actor_type, loop.target_id) == (ChangeRecordType.LOOP_DETECTED, ActorType.SYSTEM, task.id)
    assert loop.after_state == {"type": "REVIEW_PING_PONG", "count": 4, "threshold": 3, "reviewCycles": 4}
    assert (moved.type, moved.caused_by_id) == (ChangeRecordType.TASK_TRANSITIONED, loop.id)
    (alert,) = await all_of(desk, models.Alert)
    assert (alert.severity, alert.task_id, alert.instance_id) == (AlertSeverity.WARNING, task.id, first.id)
    assert alert.loop_data == loop.after_state
    (document,) = await all_of(desk, models.AgentDocument)
    assert (document.instance_id, document.type.value) == (first.id, "SESSION_MEMORY")
    assert "REVIEW_PING_PONG" in document.content
    assert "ALERT_OPENED" in [one.event_type for one in await all_of(desk, models.NotificationEvent)]


async def test_loop_2_a_memory_grows_and_there_is_one(desk: Desk) -> None:
    """DOC-1: appended to what the agent wrote itself, for all its tasks together."""
    agent = await desk.agent()
    await desk.tenant.add(
        models.AgentDocument(id=new_id(), instance_id=agent.id, type="SESSION_MEMORY", content="Mine.")
    )
    for _ in range(2):
        await desk.task(TaskStatus.REVIEW, agent, review_cycles=4)
    assert await contain(desk) == 2
    (document,) = await all_of(desk, models.AgentDocument)
    assert document.content.startswith("Mine.\n\n## REVIEW_PING_PONG")
    assert document.content.count("## ") == 2


async def test_loop_2_nothing_twice(desk: Desk) -> None:
    """BLOCKED it is not looked at; unblocked with the alert open neither; unblocked with the alert resolved it is a
    loop only by what happened since."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.REVIEW, agent, review_cycles=4)
    await say(desk, task, [None] * 30)
    await runs(desk, task, agent, [F] * 6)
    assert await contain(desk) == 1
    assert await contain(desk) == 0
    await _set(desk, task, TaskStatus.IN_PROGRESS)
    assert await contain(desk) == 0
    (alert,) = await all_of(desk, models.Alert)
    await desk.registry.done("resolve_alert", alert_id=alert.id, note="talked to them")
    assert await contain(desk) == 0
    await _set(desk, task, TaskStatus.REVIEW, review_cycles=5)
    assert await seen(desk) == ("REVIEW_PING_PONG", 5, 3)
    assert [one.status for one in await all_of(desk, models.Alert)] == [AlertStatus.RESOLVED, AlertStatus.OPEN]


async def _set(desk: Desk, task: models.Task, status: TaskStatus, **columns: Any) -> None:
    async with desk.tenant.database.transaction(desk.human) as session:
        row = await session.get(models.Task, (desk.tenant.id, task.id))
        for name, value in {"status": status, **columns}.items():
            setattr(row, name, value)


async def test_loop_2_two_detectors_at_once_contain_once(desk: Desk) -> None:
    """They meet at the task's lock."""
    agent = await desk.agent()
    await desk.task(TaskStatus.REVIEW, agent, review_cycles=4)
    assert sorted(await asyncio.gather(*(contain(desk) for _ in range(4)))) == [0, 0, 0, 1]
    (alert,) = await all_of(desk, models.Alert)
    assert alert.occurrences == 1
    assert len(await all_of(desk, models.ChangeRecord)) == 2


async def test_loop_1_a_thousand_tasks_are_two_statements(desk: Desk, other_tenant: Any) -> None:
    """The thresholds that there are, and the detectors; another tenant's tasks are not among them."""
    agent = await desk.agent()
    async with desk.tenant.database.platform() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO tasks (tenant_id, id, project_id, title, type, status, priority, review_cycles, actual_cost,"
            " created_at, updated_at) SELECT $1, gen_random_uuid(), $2, 'T', 'OPS', 'REVIEW', 3, n % 5, 0, now(), now()"
            " FROM generate_series(1, 1000) n",
            (desk.tenant.id, desk.tenant.project.id),
        )
        await connection.exec_driver_sql(
            "INSERT INTO task_assignees (tenant_id, task_id, instance_id, position)"
            " SELECT tenant_id, id, $2, 0 FROM tasks WHERE tenant_id = $1",
            (desk.tenant.id, agent.id),
        )
    await other_tenant.add(
        models.Task(id=new_id(), project_id=other_tenant.project.id, title="T", type="OPS", review_cycles=9)
    )
    async with desk.tenant.database.transaction(desk.human) as session:
        with recorded(desk.tenant.database.engine) as statements:
            found = await find_loops(session, desk.tenant.id, datetime.now(UTC), 5_000)
    assert len(statements) == 2
    assert len(found) == 200
    with recorded(desk.tenant.database.engine) as statements:
        assert await contain(desk) == BATCH
    assert len(statements) < 20, statements
    await contain(desk)
    (document,) = await all_of(desk, models.AgentDocument)
    assert len(document.content) <= 100_000


# --- Work that stands still -------------------------------------------------------------------------------------------


async def stuck(desk: Desk) -> int:
    outcome = await run_as_system(desk.tenant.database, desk.tenant.id, "report_stuck_tasks", {})
    assert isinstance(outcome, Done)
    return int(outcome.extras["reported"])


@pytest.mark.parametrize(("minutes", "found"), [(29, 0), (31, 1)])
async def test_loop_3_a_task_stands_still(desk: Desk, minutes: float, found: int) -> None:
    """Half an hour without anything; told once while the alert is looked after."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent, updated_at=ago(minutes=minutes))
    assert await stuck(desk) == found
    assert await stuck(desk) == 0
    for alert in await all_of(desk, models.Alert):
        assert (alert.type, alert.severity) == ("STUCK_TASK", AlertSeverity.WARNING)
        assert (alert.task_id, alert.instance_id) == (task.id, agent.id)
        await desk.registry.done("acknowledge_alert", alert_id=alert.id)
        assert await stuck(desk) == 0
        await desk.registry.done("resolve_alert", alert_id=alert.id)
        assert await stuck(desk) == 0


@pytest.mark.parametrize("status", [one for one in TaskStatus if one is not TaskStatus.IN_PROGRESS])
async def test_loop_3_only_what_is_in_progress(desk: Desk, status: TaskStatus) -> None:
    """The rest waits for somebody."""
    await desk.task(status, updated_at=ago(hours=3))
    assert await stuck(desk) == 0


@pytest.mark.parametrize("what", ["message", "run", "call"])
async def test_loop_3_what_happens_in_it_is_progress(desk: Desk, what: str) -> None:
    """Within the half hour; what came before is not."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent, updated_at=ago(hours=3))
    old = (await runs(desk, task, agent, [R], minutes=120))[0]
    await say(desk, task, [agent], minutes=31)
    async with desk.tenant.database.platform() as connection:
        await connection.exec_driver_sql("UPDATE runs SET updated_at = $2 WHERE id = $1", (old.id, ago(hours=2)))
    assert await stuck(desk) == 1
    for alert in await all_of(desk, models.Alert):
        async with desk.tenant.database.platform() as connection:
            await connection.exec_driver_sql("DELETE FROM alerts WHERE id = $1", (alert.id,))
    if what == "message":
        await say(desk, task, [agent], minutes=29)
    elif what == "run":
        await runs(desk, task, agent, [R], minutes=29)
    else:
        await calls(desk, old, ["no"], minutes=29)
    assert await stuck(desk) == 0
