"""What an instance needs around it and a former agent does not have: a deployment, an identity, a name for its policy,
and somebody who did it (MIG-1)."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.legacy.agent import Agent
from app.legacy.document import Doc
from app.legacy.engine import Engine
from app.legacy.journal import Journal
from app.legacy.keys import row_id
from app.legacy.mapping import Row, table_of
from db.enums import ChangeRecordType, DeploymentStatus, OperatorStatus
from db.models import AgentIdentity, Deployment, Operator, PolicyEnvelope

_DEPLOYMENTS: Final = table_of(Deployment)
_IDENTITIES: Final = table_of(AgentIdentity)
_OPERATORS: Final = table_of(Operator)
_ENVELOPES: Final = table_of(PolicyEnvelope)
STAND_IN: Final = "Snapshot import"
"""Name of the operator who stands for the import; he cannot sign in."""


@dataclass
class _Release:
    id: UUID
    status: DeploymentStatus
    target: UUID


@dataclass
class Placing:
    """Finds what is there and makes what is missing."""

    engine: Engine
    journal: Journal
    _releases: dict[tuple[UUID, UUID], list[_Release]] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    async def load(self) -> None:
        """Read the tenant's deployments, the names of its active envelopes, and which templates have an identity."""
        connection, tenant = self.engine.connection, self.engine.world.tenant_id
        columns = ("id", "template_id", "environment_id", "target_version_id", "status")
        rows = await connection.execute(
            select(*(_DEPLOYMENTS.c[name] for name in columns))
            .where(_DEPLOYMENTS.c.tenant_id == tenant)
            .order_by(_DEPLOYMENTS.c.id)
        )
        for row in rows:
            release = _Release(row.id, row.status, row.target_version_id)
            self._releases.setdefault((row.template_id, row.environment_id), []).append(release)
        names = select(_ENVELOPES.c.name).where(_ENVELOPES.c.tenant_id == tenant, _ENVELOPES.c.active)
        self._names = set((await connection.scalars(names)).all())

    async def load_identities(self) -> None:
        """Read which templates have an identity."""
        found = await self.engine.connection.scalars(
            select(_IDENTITIES.c.template_id).where(
                _IDENTITIES.c.tenant_id == self.engine.world.tenant_id, _IDENTITIES.c.instance_id.is_(None)
            )
        )
        self.engine.world.identified = set(found.all())

    async def envelope_name(self, wanted: str) -> str:
        """The name, with a number behind it where an active envelope has it already (decision 17)."""
        name, number = wanted, 2
        while name in self._names:
            name, number = f"{wanted} ({number})", number + 1
        self._names.add(name)
        return name

    async def stand_in(self, at: datetime) -> UUID:
        """The operator who stands for the import; made on first need."""
        world = self.engine.world
        if world.stand_in is not None:
            return world.stand_in
        own = row_id(world.tenant_id, "import:operator", "", at)
        subject = f"import:{world.tenant_id}"
        if (known := world.people.get(subject)) is not None:
            world.stand_in = known
            return known
        row: Row = {
            "id": own,
            "tenant_id": world.tenant_id,
            "auth_id": subject,
            "name": STAND_IN,
            "email": f"import@{world.tenant_id}.invalid",
            "status": OperatorStatus.DEACTIVATED,
            "metadata": {"source": "migration"},
            "created_at": at,
            "updated_at": at,
        }
        await self.engine.add("Operator", _OPERATORS, row)
        world.report.note(
            f"The operator {STAND_IN!r}, who cannot sign in, stands for people whom the snapshot does not name"
        )
        world.people[subject] = world.stand_in = own
        return own

    async def deployment(self, doc: Doc, template: UUID, instance: Row) -> UUID:
        """The deployment that the instance belongs to: one of its version, the one in force first.

        Where there is none, one is made that says it comes from the import; it is in force unless another version is.
        """
        place = (template, instance["environment_id"])
        releases = self._releases.setdefault(place, [])
        fitting = [one for one in releases if one.target == instance["version_id"]]
        fitting.sort(key=lambda one: one.status is not DeploymentStatus.ACTIVE)
        if fitting:
            return fitting[0].id
        in_force = any(one.status is DeploymentStatus.ACTIVE for one in releases)
        status = DeploymentStatus.RETIRED if in_force else DeploymentStatus.ACTIVE
        row = self._row(doc, "deployment") | {
            "template_id": template,
            "environment_id": instance["environment_id"],
            "target_version_id": instance["version_id"],
            "status": status,
            "created_by_operator_id": await self.stand_in(doc.created),
            "activated_at": doc.created,
            "retired_at": doc.created if in_force else None,
            "metadata": {"source": "legacy", "legacyTable": doc.table, "legacyId": doc.id},
        }
        await self.engine.add("Deployment", _DEPLOYMENTS, row)
        releases.append(_Release(row["id"], status, instance["version_id"]))
        self.journal.made(
            ChangeRecordType.DEPLOYMENT_CREATED,
            "Deployment",
            row,
            doc,
            {"status": status.value},
            version_id=instance["version_id"],
        )
        return UUID(str(row["id"]))

    async def identity(self, agent: Agent, template: UUID) -> None:
        """An identity for a template that has none, from the agent's name and emoji."""
        world = self.engine.world
        if template in world.identified:
            return
        row = self._row(agent.doc, "identity") | {
            "template_id": template,
            "name": agent.name,
            "emoji": agent.emoji,
            "metadata": {"source": "migration", "legacyTable": "agents", "legacyId": agent.doc.id},
        }
        await self.engine.add("AgentIdentity", _IDENTITIES, row)
        world.identified.add(template)

    def _row(self, doc: Doc, kind: str) -> dict[str, Any]:
        return {
            "id": row_id(self.engine.world.tenant_id, f"{doc.table}:{kind}", doc.id, doc.created),
            "tenant_id": self.engine.world.tenant_id,
            "created_at": doc.created,
            "updated_at": doc.created,
        }
