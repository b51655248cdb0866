"""Change records: appending to a tenant's chain, and verifying it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from db.base import ENTITY_NAMES, JsonObject
from db.canonical import GENESIS, SAFE_INTEGER, is_simple, serialized
from db.enums import ActorType, ChangeRecordType
from db.ids import EPOCH, created_at, new_id
from db.logs.checks import check_timestamp, no_counters
from db.logs.sending import Fetch, fetch_by
from db.rows import UpdateOfSeveral

_CONTENT: Final = {
    "id": "uuid",
    "tenant_id": "uuid",
    "type": "text",
    "actor_type": "text",
    "actor_id": "uuid",
    "target_entity": "text",
    "target_id": "uuid",
    "before_state": "jsonb",
    "after_state": "jsonb",
    "reason": "text",
    "evidence_links": "text[]",
    "timestamp": "timestamptz",
    "project_id": "uuid",
    "instance_id": "uuid",
    "version_id": "uuid",
    "summary": "text",
    "idempotency_key": "text",
    "caused_by_id": "uuid",
    "metadata": "jsonb",
}

CONTENT_FIELDS: Final = tuple(_CONTENT)
"""Columns of a change record that its content hash covers: all but `created_at`, which the id carries, and the chain's
own. The canonical text is the RFC 8785 form of one object with exactly these keys, absent values as null; ids as
hyphenated lower-case text, `timestamp` in UTC as `2026-01-31T12:00:00.000Z`. Whole numbers beyond 2^53 count as the
double next to them, as they do to every reader of JSON that follows RFC 8785."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDraft:
    """A change record before it has its number. The names are the columns' (db/models/audit.py).

    `timestamp` is when the change took effect; the row counts as made at the time that `id` carries. Raises ValueError
    for an unknown `target_entity`, a timestamp without a zone, and a SYSTEM actor with an id.
    """

    type: ChangeRecordType
    actor_type: ActorType
    target_entity: str
    target_id: UUID
    actor_id: UUID | None = None
    before_state: JsonObject | None = None
    after_state: JsonObject | None = None
    reason: str | None = None
    evidence_links: Sequence[str] | None = None
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    project_id: UUID | None = None
    instance_id: UUID | None = None
    version_id: UUID | None = None
    summary: str | None = None
    idempotency_key: str | None = None
    caused_by_id: UUID | None = None
    metadata: JsonObject | None = None
    id: UUID = field(default_factory=new_id)

    def __post_init__(self) -> None:
        """Check what the database would refuse less clearly."""
        if self.target_entity not in ENTITY_NAMES:
            raise ValueError(f"target_entity {self.target_entity!r} is no GraphQL type name of a table.")
        if self.actor_type is ActorType.SYSTEM and self.actor_id is not None:
            raise ValueError("actor_id must be absent where actor_type is SYSTEM.")
        check_timestamp(self.timestamp)


FIRST_OF_UPDATE: Final = 5
"""The first parameter of an update beside the records' own."""


class AppendedChange(NamedTuple):
    """What a change record got when it was appended."""

    id: UUID
    seq: int
    hash: str


_STORED: Final = f"""
INSERT INTO change_records ({", ".join(_CONTENT)}, created_at, content_hash, seq, prev_hash, hash)
SELECT {", ".join(f"content.{name}" for name in _CONTENT)}"""
_COLUMNS: Final = ", ".join(f"{name} {kind}" for name, kind in _CONTENT.items())
_ONE: Final = f"""
head AS (
    UPDATE gateway.tenant_counters
    SET change_prev_hash = change_hash,
        change_hash = gateway.link(change_hash, change_seq + 1, $3),
        change_seq = change_seq + 1
    WHERE tenant_id = $1{{condition}}
    RETURNING change_seq, change_prev_hash, change_hash
)
{_STORED}, $4::timestamptz, $3, head.change_seq, head.change_prev_hash, head.change_hash
FROM head CROSS JOIN LATERAL jsonb_to_record($2::text::jsonb) AS content ({_COLUMNS})
RETURNING id, seq, hash
"""
"""Of the tenant, and a record's canonical text, its hash and when it was made; most commands have one."""
_SEVERAL: Final = f"""
head AS (
    UPDATE gateway.tenant_counters
    SET change_prev_hash = change_hash,
        change_hash = gateway.chain_head(change_hash, change_seq, $3::text[]),
        change_seq = change_seq + cardinality($3::text[])
    WHERE tenant_id = $1{{condition}}
    RETURNING change_prev_hash, change_seq - cardinality($3::text[]) AS base
)
{_STORED}, given.created_at, given.content_hash, link.seq, link.prev_hash, link.hash
FROM head
CROSS JOIN LATERAL gateway.chain(head.change_prev_hash, head.base, $3::text[]) AS link
JOIN unnest($2::text[], $3::text[], $4::timestamptz[])
    WITH ORDINALITY AS given (canonical, content_hash, created_at, ord) USING (ord)
CROSS JOIN LATERAL jsonb_to_record(given.canonical::jsonb) AS content ({_COLUMNS})
RETURNING id, seq, hash
"""
"""The same of several, as arrays."""
_TOGETHER: Final = """
WITH given AS (
    SELECT * FROM unnest({values}) WITH ORDINALITY AS given (canonical, content_hash, created_at, {names}, ord)
), held AS MATERIALIZED (
    {hold}
), changed AS (
    {store}
    RETURNING held.ord, held.canonical, held.content_hash, held.created_at
), told AS (
    SELECT array_agg(content_hash ORDER BY ord) AS hashes, count(*) AS number FROM changed
), head AS (
    UPDATE gateway.tenant_counters
    SET change_prev_hash = change_hash,
        change_hash = gateway.chain_head(change_hash, change_seq, (SELECT hashes FROM told)),
        change_seq = change_seq + (SELECT number FROM told)
    WHERE tenant_id = $1 AND EXISTS (SELECT FROM changed)
    RETURNING change_prev_hash, change_seq - (SELECT number FROM told) AS base
)
{stored}, record.created_at, record.content_hash, link.seq, link.prev_hash, link.hash
FROM head
CROSS JOIN LATERAL gateway.chain(head.change_prev_hash, head.base, (SELECT hashes FROM told)) AS link
JOIN (SELECT *, row_number() OVER (ORDER BY ord) AS place FROM changed) AS record ON record.place = link.ord
CROSS JOIN LATERAL jsonb_to_record(record.canonical::jsonb) AS content ({columns})
RETURNING id, seq, hash
"""
"""Records of several commands, each with the one row that it changes, and without it nothing."""


async def append_change_records(
    connection: AsyncConnection, tenant_id: UUID, records: Sequence[ChangeDraft]
) -> list[AppendedChange]:
    """Append records to a tenant's chain, in their order, with one statement; the last one before the commit.

    What is stored is read from the very text that is hashed, so that a row always vouches for itself. Raises
    LookupError where the tenant does not exist or is not the connection's, ValueError for a state that is no JSON (NaN,
    lone surrogates), and SQLAlchemy's IntegrityError for an idempotency key that was used before. (AUD-3, decision 2)
    """
    return await append_change_records_by(fetch_by(connection), tenant_id, records)


async def append_change_records_by(
    fetch: Fetch, tenant_id: UUID, records: Sequence[ChangeDraft]
) -> list[AppendedChange]:
    """The same on the driver's own connection; raises asyncpg's errors."""
    if not records:
        return []
    return _appended(await fetch(_statement(len(records) == 1), *_arguments(tenant_id, records)), tenant_id)


async def append_with_update(
    fetch: Fetch,
    tenant_id: UUID,
    records: Sequence[ChangeDraft],
    update: str,
    arguments: Sequence[Any],
) -> list[AppendedChange]:
    """As `append_change_records_by`, and in the same statement an update of a row that is locked already, without which
    nothing is appended.

    `update` has $1 for the tenant and FIRST_OF_UPDATE and up for `arguments`. Raises asyncpg's errors.
    """
    sql = _statement(len(records) == 1, update)
    return _appended(await fetch(sql, *_arguments(tenant_id, records), *arguments), tenant_id)


async def append_with_updates(
    fetch: Fetch,
    tenant_id: UUID,
    records: Sequence[ChangeDraft],
    update: UpdateOfSeveral,
    arguments: Sequence[Sequence[Any]],
) -> list[AppendedChange | None]:
    """Append a record of each of several rows, and store their changes, with one statement; `arguments` are the rows',
    as `update` has them.

    None where a row is no longer what it was read as, or somebody else holds it: of that nothing is stored. Raises
    asyncpg's errors.
    """
    values = [list(column) for column in zip(*arguments, strict=True)]
    rows = await fetch(_together(update), tenant_id, *_columns(tenant_id, records), *values)
    found = {one.id: one for one in map(AppendedChange._make, rows)}
    return [found.get(record.id) for record in records]


@lru_cache(maxsize=500)
def _together(update: UpdateOfSeveral) -> str:
    kinds = ("text", "text", "timestamptz", *update.kinds)
    return _TOGETHER.format(
        values=", ".join(f"${number}::{kind}[]" for number, kind in enumerate(kinds, 2)),
        names=", ".join(["id", *(f"v{number}" for number in range(len(update.kinds) - 2)), "version"]),
        hold=update.hold,
        store=update.store,
        stored=_STORED,
        columns=_COLUMNS,
    )


@lru_cache(maxsize=500)
def _statement(is_one: bool, update: str | None = None) -> str:
    append = _ONE if is_one else _SEVERAL
    if update is None:
        return f"WITH {append.format(condition='')}"
    # Where the update finds no row, no number is taken and nothing recorded.
    condition = " AND EXISTS (SELECT FROM changed)"
    return f"WITH changed AS ({update} RETURNING 1), {append.format(condition=condition)}"


def _arguments(tenant_id: UUID, records: Sequence[ChangeDraft]) -> tuple[Any, ...]:
    columns = _columns(tenant_id, records)
    return tenant_id, *(columns if len(records) > 1 else (column[0] for column in columns))


def _columns(tenant_id: UUID, records: Sequence[ChangeDraft]) -> tuple[list[Any], ...]:
    """Their canonical texts, the hashes of these, and when they were made."""
    texts = [_text(record, tenant_id) for record in records]
    return (
        [one.decode() for one in texts],
        [hashlib.sha256(one).hexdigest() for one in texts],
        [created_at(record.id) for record in records],
    )


def _appended(rows: Iterable[Sequence[Any]], tenant_id: UUID) -> list[AppendedChange]:
    appended = sorted((AppendedChange._make(row) for row in rows), key=lambda one: one.seq)
    if not appended:
        raise no_counters(tenant_id)
    return appended


def known_columns(record: ChangeDraft, appended: AppendedChange) -> dict[str, Any]:
    """What is known of the row of a record that was appended, without reading it."""
    return {**_fields(record), "created_at": created_at(record.id), "seq": appended.seq, "hash": appended.hash}


def content_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a change record's canonical text, lower-case hex. `record` has the values of CONTENT_FIELDS.

    Raises ValueError where a value is no JSON.
    """
    return hashlib.sha256(_canonical(record)).hexdigest()


def _fields(record: ChangeDraft) -> dict[str, Any]:
    return {name: getattr(record, name) for name in CONTENT_FIELDS if name != "tenant_id"}


_OPEN: Final = ("before_state", "after_state", "evidence_links", "metadata")
"""What of a draft may hold whatever JSON does; the rest are ids, enums and texts, and `timestamp`."""
_CLOSED: Final = tuple(name for name in CONTENT_FIELDS if name not in (*_OPEN, "tenant_id", "timestamp"))
_closed: Final[Callable[[ChangeDraft], tuple[Any, ...]]] = attrgetter(*_CLOSED)


def _text(record: ChangeDraft, tenant_id: UUID) -> bytes:
    """As `_canonical`; most records hold nothing that orjson would write in another form."""
    held = [(name, value) for name in _OPEN if (value := getattr(record, name)) is not None]
    opened = {**dict.fromkeys(_OPEN), **{name: _plain(value) for name, value in held}}
    if is_simple(opened):
        values = dict(zip(_CLOSED, _closed(record), strict=True))
        own = {"tenant_id": tenant_id, "timestamp": _moment(record.timestamp)}
        with contextlib.suppress(orjson.JSONEncodeError):  # a lone surrogate, of which the other way tells
            return orjson.dumps({**values, **opened, **own}, default=_id_text, option=orjson.OPT_SORT_KEYS)
    return _canonical({**_fields(record), "tenant_id": tenant_id})


def _id_text(value: Any) -> str:
    """The driver's own kind of UUID."""
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(value)


def _canonical(record: Mapping[str, Any]) -> bytes:
    try:
        return serialized({name: _plain(record[name]) for name in CONTENT_FIELDS})
    except UnicodeEncodeError as error:
        raise ValueError("A change record holds a lone surrogate, which is no text.") from error


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if value is None or type(value) is str:  # most are
        return value
    match value:
        case UUID():
            return str(value)
        case StrEnum():
            return value.value
        case str() | bool() | float():
            return value
        case int():
            return value if abs(value) <= SAFE_INTEGER else _as_double(value)
        case datetime():
            return _moment(value)
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    raise ValueError(f"A change record holds a {type(value).__name__}, which is no JSON value; turn it into one first.")


def _moment(value: datetime) -> str:
    at = value if value.tzinfo is UTC else EPOCH + (value - EPOCH)
    if at.year < 1_000:  # written as three digits or fewer, as the records of such times have been from the beginning
        return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("A change record holds a whole number too large for JSON (above 1.8e308).") from None


class ChainHead(NamedTuple):
    """Number and hash of a change record that others follow."""

    seq: int
    hash: str


class ChainFault(NamedTuple):
    """Where a chain is broken."""

    seq: int
    problem: str


def verify_chain(
    rows: Iterable[Mapping[str, Any]], *, after: ChainHead | None = None, head: ChainHead | None = None
) -> list[ChainFault]:
    """Every fault of a tenant's change records, given by `seq` ascending, with all columns; none means unbroken.

    `after` is the record before the first given one; without it the chain must begin at 1. `head` is what the last one
    must be, so that a cut end shows. Reads nothing but its arguments: an auditor need not trust the database. (AUD-3)
    """
    seq, previous = after or ChainHead(0, GENESIS)
    faults = []
    for row in rows:
        seq += 1
        if row["seq"] != seq:
            faults.append(ChainFault(row["seq"], f"Number {seq} is due here: records are missing, doubled or moved."))
            seq = row["seq"]
        if row["prev_hash"] != previous:
            faults.append(ChainFault(seq, "It does not follow the record before it."))
        if row["content_hash"] != content_hash(row):
            faults.append(ChainFault(seq, "Its content is not what was recorded."))
        if row["hash"] != _link(row["prev_hash"], seq, row["content_hash"]):
            faults.append(ChainFault(seq, "Its hash is not that of its number, content and predecessor."))
        previous = row["hash"]
    if head is not None and ChainHead(seq, previous) != head:
        faults.append(ChainFault(seq, f"The chain should end at number {head.seq} with the hash {head.hash}."))
    return faults


def _link(previous: str, seq: int, content: str) -> str:
    """The same as gateway.link in Postgres."""
    return hashlib.sha256(bytes.fromhex(previous) + seq.to_bytes(8, signed=True) + bytes.fromhex(content)).hexdigest()
