"""How each kind of column is read from Postgres, and written into an answer.

What is read is what costs least in sum: an id as its sixteen bytes, a time as the microseconds that it is stored as,
money as the double that the API shows. What is written is, for each kind, what the scalars of the kit write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final
from uuid import UUID

import orjson
from graphql import GraphQLEnumType, GraphQLNamedType
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Integer,
    LargeBinary,
    Numeric,
    Text,
    Uuid,
    cast,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from db.base import EnumText

Write = Callable[[Any], Any]
_TOO_DEEP: Final = "Recursion limit reached"
"""What orjson says of a value of more than 254 levels."""


class Impossible(Exception):
    """The selection has something that only the reference way can say."""


class Differently(Exception):
    """A request, or what was read for it, is not as it should be: the reference way is to answer it, and to say so."""


def dumps(value: Any) -> bytes:
    """The value's JSON. Raises Differently for what is nested deeper than the library goes."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        if is_too_deep(error):
            raise Differently("JSON that is nested too deeply") from None
        raise


def is_too_deep(error: TypeError) -> bool:
    """Whether the library refused to write a value for its depth."""
    return str(error) == _TOO_DEEP


def read(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column as it is read for an answer."""
    match column.type:
        case Uuid():
            return func.uuid_send(column, type_=LargeBinary())
        case TIMESTAMP():
            return func.timestamptz_send(column, type_=LargeBinary())
        case Double():
            return column
        case Numeric():
            return cast(column, Double())
        case JSONB():
            return as_stored(column)
    return column


def as_stored(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The column as the ORM's rows have it, but for JSON, which is text whatever the connection makes of it."""
    return cast(column, Text()) if isinstance(column.type, JSONB) else column


def from_row(column: Column[Any], *, is_stored: bool) -> Callable[[Any], Any] | None:
    """What makes of a row's attribute what `read` gives of the column, or `as_stored`; None where the attribute may not
    be the very value that Postgres has: money is rounded there, and JSON put in another order."""
    match column.type:
        case Uuid():
            return as_it_is if is_stored else _bytes
        case TIMESTAMP():
            return as_it_is if is_stored else _microseconds
        case EnumText():
            return _value
        case Text() | Integer() | Boolean():
            return as_it_is
    return None


def as_it_is(value: Any) -> Any:
    """The value."""
    return value


def _bytes(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes


def _value(value: Enum | None) -> Any:
    return None if value is None else value.value


def _microseconds(value: datetime | None) -> bytes | None:
    return None if value is None else ((value - _2000_UTC) // _MICROSECOND).to_bytes(8, signed=True)


def writer(column: Column[Any], kind: GraphQLNamedType, *, is_list: bool) -> Write | None:
    """What makes the answer's value of what `read` gave; None where that is the value already.

    Raises Impossible for a pair of column and type that is not known here.
    """
    match column.type, kind.name:
        case TIMESTAMP(), "DateTime":
            return write_time
        case ((Numeric() | Double()), "Float"):
            return _finite
        case BigInteger(), "Seq":
            return _text
        case JSONB(), "JSON":
            return _json_list if is_list else parse_json
        case Integer(), "Int" if not isinstance(column.type, BigInteger):
            return None
        case Boolean(), "Boolean":
            return None
        case EnumText(enumeration=enumeration), _ if isinstance(kind, GraphQLEnumType):
            return _enum(enumeration, kind)
        case ARRAY(item_type=EnumText(enumeration=enumeration)), _ if isinstance(kind, GraphQLEnumType):
            names = _enum(enumeration, kind)
            return _full if names is None else lambda values: _full(values) and [names(value) for value in values]
        case ARRAY(item_type=Text()), "String":
            return _full
        case Text(), "String":
            return None
    raise Impossible(f"{column} as {kind.name}")


def plain_writer(column: Column[Any]) -> tuple[ColumnElement[Any], Write | None]:
    """How a column is read for a cursor, and what makes the cursor's value of it."""
    match column.type:
        case Uuid():
            return read(column), bytes.hex
        case TIMESTAMP():
            return read(column), write_time
        case Double():
            return column, None
        case Numeric():
            return column, lambda value: None if value is None else str(value)
    return column, None


def _enum(enumeration: Any, kind: GraphQLEnumType) -> Write | None:
    names: Mapping[str, Any] = {member.value: kind.serialize(member.value) for member in enumeration}
    if all(value == name for value, name in names.items()):
        return None
    return lambda value: None if value is None else names[value]


# --- Times ------------------------------------------------------------------------------------------------------------

_MILLISECONDS: Final = 60_000
_MOST_MINUTES: Final = 10_000
"""Minutes whose text is kept, some 150 bytes each."""
_2000: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - Postgres counts from here, in UTC
_2000_UTC: Final = _2000.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class _Minutes(dict[int, str]):
    def __missing__(self, minute: int) -> str:
        if len(self) >= _MOST_MINUTES:
            self.clear()
        try:
            text = (_2000 + timedelta(minutes=minute)).isoformat(timespec="minutes") + ":"
        except OverflowError:
            raise Differently("a time beyond the calendar") from None
        self[minute] = text
        return text


_minutes: Final = _Minutes()
_seconds: Final = [f"{second:02}." for second in range(60)]
_thousandths: Final = [f"{thousandth:03}Z" for thousandth in range(1000)]


def write_time(stored: bytes | None) -> str | None:
    """A timestamp's text: what `format_datetime` writes, of the microseconds since 2000."""
    if stored is None:
        return None
    minute, rest = divmod(int.from_bytes(stored, "big", signed=True) // 1000, _MILLISECONDS)
    return _minutes[minute] + _seconds[rest // 1000] + _thousandths[rest % 1000]


# --- The others -------------------------------------------------------------------------------------------------------


def _finite(value: float | None) -> float | None:
    if value is not None and value - value != 0:
        raise Differently("a number that is none")
    return value


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _full(values: Sequence[Any] | None) -> Sequence[Any] | None:
    if values is not None and None in values:
        raise Differently("a null in a list that has none")
    return values


def parse_json(text: str | None) -> Any:
    """The value of a JSON column."""
    return None if text is None else orjson.loads(text)


def _json_list(text: str | None) -> Any:
    values = parse_json(text)
    if values is not None and (not isinstance(values, list) or None in values):
        raise Differently("JSON that is not the list that it should be")
    return values


def stored(column: Column[Any], value: Any) -> Any:
    """A column's value as the ORM's rows have it, of what `as_stored` gave; but for enums, which stay text."""
    return parse_json(value) if isinstance(column.type, JSONB) else value
