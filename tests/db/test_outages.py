"""A database that goes away and comes back: the first request after it works, however many connections there were."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import asyncpg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, PendingRollbackError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.graph.execution import Executor, Hooks
from app.graph.ids import global_id
from app.graph.limits import Limits
from app.graph.reading import refuse_unreadable
from app.http.tasks import cancelled
from app.outages import is_outage
from app.query.compiler import Compiler
from app.schema import schema
from app.telemetry.facts import find_facts
from app.telemetry.judging import judge
from app.telemetry.wire import SentEvent
from app.telemetry.writing import EventWriter
from db import models, roles
from db.cluster import PORT
from db.connections import Connection, Connections, embedded_connections
from db.embedded import SUPERUSER, EmbeddedPostgres
from db.enums import OpEventType
from db.logs import append_event_columns
from db.migrate import upgrade
from db.pool import (
    OF_THE_DRIVER,
    CommitUnanswered,
    NotReached,
    close_pool,
    driver_of,
    is_gone,
    open_pool,
    sqlstate,
    take,
)
from db.session import Database
from db.writing import Writing
from tests import asking
from tests.conftest import TEST_SETTINGS, TenantUnderTest, make_tenant
from tests.db.relay import relayed

PROJECTS = select(models.Project.name)
LISTING = "{ projects(first: 1) { edges { node { name } } } }"
RENAMING = "mutation($input: ProjectUpdateInput!) { projectUpdate(input: $input) { userErrors { code } } }"
AWAY = "The database is away. Come back in 1 s."
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


def postmaster_of(server: EmbeddedPostgres) -> int:
    """The process id of the server itself."""
    return int((server.directory / "postgres" / "postmaster.pid").read_text().splitlines()[0])


async def crash(server: EmbeddedPostgres) -> None:
    """Kill the whole server without a chance to say good-bye, and start it again."""
    os.kill(postmaster_of(server), signal.SIGKILL)
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


Silence = Callable[..., Awaitable[None]]
"""Makes the connections that are open fall silent; with `answers_only` what is sent still arrives."""


@pytest.fixture
async def silenced(
    server: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Database, TenantUnderTest, Silence]]:
    """A door with one connection, on a network that falls silent when it is told to."""
    monkeypatch.setattr("db.pool.CONNECT_SECONDS", 1)
    monkeypatch.setattr("db.session.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("db.pool.CLOSE_SECONDS", 1)
    ways: list[asyncio.Task[None]] = []

    async def fall_silent(*, answers_only: bool = False) -> None:
        await cancelled(*(ways[1::2] if answers_only else ways))

    async with relayed(server, tmp_path, ways) as through:
        database = Database(through, pool_size=1, statement_timeout_ms=1_000)
        yield database, await make_tenant(database), fall_silent
        await cancelled(*ways)
        await database.close()


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


async def _reads_by_text(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    async with tenant.database.read(tenant.actor()) as reading:
        await reading.fetch("SELECT 1", ())
        await fall_silent()
        with pytest.raises(TimeoutError) as silent:
            await reading.fetch("SELECT 1", ())
        with pytest.raises(PendingRollbackError) as after:
            await reading.fetch("SELECT 1", ())  # never on another connection, without tenant and snapshot
        assert after.value.__cause__ is silent.value
        raise silent.value


async def _ends_a_snapshot(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    async with tenant.database.read(tenant.actor()) as reading:
        await reading.rows(PROJECTS)
        await fall_silent()
    raise TimeoutError  # whose rows have all come is told nothing; it has only to end


async def _writes_by_text(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    async with tenant.database.writing(tenant.actor()) as writing:
        await fall_silent()
        await writing.lock(models.Project, tenant.id, [tenant.project.id])


async def _writes_by_the_session(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.scalar(PROJECTS)
        await fall_silent()
        await session.scalar(PROJECTS)


async def _rolls_back(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.scalar(PROJECTS)
        await fall_silent()
        raise TimeoutError


async def _is_cancelled(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    """By the deadline of its request, say."""
    async with tenant.database.writing(tenant.actor()) as writing:
        await fall_silent()
        async with asyncio.timeout(0.1):
            await writing.fetch("SELECT 1")


async def _appends(tenant: TenantUnderTest, fall_silent: Silence) -> None:
    writer, now = EventWriter(tenant.database), datetime.now(UTC)
    sent = [SentEvent(type=OpEventType.RUN_STEP, timestamp=now)]
    judged = judge(sent, await find_facts(tenant.database, tenant.actor(), sent), tenant.actor(), now)

    async def append(connection: AsyncConnection, *events: Any, **how: Any) -> Any:
        await fall_silent()
        return await append_event_columns(connection, *events, **how)

    with patch("app.telemetry.writing.append_event_columns", append):
        await writer.submit(tenant.id, judged.columns)


@pytest.mark.parametrize(
    "work",
    [
        _reads_by_text,
        _ends_a_snapshot,
        _writes_by_text,
        _writes_by_the_session,
        _rolls_back,
        _is_cancelled,
        _appends,
    ],
)
async def test_nothing_waits_for_ever_for_a_database_that_says_nothing(
    work: Any, silenced: tuple[Database, TenantUnderTest, Silence]
) -> None:
    """Each kind of work ends soon after its answer was due, and the next has a connection that works."""
    _, tenant, fall_silent = silenced
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError) as silent:
            await work(tenant, fall_silent)
        assert is_outage(silent.value)
        await _write(tenant)


@pytest.mark.parametrize("writes", [False, True])
async def test_nor_does_a_command_of_a_single_statement(
    writes: bool, silenced: tuple[Database, TenantUnderTest, Silence]
) -> None:
    """Where it was to write nobody knows whether it did; the next has a connection that works."""
    database, tenant, fall_silent = silenced
    rename = "UPDATE projects SET name = $1"

    async def command() -> None:
        async with database.brief(tenant.actor()) as brief:
            await fall_silent(answers_only=True)
            await (brief.fetch(rename, "Kept") if writes else brief.read("SELECT 1"))

    async with asyncio.timeout(20):
        async with database.brief(tenant.actor()) as brief:
            await brief.fetch(rename, "Core")  # which prepares it, so that there is but one answer to wait for
        with pytest.raises(CommitUnanswered if writes else TimeoutError) as silent:
            await command()
        assert is_outage(silent.value)
        async with database.brief(tenant.actor()) as brief:
            assert await brief.read("SELECT name FROM projects") == [("Kept" if writes else "Core",)]


def lose(connection: AsyncConnection) -> None:
    """End a connection on this side in a moment, as a server that is killed ends it."""
    asyncio.get_running_loop().call_later(0.3, driver_of(connection)._transport.abort)


@pytest.mark.parametrize("lost", [False, True], ids=["silent", "lost"])
@pytest.mark.parametrize("by_session", [False, True], ids=["text", "session"])
async def test_a_commit_without_an_answer_is_told_as_what_it_is(
    by_session: bool, lost: bool, silenced: tuple[Database, TenantUnderTest, Silence]
) -> None:
    """Here it was done. Whoever asks is told that nobody knows, not that it was undone."""
    database, tenant, fall_silent = silenced

    async def rename() -> None:
        async with database.writing(tenant.actor()) as writing:
            if by_session:
                assert await writing.session.scalar(PROJECTS) == "Core"
            (project,) = await writing.lock(models.Project, tenant.id, [tenant.project.id])
            project.name = "Kept"
            await writing.flush(tenant.id)
            await fall_silent(answers_only=True)
            if lost:
                lose(writing.connection)

    async with asyncio.timeout(20):
        with pytest.raises(CommitUnanswered) as told:
            await rename()
        assert isinstance(told.value.__cause__, TimeoutError) is not lost
        async with database.read(tenant.actor()) as reading:
            assert await reading.rows(PROJECTS) == [("Kept",)]


async def test_a_commit_of_the_platform_that_loses_its_connection_is_told_as_what_it_is(
    silenced: tuple[Database, TenantUnderTest, Silence],
) -> None:
    """It has no timer, so only the end of the connection ends the wait."""
    database, tenant, fall_silent = silenced

    async def rename() -> None:
        async with database.platform() as connection:
            await connection.execute(update(models.Project).values(name="Kept").where(of_tenant))
            await fall_silent(answers_only=True)
            lose(connection)

    of_tenant = models.Project.tenant_id == tenant.id
    async with asyncio.timeout(20):
        with pytest.raises(CommitUnanswered):
            await rename()
        async with database.platform() as connection:
            assert await connection.scalar(PROJECTS.where(of_tenant)) == "Kept"


@pytest.mark.parametrize("by_session", [False, True], ids=["text", "session"])
async def test_what_was_lost_before_its_commit_is_told_as_undone(
    by_session: bool, silenced: tuple[Database, TenantUnderTest, Silence]
) -> None:
    """A COMMIT that could not be sent leaves nobody in doubt."""
    database, tenant, _ = silenced

    async def rename() -> None:
        async with database.writing(tenant.actor()) as writing:
            if by_session:
                assert await writing.session.scalar(PROJECTS) == "Core"
            driver_of(writing.connection)._transport.abort()
            await asyncio.sleep(0.1)

    with pytest.raises((DBAPIError, asyncpg.InterfaceError)) as told:
        await rename()
    assert is_outage(told.value)


async def test_a_compiled_query_waits_no_longer_than_its_request_may_take(
    silenced: tuple[Database, TenantUnderTest, Silence], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pool has no timer of its own: the request's ends the wait, and the connection."""
    database, tenant, fall_silent = silenced
    compiler = Compiler(schema()._schema)
    executor = Executor(schema(), Limits(timeout=1), Hooks(authorize=refuse_unreadable), compiler)
    monkeypatch.setattr("tests.asking.executor", lambda: executor)
    query = "{ projects(first: 1) { edges { node { name } } } }"
    async with asyncio.timeout(20):
        assert (await asking.ask(database, tenant.actor(), query)).data
        assert database.reads.idle == 1
        await fall_silent()
        assert (await asking.ask(database, tenant.actor(), query)).code == "TIMEOUT"
        assert (await asking.ask(database, tenant.actor(), query)).data


@pytest.mark.parametrize("lost", [False, True], ids=["silent", "lost"])
@pytest.mark.parametrize("way", [asking.executor, asking.compiling], ids=["resolvers", "compiler"])
async def test_a_mutation_without_an_answer_is_not_told_as_undone(
    way: Callable[[], Executor],
    lost: bool,
    silenced: tuple[Database, TenantUnderTest, Silence],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither as cancelled, nor without a word of what to do: look, or send the same again with its key."""
    database, tenant, fall_silent = silenced
    monkeypatch.setattr("tests.asking.executor", cache(way))
    end = Writing.__aexit__

    async def end_in_silence(writing: Writing, *raised: Any) -> None:
        await fall_silent(answers_only=True)
        if lost:
            lose(writing.connection)
        await end(writing, *raised)

    monkeypatch.setattr(Writing, "__aexit__", end_in_silence)
    given = {"projectId": global_id("prj", tenant.project.id), "name": "Renamed", "idempotencyKey": "one"}
    async with asyncio.timeout(20):
        answer = await asking.ask(database, tenant.actor(), RENAMING, input=given)
        assert answer.code == ("INTERNAL" if lost else "TIMEOUT")
        assert (AWAY in answer.errors[0]["message"]) is lost
        assert "may have been done" in answer.errors[0]["message"]
        assert "`idempotencyKey`" in answer.errors[0]["message"]
        monkeypatch.setattr(Writing, "__aexit__", end)
        again = await asking.ask(database, tenant.actor(), RENAMING, input=given)
    assert again.data == {"projectUpdate": {"userErrors": []}}


async def test_a_mutation_whose_answer_cannot_be_read_is_not_told_as_undone(
    server: EmbeddedPostgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was done; what it shows is read afterwards, when the database has gone away."""
    tenant = await make_tenant(database)
    end = Writing.__aexit__

    async def end_with_the_server(writing: Writing, *raised: Any) -> None:
        await end(writing, *raised)
        await asyncio.to_thread(server.stop)

    rename = "mutation($input: ProjectUpdateInput!) { projectUpdate(input: $input) { project { name } } }"
    given = {"projectId": global_id("prj", tenant.project.id), "name": "Renamed"}
    with monkeypatch.context() as patched:
        patched.setattr(Writing, "__aexit__", end_with_the_server)
        try:
            answer = await asking.ask(database, tenant.actor(), rename, input=given)
        finally:
            await asyncio.to_thread(server.start)
    (error,) = answer.errors
    assert error["path"] == ["projectUpdate", "project"]
    assert error["extensions"] == {"code": "INTERNAL", "retryAfter": 1, "requestId": "test"}
    assert "may have been done" in error["message"]
    async with database.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Renamed",)]


async def _admits(url: str) -> bool:
    """Whether the server lets anybody in; if not, it says so, by 57P03, or it dies just then."""
    try:
        await (await asyncpg.connect(url)).close()
    except (asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError, ConnectionError):
        return False
    return True


@pytest.mark.parametrize("way", [asking.executor, asking.compiling], ids=["resolvers", "compiler"])
async def test_who_asks_while_the_server_takes_nobody_is_told_to_come_back(
    way: Callable[[], Executor], server: EmbeddedPostgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """57P03: a server that shuts down, or starts, listens and lets nobody in."""
    monkeypatch.setattr(asking, "executor", cache(way))
    tenant = await make_tenant(database)
    url = server.url(user=SUPERUSER)
    reopened = Database(database.connections, pool_size=POOL)
    last = await asyncpg.connect(url)
    try:
        os.kill(postmaster_of(server), signal.SIGTERM)  # it waits for the last session, and takes no other one
        async with asyncio.timeout(10):
            while await _admits(url):  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.01)
        given = {"projectId": global_id("prj", tenant.project.id), "name": "Renamed"}
        for answer in (
            await asking.ask(reopened, tenant.actor(), LISTING),
            await asking.ask(reopened, tenant.actor(), RENAMING, input=given),
        ):
            (error,) = answer.errors
            assert error["message"] == AWAY
            assert error["extensions"] == {"code": "INTERNAL", "retryAfter": 1, "requestId": "test"}
    finally:
        await last.close()
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        await reopened.close()


# A server that crashed tells its clients in a mere notice, if at all; then the end of the stream is what says so.
@pytest.mark.parametrize("state", ["57P01", "08003"], ids=["terminated", "crashed"])
async def test_who_loses_the_session_in_the_midst_of_a_command_is_told_to_come_back(
    state: str, server: EmbeddedPostgres, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator ends it, or somebody else's dies; nothing of it was done, since its COMMIT was never sent."""
    tenant = await make_tenant(database)
    owner = await asyncpg.connect(server.url(user=SUPERUSER))
    victim: int = await owner.fetchval("SELECT pg_backend_pid()")
    lock, said = Writing.lock, []

    async def end(pid: int) -> None:
        asleep = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $1"
        while not await owner.fetchval(asleep, pid):  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(0.01)
        if state == "57P01":
            await owner.fetch("SELECT pg_terminate_backend($1)", pid)
        else:
            os.kill(victim, signal.SIGKILL)  # then no other process can trust what all of them share

    async def lock_and_lose(writing: Writing, *given: Any) -> Any:
        await lock(writing, *given)
        ((pid,),) = await writing.fetch("SELECT pg_backend_pid()")
        ending = asyncio.create_task(end(pid))
        try:
            return await writing.fetch("SELECT pg_sleep(20)")
        except OF_THE_DRIVER as error:
            said.append(sqlstate(error.__cause__ or error))
            raise
        finally:
            await ending

    given = {"projectId": global_id("prj", tenant.project.id), "name": "Renamed", "idempotencyKey": "one"}
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Writing, "lock", lock_and_lose)
            answer = await asking.ask(database, tenant.actor(), RENAMING, input=given)
    finally:
        owner.terminate()
        async with asyncio.timeout(60):
            while not await _admits(server.url(user=SUPERUSER)):  # noqa: ASYNC110 - it starts again by itself
                await asyncio.sleep(0.05)
    assert said == [state]
    (error,) = answer.errors
    assert error["message"] == AWAY
    assert error["extensions"] == {"code": "INTERNAL", "retryAfter": 1, "requestId": "test"}
    await _read(tenant)


def test_a_mistake_of_ours_is_no_outage() -> None:
    """What is raised where the database is asked wrongly, or where another service or a file is not there."""
    for mistake in (
        asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
        FileNotFoundError("a file"),
        ConnectionRefusedError("another service"),
    ):
        assert not is_outage(mistake)
    assert is_outage(asyncpg.InterfaceError("cannot perform operation: connection is closed"))
    assert is_outage(NotReached("nobody listens"))


async def test_the_kernel_looks_whether_the_other_end_is_there(connections: Connections) -> None:
    """What the platform does takes as long as it takes, and so has no other end to its waiting."""
    path = connections.platform.url.rpartition("host=")[2].partition("&")[0]

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        target.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_unix_connection(Path(unquote(path)) / f".s.PGSQL.{PORT}")
        await asyncio.gather(carry(reader, behind[1]), carry(behind[0], writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as over_tcp:
        port = over_tcp.sockets[0].getsockname()[1]
        engine = open_pool(
            Connection(f"postgresql://{roles.PLATFORM}@127.0.0.1:{port}/{roles.DATABASE}"), size=1, wait_seconds=1
        )
        connection = await take(engine)
        opened = driver_of(connection)._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000
        await connection.close()
        await close_pool(engine)


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
