"""Row ids: UUIDv7 (RFC 9562), so that ids sort by creation and carry its time in milliseconds."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RANDOM_BITS = 74


def new_id(at: datetime | None = None) -> UUID:
    """A new id, of now or of `at` (an import keeps the time of the original row)."""
    if at is None:
        return uuid7()
    return uuid7(nanoseconds=milliseconds(at) * 1_000_000)


def id_from(at: datetime, random: int) -> UUID:
    """The id of the time `at` whose 74 random bits are given, for rows whose id must be reproducible.

    Op events with a client's event id (decision 5) and the demo fleet are made so.
    """
    return UUID(int=id_number(milliseconds(at), random))


def id_number(since_epoch: int, random: int) -> int:
    """The id of a time in milliseconds as a number of 128 bits, its 74 random bits given."""
    low = random & ((1 << _RANDOM_BITS) - 1)
    return since_epoch << 80 | 0x7 << 76 | (low >> 62) << 64 | 0b10 << 62 | low & ((1 << 62) - 1)


def first_id_at(at: datetime) -> UUID:
    """The smallest id of the millisecond of `at`: rows made at or after `at` have an id not below it.

    No id is older than 1970; the smallest one stands for all of the time before.
    """
    return UUID(int=max(milliseconds(at), 0) << 80)


def first_id_after(at: datetime) -> UUID:
    """The smallest id of the next millisecond: rows made at or before `at` have an id below it."""
    return UUID(int=max(milliseconds(at) + 1, 0) << 80)


def created_at(row_id: UUID) -> datetime:
    """When the row of this id was made, to the millisecond."""
    return EPOCH + timedelta(milliseconds=row_id.int >> 80)


def milliseconds(at: datetime) -> int:
    """Milliseconds since the epoch, rounded down."""
    return (at - EPOCH) // _MILLISECOND
