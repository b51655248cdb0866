"""The task that a field of the graph is asked about."""

from __future__ import annotations

from typing import Any

from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.errors import Forbidden
from app.graph.ids import parse_id_of
from app.graph.registry import ENTITIES


def require(context: OperationContext, *type_names: str) -> None:
    """Raise Forbidden where the caller may not read rows of one of these types, which the answer is made of."""
    for name in type_names:
        if not context.actor.may_read(name):
            raise Forbidden(READ_PERMISSION[name])


async def seen_task(context: OperationContext, text: str, name: str = "taskId") -> Any:
    """The row of a task that the caller may see, by its global id; None where there is none (decision 29)."""
    require(context, "Task")
    entity = ENTITIES["Task"]
    return await context.loaders.row(entity, scoped=True).load(parse_id_of(entity.prefix, entity.name, text, name))
