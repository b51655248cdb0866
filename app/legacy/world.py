"""What the mapping of one document may ask about the rest: the tenant, the keys so far, and facts of rows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.document import Doc, Rejection
from app.legacy.keys import Keys
from app.legacy.report import Report
from db.models import AgentInstance, AgentVersion, Operator, Run, Task, Workflow


@dataclass
class Facts:
    """What later tables need to know of rows that are there: read back from the database, so that they are complete
    also where an earlier import wrote the rows."""

    instance_version: dict[UUID, UUID] = field(default_factory=dict)
    instance_project: dict[UUID, UUID] = field(default_factory=dict)
    version_template: dict[UUID, UUID] = field(default_factory=dict)
    task_project: dict[UUID, UUID] = field(default_factory=dict)
    task_hidden: dict[UUID, frozenset[str]] = field(default_factory=dict)
    """Names of the fields that a task hides, of those that hide some (PII-4)."""
    run_instance: dict[UUID, UUID] = field(default_factory=dict)


@dataclass
class World:
    """One import into one tenant."""

    tenant_id: UUID
    as_of: datetime
    report: Report
    keys: Keys
    seal: Callable[[str], str] | None
    """Encrypts a secret for storage; without it, rows with secrets are rejected."""
    facts: Facts = field(default_factory=Facts)
    people: dict[str, UUID] = field(default_factory=dict)
    """Operators by e-mail (lower case) and by subject."""
    awaited: dict[str, set[str]] = field(default_factory=dict)
    """Legacy ids by entity, of the tables that refer to themselves: whether a reference leads anywhere at all."""
    agent_versions: dict[str, UUID] = field(default_factory=dict)
    """Version that each agent of the snapshot runs, by its legacy id."""
    identified: set[UUID] = field(default_factory=set)
    """Templates that have an identity."""
    workflow_keys: dict[str, UUID] = field(default_factory=dict)
    """The tenant's workflows by the key that runs name them by."""
    stand_in: UUID | None = None
    """The import's own operator, for what must have been done by somebody and names nobody known."""
    newest: datetime | None = None
    """The newest `_creationTime` of the snapshot."""
    retention_days: int = 30
    """How long the tenant keeps op events (RET)."""
    timezone: str = "UTC"
    """The tenant's, for the daily reset of spend."""
    project: UUID | None = None
    """The tenant's default project, where there is one."""
    project_environments: dict[UUID, UUID] = field(default_factory=dict)
    """The environment where each project's agents run, for projects that have one."""
    environment: UUID | None = None
    """Where agents without an environment run: production."""

    def operator(self, named: str) -> UUID | None:
        """The operator that a text names by legacy id, e-mail or subject."""
        return self.keys.find("Operator", named) or self.people.get(named) or self.people.get(named.casefold())

    def too_old(self, at: datetime) -> str | None:
        """Why an op event of that time is not imported, if it is older than what the tenant keeps (MIG-4)."""
        if at < self.as_of - timedelta(days=self.retention_days):
            return f"op event older than {self.retention_days} days"
        return None

    @property
    def newest_event(self) -> datetime:
        """Op events after this moment are refused (decision 5)."""
        return max(self.as_of, self.newest or self.as_of) + timedelta(minutes=5)

    def named(self, value: Any) -> Any:
        """What stands for an id inside text or JSON: the bare UUID of the row that it refers to, else as it is."""
        if not isinstance(value, str):
            return value
        found = self.keys.find_any(value)
        row = found[1] if found else self.operator(value)
        return str(row) if row else value

    def default_project(self, doc: Doc) -> UUID:
        """The tenant's default project, for a row that names none (MIG-0c)."""
        if self.project is None:
            raise Rejection("projectId", None, "is absent, and the tenant has no default project")
        self.report.table(doc.table).default_project += 1
        return self.project

    def will_have(self, entity: str, legacy_id: str) -> bool:
        """Whether a row of this type is there, or will be once its table is imported."""
        return legacy_id in self.awaited.get(entity, ()) or self.keys.find(entity, legacy_id) is not None

    def sealed(self, field_name: str, secret: str) -> str:
        """The secret, encrypted (decision 20). Raises Rejection where no key is at hand."""
        if self.seal is None:
            raise Rejection(field_name, "(secret)", "is a secret, and no key to encrypt it with was given")
        return self.seal(secret)

    async def load_people(self, connection: AsyncConnection) -> None:
        """Read the tenant's operators."""
        found = await connection.execute(
            select(Operator.id, Operator.email, Operator.auth_id).where(Operator.tenant_id == self.tenant_id)
        )
        for row, email, subject in found:
            self.people[email.casefold()] = row
            self.people[subject] = row

    async def load_agents(self, connection: AsyncConnection) -> None:
        """Read which version and project each instance has, and which template each version."""
        agents = select(AgentInstance.id, AgentInstance.version_id, AgentInstance.project_id)
        for row in await connection.execute(agents.where(AgentInstance.tenant_id == self.tenant_id)):
            self.facts.instance_version[row.id] = row.version_id
            self.facts.instance_project[row.id] = row.project_id
        versions = select(AgentVersion.id, AgentVersion.template_id)
        for version in await connection.execute(versions.where(AgentVersion.tenant_id == self.tenant_id)):
            self.facts.version_template[version.id] = version.template_id

    async def load_tasks(self, connection: AsyncConnection) -> None:
        """Read which project each task has, and what it hides."""
        shared: dict[UUID, UUID] = {}
        tasks = select(Task.id, Task.project_id, Task.redacted_fields).where(Task.tenant_id == self.tenant_id)
        async for row in await connection.stream(tasks):
            self.facts.task_project[row.id] = shared.setdefault(row.project_id, row.project_id)
            if row.redacted_fields:
                self.facts.task_hidden[row.id] = frozenset(row.redacted_fields)

    async def load_workflows(self, connection: AsyncConnection) -> None:
        """Read the keys of the tenant's workflows."""
        found = select(Workflow.workflow_key, Workflow.id).where(Workflow.tenant_id == self.tenant_id)
        for row in await connection.execute(found):
            self.workflow_keys[row.workflow_key] = row.id

    async def load_runs(self, connection: AsyncConnection) -> None:
        """Read which instance each run is of."""
        shared = {one: one for one in self.facts.instance_version}
        runs = select(Run.id, Run.instance_id).where(Run.tenant_id == self.tenant_id)
        async for row in await connection.stream(runs):
            self.facts.run_instance[row.id] = shared.get(row.instance_id, row.instance_id)
