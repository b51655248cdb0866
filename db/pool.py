"""Pools of connections that survive what happens to a database: restarts, failovers, sessions that are ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as NoConnectionInTime
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from db.connections import Connection
from db.json_text import dump_json

CONNECT_SECONDS: Final = 10
CLOSE_SECONDS: Final = 5.0
_PROBES: Final = 3
_PROBE_SECONDS: Final = 10
_SILENCE_SECONDS: Final = _PROBE_SECONDS * (_PROBES + 1)
"""After this the kernel takes a connection for dead on which no byte is acknowledged; left to itself, after hours."""
ANSWER_SECONDS: Final = 5.0
"""How much longer than a statement may take its answer may be on its way. Then nobody is there any more: a machine that
is gone, or a firewall that has forgotten the connection, says nothing of it."""
# InternalClientError: the server has said good-bye, and the end of the stream has not come yet. Until then asyncpg
# takes the connection for one that is in the midst of something; it closes it once somebody has tried.
OF_THE_CONNECTION: Final = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises of its own accord, where the connection is not there or not fit for use."""
OF_THE_DRIVER: Final = (asyncpg.PostgresError, *OF_THE_CONNECTION)
"""What a connection raises of its own."""
OF_THE_DATABASE: Final = (DBAPIError, *OF_THE_DRIVER)
"""What a statement raises, by SQLAlchemy or past it; a network that fell silent is among it."""
_GONE: Final = (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError, *OF_THE_CONNECTION)
"""What is raised where the server, or the way to it, is no longer there."""
SHORT_STATEMENTS: Final = {
    # A page is read, and a command done, in milliseconds; compiling a plan would take longer.
    "jit": "off",
    # A prepared statement is planned once. Left to itself, Postgres plans those with joins or partitions anew for each
    # set of values, which takes many times longer than to run them. Every list is ordered by an index and limited, and
    # commands find rows by their keys, so there is little that a plan for these very values could do better.
    "plan_cache_mode": "force_generic_plan",
}
"""Postgres settings of connections that serve requests."""
STATEMENTS: Final = 250
"""Prepared statements that a connection keeps; each holds its plan, in Postgres and here. About as many as there are
kinds of statement in all commands."""
PREPARED: Final = {
    "statement_cache_size": STATEMENTS,
    # They last as long as the connection: asyncpg would prepare each anew every five minutes, and long ones each time.
    "max_cached_statement_lifetime": 0,
    "max_cacheable_statement_size": 0,
}
"""How asyncpg keeps the statements that are sent to it directly."""


def is_gone(error: BaseException) -> bool:
    """Whether a statement failed because the connection did, so that it may be sent again on another one."""
    return isinstance(error, _GONE) and not isinstance(error, TimeoutError)


def driver_error(error: BaseException) -> BaseException:
    """What asyncpg raised, where SQLAlchemy raised something around it; else the error itself."""
    wrapped = getattr(error, "orig", None)
    return getattr(wrapped, "__cause__", None) or wrapped or error


def sqlstate(error: BaseException) -> str | None:
    """What Postgres calls an error, whether asyncpg raised it or SQLAlchemy around it; None where it is none of
    Postgres."""
    found = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
    return found if isinstance(found, str) else None


def has_lost(error: BaseException) -> bool:
    """Whether whoever raised this has lost its connection: it is gone, or still owes the answer to a statement."""
    return is_gone(error) or isinstance(error, TimeoutError)


class PoolExhausted(TimeoutError):
    """Every connection was in use for as long as a request may wait for one."""


class NotReached(ConnectionError):
    """No connection to the database could be opened: nobody listens there, or nobody lets us in."""


class CommitUnanswered(TimeoutError):
    """A transaction was told to commit, and no answer came, be it that the server is silent (then the cause is another
    TimeoutError) or that the connection was lost: whether it did, only the server knows. Nobody may tell it as undone,
    nor do it again unless that does no harm."""


def open_pool(
    connection: Connection,
    *,
    size: int,
    wait_seconds: float,
    settings: dict[str, str] | None = None,
    answer_seconds: float | None = None,
) -> AsyncEngine:
    """A pool of at most `size` connections; `settings` are Postgres settings of each of them.

    Whatever waits for an answer longer than `answer_seconds`, be it a statement, COMMIT or ROLLBACK, raises
    TimeoutError, and the connection is given up: the driver's own timer, which costs less than one around each call.
    Without it only the kernel's probes end the waiting, over TCP.

    A connection that the server has closed is noticed when it is taken from the pool, without asking the server
    (asyncpg sees the end of the stream): pinging would cost three round trips each time. What cannot be noticed so is
    mended by `begin`, and a network that fell silent by waiting no longer than an answer may take.
    """
    own = {"application_name": "fleetgraph", **connection.server_settings, **(settings or {})}
    engine = create_async_engine(
        connection.sqlalchemy_url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        hide_parameters=True,  # an error that quotes its parameters would put people's data into the log
        json_serializer=dump_json,
        json_deserializer=orjson.loads,
        connect_args={
            "timeout": CONNECT_SECONDS,
            "command_timeout": answer_seconds,
            "server_settings": own,
            "prepared_statement_cache_size": STATEMENTS,
            **PREPARED,
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "connect", _probe)
    event.listen(engine.sync_engine, "handle_error", _give_up_silent)
    return engine


def _probe(connection: Any, _record: Any) -> None:
    """Have the kernel notice the end of a connection of which nobody tells: for work that takes as long as it takes."""
    opened = connection.driver_connection._transport.get_extra_info("socket")
    if opened.family == socket.AF_UNIX:
        return
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_SECONDS),
        ("TCP_KEEPINTVL", _PROBE_SECONDS),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", _SILENCE_SECONDS * 1_000),  # for what was sent and is not acknowledged
    ):
        if hasattr(socket, name):  # not every system has each
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _give_up_silent(failure: Any) -> None:
    """A connection that owes an answer is of no use to anybody: SQLAlchemy would send it a ROLLBACK, and wait."""
    if isinstance(failure.original_exception, TimeoutError):
        failure.is_disconnect = True
        failure.invalidate_pool_on_disconnect = False  # the others show by themselves what has become of them


def _refuse_closed(connection: Any, _record: Any, _proxy: Any) -> None:
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed the connection")  # the pool opens another one instead


async def close_pool(engine: AsyncEngine) -> None:
    """Close the connections that nobody holds; without a good-bye where the server takes none."""
    seconds = CLOSE_SECONDS
    while True:
        try:
            async with asyncio.timeout(seconds):
                await engine.dispose()
                return
        except TimeoutError:
            seconds = 0.1  # the one that was waited for is closed by now, and the next are no better


async def take(engine: AsyncEngine) -> AsyncConnection:
    """A connection from the pool, for the caller to close. Raises PoolExhausted, NotReached, and TimeoutError where
    nobody answers there."""
    try:
        with reaching():
            return await engine.connect()
    except NoConnectionInTime as error:
        pool: Any = engine.pool
        raise PoolExhausted(
            f"All {pool.size()} connections of the pool were in use for {pool.timeout():g} s. Make it larger "
            "(FLEETGRAPH_POOL_SIZE, or FLEETGRAPH_PLATFORM_POOL_SIZE for the platform's own work), or find out what "
            "keeps them busy."
        ) from error


@contextmanager
def reaching() -> Iterator[None]:
    """What the system says of a connection that is being opened, told as what it is. Raises NotReached."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise NotReached("The database cannot be reached.") from error


def driver_of(connection: AsyncConnection) -> Any:
    """asyncpg's connection below SQLAlchemy's."""
    opened: Any = connection.sync_connection
    return opened.connection.driver_connection


async def fetch_row(engine: AsyncEngine, sql: str, arguments: Sequence[Any]) -> Mapping[str, Any] | None:
    """The first row of a statement that only reads and needs no transaction; `sql` has $1, $2 … for the arguments.

    Where a connection turns out dead the statement is sent again, on the next. Raises PoolExhausted, asyncpg's errors,
    and TimeoutError where no answer comes for as long as the pool waits for one.
    """
    pool: Any = engine.pool
    for left in range(pool.size(), -1, -1):  # after a failover all that are open may be dead
        connection = await take(engine)
        try:
            driver = driver_of(connection)
            try:
                found: Mapping[str, Any] | None = await driver.fetchrow(sql, *arguments)
                return found
            except (TimeoutError, asyncio.CancelledError) as error:
                # asyncpg prepares a statement and runs it in two messages, of which only the second one ends the
                # transaction that both are: who goes away in between leaves it open, for the next to run into.
                await connection.invalidate(error)
                raise
            except OF_THE_DRIVER as error:
                if not driver.is_closed():
                    raise
                await connection.invalidate(error)
                if not left:
                    raise
        finally:
            await connection.close()
    raise AssertionError("unreachable")


async def begin(engine: AsyncEngine, tenant_id: UUID, *, read_only: bool = False) -> AsyncConnection:
    """A connection with a transaction of the tenant, for the caller to close; `read_only` is one snapshot for all of
    its statements.

    Where a connection turns out dead the next one is taken: nothing has been done on it yet. Raises PoolExhausted,
    SQLAlchemy's errors where none can be opened, asyncpg's errors, and TimeoutError where no answer comes.
    """
    # One message, one round trip. The tenant is gone with the transaction, and a UUID needs no quoting.
    mode = " ISOLATION LEVEL REPEATABLE READ, READ ONLY" if read_only else ""
    opening = f"BEGIN{mode}; SELECT set_config('app.tenant_id', '{tenant_id}', true)"
    pool: Any = engine.pool
    for left in range(pool.size(), -1, -1):  # after a failover all that are open may be dead
        connection = await take(engine)
        try:
            await _open(connection, opening)
        except OF_THE_DRIVER as error:
            if not left or not is_gone(error):
                raise
        else:
            return connection
    raise AssertionError("unreachable")


async def _open(connection: AsyncConnection, opening: str) -> None:
    try:
        driver = driver_of(connection)
        async with asyncio.timeout(CONNECT_SECONDS):
            await driver.execute(opening)
        # SQLAlchemy would begin a transaction with its first statement; now it has only to end this one.
        _adapted(connection)._transaction = _Begun(driver)
    except BaseException as error:
        await connection.invalidate(error)
        await connection.close()
        raise


async def commit(connection: AsyncConnection) -> None:
    """End a transaction of `begin` in which SQLAlchemy had no part. Raises asyncpg's errors, and CommitUnanswered."""
    try:
        await _commit(driver_of(connection))
    except OF_THE_DRIVER as error:
        await connection.invalidate(error)
        raise
    _adapted(connection)._transaction = None


async def _commit(driver: Any) -> None:
    async with committing(driver):
        await driver.execute("COMMIT")


@asynccontextmanager
async def committing(driver: Any) -> AsyncIterator[None]:
    """The block tells this connection of asyncpg's to commit, and does nothing else.

    Raises CommitUnanswered where nobody knows whether it did.
    """
    is_open = not driver.is_closed()  # else nothing is sent, and what was done is undone
    try:
        yield
    except Exception as error:
        cause = driver_error(error)
        if is_open and has_lost(cause):
            raise CommitUnanswered("No answer came to a commit.") from cause
        raise


def _adapted(connection: AsyncConnection) -> Any:
    opened: Any = connection.sync_connection
    return opened.connection.dbapi_connection


class _Begun:
    """A transaction that has begun, as SQLAlchemy's adapter of asyncpg knows one."""

    __slots__ = ("_driver",)

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    async def commit(self) -> None:
        """Keep what was done."""
        await _commit(self._driver)

    async def rollback(self) -> None:
        """Undo it."""
        await self._driver.execute("ROLLBACK")
