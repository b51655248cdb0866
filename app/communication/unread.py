"""How much of a conversation nobody has read, counted by the database for many conversations at once."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from aiodataloader import DataLoader
from sqlalchemy import Table, func, select

from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, base_type, graph_field
from db import models
from db.enums import TelegraphMessageStatus

_MESSAGES: Table = models.TelegraphMessage.__table__  # type: ignore[assignment]
_UNREAD = (TelegraphMessageStatus.SENT, TelegraphMessageStatus.DELIVERED)

_NOBODYS: Final = ""
"""A permission that nobody holds: no two callers see the field alike."""


class _UnreadLoader(DataLoader[UUID, int]):
    """Counts by conversation: one statement, however many conversations."""

    def __init__(self, context: OperationContext) -> None:
        super().__init__()
        self._context = context

    async def batch_load_fn(self, keys: list[UUID]) -> list[int]:
        """The unread messages of each conversation that the caller has not sent."""
        statement = (
            select(_MESSAGES.c.thread_id, func.count().label("unread"))
            .where(
                self._context.reader.tenant(_MESSAGES),
                _MESSAGES.c.thread_id.in_(keys),
                _MESSAGES.c.status.in_(_UNREAD),
                _MESSAGES.c.sender_operator_id.is_distinct_from(self._context.actor.id),
            )
            .group_by(_MESSAGES.c.thread_id)
        )
        found = {row.thread_id: row.unread for row in await self._context.reading.rows(statement)}
        return [found.get(key, 0) for key in keys]


def unread_count(description: str) -> Any:
    """A field with the number of a conversation's unread messages."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        declaration.personal[name] = _NOBODYS  # whoever wrote a message has read it

        def resolve(row: Any, info: Info) -> Any:
            context = context_of(info)
            return context.loaders.own(_UnreadLoader, lambda: _UnreadLoader(context)).load(row.id)

        return graph_field(name, shape.graphql(base_type(shape.name, {})), description, resolve)

    return Declared(make)
