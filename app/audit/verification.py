"""`changeLogVerify`: is the change log whole and unaltered? Recomputed from the rows, trusting nothing stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final, cast

import strawberry
from sqlalchemy import Table, select

from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed
from app.graph.scalars import Seq
from db import models
from db.canonical import GENESIS
from db.logs import ChainFault, ChainHead, verify_chain

PERMISSION: Final = "read:change-records"
MOST_RECORDS: Final = 100_000
"""Records of one call; more take several, or `fleetgraph verify-log` on an export."""
_CHUNK: Final = 500
_MOST_FAULTS: Final = 100

_RECORDS: Final = cast("Table", models.ChangeRecord.__table__)
_COUNTERS: Final = cast("Table", models.gateway.TenantCounters.__table__)


@strawberry.type(description="A place where the change log is not what it should be.")
class ChangeLogFault:
    """One fault."""

    seq: Seq = strawberry.field(description="Position of the record at fault.")
    problem: str = strawberry.field(description="What is wrong with it, in a sentence.")


@strawberry.type(description="What a check of the change log found.")
class ChangeLogVerification:
    """The result of `changeLogVerify`."""

    is_valid: bool = strawberry.field(description="Whether every record is there, in order and unaltered.")
    checked: int = strawberry.field(description="Number of records that were looked at.")
    first_seq: Seq = strawberry.field(description="Position where the check began.")
    last_seq: Seq = strawberry.field(description="Position where it ended.")
    head_hash: str = strawberry.field(
        description="Hash of the last record, which vouches for all before it; keep it to check a later log against."
    )
    reaches_head: bool = strawberry.field(description="Whether the check went up to the newest record.")
    faults: list[ChangeLogFault] = strawberry.field(description="What is wrong, at most 100; empty if it is valid.")


@computed(
    "Recompute the hash chain of the tenant's change log between two positions, both included. "
    f"Needs `{PERMISSION}` for the whole tenant; at most {MOST_RECORDS:,} records a call."
)
async def change_log_verify(
    info: strawberry.Info,
    from_: Annotated[
        Seq | None,
        strawberry.argument(name="from", description="First position; the log's beginning if nothing is said."),
    ] = None,
    to: Annotated[Seq | None, strawberry.argument(description="Last position; the newest if nothing is said.")] = None,
) -> ChangeLogVerification:
    """AUD-3, decision 2."""
    context = cast("OperationContext", info.context)
    if not context.actor.scope(PERMISSION).covers():
        raise Forbidden(PERMISSION)
    head = await _head(context)
    last = head.seq if to is None else min(int(to), head.seq)
    first = 1 if from_ is None else int(from_)
    if first < 1:
        raise BadUserInput("`from` is a position of the log: 1 or more.", "from")
    if last - first >= MOST_RECORDS:
        raise BadUserInput(f"`from` and `to` span more than {MOST_RECORDS:,} records. Check them in parts.", "to")
    faults, ended = await _check(context, first, last, head)
    return ChangeLogVerification(
        is_valid=not faults,
        checked=max(0, last - first + 1),
        first_seq=Seq(first),
        last_seq=Seq(last),
        head_hash=ended.hash,
        reaches_head=last == head.seq,
        faults=[ChangeLogFault(seq=Seq(fault.seq), problem=fault.problem) for fault in faults[:_MOST_FAULTS]],
    )


async def _check(
    context: OperationContext, first: int, last: int, head: ChainHead
) -> tuple[list[ChainFault], ChainHead]:
    before = await _records(context, first - 1, first - 1) if first > 1 else []
    after = ChainHead(first - 1, before[0]["hash"] if before else GENESIS)
    faults: list[ChainFault] = []
    for start in range(first, last + 1, _CHUNK):
        end = min(start + _CHUNK - 1, last)
        rows = await _records(context, start, end)
        expected = head if end == head.seq else None
        # Hashing is work: in a thread of its own, so that everybody else is served meanwhile.
        faults += await asyncio.to_thread(verify_chain, rows, after=after, head=expected)
        if len(rows) < end - start + 1 and not faults:
            faults.append(ChainFault(end, "Records are missing here."))
        after = ChainHead(end, rows[-1]["hash"] if rows else after.hash)
    return faults, after


async def _head(context: OperationContext) -> ChainHead:
    statement = select(_COUNTERS.c.change_seq, _COUNTERS.c.change_hash).where(
        _COUNTERS.c.tenant_id == context.actor.tenant_id
    )
    found = await context.reading.rows(statement)
    return ChainHead(found[0].change_seq, found[0].change_hash) if found else ChainHead(0, GENESIS)


async def _records(context: OperationContext, first: int, last: int) -> Sequence[Any]:
    statement = (
        select(*_RECORDS.columns)
        .where(context.reader.tenant(_RECORDS), _RECORDS.c.seq.between(first, last))
        .order_by(_RECORDS.c.seq)
    )
    return [row._mapping for row in await context.reading.rows(statement)]
