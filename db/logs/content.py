"""What a change record says, and the canonical text of it that is hashed (AUD-3, decision 2)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import orjson

from db.base import ENTITY_NAMES, JsonObject
from db.canonical import SAFE_INTEGER, is_simple, serialized
from db.enums import ActorType, ChangeRecordType
from db.ids import EPOCH, new_id
from db.logs.checks import check_timestamp

CONTENT: Final = {
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
"""Columns that say something, with the types as which Postgres reads them from the canonical text."""
CONTENT_FIELDS: Final = tuple(CONTENT)
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


def content_hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a change record's canonical text, lower-case hex. `record` has the values of CONTENT_FIELDS.

    Raises ValueError where a value is no JSON.
    """
    return hashlib.sha256(_canonical(record)).hexdigest()


_DRAFTED: Final = tuple(name for name in CONTENT_FIELDS if name != "tenant_id")
"""What a draft knows of it: all but its tenant."""
_drafted: Final[Callable[[ChangeDraft], tuple[Any, ...]]] = attrgetter(*_DRAFTED)
_OPEN: Final = ("before_state", "after_state", "evidence_links", "metadata")
"""What of that may hold whatever JSON does; the rest are ids, enums and texts, and `timestamp`."""


def fields_of(record: ChangeDraft) -> dict[str, Any]:
    """The values of CONTENT_FIELDS but for the tenant."""
    return dict(zip(_DRAFTED, _drafted(record), strict=True))


def text_of(record: ChangeDraft, tenant_id: UUID) -> bytes:
    """The canonical text of a draft, in UTF-8. Raises ValueError where a value is no JSON.

    Most records hold nothing that orjson would write in another form than RFC 8785.
    """
    content = {**fields_of(record), "tenant_id": tenant_id}
    opened = {name: _plain(content[name]) for name in _OPEN}
    if is_simple(opened):
        written = {**content, **opened, "timestamp": _moment(record.timestamp)}
        with contextlib.suppress(orjson.JSONEncodeError):  # a lone surrogate, of which the other way tells
            return orjson.dumps(written, default=_id_text, option=orjson.OPT_SORT_KEYS)
    return _canonical(content)


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
