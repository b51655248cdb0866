"""Filtering by an entry of a list: the right rows, in a form that the list's index answers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event

from db import models
from db.base import Model
from db.enums import TaskType
from db.ids import new_id
from tests.asking import data_of
from tests.conftest import TenantUnderTest

QUERY = "query ($label: String!) { tasks(filter: {labels: {contains: $label}}) { edges { node { title } } } }"


def task(tenant: TenantUnderTest, title: str, labels: list[str] | None) -> models.Task:
    """A task with these labels."""
    return models.Task(id=new_id(), project_id=tenant.project.id, title=title, type=TaskType.OPS, labels=labels)


async def test_a_list_has_the_entry(tenant: TenantUnderTest) -> None:
    """The whole entry, upper and lower case told apart; neither an empty nor an absent list has it."""
    rows = {"both": ["a", "b"], "one": ["b"], "longer": ["ab", "A"], "empty": [], "absent": None, "odd": ["{a,b}", ""]}
    await tenant.add(*(task(tenant, title, labels) for title, labels in rows.items()))

    async def titles(label: str) -> set[str]:
        found = await data_of(tenant, tenant.actor(), QUERY, label=label)
        return {edge["node"]["title"] for edge in found["tasks"]["edges"]}

    assert await titles("a") == {"both"}
    assert await titles("b") == {"both", "one"}
    assert await titles("") == {"odd"}
    assert await titles("{a,b}") == {"odd"}
    assert await titles("%") == set()


async def test_the_index_of_the_list_is_of_use(tenant: TenantUnderTest) -> None:
    """Boards filter by label: a GIN index answers `@>` for the column as it is and an operand of its own type."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "@>" in statement:
            asked.append((statement, parameters))

    engine = tenant.database.read_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await data_of(tenant, tenant.actor(), QUERY, label="a")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    ((statement, parameters),) = asked
    async with tenant.database.platform() as connection:
        plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN {statement}", tuple(parameters))).scalars())
    assert "(labels @> '{a}'::text[])" in plan, plan
    indexes = Model.metadata.tables["tasks"].indexes
    assert [index.name for index in indexes if "labels" in index.columns] == ["ix_tasks_labels"]
