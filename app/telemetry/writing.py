"""Appending what many callers send at once: those of one tenant go together, one transaction after the other.

The counter's row of a tenant is a lock that every writer of its log waits for (decision 2). So the callers of a process
do not queue there, each with a transaction of its own, but here: what has come in while one transaction ran goes into
the next, with one round of numbers for all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from app.auth.actor import system_actor
from app.graph.errors import RateLimited
from db.bell import Feed
from db.logs import AppendedColumns, EventColumns, append_event_columns
from db.partitions import make_partitions
from db.pool import sqlstate
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.telemetry")

TOGETHER: Final = 2_000
"""Events of one transaction: some 50 ms, which is what the tenant's other writers wait (decision 7)."""
RETRIES: Final = 3
_RETRY_SECONDS: Final = 1
_RETRYABLE: Final = frozenset({"40001", "40P01"})
_CHECK_VIOLATION: Final = "23514"
_UNIQUE_VIOLATION: Final = "23505"


@dataclass(eq=False)
class _Lot:
    """What one caller hands in at once."""

    events: EventColumns
    outcome: asyncio.Future[AppendedColumns]


@dataclass(eq=False)
class _Line:
    """The lots of a tenant that wait, and the task that works through them."""

    lots: deque[_Lot] = field(default_factory=deque)
    work: asyncio.Task[None] | None = None
    are_new: bool = True
    """Whether the next events are taken to be new, which is cheaper where it is true: the last ones were."""


class EventWriter:
    """Appends the op events of all callers of this process.

    Every caller gets an answer of its own, and whoever stops waiting harms nobody: what has not begun is left out, what
    has begun is finished. `most_waiting` events may wait; then callers are told to come back. `at_once` tenants are
    written to at the same time, so that there are connections left for everybody else.
    """

    def __init__(
        self, database: Database, *, most_waiting: int = 100_000, together: int = TOGETHER, at_once: int = 8
    ) -> None:
        self._database = database
        self._most_waiting = most_waiting
        self._together = together
        self._lines: dict[UUID, _Line] = {}
        self._is_closed = False
        self._turns = asyncio.Semaphore(at_once)
        self.waiting = 0
        """Events that wait."""
        self.transactions = 0
        """Transactions so far."""
        self.stored = 0
        self.repeated = 0
        """Events so far that were stored, and that were there already."""

    def admit(self) -> None:
        """Raise RateLimited while as many events wait as may."""
        if self.waiting >= self._most_waiting or self._is_closed:
            raise RateLimited(
                _RETRY_SECONDS, f"More events come in than can be stored. Come back in {_RETRY_SECONDS} second."
            )

    def submit(self, tenant_id: UUID, events: EventColumns) -> asyncio.Future[AppendedColumns]:
        """Append events of the tenant, in their order, behind what was submitted before; at most 5,000.

        The result comes when they are committed. It may be cancelled. Raises in the future what the database says:
        SQLAlchemy's DBAPIError, PoolExhausted, or TimeoutError where the network fell silent; then none of these events
        is stored, unless the connection was lost as the transaction was being committed, which nobody can know.
        """
        lot = _Lot(events, asyncio.get_running_loop().create_future())
        if not len(events):
            lot.outcome.set_result(AppendedColumns(frozenset(), None))
            return lot.outcome
        line = self._lines.setdefault(tenant_id, _Line())
        line.lots.append(lot)
        self.waiting += len(events)
        if line.work is None:
            line.work = asyncio.create_task(self._work(tenant_id, line), name="op-events")
        return lot.outcome

    def figures(self) -> dict[str, float]:
        """For the metrics: events that wait, and what became of those that came, in this process."""
        return {"waiting": self.waiting, "stored": self.stored, "repeated": self.repeated}

    async def close(self) -> None:
        """Take nothing more, and finish what waits."""
        self._is_closed = True
        while working := [line.work for line in self._lines.values() if line.work is not None]:
            await asyncio.wait(working)

    async def _work(self, tenant_id: UUID, line: _Line) -> None:
        while line.lots:
            async with self._turns:
                if lots := self._next(line):
                    await self._store(tenant_id, line, lots)
        del self._lines[tenant_id]

    def _next(self, line: _Line) -> list[_Lot]:
        """What goes into the next transaction: the oldest lot, and those behind it as far as there is room."""
        lots: list[_Lot] = []
        count = 0
        while line.lots and (not lots or count + len(line.lots[0].events) <= self._together):
            lot = line.lots.popleft()
            self.waiting -= len(lot.events)
            if not lot.outcome.done():
                lots.append(lot)
                count += len(lot.events)
        return lots

    async def _store(self, tenant_id: UUID, line: _Line, lots: Sequence[_Lot]) -> None:
        try:
            events, doubles = _together(lots)
            appended = await self._append(tenant_id, events, are_new=line.are_new)
        except Exception as error:
            if len(lots) > 1 and not _is_lost(error):
                # Somebody's events are not fit to be stored, which spoils nobody else's.
                for lot in lots:
                    await self._store(tenant_id, line, [lot])
                return
            log.warning("op_events_not_stored", error=type(error).__name__, tenant=str(tenant_id), exc_info=True)
            for lot in lots:
                if not lot.outcome.done():
                    lot.outcome.set_exception(error)
            return
        line.are_new = not appended.repeated
        self.transactions += 1
        self.repeated += len(appended.repeated)
        self.stored += len(events) - len(appended.repeated)
        if appended.last_seq is not None:
            self._database.bell.ring(tenant_id, Feed.EVENTS, appended.last_seq)
        for lot, double in zip(lots, doubles, strict=True):
            if not lot.outcome.done():
                known = appended.repeated.intersection(lot.events.lists["id"]) if appended.repeated else frozenset()
                lot.outcome.set_result(AppendedColumns(known | double, appended.last_seq))

    async def _append(self, tenant_id: UUID, events: EventColumns, *, are_new: bool) -> AppendedColumns:
        """`are_new` is a guess. A wrong one is found out by the primary key, at the first event that is there already,
        and costs a second transaction; what it saves is a look for every event and two round trips, one of them under
        the counter's lock."""
        for attempt in range(RETRIES + 1):
            try:
                async with self._database.transaction(system_actor(tenant_id)) as session:
                    return await append_event_columns(await session.connection(), tenant_id, events, are_new=are_new)
            except DBAPIError as error:
                state = sqlstate(error)
                if attempt == RETRIES:
                    raise
                if state == _UNIQUE_VIOLATION and are_new:
                    are_new = False
                elif state == _CHECK_VIOLATION:
                    # Most likely a month without a partition: the tenant keeps events for longer than others.
                    await self._make_months(events)
                elif state not in _RETRYABLE:
                    raise
        raise AssertionError("unreachable")

    async def _make_months(self, events: EventColumns) -> None:
        times = events.lists["timestamp"]
        async with self._database.platform() as connection:
            await make_partitions(connection, min(times), max(times))


def _together(lots: Sequence[_Lot]) -> tuple[EventColumns, list[frozenset[UUID]]]:
    """The events of all lots as one batch, and of each lot the ids that an earlier one has already."""
    if len(lots) == 1:
        return lots[0].events, [frozenset()]
    events = EventColumns()
    seen: set[UUID] = set()
    doubles = []
    for lot in lots:
        ids = lot.events.lists["id"]
        double = frozenset(seen.intersection(ids)) if lot.events.may_repeat else frozenset()
        seen.update(ids)
        events.extend(lot.events, leaving_out=double)
        doubles.append(double)
    return events, doubles


def _is_lost(error: Exception) -> bool:
    """Whether it is the connection that failed, or its lack: trying again lot by lot would fail as well."""
    return not isinstance(error, DBAPIError) or error.connection_invalidated
