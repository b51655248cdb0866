"""A field that fails takes its own parents to null, and nobody else's rows away."""

from __future__ import annotations

import asyncio
import gc
import itertools
import warnings
from typing import Any

import pytest
from graphql import GraphQLObjectType
from graphql.pyutils import is_awaitable

from app.graph import stats
from app.graph.ids import global_id
from app.graph.registry import ENTITIES
from app.schema import schema
from tests.asking import ask
from tests.conftest import Demo

QUERY = """query($id: ID!) {
    failing: run(id: $id) {
        version { template { id changeRecords(after: "nonsense") { totalCount } } }
        task { id project { id } }
    }
    other: run(id: $id) { task { id project { id name } } version { id } }
}"""


async def _run(demo_fleet: Demo) -> str:
    async with demo_fleet.database.platform() as connection:
        found = await connection.exec_driver_sql(
            "SELECT id FROM runs WHERE tenant_id = $1 AND task_id IS NOT NULL LIMIT 1",
            (demo_fleet.northwind.tenant_id,),
        )
        return global_id(ENTITIES["Run"].prefix, found.one().id)


async def test_what_several_fields_wait_for_is_not_cancelled_with_one_of_them(demo_fleet: Demo) -> None:
    """graphql-core cancels what stands beside a failing field; the same rows are awaited elsewhere as well."""
    answer = await ask(demo_fleet.database, demo_fleet.northwind, QUERY, id=await _run(demo_fleet))
    assert [error["path"] for error in answer.errors] == [["failing", "version", "template", "changeRecords"]]
    assert answer.data["failing"] is None
    assert answer.data["other"]["task"]["project"]["name"]
    assert answer.data["other"]["version"]["id"]


def test_what_is_dropped_before_it_began_leaves_no_word() -> None:
    """graphql-core drops what was begun beside a failing field; found by ten thousand generated queries."""
    kind = schema()._schema.type_map["RunConnection"]
    assert isinstance(kind, GraphQLObjectType)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for name in ("edges", "pageInfo", "totalCount"):
            resolve = kind.fields[name].resolve
            assert resolve is not None
            assert is_awaitable(resolve(None, None))
    assert not told


async def test_what_nobody_waits_for_any_more_fails_without_a_word(
    demo_fleet: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order they stand: statements of other fields run, or wait for their turn, when one has failed."""
    monkeypatch.setattr(stats, "MOST_GROUPS", 0)
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    roots = [
        "failing: taskStats { count }",
        "counted: runs(first: 2) { totalCount }",
        "row: run(id: $id) { id task { id } }",
        "listed: projects(first: 2) { edges { node { id } } pageInfo { endCursor } }",
    ]
    run_id = await _run(demo_fleet)
    for order in itertools.permutations(roots):
        query = "query($id: ID!) {" + "\n".join(order) + "}"
        answer = await ask(demo_fleet.database, demo_fleet.northwind, query, id=run_id)
        assert answer.data is None
        assert [error["path"] for error in answer.errors] == [["failing"]]
    await asyncio.sleep(0)
    gc.collect()
    assert not told
