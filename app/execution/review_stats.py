"""How a task was judged, counted by the database for many tasks at once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Table, func, select

from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.fields import GraphField, Shape, base_type, graph_field
from app.graph.loaders import Loader
from db import models
from db.base import JsonObject
from db.enums import ReviewStatus, ReviewType

_REVIEWS: Table = models.Review.__table__  # type: ignore[assignment]
_NOTHING: JsonObject = {"total": 0, "pending": 0, "praise": 0, "refute": 0, "changeset": 0, "approve": 0}


class _StatsLoader(Loader[UUID, JsonObject]):
    """Counts by task: one statement, however many tasks."""

    def __init__(self, context: OperationContext) -> None:
        super().__init__()
        self._context = context

    async def batch_load_fn(self, keys: list[UUID]) -> list[JsonObject]:
        """The counts of each task."""

        def number(kind: ReviewType) -> Any:
            return func.count().filter(_REVIEWS.c.type == kind).label(kind.value.lower())

        statement = (
            select(
                _REVIEWS.c.task_id,
                func.count().label("total"),
                func.count().filter(_REVIEWS.c.status == ReviewStatus.PENDING).label("pending"),
                *map(number, ReviewType),
                func.avg(_REVIEWS.c.score).filter(_REVIEWS.c.type == ReviewType.PRAISE).label("averageScore"),
            )
            .where(self._context.reader.tenant(_REVIEWS), _REVIEWS.c.task_id.in_(keys))
            .group_by(_REVIEWS.c.task_id)
        )
        found = {}
        for row in await self._context.reading.rows(statement):
            counts = dict(row._mapping)
            found[counts.pop("task_id")] = counts
        return [found.get(key, _NOTHING) for key in keys]


def review_stats(description: str) -> Any:
    """A field with the counts of a task's reviews."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        def resolve(row: Any, info: Info) -> Any:
            context = context_of(info)
            return context.loaders.own(_StatsLoader, lambda: _StatsLoader(context)).load(row.id)

        return graph_field(name, shape.graphql(base_type(shape.name, {})), description, resolve)

    return Declared(make)
