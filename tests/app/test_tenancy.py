"""A token of one tenant sees nothing of the other: all 55 types, every way in, either way to answer, either wall down.

Each wall is tested with the other one switched off: row-level security by connecting as the platform's role, which
passes it; the code's own filter by a patch of the one function that makes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import true

from app.auth.actor import Actor
from app.graph import paging
from app.graph.context import OperationContext
from app.graph.documents import Operation
from app.graph.execution import Answered
from app.graph.ids import global_id
from app.graph.registry import ENTITIES, EntityType, PointsTo, Through, ToMany, ToOne, camel
from app.query.compiler import Compiler
from app.schema import schema
from db.connections import Connections
from db.session import Database
from tests import asking
from tests.asking import ask
from tests.conftest import Demo

ALL = [entity for entity in ENTITIES.values() if entity.name != "Tenant"]
WALLS = ["both walls", "without the code's filter", "without row-level security"]


class Counting(Compiler):
    """A compiler that counts what it answered."""

    asked = 0
    answers = 0

    async def answer(self, operation: Operation, variables: Any, context: OperationContext) -> Answered | None:
        """The compiler's answer."""
        answered = await super().answer(operation, variables, context)
        self.asked += 1
        self.answers += answered is not None
        return answered


@pytest.fixture(params=["compiled", "by resolvers"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How queries are answered: by plans that are made with the walls as they stand, or by resolvers."""
    compiler = Counting(schema()._schema)
    if request.param == "compiled":
        executor = asking.compiling(compiler)
        monkeypatch.setattr(asking, "executor", lambda: executor)
    yield request.param
    assert compiler.answers == compiler.asked, "handed to the resolvers"


@pytest.fixture(params=WALLS)
async def walled(
    request: pytest.FixtureRequest,
    way: str,
    demo_fleet: Demo,
    demo_database: Connections,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Demo]:
    """The demo fleet behind both walls, or behind one of them."""
    if request.param == "without row-level security":
        passing = dataclasses.replace(demo_database, gateway=demo_database.platform, read=demo_database.platform)
        database = Database(passing, pool_size=4)
        yield dataclasses.replace(demo_fleet, database=database)
        await database.close()
        return
    if request.param == "without the code's filter":
        monkeypatch.setattr(paging, "within_tenant", lambda _table, _caller: true())
    yield demo_fleet


async def stored_ids(demo: Demo, entity: EntityType, actor: Actor) -> list[str]:
    """The ids that the tenant really has, and of what is somebody's own that the caller has, past both walls."""
    own = "" if entity.private is None else f"AND $2 IN ({', '.join(entity.private.owners)})"
    async with demo.database.platform() as connection:
        found = await connection.exec_driver_sql(
            f"SELECT id FROM {entity.table.name} WHERE tenant_id = $1 {own} ORDER BY id LIMIT 5",
            (actor.tenant_id, actor.id) if own else (actor.tenant_id,),
        )
        return [global_id(entity.prefix, row.id) for row in found]


async def owner(demo: Demo, entity: EntityType, actor: Actor) -> Actor:
    """The caller; of what is somebody's own, a person of their tenant who has some."""
    if entity.private is None:
        return actor
    key = entity.private.owners[0]
    async with demo.database.platform() as connection:
        found = await connection.exec_driver_sql(
            f"SELECT {key} FROM {entity.table.name} WHERE tenant_id = $1 AND {key} IS NOT NULL LIMIT 1",
            (actor.tenant_id,),
        )
        return dataclasses.replace(actor, id=found.scalar_one())


@pytest.mark.parametrize("entity", ALL, ids=lambda entity: entity.name)
async def test_by_list_by_id_by_node_and_by_filter(walled: Demo, entity: EntityType) -> None:
    """A foreign id is not found, never forbidden; a list holds the caller's own rows and counts them alone."""
    caller = await owner(walled, entity, walled.northwind)
    ours = await stored_ids(walled, entity, caller)
    theirs = await stored_ids(walled, entity, await owner(walled, entity, walled.globex))
    assert ours
    assert theirs
    query = f"""query($own: ID!, $foreign: ID!, $ids: [ID!]!) {{
        list: {entity.plural}(first: 200{_any_time(entity)}) {{ totalCount edges {{ node {{ id }} }} }}
        own: {entity.singular}(id: $own) {{ id }}
        foreign: {entity.singular}(id: $foreign) {{ id }}
        node(id: $foreign) {{ id }}
        nodes(ids: $ids) {{ id }}
        named: {entity.plural}(filter: {{id: {{in: $ids}}}}) {{ totalCount edges {{ node {{ id }} }} }}
        others: {entity.plural}(filter: {{not: {{id: {{eq: $own}}}}}}, first: 200) {{ edges {{ node {{ id }} }} }}
    }}"""
    answer = await ask(walled.database, caller, query, own=ours[0], foreign=theirs[0], ids=[theirs[0], ours[0]])
    assert not answer.errors, answer.errors
    data = answer.data
    assert data["own"] == {"id": ours[0]}
    assert data["foreign"] is None
    assert data["node"] is None
    assert data["nodes"] == [None, {"id": ours[0]}]
    assert data["named"]["totalCount"] <= 1
    shown = {edge["node"]["id"] for part in ("list", "named", "others") for edge in data[part]["edges"]}
    assert not shown & set(theirs)
    async with walled.database.platform() as connection:
        count = await connection.exec_driver_sql(
            f"SELECT count(*) FROM {entity.table.name} WHERE tenant_id = $1", (walled.northwind.tenant_id,)
        )
        if entity.private is None:
            assert data["list"]["totalCount"] == count.scalar_one()


def _any_time(entity: EntityType) -> str:
    """The argument that makes a log's list reach back to its beginning."""
    return ', filter: {timestamp: {gte: "2020-01-01T00:00:00Z"}}' if entity.default_hours else ""


@pytest.mark.parametrize("entity", ALL, ids=lambda entity: entity.name)
async def test_by_every_relation(walled: Demo, entity: EntityType) -> None:
    """Whatever hangs on a row is the same tenant's: each relation of each type is walked once."""
    caller = await owner(walled, entity, walled.northwind)
    parts = []
    for name, relation in entity.relations.items():
        if isinstance(relation, ToMany) or (isinstance(relation, Through) and not relation.as_list):
            parts.append(f"{camel(name)}(first: 3) {{ totalCount edges {{ node {{ id }} }} }}")
        else:
            parts.append(f"{camel(name)} {{ id }}")
    found: set[str] = set()
    for start in range(0, len(parts), 20):
        selection = " ".join(parts[start : start + 20])
        query = f"{{ {entity.plural}(first: 20{_any_time(entity)}) {{ edges {{ node {{ id {selection} }} }} }} }}"
        answer = await ask(walled.database, caller, query)
        assert not answer.errors, answer.errors
        _collect(answer.data, found)
    foreign = {one for other in ENTITIES.values() for one in await _theirs(walled, other)}
    assert found or not parts
    assert not found & foreign


async def _theirs(demo: Demo, entity: EntityType) -> list[str]:
    key = "id" if entity.name == "Tenant" else "tenant_id"
    async with demo.database.platform() as connection:
        found = await connection.exec_driver_sql(
            f"SELECT id FROM {entity.table.name} WHERE {key} = $1", (demo.globex.tenant_id,)
        )
        return [global_id(entity.prefix, row.id) for row in found]


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            found.add(value["id"])
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)


@pytest.mark.parametrize("entity", ALL, ids=lambda entity: entity.name)
async def test_a_filter_on_a_relation_reaches_no_foreign_row(walled: Demo, entity: EntityType) -> None:
    """Neither by the foreign row's id, nor by what the foreign row is like."""
    for name, relation in entity.relations.items():
        if not isinstance(relation, ToOne | PointsTo):
            continue
        target = relation.target if isinstance(relation, ToOne) else "Task"
        foreign = await stored_ids(walled, ENTITIES[target], walled.globex) if target != "Tenant" else []
        if not foreign:
            continue
        condition = f'{{id: {{eq: "{foreign[0]}"}}}}' if isinstance(relation, ToOne) else f'{{eq: "{foreign[0]}"}}'
        query = f"{{ {entity.plural}(filter: {{{camel(name)}: {condition}}}) {{ totalCount }} }}"
        answer = await ask(walled.database, walled.northwind, query)
        if answer.code == "GRAPHQL_VALIDATION_FAILED":
            continue  # no index begins with this key, so the filter is not offered
        assert not answer.errors, answer.errors
        assert answer.data[entity.plural]["totalCount"] == 0


async def test_the_tenant_itself(walled: Demo) -> None:
    """The list of tenants is a list of one."""
    answer = await ask(walled.database, walled.northwind, "{ tenants { totalCount edges { node { slug } } } }")
    assert answer.data["tenants"] == {"totalCount": 1, "edges": [{"node": {"slug": "northwind"}}]}
