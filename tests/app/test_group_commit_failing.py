"""Commands that write together, where one of them goes away, or the database does (db/group_commit.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch
from uuid import UUID

import asyncpg
import pytest
from structlog.testing import capture_logs

from app.commands import Done
from app.running import run
from app.unit_of_work import UnitOfWork
from db import models
from db.bell import Feed
from db.enums import ChangeRecordType, InstanceState
from db.group_commit import GroupCommit, Told
from db.pool import CommitUnanswered, PoolExhausted
from db.tenant_pool import TenantConnection, TenantPool
from tests.conftest import TenantUnderTest
from tests.declared import Declare
from tests.meeting import LONG, Meeting, names, no_matter, renaming, templates
from tests.rung import rings_of
from tests.transitions import agents, move, records, state_of

ACTIVE, PAUSED, READONLY = InstanceState.ACTIVE, InstanceState.PAUSED, InstanceState.READONLY


pytestmark = pytest.mark.usefixtures("patient")


@pytest.mark.parametrize("is_done", [True, False], ids=["and was done", "and was not done"])
async def test_where_no_answer_comes_nobody_is_told_that_it_was_not_done(
    tenant: TenantUnderTest, declare_brief: Declare, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    ids = await templates(tenant, 2)
    command = declare_brief(Meeting(2).rename)
    rung = rings_of(tenant, monkeypatch)
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
    assert [feed for _, feed, _ in rung] == [Feed.ROWS] * 2
    assert len(await records(tenant)) == (2 if is_done else 0)


async def test_who_goes_away_before_the_others_are_ready_writes_nothing(
    tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    ids = await templates(tenant, 3)
    meeting, late = Meeting(2), Meeting(2)
    command = declare_brief(meeting.rename)

    async def dawdle(uow: UnitOfWork, template_id: UUID, **changes: Any) -> Any:
        """Be ready later than the others."""
        return await late.rename(uow, template_id, **changes)

    dawdling = asyncio.ensure_future(
        run(tenant.database, tenant.actor(), declare_brief(dawdle), {"template_id": ids[2], "name": "New 2"})
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
    tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    """What it wanted may be done, and those who follow are told so; the statement is everybody's."""
    ids = await templates(tenant, 2)
    command = declare_brief(Meeting(2).rename)
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


async def test_what_is_under_way_is_awaited_at_the_end(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    """Of those who have gone away, too."""
    ids = await templates(tenant, 2)
    command = declare_brief(Meeting(2).rename)
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


async def one_of_two_that_goes_away(commits: GroupCommit, tenant: TenantUnderTest) -> asyncio.Task[Any]:
    """It waits for the other one, is cancelled, and has not heard of that yet."""
    for who in ("first", "second"):
        commits.expect(tenant.id, who)
    first = asyncio.create_task(commits.write(tenant.id, "first", "same", "mine", told_the_same, no_matter))
    await asyncio.sleep(0)
    first.cancel()
    return first


@pytest.mark.parametrize("kind", ["same", "other"])
async def test_who_goes_away_in_the_turn_in_which_the_others_get_ready(tenant: TenantUnderTest, kind: str) -> None:
    """It does not know of it yet, and nobody else has to: the other one writes alone."""
    commits = tenant.database._company.commits
    first = await one_of_two_that_goes_away(commits, tenant)
    async with asyncio.timeout(LONG / 2):
        assert await commits.write(tenant.id, "second", kind, "mine", told_the_same, no_matter) is Told.ALONE
    await asyncio.wait((first,))
    assert first.cancelled()
    assert commits.is_idle


async def test_who_waits_no_more_leaves_nothing_behind_for_those_who_come_later(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the wait is not taken for theirs, who would then be unknown."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", 0.005)
    commits = tenant.database._company.commits
    await asyncio.wait((await one_of_two_that_goes_away(commits, tenant),))
    commits.leave(tenant.id, "second")
    assert commits.is_idle
    commits.expect(tenant.id, "third")
    await asyncio.sleep(0.02)
    assert commits.is_alone(tenant.id)
    commits.leave(tenant.id, "third")
    assert commits.is_idle


async def test_who_was_waited_for_by_one_who_has_gone_was_not_waited_for_in_vain(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others still wait for it, as long as they do for anybody."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", 0.005)
    commits = tenant.database._company.commits
    await asyncio.wait((await one_of_two_that_goes_away(commits, tenant),))
    await asyncio.sleep(0.02)
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", LONG)
    commits.expect(tenant.id, "third")
    third = asyncio.create_task(commits.write(tenant.id, "third", "same", "mine", told_the_same, no_matter))
    await asyncio.sleep(0.02)
    assert not third.done()
    commits.leave(tenant.id, "second")
    async with asyncio.timeout(LONG / 2):
        assert await third is Told.ALONE
    assert commits.is_idle


async def test_what_waits_for_that_is_awaited_too(
    tenant: TenantUnderTest, declare_brief: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a connection still."""
    monkeypatch.setattr("db.group_commit.PATIENCE_SECONDS", LONG)
    ids = await templates(tenant, 4)
    first, second = Meeting(2), Meeting(3)

    async def rename_later(uow: UnitOfWork, template_id: UUID, **changes: Any) -> Any:
        """Be ready once the others are being written."""
        return await second.rename(uow, template_id, **changes)

    commands = declare_brief(first.rename), declare_brief(rename_later)
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
    tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    """Each has waited as long as a request may, though but one of them asked."""
    ids = await templates(tenant, 2)
    command = declare_brief(Meeting(2).rename)
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

    def counted(one: TenantPool, tenant_id: UUID, deadline: float) -> Any:
        waits.append(deadline)
        return wait(one, tenant_id, deadline)

    async with pool.connection(tenant.id):
        monkeypatch.setattr(TenantPool, "_wait", counted)
        outcomes = await asyncio.gather(*(move(tenant, agent, PAUSED) for agent in some), return_exceptions=True)
    await pool.close()
    assert [type(one) for one in outcomes] == [PoolExhausted] * 3
    assert len(waits) == 2, "of the first one, before anybody else was there, and of one for the others"


async def test_why_they_are_written_apart_is_told_without_what_they_write(
    tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    """The driver quotes what it cannot send, that of everybody."""
    ids = await templates(tenant, 2)
    command = declare_brief(Meeting(2).rename)
    wrong = run(tenant.database, tenant.actor(), command, {"template_id": ids[0], "description": 5})
    right = run(tenant.database, tenant.actor(), command, {"template_id": ids[1], "description": "Private"})
    with capture_logs() as logs:
        outcomes = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(outcomes[0], asyncpg.DataError)
    assert isinstance(outcomes[1], Done)
    (line,) = (one for one in logs if one["event"] == "written_apart")
    assert (line["commands"], line["reason"]) == (2, "DataError")


async def test_what_is_written_for_one_who_has_gone_is_told_when_it_is(
    tenant: TenantUnderTest, declare_brief: Declare, monkeypatch: pytest.MonkeyPatch
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

    command = declare_brief(retire)
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
