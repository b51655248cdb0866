"""The root field of lineage."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from app.graph.context import OperationContext
from app.graph.errors import BadUserInput
from app.graph.fields import computed
from app.graph.roots import entity_of
from app.lineage.rules import DEFAULT_DEPTH, KINDS, MAX_DEPTH
from app.lineage.types import LineageDirection, LineageGraph, graph_of
from app.lineage.walk import draw


async def lineage_of(
    context: OperationContext, id: str, direction: LineageDirection, depth: int
) -> LineageGraph | None:
    """The picture around a row; None where the caller's tenant has no such row.

    Raises BadUserInput for an id or a depth that cannot be, Forbidden for a row of a type that may not be read.
    """
    entity, row_id = entity_of(context.actor, id, "id")
    if entity.name not in KINDS:
        raise BadUserInput(
            f"`id` is the id of a {entity.name}, which has no lineage. These types have: {', '.join(KINDS)}.", "id"
        )
    if not 1 <= depth <= MAX_DEPTH:
        raise BadUserInput(f"`depth` is {depth}; a picture goes 1 to {MAX_DEPTH} steps from its row.", "depth")
    root = await context.loaders.row(entity, scoped=True).load(row_id)
    if root is None:
        return None
    picture = await draw(
        context,
        root,
        upstream=direction is not LineageDirection.DOWNSTREAM,
        downstream=direction is not LineageDirection.UPSTREAM,
        depth=depth,
    )
    return graph_of(picture)


@computed(
    "What a row came from and what came from it, as a graph for pictures: from a run to the version, template,"
    " deployment and approvals behind it. Parent versions are followed to the first one, however deep the picture is."
    " Null where the caller's tenant has no such row."
)
async def lineage(
    info: strawberry.Info,
    id: Annotated[
        strawberry.ID,
        strawberry.argument(description="Global id of a run, task, version, deployment, approval or other such row."),
    ],
    direction: Annotated[
        LineageDirection, strawberry.argument(description="Which way to go from the row.")
    ] = LineageDirection.BOTH,
    depth: Annotated[int, strawberry.argument(description=f"How many steps to go, 1 to {MAX_DEPTH}.")] = DEFAULT_DEPTH,
) -> LineageGraph | None:
    """BAD_USER_INPUT for an id or a depth that cannot be, FORBIDDEN for a row of a type that may not be read."""
    return await lineage_of(cast("OperationContext", info.context), id, direction, depth)


FIELDS = (lineage,)
