"""Execution apart from any transport: hooks, cost, time, introspection, subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import orjson
import pytest
import strawberry
from graphql import GraphQLError, get_introspection_query
from strawberry.extensions import SchemaExtension

from app.graph.documents import Operation, Refused
from app.graph.errors import Forbidden
from app.graph.execution import Executor, Hooks, Outcome, Report
from app.graph.limits import Limits
from app.graph.request import GraphQLRequest
from tests.app.http.fleet import SCHEMA, Context, House


def context() -> Context:
    return Context(House(), "r1")


async def run(executor: Executor, query: str, **variables: Any) -> Outcome:
    return await executor.execute(GraphQLRequest(query, variables), context(), "r1")


def refuse_things(operation: Operation, _context: Any) -> Sequence[GraphQLError]:
    use = operation.types.get("Thing")
    return [Forbidden("read:things", nodes=use.node, path=use.path)] if use else []


async def test_a_type_may_be_refused_before_anything_runs() -> None:
    """Decision 30: FORBIDDEN with path and permission, and no data."""
    executor = Executor(SCHEMA, hooks=Hooks(authorize=refuse_things))
    refused = await run(executor, "{ q: query { things { edges { node { id } } } } }")
    assert not refused.executed
    assert refused.payload() == {
        "errors": [
            {
                "message": "This needs the permission 'read:things'.",
                "locations": [{"line": 1, "column": 31}],
                "path": ["q", "things", "edges", "node"],
                "extensions": {"code": "FORBIDDEN", "permission": "read:things"},
            }
        ]
    }
    assert (await run(executor, "{ hello }")).data == {"hello": "hello world"}


async def test_a_hook_that_breaks_is_masked() -> None:
    """trap 8."""

    def broken(_operation: Operation, _context: Any) -> Sequence[GraphQLError]:
        raise KeyError("agent_secrets")

    outcome = await run(Executor(SCHEMA, hooks=Hooks(authorize=broken)), "{ hello }")
    assert outcome.code == "INTERNAL"
    assert "agent_secrets" not in str(outcome.payload())


@pytest.mark.parametrize(("first", "code"), [(9, "OK"), (10, "OPERATION_TOO_COMPLEX")])
async def test_the_cost_counts_the_variables_of_this_request(first: int, code: str) -> None:
    """api.md, Limits: the same document is cheap with one variable and refused with another."""
    executor = Executor(SCHEMA, Limits(max_cost=10))
    query = "query ($n: Int) { things(first: $n) { edges { node { id } } } }"
    outcome = await run(executor, query, n=first)
    assert outcome.code == code
    if code != "OK":
        assert outcome.errors[0]["extensions"] == {"code": code, "measure": "cost", "cost": 11, "limit": 10}
        assert not outcome.executed


async def test_an_operation_that_takes_too_long_is_cancelled() -> None:
    """api.md, Errors: TIMEOUT, and the work is stopped."""
    executor = Executor(SCHEMA, Limits(timeout=0.05))
    made = context()
    outcome = await executor.execute(GraphQLRequest("{ slow }"), made, "r1")
    assert (outcome.code, outcome.executed, made.house.cancelled) == ("TIMEOUT", False, 1)


async def test_a_mutation_that_takes_too_long_is_not_told_as_undone() -> None:
    """It may have been committed by then."""

    @strawberry.type
    class Query:
        @strawberry.field
        def nothing(self) -> str | None:
            return None

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        async def slow(self) -> str:
            await asyncio.sleep(5)
            return "done"

    executor = Executor(strawberry.Schema(Query, mutation=Mutation), Limits(timeout=0.05))
    outcome = await executor.execute(GraphQLRequest("mutation { slow }"), context(), "r1")
    assert outcome.code == "TIMEOUT"
    assert "may have been done" in outcome.errors[0]["message"]


class QueryCanceledError(Exception):
    """Like the driver's, for a statement that Postgres ended."""

    sqlstate = "57014"


async def test_a_statement_that_was_cancelled_is_a_timeout() -> None:
    """api.md, Limits: a statement timeout answers clearly, although the exception is wrapped."""

    @strawberry.type
    class Query:
        @strawberry.field
        def rows(self) -> str | None:
            try:
                raise QueryCanceledError("canceling statement due to statement timeout")
            except QueryCanceledError as error:
                raise RuntimeError("SELECT secret") from error

    outcome = await run(Executor(strawberry.Schema(Query)), "{ rows }")
    assert (outcome.code, outcome.errors[0]["path"]) == ("TIMEOUT", ["rows"])
    assert "SELECT" not in str(outcome.payload())


async def test_the_description_of_the_schema_is_written_once() -> None:
    """Introspection must stay cheap: the second caller gets the same bytes without an execution."""
    executor = Executor(SCHEMA)
    query = get_introspection_query()
    first = await run(executor, query)
    second = await run(executor, query)
    assert first.data is second.data
    one = await run(executor, "query ($n: String!) { __type(name: $n) { name } }", n="Thing")
    other = await run(executor, "query ($n: String!) { __type(name: $n) { name } }", n="Query")
    assert [orjson.loads(orjson.dumps(found.data)) for found in (one, other)] == [
        {"__type": {"name": "Thing"}},
        {"__type": {"name": "Query"}},
    ]
    mixed = await run(executor, "{ hello __schema { queryType { name } } }")
    assert mixed.data == {"hello": "hello world", "__schema": {"queryType": {"name": "Query"}}}


async def test_reports_tell_name_kind_and_outcome() -> None:
    reports: list[Report] = []
    executor = Executor(SCHEMA, hooks=Hooks(observe=reports.append))
    await run(executor, "query A { hello }")
    await run(executor, 'mutation B { rename(name: "x") }')
    await run(executor, "{ nothing }")
    assert [(report.operation.name, report.operation.kind.value, report.outcome.code) for report in reports] == [
        ("A", "query", "OK"),
        ("B", "mutation", "OK"),
    ]


async def test_the_operation_is_chosen_by_name() -> None:
    executor = Executor(SCHEMA)
    request = GraphQLRequest("query A { a: hello } query B { b: hello }", None, "B")
    assert (await executor.execute(request, context(), "r1")).data == {"b": "hello world"}
    for name, said in ((None, "'A', 'B'"), ("C", "'C'")):
        outcome = await executor.execute(GraphQLRequest(request.query, None, name), context(), "r1")
        assert outcome.code == "BAD_USER_INPUT"
        assert said in outcome.errors[0]["message"]


async def test_a_subscription_is_not_executed_as_a_query() -> None:
    """trap 10."""
    outcome = await run(Executor(SCHEMA), "subscription { count(to: 1) }")
    assert (outcome.executed, outcome.code) == (False, "GRAPHQL_VALIDATION_FAILED")


async def test_a_subscription_is_authorised_and_closed_with_its_reader() -> None:
    house = House()

    @asynccontextmanager
    async def open_context() -> AsyncIterator[Context]:
        house.opened += 1
        yield Context(house, "r1")
        house.closed += 1

    executor = Executor(SCHEMA, hooks=Hooks(authorize=refuse_things))
    refused = executor.prepare(GraphQLRequest("subscription { forever { id } }"))
    (outcome,) = [found async for found in executor.subscribe(refused, None, open_context, "r1")]
    assert (outcome.code, outcome.executed, house.sources_open) == ("FORBIDDEN", False, 0)

    operation = Executor(SCHEMA).prepare(GraphQLRequest("subscription { forever { id } }"))
    async with aclosing(Executor(SCHEMA).subscribe(operation, None, open_context, "r1")) as outcomes:
        async for outcome in outcomes:
            assert outcome.executed
            assert house.sources_open == 1
            break
    assert house.sources_open == 0
    await asyncio.sleep(0)


def test_what_would_not_be_run_is_refused_at_the_start() -> None:
    """An extension that silently does nothing would be a trap of our own."""

    @strawberry.type
    class Query:
        hello: str = "x"

    with pytest.raises(ValueError, match="extensions"):
        Executor(strawberry.Schema(Query, extensions=[SchemaExtension]))


def test_a_refusal_tells_all_its_reasons() -> None:
    with pytest.raises(Refused) as caught:
        Executor(SCHEMA).prepare(GraphQLRequest("{ one two }"))
    assert len(caught.value.errors) == 2
