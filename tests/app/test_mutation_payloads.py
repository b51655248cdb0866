"""Payloads compiled: the same as the resolvers', the command run once whatever happens to the reading after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import patch

import asyncpg
import orjson
import pytest
from graphql import GraphQLField, GraphQLNamedType, GraphQLObjectType, get_named_type, is_leaf_type
from sqlalchemy import func, select

from app.auth.actor import Actor, ActorKind, platform_actor
from app.graph.context import OperationContext
from app.graph.documents import Operation
from app.graph.execution import Answered, Executor, Outcome
from app.graph.fields import GraphField
from app.graph.registry import ENTITIES, ToOne
from app.graph.request import GraphQLRequest
from app.query.columns import from_row
from app.query.compiler import Compiler
from app.query.payload import Payload
from app.schema import schema
from db.models import ChangeRecord
from db.session import Database
from db.tenant_pool import TenantConnection
from tests.app.mutation_stage import Stage, make_stage
from tests.app.test_mutations import MUTATIONS, NAMES, command_of, document, good
from tests.asking import SEAL, compiling
from tests.conftest import TenantUnderTest, make_tenant

PAUSE = """
mutation($input: AgentInstanceTransitionInput!) {
  moved: agentInstanceTransition(input: $input) {
    __typename
    it: agentInstance { id state version { template { name } instances(first: 2) { totalCount } } }
    changeRecord { id type beforeState }
    userErrors { code message field allowedTransitions }
  }
}
"""


class Watched(Compiler):
    """A compiler that tells whether it gave an answer, and lets no fault of its own pass."""

    def __init__(self) -> None:
        super().__init__(schema()._schema)
        self.answered: list[bool] = []
        self.plan: Any = None

    async def answer(self, operation: Operation, variables: Any, context: OperationContext) -> Answered | None:
        """The compiler's answer."""
        self.plan = self._plan(operation, variables, context).plan
        found = await super().answer(operation, variables, context)
        self.answered.append(found is not None)
        return found

    def failed(self, error: Exception) -> None:
        """A fault is a fault here."""
        raise error


@pytest.fixture
async def stage(tenant: TenantUnderTest) -> Stage:
    """The rows that inputs name."""
    return await make_stage(tenant)


async def sent(executor: Executor, database: Database, actor: Actor, text: str, made: dict[str, Any]) -> Outcome:
    """The outcome of a mutation."""
    async with database.read(actor) as reading:
        context = OperationContext(actor, reading, "test", seal=SEAL)
        return await executor.execute(GraphQLRequest(text, {"input": made}), context, "test")


def data(outcome: Outcome) -> Any:
    """The data as JSON has it."""
    return orjson.loads(orjson.dumps(outcome.data))


def all_of(name: str) -> str:
    """Every row that a payload shows by its id, with its columns and its to-one relations, and every value that it has
    of the outcome. Fields that compute have a way of their own."""
    payload = get_named_type(MUTATIONS[name].type)
    assert isinstance(payload, GraphQLObjectType)
    shown = []
    for key, field in payload.fields.items():
        kind, of_outcome = get_named_type(field.type), _definition(field).of_outcome
        if of_outcome is not None and of_outcome.value is not None:
            shown += _value(key, kind)
        elif of_outcome is not None and isinstance(kind, GraphQLObjectType) and "id" in kind.fields:
            shown.append(f"{key} {{ {_plain(kind)} }}")
    return " ".join(shown)


def _value(key: str, kind: GraphQLNamedType) -> list[str]:
    if not isinstance(kind, GraphQLObjectType):
        return [key]
    if kind.name in ENTITIES:
        return [f"{key} {{ __typename id }}"]
    inner = [one for name, field in kind.fields.items() for one in _value(name, get_named_type(field.type))]
    return [f"{key} {{ __typename {' '.join(inner)} }}"]


def _plain(kind: GraphQLObjectType) -> str:
    relations = ENTITIES[kind.name].relations
    shown = ["__typename id"]
    for key, field in kind.fields.items():
        definition = field.extensions.get("strawberry-definition")
        if not isinstance(definition, GraphField) or field.args:
            continue
        if definition.of_row is not None and is_leaf_type(get_named_type(field.type)):
            shown.append(key)
        elif isinstance(relations.get(definition.python_name), ToOne):
            shown.append(f"{key} {{ id }}")
    return " ".join(shown)


def _definition(field: GraphQLField) -> GraphField:
    definition = field.extensions["strawberry-definition"]
    assert isinstance(definition, GraphField)
    return definition


@pytest.mark.parametrize("name", NAMES)
async def test_it_shows_what_the_resolvers_show(database: Database, name: str) -> None:
    """Both read what one command left: the second is the replay of its key."""
    stage = await make_stage(await make_tenant(database))
    command = command_of(name)
    is_platforms = ActorKind.PLATFORM in command.callers and ActorKind.OPERATOR not in command.callers
    actor = platform_actor(datetime.now(UTC) + timedelta(hours=1)) if is_platforms else stage.admin
    made = {**good(name, stage), "idempotencyKey": "shown"}
    text = document(name, "" if is_platforms else all_of(name))  # the platform reads no tenant
    compiler = Watched()
    first = await sent(compiling(compiler), database, actor, text, made)
    again = await sent(compiling(), database, actor, text, made)
    assert not [*first.errors, *again.errors]
    with patch.object(Compiler, "answer", lambda *_: _nothing()):
        expected = await sent(compiling(), database, actor, text, made)
    assert not expected.errors
    assert data(again) == data(expected)
    assert isinstance(compiler.plan, Payload)
    assert compiler.answered == [True], "left to the resolvers without need"


async def _nothing() -> None:
    return None


async def records(stage: Stage) -> int:
    """How many change records the tenant has."""
    async with stage.tenant.database.transaction(stage.admin) as session:
        statement = select(func.count()).select_from(ChangeRecord).where(ChangeRecord.tenant_id == stage.tenant.id)
        return int(await session.scalar(statement) or 0)


async def test_its_rows_may_go_as_deep_as_a_query(stage: Stage) -> None:
    """Aliases, `__typename`, relations in both directions."""
    made = {"instanceId": stage.id_of("AgentInstance"), "to": "PAUSED"}
    outcome = await sent(compiling(Watched()), stage.tenant.database, stage.admin, PAUSE, made)
    moved = data(outcome)["moved"]
    assert moved["__typename"] == "AgentInstanceTransitionPayload"
    assert moved["it"]["state"] == "PAUSED"
    assert moved["it"]["version"]["template"] == {"name": "Scout"}
    assert moved["it"]["version"]["instances"]["totalCount"] >= 1
    assert moved["changeRecord"]["beforeState"] == {"state": "ACTIVE"}
    assert moved["userErrors"] == []


async def test_the_row_and_its_record_are_one_statement(stage: Stage) -> None:
    """Rows on which nothing hangs are read together, each where it belongs."""
    text = """mutation($input: AgentInstanceTransitionInput!) {
      agentInstanceTransition(input: $input) { agentInstance { id state } changeRecord { type afterState } }
    }"""
    made = {"instanceId": stage.id_of("AgentInstance"), "to": "PAUSED"}
    compiler = Watched()
    async with stage.tenant.database.read(stage.admin) as reading:
        context = OperationContext(stage.admin, reading, "test", seal=SEAL)
        outcome = await compiling(compiler).execute(GraphQLRequest(text, {"input": made}), context, "test")
        assert not outcome.errors, outcome.errors
        assert context.reading.statements == 1
    assert compiler.answered == [True]
    shown = data(outcome)["agentInstanceTransition"]
    assert shown["agentInstance"] == {"id": made["instanceId"], "state": "PAUSED"}
    assert shown["changeRecord"] == {
        "type": "INSTANCE_TRANSITIONED",
        "afterState": {"state": "PAUSED", "cause": "OPERATOR"},
    }


def known_of(name: str) -> str:
    """Of every row that a payload shows by its id the columns that its command may know."""
    payload = get_named_type(MUTATIONS[name].type)
    assert isinstance(payload, GraphQLObjectType)
    shown = []
    for key, field in payload.fields.items():
        kind, of_outcome = get_named_type(field.type), _definition(field).of_outcome
        if of_outcome is None or of_outcome.entity is None or not isinstance(kind, GraphQLObjectType):
            continue
        table = ENTITIES[kind.name].table
        columns = ["__typename", "id"]
        for column, inner in kind.fields.items():
            definition = inner.extensions.get("strawberry-definition")
            of_row = definition.of_row if isinstance(definition, GraphField) else None
            if of_row is None or column == "updatedAt":
                continue
            if all(from_row(table.c[one], is_stored=True) is not None for one in of_row.columns):
                columns.append(column)
        shown.append(f"{key} {{ {' '.join(columns)} }}")
    return " ".join(shown)


@pytest.mark.parametrize("name", [name for name in NAMES if ActorKind.OPERATOR in command_of(name).callers])
async def test_what_a_command_knows_of_its_rows_is_what_a_query_reads(database: Database, name: str) -> None:
    """To the last column, whether the payload had to read it or not."""
    stage = await make_stage(await make_tenant(database))
    selection = known_of(name)
    outcome = await sent(compiling(Watched()), database, stage.admin, document(name, selection), good(name, stage))
    assert not outcome.errors
    (payload,) = data(outcome).values()
    for key, rows in payload.items():
        for row in rows if isinstance(rows, list) else [rows]:
            if not isinstance(row, dict) or "id" not in row:
                continue
            columns = selection.partition(f"{key} {{")[2].partition("}")[0]
            text = f"query($id: ID!) {{ node(id: $id) {{ ... on {row['__typename']} {{ {columns} }} }} }}"
            async with database.read(stage.admin) as reading:
                context = OperationContext(stage.admin, reading, "test", seal=SEAL)
                found = await compiling().execute(GraphQLRequest(text, {"id": row["id"]}), context, "test")
            assert data(found) == {"node": row}


_READ: Final = {
    "agentInstance { id state pausedBy activatedAt retiredAt }": 0,
    "agentInstance { state updatedAt }": 1,  # which the database sets
    "agentInstance { state version { id } }": 1,
    "agentInstance { state metadata }": 1,  # JSON has the order in which Postgres keeps it
    "changeRecord { id seq hash type timestamp reason createdAt actorType summary }": 0,
    "changeRecord { seq prevHash }": 1,
    "changeRecord { afterState }": 1,
    "agentInstance { state } changeRecord { seq }": 0,
    "agentInstance { state } changeRecord { afterState }": 1,
    "userErrors { code }": 0,
}


@pytest.mark.parametrize("selection", _READ)
async def test_what_a_command_has_stored_is_not_read_again(stage: Stage, selection: str) -> None:
    """Nor where there is a replica, which may not have it yet."""
    text = document("agentInstanceTransition", selection)
    for to, is_behind in (("PAUSED", False), ("ACTIVE", True)):
        compiler = Watched()
        with patch.object(stage.tenant.database, "reads_behind", is_behind):
            async with stage.tenant.database.read(stage.admin) as reading:
                context = OperationContext(stage.admin, reading, "test", seal=SEAL)
                given = {"input": {"instanceId": stage.id_of("AgentInstance"), "to": to, "reason": "as told"}}
                outcome = await compiling(compiler).execute(GraphQLRequest(text, given), context, "test")
                assert not outcome.errors
                statements = context.reading.statements
        if is_behind:
            assert compiler.answered == [not _READ[selection]], "the resolvers read on the primary"
        else:
            assert statements == _READ[selection]
        shown = data(outcome)["agentInstanceTransition"]
        assert shown.get("agentInstance", {}).get("state", to) == to


async def test_what_shows_no_rows_reads_none(stage: Stage) -> None:
    """A verdict is the outcome's own; the rows that it names are read where they are asked for, and no others."""
    text = "mutation($input: PolicyEvaluateInput!) { policyEvaluate(input: $input) { policyDecision { %s } } }"
    made = {"instanceId": stage.id_of("AgentInstance"), "actionType": "TOOL_CALL", "toolName": "search"}
    shown = []
    for asked, statements in (("decision violations", 0), ("opEvent { id type }", 1)):
        compiler = Watched()
        async with stage.tenant.database.read(stage.admin) as reading:
            context = OperationContext(stage.admin, reading, "test", seal=SEAL)
            outcome = await compiling(compiler).execute(GraphQLRequest(text % asked, {"input": made}), context, "test")
            assert not outcome.errors, outcome.errors
            assert context.reading.statements == statements
        assert compiler.answered == [True]
        shown.append(data(outcome)["policyEvaluate"]["policyDecision"])
    assert shown[0]["decision"] in ("ALLOW", "DENY", "NEEDS_APPROVAL")
    assert shown[1]["opEvent"]["id"].startswith("evt_")


async def test_a_refusal_is_told_by_the_resolvers_and_the_command_run_once(stage: Stage) -> None:
    """With the field, and the steps that there would have been."""
    made = {"instanceId": stage.id_of("AgentInstance"), "to": "ACTIVE"}
    outcome = await sent(compiling(Watched()), stage.tenant.database, stage.admin, PAUSE, made)
    moved = data(outcome)["moved"]
    (refusal,) = moved["userErrors"]
    assert (moved["it"], moved["changeRecord"]) == (None, None)
    assert (refusal["code"], refusal["field"]) == ("INVALID_STATE_TRANSITION", ["input", "to"])
    assert "PAUSED" in refusal["allowedTransitions"]
    assert await records(stage) == 0


@pytest.mark.parametrize("wrong", ["x", "ver_00000000000000000000000000000000", "ins_1"])
async def test_a_wrong_id_is_told_by_the_resolvers(stage: Stage, wrong: str) -> None:
    """With the path of the mutation, under its alias."""
    made = {"to": "PAUSED", "instanceId": wrong}
    outcome = await sent(compiling(Watched()), stage.tenant.database, stage.admin, PAUSE, made)
    assert outcome.code == "BAD_USER_INPUT"
    assert outcome.errors[0]["path"] == ["moved"]


async def test_who_may_not_is_told_so(stage: Stage) -> None:
    made = {"instanceId": stage.id_of("AgentInstance"), "to": "PAUSED"}
    actor = stage.without("write:instances")
    outcome = await sent(compiling(Watched()), stage.tenant.database, actor, PAUSE, made)
    assert (outcome.code, data(outcome)) == ("FORBIDDEN", None)
    assert await records(stage) == 0


async def test_where_the_reading_fails_the_resolvers_answer_and_nothing_is_done_twice(stage: Stage) -> None:
    """The connection is lost after the commit."""

    async def lost(*_given: Any) -> Any:
        raise asyncpg.ConnectionDoesNotExistError("the connection was closed")

    made = {"instanceId": stage.id_of("AgentInstance"), "to": "PAUSED"}
    compiler = Watched()
    with patch.object(TenantConnection, "fetch", lost):
        outcome = await sent(compiling(compiler), stage.tenant.database, stage.admin, PAUSE, made)
    assert not outcome.errors
    assert compiler.answered == [False]
    assert data(outcome)["moved"]["it"]["state"] == "PAUSED"
    assert await records(stage) == 1


async def test_a_replica_is_not_asked(stage: Stage) -> None:
    """It may not have yet what was written just now."""
    made = {"instanceId": stage.id_of("AgentInstance"), "to": "PAUSED"}
    compiler = Watched()
    with patch.object(stage.tenant.database, "reads_behind", True):
        outcome = await sent(compiling(compiler), stage.tenant.database, stage.admin, PAUSE, made)
    assert compiler.answered == [False]
    assert data(outcome)["moved"]["it"]["state"] == "PAUSED"
    assert await records(stage) == 1


async def test_several_mutations_run_one_after_the_other(stage: Stage) -> None:
    """The second sees what the first did."""
    text = """
    mutation($a: AgentInstanceTransitionInput!, $b: AgentInstanceTransitionInput!) {
      a: agentInstanceTransition(input: $a) { agentInstance { state } }
      b: agentInstanceTransition(input: $b) { agentInstance { state } }
    }
    """
    agent = stage.id_of("AgentInstance")
    variables = {"a": {"instanceId": agent, "to": "PAUSED"}, "b": {"instanceId": agent, "to": "ACTIVE"}}
    async with stage.tenant.database.read(stage.admin) as reading:
        context = OperationContext(stage.admin, reading, "test", seal=SEAL)
        outcome = await compiling().execute(GraphQLRequest(text, variables), context, "test")
    shown = {key: value["agentInstance"]["state"] for key, value in data(outcome).items()}
    assert shown == {"a": "PAUSED", "b": "ACTIVE"}
    assert await records(stage) == 2
