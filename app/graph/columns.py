"""Columns that the graph shows otherwise than they are stored: masked, or with others beside them."""

import enum
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.auth.actor import Actor
from app.graph.context import context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, OfRow, Shape, base_type, described_enum, graph_field
from app.graph.registry import Mask, camel
from app.graph.scalars import JSON, format_datetime


def masked(show: Callable[[Any], Any], permission: str) -> Any:
    """A column that is shown in full only to holders of `permission` and to the person themselves (PII-1)."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        declaration.masks[name] = Mask(show, permission)
        declaration.personal[name] = permission
        column = declaration.column(name)

        def shown(row: Any, actor: Actor) -> Any:
            value = getattr(row, column.name)
            if value is None or actor.can(permission) or actor.id == row.id:
                return value
            return show(value)

        description = f"{column.doc} Masked unless the caller holds `{permission}` or is the person."
        return _of_row(name, shape.graphql(base_type(shape.name, {})), description, (column.name, "id"), shown)

    return Declared(make)


def notes(*columns: str) -> Any:
    """The row's open notes, with the columns that used to be kept in them under their old keys (decision 14)."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        column = declaration.column(name)
        kept = [(camel(declaration.table.c[one].name), one) for one in columns]

        def shown(row: Any, _actor: Actor) -> Any:
            found = {key: _as_json(getattr(row, one)) for key, one in kept if getattr(row, one) is not None}
            return {**(getattr(row, name) or {}), **found} or None

        keys = ", ".join(f"`{key}`" for key, _ in kept)
        description = f"{column.doc} Has {keys} as well, which are fields of their own, with bare UUIDs."
        return _of_row(name, shape.graphql(JSON), description, (name, *columns), shown)

    return Declared(make)


def derived(kind: type[enum.Enum], show: Callable[[Any], enum.Enum], description: str, *columns: str) -> Any:
    """A member of `kind` that follows from some columns: `show` gets a row that has those."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        annotation = shape.graphql(described_enum(kind))
        return _of_row(name, annotation, description, columns, lambda row, _actor: show(row).value)

    return Declared(make)


def _of_row(
    name: str, annotation: Any, description: str, columns: tuple[str, ...], show: Callable[[Any, Actor], Any]
) -> GraphField:
    made = graph_field(name, annotation, description, lambda row, info: show(row, context_of(info).actor))
    made.of_row = OfRow(columns, show)
    return made


def _as_json(value: Any) -> Any:
    match value:
        case datetime():
            return format_datetime(value)
        case UUID():
            return str(value)
        case Decimal():
            return float(value)
    return getattr(value, "value", value)
