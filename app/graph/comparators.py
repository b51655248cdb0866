"""The comparators of filters: an input for each kind of value, with the operators that make sense for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import strawberry
from sqlalchemy import ARRAY, Boolean, Column, Double, Integer, Numeric, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.field import StrawberryField

from app.graph.fields import described_enum, list_of, optional
from app.graph.making import create_type
from app.graph.registry import TYPES, Named
from app.graph.scalars import Seq
from db.base import EnumText

LISTS: Final = {"in", "notIn"}
"""Operators that take several values."""
_EQUALITY: Final = ("eq", "ne", "in", "notIn")
_RANGE: Final = ("lt", "lte", "gt", "gte")
_MEANING: Final[Mapping[str, str]] = {
    "eq": "Equal to this.",
    "ne": "Not equal to this; a null is not equal to it.",
    "in": "One of these.",
    "notIn": "None of these; a null is none of them.",
    "lt": "Less than this, or before it.",
    "lte": "This or less, or not after it.",
    "gt": "More than this, or after it.",
    "gte": "This or more, or not before it.",
    "startsWith": "Begins with this text, upper and lower case told apart.",
    "contains": "A list that has this entry.",
    "isNull": "True for rows without a value, false for rows with one.",
}


@dataclass(frozen=True)
class Comparator:
    """A filter input of one kind of value."""

    name: str
    value: Any
    operators: tuple[str, ...]
    description: str

    def annotation(self) -> Any:
        """The annotation of a filter's field; makes the input type on first use."""
        if self.name not in TYPES:
            fields = [input_field(name, self._type_of(name), _MEANING[name]) for name in self.operators]
            TYPES[self.name] = create_type(self.name, fields, is_input=True, description=self.description)
        return optional(Named(self.name))

    def _type_of(self, operator: str) -> Any:
        if operator == "isNull":
            return optional(bool)
        value: Any = self.value
        return optional(list_of(value) if operator in LISTS else value)


def input_field(graphql_name: str, annotation: Any, description: str) -> StrawberryField:
    """A field of a filter input, that may be left out."""
    # Some names (in, and, or, not) are no Python names; the values arrive as mappings by GraphQL name anyway.
    return StrawberryField(
        python_name=f"{graphql_name}_",
        graphql_name=graphql_name,
        type_annotation=StrawberryAnnotation(annotation),
        description=description,
        default=strawberry.UNSET,
    )


ID: Final = Comparator("IDFilter", strawberry.ID, (*_EQUALITY, "isNull"), "Conditions on a global id.")
TEXT: Final = Comparator(
    "StringFilter",
    str,
    (*_EQUALITY, *_RANGE, "startsWith", "isNull"),
    "Conditions on a text; texts compare by code points.",
)
INTEGER: Final = Comparator("IntFilter", int, (*_EQUALITY, *_RANGE, "isNull"), "Conditions on a whole number.")
NUMBER: Final = Comparator("FloatFilter", float, (*_EQUALITY, *_RANGE, "isNull"), "Conditions on a number.")
SEQ: Final = Comparator("SeqFilter", Seq, (*_EQUALITY, *_RANGE), "Conditions on a position in a log.")
TIME: Final = Comparator("DateTimeFilter", datetime, (*_EQUALITY, *_RANGE, "isNull"), "Conditions on a point in time.")
TRUTH: Final = Comparator("BooleanFilter", bool, ("eq", "ne", "isNull"), "Conditions on a truth value.")
LIST: Final = Comparator("StringListFilter", str, ("contains", "isNull"), "Conditions on a list of texts.")


def comparator(column: Column[Any]) -> Comparator:
    """The comparator of a column's type."""
    match column.type:
        case EnumText(enumeration=enumeration):
            return Comparator(
                f"{enumeration.__name__}Filter",
                described_enum(enumeration),
                (*_EQUALITY, "isNull"),
                f"Conditions on a value of {enumeration.__name__}.",
            )
        case ARRAY():
            return LIST
        case Boolean():
            return TRUTH
        case TIMESTAMP():
            return TIME
        case Integer():
            return SEQ if column.name == "seq" else INTEGER
        case Numeric() | Double():
            return NUMBER
        case Text():
            return TEXT
    raise TypeError(f"{column.table.name}.{column.name}: no comparator for {column.type!r}.")
