"""Change records: appending to a tenant's chain, and verifying it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from db.canonical import GENESIS
from db.ids import created_at
from db.logs.checks import no_counters
from db.logs.content import CONTENT, ChangeDraft, content_hash, fields_of, text_of
from db.logs.sending import Fetch, fetch_by
from db.rows import UpdateOfSeveral

FIRST_OF_UPDATE: Final = 5
"""The first parameter of an update beside the records' own."""


class AppendedChange(NamedTuple):
    """What a change record got when it was appended."""

    id: UUID
    seq: int
    hash: str


_STORED: Final = f"""
INSERT INTO change_records ({", ".join(CONTENT)}, created_at, content_hash, seq, prev_hash, hash)
SELECT {", ".join(f"content.{name}" for name in CONTENT)}"""
_COLUMNS: Final = ", ".join(f"{name} {kind}" for name, kind in CONTENT.items())
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
    texts = [text_of(record, tenant_id) for record in records]
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
    return {**fields_of(record), "created_at": created_at(record.id), "seq": appended.seq, "hash": appended.hash}


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
