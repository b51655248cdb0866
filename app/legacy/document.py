"""A document of a snapshot while it is being mapped, and its values as the columns want them (CVX-3)."""

import enum
import hashlib
import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson
from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Double, Integer, Numeric, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from app.legacy.snapshot import Document
from db.base import EnumText
from db.ids import EPOCH

_SAFE_INTEGER: Final = 2**53
_CENT_FRACTION: Final = Decimal(1).scaleb(-10)
_MONEY_LIMIT: Final = Decimal(10) ** 10
_YEAR_10000: Final = 253_402_300_800_000


class Rejection(Exception):
    """A document that cannot be imported: which field, what it holds, and why that will not do (MIG-0c)."""

    def __init__(self, field: str, value: Any, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.value, self.reason = field, value, reason


class Doc:
    """A document with a memory of which fields were read, so that nothing is dropped unnoticed."""

    __slots__ = ("created", "hash", "id", "table", "used", "values")

    def __init__(self, table: str, document: Document) -> None:
        """Raises Rejection for what Postgres or JSON cannot store: NUL characters, infinite numbers, deep nesting."""
        self.table = table
        self.id: str = document["_id"]
        self.created: datetime = moment("_creationTime", document["_creationTime"])
        try:
            self.values: dict[str, Any] = plain(document)
        except RecursionError:
            raise Rejection("", None, "is nested too deep") from None
        self.hash = hashlib.sha256(orjson.dumps(self.values, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self.used = {"_id", "_creationTime"}

    def take(self, *keys: str) -> Any:
        """The value of the first of these fields that is there and not null. All of them count as read."""
        self.used.update(keys)
        for key in keys:
            if (value := self.values.get(key)) is not None:
                return value
        return None

    def peek(self, key: str) -> Any:
        """The value of a field that stays unread, so that it is kept in the metadata as well."""
        return self.values.get(key)

    def rest(self) -> dict[str, Any]:
        """The fields that nobody read and that hold something."""
        return {key: value for key, value in self.values.items() if key not in self.used and value is not None}


def plain(value: Any) -> Any:
    """The value with whole numbers as integers, so that two exports of one document are equal (CVX-3)."""
    match value:
        case float() if value.is_integer() and abs(value) < _SAFE_INTEGER:
            return int(value)
        case float() if not math.isfinite(value):
            raise Rejection("", str(value), "a number without end cannot be stored")
        case str() if "\x00" in value:
            raise Rejection("", value[:80], "text with a NUL character cannot be stored")
        case dict():
            return {plain(key): plain(one) for key, one in value.items()}
        case list():
            return [plain(one) for one in value]
    return value


def moment(field: str, value: Any) -> datetime:
    """Milliseconds since 1970, rounded down, as a time (MIG-0d)."""
    number = value if isinstance(value, float) else whole(field, value)
    if not 0 <= number < _YEAR_10000:
        raise Rejection(field, value, "is no time in milliseconds since 1970")
    return EPOCH + timedelta(milliseconds=int(number))


def optional_moment(field: str, value: Any) -> datetime | None:
    """As `moment`, and None for nothing."""
    return None if value is None else moment(field, value)


def whole(field: str, value: Any, *, bits: int = 64) -> int:
    """A whole number: 3, 3.0, or the text of an int64."""
    match value:
        case bool():
            pass
        case int() if -(1 << bits - 1) <= value < 1 << bits - 1:
            return value
        case int():
            raise Rejection(field, value, f"is too large for a number of {bits} bits")
        case float() if value.is_integer():
            return whole(field, int(value), bits=bits)
        case str() if value.lstrip("-").isdecimal() and len(value) < 30:
            return whole(field, int(value), bits=bits)
    raise Rejection(field, value, "is no whole number")


def number(field: str, value: Any) -> float:
    """A finite number; the texts NaN and Infinity of a snapshot are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejection(field, value, "is no number")
    return float(value)


def dollars(field: str, value: Any) -> Decimal:
    """An amount of money, exactly as its shortest decimal text reads, to ten places."""
    amount = Decimal(repr(number(field, value)))
    if abs(amount) >= _MONEY_LIMIT:
        raise Rejection(field, value, "is too large for an amount of money")
    return amount.quantize(_CENT_FRACTION)


def words(field: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise Rejection(field, value, "is no text")
    return value


def flag(field: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Rejection(field, value, "is neither true nor false")
    return value


def member(field: str, value: Any, enumeration: type[enum.StrEnum]) -> enum.StrEnum:
    """A value of the enumeration, in whatever case; both spellings of CANCELED are known."""
    if isinstance(value, str):
        spelled = value.strip().upper().replace("-", "_").replace(" ", "_")
        for candidate in (value, spelled, spelled.replace("CANCELLED", "CANCELED")):
            if candidate in enumeration.__members__:
                return enumeration[candidate]
    known = ", ".join(enumeration.__members__)
    raise Rejection(field, value, f"is none of {known}")


def items(field: str, value: Any) -> list[Any]:
    """A list."""
    if not isinstance(value, list):
        raise Rejection(field, value, "is no list")
    return value


def mapping(field: str, value: Any) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise Rejection(field, value, "is no object")
    return value


def iso(at: datetime) -> str:
    """A time as JSON keeps it here: RFC 3339 text in UTC with milliseconds."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def as_column(column: Column[Any], field: str, value: Any) -> Any:
    """The value as this column stores it; None stays None. Raises Rejection where it cannot be."""
    if value is None:
        return None
    match column.type:
        case EnumText() as kind:
            return member(field, value, kind.enumeration)
        case ARRAY() as kind:
            if isinstance(kind.item_type, EnumText):
                enumeration = kind.item_type.enumeration
                return [member(field, one, enumeration) for one in items(field, value)]
            return [words(field, one) for one in items(field, value)]
        case Numeric() if not isinstance(column.type, Double):
            return dollars(field, value)
        case Double():
            return _within(column, field, number(field, value))
        case BigInteger():
            return _within(column, field, whole(field, value))
        case Integer():
            return _within(column, field, whole(field, value, bits=32))
        case Boolean():
            return flag(field, value)
        case JSONB():
            return value
        case Text():
            return words(field, value)
        case TIMESTAMP():
            return moment(field, value)
        case Uuid():
            raise TypeError(f"{column} is a key: give it a rule.")
    raise TypeError(f"No rule for the kind of column {column} has.")


def _within(column: Column[Any], field: str, value: float) -> float:
    if "range" in column.info:
        low, high = column.info["range"]
        if not low <= value <= high:
            raise Rejection(field, value, f"is not between {low} and {high}")
    return value
