"""The only door to Postgres: no statement without a caller, and the caller's tenant set before the first one."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Executable, Row, Table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from db.connections import Connection, Connections


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

    def __init__(self, database: "Database", caller: Caller) -> None:
        self.database = database
        self._engine = database.read_engine
        self._caller = caller
        self._lock = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self.statements = 0
        """Data statements so far (decision 35)."""

    async def rows(self, statement: Executable) -> Sequence[Row[Any]]:
        """Run one statement and fetch all of its rows."""
        async with self._lock:
            if self._connection is None:
                self._connection = await self._open()
            self.statements += 1
            result = await self._connection.execute(statement)
            return result.all()

    async def _open(self) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            await _set_tenant(connection, self._caller.tenant_id)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def restart(self) -> None:
        """Begin a new snapshot with the next statement, on the primary: a replica may lag behind a write."""
        await self.close()
        self._engine = self.database.engine

    async def close(self) -> None:
        """Give the connection back."""
        async with self._lock:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                await connection.close()


async def _set_tenant(connection: AsyncConnection | AsyncSession, tenant_id: UUID) -> None:
    await connection.execute(text("SELECT set_config('app.tenant_id', :tenant, true)"), {"tenant": str(tenant_id)})


class Database:
    """Connections as the gateway's role, behind row-level security, and a second small pool that passes it."""

    def __init__(
        self,
        connections: Connections,
        *,
        pool_size: int = 10,
        statement_timeout_ms: int = 30_000,
    ) -> None:
        """`statement_timeout_ms` bounds each statement of a request; what the platform does takes its time."""
        limits = {"statement_timeout": str(statement_timeout_ms)}
        self.connections = connections
        self.engine = _engine(connections.gateway, pool_size, limits)
        is_same = connections.read == connections.gateway
        self.read_engine = self.engine if is_same else _engine(connections.read, pool_size, limits)
        self._platform: AsyncEngine | None = None

    @asynccontextmanager
    async def read(self, caller: Caller) -> AsyncIterator[Reading]:
        """A read-only snapshot for the caller."""
        reading = Reading(self, caller)
        try:
            yield reading
        finally:
            await reading.close()

    @asynccontextmanager
    async def transaction(self, caller: Caller) -> AsyncIterator[AsyncSession]:
        """One transaction for the caller: committed at the end, rolled back by an exception."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            await _set_tenant(session, caller.tenant_id)
            yield session

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that passes row-level security: for bootstrap, retention, jobs and imports (decision 24)."""
        if self._platform is None:
            self._platform = _engine(self.connections.platform, 2, {})
        async with self._platform.begin() as connection:
            yield connection

    async def fetch_one(self, sql: str, *arguments: Any) -> Mapping[str, Any] | None:
        """One row of a statement that sets no tenant: the functions that resolve a caller, and health checks.

        `sql` has $1, $2 … for the arguments.
        """
        async with self.engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            found: Mapping[str, Any] | None = await driver.fetchrow(sql, *arguments)
            return found

    async def close(self) -> None:
        """Close every pool."""
        engines = {self.engine, self.read_engine} | ({self._platform} if self._platform else set())
        for engine in engines:
            await engine.dispose()


def _engine(connection: Connection, pool_size: int, settings: dict[str, str]) -> AsyncEngine:
    return create_async_engine(
        connection.sqlalchemy_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        connect_args={"server_settings": {"application_name": "fleetgraph", **connection.server_settings, **settings}},
    )
