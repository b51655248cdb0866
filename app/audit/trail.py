"""`auditTrail`: the change log and the security journal as one list, the newest first (AUD-5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, literal_column, select, union_all

from app.audit.types import AuditLog, ChangeRecord
from app.auth.permissions import READ_PERMISSION
from app.graph.context import Info, context_of
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import GraphField, argument, graph_field, list_of, optional, source_field
from app.graph.filtering import Condition
from app.graph.making import create_type
from app.graph.pricing import LIST_SIZE
from app.graph.registry import ENTITIES, TYPES, EntityType, Named
from db.session import Reading

USUAL: Final = 1_000
"""Entries of an answer, where nothing is said."""
MOST: Final = 10_000
"""Most entries of an answer, and of an export."""
JOURNALS: Final[Mapping[str, EntityType]] = {
    kind.__name__: ENTITIES[kind.__name__] for kind in (ChangeRecord, AuditLog)
}
"""What the trail is made of, by the names of the types."""


@dataclass(frozen=True)
class Period:
    """From when, included, to when, excluded; None for no bound."""

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise BadUserInput("`from` is later than `to`. Swap them.", "from")

    def holds(self, at: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
        """The conditions on a time."""
        since = [] if self.since is None else [at >= self.since]
        return since if self.until is None else [*since, at < self.until]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: when it happened, and in which journal its row is."""

    at: datetime
    journal: str
    row_id: UUID


async def newest(
    reading: Reading, seen: Callable[[EntityType], Sequence[Condition]], period: Period, first: int
) -> list[Entry]:
    """The entries of the trail, the newest first, by one statement; `seen` says which rows of a journal may be in it.

    Each journal is read along its index by time, no farther than the answer may reach into it.
    """
    # In the text, not as a parameter: Postgres plans a prepared statement for the size that it knows.
    size: ColumnElement[int] = literal_column(str(first))
    branches = []
    for name, entity in JOURNALS.items():
        at, row_id = entity.table.c.timestamp, entity.table.c.id
        branch = select(at.label("at"), literal_column(f"'{name}'").label("journal"), row_id.label("id"))
        branch = branch.where(*seen(entity), *period.holds(at)).order_by(at.desc(), row_id.desc()).limit(size)
        branches.append(select(branch.subquery(entity.table.name)))
    both = union_all(*branches).subquery("trail")
    statement = select(both).order_by(both.c.at.desc(), both.c.id.desc()).limit(size)
    return [Entry(row.at, row.journal, row.id) for row in await reading.rows(statement)]


async def _resolve(_root: Any, info: Info, first: int = USUAL, **arguments: Any) -> list[Entry]:
    context = context_of(info)
    for name in JOURNALS:
        if not context.actor.may_read(name):
            raise Forbidden(READ_PERMISSION[name])
    if not 1 <= first <= MOST:
        raise BadUserInput(f"`first` is {first}; the trail has 1 to {MOST:,} entries an answer.", "first")
    period = Period(arguments.get("from"), arguments.get("to"))
    return await newest(context.reading, context.reader.visible, period, first)


def _row(name: str, journal: str, description: str) -> GraphField:
    def resolve(entry: Entry, info: Info) -> Any:
        if entry.journal != journal:
            return None
        return context_of(info).loaders.row(JOURNALS[journal]).load(entry.row_id)

    return graph_field(name, optional(Named(journal)), description, resolve)


TYPES["AuditTrailEntry"] = create_type(
    "AuditTrailEntry",
    [
        source_field("at", datetime, "When it happened.", lambda entry, _info: entry.at),
        _row("change_record", "ChangeRecord", "The change, if it is one."),
        _row("audit_log", "AuditLog", "The entry of the journal of security, if it is one."),
    ],
    description="One entry of the audit trail: either a change or an entry of the journal of security (AUD-5).",
)

audit_trail: Final = graph_field(
    "audit_trail",
    list_of(Named("AuditTrailEntry")),
    "Changes and entries of the journal of security as one list, the newest first (AUD-5): the rows that the lists"
    f" `changeRecords` and `auditLogs` have. Needs `{READ_PERMISSION['ChangeRecord']}` and"
    f" `{READ_PERMISSION['AuditLog']}`. By day, and as a file: `GET /v1/exports/audit-trail`.",
    _resolve,
    [
        argument("from_", optional(datetime), "Only from this time on."),
        argument("to", optional(datetime), "Only before this time."),
        argument("first", int, f"How many entries, 1 to {MOST:,}.", USUAL),
    ],
)
audit_trail.metadata = MappingProxyType({LIST_SIZE: USUAL})
