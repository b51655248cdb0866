"""One short story of a fleet: an agent's run, and everything that stands behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from db import models
from db.base import Model
from db.enums import (
    ApprovalDecision,
    DeploymentStatus,
    InstanceState,
    LifecycleState,
    RiskLevel,
    RunStatus,
    TaskType,
    ToolCallStatus,
)
from db.ids import new_id
from tests.conftest import TenantUnderTest

NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
PREFIXES = {
    "Operator": "opr",
    "AgentTemplate": "tpl",
    "AgentVersion": "ver",
    "AgentInstance": "ins",
    "PolicyEnvelope": "pol",
    "ApprovalRecord": "apr",
    "Deployment": "dep",
    "Task": "tsk",
    "Run": "run",
    "ToolCall": "tcl",
    "Environment": "env",
    "Project": "prj",
    "Permission": "prm",
}


def global_id(row: Any) -> str:
    """The global id of a model's row."""
    return f"{PREFIXES[type(row).__name__]}_{row.id.hex}"


@dataclass
class Story:
    """The rows of the story by what they are in it."""

    tenant: TenantUnderTest
    person: models.Operator
    template: models.AgentTemplate
    first: models.AgentVersion
    version: models.AgentVersion
    promotion: models.ApprovalRecord
    release: models.ApprovalRecord
    deployment: models.Deployment
    envelope: models.PolicyEnvelope
    instance: models.AgentInstance
    task: models.Task
    run: models.Run
    call: models.ToolCall

    def name_of(self, node_id: str) -> str:
        """The part that a row plays, by its global id."""
        parts = {global_id(row): name for name, row in vars(self).items() if isinstance(row, Model)}
        parts |= {global_id(self.tenant.project): "project", global_id(self.tenant.environment): "environment"}
        return parts[node_id]

    def parts(self, graph: dict[str, Any]) -> set[str]:
        """The parts of a graph's nodes."""
        return {self.name_of(node["id"]) for node in graph["nodes"]}

    def links(self, graph: dict[str, Any]) -> set[tuple[str, str, str]]:
        """The edges of a graph as (part, relation, part)."""
        return {(self.name_of(edge["from"]), edge["relation"], self.name_of(edge["to"])) for edge in graph["edges"]}


def version_of(template: models.AgentTemplate, label: str, parent: UUID | None = None) -> models.AgentVersion:
    """An approved version."""
    return models.AgentVersion(
        id=new_id(),
        template_id=template.id,
        genome={},
        genome_hash="0" * 64,
        lifecycle_state=LifecycleState.APPROVED,
        version_label=label,
        parent_version_id=parent,
    )


def run_of(story: Story, key: str) -> models.Run:
    """A further run of the story's instance on its task."""
    return models.Run(
        id=new_id(),
        idempotency_key=key,
        instance_id=story.instance.id,
        version_id=story.version.id,
        task_id=story.task.id,
        session_key="s",
        started_at=NOON,
        model="m",
        input_tokens=1,
        output_tokens=1,
        status=RunStatus.COMPLETED,
    )


def call_of(run: models.Run, tool: str) -> models.ToolCall:
    """A tool call of a run."""
    return models.ToolCall(
        id=new_id(),
        run_id=run.id,
        instance_id=run.instance_id,
        tool_name=tool,
        risk_level=RiskLevel.GREEN,
        started_at=NOON,
        status=ToolCallStatus.SUCCESS,
    )


def approval_of(call: models.ToolCall) -> models.ApprovalRecord:
    """The request that a tool call waits for."""
    return models.ApprovalRecord(
        id=new_id(),
        request_type="TOOL_CALL",
        tool_call_id=call.id,
        action_summary=f"Call {call.tool_name}",
        justification="Needed",
    )


async def tell(tenant: TenantUnderTest) -> Story:
    """Write the story into a tenant."""
    person = models.Operator(id=new_id(), auth_id=f"a|{new_id()}", name="Ada", email="ada@example.com")
    template = models.AgentTemplate(id=new_id(), name="Writers")
    first = version_of(template, "v1.0.0")
    version = version_of(template, "v1.1.0", first.id)
    promotion = models.ApprovalRecord(
        id=new_id(),
        request_type="VERSION_PROMOTION",
        target_entity="AgentVersion",
        target_id=version.id,
        action_summary="Promote v1.1.0",
        justification="Evaluated",
        status=ApprovalDecision.APPROVED,
        requester_id=person.id,
    )
    deployment = models.Deployment(
        id=new_id(),
        template_id=template.id,
        environment_id=tenant.environment.id,
        target_version_id=version.id,
        previous_version_id=first.id,
        status=DeploymentStatus.ACTIVE,
        created_by_operator_id=person.id,
    )
    release = models.ApprovalRecord(
        id=new_id(),
        request_type="DEPLOYMENT",
        target_entity="Deployment",
        target_id=deployment.id,
        action_summary="Release v1.1.0",
        justification="Wanted",
        status=ApprovalDecision.APPROVED,
    )
    envelope = models.PolicyEnvelope(
        id=new_id(), name="Careful", attached_to_tenant=False, attached_to_version_id=version.id
    )
    instance = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        environment_id=tenant.environment.id,
        project_id=tenant.project.id,
        deployment_id=deployment.id,
        state=InstanceState.ACTIVE,
        name="writer-1",
    )
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="Write the page", type=TaskType.DOCS)
    parts: dict[str, Any] = {
        "person": person,
        "template": template,
        "first": first,
        "version": version,
        "promotion": promotion,
        "deployment": deployment,
        "release": release,
        "envelope": envelope,
        "instance": instance,
        "task": task,
    }
    story = Story(tenant=tenant, run=None, call=None, **parts)  # type: ignore[arg-type]
    story.run = run_of(story, "first")
    story.call = call_of(story.run, "search")
    await tenant.add(*parts.values(), story.run, story.call)
    async with tenant.database.transaction(tenant.actor()) as session:
        session.add(
            models.AgentVersionApproval(
                tenant_id=tenant.id, version_id=version.id, approval_id=promotion.id, position=0
            )
        )
    return story
