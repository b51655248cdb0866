"""What can be exported, as pages of plain rows: each journal in the order in which it was written (AUD-4), and the two
as one list by day (AUD-5)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, cast
from uuid import UUID

from graphql import GraphQLError
from sqlalchemy import Table, select

from app.audit.trail import JOURNALS, MOST, Entry, Period, newest
from app.auth.actor import Actor
from app.graph.errors import BadUserInput
from app.graph.paging import Reader
from app.graph.scalars import parse_datetime
from app.rows import plain
from db import models
from db.session import Database, within_tenant

PAGE: Final = 1_000
"""Rows of one statement."""
PlainRow: TypeAlias = Mapping[str, Any]
"""A row with ids and times as text, by the names of its columns."""


@dataclass(frozen=True)
class Exported(ABC):
    """Something that can be exported."""

    permissions: tuple[str, ...]
    """What it takes, each for the whole tenant."""
    action: str
    """What the security journal calls its export."""
    resource: str
    """What the security journal says was exported."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The names that its rows may have, in order."""

    @abstractmethod
    async def begin(self, database: Database, actor: Actor, asked: Mapping[str, str]) -> AsyncIterator[list[PlainRow]]:
        """The pages of what is there now; `asked` is the request's query. Raises BadUserInput."""


@dataclass(frozen=True)
class Log(Exported):
    """A journal, whole, the oldest first."""

    table: Table
    order: str
    """The column that counts up as rows are added."""

    @property
    def names(self) -> Sequence[str]:
        """Its table's columns."""
        return _columns(self.table)

    async def begin(self, database: Database, actor: Actor, asked: Mapping[str, str]) -> AsyncIterator[list[PlainRow]]:
        """Pages up to the row that is the newest now."""
        column = self.table.c[self.order]
        async with database.read(actor) as reading:
            # An id has no max() of its own in Postgres before 18, so the last row is looked up.
            statement = select(column).where(within_tenant(self.table, actor)).order_by(column.desc()).limit(1)
            found = await reading.rows(statement)
        return self._pages(database, actor, found[0][0] if found else None)

    async def _pages(self, database: Database, actor: Actor, last: Any) -> AsyncIterator[list[PlainRow]]:
        column, names, seen = self.table.c[self.order], self.names, None
        while last is not None:
            bounds = [column <= last] + ([] if seen is None else [column > seen])
            statement = select(*self.table.columns).where(within_tenant(self.table, actor), *bounds)
            async with database.read(actor) as reading:
                rows = await reading.rows(statement.order_by(column).limit(PAGE))
            if not rows:
                return
            seen = getattr(rows[-1], self.order)
            yield [_plain_row(row, names) for row in rows]
            if len(rows) < PAGE:
                return


@dataclass(frozen=True)
class Trail(Exported):
    """Both journals as one list, at most 10,000 entries, the newest day first; each row says its day (UTC)."""

    @property
    def names(self) -> Sequence[str]:
        """The day, the type of the row, and what the rows of either journal have."""
        columns = [name for entity in JOURNALS.values() for name in _columns(entity.table)]
        return list(dict.fromkeys(["day", "type_name", *columns]))

    async def begin(self, database: Database, actor: Actor, asked: Mapping[str, str]) -> AsyncIterator[list[PlainRow]]:
        """Pages of the entries that are the newest now, of the period `from` to `to` where the request names one."""
        period = Period(_time(asked, "from"), _time(asked, "to"))
        async with database.read(actor) as reading:
            entries = await newest(reading, Reader(actor).known, period, MOST)
        return self._pages(database, actor, entries)

    async def _pages(self, database: Database, actor: Actor, entries: Sequence[Entry]) -> AsyncIterator[list[PlainRow]]:
        for start in range(0, len(entries), PAGE):
            page = entries[start : start + PAGE]
            found: dict[UUID, PlainRow] = {}
            async with database.read(actor) as reading:
                for name, entity in JOURNALS.items():
                    keys = [entry.row_id for entry in page if entry.journal == name]
                    rows = await reading.rows(Reader(actor).rows(entity, entity.table.c.id, keys, scoped=False))
                    columns = _columns(entity.table)
                    found |= {row.id: _plain_row(row, columns) for row in rows}
            # What retention has taken meanwhile is not there any more.
            yield [
                {"day": f"{entry.at.astimezone(UTC):%Y-%m-%d}", "type_name": entry.journal, **found[entry.row_id]}
                for entry in page
                if entry.row_id in found
            ]


EXPORTED: Final[Mapping[str, Exported]] = {
    "change-records": Log(
        ("export:change-records",),
        "CHANGE_RECORDS_EXPORTED",
        "change_records",
        cast("Table", models.ChangeRecord.__table__),
        "seq",
    ),
    "audit-logs": Log(
        ("export:audit",), "AUDIT_LOGS_EXPORTED", "audit_logs", cast("Table", models.AuditLog.__table__), "id"
    ),
    "audit-trail": Trail(("export:change-records", "export:audit"), "AUDIT_TRAIL_EXPORTED", "audit_trail"),
}
"""By the name in the address."""


def _time(asked: Mapping[str, str], name: str) -> datetime | None:
    text = asked.get(name)
    try:
        return None if text is None else parse_datetime(text)
    except GraphQLError as error:
        raise BadUserInput(f"`{name}`: {error.message}", name) from None


def _columns(table: Table) -> list[str]:
    return [str(column.name) for column in table.columns]


def _plain_row(row: Sequence[Any], names: Iterable[str]) -> PlainRow:
    return {name: plain(value) for name, value in zip(names, row, strict=True)}
