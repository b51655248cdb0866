"""The tails of one tenant: what is new in its logs and which rows changed, read once for all who listen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, func, select, text

from app.auth.actor import system_actor
from app.graph.errors import BadUserInput, CursorExpired
from app.graph.filtering import Condition
from app.graph.registry import ENTITIES, EntityType
from db.bell import Feed
from db.models import gateway
from db.session import Database, Reading

PAGE: Final = 1_000
"""Most rows of one statement."""
KEPT: Final = 2_048
"""Rows of a log that stay in memory, for groups that lag a little and for clients that come back soon."""

_COUNTERS: Final = gateway.TenantCounters.__table__
_MARKS: Final = gateway.RetentionMark.__table__


@dataclass(frozen=True)
class Log:
    """A log that can be followed by its numbers."""

    feed: Feed
    type_name: str
    counter: str

    @property
    def entity(self) -> EntityType:
        """Its rows' type."""
        return ENTITIES[self.type_name]


LOGS: Final = {
    Feed.EVENTS: Log(Feed.EVENTS, "OpEvent", "event_seq"),
    Feed.CHANGES: Log(Feed.CHANGES, "ChangeRecord", "change_seq"),
}


class Replay(NamedTuple):
    """Rows out of the past, and how far they reach: what is not among them up to there is not asked for."""

    rows: Sequence[Any]
    reached: int


class LogTail:
    """One log of one tenant: the newest rows in memory, older ones from the database.

    Numbers have no holes, and commits come in their order; so whoever has all rows up to a number has missed none.
    """

    def __init__(self, database: Database, tenant_id: UUID, log: Log) -> None:
        self._database = database
        self._caller = system_actor(tenant_id)
        self.log = log
        self.position: int | None = None
        """The newest number that was read; None while nobody follows the log."""
        self._rows: list[Any] = []
        self._numbers: list[int] = []

    async def start(self) -> int:
        """Begin at the log's end, unless it has begun."""
        if self.position is None:
            async with self._database.read(self._caller, primary=True) as reading:
                head, _ = await self._bounds(reading)
            if self.position is None:
                self.position = head
        return self.position

    def stop(self) -> None:
        """Nobody follows it any more."""
        self.position = None
        self._rows, self._numbers = [], []

    async def advance(self, reading: Reading) -> bool:
        """Read what is new; whether there was anything. More than a page is left for the next time."""
        if self.position is None:
            return False
        found = await reading.rows(self._select(self.position, PAGE))
        if self.position is None:  # everybody left meanwhile
            return False
        rows = [self.log.entity.row(*row) for row in found]
        for row in rows:
            self._rows.append(row)
            self._numbers.append(row.seq)
        if rows:
            self.position = rows[-1].seq
        if len(self._rows) > 2 * KEPT:
            del self._rows[:-KEPT]
            del self._numbers[:-KEPT]
        return bool(rows)

    async def after(self, position: int, limit: int) -> Sequence[Any]:
        """The rows behind a position, up to where the tail is."""
        rows = self._remembered(position, limit)
        if rows is None:
            async with self._database.read(self._caller, primary=True) as reading:
                found = await reading.rows(self._select(position, limit))
            rows = [self.log.entity.row(*row) for row in found]
        return rows

    async def replay(self, position: int, conditions: Sequence[Condition], limit: int) -> Replay:
        """The rows behind a position that meet the conditions, from memory where all of them are there (and then
        without looking at the conditions). Raises CursorExpired, and BadUserInput for a position beyond the end."""
        rows = self._remembered(position, limit)
        if rows is not None and self.position is not None and position <= self.position:
            return Replay(rows, rows[-1].seq if rows else self.position)
        async with self._database.read(self._caller, primary=True) as reading:
            head, oldest = await self._bounds(reading)
            if position > head:
                raise BadUserInput(
                    f"`after` is {position}, and the log ends at {head}. It may be a cursor of another tenant, or of a "
                    "database that was restored since.",
                    "after",
                )
            if 0 < position < oldest - 1:  # who has seen nothing gets what is kept
                raise CursorExpired(str(oldest))
            statement = self._select(position, limit).where(*conditions, self.log.entity.table.c.seq <= head)
            found = await reading.rows(statement)
        rows = [self.log.entity.row(*row) for row in found]
        return Replay(rows, rows[-1].seq if len(rows) == limit else head)

    def _remembered(self, position: int, limit: int) -> Sequence[Any] | None:
        if self._numbers and position >= self._numbers[0] - 1:
            first = bisect_right(self._numbers, position)
            return self._rows[first : first + limit]
        return [] if position == self.position else None

    def _select(self, position: int, limit: int) -> Select[Any]:
        table = self.log.entity.table
        return (
            select(*table.columns)
            .where(table.c.tenant_id == self._caller.tenant_id, table.c.seq > position)
            .order_by(table.c.seq)
            .limit(limit)
        )

    async def _bounds(self, reading: Reading) -> tuple[int, int]:
        """The number of the newest row, and of the oldest that is kept."""
        tenant_id = self._caller.tenant_id
        oldest = (
            select(func.max(_MARKS.c.first_seq))
            .where(_MARKS.c.tenant_id == tenant_id, _MARKS.c.log == self.log.feed.value)
            .scalar_subquery()
        )
        statement = select(_COUNTERS.c[self.log.counter], func.coalesce(oldest, 1)).where(
            _COUNTERS.c.tenant_id == tenant_id
        )
        found: Sequence[Any] = await reading.rows(statement)
        return (found[0][0], found[0][1]) if found else (0, 1)


class Changed(NamedTuple):
    """A row that was made, changed or deleted."""

    table: str
    row_id: UUID
    gone: bool


_BEGIN: Final = text("SELECT pg_current_snapshot()::text AS snapshot")
# Exactly what the last snapshot did not show and this one does, whatever order the transactions ended in.
_CHANGED: Final = text(
    """
    SELECT looked.snapshot, note.table_name, note.row_id, note.gone
    FROM (SELECT pg_current_snapshot()::text AS snapshot) looked
    LEFT JOIN gateway.row_changes note ON note.tenant_id = :tenant_id
        AND note.xact >= pg_snapshot_xmin(CAST(CAST(:seen AS text) AS pg_snapshot))::text::bigint
        AND NOT pg_visible_in_snapshot(note.xact::text::xid8, CAST(CAST(:seen AS text) AS pg_snapshot))
    ORDER BY note.xact
    """
)


class RowTail:
    """Which rows of one tenant changed since the last look."""

    def __init__(self, database: Database, tenant_id: UUID) -> None:
        self._database = database
        self._caller = system_actor(tenant_id)
        self.snapshot: str | None = None
        """What the last look saw, as Postgres writes it; None before the first."""

    async def start(self) -> None:
        """See what there is, unless it has been looked at."""
        async with self._database.read(self._caller, primary=True) as reading:
            snapshot = (await reading.rows(_BEGIN))[0].snapshot
        self.snapshot = self.snapshot or snapshot

    async def advance(self, reading: Reading) -> list[Changed]:
        """What changed since then, each row once."""
        found = await reading.rows(_CHANGED.bindparams(tenant_id=self._caller.tenant_id, seen=self.snapshot))
        self.snapshot = found[0].snapshot
        newest = {(row.table_name, row.row_id): row.gone for row in found if row.row_id is not None}
        return [Changed(table, row_id, gone) for (table, row_id), gone in newest.items()]
