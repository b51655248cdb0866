"""Orders and cursors: which columns a list may be sorted by, and where in that order a row stands.

A list is always totally ordered, the id last, so a cursor is the values of one row in that order (a keyset) and stays
right while rows come and go. Null is the greatest value, as in Postgres: last ascending, first descending.
"""

import base64
import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
import strawberry
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Double,
    Integer,
    Numeric,
    Table,
    Uuid,
    and_,
    false,
    or_,
    tuple_,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from strawberry.types.field import StrawberryField

from app.graph.errors import BadUserInput
from app.graph.fields import described_enum, list_of, optional
from app.graph.making import graph_class
from app.graph.registry import TYPES, EntityType, Named
from app.graph.scalars import format_datetime, parse_datetime


class OrderDirection(enum.Enum):
    """Direction of a sort."""

    ASC = "ASC"
    DESC = "DESC"


@dataclass(frozen=True)
class Term:
    """One column of an order."""

    column: Column[Any]
    descending: bool


class Keyset:
    """A total order of a table's rows, and the cursors of it."""

    def __init__(self, terms: Sequence[Term], id_column: Column[UUID]) -> None:
        descending = terms[-1].descending if terms else False
        named = [term for term in terms if term.column is not id_column]
        if len(named) < len(terms):  # nothing behind the id can change the order
            position = next(i for i, term in enumerate(terms) if term.column is id_column)
            named, descending = list(terms[:position]), terms[position].descending
        self.terms = (*named, Term(id_column, descending))
        self.signature = ",".join(f"{term.column.name}{'-' if term.descending else ''}" for term in self.terms)

    def columns(self, reverse: bool) -> list[ColumnElement[Any]]:
        """What to ORDER BY, or its exact reverse."""
        return [term.column.desc() if term.descending is not reverse else term.column.asc() for term in self.terms]

    def cursor(self, row: Any) -> str:
        """The opaque cursor of a row."""
        return encode_cursor(self.signature, *(_plain(getattr(row, term.column.name)) for term in self.terms))

    def parse(self, cursor: str, argument: str) -> list[Any]:
        """The values of a cursor; BAD_USER_INPUT where it is none, or one of a list in another order."""
        try:
            signature, *texts = _decoded(cursor)
            if signature == self.signature and len(texts) == len(self.terms):
                return [_parsed(value, term.column) for value, term in zip(texts, self.terms, strict=True)]
        except (ValueError, TypeError, AttributeError, ArithmeticError):
            raise BadUserInput(
                f"`{argument}` is not a cursor of this API. Take `endCursor` or `startCursor` of a page.", argument
            ) from None
        raise BadUserInput(
            f"`{argument}` is the cursor of a list in another order. Keep `orderBy` the same from page to page.",
            argument,
        )

    def beyond(self, values: Sequence[ColumnElement[Any] | None], backward: bool) -> ColumnElement[bool]:
        """The condition of rows that come after a cursor's row, or before it; its values bound, None for a null."""
        ups = [term.descending is backward for term in self.terms]
        if len(set(ups)) == 1 and not any(term.column.nullable for term in self.terms):
            left = tuple_(*(term.column for term in self.terms))
            right = tuple_(*values)
            return left > right if ups[0] else left < right
        alternatives: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for term, value, up in zip(self.terms, values, ups, strict=True):
            alternatives.append(and_(*equal, _beyond(term.column, value, up)))
            equal.append(term.column.is_(None) if value is None else term.column.is_not_distinct_from(value))
        return or_(*alternatives)


def encode_cursor(signature: str, *values: Any) -> str:
    """The cursor of an order and of what a row has in its columns."""
    return base64.urlsafe_b64encode(orjson.dumps([signature, *values])).decode().rstrip("=")


def nulls_of(cursor: str) -> tuple[bool, ...]:
    """Which values of a cursor are null: what of it decides how `Keyset.beyond` reads. Empty where it is no cursor."""
    try:
        return tuple(value is None for value in _decoded(cursor))
    except (ValueError, TypeError, AttributeError):
        return ()


def _decoded(cursor: str) -> list[Any]:
    found: list[Any] = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    return found


def _beyond(column: Column[Any], bound: ColumnElement[Any] | None, up: bool) -> ColumnElement[bool]:
    if bound is None:
        return false() if up else column.is_not(None)
    if not up:
        return column < bound
    return or_(column > bound, column.is_(None)) if column.nullable else column > bound


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case datetime():
            return format_datetime(value)
        case Decimal():
            return str(value)
        case enum.Enum():
            return value.value
    return value


def _parsed(value: Any, column: Column[Any]) -> Any:
    """The column's value of a cursor's text; ValueError or TypeError where it is none."""
    if value is None:
        if not column.nullable:
            raise ValueError
        return None
    kind = column.type
    if isinstance(kind, Boolean | Integer | Double):
        if type(value) not in ((bool,) if isinstance(kind, Boolean) else (int, float)):
            raise ValueError
        return value
    if not isinstance(value, str):
        raise ValueError
    if isinstance(kind, Uuid):
        return UUID(hex=value)
    if isinstance(kind, TIMESTAMP):
        return parse_datetime(value)
    return Decimal(value) if isinstance(kind, Numeric) else value


def indexed_columns(table: Table) -> list[Column[Any]]:
    """The columns that an index of the table begins with, behind the tenant."""
    found: dict[str, Column[Any]] = {}
    for keys in _keys(table):
        names = [column for column in keys if column.name != "tenant_id"]
        if names:
            found.setdefault(names[0].name, names[0])
    return list(found.values())


def _keys(table: Table) -> Iterable[list[Column[Any]]]:
    for one in sorted(table.indexes, key=lambda index: str(index.name)):
        columns = list(one.columns)
        options = one.dialect_options["postgresql"]
        if columns and options["using"] in (False, None, "btree"):
            yield columns


def sortable_columns(entity: EntityType) -> dict[str, Column[Any]]:
    """The values of the entity's order enum: name -> column. The clock sorts by id, which carries it."""
    shown = {column.name: name for name, column in entity.columns.items() if name not in entity.masks}
    columns = {entity.clock.upper(): entity.table.c.id}
    for column in indexed_columns(entity.table):
        if column.name in shown and column.name != entity.clock and not column.info.get("references"):
            columns[shown[column.name].upper()] = column
    return columns


_ORDERS: Final[dict[str, Mapping[str, Column[Any]]]] = {}


def order_type(entity: EntityType) -> Any:
    """The annotation of the entity's `orderBy` argument; makes the types on first use."""
    name = f"{entity.name}Order"
    if name not in TYPES:
        columns = sortable_columns(entity)
        _ORDERS[entity.name] = columns
        field_enum = enum.Enum(f"{entity.name}OrderField", {key: key for key in columns})  # type: ignore[misc]
        field_enum.__doc__ = f"What a list of type {entity.name} may be sorted by: what an index holds in order."
        described_enum(OrderDirection)
        described_enum(field_enum)
        fields: dict[str, StrawberryField] = {
            "field": strawberry.field(description="What to sort by."),
            "direction": strawberry.field(
                default=OrderDirection.ASC, description="Ascending has nulls last, descending has them first."
            ),
        }
        meaning = f"One sort key of a list of type {entity.name}."
        made = graph_class(name, meaning, fields, {"field": field_enum, "direction": OrderDirection})
        TYPES[name] = strawberry.input(made, description=meaning)
    return optional(list_of(Named(name)))


def keyset(entity: EntityType, order_by: Sequence[Mapping[str, Any]] | None, default: Sequence[Term] = ()) -> Keyset:
    """The order that `orderBy` asks for; by creation where it is silent."""
    if not order_by:
        return Keyset(default, entity.table.c.id)
    columns = _ORDERS.get(entity.name) or sortable_columns(entity)
    terms = [Term(columns[one["field"].value], one.get("direction") is OrderDirection.DESC) for one in order_by]
    if len({term.column.name for term in terms}) < len(terms):
        raise BadUserInput("`orderBy` names a field twice. Name each field once.", "orderBy")
    return Keyset(terms, entity.table.c.id)
