"""Plans: made once, kept within bounds, shared by callers with the same rights, and given up for the resolvers."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import asyncpg
import orjson
import pytest
import structlog

from app.auth.actor import Actor
from app.auth.scope import Grants, Scope
from app.graph.context import OperationContext
from app.graph.execution import Executor, Hooks, Outcome
from app.graph.ids import global_id
from app.graph.reading import refuse_unreadable
from app.graph.request import GraphQLRequest
from app.http.body import encode
from app.query.compiler import Compiler
from app.query.selection import Planner
from app.query.statements import Writer
from app.schema import schema
from db import models
from db.ids import new_id
from db.session import Database
from db.tenant_pool import TenantConnection
from tests.app.query.both_ways import BothWays, by_resolvers
from tests.conftest import Demo, TenantUnderTest

PAGE = """query($first: Int, $name: String, $deep: Boolean = true) {
    projects(first: $first, filter: {slug: {eq: $name}}) {
        totalCount edges { node { id slug defaultEnvironment @include(if: $deep) { name } } }
    }
}"""


class Made:
    """What was made while a block ran."""

    plans = 0
    statements = 0


@contextmanager
def counted() -> Iterator[Made]:
    """Counts plans and statements that are made."""
    made, plan, statement = Made(), Planner.plan, Writer.statement

    def planned(planner: Planner) -> Any:
        made.plans += 1
        return plan(planner)

    def written(writer: Writer, select: Any) -> Any:
        made.statements += 1
        return statement(writer, select)

    with patch.object(Planner, "plan", planned), patch.object(Writer, "statement", written):
        yield made


def executor_of(compiler: Compiler) -> Executor:
    return Executor(schema(), hooks=Hooks(authorize=refuse_unreadable), shortcut=compiler)


async def ask(executor: Executor, database: Database, actor: Actor, query: str, **variables: Any) -> Outcome:
    async with database.read(actor) as reading:
        return await executor.execute(GraphQLRequest(query, variables), OperationContext(actor, reading, "r"), "r")


def data(outcome: Outcome) -> Any:
    assert not outcome.errors, outcome.errors
    return orjson.loads(orjson.dumps(outcome.data))


async def test_a_second_run_makes_neither_plan_nor_sql(tenant: TenantUnderTest) -> None:
    """With other values either; another size of page, or another directive, is a statement or a plan of its own."""
    executor = executor_of(Compiler(schema()._schema))
    actor = tenant.actor()
    with counted() as made:
        found = data(await ask(executor, tenant.database, actor, PAGE, first=5, name="core"))
        assert found["projects"]["edges"][0]["node"]["defaultEnvironment"] == {"name": "Production"}
        assert (made.plans, made.statements) == (1, 2)
        found = data(await ask(executor, tenant.database, actor, PAGE, first=5, name="none"))
        assert found["projects"] == {"totalCount": 0, "edges": []}
        assert (made.plans, made.statements) == (1, 2)
        await ask(executor, tenant.database, actor, PAGE, first=6, name="core")
        assert (made.plans, made.statements) == (1, 4)
        found = data(await ask(executor, tenant.database, actor, PAGE, first=5, name="core", deep=False))
        assert "defaultEnvironment" not in found["projects"]["edges"][0]["node"]
        assert (made.plans, made.statements) == (2, 6)


async def test_what_one_caller_may_read_another_is_still_refused(tenant: TenantUnderTest) -> None:
    """An operation remembers for which permissions it was found good, and for no others."""
    executor = executor_of(Compiler(schema()._schema))
    query = "{ projects { totalCount } }"
    for permission, allowed in 2 * (("read:projects", True), ("read:tasks", False)):
        actor = tenant.actor(grants=Grants.everywhere({permission}))
        outcome = await ask(executor, tenant.database, actor, query)
        assert outcome.code == ("OK" if allowed else "FORBIDDEN")


async def test_scopes_are_parameters_of_one_plan(tenant: TenantUnderTest) -> None:
    """Decision 29: people with a project each share their plan, and each sees their own."""
    executor = executor_of(Compiler(schema()._schema))
    other = models.Project(id=new_id(), name="Other", slug="other")
    await tenant.add(other)

    def scoped(project: Any) -> Actor:
        grant = Scope(projects=frozenset({project.id}))
        return tenant.actor(grants=Grants({"read:projects": grant, "read:environments": grant}))

    query = "{ projects { totalCount edges { node { slug } } } }"
    with counted() as made:
        for project, slug in ((tenant.project, "core"), (other, "other")):
            found = data(await ask(executor, tenant.database, scoped(project), query))
            assert found["projects"] == {"totalCount": 1, "edges": [{"node": {"slug": slug}}]}
        assert made.plans == 1
        await ask(executor, tenant.database, tenant.actor(), query)
        assert made.plans == 2, "who reads the whole tenant has a plan of their own"


async def test_one_plan_serves_every_tenant(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """The tenant is a parameter, and the connection's setting."""
    executor = executor_of(Compiler(schema()._schema))
    with counted() as made:
        for each in (tenant, other_tenant, tenant):
            found = data(await ask(executor, tenant.database, each.actor(), "{ tenants { edges { node { slug } } } }"))
            assert found["tenants"]["edges"] == [{"node": {"slug": each.slug}}]
    assert made.plans == 1


async def test_plans_are_bounded_in_bytes(tenant: TenantUnderTest) -> None:
    """Those that were not asked for the longest are dropped; statements of a plan count with it."""
    compiler = Compiler(schema()._schema, size=200_000)
    executor = executor_of(compiler)
    for number in range(30):
        data(await ask(executor, tenant.database, tenant.actor(), f"{{ a{number}: projects {{ totalCount }} }}"))
        assert compiler._plans.used <= 200_000
    assert 1 < compiler.plans < 30


async def test_one_statement_needs_no_transaction_and_several_have_one(tenant: TenantUnderTest) -> None:
    """Several statements of an operation see the same rows, whatever is committed between them."""
    executor = executor_of(Compiler(schema()._schema))
    begun, fetch, begin = [], TenantConnection.fetch, TenantConnection.begin

    async def note(connection: TenantConnection) -> None:
        begun.append(connection)
        await begin(connection)

    async def intrude(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        found = await fetch(connection, sql, arguments)
        row_id = new_id()
        await tenant.add(models.Environment(id=row_id, name="More", slug=row_id.hex, is_production=False))
        return found

    with patch.object(TenantConnection, "begin", note):
        data(await ask(executor, tenant.database, tenant.actor(), "{ environments { edges { node { name } } } }"))
        assert not begun
        with patch.object(TenantConnection, "fetch", intrude):
            query = "{ environments { totalCount edges { node { id } } } again: environments { totalCount } }"
            found = data(await ask(executor, tenant.database, tenant.actor(), query))
        assert len(begun) == 1
    count = found["environments"]["totalCount"]
    assert count == len(found["environments"]["edges"]) == found["again"]["totalCount"]


async def test_a_statement_that_fails_is_told_without_its_words(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out is TIMEOUT, all else is INTERNAL; neither is tried again by the resolvers."""
    executor = executor_of(Compiler(schema()._schema))
    for error, code in (
        (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), "TIMEOUT"),
        (asyncpg.UndefinedTableError('relation "secret" does not exist'), "INTERNAL"),
    ):

        async def fail(_connection: TenantConnection, _sql: str, _arguments: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(TenantConnection, "fetch", fail)
        outcome = await ask(executor, tenant.database, tenant.actor(), "{ projects { totalCount } }")
        assert outcome.data is None
        assert [found["extensions"]["code"] for found in outcome.errors] == [code]
        assert "secret" not in str(outcome.errors)


async def test_a_connection_that_died_is_replaced_unseen(tenant: TenantUnderTest) -> None:
    """Reading may be done again."""
    executor = executor_of(Compiler(schema()._schema))
    query = "{ projects { totalCount } }"
    data(await ask(executor, tenant.database, tenant.actor(), query))
    async with tenant.database.reads.connection(tenant.id) as connection:
        ((pid,),) = await connection.fetch("SELECT pg_backend_pid()", ())
    killer = await asyncpg.connect(tenant.database.connections.owner.url.replace("fleetgraph_owner", "postgres"))
    await killer.execute("SELECT pg_terminate_backend($1)", pid)
    await killer.close()
    assert data(await ask(executor, tenant.database, tenant.actor(), query)) == {"projects": {"totalCount": 1}}


async def test_what_is_abandoned_ends(tenant: TenantUnderTest) -> None:
    """A client that hung up: the statement is cancelled, the pool whole."""
    executor = executor_of(Compiler(schema()._schema))
    fetch = TenantConnection.fetch

    async def slow(connection: TenantConnection, _sql: str, _arguments: Any) -> Any:
        return await fetch(connection, "SELECT pg_sleep(30)", ())

    with patch.object(TenantConnection, "fetch", slow):
        asking = asyncio.create_task(ask(executor, tenant.database, tenant.actor(), "{ projects { totalCount } }"))
        await asyncio.sleep(0.2)
        asking.cancel()
        await asyncio.wait([asking])
    assert asking.cancelled()
    assert tenant.database.reads.in_use == 0


async def test_what_waits_for_the_end_of_its_snapshot_is_held_as_json(tenant: TenantUnderTest) -> None:
    """Issue 6, memory: as many wait as there are connections, and objects take twice what their JSON takes."""
    executor, end = executor_of(Compiler(schema()._schema)), TenantConnection.end
    for number in range(50):
        name = f"Place {number}"
        await tenant.add(models.Environment(id=new_id(), name=name, slug=f"place-{number}", is_production=False))
    held: list[int] = []

    async def note(connection: TenantConnection) -> None:
        held.append(sum(isinstance(one, dict) and one.keys() == {"place"} for one in gc.get_objects()))
        await end(connection)

    query = "{ environments(first: 100) { totalCount edges { place: node { name } } } }"
    with patch.object(TenantConnection, "end", note):
        found = data(await ask(executor, tenant.database, tenant.actor(), query))
    assert len(found["environments"]["edges"]) > 50
    assert held == [0]


@pytest.mark.parametrize(
    ("query", "way"),
    [
        ("{ viewer { name } projects { edges { node { slug } } } __typename }", "both"),
        ("{ projects { edges { node { slug } } } viewer { name } environments { totalCount } }", "both"),
        ("{ agentInstances { edges { node { effectivePolicy { raw } } } } projects { totalCount } }", "both"),
        ("{ viewer { name } }", "left"),
        ("{ projects(first: 999) { totalCount } environments { totalCount } }", "resolvers"),
        ('{ projects(after: "nonsense") { edges { node { id } } } }', "resolvers"),
        ('{ node(id: "nonsense") { id } }', "resolvers"),
    ],
)
async def test_what_is_left_to_the_resolvers(demo_fleet: Demo, query: str, way: str) -> None:
    """Fields that compute are answered beside compiled ones, keys in order; a wrong argument sends all of it there."""
    both = BothWays(demo_fleet.database)
    await both.compare(demo_fleet.northwind, query)
    assert both.compiler.last == way


@pytest.mark.parametrize(
    "query",
    [
        "{ tasks { edges { node { title metadata } } } }",
        "{ tasks { totalCount edges { node { title metadata } } } }",
        '{ projects { edges { node { slug } } } node(id: "%s") { ... on Task { metadata } } }',
        '{ projects { edges { node { slug } } } task(id: "%s") { metadata } __type(name: "Run") { name } }',
    ],
)
async def test_json_of_more_levels_than_the_library_writes_is_answered(tenant: TenantUnderTest, query: str) -> None:
    """As the resolvers answer it, and without a word: in a list, under a snapshot, beside text, beside resolvers."""
    deep: Any = "end"
    for _ in range(252):  # which the library writes by itself, but not within an answer
        deep = [deep]
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="Deep", type="OPS", status="INBOX")
    task.metadata_ = {"a": deep}
    await tenant.add(task)
    query = query.replace("%s", global_id("tsk", task.id))
    with structlog.testing.capture_logs() as lines:
        found = await ask(executor_of(Compiler(schema()._schema)), tenant.database, tenant.actor(), query)
    expected = await ask(by_resolvers(), tenant.database, tenant.actor(), query)
    assert not found.errors
    assert b'[["end"]]' in encode(found.payload())
    assert json.loads(encode(found.payload()))["data"] == json.loads(encode(expected.payload()))["data"]
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_a_null_where_none_may_be_is_told_by_the_resolvers(tenant: TenantUnderTest) -> None:
    """An error at its path, nulls up to where one is allowed: JSON that its type does not fit."""
    task = models.Task(
        id=new_id(), project_id=tenant.project.id, title="Odd", type="OPS", status="INBOX", work_plan={"bullets": None}
    )
    await tenant.add(task)
    both = BothWays(tenant.database)
    answer = await both.compare(tenant.actor(), "{ tasks { edges { node { title workPlan { bullets } } } } }")
    assert answer.data["tasks"]["edges"][0]["node"] == {"title": "Odd", "workPlan": None}
    assert answer.errors[0]["path"] == ["tasks", "edges", 0, "node", "workPlan", "bullets"]
    assert both.compiler.last == "resolvers"
