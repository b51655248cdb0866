"""Whole numbers that the database computes for a row out of other tables.

A compiled query reads such a number as one more column of the row's own statement; resolvers read it for all rows of a
level with one statement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Table, Uuid, bindparam, func, select

from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, base_type, graph_field
from app.graph.loaders import Loader


class _NumberLoader(Loader[UUID, Any]):
    """The numbers of many rows."""

    def __init__(self, context: OperationContext, table: Table, number: Callable[..., ColumnElement[int]]) -> None:
        super().__init__()
        self._context, self._table, self._number = context, table, number

    async def batch_load_fn(self, keys: list[UUID]) -> list[Any]:
        """One statement for all rows."""
        table, context = self._table, self._context
        statement = select(table.c.id, self._number(table, context.actor.id).label("number")).where(
            context.reader.tenant(table), table.c.id == func.any(bindparam(None, keys, ARRAY(Uuid())))
        )
        found = {row.id: row.number for row in await context.reading.rows(statement)}
        return [found.get(key) for key in keys]


def counted(number: Callable[[Any, Any], ColumnElement[int]], description: str, *, own: str | None = None) -> Any:
    """A field with a whole number: `number` gets the row's table, which may be an alias, and the caller's id, and gives
    a subquery for each row. `own` is the permission whose holders see it alike, where it is different for each caller.
    """

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        if own is not None:
            declaration.personal[name] = own
        table = declaration.table

        def resolve(row: Any, info: Info) -> Any:
            context = context_of(info)
            loader = context.loaders.own((table, name), lambda: _NumberLoader(context, table, number))
            return loader.load(row.id)

        made = graph_field(name, shape.graphql(base_type(shape.name, {})), description, resolve)
        made.of_sql = number
        return made

    return Declared(make)
