"""Agents through the pipeline template -> version -> envelope -> deployment -> instance (MIG-1, MIG-0f).

A Mission Control snapshot may hold an instance that was written alongside its agent. Then the two become one row: the
instance's ids and lineage, the agent's name and run-time fields. An agent without one gets all five rows.
"""

from collections import Counter
from collections.abc import Mapping as ReadOnly
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.legacy.agent import Agent
from app.legacy.document import Doc, Rejection
from app.legacy.engine import Engine
from app.legacy.genomes import hashed
from app.legacy.journal import Journal
from app.legacy.keys import row_id
from app.legacy.mapping import Mapped, Mapping, Row, camel, constant, metadata_of, project_of_work, renamed, table_of
from app.legacy.placing import Placing
from app.legacy.policy import POLICY_COLUMNS, stricter
from app.legacy.world import World
from db.enums import ChangeRecordType, EvalStatus, LifecycleState
from db.models import AgentInstance, AgentTemplate, AgentVersion, PolicyEnvelope

_TEMPLATES: Final = table_of(AgentTemplate)
_VERSIONS: Final = table_of(AgentVersion)
_INSTANCES: Final = table_of(AgentInstance)
_ENVELOPES: Final = table_of(PolicyEnvelope)
"""The tables behind the models."""


def _environment(doc: Doc, world: World) -> UUID:
    value = doc.take("environmentId")
    if value is not None:
        return world.keys.need("Environment", "environmentId", value)
    own = world.keys.find("Project", doc.peek("projectId")) or world.project
    if own in world.project_environments:
        return world.project_environments[own]
    if world.environment is None:
        raise Rejection("environmentId", None, "is absent, and the tenant has no environment for production")
    return world.environment


INSTANCES: Final = Mapping(
    "agentInstances",
    AgentInstance,
    {
        "environment_id": _environment,
        "project_id": project_of_work(),
        "state": renamed("state", "status"),
        "legacy_agent_id": renamed("legacyAgentId", "agentId"),
        # Both name rows that are not there yet: Fleet sets them at the end.
        "current_task_id": constant(None),
        "parent_instance_id": constant(None),
    },
)


@dataclass
class Fleet:
    """The agents and instances of one import."""

    engine: Engine
    journal: Journal
    placing: Placing
    agents: dict[str, Doc] = field(default_factory=dict)
    """Agents that are new to the tenant, by legacy id."""
    partners: dict[str, ReadOnly[str, Any]] = field(default_factory=dict)
    """The instance that was written alongside each agent, as the snapshot has it, by the agent's legacy id."""

    unidentified: list[tuple[Agent, UUID]] = field(default_factory=list)
    """Agents whose template may lack an identity, once those of the snapshot are there."""

    @property
    def world(self) -> World:
        """The import's world."""
        return self.engine.world

    async def find(self) -> None:
        """Read the agents and their partners; make template and version for those that have no instance."""
        for document in self.engine.snapshot.documents("agentInstances"):
            agent = document.get("legacyAgentId") or document.get("agentId")
            if isinstance(agent, str) and self.engine.tenancy.owns("agentInstances", document):
                self.partners[agent] = document
        async for docs in self.engine.fresh("agents"):
            for doc in docs:
                try:
                    await self._find(doc)
                except Rejection as rejection:
                    self.engine.reject(doc, rejection)
        for agent, row in self.world.keys.all_of("AgentInstance").items():
            if row in self.world.facts.instance_version:
                self.world.agent_versions.setdefault(agent, self.world.facts.instance_version[row])

    async def _find(self, doc: Doc) -> None:
        agent = Agent.read(doc, self.world)
        partner = self.partners.get(doc.id)
        if partner is not None:
            version = self.world.keys.need("AgentVersion", "versionId", partner.get("versionId"))
        else:
            template = await self._template(agent)
            version = await self._version(agent, template)
            self.world.facts.version_template[version] = template
        self.world.agent_versions[doc.id] = version
        self.agents[doc.id] = doc

    async def _template(self, agent: Agent) -> UUID:
        """The tenant's template of the agent's name, made where there is none."""
        found = await self.engine.connection.scalar(
            select(_TEMPLATES.c.id)
            .where(_TEMPLATES.c.tenant_id == self.world.tenant_id, _TEMPLATES.c.name == agent.name)
            .order_by(_TEMPLATES.c.id)
            .limit(1)
        )
        if found is not None:
            return UUID(str(found))
        row = self._row(agent.doc, "template") | {
            "name": agent.name,
            "emoji": agent.emoji,
            "default_role": agent.role,
            "metadata": agent.template_metadata(),
        }
        await self.engine.add("AgentTemplate", _TEMPLATES, row)
        self.journal.made(ChangeRecordType.TEMPLATE_CREATED, "AgentTemplate", row, agent.doc, {"name": agent.name})
        return UUID(str(row["id"]))

    async def _version(self, agent: Agent, template: UUID) -> UUID:
        """The template's version of the agent's genome, made where there is none (GEN-7)."""
        genome_hash = hashed(agent.genome)
        own = (_VERSIONS.c.tenant_id == self.world.tenant_id, _VERSIONS.c.template_id == template)
        found = await self.engine.connection.scalar(
            select(_VERSIONS.c.id).where(*own, _VERSIONS.c.genome_hash == genome_hash).limit(1)
        )
        if found is not None:
            return UUID(str(found))
        number = (
            await self.engine.connection.scalar(select(func.max(_VERSIONS.c.version_number)).where(*own)) or 0
        ) + 1
        row = self._row(agent.doc, "version") | {
            "template_id": template,
            "genome": agent.genome,
            "genome_hash": genome_hash,
            "lifecycle_state": LifecycleState.APPROVED,
            "eval_status": EvalStatus.NOT_RUN,
            "version_number": number,
            "version_label": f"v0.{number}.0-legacy",
            "metadata": {"source": "legacy-agent", "legacyTable": "agents", "legacyId": agent.doc.id},
        }
        await self.engine.add("AgentVersion", _VERSIONS, row)
        self.journal.made(
            ChangeRecordType.VERSION_CREATED,
            "AgentVersion",
            row,
            agent.doc,
            {"versionLabel": row["version_label"], "genomeHash": genome_hash, "lifecycleState": "APPROVED"},
            version_id=row["id"],
        )
        return UUID(str(row["id"]))

    async def place(self) -> None:
        """Write the instances, those of the snapshot and those of agents without one."""
        shared = Counter(self.world.agent_versions.values())
        async for docs in self.engine.fresh("agentInstances"):
            for mapped in self.engine.map(INSTANCES, docs):
                await self._instance(mapped, shared)
        for doc in self.agents.values():
            try:
                await self._agent(doc, shared)
            except Rejection as rejection:
                self.engine.reject(doc, rejection)
        await self.engine.link(_INSTANCES, "parent_instance_id")
        await self.world.load_agents(self.engine.connection)

    async def _instance(self, mapped: Mapped, shared: Counter[UUID]) -> None:
        """An instance of the snapshot, with its agent's name and run-time fields where it has one (MIG-0f)."""
        row, agent_id = mapped.row, mapped.row["legacy_agent_id"]
        doc = self.agents.get(agent_id)
        agent = Agent.read(doc, self.world) if doc is not None else None
        if agent is not None:
            row["metadata"] |= agent.instance_metadata(former_name=row["name"])
            row |= agent.runtime()
            row["policy_envelope_id"] = row["policy_envelope_id"] or await self._envelope(
                agent, row["version_id"], shared
            )
        template = self.world.facts.version_template[row["version_id"]]
        row["deployment_id"] = row["deployment_id"] or await self.placing.deployment(mapped.doc, template, row)
        await self.engine.write("AgentInstance", _INSTANCES, [mapped])
        if self.world.keys.find("AgentInstance", mapped.doc.id) is not None:
            self._wait(agent.doc if agent else mapped.doc, row["id"])
            if agent_id is not None:
                self.world.keys.add("AgentInstance", agent_id, row["id"])

    async def _agent(self, doc: Doc, shared: Counter[UUID]) -> None:
        partner = self.partners.get(doc.id)
        if partner is not None:
            row = self.world.keys.find("AgentInstance", partner["_id"])
            if row is None:
                raise Rejection("_id", partner["_id"], "is continued by an instance that was rejected")
            await self.engine.merge(doc, "AgentInstance", row)
            return
        agent = Agent.read(doc, self.world)
        version = self.world.agent_versions[doc.id]
        template = self.world.facts.version_template[version]
        instance = self._row(doc, "instance") | agent.runtime()
        instance |= {
            "id": row_id(self.world.tenant_id, "agents", doc.id, doc.created),
            "version_id": version,
            "environment_id": _environment(doc, self.world),
            "project_id": project_of_work()(doc, self.world),
            "activated_at": doc.created,
            "metadata": metadata_of(doc, agent.instance_metadata(former_name=None)),
            "policy_envelope_id": await self._envelope(agent, version, shared),
        }
        instance["deployment_id"] = await self.placing.deployment(doc, template, instance)
        await self.engine.write("AgentInstance", _INSTANCES, [Mapped(doc, instance)])
        if self.world.keys.find("AgentInstance", doc.id) is not None:
            self._wait(doc, instance["id"])
            self.unidentified.append((agent, template))
            self.journal.made(
                ChangeRecordType.INSTANCE_CREATED,
                "AgentInstance",
                instance,
                doc,
                {"state": instance["state"].value, "name": agent.name},
                instance_id=instance["id"],
                version_id=version,
                project_id=instance["project_id"],
            )

    async def identify(self) -> None:
        """An identity for each template that the import made and that has none yet."""
        for agent, template in self.unidentified:
            await self.placing.identity(agent, template)

    def _wait(self, doc: Doc, row: UUID) -> None:
        """Parent and current task are set when they are there; a row does without them where they are not."""
        for column, entity, names in (
            ("parent_instance_id", "AgentInstance", ("parentAgentId", "parentInstanceId")),
            ("current_task_id", "Task", ("currentTaskId",)),
        ):
            for name in names:
                if (value := doc.peek(name)) is not None:
                    self.engine.wait_for(doc, _INSTANCES, row, column, entity, name, value)

    async def _envelope(self, agent: Agent, version: UUID, shared: Counter[UUID]) -> UUID:
        """The agent's own settings as an envelope of its version, and of its instance alone (MIG-1, POL-4).

        It has the version's policy in it, since it takes that one's place. Where several agents share the version it
        has the lowest priority there, so that it binds its own agent and no other.
        """
        settings = stricter(await self._version_policy(version, agent.doc.id), agent.policy)
        row = self._row(agent.doc, "envelope") | dict.fromkeys(POLICY_COLUMNS) | settings
        row |= {
            "name": await self.placing.envelope_name(f"Legacy \N{EN DASH} {agent.name}"),
            "attached_to_tenant": False,
            "attached_to_version_id": version,
            "version": 1,
            "active": True,
            "priority": 100 if shared[version] == 1 else 0,
            "metadata": {"source": "migration", "legacyTable": "agents", "legacyId": agent.doc.id},
        }
        await self.engine.add("PolicyEnvelope", _ENVELOPES, row)
        after = {camel(name): value for name, value in settings.items() if value is not None}
        self.journal.made(ChangeRecordType.POLICY_ATTACHED, "PolicyEnvelope", row, agent.doc, after, version_id=version)
        return UUID(str(row["id"]))

    async def _version_policy(self, version: UUID, agent_id: str) -> dict[str, Any]:
        """The policy in force at the version's level for this agent: its own first, else the version's (POL-5)."""
        of_agent = _ENVELOPES.c.metadata["agentId"].astext
        found = await self.engine.connection.execute(
            select(*(_ENVELOPES.c[name] for name in POLICY_COLUMNS))
            .where(
                _ENVELOPES.c.tenant_id == self.world.tenant_id,
                _ENVELOPES.c.attached_to_version_id == version,
                _ENVELOPES.c.active,
                func.coalesce(of_agent, agent_id) == agent_id,
                _ENVELOPES.c.metadata["legacyTable"].astext.is_distinct_from("agents"),
            )
            .order_by(of_agent.is_(None), _ENVELOPES.c.priority.desc(), _ENVELOPES.c.id.desc())
        )
        policy: dict[str, Any] = {}
        for row in found:
            policy = stricter(policy, row._asdict())
        return policy

    def _row(self, doc: Doc, kind: str) -> Row:
        """What every row that is made for an agent has."""
        return {
            "id": row_id(self.world.tenant_id, f"agents:{kind}", doc.id, doc.created),
            "tenant_id": self.world.tenant_id,
            "created_at": doc.created,
            "updated_at": doc.created,
        }
