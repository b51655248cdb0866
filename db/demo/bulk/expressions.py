"""SQL expressions that make reproducible rows: a number goes in, and always the same value comes out."""

from __future__ import annotations


def uuid_of(at: str, kind: str, number: str) -> str:
    """The UUIDv7 of the time `at` (milliseconds) whose random bits follow from the kind of row and its number."""
    digest = f"md5('{kind}' || {number})"
    return (
        f"(lpad(to_hex(floor(extract(epoch FROM {at}) * 1000)::bigint), 12, '0')"
        f" || '7' || substr({digest}, 1, 3) || '8' || substr({digest}, 4, 15))::uuid"
    )


def drawn(number: str, salt: int, count: str | int) -> str:
    """A whole number from 0 to `count` - 1, drawn by the number and a salt."""
    return f"(abs(hashint8extended(({number})::bigint, {salt}) % ({count})::bigint))::int"


def one_of(array: str, number: str, salt: int) -> str:
    """An element of an array of text, drawn."""
    return f"({array})[1 + {drawn(number, salt, f'cardinality({array})')}]"


def milliseconds(count: str) -> str:
    """An interval."""
    return f"(({count}) * interval '1 millisecond')"
