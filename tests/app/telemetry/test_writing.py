"""The writer: callers of one tenant share transactions, and nothing else (decisions 2, 5, 7, 8)."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import select, true
from sqlalchemy.exc import DBAPIError

from app.auth.actor import Actor
from app.graph.errors import RateLimited
from app.telemetry import facts as facts_module
from app.telemetry import writing
from app.telemetry.facts import find_facts
from app.telemetry.judging import Judged, judge
from app.telemetry.wire import SentEvent
from app.telemetry.writing import EventWriter
from db import models, roles
from db.bell import Feed
from db.connections import Connections, embedded_connections
from db.embedded import SUPERUSER, EmbeddedPostgres
from db.enums import OpEventType
from db.logs import AppendedColumns, EventColumns, append_event_columns
from db.migrate import upgrade
from db.session import Database
from tests.app.telemetry.conftest import add_agent
from tests.conftest import TEST_SETTINGS, TenantUnderTest, make_tenant
from tests.db.servers import postmaster


class Bell:
    """Remembers who rang."""

    def __init__(self) -> None:
        self.rung: list[tuple[UUID, Feed, int | None]] = []

    def ring(self, tenant_id: UUID, feed: Feed, seq: int | None = None) -> None:
        """Remember."""
        if feed is Feed.EVENTS:
            self.rung.append((tenant_id, feed, seq))


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[EventWriter]:
    """A writer of the test's own."""
    made = EventWriter(database)
    yield made
    await made.close()


async def judged(tenant: TenantUnderTest, *events: SentEvent, actor: Actor | None = None) -> Judged:
    """Events that were checked, as the endpoint does it."""
    who = actor or tenant.actor()
    return judge(events, await find_facts(tenant.database, who, events), who, datetime.now(UTC))


def step(**fields: Any) -> SentEvent:
    """A step that just happened."""
    return SentEvent(**{"type": OpEventType.RUN_STEP, "timestamp": datetime.now(UTC), **fields})


async def steps(tenant: TenantUnderTest, *names: str | None) -> EventColumns:
    """Events by their sender's ids, all of one moment."""
    at = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = await judged(tenant, *(step(event_id=name, timestamp=at) for name in names))
    assert not found.declined
    return found.columns


async def log_of(tenant: TenantUnderTest) -> list[dict[str, Any]]:
    """The tenant's events by number."""
    table = models.OpEvent.__table__
    async with tenant.database.transaction(tenant.actor()) as session:
        return [dict(row) for row in (await session.execute(select(table).order_by(table.c.seq))).mappings()]


async def test_decision_8_writers_at_once_leave_no_hole_and_each_learns_of_its_own(
    tenant: TenantUnderTest, writer: EventWriter
) -> None:
    """Eight callers, each with events of its own and some that all of them send; few transactions, every event once."""
    tenant.database.bell = bell = Bell()
    shared = [f"shared {n}" for n in range(20)]
    own = {caller: [f"{caller}.{n}" for n in range(50)] for caller in range(8)}

    async def send(caller: int) -> int:
        columns = await steps(tenant, *own[caller][:25], *shared, *own[caller][25:])
        appended = await writer.submit(tenant.id, columns)
        fresh = len(columns) - len(appended.repeated)
        again = await writer.submit(tenant.id, await steps(tenant, *own[caller]))
        assert len(again.repeated) == 50
        assert again.last_seq is None or again.last_seq > 0
        return fresh

    fresh = await asyncio.gather(*map(send, range(8)))
    rows = await log_of(tenant)
    assert sum(fresh) == len(rows) == 8 * 50 + 20
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["event_id"] for row in rows} == {*shared, *(name for names in own.values() for name in names)}
    for names in own.values():
        assert [row["event_id"] for row in rows if row["event_id"] in names] == names, "in the caller's order"
    assert writer.transactions < 16
    assert bell.rung[-1] == (tenant.id, Feed.EVENTS, len(rows))
    assert writer.waiting == 0


async def test_what_waits_goes_together_up_to_a_limit(tenant: TenantUnderTest, database: Database) -> None:
    """Decision 7: a transaction takes what fits, so that others wait for milliseconds; the rest follows."""
    writer = EventWriter(database, together=50)
    lots = [await steps(tenant, *[None] * 20) for _ in range(7)]
    outcomes = [writer.submit(tenant.id, lot) for lot in lots]
    assert writer.waiting == 140
    appended = await asyncio.gather(*outcomes)
    assert [one.last_seq for one in appended] == [40, 40, 80, 80, 120, 120, 140]
    assert writer.transactions == 4


async def test_ope_1_events_are_taken_to_be_new_until_some_are_not(
    tenant: TenantUnderTest, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary key finds a wrong guess out, whose transaction leaves nothing and no hole; the events behind are
    looked for in the log first, until none is there any more."""
    writer = EventWriter(database, together=2)
    sent = [await steps(tenant, *names) for names in (("a", "b"), ("c", "b"), ("d", "a"), ("e", "f"), ("g", "h"))]
    await writer.submit(tenant.id, sent[0])
    guesses = []
    really = append_event_columns

    async def noted(*arguments: Any, are_new: bool) -> Any:
        guesses.append(are_new)
        return await really(*arguments, are_new=are_new)

    monkeypatch.setattr(writing, "append_event_columns", noted)
    appended = await asyncio.gather(*[writer.submit(tenant.id, lot) for lot in sent[1:]])
    assert [len(one.repeated) for one in appended] == [1, 1, 0, 0]
    assert guesses == [True, False, False, False, True], "the second is the first again"
    rows = await log_of(tenant)
    assert [(row["seq"], row["event_id"]) for row in rows] == list(enumerate("abcdefgh", 1))


async def test_events_of_one_caller_that_cannot_be_stored_spoil_nobody_elses(
    tenant: TenantUnderTest, writer: EventWriter
) -> None:
    """The transaction of all fails, and each goes again alone: one learns of its failure, the others of nothing."""
    good, bad, last = await steps(tenant, "a", "b"), await steps(tenant, "c"), await steps(tenant, "b", "d")
    bad.lists["payload"] = ["no JSON"]
    outcomes = [writer.submit(tenant.id, lot) for lot in (good, bad, last)]
    with pytest.raises(DBAPIError):
        await outcomes[1]
    assert (await outcomes[0]).repeated == frozenset()
    assert (await outcomes[2]).repeated == {last.lists["id"][0]}
    assert [(row["seq"], row["event_id"]) for row in await log_of(tenant)] == [(1, "a"), (2, "b"), (3, "d")]


async def test_a_caller_who_goes_away_harms_nobody(tenant: TenantUnderTest, writer: EventWriter) -> None:
    """What had not begun is left out, what had is finished; the line goes on."""
    first, second, third = [await steps(tenant, name) for name in ("a", "b", "c")]
    begun = writer.submit(tenant.id, first)
    await asyncio.sleep(0)  # the task takes the first
    waiting, behind = writer.submit(tenant.id, second), writer.submit(tenant.id, third)
    begun.cancel()
    waiting.cancel()
    await behind
    assert [row["event_id"] for row in await log_of(tenant)] == ["a", "c"]
    assert writer.waiting == 0


async def test_a_line_that_is_full_is_closed_to_new_requests(tenant: TenantUnderTest, database: Database) -> None:
    """Back-pressure: `admit` says when to come back, and lets in again once there is room."""
    writer = EventWriter(database, most_waiting=10)
    writer.admit()
    outcome = writer.submit(tenant.id, await steps(tenant, *[None] * 10))
    with pytest.raises(RateLimited):
        writer.admit()
    await outcome
    writer.admit()


async def test_writers_of_many_tenants_leave_connections_for_others(database: Database) -> None:
    """No more tenants than may are written to at the same time, and none is forgotten."""
    tenants = [await make_tenant(database) for _ in range(5)]
    writer = EventWriter(database, at_once=2, together=1)
    running = most = 0
    really = writer._append

    async def counted(tenant_id: UUID, events: EventColumns, *, are_new: bool) -> AppendedColumns:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await really(tenant_id, events, are_new=are_new)
        finally:
            running -= 1

    writer._append = counted  # type: ignore[method-assign]
    taken = [(one.id, await steps(one, None)) for one in tenants * 3]  # beforehand, so that they meet
    await asyncio.gather(*[writer.submit(tenant_id, events) for tenant_id, events in taken])
    assert most == 2
    assert [len(await log_of(one)) for one in tenants] == [3] * 5


async def test_closing_finishes_what_waits(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, database: Database
) -> None:
    """A gateway that stops loses nothing that it has taken."""
    writer = EventWriter(database, together=1)
    outcomes = [writer.submit(one.id, await steps(one, None)) for one in (tenant, other_tenant) * 3]
    await writer.close()
    assert all(outcome.done() for outcome in outcomes)
    assert len(await log_of(tenant)) == len(await log_of(other_tenant)) == 3
    with pytest.raises(RateLimited):
        writer.admit()


async def test_ret_a_month_that_has_no_partition_yet_is_made(tenant: TenantUnderTest, writer: EventWriter) -> None:
    """A tenant that keeps events for ten years sends some of nine years ago."""
    async with tenant.database.platform() as connection:
        await connection.exec_driver_sql(
            "UPDATE tenants SET op_event_retention_days = 3650 WHERE id = $1", (tenant.id,)
        )
    long_ago = datetime.now(UTC) - timedelta(days=3_300)
    found = await judged(tenant, step(timestamp=long_ago), step())
    assert not found.declined
    await writer.submit(tenant.id, found.columns)
    assert {row["timestamp"].year for row in await log_of(tenant)} >= {long_ago.year}


@pytest.mark.parametrize("wall", ["the code's filter", "row-level security"])
async def test_each_wall_alone_keeps_a_foreign_row_out(
    wall: str,
    tenant: TenantUnderTest,
    other_tenant: TenantUnderTest,
    connections: Connections,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Architecture section 7: with either wall down, another tenant's agent is not found, and its log stays empty."""
    own = await add_agent(tenant, tenant.project, "Own")
    foreign = await add_agent(other_tenant, other_tenant.project, "Foreign")
    database = tenant.database
    if wall == "the code's filter":
        passing = dataclasses.replace(connections, gateway=connections.platform, read=connections.platform)
        database = Database(passing, pool_size=2)
    else:
        monkeypatch.setattr(facts_module, "within_tenant", lambda _table, _caller: true())
    try:
        events = [step(instance_id=f"ins_{own.id.hex}"), step(instance_id=f"ins_{foreign.id.hex}")]
        actor = tenant.actor()
        found = judge(events, await find_facts(database, actor, events), actor, datetime.now(UTC))
        assert [one.why.value for one in found.declined.values()] == ["NOT_FOUND"]
        assert 1 in found.declined
        writer = EventWriter(database)
        await writer.submit(tenant.id, found.columns)
        await writer.close()
    finally:
        if database is not tenant.database:
            await database.close()
    assert len(await log_of(tenant)) == 1
    assert await log_of(other_tenant) == []


async def test_row_level_security_keeps_the_writer_in_its_tenant(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch, writer: EventWriter
) -> None:
    """Were the code to mistake the tenant, Postgres would not: the transaction's tenant is not the rows'."""
    columns = await steps(tenant, "a")
    really = append_event_columns

    async def mistaken(connection: Any, _tenant_id: UUID, events: EventColumns, **how: Any) -> Any:
        return await really(connection, other_tenant.id, events, **how)

    monkeypatch.setattr(writing, "append_event_columns", mistaken)
    with pytest.raises(LookupError):
        await writer.submit(tenant.id, columns)
    assert await log_of(other_tenant) == []


async def test_a_database_that_is_killed_in_mid_batch_keeps_nothing_of_it_and_the_client_sends_again(
    tmp_path: Path,
) -> None:
    """Nothing of the batch is there after the crash; the same events again are stored once, with no hole."""
    settings = {**TEST_SETTINGS, "synchronous_commit": "on", "max_connections": "30", "shared_buffers": "32MB"}
    with EmbeddedPostgres(tmp_path / "pg", settings=settings) as server:
        await asyncio.to_thread(upgrade, server.url(user=roles.OWNER))
        connections = embedded_connections(lambda role: server.url(user=role))
        database = Database(connections, pool_size=4)
        tenant = await make_tenant(database)
        writer = EventWriter(database)
        names = [str(n) for n in range(1_500)]
        first, second = await steps(tenant, *names[:1_000]), await steps(tenant, *names[500:])
        blocker = await asyncpg.connect(connections.platform.url)
        hold = blocker.transaction()
        await hold.start()
        await blocker.execute("SELECT 1 FROM gateway.tenant_counters FOR UPDATE")
        outcomes = [writer.submit(tenant.id, lot) for lot in (first, second)]
        watcher = await asyncpg.connect(server.url(user=SUPERUSER))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        async with asyncio.timeout(20):
            while not await watcher.fetchval(waits):  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.02)
        os.kill(postmaster(server.directory), signal.SIGKILL)
        await asyncio.to_thread(server.stop)
        for outcome in outcomes:
            with pytest.raises(DBAPIError):
                await outcome
        await asyncio.to_thread(server.start)
        assert await log_of(tenant) == []
        appended = [await writer.submit(tenant.id, lot) for lot in (first, second)]
        assert [len(one.repeated) for one in appended] == [0, 500]
        assert [row["seq"] for row in await log_of(tenant)] == list(range(1, 1_501))
        await writer.close()
        await database.close()
