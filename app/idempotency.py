"""Idempotency keys: the same key and input give the first result; another input is a conflict (decision 33)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from db.base import JsonObject
from db.models.gateway import IdempotencyKey

LIFETIME: Final = timedelta(hours=24)
"""How long a key is remembered."""
LONGEST_KEY: Final = 200
"""Most characters of a key."""


@dataclass(frozen=True)
class Key:
    """A key as it came with an input."""

    operation: str
    text: str
    input_hash: str

    @classmethod
    def of(cls, operation: str, text: str, given: dict[str, Any]) -> Key:
        """The key of an operation's input, the key itself left out; members of objects may stand in any order.

        RFC 8785 would refuse numbers beyond 53 bits, which an input may have, and knows no times.
        """
        canonical = json.dumps(given, sort_keys=True, separators=(",", ":"), default=str)
        return cls(operation, text, hashlib.sha256(canonical.encode()).hexdigest())


@dataclass(frozen=True)
class Claim:
    """The key was used before: this is what came of it."""

    outcome: Done | Refused


async def claim(session: AsyncSession, actor: Actor, key: Key) -> Claim | None:
    """Take the key for this transaction, or learn what it led to.

    A second transaction with the same key waits here until the first has ended.
    """
    row = {
        "tenant_id": actor.tenant_id,
        "principal": _principal(actor),
        "operation": key.operation,
        "key": key.text,
        "input_hash": key.input_hash,
        "expires_at": datetime.now(UTC) + LIFETIME,
    }
    fresh = insert(IdempotencyKey).values(row)
    taken = fresh.on_conflict_do_update(
        index_elements=["tenant_id", "principal", "operation", "key"],
        set_={"input_hash": fresh.excluded.input_hash, "expires_at": fresh.excluded.expires_at, "result": None},
        where=IdempotencyKey.expires_at < func.now(),
    ).returning(IdempotencyKey.key)
    if (await session.execute(taken)).first() is not None:
        return None
    return _known((await session.execute(select(IdempotencyKey).where(*_is(actor, key)))).scalar_one(), key)


def _known(known: IdempotencyKey, key: Key) -> Claim:
    if known.input_hash != key.input_hash:
        message = "The idempotency key was used with another input. Use a new key for a new request."
        return Claim(Refused(Refusal.CONFLICT, message, "idempotency_key"))
    result = known.result or {}
    ids = _uuid(result.get("change_id")), _uuid(result.get("row_id"))
    refused = [Refused(Refusal(one["code"]), one["message"], one["field"]) for one in result.get("refused", [])]
    return Claim(Done(None, result.get("extras", {}), *ids, is_replay=True, refused=refused))


async def claim_anywhere(session: AsyncSession, actor: Actor, key: Key) -> Claim | None:
    """What a key of the platform's led to, in whichever tenant; for commands that make the tenant they write to.

    A second transaction with the same key waits here until the first has ended. `keep_in` remembers the result.
    """
    principal = _principal(actor)
    await session.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"{principal} {key.operation} {key.text}", 0)))
    )
    known = await session.scalar(
        select(IdempotencyKey).where(
            IdempotencyKey.principal == principal,
            IdempotencyKey.operation == key.operation,
            IdempotencyKey.key == key.text,
            IdempotencyKey.expires_at >= func.now(),
        )
    )
    return None if known is None else _known(known, key)


async def keep_in(session: AsyncSession, tenant_id: UUID, actor: Actor, key: Key, outcome: Done) -> None:
    """Remember the result of a command of the platform with the tenant that it wrote to."""
    values = {"input_hash": key.input_hash, "expires_at": datetime.now(UTC) + LIFETIME, "result": _result(outcome)}
    names = {
        "tenant_id": tenant_id,
        "principal": _principal(actor),
        "operation": key.operation,
        "key": key.text,
    }
    kept = (
        insert(IdempotencyKey).values(**names, **values).on_conflict_do_update(index_elements=list(names), set_=values)
    )
    await session.execute(kept)


async def keep(session: AsyncSession, actor: Actor, key: Key, outcome: Done | Refused) -> None:
    """Remember a result with its key; a refusal frees the key."""
    if isinstance(outcome, Refused):
        await session.execute(delete(IdempotencyKey).where(*_is(actor, key)))
        return
    await session.execute(update(IdempotencyKey).where(*_is(actor, key)).values(result=_result(outcome)))


def _result(outcome: Done) -> JsonObject:
    row: Any = outcome.row
    return {
        "row_id": None if row is None else str(row.id),
        "change_id": None if outcome.change_id is None else str(outcome.change_id),
        "extras": outcome.extras,
        "refused": [{"code": one.code, "message": one.message, "field": one.field} for one in outcome.refused],
    }


def _principal(actor: Actor) -> str:
    return f"{actor.kind.value}:{actor.id}"


def _is(actor: Actor, key: Key) -> tuple[Any, ...]:
    return (
        IdempotencyKey.tenant_id == actor.tenant_id,
        IdempotencyKey.principal == _principal(actor),
        IdempotencyKey.operation == key.operation,
        IdempotencyKey.key == key.text,
    )


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
