"""A class on its way to becoming a GraphQL type: what its lines declare before the type is made of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import strawberry
from sqlalchemy import Column, Table

from app.graph.fields import GraphField, Shape
from app.graph.making import graph_class
from app.graph.registry import Mask, Relation


class Declaration:
    """A class on its way to becoming an entity; a JSON object has a table without columns."""

    def __init__(self, name: str, table: Table) -> None:
        self.name = name
        self.table = table
        self.columns: dict[str, Column[Any]] = {}
        self.relations: dict[str, Relation] = {}
        self.masks: dict[str, Mask] = {}
        self.personal: dict[str, str] = {}

    def column(self, name: str) -> Column[Any]:
        """The column that a field shows."""
        if name not in self.table.c:
            raise TypeError(f"{self.name}.{name}: the table {self.table.name} has no such column.")
        self.columns[name] = self.table.c[name]
        return self.columns[name]


@dataclass(frozen=True)
class Declared:
    """A relation or a special column before its class is complete."""

    make: Callable[[Declaration, str, Shape], GraphField]


def strawberry_type(cls: type, fields: Mapping[str, GraphField], bases: tuple[type, ...]) -> type:
    """The GraphQL type of a class: its name, its docstring as description, and these fields."""
    made = graph_class(cls.__name__, cls.__doc__, fields, bases=bases, module=cls.__module__)
    return strawberry.type(made, description=inspect.cleandoc(cls.__doc__ or ""))
