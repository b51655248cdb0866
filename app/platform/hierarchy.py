"""`orgHierarchy`: the people of the directory and the agents in one tree (ORG-2)."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast
from uuid import UUID

import strawberry
from sqlalchemy import or_, select

from app.auth.permissions import READ_PERMISSION
from app.graph.context import OperationContext
from app.graph.errors import BadUserInput, Forbidden
from app.graph.fields import computed
from app.graph.ids import global_id, parse_id_of
from app.graph.registry import ENTITIES
from app.identity.types import OrgMember
from app.platform.rules.hierarchy import in_order
from app.registry.types import AgentInstance
from db.enums import InstanceState

MOST_NODES: Final = 2_000
"""People and agents of one tree."""
_USUAL: Final = 200
_PERSON, _AGENT = "OrgMember", "AgentInstance"


@strawberry.type(
    description="A person or an agent in the organisation. Exactly one of `member` and `instance` is there."
)
class OrgNode:
    """One place of the tree."""

    row: strawberry.Private[Any]
    kind: strawberry.Private[str]
    parent: strawberry.Private[tuple[str, UUID] | None]
    depth: int = strawberry.field(description="How far below the top it stands; 0 is the top.")
    children: int = strawberry.field(description="How many stand right below it.")

    @computed("Global id of the person or the agent.")
    def id(self) -> strawberry.ID:
        """The row's id."""
        return strawberry.ID(global_id(ENTITIES[self.kind].prefix, self.row.id))

    @computed("Global id of whom it stands under: a person or an agent; null at the top.")
    def parent_id(self) -> strawberry.ID | None:
        """The id of the row above."""
        if self.parent is None:
            return None
        return strawberry.ID(global_id(ENTITIES[self.parent[0]].prefix, self.parent[1]))

    @computed("The person, where it is one.")
    def member(self) -> OrgMember | None:
        """The member's row."""
        return cast("OrgMember", self.row) if self.kind == _PERSON else None

    @computed("The agent, where it is one.")
    def instance(self) -> AgentInstance | None:
        """The instance's row."""
        return cast("AgentInstance", self.row) if self.kind == _AGENT else None


@computed(
    "The organisation as one tree, each before those below it: people under whom they report to, agents under the agent"
    " that spawned them, and the agents at the top under the first person (ORG-2). Members who left and agents that are"
    f" RETIRED are not in it; at most {MOST_NODES}, else narrow it by the project. Shows what the caller may read of"
    f" both: `{READ_PERMISSION[_PERSON]}`, `{READ_PERMISSION[_AGENT]}`. Two statements.",
    most=_USUAL,
)
async def org_hierarchy(
    info: strawberry.Info,
    project_id: Annotated[
        strawberry.ID | None,
        strawberry.argument(description="Only its agents, and its people with those of the whole tenant."),
    ] = None,
) -> list[OrgNode]:
    """FORBIDDEN where the caller may read neither."""
    context = cast("OperationContext", info.context)
    project = None if project_id is None else parse_id_of("prj", "Project", project_id, "projectId")
    found: dict[UUID, tuple[str, Any]] = {}
    parents: dict[UUID, UUID | None] = {}
    agents: list[UUID] = []
    if context.actor.may_read(_PERSON):
        table = ENTITIES[_PERSON].table
        conditions = [*context.reader.visible(ENTITIES[_PERSON]), table.c.active]
        if project is not None:
            conditions.append(or_(table.c.project_id.is_(None), table.c.project_id == project))
        for row in await _rows(context, _PERSON, conditions, table.c.level):
            found[row.id], parents[row.id] = (_PERSON, row), row.parent_member_id
    if context.actor.may_read(_AGENT):
        table = ENTITIES[_AGENT].table
        conditions = [*context.reader.visible(ENTITIES[_AGENT]), table.c.state != InstanceState.RETIRED]
        if project is not None:
            conditions.append(table.c.project_id == project)
        for row in await _rows(context, _AGENT, conditions):
            found[row.id], parents[row.id] = (_AGENT, row), row.parent_instance_id
            agents.append(row.id)
    elif not context.actor.may_read(_PERSON):
        raise Forbidden(READ_PERMISSION[_PERSON])
    if len(found) > MOST_NODES:
        message = f"There are more than {MOST_NODES} people and agents. Name a project with `projectId`."
        raise BadUserInput(message, "projectId")
    nodes = []
    for place in in_order(parents, agents):
        kind, row = found[place.id]
        above = None if place.parent_id is None else (found[place.parent_id][0], place.parent_id)
        nodes.append(OrgNode(row=row, kind=kind, parent=above, depth=place.depth, children=place.children))
    return nodes


async def _rows(context: OperationContext, name: str, conditions: list[Any], *first: Any) -> list[Any]:
    """Rows of a type, by name; one more than may be shown, if there are more."""
    entity = ENTITIES[name]
    table = entity.table
    statement = select(table).where(*conditions).order_by(*first, table.c.name, table.c.id).limit(MOST_NODES + 1)
    return [entity.row(*row) for row in await context.reading.rows(statement)]


FIELDS: Final = (org_hierarchy,)
