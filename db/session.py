"""The only door to Postgres: no statement without a caller, and the caller's tenant set before the first one."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, Executable, Row, Table
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.bell import EVERYWHERE, Bell, Feed, NoBell
from db.brief import Brief, Company
from db.callers import watch, written
from db.connections import Connections
from db.futures import shared
from db.group_commit import GroupCommit
from db.pool import (
    ANSWER_SECONDS,
    SHORT_STATEMENTS,
    PoolExhausted,
    begin,
    close_pool,
    committing,
    driver_of,
    fetch_row,
    has_lost,
    open_pool,
    take,
)
from db.tenant_pool import TenantPool
from db.writing import Writing

__all__ = ["Caller", "Database", "PoolExhausted", "Reading", "within_tenant"]

_OVER: Final = "The operation is over; its view of the database is closed."
_PLATFORM_WAIT_SECONDS: Final = 60
"""Its few connections are busy with long work, and nobody's request waits for them."""


class Caller(Protocol):
    """Who asks: what the database needs to know of an actor."""

    @property
    def tenant_id(self) -> UUID:
        """The only tenant whose rows may be seen."""
        ...

    @property
    def id(self) -> UUID:
        """The row that the caller is, which owns private rows."""
        ...

    def can(self, permission: str) -> bool:
        """Whether the permission is held anywhere."""
        ...

    def read_scope(self, type_name: str) -> Any:
        """Which rows of a type a list may show."""
        ...


def within_tenant(table: Table, caller: Caller) -> ColumnElement[bool]:
    """The code's own wall: this table's rows of the caller's tenant. Row-level security is the other one."""
    key = table.c.id if table.name == "tenants" else table.c.tenant_id
    return key == caller.tenant_id


class Reading:
    """One operation's view of the database: a read-only snapshot that opens with its first statement.

    Resolvers run side by side on one connection, so statements wait for each other here.
    """

    def __init__(self, database: "Database", caller: Caller, primary: bool = False) -> None:
        self.database = database
        self._engine = database.engine if primary else database.read_engine
        self._caller = caller
        self._lock = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._failure: Exception | None = None
        self._closed = False
        self._running: asyncio.Future[Any] | None = None
        self.statements = 0
        """Data statements so far (decision 35)."""

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """Run one statement and fetch all of its rows.

        Raises PoolExhausted, SQLAlchemy's DBAPIError, TimeoutError where the network fell silent, and RuntimeError
        after the end of the operation. A statement that fails takes the snapshot with it; what is asked after that
        fails because of it (`__cause__`).
        """
        await self._lock.acquire()
        # graphql-core cancels what stands beside a field that failed. Half a statement would cost all others the
        # snapshot, and the pool a connection, so one that has begun lasts as long as the operation.
        running = self._running = asyncio.ensure_future(self._rows(statement))
        running.add_done_callback(lambda _done: self._lock.release())
        try:
            return await shared(running)
        except asyncio.CancelledError:
            if running.cancelled():
                raise RuntimeError(_OVER) from None
            raise

    async def _rows(self, statement: Executable) -> Sequence[Row[Any]]:
        connection = await self._opened()
        try:
            result = await connection.execute(statement)
        except (DBAPIError, PendingRollbackError, TimeoutError) as error:
            if self._failure is not None:
                raise error from self._failure
            if not isinstance(error, PendingRollbackError):
                self._failure = error
            raise
        return result.all()

    async def fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        """The driver's rows of a statement that is text already, in the same snapshot; $1, $2 … are the arguments.

        Raises PoolExhausted, asyncpg's errors, TimeoutError where the network fell silent, and RuntimeError after the
        end of the operation.
        """
        async with self._lock:
            connection = await self._opened()
            try:
                rows: Sequence[Any] = await driver_of(connection).fetch(sql, *arguments)
            except Exception as error:
                if has_lost(error):
                    self._failure = error
                    await connection.invalidate(error)
                raise
            return rows

    async def _opened(self) -> AsyncConnection:
        """The connection with the snapshot, for one statement more. To be called by who has the lock."""
        if self._closed:
            raise RuntimeError(_OVER)
        if self._connection is None:
            self._connection = await begin(self._engine, self._caller.tenant_id, read_only=True)
        elif self._connection.invalidated:  # SQLAlchemy might open another one, without tenant and snapshot
            raise PendingRollbackError("The operation lost its snapshot.") from self._failure
        self.statements += 1
        return self._connection

    async def restart(self) -> None:
        """Begin a new snapshot with the next statement, on the primary: a replica may lag behind a write."""
        async with self._lock:
            self._engine, self._failure = self.database.engine, None
            await self._give_back()

    async def close(self) -> None:
        """Give the connection back. A statement that still runs is cancelled: nobody would want its rows any more."""
        self._closed = True
        if self._connection is None and not self._lock.locked():
            return
        if self._running is not None:
            self._running.cancel()
        async with self._lock:
            await self._give_back()

    async def _give_back(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()


class Database:
    """Connections as the gateway's role, behind row-level security, and a second small pool that passes it."""

    def __init__(
        self,
        connections: Connections,
        *,
        pool_size: int = 10,
        pool_timeout_seconds: float = 10,
        platform_pool_size: int = 2,
        statement_timeout_ms: int = 30_000,
    ) -> None:
        """`pool_timeout_seconds` is how long a request waits for a connection, `statement_timeout_ms` how long one of
        its statements may take; what the platform does takes as long as it takes."""
        limits = {**SHORT_STATEMENTS, "statement_timeout": str(statement_timeout_ms)}
        answer_seconds = statement_timeout_ms / 1_000 + ANSWER_SECONDS
        self.connections = connections
        open_requests = partial(
            open_pool,
            size=pool_size,
            wait_seconds=pool_timeout_seconds,
            settings=limits,
            answer_seconds=answer_seconds,
        )
        self.engine = self.read_engine = open_requests(connections.gateway)
        if connections.read != connections.gateway:
            self.read_engine = open_requests(connections.read)
        of_tenants = partial(TenantPool, size=pool_size, wait_seconds=pool_timeout_seconds, settings=limits)
        self.reads = of_tenants(connections.read)
        self._briefs = of_tenants(connections.gateway, may_write=True, answer_seconds=answer_seconds)
        self._company = Company(GroupCommit(self._briefs), self._ring)
        self.reads_behind = connections.read != connections.gateway
        """Whether queries may be answered by a replica, which follows the primary with a delay."""
        self._platform = open_pool(connections.platform, size=platform_pool_size, wait_seconds=_PLATFORM_WAIT_SECONDS)
        for engine in (self.engine, self._platform):
            watch(engine)
        self.bell: Bell = NoBell()
        """Rung after each transaction of a tenant; whoever appends to a log rings for that log as well."""

    @asynccontextmanager
    async def read(self, caller: Caller, *, primary: bool = False) -> AsyncIterator[Reading]:
        """A read-only snapshot for the caller, of the primary where a replica's lag would be in the way."""
        reading = Reading(self, caller, primary)
        try:
            yield reading
        finally:
            await reading.close()

    @asynccontextmanager
    async def transaction(self, caller: Caller) -> AsyncIterator[AsyncSession]:
        """One transaction for the caller, in the ORM's session; as `writing`."""
        async with self.writing(caller) as writing:
            yield writing.session

    @asynccontextmanager
    async def writing(self, caller: Caller) -> AsyncIterator[Writing]:
        """One transaction for the caller: committed at the end, rolled back by an exception.

        Raises PoolExhausted, TimeoutError where the network fell silent, and CommitUnanswered where it did so, or the
        connection was lost, just as the transaction was to be committed.
        """
        connection = await begin(self.engine, caller.tenant_id)
        writing = Writing(connection)
        try:
            async with writing:
                yield writing
        finally:
            callers = written(connection)
            await connection.close()
        self._ring(caller.tenant_id, callers)

    def brief(self, caller: Caller) -> Brief:
        """The caller's reads, and one statement that writes and commits itself, within the block of what is given.

        Raises PoolExhausted, CommitUnanswered, and NeedsTransaction where `writing` is to be used instead.
        """
        return Brief(caller.tenant_id, self._briefs.connection(caller.tenant_id), self._company)

    def _ring(self, tenant_id: UUID, callers: Iterable[Feed]) -> None:
        """For a tenant's rows, and those whose rights they are."""
        for feed in (Feed.ROWS, *callers):
            self.bell.ring(tenant_id, feed)

    @property
    def tenant_pools(self) -> Sequence[TenantPool]:
        """The pools that SQLAlchemy knows nothing of."""
        return self.reads, self._briefs

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that passes row-level security: for bootstrap, retention, jobs and imports (decision 24).

        Raises PoolExhausted, and CommitUnanswered where the connection was lost just as it was to be committed.
        """
        connection = await take(self._platform)
        try:
            async with connection.begin() as transaction:
                yield connection
                if transaction.is_active:
                    async with committing(driver_of(connection)):
                        await transaction.commit()
        finally:
            callers = written(connection)
            await connection.close()
        for feed in callers:
            self.bell.ring(EVERYWHERE, feed)

    async def fetch_one(self, sql: str, *arguments: Any) -> Mapping[str, Any] | None:
        """One row of a statement that sets no tenant: the functions that resolve a caller, and health checks.

        `sql` has $1, $2 … for the arguments, and only reads: where the connection turns out dead it is sent again, on
        another one. Raises PoolExhausted and asyncpg's errors.
        """
        return await fetch_row(self.engine, sql, arguments)

    async def close(self) -> None:
        """Close every pool, once the commands that write together have written."""
        await self._company.commits.close()
        for pool in self.tenant_pools:
            await pool.close()
        for engine in {self.engine, self.read_engine, self._platform}:
            await close_pool(engine)
