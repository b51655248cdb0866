"""A row of every kind that a mutation may name, and a minimal good input of every mutation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.auth.actor import Actor
from app.auth.permissions import PERMISSIONS, PLATFORM_PERMISSIONS
from app.auth.scope import Assignment, Grants
from app.graph.ids import global_id
from app.graph.registry import ENTITIES
from app.registry.rules import genome_hash
from db import models
from db.base import Model
from db.enums import (
    DeploymentStatus,
    EvalStatus,
    EvaluationRunStatus,
    EvaluationTrigger,
    InstanceState,
    LifecycleState,
    OperatorStatus,
    OrgPosition,
    OrgScope,
    ProviderType,
    RiskLevel,
    RunStatus,
    TaskStatus,
    TaskType,
)
from db.ids import new_id
from tests.app.governance.scene import genome
from tests.app.mutation_cases import MODULES
from tests.app.mutation_cases.case import Case
from tests.conftest import TenantUnderTest

TENANT_PERMISSIONS: Final = frozenset(PERMISSIONS) - PLATFORM_PERMISSIONS
CASES: Final = [{"id": "answers", "name": "Answers", "input": {"question": "?"}}]


INPUTS: Final[Mapping[str, Case]] = {
    "tenantBootstrap": Case({"name": "Acme", "operators": [{"name": "Ada", "email": "ada@acme.example"}]}),
    "tenantUpdate": Case({"name": "Renamed"}),
    "projectCreate": Case({"name": "Second", "slug": "second"}),
    "projectUpdate": Case({"name": "Renamed"}),
    "projectDelete": Case(rows={"projectId": "empty project"}),
    "environmentCreate": Case({"name": "Lab", "slug": "lab", "isProduction": False}),
    "environmentUpdate": Case({"name": "Renamed"}),
    "operatorInvite": Case({"name": "Edsger", "email": "edsger@example.com"}),
    "operatorUpdate": Case({"name": "Renamed"}),
    "operatorSuspend": Case(),
    "operatorReactivate": Case(rows={"operatorId": "suspended"}),
    "operatorDeactivate": Case(),
    "providerCreate": Case({"name": "Vendor", "type": "ANTHROPIC"}),
    "providerUpdate": Case({"name": "Renamed"}),
    "orgMemberCreate": Case({"name": "Alan", "role": "Research"}),
    "orgMemberUpdate": Case({"name": "Renamed"}),
    "orgMemberMove": Case({}, {"memberId": "member", "parentMemberId": "other member"}),
    "orgMemberRemove": Case(),
    "orgPositionAssign": Case({"orgPosition": "SPECIALIST"}),
    "orgPositionRemove": Case(),
    "operatorExport": Case(),
    "operatorDeletionRequest": Case(),
    "operatorDeletionCancel": Case(rows={"operatorId": "leaving"}),
    "operatorConsentWithdraw": Case(rows={"operatorId": "consenting"}),
    "operatorErase": Case(rows={"operatorId": "leaving"}),
    "agentTemplateCreate": Case({"name": "Writer"}),
    "agentTemplateUpdate": Case({"name": "Renamed"}),
    "agentVersionCreate": Case({"genome": genome(promptBundleHash="new")}),
    "agentVersionTransition": Case({"to": "TESTING"}),
    "agentVersionVerify": Case(),
    "agentInstanceCreate": Case(rows={"versionId": "approved"}),
    "agentInstanceSpawn": Case(rows={"versionId": "approved"}),
    "agentInstanceTransition": Case({"to": "PAUSED"}),
    "agentInstanceTokenIssue": Case(),
    "agentInstanceTokenRevoke": Case(),
    "agentIdentitySet": Case({"name": "Scout"}),
    "agentIdentityScan": Case(),
    "policyEvaluate": Case({"actionType": "TOOL_CALL", "toolName": "undeclared"}),
    "policyEnvelopeCreate": Case(
        {"name": "Narrow"},
        {"attachedToProjectId": "project"},
        frozenset({"attachedToProjectId", "attachedToTemplateId", "attachedToVersionId"}),
    ),
    "policyEnvelopeUpdate": Case({"deniedTools": ["shell"]}),
    "policyEnvelopeActivate": Case(rows={"envelopeId": "inactive envelope"}),
    "policyEnvelopeDeactivate": Case(),
    "policyEnvelopeAttach": Case(rows={"envelopeId": "envelope"}),
    "approvalRequest": Case(
        {"requestType": "OPERATOR_OVERRIDE", "actionSummary": "Do it", "justification": "needed", "riskLevel": "GREEN"}
    ),
    "approvalDecide": Case({"decision": "APPROVE", "reason": "fine"}),
    "approvalCancel": Case(rows={"approvalId": "agent's request"}),
    "deploymentCreate": Case(rows={"targetVersionId": "approved"}),
    "deploymentApprove": Case(),
    "deploymentActivate": Case(rows={"deploymentId": "ready deployment"}),
    "deploymentRollBack": Case({"reason": "worse"}, {"deploymentId": "deployment in force"}),
    "deploymentCancel": Case(),
    "roleCreate": Case({"name": "Reader", "permissions": ["read:tasks"]}),
    "roleUpdate": Case({"name": "Renamed"}),
    "roleDelete": Case(rows={"roleId": "unheld role"}),
    "roleAssign": Case(rows={"roleId": "unheld role"}),
    "roleRevoke": Case(),
    "operatorRolesRevoke": Case(),
    "permissionsRefresh": Case(),
    "evaluationSuiteCreate": Case({"name": "More", "testCases": CASES}),
    "evaluationSuiteUpdate": Case({"name": "Renamed"}),
    "evaluationRunCreate": Case(rows={"versionId": "tested"}),
    "evaluationRunClaim": Case(),
    "evaluationRunFinish": Case(
        {"testResults": [{"testCaseId": "answers", "passed": True, "score": 1.0}]}, {"runId": "running run"}
    ),
    "evaluationRunCancel": Case(),
    "operatorControlSet": Case({"mode": "PAUSED", "reason": "something is wrong"}),
    **{name: case for module in MODULES for name, case in module.INPUTS.items()},
}
"""By the mutation's name. Ids are added by the stage."""


@dataclass
class Stage:
    """A tenant, its admin, and its rows by name."""

    tenant: TenantUnderTest
    rows: dict[str, Any]

    @property
    def admin(self) -> Actor:
        """Everything a tenant's role can hold."""
        return self.without()

    def without(self, *missing: str) -> Actor:
        """The admin, these permissions left out."""
        return self.tenant.actor(*(TENANT_PERMISSIONS - set(missing)), operator_id=self.rows["caller"].id)

    def elsewhere(self) -> Actor:
        """Every permission, in a project that no input names."""
        granted = Assignment(TENANT_PERMISSIONS, project_id=self.rows["far project"].id)
        grants = Grants.union([granted], datetime.now(UTC))
        return self.tenant.actor(grants=grants, operator_id=self.rows["caller"].id)

    def id_of(self, kind: str, name: str | None = None) -> str:
        """The global id of a row by its name, or of the first row of a kind; any row's where the kind is `Node`."""
        if name is None:
            name = next(key for key, row in self.rows.items() if kind in ("Node", type(row).__name__))
        row = self.rows[name]
        return global_id(ENTITIES[type(row).__name__].prefix, row.id)


async def make_stage(tenant: TenantUnderTest) -> Stage:
    """The rows, in an order that their references allow."""
    rows: dict[str, Any] = {"project": tenant.project, "environment": tenant.environment}
    built: list[Model] = []

    def put(name: str, row: Any) -> Any:
        row.id = row.id or new_id()
        rows[name] = row
        built.append(row)
        return row

    def person(name: str, **columns: Any) -> Any:
        row = models.Operator(auth_id=f"{name}-{new_id()}", name=name, email=f"{name}@example.com", **columns)
        return put(name, row)

    def version(name: str, state: LifecycleState, verdict: EvalStatus = EvalStatus.NOT_RUN) -> Any:
        made = genome(promptBundleHash=name)
        row = models.AgentVersion(template_id=template.id, genome=made, lifecycle_state=state, eval_status=verdict)
        row.genome_hash = genome_hash(made)
        return put(name, row)

    put("empty project", models.Project(name="Empty", slug="empty"))
    put("far project", models.Project(name="Far", slug="far"))
    put("permission", models.Permission(action="read", resource="tasks"))
    lab = put("staging", models.Environment(name="Staging", slug="staging", is_production=False))
    shadow = put("shadow", models.Environment(name="Shadow", slug="shadow", is_production=False))
    grace = person("grace")
    person("caller")
    person("suspended", status=OperatorStatus.SUSPENDED)
    person("consenting", gdpr_consent_at=datetime(2026, 1, 1, tzinfo=UTC))
    person("leaving", gdpr_deletion_request_at=datetime(2026, 1, 1, tzinfo=UTC))
    put("member", models.OrgMember(name="Alan", role="Research", level=0))
    put("other member", models.OrgMember(name="Alonzo", role="Research", level=0))
    put("provider", models.Provider(name="Vendor A", type=ProviderType.ANTHROPIC))
    template = put("template", models.AgentTemplate(name="Scout"))
    version("draft", LifecycleState.DRAFT)
    approved = version("approved", LifecycleState.APPROVED)
    before = version("before", LifecycleState.APPROVED)
    tested = version("tested", LifecycleState.TESTING)
    examined = version("examined", LifecycleState.TESTING, EvalStatus.RUNNING)
    place = {"project_id": tenant.project.id, "environment_id": tenant.environment.id}
    agent = put("agent", models.AgentInstance(version_id=approved.id, state=InstanceState.ACTIVE, **place))
    put(
        "place",
        models.OrgAssignment(
            instance_id=agent.id,
            project_id=tenant.project.id,
            org_position=OrgPosition.LEAD,
            scope=OrgScope.PROJECT,
            assigned_by_operator_id=grace.id,
            assigned_at=datetime.now(UTC),
        ),
    )
    for name, active, level in (
        ("envelope", True, {"attached_to_tenant": True}),
        ("inactive envelope", False, {"attached_to_version_id": approved.id}),
    ):
        put(name, models.PolicyEnvelope(name=name, autonomy_tier=4, version=1, active=active, **level))

    def request(name: str, requester: Any) -> None:
        row = models.ApprovalRecord(
            request_type="OTHER",
            action_summary="do it",
            justification="because",
            risk_level=RiskLevel.YELLOW,
            requester_id=requester,
            project_id=tenant.project.id,
        )
        put(name, row)

    request("request", grace.id)
    request("agent's request", None)

    def release(name: str, environment: Any, status: DeploymentStatus, previous: Any = None, **columns: Any) -> None:
        row = models.Deployment(
            template_id=template.id,
            environment_id=environment.id,
            target_version_id=approved.id,
            previous_version_id=previous,
            status=status,
            created_by_operator_id=grace.id,
            **columns,
        )
        put(name, row)

    release("deployment", lab, DeploymentStatus.PENDING)
    release("ready deployment", lab, DeploymentStatus.PENDING, approved_by_operator_id=grace.id)
    release("deployment in force", shadow, DeploymentStatus.ACTIVE, before.id)
    role = put("role", models.Role(name="Helper", permissions=["read:tasks"]))
    put("unheld role", models.Role(name="Nobody", permissions=["read:tasks"]))
    now = datetime.now(UTC)
    put("grant", models.RoleAssignment(role_id=role.id, operator_id=grace.id, assigned_at=now))
    suite = put("suite", models.EvaluationSuite(name="Basics", test_cases=CASES))
    for name, subject, status in (
        ("pending run", approved, EvaluationRunStatus.PENDING),
        ("running run", examined, EvaluationRunStatus.RUNNING),
    ):
        row = models.EvaluationRun(
            suite_id=suite.id, version_id=subject.id, triggered_by=EvaluationTrigger.MANUAL, status=status
        )
        put(name, row)
    assert tested.id
    task = put(
        "task",
        models.Task(project_id=tenant.project.id, title="Work", type=TaskType.DOCS, status=TaskStatus.IN_PROGRESS),
    )
    put(
        "run",
        models.Run(
            project_id=tenant.project.id,
            idempotency_key=str(new_id()),
            instance_id=agent.id,
            version_id=approved.id,
            task_id=task.id,
            session_key="s",
            started_at=now,
            model="m",
            status=RunStatus.RUNNING,
        ),
    )
    for module in MODULES:
        if hasattr(module, "add_rows"):
            module.add_rows(put, rows)
    await tenant.add(*built)
    return Stage(tenant, rows)
