"""The doorbell: this process at once, the others soon, over lines that break (trap 29; issue 5, Delivery)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from app.http.tasks import cancelled
from app.live.doorbell import Doorbell, Line, PostgresLine, _texts
from app.live.nats_line import NatsLine
from db import roles
from db.bell import Feed
from db.connections import Connection, Connections
from db.embedded import EmbeddedPostgres
from db.ids import new_id
from db.pool import OF_THE_DRIVER
from tests.app.live.nats import nats_server
from tests.db.relay import relayed
from tests.governed import Registry

Ring = tuple[UUID, Feed, int | None]


class Ear:
    """What a gateway's bell was told."""

    def __init__(self, bell: Doorbell) -> None:
        self.rings: list[Ring] = []
        self.restored = 0
        bell.listen(lambda *ring: self.rings.append(ring), self._restore)

    def _restore(self) -> None:
        self.restored += 1


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the other side knows nothing of this test
            await asyncio.sleep(0.005)


@asynccontextmanager
async def gateway(line: Line, gap: float = 0.005, presence: float = 5.0) -> AsyncIterator[tuple[Doorbell, Ear]]:
    """The bell of one gateway, its line up."""
    bell = Doorbell(line, gap, presence)
    ear = Ear(bell)
    running = asyncio.create_task(bell.run())
    try:
        await until(lambda: ear.restored > 0)
        yield bell, ear
    finally:
        await cancelled(running)


def test_this_process_hears_at_once_and_in_order() -> None:
    bell = Doorbell()
    ear, tenant = Ear(bell), new_id()
    bell.ring(tenant, Feed.EVENTS, 7)
    bell.ring(tenant, Feed.ROWS)
    assert ear.rings == [(tenant, Feed.EVENTS, 7), (tenant, Feed.ROWS, None)]


async def test_the_others_hear_over_postgres_and_nobody_hears_himself_twice(connections: Connections) -> None:
    async with (
        gateway(PostgresLine(connections.gateway)) as (bell, own),
        gateway(PostgresLine(connections.gateway)) as (_, other),
    ):
        tenant = new_id()
        bell.ring(tenant, Feed.CHANGES, 12)
        await until(lambda: (tenant, Feed.CHANGES, 12) in other.rings)
        await asyncio.sleep(0.05)
        assert own.rings.count((tenant, Feed.CHANGES, 12)) == 1


async def test_many_rings_are_one_message_with_the_newest_number(connections: Connections) -> None:
    """Trap 29: at most one NOTIFY every few milliseconds, however many commits there are."""
    async with (
        gateway(PostgresLine(connections.gateway), gap=0.1) as (bell, _),
        gateway(PostgresLine(connections.gateway)) as (_, other),
    ):
        tenant, before, began = new_id(), bell.sent, time.monotonic()
        for number in range(1, 2001):
            bell.ring(tenant, Feed.EVENTS, number)
            if number % 100 == 0:
                await asyncio.sleep(0.001)
        await until(lambda: (tenant, Feed.EVENTS, 2000) in other.rings)
        assert bell.sent - before <= 3 + (time.monotonic() - began) / 0.1
        assert [ring for ring in other.rings if ring[0] == tenant][-1] == (tenant, Feed.EVENTS, 2000)


async def test_who_is_alone_keeps_its_rings_to_itself(connections: Connections) -> None:
    """A NOTIFY is a transaction: where nobody listens, commands do not pay for it."""
    async with gateway(PostgresLine(connections.gateway), presence=0.5) as (bell, own):
        async with gateway(PostgresLine(connections.gateway), presence=0.5) as (_, other):
            tenant = new_id()
            await asyncio.sleep(2)  # neither takes the other for gone while it says nothing else
            bell.ring(tenant, Feed.EVENTS, 1)
            await until(lambda: (tenant, Feed.EVENTS, 1) in other.rings)
        await until(lambda: not bell._has_others())
        before = bell.sent
        for number in range(2, 60):
            bell.ring(tenant, Feed.EVENTS, number)
            await asyncio.sleep(0.005)
        assert bell.sent - before < 10  # that it is there, twice a second
        assert own.rings[-1] == (tenant, Feed.EVENTS, 59)


async def test_who_comes_hears_that_it_may_have_missed_something(connections: Connections) -> None:
    """Between the newcomer's first moment on the line, and that in which the other hears of it."""
    async with gateway(PostgresLine(connections.gateway), presence=0.5) as (bell, own):
        await until(lambda: not bell._has_others())
        before = own.restored
        async with gateway(PostgresLine(connections.gateway), presence=0.5) as (_, other):
            await until(lambda: other.restored >= 2)
            tenant = new_id()
            bell.ring(tenant, Feed.ROWS)
            await until(lambda: (tenant, Feed.ROWS, None) in other.rings)
            assert own.restored == before  # the newcomer rang from the beginning


async def test_a_ring_waits_for_no_disk(connections: Connections) -> None:
    """A NOTIFY commits a transaction: flushed, it would hold up the commands whose commits wait for the same log."""
    durable = Connection(f"{connections.gateway.url}&synchronous_commit=on", connections.gateway.role)
    line = PostgresLine(durable)
    async with gateway(line), line._speaking:
        assert line._connection is not None
        assert await line._connection.fetchval("SHOW synchronous_commit") == "off"


def test_no_text_is_longer_than_a_notify_takes() -> None:
    """Trap 29: 8,000 bytes."""
    rings: dict[tuple[UUID, Feed], int | None] = {(new_id(), feed): 2**62 for feed in Feed for _ in range(500)}
    texts = _texts("0123456789ab", rings)
    assert max(map(len, texts)) < 8000
    assert sum(text.count(" ") for text in texts) == len(rings)


async def test_a_line_that_breaks_comes_back_and_says_so(connections: Connections) -> None:
    """Whoever follows a tenant looks anew then: `restored` is called again."""
    async with (
        gateway(PostgresLine(connections.gateway)) as (bell, own),
        gateway(PostgresLine(connections.gateway)) as (_, other),
    ):
        before = own.restored, other.restored
        owner = await asyncpg.connect(connections.owner.url.replace(roles.OWNER, "postgres", 1))
        await owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'fleetgraph-doorbell' AND datname = current_database()"
        )
        await owner.close()
        bell.ring(new_id(), Feed.ROWS)  # may be lost, and must not raise
        await until(lambda: own.restored > before[0] and other.restored > before[1])
        tenant = new_id()
        bell.ring(tenant, Feed.ROWS)
        await until(lambda: (tenant, Feed.ROWS, None) in other.rings)


async def test_a_line_that_breaks_while_it_is_spoken_on_comes_back_as_soon(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncpg does not always tell of that by way of its listeners, and here it never does."""
    monkeypatch.setattr(asyncpg.Connection, "add_termination_listener", lambda _connection, _callback: None)
    line = PostgresLine(connections.gateway)

    async def speak() -> None:
        while True:
            await line.send(["x"])

    async with gateway(line) as (_, ear):
        assert line._connection is not None
        before, pid = ear.restored, line._connection.get_server_pid()
        owner = await asyncpg.connect(connections.owner.url.replace(roles.OWNER, "postgres", 1))
        await owner.execute("SELECT pg_terminate_backend($1)", pid)
        await owner.close()
        with pytest.raises(OF_THE_DRIVER):
            await speak()
        await until(lambda: ear.restored > before, seconds=8)


async def test_a_line_that_fell_silent_is_opened_again(
    postgres: EmbeddedPostgres, connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says that the way to the database is gone, and who only listens sends nothing that could fail."""
    monkeypatch.setattr("app.live.doorbell._ANSWER_SECONDS", 1.0)
    monkeypatch.setattr("app.live.doorbell._SILENCE_SECONDS", 0.5)
    ways: list[asyncio.Task[None]] = []
    async with (
        relayed(postgres, tmp_path, ways) as through,
        gateway(PostgresLine(through.gateway)) as (_, ear),
        gateway(PostgresLine(connections.gateway)) as (bell, _),
    ):
        await cancelled(*ways)
        before = ear.restored
        await until(lambda: ear.restored > before)
        tenant = new_id()
        bell.ring(tenant, Feed.EVENTS, 3)
        await until(lambda: (tenant, Feed.EVENTS, 3) in ear.rings)


@pytest.mark.parametrize("text", ["", "x", "other zzz", "other " + "0" * 32 + "q7", "other " + "0" * 32 + "e7x"])
def test_what_no_gateway_wrote_is_passed_over(text: str) -> None:
    bell = Doorbell()
    ear = Ear(bell)
    bell._arrived(text)
    assert ear.rings == []


async def test_nats_carries_rings_and_survives_a_restart_of_its_server() -> None:
    """A real nats-server, stopped and started again on the same port."""
    async with (
        nats_server() as server,
        gateway(NatsLine(server.url)) as (bell, own),
        gateway(NatsLine(server.url)) as (_, other),
    ):
        tenant = new_id()
        bell.ring(tenant, Feed.EVENTS, 5)
        await until(lambda: (tenant, Feed.EVENTS, 5) in other.rings)
        assert own.rings == [(tenant, Feed.EVENTS, 5)]
        await server.stop()
        bell.ring(tenant, Feed.EVENTS, 6)
        assert own.rings[-1] == (tenant, Feed.EVENTS, 6)
        before = own.restored, other.restored
        await server.start()
        await until(lambda: own.restored > before[0] and other.restored > before[1])
        bell.ring(tenant, Feed.EVENTS, 7)
        await until(lambda: (tenant, Feed.EVENTS, 7) in other.rings)


async def test_a_gateway_starts_before_its_nats_server() -> None:
    server_later = None
    async with nats_server() as server:
        await server.stop()
        bell = Doorbell(NatsLine(server.url))
        ear = Ear(bell)
        running = asyncio.create_task(bell.run())
        await asyncio.sleep(0.3)
        assert ear.restored == 0
        await server.start()
        server_later = server
        await until(lambda: ear.restored > 0)
        await cancelled(running)
    assert server_later is not None


async def test_a_nats_server_that_stands_still_holds_up_no_gateway_that_stops() -> None:
    """It takes nothing any more, not even the good-bye."""
    async with nats_server() as server:
        line = NatsLine(server.url)
        bell = Doorbell(line)
        ear = Ear(bell)
        running = asyncio.create_task(bell.run())
        await until(lambda: ear.restored > 0)
        with server.standing_still():
            sending = asyncio.create_task(line.send(["x" * 500_000] * 40))  # more than the buffers on the way take
            await asyncio.sleep(1)
            assert not sending.done()
            async with asyncio.timeout(5):
                await cancelled(sending)
                await cancelled(running)
            assert sending.cancelled()


async def test_a_line_ends_at_whatever_moment_of_its_beginning_it_is_told_to() -> None:
    """The moment after the server's answer too, in which the client's own waiting ends and loses a cancellation."""
    async with nats_server() as server:
        turns = begun = 0
        while begun < 20:
            restored = asyncio.Event()
            running = asyncio.create_task(NatsLine(server.url).run(lambda _text: None, restored.set))
            for _ in range(turns):
                await asyncio.sleep(0)
            begun += restored.is_set()
            async with asyncio.timeout(5):
                await cancelled(running)
            turns += 1 + turns // 50


async def test_a_command_rings_after_its_commit_for_its_log_and_for_its_rows(registry: Registry) -> None:
    """The number is the one that was committed; whoever hears the ring finds it."""
    bell = Doorbell()
    ear = Ear(bell)
    registry.tenant.database.bell = bell
    await registry.done("create_template", name="Planner")
    assert (registry.tenant.id, Feed.CHANGES, 1) in ear.rings
    assert (registry.tenant.id, Feed.ROWS, None) in ear.rings
    ear.rings.clear()
    await registry.refused("create_template", name=" ")
    assert [ring for ring in ear.rings if ring[1] is not Feed.ROWS] == []
