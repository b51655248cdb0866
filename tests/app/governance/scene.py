"""An agent with all that its policy looks at, for tests of verdicts."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.auth.actor import Actor, instance_actor
from app.graph.ids import global_id
from app.graph.registry import ENTITIES
from app.registry.rules import genome_hash
from db import models
from db.base import JsonObject, Model
from db.enums import InstanceState, LifecycleState, RunStatus, TaskStatus, TaskType
from db.ids import new_id
from tests.asking import ask
from tests.conftest import TenantUnderTest

TOOLS = ("read", "write", "shell", "payment", "search", "spawn_agent")

EVALUATE = """
mutation($input: PolicyEvaluateInput!) { policyEvaluate(input: $input) {
  policyDecision {
    decision actionType toolName riskLevel autonomyTier reason triggeredRules violations remediationHints source
    requiredApprovals { type reason }
    effectiveEnvelope { field level envelopes { id } }
    approvalRecord { id status } toolCall { id status } evaluatedAt
  }
  userErrors { code message field }
} }
"""


def genome(**parts: Any) -> JsonObject:
    """A complete genome that declares TOOLS."""
    manifest = [{"toolId": tool, "schemaVersion": "1", "requiredPermissions": []} for tool in TOOLS]
    provenance = {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "test"}
    made = {"modelConfig": {"primaryModel": "m"}, "promptBundleHash": "p", "toolManifest": manifest}
    return {**made, "provenance": provenance, **parts}


@dataclass
class Scene:
    """An ACTIVE agent of an approved version, with a task in progress and a run."""

    tenant: TenantUnderTest
    operator: models.Operator
    template: models.AgentTemplate
    version: models.AgentVersion
    instance: models.AgentInstance
    task: models.Task
    run: models.Run
    envelopes: list[models.PolicyEnvelope] = field(default_factory=list)

    @property
    def agent(self) -> Actor:
        """The agent as a caller."""
        return self.agent_of(self.instance)

    def agent_of(self, instance: models.AgentInstance) -> Actor:
        """Any agent of the tenant as a caller."""
        return instance_actor(
            tenant_id=self.tenant.id,
            tenant_slug=self.tenant.slug,
            instance_id=instance.id,
            name="scout",
            state=instance.state.value,
            project_id=instance.project_id,
            token_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )

    @property
    def person(self) -> Actor:
        """An admin who has a row."""
        return self.tenant.actor(operator_id=self.operator.id)

    async def peer(self, **columns: Any) -> models.AgentInstance:
        """Another ACTIVE agent of the project, which has nothing to do with the task."""
        values: dict[str, Any] = {
            "id": new_id(),
            "name": "Quill",
            "project_id": self.tenant.project.id,
            "version_id": self.version.id,
            "environment_id": self.tenant.environment.id,
            "state": InstanceState.ACTIVE,
        }
        made = models.AgentInstance(**{**values, **columns})
        await self.tenant.add(made)
        return made

    async def envelope(self, **values: Any) -> models.PolicyEnvelope:
        """Another active envelope; the tenant's where no level is named."""
        is_tenants = not any(name.startswith("attached_") for name in values)
        made = models.PolicyEnvelope(
            id=new_id(), name=f"policy {len(self.envelopes)}", attached_to_tenant=is_tenants, version=1, **values
        )
        await self.tenant.add(made)
        self.envelopes.append(made)
        return made

    async def decide(self, actor: Actor | None = None, **given: Any) -> dict[str, Any]:
        """The verdict on a tool call, unless another action is named. Raises ValueError where it was refused."""
        payload = await self.asked(actor, **given)
        if payload["userErrors"]:
            raise ValueError(payload["userErrors"][0]["code"])
        decision: dict[str, Any] = payload["policyDecision"]
        return decision

    async def asked(self, actor: Actor | None = None, **given: Any) -> dict[str, Any]:
        """The whole payload of policyEvaluate."""
        values = {"instanceId": gid(self.instance), "actionType": "TOOL_CALL", **given}
        answer = await ask(self.tenant.database, actor or self.agent, EVALUATE, input=values)
        assert not answer.errors, answer.errors
        payload: dict[str, Any] = answer.data["policyEvaluate"]
        return payload

    async def rows(self, model: type[Model], **having: Any) -> list[Any]:
        """Rows of the tenant, oldest first, newly read."""
        from sqlalchemy import select

        table: Any = model
        conditions = [getattr(table, name) == value for name, value in having.items()]
        order = table.seq if hasattr(table, "seq") else table.id
        async with self.tenant.database.transaction(self.person) as session:
            found = await session.scalars(
                select(model).where(table.tenant_id == self.tenant.id, *conditions).order_by(order)
            )
            return list(found)

    async def set(self, row: Model, **values: Any) -> None:
        """Change a row behind the gateway's back."""
        from sqlalchemy import update

        table: Any = type(row)
        key: Any = row
        async with self.tenant.database.transaction(self.person) as session:
            where = (table.tenant_id == self.tenant.id, table.id == key.id)
            await session.execute(update(table).where(*where).values(**values))


def gid(row: Any) -> str:
    """The global id of a row."""
    found: UUID = row.id
    return global_id(ENTITIES[type(row).__name__].prefix, found)


async def make_scene(tenant: TenantUnderTest, **instance: Any) -> Scene:
    """The scene in a tenant; `instance` are columns of the agent."""
    operator = models.Operator(id=new_id(), auth_id=f"a-{new_id()}", name="Ada", email="ada@example.com")
    template = models.AgentTemplate(id=new_id(), name="Scout")
    built = genome()
    version = models.AgentVersion(
        id=new_id(),
        template_id=template.id,
        genome=built,
        genome_hash=genome_hash(built),
        lifecycle_state=LifecycleState.APPROVED,
    )
    agent = models.AgentInstance(
        **{
            "id": new_id(),
            "version_id": version.id,
            "environment_id": tenant.environment.id,
            "project_id": tenant.project.id,
            "state": InstanceState.ACTIVE,
            **instance,
        }
    )
    task = models.Task(
        id=new_id(), project_id=tenant.project.id, title="Work", type=TaskType.DOCS, status=TaskStatus.IN_PROGRESS
    )
    run = models.Run(
        id=new_id(),
        project_id=tenant.project.id,
        idempotency_key=str(new_id()),
        instance_id=agent.id,
        version_id=version.id,
        task_id=task.id,
        session_key="s",
        started_at=datetime.now(UTC),
        model="m",
        status=RunStatus.RUNNING,
    )
    assignee = models.TaskAssignee(task_id=task.id, instance_id=agent.id)
    await tenant.add(operator, template, version, agent, task, assignee, run)
    return Scene(tenant, operator, template, version, agent, task, run)
