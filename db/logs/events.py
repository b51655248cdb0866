"""Op events: appending in batches, each event once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import compress, islice
from operator import attrgetter
from os import urandom
from typing import Any, Final, NamedTuple
from uuid import UUID

from asyncpg.pgproto import pgproto
from sqlalchemy.ext.asyncio import AsyncConnection

from db.base import JsonObject
from db.enums import OpEventType
from db.ids import created_at, id_number, milliseconds, new_id
from db.json_text import dump_json
from db.logs.checks import check_timestamp, no_counters
from db.logs.sending import Fetch, fetch_by

CHUNK: Final = 5_000
"""Most op events that one statement appends, so that other writers of the tenant wait milliseconds (decision 7)."""
_NO_INSTANCE: Final = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An op event before it has its number. The names are the columns' (db/models/audit.py).

    With the sender's own `event_id` the row's id follows from tenant, instance, event id and timestamp, so that the
    same event sent again is the same row (decision 5). `id` is for a writer who must name the row before it is stored;
    it carries the time of `timestamp`. Raises ValueError for a timestamp without a zone, and for an `id` beside an
    `event_id` or of another time.
    """

    type: OpEventType
    timestamp: datetime
    instance_id: UUID | None = None
    version_id: UUID | None = None
    project_id: UUID | None = None
    task_id: UUID | None = None
    run_id: UUID | None = None
    tool_call_id: UUID | None = None
    workflow_run_id: UUID | None = None
    change_record_id: UUID | None = None
    payload: JsonObject | None = None
    event_id: str | None = None
    delta_usd: Decimal | None = None
    model: str | None = None
    id: UUID | None = None

    def __post_init__(self) -> None:
        """Check what the database would refuse less clearly."""
        check_timestamp(self.timestamp)
        if self.id is not None and self.event_id is not None:
            raise ValueError("id must be absent where event_id is given: the id follows from it.")
        if self.id is not None and self.id.int >> 80 != milliseconds(self.timestamp):
            raise ValueError("id must carry the time of timestamp; make it with new_id(timestamp).")

    def row_id(self, tenant_id: UUID) -> UUID:
        """The row's id in this tenant: reproducible with an `event_id`, new at every call without one or an `id`."""
        if self.id is not None:
            return self.id
        if self.event_id is None:
            return new_id(self.timestamp)
        return resent_id(tenant_id, self.instance_id, self.event_id, milliseconds(self.timestamp))


def resent_id(tenant_id: UUID, instance_id: UUID | None, event_id: str, since_epoch: int) -> UUID:
    """The id of an event that its sender named: the same for the same event, however often it is sent (decision 5).

    `since_epoch` is its time in milliseconds. The id is asyncpg's own kind of UUID, which is made and sent faster.
    """
    instance = instance_id.bytes if instance_id else _NO_INSTANCE
    digest = hashlib.sha256(tenant_id.bytes + instance + event_id.encode()).digest()
    return pgproto.UUID(id_number(since_epoch, int.from_bytes(digest[-10:])).to_bytes(16))  # type: ignore[no-any-return]


def fresh_id(since_epoch: int) -> UUID:
    """A new id of this time in milliseconds, asyncpg's own kind."""
    return pgproto.UUID(id_number(since_epoch, int.from_bytes(urandom(10))).to_bytes(16))  # type: ignore[no-any-return]


class AppendedEvents(NamedTuple):
    """What became of a batch of op events."""

    ids: list[UUID]
    """Id of each event's row, in the order given; the one that was there already for a repeated event."""
    stored: int
    """How many were new."""
    last_seq: int | None
    """Number of the newest of them; absent where none was new."""


class EventColumns:
    """Op events column by column, for whoever writes many: no object an event, and arrays as Postgres takes them.

    `lists` has a list for each column of `EVENT_COLUMNS`, all of one length: ids and times as the row has them (whole
    milliseconds), types and payloads as text. No id may be there twice.
    """

    __slots__ = ("lists", "may_repeat")

    def __init__(self) -> None:
        self.lists: dict[str, list[Any]] = {name: [] for name in EVENT_COLUMNS}
        self.may_repeat = False
        """Whether one of them has its sender's event id, so that it may be in the log already."""

    def __len__(self) -> int:
        return len(self.lists["id"])

    def extend(self, more: EventColumns, leaving_out: Collection[UUID] = ()) -> None:
        """Put other events behind these; `leaving_out` are ids of some that are not wanted."""
        kept = [row_id not in leaving_out for row_id in more.lists["id"]] if leaving_out else None
        for name, values in self.lists.items():
            values.extend(more.lists[name] if kept is None else compress(more.lists[name], kept))
        self.may_repeat |= more.may_repeat


class AppendedColumns(NamedTuple):
    """What became of a batch of columns."""

    repeated: frozenset[UUID]
    """Ids of the events that were in the log already."""
    last_seq: int | None
    """Number of the newest one that was stored; absent where none was new."""


EVENT_COLUMNS: Final = {
    "id": "uuid",
    "type": "text",
    "timestamp": "timestamptz",
    "instance_id": "uuid",
    "version_id": "uuid",
    "project_id": "uuid",
    "task_id": "uuid",
    "run_id": "uuid",
    "tool_call_id": "uuid",
    "workflow_run_id": "uuid",
    "change_record_id": "uuid",
    "payload": "text",
    "event_id": "text",
    "delta_usd": "numeric",
    "model": "text",
}

_AS_DRAFTED: Final = tuple(name for name in EVENT_COLUMNS if name not in ("id", "type", "timestamp", "payload"))
_drafted: Final = attrgetter(*_AS_DRAFTED)
"""What a draft has as the row has it."""

_LOCK_COUNTERS: Final = "SELECT 1 FROM gateway.tenant_counters WHERE tenant_id = $1 FOR UPDATE"
# One look by the primary key for each id (OFFSET keeps the planner from joining in another way): its cost does not
# depend on the size of the log, nor on what the planner believes of it. The bounds name the partitions.
_KNOWN: Final = """
SELECT given.id FROM unnest($2::uuid[]) AS given (id)
CROSS JOIN LATERAL (
    SELECT FROM op_events AS old
    WHERE old.tenant_id = $1 AND old.id = given.id AND old.id BETWEEN $3 AND $4 OFFSET 0
) AS hit"""


@cache
def _append_statement(names: tuple[str, ...]) -> str:
    """Takes numbers and stores events of these columns; the others are empty.

    COPY would be refused: Postgres has none for a table behind row-level security. Arrays cost Postgres some 10 to 20 %
    more (bench/ingest.py): upkeep of the indexes is most of the work either way, and staging by COPY saves nothing that
    is worth a right to make tables. A column that is empty throughout is left out, since each costs every event.
    """
    given = ", ".join(f"${number}::{EVENT_COLUMNS[name]}[]" for number, name in enumerate(names, 3))
    listed = ", ".join(names)
    stored = ", ".join("payload::jsonb" if name == "payload" else name for name in names)
    return f"""
WITH counter AS (
    UPDATE gateway.tenant_counters SET event_seq = event_seq + $2 WHERE tenant_id = $1
    RETURNING event_seq, event_seq - $2 AS base
), stored AS (
    INSERT INTO op_events (tenant_id, {listed}, seq)
    SELECT $1, {stored}, counter.base + given.ord
    FROM counter CROSS JOIN unnest({given}) WITH ORDINALITY AS given ({listed}, ord)
)
SELECT event_seq FROM counter"""


@cache
def _append_one_statement(names: tuple[str, ...]) -> str:
    """The same of one event, as most commands have it: arrays would cost the driver and Postgres several times more."""
    kinds = {**EVENT_COLUMNS, "payload": "text::jsonb"}
    given = ", ".join(f"${number}::{kinds[name]}" for number, name in enumerate(names, 2))
    return f"""
WITH counter AS (
    UPDATE gateway.tenant_counters SET event_seq = event_seq + 1 WHERE tenant_id = $1
    RETURNING event_seq
), stored AS (
    INSERT INTO op_events (tenant_id, {", ".join(names)}, seq)
    SELECT $1, {given}, counter.event_seq FROM counter
)
SELECT event_seq FROM counter"""


def is_one_statement(events: Sequence[EventDraft]) -> bool:
    """Whether `append_op_events` sends no more than one statement for these."""
    return len(events) <= CHUNK and all(event.event_id is None for event in events)


async def append_op_events(
    connection: AsyncConnection, tenant_id: UUID, events: Sequence[EventDraft]
) -> AppendedEvents:
    """Append events, in their order, with one statement for each 5,000; events that are there already are passed over.

    The counter's lock is held until the commit, so a large batch goes in one transaction a chunk: `in_chunks`. Raises
    LookupError where the tenant does not exist or is not the connection's. Whoever calls has checked the ids that the
    events name, and their age (decision 5); an event of a month without a partition is SQLAlchemy's IntegrityError.
    """
    return await append_op_events_by(fetch_by(connection), tenant_id, events)


async def append_op_events_by(fetch: Fetch, tenant_id: UUID, events: Sequence[EventDraft]) -> AppendedEvents:
    """The same on the driver's own connection; raises asyncpg's errors."""
    if len(events) == 1 and events[0].event_id is None:
        return await _append_one(fetch, tenant_id, events[0])
    ids = [event.row_id(tenant_id) for event in events]
    # A client event id twice in one batch: the first one counts.
    distinct: dict[UUID, EventDraft] = {}
    for row_id, event in zip(ids, events, strict=True):
        distinct.setdefault(row_id, event)
    stored, last_seq = 0, None
    for chunk in in_chunks(distinct.items()):
        may_repeat = any(event.event_id is not None for _, event in chunk)
        known, newest = await _append(fetch, tenant_id, _arrays(chunk), may_repeat)
        stored, last_seq = stored + len(chunk) - len(known), newest or last_seq
    return AppendedEvents(ids, stored, last_seq)


async def _append_one(fetch: Fetch, tenant_id: UUID, event: EventDraft) -> AppendedEvents:
    row_id = event.row_id(tenant_id)
    row = {name: value for name, value in _row(row_id, event).items() if value is not None}
    return AppendedEvents([row_id], 1, await _store_one(fetch, tenant_id, row))


async def _store_one(fetch: Fetch, tenant_id: UUID, row: Mapping[str, Any]) -> int:
    """The number of the event."""
    newest = await fetch(_append_one_statement(tuple(row)), tenant_id, *row.values())
    if not newest:
        raise no_counters(tenant_id)
    return int(newest[0][0])


async def append_event_columns(
    connection: AsyncConnection, tenant_id: UUID, events: EventColumns, *, are_new: bool = False
) -> AppendedColumns:
    """Append at most 5,000 events with one statement, and tell which of them were there already.

    `are_new` says that none is, which saves the look and its round trips under the counter's lock; where one is after
    all, nothing is stored and SQLAlchemy's IntegrityError is raised (a unique violation). As `append_op_events`
    otherwise.
    """
    fetch = fetch_by(connection)
    repeated, newest = await _append(fetch, tenant_id, events.lists, events.may_repeat and not are_new)
    return AppendedColumns(repeated, newest)


async def _append(
    fetch: Fetch, tenant_id: UUID, arrays: Mapping[str, list[Any]], may_repeat: bool
) -> tuple[frozenset[UUID], int | None]:
    """Which were there already, and the number of the newest that was stored, if one was."""
    known: frozenset[UUID] = frozenset()
    ids = arrays["id"]
    if may_repeat and ids:
        # Whether an event is there already must be read after the wait for other writers, not before; and before
        # numbers are taken, so that these have no holes.
        if not await fetch(_LOCK_COUNTERS, tenant_id):
            raise no_counters(tenant_id)
        known = frozenset(row[0] for row in await fetch(_KNOWN, tenant_id, ids, min(ids), max(ids)))
        if known:
            is_new = [row_id not in known for row_id in ids]
            arrays = {name: list(compress(values, is_new)) for name, values in arrays.items()}
    count = len(arrays["id"])
    if not count:
        return known, None
    used = tuple(name for name, values in arrays.items() if name == "id" or values.count(None) < count)
    if count == 1:
        return known, await _store_one(fetch, tenant_id, {name: arrays[name][0] for name in used})
    newest = await fetch(_append_statement(used), tenant_id, count, *[arrays[name] for name in used])
    if not newest:
        raise no_counters(tenant_id)
    return known, int(newest[0][0])


def in_chunks(events: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """The events in lists of at most `size`, for one transaction each."""
    rest = iter(events)
    while chunk := list(islice(rest, size)):
        yield chunk


def _arrays(chunk: Sequence[tuple[UUID, EventDraft]]) -> dict[str, list[Any]]:
    rows = [_row(row_id, event) for row_id, event in chunk]
    return {name: [row[name] for row in rows] for name in EVENT_COLUMNS}


def _row(row_id: UUID, event: EventDraft) -> dict[str, Any]:
    """An event's columns of EVENT_COLUMNS."""
    return {
        "id": row_id,
        "type": event.type.value,
        # To the millisecond, as the id has it; Postgres would round up.
        "timestamp": created_at(row_id),
        "payload": None if event.payload is None else dump_json(event.payload),
        **dict(zip(_AS_DRAFTED, _drafted(event), strict=True)),
    }
