"""The agent of Mission Control as its old clients know it (MIG-10)."""

from __future__ import annotations

import asyncio
import enum
from datetime import datetime
from typing import Any, cast

import strawberry
from sqlalchemy import select

from app.auth.permissions import READ_PERMISSION
from app.governance.types import PolicyEnvelope
from app.graph.context import OperationContext
from app.graph.errors import Forbidden
from app.graph.fields import computed
from app.graph.ids import global_id
from app.graph.registry import ENTITIES
from app.legacy.compat import STATUS_OF_STATE, Allowance, Profile, former_id
from app.registry.types import AgentInstance, AgentTemplate, AgentVersion


@strawberry.enum(description="Status of an agent in Mission Control.")
class LegacyAgentStatus(enum.Enum):
    """The five statuses of the former system."""

    ACTIVE = strawberry.enum_value("ACTIVE", description="The instance is ACTIVE or READONLY.")
    PAUSED = strawberry.enum_value("PAUSED", description="The instance is PAUSED.")
    DRAINED = strawberry.enum_value("DRAINED", description="The instance is DRAINING.")
    QUARANTINED = strawberry.enum_value("QUARANTINED", description="The instance is QUARANTINED.")
    OFFLINE = strawberry.enum_value("OFFLINE", description="The instance is PROVISIONING or RETIRED.")


class Continuation:
    """The rows that continue an agent, each looked up when the first field asks for it.

    Raises Forbidden where the caller may not read the type.
    """

    def __init__(self, context: OperationContext, instance: Any) -> None:
        self.context = context
        self.instance = instance
        self._envelope: asyncio.Future[Any] | None = None

    async def version(self) -> Any:
        """The instance's version."""
        return await self._row("AgentVersion", self.instance.version_id)

    async def template(self) -> Any:
        """The version's template. Needs no right to read versions: only the key is taken from there."""
        self._must_read("AgentTemplate")
        version = await self.context.loaders.row(ENTITIES["AgentVersion"]).load(self.instance.version_id)
        return await self._row("AgentTemplate", version.template_id)

    async def envelope(self) -> Any:
        """The envelope of the instance alone, else the strongest one that is attached to its version (POL-4, POL-5)."""
        self._must_read("PolicyEnvelope")
        if self.instance.policy_envelope_id is not None:
            return await self._row("PolicyEnvelope", self.instance.policy_envelope_id)
        if self._envelope is None:
            self._envelope = asyncio.ensure_future(self._envelope_of_version())
        return await self._envelope

    async def allowance(self) -> Allowance:
        """What the agent is allowed."""
        return Allowance.of_envelope(await self.envelope())

    async def profile(self, attribute: str) -> str | None:
        """A line of the agent's profile: the instance's own, else its template's."""
        own: str | None = getattr(Profile.of_instance(self.instance), attribute)
        if own is not None:
            return own
        shared: str | None = getattr(Profile.of_template(await self.template()), attribute)
        return shared

    async def former_id_of(self, name: str, row_id: Any) -> str | None:
        """A row's id in the former system, else its global id; only the id of the row is told."""
        if row_id is None:
            return None
        row = await self.context.loaders.row(ENTITIES[name]).load(row_id)
        return former_id(row) or global_id(ENTITIES[name].prefix, row_id)

    async def _envelope_of_version(self) -> Any:
        entity = ENTITIES["PolicyEnvelope"]
        table = entity.table
        strongest = (
            select(*table.columns)
            .where(
                self.context.reader.tenant(table),
                table.c.attached_to_version_id == self.instance.version_id,
                table.c.active,
            )
            .order_by(table.c.priority.desc(), table.c.id.desc())
            .limit(1)
        )
        found = await self.context.reading.rows(strongest)
        return entity.row(*found[0]) if found else None

    async def _row(self, name: str, row_id: Any) -> Any:
        self._must_read(name)
        return await self.context.loaders.row(ENTITIES[name]).load(row_id)

    def _must_read(self, name: str) -> None:
        if not self.context.actor.may_read(name):
            raise Forbidden(READ_PERMISSION[name])


@strawberry.type(
    description="An agent of Mission Control in its old shape, for clients that still know it by its old id, with the"
    " rows that continue it. New clients read those."
)
class LegacyAgent:
    """One agent of the former system."""

    parts: strawberry.Private[Continuation]

    @computed("Id of the agent in the former system; its `_id` there.")
    def id(self) -> strawberry.ID:
        """The legacy id."""
        return strawberry.ID(self.parts.instance.legacy_agent_id)

    @computed("Name of the agent.")
    async def name(self) -> str | None:
        """The instance's name, else the template's."""
        return await self.parts.profile("name")

    @computed("Picture of the agent in one character.")
    async def emoji(self) -> str | None:
        """From the agent, else the template."""
        return await self.parts.profile("emoji")

    @computed("Role of the agent in the former system's word, such as `LEAD`.")
    async def role(self) -> str | None:
        """From the agent, else the template."""
        return await self.parts.profile("role")

    @computed("How the agent stands, in the former system's word for the instance's state.")
    def status(self) -> LegacyAgentStatus:
        """MIG-10's reverse map."""
        return LegacyAgentStatus[STATUS_OF_STATE[self.parts.instance.state]]

    @computed("Directory that the agent worked in.")
    async def workspace_path(self) -> str | None:
        """From the agent, else the template."""
        return await self.parts.profile("workspace_path")

    @computed("Kinds of task that the agent may take; empty means any.")
    async def allowed_task_types(self) -> list[str] | None:
        """From the envelope."""
        return (await self.parts.allowance()).allowed_task_types

    @computed("Tools that the agent may use; null means any that its version has.")
    async def allowed_tools(self) -> list[str] | None:
        """From the envelope."""
        return (await self.parts.allowance()).allowed_tools

    @computed("Most US dollars a day; null where its own policy sets no limit.")
    async def budget_daily(self) -> float | None:
        """From the envelope."""
        return (await self.parts.allowance()).budget_daily

    @computed("Most US dollars a run; null where its own policy sets no limit.")
    async def budget_per_run(self) -> float | None:
        """From the envelope."""
        return (await self.parts.allowance()).budget_per_run

    @computed("US dollars spent since the last daily reset.")
    def spend_today(self) -> float:
        """From the instance."""
        return float(self.parts.instance.spend_today)

    @computed("Whether the agent may start others; null where its own policy does not say.")
    async def can_spawn(self) -> bool | None:
        """From the envelope."""
        return (await self.parts.allowance()).can_spawn

    @computed("Most agents that it may have started; 0 means the default.")
    async def max_sub_agents(self) -> int | None:
        """From the envelope."""
        return (await self.parts.allowance()).max_sub_agents

    @computed("Id of the agent that started it, in the former system; null where that one never was an agent there.")
    async def parent_agent_id(self) -> strawberry.ID | None:
        """The legacy id of the parent instance."""
        parent = self.parts.instance.parent_instance_id
        if parent is None:
            return None
        row = await self.parts.context.loaders.row(ENTITIES["AgentInstance"]).load(parent)
        return None if row.legacy_agent_id is None else strawberry.ID(row.legacy_agent_id)

    @computed("Id of the task that it works on, in the former system; the task's global id where it was made here.")
    async def current_task_id(self) -> strawberry.ID | None:
        """From the instance's last heartbeat."""
        found = await self.parts.former_id_of("Task", self.parts.instance.current_task_id)
        return None if found is None else strawberry.ID(found)

    @computed("When the agent last sent a heartbeat.")
    def last_heartbeat_at(self) -> datetime | None:
        """From the instance."""
        found: datetime | None = self.parts.instance.heartbeat_at
        return found

    @computed("The instance that continues the agent.")
    def instance(self) -> AgentInstance:
        """The row that was looked up."""
        return cast("AgentInstance", self.parts.instance)

    @computed("The version that the instance runs.")
    async def version(self) -> AgentVersion:
        """Needs read:versions."""
        return cast("AgentVersion", await self.parts.version())

    @computed("The template of that version.")
    async def template(self) -> AgentTemplate:
        """Needs read:templates."""
        return cast("AgentTemplate", await self.parts.template())

    @computed("The policy envelope of the instance alone, else the strongest active one of its version; null for none.")
    async def policy_envelope(self) -> PolicyEnvelope | None:
        """Needs read:policies."""
        return cast("PolicyEnvelope | None", await self.parts.envelope())
