"""Who may read what, before anything is executed: a type that the caller may not read refuses the operation."""

from collections.abc import Sequence

from graphql import GraphQLError

from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.documents import Operation
from app.graph.errors import Forbidden
from app.graph.registry import ENTITIES


def refuse_unreadable(operation: Operation, context: OperationContext) -> Sequence[GraphQLError]:
    """FORBIDDEN for each type that the operation reaches and the caller may not read (decision 30).

    Fields that lead to a row of any type check the row's own type when they find it.
    """
    refusals = []
    for name, use in operation.types.items():
        entity = ENTITIES.get(name.removesuffix("Connection").removesuffix("Edge"))
        if entity is not None and not context.actor.may_read(entity.name):
            refusals.append(Forbidden(READ_PERMISSION[entity.name], nodes=use.node, path=use.path))
    return refusals
