"""A database that goes away and comes back: the first request after it works, however many connections there were."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.http.tasks import cancelled
from app.live.outages import is_outage
from db import models, roles
from db.connections import Connections, embedded_connections
from db.embedded import EmbeddedPostgres
from db.migrate import upgrade
from db.pool import is_gone
from db.session import Database
from tests.conftest import TEST_SETTINGS, TenantUnderTest, make_tenant
from tests.db.relay import relayed

PROJECTS = select(models.Project.name)
POOL = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A Postgres of this module's own, to be killed."""
    # What was committed must be there after a crash.
    settings = {**TEST_SETTINGS, "synchronous_commit": "on", "max_connections": "30", "shared_buffers": "32MB"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("outages"), settings=settings) as started:
        upgrade(started.url(user=roles.OWNER))
        yield started


@pytest.fixture
def connections(server: EmbeddedPostgres) -> Connections:
    """Of that server; its socket stays at the same place when it starts again."""
    return embedded_connections(lambda role: server.url(user=role))


@pytest.fixture
async def database(connections: Connections) -> AsyncIterator[Database]:
    """A door whose pool is full of idle connections."""
    opened = Database(connections, pool_size=POOL)
    yield opened
    await opened.close()


async def fill(tenant: TenantUnderTest) -> set[int]:
    """Open every connection of the pool; the process ids of their servers."""

    async def one() -> int:
        async with tenant.database.read(tenant.actor()) as reading:
            ((pid,),) = await reading.rows(text("SELECT pg_backend_pid()"))
            await reading.rows(text("SELECT pg_sleep(0.05)"))
            return int(pid)

    pids = set(await asyncio.gather(*(one() for _ in range(POOL))))
    assert len(pids) == POOL
    return pids


async def crash(server: EmbeddedPostgres) -> None:
    """Kill the whole server without a chance to say good-bye, and start it again."""
    data = server.directory / "postgres"
    postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, signal.SIGKILL)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def restart(server: EmbeddedPostgres) -> None:
    """Stop the server in order, and start it again."""
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def _read(tenant: TenantUnderTest) -> None:
    async with tenant.database.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]


async def _write(tenant: TenantUnderTest) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        assert await session.scalar(PROJECTS) == "Core"


async def _fetch(tenant: TenantUnderTest) -> None:
    assert await tenant.database.fetch_one("SELECT 1") is not None


async def _platform(tenant: TenantUnderTest) -> None:
    async with tenant.database.platform() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


WORK = [_read, _write, _fetch, _platform]


@pytest.mark.parametrize("outage", [restart, crash], ids=["restart", "crash"])
async def test_no_request_fails_after_the_server_is_back(
    outage: Any, server: EmbeddedPostgres, database: Database
) -> None:
    """Every kind of request on every connection of the pool, without one error and without a restart of ours."""
    tenant = await make_tenant(database)
    await fill(tenant)
    await outage(server)
    for work in WORK:
        await work(tenant)
    await fill(tenant)


@pytest.mark.parametrize("work", WORK)
async def test_a_session_that_the_server_ends_is_replaced(work: Any, database: Database) -> None:
    """An administrator, a failover or an idle timeout ends sessions; the pool opens others instead."""
    tenant = await make_tenant(database)
    await fill(tenant)
    await end_sessions(database.connections)
    await work(tenant)


async def end_sessions(connections: Connections) -> None:
    """End every session of the gateway's and the platform's role."""
    owner = await asyncpg.connect(connections.owner.url.replace(roles.OWNER, "postgres", 1))
    try:
        await owner.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = ANY($1)",
            [roles.GATEWAY, roles.PLATFORM],
        )
    finally:
        await owner.close()


def end_sessions_unseen(connections: Connections) -> None:
    """The same while this loop stands still, so that no connection can know of its end before it is used."""
    thread = threading.Thread(target=lambda: asyncio.run(end_sessions(connections)))
    thread.start()
    thread.join()


@pytest.mark.parametrize("work", [_read, _write, _fetch])
async def test_an_end_that_nobody_saw_is_mended_by_trying_once_more(work: Any, database: Database) -> None:
    """The first statement finds out; nothing has been done before it, so it is done again on another connection."""
    tenant = await make_tenant(database)
    await fill(tenant)
    end_sessions_unseen(database.connections)
    await work(tenant)
    for _ in range(POOL):
        await work(tenant)


@pytest.fixture
async def lingering(
    server: EmbeddedPostgres, connections: Connections, tmp_path: Path
) -> AsyncIterator[tuple[Database, TenantUnderTest]]:
    """A door whose connections have all been told that they end, and have not ended yet."""
    async with relayed(server, tmp_path) as through:
        database = Database(through, pool_size=POOL)
        tenant = await make_tenant(database)
        await fill(tenant)
        async with database.reads.connection(tenant.id) as connection:
            await connection.fetch("SELECT 1", ())
        await end_sessions(connections)
        await asyncio.sleep(0.1)  # the good-byes arrive
        yield database, tenant
    await database.close()


@pytest.mark.parametrize("work", [_read, _write, _fetch])
async def test_a_connection_that_was_told_of_its_end_is_not_used_again(
    work: Any, lingering: tuple[Database, TenantUnderTest]
) -> None:
    """asyncpg takes it for one that is busy; on a busy machine the end of the stream comes noticeably later."""
    for _ in range(POOL + 1):
        await work(lingering[1])


async def test_nor_is_one_of_the_queries(lingering: tuple[Database, TenantUnderTest]) -> None:
    """They ask again by themselves where the connection is gone, so it must be known for gone, and not kept."""
    database, tenant = lingering
    with pytest.raises(asyncpg.InternalClientError) as told:
        async with database.reads.connection(tenant.id) as connection:
            await connection.fetch("SELECT 1", ())
    assert is_gone(told.value)
    async with database.reads.connection(tenant.id) as connection:
        assert len(await connection.fetch("SELECT 1", ())) == 1


async def test_an_operation_whose_connection_was_told_of_its_end_knows_what_befell_it(
    server: EmbeddedPostgres, connections: Connections, tmp_path: Path
) -> None:
    """An outage, which those who follow a tenant wait for, and no mistake of ours, which would end them."""
    async with relayed(server, tmp_path) as through:
        database = Database(through, pool_size=POOL)
        tenant = await make_tenant(database)
        async with database.read(tenant.actor()) as reading:
            await reading.rows(PROJECTS)
            await end_sessions(connections)
            await asyncio.sleep(0.1)
            with pytest.raises(DBAPIError) as lost:
                await reading.rows(PROJECTS)
        assert "another operation (2)" in str(lost.value)
        assert lost.value.connection_invalidated
        assert is_outage(lost.value)
        await _read(tenant)
    await database.close()


@pytest.mark.parametrize("when", ["idle", "fetching", "reading"])
async def test_a_connection_that_fell_silent_is_given_up(
    when: str, server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says that a machine is gone; without an end to the waiting it lasts until the kernel gives up."""
    monkeypatch.setattr("db.pool.CONNECT_SECONDS", 1)
    monkeypatch.setattr("db.session.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("db.pool.CLOSE_SECONDS", 1)
    ways: list[asyncio.Task[None]] = []
    async with relayed(server, tmp_path, ways) as through:
        database = Database(through, pool_size=1, statement_timeout_ms=1_000)
        tenant = await make_tenant(database)
        async with asyncio.timeout(20):
            if when == "reading":
                async with database.read(tenant.actor()) as reading:
                    await reading.rows(PROJECTS)
                    await cancelled(*ways)
                    with pytest.raises(TimeoutError) as silent:
                        await reading.rows(PROJECTS)
            else:
                await cancelled(*ways)
                with pytest.raises(TimeoutError) as silent:
                    await (_read if when == "idle" else _fetch)(tenant)
            assert is_outage(silent.value)
            await _read(tenant)
            await cancelled(*ways)
            await database.close()


async def test_an_operation_that_loses_its_snapshot_fails_and_the_next_works(database: Database) -> None:
    """What was read before the end of the session cannot be told again: one error, and no wrong answer."""
    tenant = await make_tenant(database)
    async with database.read(tenant.actor()) as reading:
        await reading.rows(PROJECTS)
        await end_sessions(database.connections)
        with pytest.raises(DBAPIError) as lost:
            await reading.rows(PROJECTS)
        with pytest.raises(SQLAlchemyError) as after:
            await reading.rows(PROJECTS)
        assert after.value.__cause__ is lost.value
    await _read(tenant)


async def test_a_statement_that_is_cut_off_takes_its_connection_with_it(database: Database) -> None:
    """The session ends in the middle of a statement: the error says so, and the pool forgets the connection."""
    tenant = await make_tenant(database)

    async def read(started: asyncio.Event) -> None:
        async with database.read(tenant.actor()) as reading:
            await reading.rows(PROJECTS)
            started.set()
            await reading.rows(text("SELECT pg_sleep(5)"))

    started = asyncio.Event()
    task = asyncio.create_task(read(started))
    await started.wait()
    await end_sessions(database.connections)
    with pytest.raises(DBAPIError) as cut:
        await task
    assert cut.value.connection_invalidated
    await _read(tenant)


async def test_a_transaction_that_loses_its_session_fails_and_leaves_nothing(database: Database) -> None:
    """It is not tried again: whether its commit came through, nobody knows but the server."""
    tenant = await make_tenant(database)

    async def work() -> None:
        async with database.transaction(tenant.actor()) as session:
            (await session.get_one(models.Project, (tenant.id, tenant.project.id))).name = "Half"
            await session.flush()
            await end_sessions(database.connections)

    with pytest.raises(DBAPIError):
        await work()
    await _read(tenant)
    await _write(tenant)


async def test_while_the_server_is_down_requests_fail_at_once(server: EmbeddedPostgres, database: Database) -> None:
    """Nobody waits for the pool's or the network's time-out; and the pool is whole afterwards."""
    tenant = await make_tenant(database)
    await fill(tenant)
    await asyncio.to_thread(server.stop)
    try:
        for work in WORK * 2:
            started = time.monotonic()
            with pytest.raises((OSError, DBAPIError, asyncpg.PostgresError)):
                await work(tenant)
            assert time.monotonic() - started < 2
    finally:
        await asyncio.to_thread(server.start)
    for work in WORK:
        await work(tenant)
    await fill(tenant)


async def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is gone answers nothing at all: opening a connection has a time-out of its own."""
    monkeypatch.setattr("db.pool.CONNECT_SECONDS", 0.3)
    hung_up = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    silent = await asyncio.start_unix_server(say_nothing, tmp_path / ".s.PGSQL.5432")
    database = Database(embedded_connections(lambda role: f"postgresql://{role}@/x?host={tmp_path}&port=5432"))
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        await database.fetch_one("SELECT 1")
    assert time.monotonic() - started < 4
    await database.close()
    await hung_up.wait()
    silent.close()
    await silent.wait_closed()
