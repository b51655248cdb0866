"""Look-ups that are made together: each gets its own rows, as they are after it asked, whatever happens to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from sqlalchemy import update

from app.auth.actor import Actor
from app.auth.scope import Grants, Scope
from app.graph.context import OperationContext
from app.graph.execution import Executor, Hooks, Outcome
from app.graph.ids import global_id
from app.graph.reading import refuse_unreadable
from app.graph.request import GraphQLRequest
from app.query import sharing
from app.query.compiler import Compiler
from app.query.sharing import Sharing
from app.query.statements import Statement
from app.schema import schema
from db import models
from db.ids import new_id
from db.tenant_pool import TenantConnection
from tests.conftest import TenantUnderTest

# --- The coordination alone -------------------------------------------------------------------------------------------


def look_up(kind: str = "SELECT") -> Statement:
    """A statement of a caller and of keys."""
    return Statement(kind, (lambda actor, _given, _keys: actor.id, lambda _actor, _given, keys: keys), 1, 1)


LOOK_UP = look_up()


class Store:
    """Answers statements when it is told to."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.answers: list[asyncio.Future[None]] = []

    async def fetch(self, _sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        self.asked.append(sorted(set(arguments[-1])))
        self.answers.append(asyncio.get_running_loop().create_future())
        await self.answers[-1]
        return [(bytes.fromhex(key),) for key in arguments[-1] if key != "ff"]

    async def answer(self, number: int, error: Exception | None = None) -> None:
        waiting = self.answers[number]
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


Ask = Callable[..., asyncio.Task[Sequence[Any]]]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def shared() -> Sharing:
    return Sharing()


@pytest.fixture
def ask(shared: Sharing, store: Store, tenant: TenantUnderTest) -> Ask:
    actor = tenant.actor()

    def begin(*keys: bytes, statement: Statement = LOOK_UP, who: Actor = actor) -> asyncio.Task[Sequence[Any]]:
        arguments = statement.arguments(who, {}, [key.hex() for key in keys])
        return asyncio.create_task(shared.records(who.tenant_id, statement, arguments, 0, keys, store.fetch))

    return begin


async def test_who_asks_meanwhile_asks_together(ask: Ask, store: Store, shared: Sharing) -> None:
    """One statement is under way at a time; each gets what it asked for, and a key without a row is left out."""
    first = ask(b"\1")
    await settled()
    others = [ask(b"\2"), ask(b"\3", b"\2"), ask(b"\xff"), ask()]
    await settled()
    assert store.asked == [["01"]]
    await asyncio.sleep(2 * sharing.PATIENCE_SECONDS)  # which is of one statement, not of all that follow each other
    await store.answer(0)
    assert await first == [(b"\1",)]
    assert store.asked[1:] == [["02", "03", "ff"]]
    late = ask(b"\4")
    await settled()
    assert len(store.asked) == 2
    await store.answer(1)
    assert [await one for one in others] == [[(b"\2",)], [(b"\3",), (b"\2",)], [], []]
    await store.answer(2)
    assert await late == [(b"\4",)]
    assert not shared._under_way


async def test_who_asks_as_one_statement_ends_is_asked_for_by_the_next(ask: Ask, store: Store) -> None:
    """However long that one took: the next has been given over, and is about to be sent."""
    first = ask(b"\1")
    await settled()
    second = ask(b"\2")
    await settled()
    await asyncio.sleep(2 * sharing.PATIENCE_SECONDS)
    store.answers[0].set_result(None)
    third = ask(b"\3")  # has its turn after `first`, and before `second`
    await settled()
    assert store.asked == [["01"], ["02", "03"]]
    await store.answer(1)
    assert [await one for one in (first, second, third)] == [[(b"\1",)], [(b"\2",)], [(b"\3",)]]


async def test_another_statement_value_or_tenant_is_no_company(
    ask: Ask, store: Store, tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    """Every other value is a part of what makes two the same, and the tenant even where it is none."""
    actor = tenant.actor()
    running = [
        ask(b"\1", who=actor),
        ask(b"\1", who=actor, statement=look_up("SELECT more")),
        ask(b"\1", who=replace(actor, id=new_id())),
        ask(b"\1", who=replace(actor, tenant_id=other_tenant.id)),
    ]
    await settled()
    assert store.asked == [["01"]] * 4
    for number in range(4):
        await store.answer(number)
    await asyncio.gather(*running)


async def test_who_asked_for_all_and_fails_fails_alone(ask: Ask, store: Store, shared: Sharing) -> None:
    """The others ask for themselves: what was wrong may have been wrong with one of them, or with its connection."""
    first, leader, follower = ask(b"\1"), ask(b"\2"), ask(b"\3")
    await settled()
    await store.answer(0)
    await store.answer(1, ConnectionError("gone"))
    with pytest.raises(ConnectionError):
        await leader
    assert store.asked == [["01"], ["02", "03"], ["03"]]
    await store.answer(2)
    assert await follower == [(b"\3",)]
    assert await first == [(b"\1",)]
    assert not shared._under_way


@pytest.mark.parametrize("moment", range(4))
async def test_whoever_goes_away_keeps_nobody_waiting(ask: Ask, store: Store, shared: Sharing, moment: int) -> None:
    """While the statement is under way, while it waits, in the moment of its turn, and while it asks for all."""
    running = [ask(b"\1"), ask(b"\2"), ask(b"\3")]
    await settled()
    if moment == 0:
        running[0].cancel()
    if moment == 1:
        running[1].cancel()
    if moment == 2:
        store.answers[0].set_result(None)
        while len(store.asked) == 1 and not running[0].done():  # noqa: ASYNC110 - the moment between the two
            await asyncio.sleep(0)
        running[1].cancel()
    if moment == 3:
        await store.answer(0)
        running[1].cancel()
    for _ in range(5):
        await settled()
        for answer in store.answers:
            with suppress(asyncio.InvalidStateError):
                answer.set_result(None)
    assert await asyncio.wait_for(running[2], 5) == [(b"\3",)]
    gone = running[0 if moment == 0 else 1]
    assert gone.cancelled()
    assert not shared._under_way


async def test_what_takes_long_is_not_waited_for(ask: Ask, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a statement made longer without end."""
    first = ask(b"\1")
    await settled()
    await asyncio.sleep(2 * sharing.PATIENCE_SECONDS)
    beside = ask(b"\2")
    await settled()
    assert store.asked == [["01"], ["02"]]
    await store.answer(1)
    assert await beside == [(b"\2",)]
    await store.answer(0)
    await first
    monkeypatch.setattr(sharing, "MOST_KEYS", 1)
    monkeypatch.setattr(sharing, "PATIENCE_SECONDS", 60)
    running = [ask(b"\1"), ask(b"\2"), ask(b"\3")]
    await settled()
    assert store.asked[2:] == [["01"], ["03"]]
    for number in (2, 3, 4):
        await store.answer(number)
    assert [await one for one in running] == [[(b"\1",)], [(b"\2",)], [(b"\3",)]]


# --- Over the database ------------------------------------------------------------------------------------------------

PROJECT = "query($id: ID!) { project(id: $id) { id name } }"
NODE = "query($id: ID!) { node(id: $id) { ... on Project { id name } } }"


class Gate:
    """Holds up statements until it is opened, and counts them."""

    def __init__(self) -> None:
        self.sent = 0
        self.open = asyncio.Event()
        self._fetch = TenantConnection.fetch

    async def fetch(self, connection: TenantConnection, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        self.sent += 1
        await self.open.wait()
        return await self._fetch(connection, sql, arguments)


async def answer(executor: Executor, tenant: TenantUnderTest, actor: Actor, query: str, row: models.Project) -> Outcome:
    async with tenant.database.read(actor) as reading:
        context = OperationContext(actor, reading, "r")
        return await executor.execute(GraphQLRequest(query, {"id": global_id("prj", row.id)}), context, "r")


@pytest.mark.parametrize("query", [PROJECT, NODE])
async def test_many_requests_are_two_statements_and_see_what_was_committed_before_they_asked(
    tenant: TenantUnderTest, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PATIENCE_SECONDS", 60)
    executor = Executor(schema(), hooks=Hooks(authorize=refuse_unreadable), shortcut=Compiler(schema()._schema))
    rows = [models.Project(id=new_id(), name=f"P{number}", slug=f"p{number}") for number in range(20)]
    await tenant.add(*rows)
    gate = Gate()
    with patch.object(TenantConnection, "fetch", lambda *given: gate.fetch(*given)):
        first = asyncio.create_task(answer(executor, tenant, tenant.actor(), query, rows[0]))
        while not gate.sent:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with tenant.database.transaction(tenant.actor()) as session:
            await session.execute(update(models.Project).where(models.Project.id == rows[1].id).values(name="Renamed"))
        others = [asyncio.create_task(answer(executor, tenant, tenant.actor(), query, row)) for row in rows[1:]]
        await settled()
        gate.open.set()
        outcomes = await asyncio.gather(first, *others)
    assert not any(outcome.errors for outcome in outcomes)
    found = [next(iter(orjson.loads(orjson.dumps(outcome.data)).values())) for outcome in outcomes]
    assert [one["id"] for one in found] == [global_id("prj", row.id) for row in rows]
    assert [one["name"] for one in found] == ["P0", "Renamed", *(f"P{number}" for number in range(2, 20))]
    assert gate.sent == 2


async def test_callers_of_different_scopes_share_nothing(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 29: the same plan with other places for values; who may see one project gets no other by company."""
    monkeypatch.setattr(sharing, "PATIENCE_SECONDS", 60)
    executor = Executor(schema(), hooks=Hooks(authorize=refuse_unreadable), shortcut=Compiler(schema()._schema))
    rows = [models.Project(id=new_id(), name=f"P{number}", slug=f"p{number}") for number in range(2)]
    await tenant.add(*rows)
    people = [tenant.actor(grants=Grants({"read:projects": Scope(projects=frozenset({row.id}))})) for row in rows]
    gate = Gate()
    with patch.object(TenantConnection, "fetch", lambda *given: gate.fetch(*given)):
        asking = [
            asyncio.create_task(answer(executor, tenant, person, PROJECT, row)) for person in people for row in rows
        ]
        while gate.sent < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        gate.open.set()
        outcomes = await asyncio.gather(*asking)
    found = [outcome.data["project"] and outcome.data["project"]["name"] for outcome in outcomes]
    assert found == ["P0", None, None, "P1"]
