"""Connections for single statements and snapshots: taken in the order of asking, and not reset between one caller and
the next.

SQLAlchemy's pool resets a connection each time it is given back, and asyncpg's own lets a new request pass those that
wait. Here nothing is left on a connection that could be reset but the tenant, which row-level security looks at: it is
set for the whole session, and again whenever the next caller is of another tenant. The sessions are read-only unless
the pool is opened for commands (`db/brief.py`).

To change a connection's tenant is a statement of its own, as long as most of a command's. So in the pool for commands a
connection stays with its tenant while somebody of that tenant waits, and nobody is passed by for that more often than
there are connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from db.connections import Connection
from db.pool import CLOSE_SECONDS, CONNECT_SECONDS, OF_THE_DRIVER, PREPARED, SHORT_STATEMENTS, PoolExhausted, reaching

_READ_ONLY: Final = {"default_transaction_read_only": "on"}
_LOOKED_AT: Final = 64
"""Of those who wait, so many are asked whether they are of a connection's tenant."""


class TenantConnection:
    """A connection of the pool, in the tenant of whoever holds it."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.tenant_id: UUID | None = None
        self.statements = 0
        """Of `fetch`, so far."""

    async def enter(self, tenant_id: UUID) -> None:
        """Make it the tenant's: row-level security shows its rows, and no others."""
        if self.tenant_id != tenant_id:
            self.tenant_id = None
            await self._driver.fetchval("SELECT set_config('app.tenant_id', $1, false)", str(tenant_id))
            self.tenant_id = tenant_id

    def fetch(self, sql: str, arguments: Sequence[Any]) -> Awaitable[Sequence[Any]]:
        """The rows of a statement, prepared once; `sql` has $1, $2 … for the arguments."""
        self.statements += 1
        rows: Awaitable[Sequence[Any]] = self._driver.fetch(sql, *arguments)
        return rows

    async def begin(self) -> None:
        """One snapshot for the statements that follow, until `end`."""
        await self._driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    async def end(self) -> None:
        """Let the snapshot go, where there is one."""
        if self._driver.is_in_transaction():
            await self._driver.execute("COMMIT")

    @property
    def is_closed(self) -> bool:
        """Whether the server, or we, closed it."""
        closed: bool = self._driver.is_closed()
        return closed

    async def close(self) -> None:
        """Close it, once a statement that was cancelled has come to its end."""
        with contextlib.suppress(Exception):
            await self._driver.close(timeout=CLOSE_SECONDS)


class _Waiter:
    """Who waits for a connection."""

    __slots__ = ("deadline", "given", "is_late", "passed", "tenant")

    def __init__(self, given: asyncio.Future[TenantConnection | None], tenant: int, deadline: float) -> None:
        self.given = given
        self.tenant = tenant
        self.deadline = deadline
        self.is_late = False
        """Whether its time was over, and it was given nothing."""
        self.passed = 0
        """How often somebody else was served while this one was the first."""


class TenantPool:
    """At most `size` connections, opened when they are needed."""

    def __init__(
        self,
        connection: Connection,
        *,
        size: int,
        wait_seconds: float,
        settings: Mapping[str, str] | None = None,
        may_write: bool = False,
        answer_seconds: float | None = None,
    ) -> None:
        """`wait_seconds` is how long a caller waits for a connection; `settings` are Postgres settings of each.

        Where it `may_write`, JSON comes as SQLAlchemy's connections give it: a command's row is the same by either way.
        Queries take it as text, which most of them pass on. A statement whose answer takes longer than `answer_seconds`
        raises TimeoutError; without it see `connection`.
        """
        self._connection = connection
        self._size = size
        self._wait_seconds = wait_seconds
        self._answer_seconds = answer_seconds
        self._may_write = may_write
        self._settings = {
            "application_name": "fleetgraph",
            **connection.server_settings,
            **({} if may_write else _READ_ONLY),
            **SHORT_STATEMENTS,
            **(settings or {}),
        }
        self._idle: list[TenantConnection] = []
        self._waiting: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        """For the first of those who wait whose time will be over: one of the event loop's for each would cost more."""
        self._looks_at = 0.0
        self._open = 0
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def in_use(self) -> int:
        """Connections that somebody holds."""
        return self._open - len(self._idle)

    @property
    def idle(self) -> int:
        """Connections that nobody holds."""
        return len(self._idle)

    def connection(self, tenant_id: UUID) -> AbstractAsyncContextManager[TenantConnection]:
        """A connection in the tenant. Entering raises PoolExhausted and asyncpg's errors.

        Where the caller is cancelled or a statement fails, something may still be under way on the connection: then it
        is closed, which also ends what runs in Postgres, and another one is opened when it is needed.

        Without `answer_seconds` nothing here ends the wait for an answer that never comes, since a timer for each
        statement would cost every query: who asks on a request's behalf is cancelled with it, and anybody else needs a
        limit of their own.
        """
        return _Held(self, tenant_id)

    async def take(self, tenant_id: UUID) -> TenantConnection:
        """A connection in the tenant, for the caller to give back or to discard."""
        held = await self._take(tenant_id)
        try:
            await held.enter(tenant_id)
        except BaseException:
            self.discard(held)
            raise
        return held

    async def close(self) -> None:
        """Close the connections that nobody holds; the others are closed as they are given back."""
        self._size = 0
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
            self._timer = None
        for one in self._idle:
            self.discard(one)
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def ready(self, tenant_id: UUID) -> TenantConnection | None:
        """What `take` gives, where there is nothing to wait for: nearly always."""
        idle = self._idle
        if idle and idle[-1].tenant_id == tenant_id and not idle[-1].is_closed:
            return idle.pop()
        return None

    async def _take(self, tenant_id: UUID) -> TenantConnection:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            held = self._free(tenant_id)
            if held is None and self._open < self._size and not self._waiting:
                return await self._connect()
            if held is None:
                held = await self._wait(tenant_id, deadline)
                if held is None:  # nobody gave it back, but there is room for another
                    return await self._connect(counted=True)
            if not held.is_closed:
                return held
            self.discard(held)

    def _free(self, tenant_id: UUID) -> TenantConnection | None:
        """A connection that nobody holds; of this tenant if there is one, since that is ready as it is."""
        idle = self._idle
        for position in range(len(idle) - 1, -1, -1):
            if idle[position].tenant_id == tenant_id:
                return idle.pop(position)
        return idle.pop(0) if idle else None

    async def _wait(self, tenant_id: UUID, deadline: float) -> TenantConnection | None:
        waiter: asyncio.Future[TenantConnection | None] = asyncio.get_running_loop().create_future()
        place = _Waiter(waiter, tenant_id.int, deadline)
        self._waiting.append(place)
        if self._timer is None or deadline < self._looks_at:
            self._look_at(deadline)
        try:
            given = await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and not place.is_late:
                # It was given to us in the moment in which we went away.
                given = waiter.result()
                self._pass_on() if given is None else self.give_back(given)
            with contextlib.suppress(ValueError):
                self._waiting.remove(place)
            raise
        if place.is_late:
            raise PoolExhausted(
                f"All {self._size} connections of the pool were in use for {self._wait_seconds:g} s. Make the pool "
                "larger (FLEETGRAPH_POOL_SIZE), or find out what keeps them busy."
            )
        return given

    def _look_at(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at, delay = deadline, max(0.0, deadline - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        """Tell those whose time is over. They raise of it themselves: an exception in what they wait for would hold
        their frames, which hold what they wait for, and so the whole request until the collector comes by."""
        self._timer = None
        now = time.monotonic()
        waiting = [one for one in self._waiting if not one.given.done()]
        self._waiting = deque(one for one in waiting if one.deadline > now)
        for one in waiting:
            if one.deadline <= now:
                one.is_late = True
                one.given.set_result(None)
        if self._waiting:
            self._look_at(min(one.deadline for one in self._waiting))

    async def _connect(self, *, counted: bool = False) -> TenantConnection:
        if not counted:
            self._open += 1
        try:
            with reaching():
                return TenantConnection(await self._connect_driver())
        except BaseException:
            self._pass_on()
            raise

    async def _connect_driver(self) -> Any:
        driver = await asyncpg.connect(
            self._connection.url,
            timeout=CONNECT_SECONDS,
            command_timeout=self._answer_seconds,
            server_settings=self._settings,
            **PREPARED,
        )
        if self._may_write:
            try:
                await driver.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=orjson.loads)
            except BaseException:
                driver.terminate()
                raise
        return driver

    def give_back(self, held: TenantConnection) -> None:
        """Let somebody else have it."""
        if self._open > self._size:
            self.discard(held)
        elif waiter := self._next(held):
            waiter.set_result(held)
        else:
            self._idle.append(held)

    def _pass_on(self) -> None:
        """There is room for one connection more: whoever waits longest may open it."""
        waiter = self._next() if self._open <= self._size else None
        if waiter is None:
            self._open -= 1
        else:
            waiter.set_result(None)

    def _next(self, held: TenantConnection | None = None) -> asyncio.Future[TenantConnection | None] | None:
        """Who waits longest; for a connection that is `held`, mostly who of its tenant does."""
        waiting = self._waiting
        while waiting and waiting[0].given.done():  # those who gave up are on their way out
            waiting.popleft()
        if not waiting:
            return None
        first = waiting[0]
        if self._may_write and held is not None and held.tenant_id is not None and first.passed < self._size:
            tenant = held.tenant_id.int
            for place, one in enumerate(islice(waiting, _LOOKED_AT)):
                if one.tenant == tenant and not one.given.done():
                    first.passed += place > 0
                    del waiting[place]
                    return one.given
        return waiting.popleft().given

    def discard(self, held: TenantConnection) -> None:
        """Close it, whatever is under way on it."""
        self._pass_on()
        closing = asyncio.get_running_loop().create_task(held.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class _Held(AbstractAsyncContextManager[TenantConnection]):
    """A connection for as long as the block lasts."""

    __slots__ = ("_held", "_pool", "_tenant_id")

    def __init__(self, pool: TenantPool, tenant_id: UUID) -> None:
        self._pool = pool
        self._tenant_id = tenant_id

    async def __aenter__(self) -> TenantConnection:
        self._held = self._pool.ready(self._tenant_id) or await self._pool.take(self._tenant_id)
        return self._held

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._pool.give_back(self._held)
            return
        if isinstance(error, Exception) and not isinstance(error, OF_THE_DRIVER):  # of the caller's own making
            try:
                await self._held.end()
            except BaseException:
                self._pool.discard(self._held)
                raise
            self._pool.give_back(self._held)
            return
        self._pool.discard(self._held)
