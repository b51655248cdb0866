"""Who may read what, before anything is executed: a type that the caller may not read refuses the operation."""

from collections.abc import Sequence
from typing import Final

from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.documents import Operation
from app.graph.errors import Forbidden
from app.graph.registry import ENTITIES

MOST_READERS: Final = 100
"""Sets of permissions that an operation remembers to be enough for it."""


def refuse_unreadable(operation: Operation, context: OperationContext) -> Sequence[Forbidden]:
    """FORBIDDEN for each type that the operation reaches and the caller may not read (decision 30).

    Fields that lead to a row of any type check the row's own type when they find it.
    """
    key = context.actor.key
    if key in operation.readers:
        return ()
    refusals = []
    for name, use in operation.types.items():
        entity = ENTITIES.get(name.removesuffix("Connection").removesuffix("Edge"))
        if entity is not None and not context.actor.may_read(entity.name):
            refusals.append(Forbidden(READ_PERMISSION[entity.name], nodes=use.node, path=use.path))
    if not refusals:
        if len(operation.readers) >= MOST_READERS:
            operation.readers.clear()
        operation.readers.add(key)
    return refusals
