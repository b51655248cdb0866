"""`viewer`: who the caller is, what they may do and where, and the emergency mode that holds for them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, cast
from uuid import UUID

import strawberry
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on

from app.auth.actor import Actor, ActorKind
from app.auth.scope import Scope
from app.graph.context import OperationContext
from app.graph.fields import computed, described_enum
from app.graph.ids import global_id, parse_id_of
from app.graph.registry import ENTITIES
from app.identity.types import Environment, Operator, Project, Tenant
from app.platform.rules import strictest
from app.registry.types import AgentInstance
from db import models
from db.enums import NotificationChannel, OperatorMode

described_enum(OperatorMode)


@strawberry.enum(description="What kind of caller a token stands for.")
class ViewerKind(enum.Enum):
    """Mirrors `ActorKind`, in the API's spelling."""

    OPERATOR = strawberry.enum_value("operator", description="A person, with roles.")
    INSTANCE = strawberry.enum_value("instance", description="An agent, with the fixed permissions of agents.")
    PLATFORM = strawberry.enum_value("platform", description="Whoever runs the platform; sees no tenant's rows.")


def _context(info: strawberry.Info) -> OperationContext:
    return cast("OperationContext", info.context)


async def _rows(info: strawberry.Info, name: str, ids: Iterable[UUID]) -> list[Any]:
    found = await _context(info).loaders.row(ENTITIES[name]).load_many(sorted(ids))
    return [row for row in found if row is not None]


@strawberry.type(description="A permission that the caller holds, and how far it reaches (RBAC-7).")
class GrantedPermission:
    """One permission of the caller."""

    reach: strawberry.Private[Any]
    permission: str = strawberry.field(description="`action:resource`, such as `read:tasks`.")

    @computed("Whether it covers every row of the tenant.")
    def tenant_wide(self) -> bool:
        """RBAC-6: an assignment without a scope."""
        return not isinstance(self.reach, Scope)

    @computed("Projects whose rows it covers, in any environment; empty if it is tenant-wide.")
    async def projects(self, info: strawberry.Info) -> list[Project]:
        """The projects of the grant's scope."""
        return await _rows(info, "Project", self.reach.projects) if isinstance(self.reach, Scope) else []

    @computed("Environments whose rows it covers, of any project; empty if it is tenant-wide.")
    async def environments(self, info: strawberry.Info) -> list[Environment]:
        """The environments of the grant's scope."""
        return await _rows(info, "Environment", self.reach.environments) if isinstance(self.reach, Scope) else []


@strawberry.type(description="Who asks: the person or the agent behind the token, and what they may do.")
class Viewer:
    """The caller."""

    actor: strawberry.Private[Actor]

    @computed("What kind of caller this is.")
    def kind(self) -> ViewerKind:
        """Operator, instance or platform."""
        return ViewerKind[ActorKind(self.actor.kind).name]

    @computed("Global id of the operator or the instance; null for the platform.")
    def id(self) -> strawberry.ID | None:
        """The caller's own id."""
        name = {ActorKind.OPERATOR: "Operator", ActorKind.INSTANCE: "AgentInstance"}.get(self.actor.kind)
        return strawberry.ID(global_id(ENTITIES[name].prefix, self.actor.id)) if name else None

    @computed("Name of the person or the agent.")
    def name(self) -> str:
        """The caller's own name."""
        return self.actor.name

    @computed("When the token ends; sockets close then.")
    def token_expires_at(self) -> datetime:
        """The token's `exp`."""
        return self.actor.token_expires_at

    @computed("The person; null for agents and the platform.")
    async def operator(self, info: strawberry.Info) -> Operator | None:
        """The operator's row."""
        found = await _rows(info, "Operator", [self.actor.id]) if self.actor.kind is ActorKind.OPERATOR else []
        return found[0] if found else None

    @computed("The agent; null for people and the platform.")
    async def instance(self, info: strawberry.Info) -> AgentInstance | None:
        """The instance's row."""
        found = await _rows(info, "AgentInstance", [self.actor.id]) if self.actor.kind is ActorKind.INSTANCE else []
        return found[0] if found else None

    @computed("The tenant that the token is for; null for the platform.")
    async def tenant(self, info: strawberry.Info) -> Tenant | None:
        """The tenant's row."""
        found = await _rows(info, "Tenant", [self.actor.tenant_id])
        return found[0] if found else None

    @computed("Everything the caller may do, sorted by name.")
    def permissions(self) -> list[GrantedPermission]:
        """The union of the assignments that have not expired (RBAC-7)."""
        held = self.actor.permissions
        return [GrantedPermission(reach=held[name], permission=name) for name in sorted(held)]

    @computed("How many notifications the caller has not read: a person in the application, an agent by its heartbeat.")
    async def unread_notifications(self, info: strawberry.Info) -> int:
        """NOT-1, NOT-6. One statement, which costs what is unread."""
        table = models.Notification.__table__
        column = {ActorKind.OPERATOR: table.c.operator_id, ActorKind.INSTANCE: table.c.instance_id}.get(self.actor.kind)
        if column is None:
            return 0
        context = _context(info)
        counted = (
            select(func.count())
            .select_from(table)
            .where(
                context.reader.tenant(table),  # type: ignore[arg-type]
                column == self.actor.id,
                table.c.read_at.is_(None),
                func.coalesce(table.c.channel, NotificationChannel.IN_APP.value) == NotificationChannel.IN_APP.value,
            )
        )
        return int((await context.reading.rows(counted))[0][0])

    @computed("The emergency mode in force: the stricter of the tenant's and the project's (EMG-1).")
    async def emergency_mode(
        self,
        info: strawberry.Info,
        project_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Project to look at; an agent's own if nothing is said."),
        ] = None,
    ) -> OperatorMode:
        """One statement: the newest row of each scope."""
        project = parse_id_of("prj", "Project", project_id, "projectId") if project_id else self.actor.project_id
        table = models.OperatorControl.__table__
        context = _context(info)
        newest = (
            select(table.c.mode)
            .ext(distinct_on(table.c.project_id))
            .where(
                context.reader.tenant(table),  # type: ignore[arg-type]
                or_(table.c.project_id.is_(None), table.c.project_id == project),
            )
            .order_by(table.c.project_id, table.c.id.desc())
        )
        return strictest([row.mode for row in await context.reading.rows(newest)])


@computed("Who asks: the person or the agent behind the token, and what they may do.")
def viewer(info: strawberry.Info) -> Viewer:
    """Needs no permission."""
    return Viewer(actor=_context(info).actor)
