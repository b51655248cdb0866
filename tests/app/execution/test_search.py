"""Searching tasks by their words: what is found, in which order, for whom, and by which index."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from app.auth.scope import Grants, Scope
from app.graph.ids import global_id
from db import models
from db.connections import Connections
from db.enums import TaskStatus, TaskType
from db.functions.search import TASK_WORDS
from db.ids import new_id
from tests.app.execution.desk import Desk, desk, registry
from tests.asking import ask, data_of
from tests.conftest import TenantUnderTest

__all__ = ["desk", "registry"]

T = TaskStatus
SEARCH = """query ($text: String!, $first: Int! = 50, $statuses: [TaskStatus!], $types: [TaskType!],
    $priorities: [Int!], $projectId: ID, $assigneeId: ID, $from: DateTime, $to: DateTime) {
    taskSearch(text: $text, first: $first, statuses: $statuses, types: $types, priorities: $priorities,
        projectId: $projectId, assigneeId: $assigneeId, from: $from, to: $to) { total tasks { title } } }"""


async def found(desk: Desk, words: str, actor: Any = None, **given: Any) -> list[str]:
    result = (await data_of(desk.tenant, actor or desk.human, SEARCH, text=words, **given))["taskSearch"]
    titles = [task["title"] for task in result["tasks"]]
    assert result["total"] >= len(titles)
    return titles


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("roof", ["Mend the ROOF", "Paint"]),
        ("ROO", ["Mend the ROOF", "Paint"]),
        ("oof", []),
        ("mend roof", ["Mend the ROOF"]),
        ("roof, mend!", ["Mend the ROOF"]),
        ("tiles", ["Paint"]),
        ("größe", ["Größe prüfen"]),
        ("urgent", ["Sweep"]),
        ("Code Review", ["Read"]),
        ("roof & !mend | (x:*", []),
        ("nothing", []),
    ],
)
async def test_task_6_words_begin_words_of_title_and_description_or_are_a_label(
    desk: Desk, words: str, expected: list[str]
) -> None:
    """In any case, all of them; nothing that is written is an operator."""
    await desk.task(title="Paint", description="Under the roof are TILES")
    await desk.task(title="Mend the ROOF")
    await desk.task(title="Größe prüfen")
    await desk.task(title="Sweep", labels=["urgent"])
    await desk.task(title="Read", labels=["Code Review"])
    assert await found(desk, words) == expected


async def test_task_6_titles_first_then_the_newest(desk: Desk) -> None:
    """Two statements, whatever is found."""
    now = datetime.now(UTC)
    for minutes, title, description in ((4, "a", "roof"), (3, "roof b", None), (2, "c", "roof"), (1, "roof d", None)):
        await desk.task(id=new_id(now - timedelta(minutes=minutes)), title=title, description=description)
    assert await found(desk, "roof") == ["roof d", "roof b", "c", "a"]
    answer = await ask(desk.tenant.database, desk.human, SEARCH, text="roof", first=3)
    assert answer.data["taskSearch"]["total"] == 4
    assert len(answer.data["taskSearch"]["tasks"]) == 3
    assert len(answer.statements) == 2


async def test_task_6_filters_narrow(desk: Desk) -> None:
    """Status, kind, priority, agent, project, time of creation."""
    agent = await desk.agent()
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    old = datetime(2026, 1, 1, tzinfo=UTC)
    await desk.task(T.DONE, title="roof done")
    await desk.task(title="roof docs", type=TaskType.DOCS)
    await desk.task(title="roof first", priority=1)
    await desk.task(T.ASSIGNED, agent, title="roof mine")
    await desk.task(title="roof far", project_id=project.id)
    await desk.task(id=new_id(old), title="roof old")
    for given, expected in (
        ({"statuses": ["DONE", "FAILED"]}, ["roof done"]),
        ({"types": ["DOCS"]}, ["roof docs"]),
        ({"priorities": [1]}, ["roof first"]),
        ({"assigneeId": global_id("ins", agent.id)}, ["roof mine"]),
        ({"projectId": global_id("prj", project.id)}, ["roof far"]),
        ({"to": "2026-06-01T00:00:00Z"}, ["roof old"]),
        ({"from": "2026-01-01T00:00:00.001Z", "to": "2026-06-01T00:00:00Z"}, []),
        ({"statuses": []}, []),
    ):
        assert await found(desk, "roof", **given) == expected


async def test_task_6_what_is_seen_is_what_may_be_seen(desk: Desk, other_tenant: TenantUnderTest) -> None:
    """The tenant's, within the grant; an agent's project."""
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    await desk.task(title="roof near")
    await desk.task(title="roof far", project_id=project.id)
    await other_tenant.add(
        models.Task(id=new_id(), project_id=other_tenant.project.id, title="roof foreign", type=TaskType.OPS)
    )
    assert await found(desk, "roof") == ["roof far", "roof near"]
    scope = Scope(projects=frozenset({project.id}))
    assert await found(desk, "roof", desk.tenant.actor(grants=Grants({"read:tasks": scope}))) == ["roof far"]
    assert await found(desk, "roof", desk.as_agent(await desk.agent())) == ["roof near"]
    barred = await ask(desk.tenant.database, desk.tenant.actor("read:runs"), SEARCH, text="roof")
    assert barred.code == "FORBIDDEN"


async def test_the_function_behind_it_shows_nothing_without_a_tenant(desk: Desk, connections: Connections) -> None:
    """It passes row-level security, so the tenant is its own condition."""
    await desk.task(title="roof")
    query = "SELECT count(*) FROM gateway.search_tasks(to_tsquery('roof:*'), to_tsquery('roof:*A'), ARRAY['x'])"
    connection = await asyncpg.connect(connections.gateway.url)
    try:
        assert await connection.fetchval(query) == 0
        await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(desk.tenant.id))
        assert await connection.fetchval(query) == 1
    finally:
        await connection.close()


@pytest.mark.parametrize("words", ["", "a", " - ", "x" * 501, " ".join(f"w{at}" for at in range(21))])
async def test_task_6_there_must_be_something_to_look_for(desk: Desk, words: str) -> None:
    """Two letters or digits, 500 characters, 20 words."""
    answer = await ask(desk.tenant.database, desk.human, SEARCH, text=words)
    assert (answer.code, answer.errors[0]["extensions"]["argument"]) == ("BAD_USER_INPUT", "text")


async def test_task_6_the_index_is_used(desk: Desk, connections: Connections) -> None:
    """By the statement inside of the function, among many tasks."""
    owner = await asyncpg.connect(connections.owner.url)
    try:
        await owner.execute("SELECT set_config('app.tenant_id', $1, false)", str(desk.tenant.id))
        await owner.execute(
            "INSERT INTO tasks (tenant_id, id, project_id, title, type, created_at, updated_at)"
            " SELECT $1, gen_random_uuid(), $2, 'needle' || number, 'OPS', now(), now()"
            " FROM generate_series(1, 5000) AS number",
            desk.tenant.id,
            desk.tenant.project.id,
        )
        await owner.execute("ANALYZE tasks")
    finally:
        await owner.close()
    query = (
        f"EXPLAIN SELECT id FROM tasks t WHERE tenant_id = :tenant"
        f" AND ({TASK_WORDS} @@ to_tsquery('simple', 'needle77:*') OR labels && ARRAY['needle77'])"
    )
    async with desk.tenant.database.platform() as connection:
        plan = "\n".join(row[0] for row in await connection.execute(text(query), {"tenant": desk.tenant.id}))
    assert "ix_tasks_words" in plan, plan
    assert len(await found(desk, "needle77", first=200)) == 11
