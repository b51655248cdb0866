"""Commands that are ready at the same moment are one statement (db/group_commit.py, db/shared_reads.py), and each of
them is done as it would be alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from app.commands import Done, Refusal, Refused
from app.running import run
from app.unit_of_work import UnitOfWork
from db import models
from db.bell import Feed
from db.enums import ChangeRecordType, InstanceState, OpEventType
from db.group_commit import Told
from db.ids import new_id
from db.pool import CommitUnanswered, PoolExhausted
from db.tenant_pool import TenantConnection, TenantPool
from tests.conftest import TenantUnderTest
from tests.declared import Declare
from tests.transitions import agents, move, records, sent, state_of

ACTIVE, PAUSED, READONLY = InstanceState.ACTIVE, InstanceState.PAUSED, InstanceState.READONLY
LONG = 60.0


@pytest.fixture
def declare(declare: Declare) -> Callable[[Any], str]:
    """Make a function a command that is tried briefly, for as long as the test lasts; returns its name."""
    return partial(declare, mostly_brief=lambda _given: True)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is slow, those who are ready together may take a while to get there."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", LONG)


@contextmanager
def statements_of(tenant: TenantUnderTest) -> Iterator[list[str]]:
    """What is sent by single statements; to use a transaction is an error."""
    with sent() as statements, patch("db.session.begin", side_effect=AssertionError("a transaction")):
        yield statements
    assert tenant.database._company.commits.is_idle, "nobody is waited for who has gone"


class Meeting:
    """Commands that read, and go on to write when all of them have."""

    def __init__(self, count: int) -> None:
        self.barrier = asyncio.Barrier(count)
        self.tries = 0
        self._arrived = asyncio.Condition()

    async def has_met(self, count: int) -> None:
        """Until so many have read."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.tries >= count)

    async def rename(self, uow: UnitOfWork, template_id: UUID, **changes: Any) -> Any:
        """Change a template once everybody has read theirs; again without waiting."""
        found = await uow.lock(models.AgentTemplate, template_id)
        assert found is not None
        self.tries += 1
        async with self._arrived:
            self._arrived.notify_all()
        if uow._work.writes_once:
            await self.barrier.wait()
        for name, value in changes.items():
            setattr(found, name, value)
        uow.record(ChangeRecordType.PROJECT_CREATED, found, after={"name": found.name})
        return found


async def templates(tenant: TenantUnderTest, count: int) -> list[UUID]:
    """Templates called T0, T1 and so on."""
    made = [models.AgentTemplate(id=new_id(), name=f"T{number}") for number in range(count)]
    await tenant.add(*made)
    return [one.id for one in made]


async def names(tenant: TenantUnderTest, ids: list[UUID]) -> list[str]:
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.scalars(select(models.AgentTemplate).where(models.AgentTemplate.id.in_(ids)))
        by_id = {one.id: one.name for one in found}
    return [by_id[one] for one in ids]


def renaming(tenant: TenantUnderTest, command: str, ids: list[UUID]) -> list[Awaitable[Done | Refused]]:
    """One command a template, each of which gets the name of its place."""
    return [
        run(tenant.database, tenant.actor(), command, {"template_id": one, "name": f"New {number}"})
        for number, one in enumerate(ids)
    ]


async def test_those_who_are_ready_together_are_one_statement(tenant: TenantUnderTest) -> None:
    """One that reads and one that writes, for all of them; each has its own record, and the chain is whole."""
    some = await agents(tenant, 5)
    with statements_of(tenant) as statements:
        outcomes = await asyncio.gather(*(move(tenant, agent, PAUSED, reason=str(agent)) for agent in some))
    # The first one is under way before anybody else is there.
    assert sorted(one.split()[0] for one in statements) == ["SELECT", "SELECT", "WITH"]
    assert [await state_of(tenant, agent) for agent in some] == [PAUSED] * 5
    kept = {row["id"]: row for row in await records(tenant)}
    for agent, outcome in zip(some, outcomes, strict=True):
        assert isinstance(outcome, Done)
        assert outcome.change_id is not None
        record = kept.pop(outcome.change_id)
        assert (record["target_id"], record["reason"], record["instance_id"]) == (agent, str(agent), agent)
        left = outcome.left["ChangeRecord", record["id"]]
        assert (left["seq"], left["hash"]) == (record["seq"], record["hash"])
    assert kept == {}


async def test_who_is_alone_waits_for_nobody(tenant: TenantUnderTest) -> None:
    (agent,) = await agents(tenant)
    async with asyncio.timeout(LONG / 2):
        assert isinstance(await move(tenant, agent, PAUSED), Done)


async def test_nobody_waits_long_for_one_who_takes_long(
    tenant: TenantUnderTest, declare: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for one who has come to nothing."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", 0.001)
    (agent,) = await agents(tenant)
    (template,) = await templates(tenant, 1)
    slow = Meeting(2)
    dawdling = asyncio.ensure_future(renaming(tenant, declare(slow.rename), [template])[0])
    await slow.has_met(1)
    assert isinstance(await move(tenant, agent, PAUSED), Done)
    assert not dawdling.done()
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", LONG)
    moving = asyncio.create_task(move(tenant, agent, ACTIVE))
    await asyncio.sleep(0.05)
    assert not moving.done(), "there is somebody to wait for"
    dawdling.cancel()
    assert isinstance(await moving, Done)


async def test_one_that_was_overtaken_keeps_nobody_from_writing(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    """It is done again in a transaction, from the start; no number of the chain is taken for nothing."""
    ids = await templates(tenant, 3)
    meeting = Meeting(4)
    tasks = [asyncio.ensure_future(one) for one in renaming(tenant, declare(meeting.rename), ids)]
    await meeting.has_met(3)
    async with tenant.database.transaction(tenant.actor()) as session:
        theirs = update(models.AgentTemplate).where(models.AgentTemplate.id == ids[1]).values(description="Theirs")
        await session.execute(theirs)
    await meeting.barrier.wait()
    assert all(isinstance(one, Done) for one in await asyncio.gather(*tasks))
    assert meeting.tries == 4
    assert await names(tenant, ids) == ["New 0", "New 1", "New 2"]
    assert [row["seq"] for row in await records(tenant)] == [1, 2, 3]


async def test_a_row_that_somebody_holds_is_waited_for_by_its_own_command_alone(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    ids = await templates(tenant, 3)
    meeting = Meeting(3)
    command = declare(meeting.rename)
    async with tenant.database.writing(tenant.actor()) as holder:
        await holder.lock(models.AgentTemplate, tenant.id, [ids[1]])
        first, held, third = (asyncio.ensure_future(one) for one in renaming(tenant, command, ids))
        await asyncio.gather(first, third)
        assert not held.done()
    assert isinstance(await held, Done)
    assert await names(tenant, ids) == ["New 0", "New 1", "New 2"]


async def test_what_one_may_not_store_is_nobody_elses_fault(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    """A statement is refused as a whole; then each finds out by itself."""
    ids = await templates(tenant, 3)
    command = declare(Meeting(3).rename)
    wrong = run(tenant.database, tenant.actor(), command, {"template_id": ids[0], "name": None})
    outcomes = await asyncio.gather(wrong, *renaming(tenant, command, ids[1:]), return_exceptions=True)
    assert isinstance(outcomes[0], asyncpg.NotNullViolationError)
    assert [type(one) for one in outcomes[1:]] == [Done, Done]
    assert await names(tenant, ids) == ["T0", "New 0", "New 1"]
    assert len(await records(tenant)) == 2


@pytest.mark.parametrize("is_done", [True, False], ids=["and was done", "and was not done"])
async def test_where_no_answer_comes_nobody_is_told_that_it_was_not_done(
    tenant: TenantUnderTest, declare: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    ids = await templates(tenant, 2)
    command = declare(Meeting(2).rename)
    rung: list[Feed] = []

    class Noting:
        def ring(self, _tenant_id: UUID, feed: Feed, _seq: int | None = None) -> None:
            rung.append(feed)

    monkeypatch.setattr(tenant.database, "bell", Noting())
    fetch = TenantConnection.fetch

    async def lose(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        if not sql.lstrip().startswith("WITH"):
            return await fetch(connection, sql, arguments)
        if is_done:
            await fetch(connection, sql, arguments)
        raise asyncpg.ConnectionDoesNotExistError("lost")

    with patch.object(TenantConnection, "fetch", lose):
        outcomes = await asyncio.gather(*renaming(tenant, command, ids), return_exceptions=True)
    assert [type(one) for one in outcomes] == [CommitUnanswered] * 2
    assert rung == [Feed.ROWS] * 2
    assert len(await records(tenant)) == (2 if is_done else 0)


async def test_who_goes_away_before_the_others_are_ready_writes_nothing(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    ids = await templates(tenant, 3)
    meeting, late = Meeting(2), Meeting(2)
    command = declare(meeting.rename)

    async def dawdle(uow: UnitOfWork, template_id: UUID, **changes: Any) -> Any:
        """Be ready later than the others."""
        return await late.rename(uow, template_id, **changes)

    dawdling = asyncio.ensure_future(
        run(tenant.database, tenant.actor(), declare(dawdle), {"template_id": ids[2], "name": "New 2"})
    )
    first, second = (asyncio.ensure_future(one) for one in renaming(tenant, command, ids[:2]))
    await meeting.has_met(2)
    await late.has_met(1)
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait((first,))
    await late.barrier.wait()
    assert [type(one) for one in await asyncio.gather(second, dawdling)] == [Done, Done]
    assert first.cancelled()
    assert await names(tenant, ids) == ["T0", "New 1", "New 2"]
    assert len(await records(tenant)) == 2


async def test_who_goes_away_while_all_are_written_harms_nobody(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    """What it wanted may be done, and those who follow are told so; the statement is everybody's."""
    ids = await templates(tenant, 2)
    command = declare(Meeting(2).rename)
    fetch = TenantConnection.fetch
    sending = asyncio.Event()

    async def slowly(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        if sql.lstrip().startswith("WITH"):
            sending.set()
            await asyncio.sleep(0.02)
        return await fetch(connection, sql, arguments)

    with patch.object(TenantConnection, "fetch", slowly):
        first, second = (asyncio.ensure_future(one) for one in renaming(tenant, command, ids))
        await sending.wait()
        first.cancel()
        assert isinstance(await second, Done)
    assert first.cancelled()
    assert await names(tenant, ids) == ["New 0", "New 1"]
    assert len(await records(tenant)) == 2


async def test_other_changes_are_another_statement(tenant: TenantUnderTest, declare: Callable[[Any], str]) -> None:
    """As are those that no array holds as they are, such as lists."""
    ids = await templates(tenant, 6)
    command = declare(Meeting(6).rename)
    changes: list[dict[str, Any]] = [{"name": "A"}, {"name": "B"}]
    changes += [{"description": "C"}] * 2 + [{"tags": ["x", "y"]}] * 2
    with statements_of(tenant) as statements:
        outcomes = await asyncio.gather(
            *(
                run(tenant.database, tenant.actor(), command, {"template_id": one, **change})
                for one, change in zip(ids, changes, strict=True)
            )
        )
    assert all(isinstance(one, Done) for one in outcomes)
    assert len([one for one in statements if one.lstrip().startswith("WITH")]) == 4
    assert len(await records(tenant)) == 6
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.get_one(models.AgentTemplate, (tenant.id, ids[5]))
        assert found.tags == ["x", "y"]


async def test_events_go_together(tenant: TenantUnderTest, declare: Callable[[Any], str]) -> None:
    barrier = asyncio.Barrier(3)

    async def report(uow: UnitOfWork, number: int) -> Any:
        """Look at a project, and note a decision."""
        found = await uow.get(models.Project, tenant.project.id)
        await barrier.wait()
        uow.emit(OpEventType.DECISION_MADE, payload={"number": number})
        return found

    command = declare(report)
    with statements_of(tenant) as statements:
        await asyncio.gather(*(run(tenant.database, tenant.actor(), command, {"number": n}) for n in range(3)))
    assert len([one for one in statements if one.lstrip().startswith("WITH")]) == 1
    async with tenant.database.transaction(tenant.actor()) as session:
        events = list(await session.scalars(select(models.OpEvent).order_by(models.OpEvent.seq)))
    assert [one.seq for one in events] == [1, 2, 3]
    assert sorted(one.payload["number"] for one in events if one.payload) == [0, 1, 2]


async def test_tenants_never_share_a_statement(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Nor see each other's rows in one that others of their own share."""
    mine, theirs = await agents(tenant, 2), await agents(other_tenant, 2)
    with sent() as statements:
        outcomes = await asyncio.gather(
            *(move(one, agent, PAUSED) for one in (tenant, other_tenant) for agent in (*mine, *theirs))
        )
    assert len([one for one in statements if one.lstrip().startswith("WITH")]) == 2
    kinds = [type(one) for one in outcomes]
    assert kinds == [Done, Done, Refused, Refused, Refused, Refused, Done, Done]
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {Refusal.NOT_FOUND}
    for one in (tenant, other_tenant):
        assert {row["tenant_id"] for row in await records(one)} == {one.id}


async def test_many_need_no_connection_while_they_wait(tenant: TenantUnderTest, declare: Callable[[Any], str]) -> None:
    """Else all of a small pool would be held by those who wait for one more."""
    ids = await templates(tenant, 6)
    pool = TenantPool(tenant.database.connections.gateway, size=1, wait_seconds=5, may_write=True)
    with patch.object(tenant.database, "_briefs", pool), patch.object(tenant.database._company.commits, "_pool", pool):
        some = await agents(tenant, 6)
        outcomes = await asyncio.gather(*(move(tenant, agent, PAUSED) for agent in some))
        assert all(isinstance(one, Done) for one in outcomes)
    await pool.close()
    assert await names(tenant, ids) == [f"T{number}" for number in range(6)]


async def test_rows_that_are_asked_for_together(tenant: TenantUnderTest) -> None:
    """Who finds none hears so alone; where the one who asks for all goes away, the others ask by themselves."""
    first, *some = await agents(tenant, 4)
    busy = asyncio.create_task(move(tenant, first, PAUSED))
    await asyncio.sleep(0)
    leader, *others = (asyncio.create_task(move(tenant, agent, PAUSED)) for agent in (*some, new_id()))
    await asyncio.sleep(0)
    leader.cancel()
    outcomes = await asyncio.gather(busy, *others)
    assert leader.cancelled()
    assert [type(one) for one in outcomes] == [Done, Done, Done, Refused]
    assert await state_of(tenant, some[0]) is ACTIVE


async def test_what_is_under_way_is_awaited_at_the_end(tenant: TenantUnderTest, declare: Callable[[Any], str]) -> None:
    """Of those who have gone away, too."""
    ids = await templates(tenant, 2)
    command = declare(Meeting(2).rename)
    fetch = TenantConnection.fetch
    sending, is_over = asyncio.Event(), []

    async def slowly(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        if not sql.lstrip().startswith("WITH"):
            return await fetch(connection, sql, arguments)
        sending.set()
        await asyncio.sleep(0.05)
        found = await fetch(connection, sql, arguments)
        is_over.append(True)
        return found

    with patch.object(TenantConnection, "fetch", slowly):
        tasks = [asyncio.ensure_future(one) for one in renaming(tenant, command, ids)]
        await sending.wait()
        for task in tasks:
            task.cancel()
        await tenant.database._company.commits.close()
    assert is_over == [True]


async def told_the_same(_fetch: Any, _tenant_id: UUID, writes: Sequence[Any]) -> Sequence[Any]:
    """What would be told to those who are written together."""
    return writes


def no_matter() -> None:
    """What follows for who has gone."""


@pytest.mark.parametrize("kind", ["same", "other"])
async def test_who_goes_away_in_the_turn_in_which_the_others_get_ready(tenant: TenantUnderTest, kind: str) -> None:
    """It does not know of it yet, and nobody else has to: the other one writes alone."""
    commits = tenant.database._company.commits
    for _ in range(2):
        commits.expect(tenant.id)
    first = asyncio.create_task(commits.write(tenant.id, "same", "mine", told_the_same, no_matter))
    await asyncio.sleep(0)
    first.cancel()
    async with asyncio.timeout(LONG / 2):
        assert await commits.write(tenant.id, kind, "mine", told_the_same, no_matter) is Told.ALONE
    await asyncio.wait((first,))
    assert first.cancelled()
    assert commits.is_idle


async def test_who_waits_no_more_leaves_nothing_behind_for_those_who_come_later(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the wait is not taken for theirs, who would then be unknown."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", 0.005)
    commits = tenant.database._company.commits
    for _ in range(2):
        commits.expect(tenant.id)
    first = asyncio.create_task(commits.write(tenant.id, "same", "mine", told_the_same, no_matter))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    commits.leave(tenant.id)
    assert commits.is_idle
    commits.expect(tenant.id)
    await asyncio.sleep(0.02)
    assert commits.is_alone(tenant.id)
    commits.leave(tenant.id)
    assert commits.is_idle


async def test_what_waits_for_that_is_awaited_too(
    tenant: TenantUnderTest, declare: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a connection still."""
    monkeypatch.setattr("db.group_commit.PATIENCE_SECONDS", LONG)
    ids = await templates(tenant, 4)
    first, second = Meeting(2), Meeting(3)

    async def rename_later(uow: UnitOfWork, template_id: UUID, **changes: Any) -> Any:
        """Be ready once the others are being written."""
        return await second.rename(uow, template_id, **changes)

    commands = declare(first.rename), declare(rename_later)
    fetch = TenantConnection.fetch
    sending, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        if sql.lstrip().startswith("WITH"):
            sending.set()
            await go_on.wait()
        return await fetch(connection, sql, arguments)

    with patch.object(TenantConnection, "fetch", slowly):
        tasks = [asyncio.ensure_future(one) for one in renaming(tenant, commands[0], ids[:2])]
        await sending.wait()
        tasks += [asyncio.ensure_future(one) for one in renaming(tenant, commands[1], ids[2:])]
        await second.has_met(2)
        await second.barrier.wait()
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(tenant.database._company.commits.close())
        await asyncio.sleep(0)
        go_on.set()
        await closing
        assert tenant.database._company.commits.is_idle
        assert all(isinstance(one, Done) for one in await asyncio.gather(*tasks))


async def test_those_for_whom_there_is_no_connection_wait_for_it_once(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    """Each has waited as long as a request may, though but one of them asked."""
    ids = await templates(tenant, 2)
    command = declare(Meeting(2).rename)
    pool = TenantPool(tenant.database.connections.gateway, size=1, wait_seconds=0.05, may_write=True)
    rung: list[Feed] = []
    with (
        patch.object(tenant.database._company.commits, "_pool", pool),
        patch.object(tenant.database.bell, "ring", lambda _tenant_id, feed, _seq=None: rung.append(feed)),
    ):
        async with pool.connection(tenant.id):
            outcomes = await asyncio.gather(*renaming(tenant, command, ids), return_exceptions=True)
    await pool.close()
    assert [type(one) for one in outcomes] == [PoolExhausted] * 2
    assert await names(tenant, ids) == ["T0", "T1"]
    assert rung == []
    assert tenant.database._company.commits.is_idle


async def test_nor_do_those_who_read_together(tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    some = await agents(tenant, 3)
    pool = TenantPool(tenant.database.connections.gateway, size=1, wait_seconds=0.05, may_write=True)
    monkeypatch.setattr(tenant.database, "_briefs", pool)
    waits: list[float] = []
    wait = TenantPool._wait

    def counted(one: TenantPool, deadline: float) -> Any:
        waits.append(deadline)
        return wait(one, deadline)

    async with pool.connection(tenant.id):
        monkeypatch.setattr(TenantPool, "_wait", counted)
        outcomes = await asyncio.gather(*(move(tenant, agent, PAUSED) for agent in some), return_exceptions=True)
    await pool.close()
    assert [type(one) for one in outcomes] == [PoolExhausted] * 3
    assert len(waits) == 2, "of the first one, before anybody else was there, and of one for the others"


async def test_why_they_are_written_apart_is_told_without_what_they_write(
    tenant: TenantUnderTest, declare: Callable[[Any], str]
) -> None:
    """The driver quotes what it cannot send, that of everybody."""
    ids = await templates(tenant, 2)
    command = declare(Meeting(2).rename)
    wrong = run(tenant.database, tenant.actor(), command, {"template_id": ids[0], "description": 5})
    right = run(tenant.database, tenant.actor(), command, {"template_id": ids[1], "description": "Private"})
    with capture_logs() as logs:
        outcomes = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(outcomes[0], asyncpg.DataError)
    assert isinstance(outcomes[1], Done)
    (line,) = (one for one in logs if one["event"] == "written_apart")
    assert (line["commands"], line["reason"]) == (2, "DataError")


async def test_what_is_written_for_one_who_has_gone_is_told_when_it_is(
    tenant: TenantUnderTest, declare: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told of before that, whoever looks finds what was, and goes on with it: an agent that is retired by now."""
    some = await agents(tenant, 2)
    meeting = Meeting(2)

    async def retire(uow: UnitOfWork, agent: UUID) -> Any:
        """Let an agent go."""
        found = await uow.lock(models.AgentInstance, agent)
        assert found is not None
        await meeting.barrier.wait()
        found.state = InstanceState.RETIRED
        uow.record(ChangeRecordType.PROJECT_CREATED, found, after={})
        return found

    command = declare(retire)
    fetch = TenantConnection.fetch
    sending, go_on = asyncio.Event(), asyncio.Event()
    rung: list[tuple[bool, Feed]] = []

    async def slowly(connection: TenantConnection, sql: str, arguments: Any) -> Any:
        if sql.lstrip().startswith("WITH"):
            sending.set()
            await go_on.wait()
        return await fetch(connection, sql, arguments)

    monkeypatch.setattr(
        tenant.database.bell, "ring", lambda _tenant_id, feed, _seq=None: rung.append((go_on.is_set(), feed))
    )
    with patch.object(TenantConnection, "fetch", slowly):
        tasks = [
            asyncio.ensure_future(run(tenant.database, tenant.actor(), command, {"agent": agent})) for agent in some
        ]
        await sending.wait()
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        tasks[1].cancel()
        await asyncio.wait(tasks[1:])
        rung.clear()
        go_on.set()
        await tenant.database._company.commits.close()
    assert sorted(rung) == [(True, Feed.AGENTS)] * 2 + [(True, Feed.ROWS)] * 2
    assert await state_of(tenant, some[0]) is InstanceState.RETIRED
