"""A task's story: all kinds of rows in order, page by page, for whoever may read them; and the report of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.graph.ids import global_id
from db import models
from db.enums import (
    ActorType,
    ApprovalDecision,
    ChangeRecordType,
    MessageType,
    OpEventType,
    RiskLevel,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.ids import new_id
from db.logs import ChangeDraft, EventDraft, append_change_records, append_op_events
from tests.app.execution.desk import DELIVERABLE, Desk, desk, registry
from tests.asking import ask, data_of

__all__ = ["desk", "registry"]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TIMELINE = """query ($id: ID!, $first: Int!, $after: String) { task(id: $id) {
    timeline(first: $first, after: $after) { kind at summary cursor node { id __typename } } } }"""


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


async def story(desk: Desk, task: models.Task, agent: models.AgentInstance) -> None:
    """One row of every kind, out of order, two of them of the same moment."""
    run = models.Run(
        id=new_id(),
        project_id=task.project_id,
        idempotency_key=str(new_id()),
        instance_id=agent.id,
        version_id=agent.version_id,
        task_id=task.id,
        session_key="s",
        started_at=at(2),
        model="m-1",
        cost_usd=0.5,
        status=RunStatus.COMPLETED,
    )
    call = models.ToolCall(
        project_id=task.project_id,
        run_id=run.id,
        instance_id=agent.id,
        task_id=task.id,
        tool_name="search",
        risk_level=RiskLevel.GREEN,
        started_at=at(3),
        status=ToolCallStatus.SUCCESS,
    )
    await desk.tenant.add(
        models.Message(
            id=new_id(at(4)),
            task_id=task.id,
            project_id=task.project_id,
            author_type=ActorType.AGENT,
            author_instance_id=agent.id,
            type=MessageType.PROGRESS,
            content="the key is hunter2",
            content_redacted="the key is [REDACTED]",
        ),
        run,
        call,
    )
    await desk.approval(
        task, "TOOL_EXECUTION", ApprovalDecision.APPROVED, requested_at=at(3), project_id=task.project_id
    )
    async with desk.tenant.database.transaction(desk.human) as session:
        connection = await session.connection()
        changes = [
            ChangeDraft(
                type=ChangeRecordType.TASK_TRANSITIONED,
                actor_type=ActorType.SYSTEM,
                target_entity="Task",
                target_id=task.id,
                before_state={"status": "INBOX"},
                after_state={"status": "ASSIGNED"},
                reason="given away",
                timestamp=at(1),
                project_id=task.project_id,
            )
        ]
        await append_change_records(connection, desk.tenant.id, changes)
        event = EventDraft(
            type=OpEventType.DECISION_MADE,
            timestamp=at(5),
            id=new_id(at(5)),
            task_id=task.id,
            project_id=task.project_id,
            payload={"stage": "TASK_UPDATED"},
        )
        await append_op_events(connection, desk.tenant.id, [event])


async def page(desk: Desk, task: models.Task, actor: Any = None, first: int = 50, after: str | None = None) -> Any:
    variables = {"id": global_id("tsk", task.id), "first": first, "after": after}
    return (await data_of(desk.tenant, actor or desk.human, TIMELINE, **variables))["task"]["timeline"]


EXPECTED = [
    ("CHANGE", "ChangeRecord", "INBOX to ASSIGNED: given away"),
    ("RUN", "Run", "COMPLETED, m-1, 0.5000 US dollars"),
    ("APPROVAL", "ApprovalRecord", "TOOL_EXECUTION: APPROVED: do it"),
    ("TOOL_CALL", "ToolCall", "search (GREEN): SUCCESS"),
    ("MESSAGE", "Message", "PROGRESS: the key is [REDACTED]"),
    ("EVENT", "OpEvent", "DECISION_MADE: TASK_UPDATED"),
]


async def test_task_8_every_kind_of_row_in_order_of_time(desk: Desk) -> None:
    """The rows themselves are there, of the redacted text only that is quoted; another task's rows are not."""
    agent = await desk.agent()
    task, other = await desk.task(TaskStatus.IN_PROGRESS, agent), await desk.task(TaskStatus.IN_PROGRESS, agent)
    for one in (task, other):
        await story(desk, one, agent)
    found = await page(desk, task)
    assert [(entry["kind"], entry["node"]["__typename"], entry["summary"]) for entry in found] == EXPECTED
    assert [entry["at"] for entry in found] == sorted(entry["at"] for entry in found)


@pytest.mark.parametrize("size", [1, 2, 4])
async def test_task_8_pages_have_everything_once(desk: Desk, size: int) -> None:
    """Also where a page ends between two entries of one moment."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    await story(desk, task, agent)
    found: list[Any] = []
    while batch := await page(desk, task, first=size, after=found[-1]["cursor"] if found else None):
        assert len(batch) <= size
        found += batch
    assert [entry["summary"] for entry in found] == [summary for _, _, summary in EXPECTED]


async def test_task_8_a_board_of_timelines_takes_one_statement_a_kind(desk: Desk) -> None:
    """However many tasks."""
    agent = await desk.agent()
    for _ in range(3):
        await story(desk, await desk.task(TaskStatus.IN_PROGRESS, agent), agent)
    query = "{ tasks(first: 10) { edges { node { timeline(first: 3) { summary } } } } }"
    answer = await ask(desk.tenant.database, desk.human, query)
    assert not answer.errors, answer.errors
    pages = [edge["node"]["timeline"] for edge in answer.data["tasks"]["edges"]]
    assert [len(one) for one in pages] == [3, 3, 3]
    assert len(answer.statements) == 1 + 6


async def test_decision_31_an_agent_sees_the_kinds_that_it_may_read(desk: Desk) -> None:
    """No change records, no events, and of approvals its own."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    await story(desk, task, agent)
    found = await page(desk, task, desk.as_agent(agent))
    assert [entry["kind"] for entry in found] == ["RUN", "TOOL_CALL", "MESSAGE"]


@pytest.mark.parametrize(
    ("first", "after"), [(0, None), (201, None), (5, "nonsense"), (5, "W10="), (5, "WzEsMiwzXQ==")]
)
async def test_task_8_a_page_has_a_form(desk: Desk, first: int, after: str | None) -> None:
    """BAD_USER_INPUT names the argument."""
    task = await desk.task()
    variables = {"id": global_id("tsk", task.id), "first": first, "after": after}
    answer = await ask(desk.tenant.database, desk.human, TIMELINE, **variables)
    assert answer.errors[0]["extensions"]["code"] == "BAD_USER_INPUT"


REPORT = "query ($id: ID!) { task(id: $id) { incidentReport } }"


async def test_task_8_the_report_tells_it_in_markdown(desk: Desk) -> None:
    """Header, description, agents, block, timeline, deliverable, cost by model."""
    agent = await desk.agent("Scout")
    task = await desk.task(
        TaskStatus.BLOCKED,
        agent,
        title="Mend | the\nroof",
        description="It leaks.\n# not a heading",
        blocked_reason="rain",
        deliverable=DELIVERABLE,
        actual_cost=0.5,
    )
    await story(desk, task, agent)
    report = (await data_of(desk.tenant, desk.human, REPORT, id=global_id("tsk", task.id)))["task"]["incidentReport"]
    assert report.startswith("# Mend \\| the roof\n")
    for part in (
        "## Description\n\n> It leaks.\n> # not a heading",
        "## Assignees\n\n- Scout",
        "## Blocked\n\n> rain",
        "| 2026-11-20 12:01:00 UTC | CHANGE | INBOX to ASSIGNED: given away |",
        "PROGRESS: the key is [REDACTED]",
        "## Deliverable\n\n> It is done.",
        "| m-1 | 1 | 0.5000 US dollars |",
    ):
        assert part in report
    assert "hunter2" not in report
    assert not [line for line in report.splitlines() if line.startswith("# not")]


async def test_task_8_the_report_of_a_task_without_a_story(desk: Desk) -> None:
    """Says so."""
    task = await desk.task()
    report = (await data_of(desk.tenant, desk.human, REPORT, id=global_id("tsk", task.id)))["task"]["incidentReport"]
    assert "Nobody." in report
    assert "Nothing is on record." in report
