"""The scalars that GraphQL lacks. Each has one text for a value, on every way to the client."""

from datetime import UTC, datetime
from typing import Final, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

JSON = NewType("JSON", object)
"""Any JSON value, for what the domain leaves open."""
Seq = NewType("Seq", int)
"""A position in a tenant's log."""


def format_datetime(value: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T17:05:00.123Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse_datetime(value: object) -> datetime:
    """The time of an RFC 3339 text, cut to milliseconds as everything stored is."""
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            parsed = None
        if parsed is not None and parsed.tzinfo is not None:
            return parsed.astimezone(UTC).replace(microsecond=parsed.microsecond // 1000 * 1000)
    raise GraphQLError("A DateTime is RFC 3339 text with a time zone, such as 2026-11-23T17:05:00Z.")


def parse_seq(value: object) -> int:
    """The number of a position in a log, given as decimal digits in a string (or as an integer)."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    raise GraphQLError('A Seq is a position in a log, as decimal digits in a string, such as "1042".')


DATE_TIME: Final[ScalarDefinition] = strawberry.scalar(
    name="DateTime",
    description="Point in time: RFC 3339 text in UTC with milliseconds, such as `2026-11-23T17:05:00.123Z`.",
    specified_by_url="https://datatracker.ietf.org/doc/html/rfc3339",
    serialize=format_datetime,
    parse_value=parse_datetime,
)
JSON_VALUE: Final[ScalarDefinition] = strawberry.scalar(
    name="JSON",
    description="Any JSON value (RFC 8259), for what the domain leaves open.",
    specified_by_url="https://datatracker.ietf.org/doc/html/rfc8259",
    serialize=lambda value: value,
    parse_value=lambda value: value,
)
SEQ: Final[ScalarDefinition] = strawberry.scalar(
    name="Seq",
    description=(
        "Position in a tenant's log: decimal digits in a string, since it may exceed 53 bits. "
        "Positions have no holes; subscriptions resume behind one."
    ),
    serialize=str,
    parse_value=parse_seq,
)

SCALARS: Final[dict[object, ScalarDefinition]] = {
    datetime: DATE_TIME,
    JSON: JSON_VALUE,
    Seq: SEQ,
}
"""For StrawberryConfig.scalar_map."""
