"""The root field of the former system's agents (MIG-10)."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry
from sqlalchemy import select

from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.errors import Forbidden
from app.graph.fields import computed
from app.graph.registry import ENTITIES
from app.legacy.types import Continuation, LegacyAgent


@computed(
    "An agent of Mission Control by its old id, in its old shape; null where no instance continues it, and nothing is"
    " made then. Needs the right to read instances, and for what comes from its template or policy, to read those."
)
async def agent_by_legacy_id(
    info: strawberry.Info,
    legacy_agent_id: Annotated[
        str, strawberry.argument(description="The agent's `_id` in Mission Control, as the import found it.")
    ],
) -> LegacyAgent | None:
    """One statement, along a unique index (MIG-10)."""
    context = cast("OperationContext", info.context)
    entity = ENTITIES["AgentInstance"]
    if not context.actor.may_read(entity.name):
        raise Forbidden(READ_PERMISSION[entity.name])
    wanted = select(*entity.table.columns).where(
        *context.reader.visible(entity), entity.table.c.legacy_agent_id == legacy_agent_id
    )
    found = await context.reading.rows(wanted)
    return LegacyAgent(parts=Continuation(context, entity.row(*found[0]))) if found else None


FIELDS = (agent_by_legacy_id,)
