"""Types of tenancy and identity."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.auth.permissions import UNMASK_EMAIL
from app.graph.entity import Connection, Entity, belongs_to, entity, has_many, history, json_type, key, masked, through
from app.graph.scalars import JSON
from app.identity.rules import mask_email
from db import models
from db.enums import OperatorStatus, ProviderStatus, ProviderType, TenantPlan

if TYPE_CHECKING:
    from app.audit.types import AuditLog, ChangeRecord, OpEvent
    from app.evaluation.types import CustomScoringFunction, EvaluationRun, EvaluationSuite
    from app.governance.types import ApprovalRecord, Deployment, PolicyEnvelope, RoleAssignment
    from app.registry.types import AgentInstance, AgentTemplate, AgentVersion


@json_type
class SwarmConfig:
    """How many agents a project may run, and on what."""

    max_agents: int = key("Most instances that may be active at once.")
    default_model: str | None = key("Model of new versions that name none.")
    auto_scale: bool = key("Whether instances are added while tasks wait.")


@json_type
class PolicyDefaults:
    """What new policy envelopes of a project start from."""

    budget_defaults: JSON | None = key("Cost limits by role.")
    risk_thresholds: JSON | None = key("Risk levels by action.")


@entity(models.Tenant, prefix="ten")
class Tenant(Entity):
    """Root isolation boundary: every other row belongs to exactly one tenant."""

    name: str
    slug: str
    plan: TenantPlan | None
    settings: JSON | None
    billing_email: str | None
    max_environments: int | None
    max_operators: int | None
    gdpr_data_region: str | None
    op_event_retention_days: int | None
    audit_retention_days: int
    timezone: str
    active: bool
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()


@entity(models.Project, prefix="prj", project="id", hidden=("github_webhook_secret",))
class Project(Entity):
    """Workspace inside a tenant that scopes tasks, instances, policies and repository settings."""

    name: str
    slug: str
    description: str | None
    github_repo: str | None
    github_branch: str | None
    swarm_config: SwarmConfig | None
    policy_defaults: PolicyDefaults | None
    default_environment: Environment | None = belongs_to("default_environment_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    org_members: Connection[OrgMember] = has_many(models.OrgMember.project_id, "People who belong to the project.")
    instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.project_id, "Agents that work on its tasks, retired ones included."
    )
    policy_envelopes: Connection[PolicyEnvelope] = has_many(
        models.PolicyEnvelope.attached_to_project_id, "Policies attached to the project, inactive ones included."
    )
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.project_id, "Requests for approval of what is done in the project."
    )
    role_assignments: Connection[RoleAssignment] = has_many(
        models.RoleAssignment.project_id, "Grants that hold in this project only."
    )
    op_events: Connection[OpEvent] = has_many(
        models.OpEvent.project_id, "Telemetry of work on the project, as far back as it is kept."
    )
    related_changes: Connection[ChangeRecord] = has_many(
        models.ChangeRecord.project_id, "Changes that belong to the project, also those of other rows."
    )
    change_records: Connection[ChangeRecord] = history()


@entity(models.Environment, prefix="env", environment="id")
class Environment(Entity):
    """Named release target of a tenant: the place a deployment lands."""

    name: str
    slug: str
    is_production: bool
    config: JSON | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    default_of_projects: Connection[Project] = has_many(
        models.Project.default_environment_id, "Projects whose instances run here when nothing else is said."
    )
    instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.environment_id, "Agents that run here, retired ones included."
    )
    deployments: Connection[Deployment] = has_many(models.Deployment.environment_id, "Releases to this environment.")
    role_assignments: Connection[RoleAssignment] = has_many(
        models.RoleAssignment.environment_id, "Grants that hold in this environment only."
    )
    change_records: Connection[ChangeRecord] = history()


@entity(models.Operator, prefix="opr", hidden=("auth_id",))
class Operator(Entity):
    """Human login identity of a tenant: the subject of role assignments."""

    name: str
    email: str = masked(mask_email, UNMASK_EMAIL)
    avatar_url: str | None
    status: OperatorStatus
    last_login_at: datetime | None
    gdpr_consent_at: datetime | None
    gdpr_data_export_at: datetime | None
    gdpr_deletion_request_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    role_assignments: Connection[RoleAssignment] = has_many(
        models.RoleAssignment.operator_id, "Roles that the person was given, expired grants included."
    )
    granted_role_assignments: Connection[RoleAssignment] = has_many(
        models.RoleAssignment.assigned_by_operator_id, "Roles that the person gave to others."
    )
    owned_templates: Connection[AgentTemplate] = through(
        models.AgentTemplateOwner.operator_id,
        models.AgentTemplateOwner.template_id,
        "Templates that the person answers for.",
    )
    created_versions: Connection[AgentVersion] = has_many(
        models.AgentVersion.created_by_operator_id, "Agent versions that the person made."
    )
    created_policy_envelopes: Connection[PolicyEnvelope] = has_many(
        models.PolicyEnvelope.created_by_operator_id, "Policies that the person made."
    )
    requested_approvals: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.requester_id, "Approvals that the person asked for."
    )
    decided_approvals: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.decided_by_operator_id, "Requests on which the person cast the final vote."
    )
    escalated_approvals: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.escalated_by_operator_id, "Requests that the person raised to more people."
    )
    created_deployments: Connection[Deployment] = has_many(
        models.Deployment.created_by_operator_id, "Releases that the person planned."
    )
    approved_deployments: Connection[Deployment] = has_many(
        models.Deployment.approved_by_operator_id, "Releases that the person approved."
    )
    created_evaluation_suites: Connection[EvaluationSuite] = has_many(
        models.EvaluationSuite.created_by_operator_id, "Evaluation suites that the person made."
    )
    triggered_evaluation_runs: Connection[EvaluationRun] = has_many(
        models.EvaluationRun.triggered_by_operator_id, "Evaluation runs that the person asked for."
    )
    created_scoring_functions: Connection[CustomScoringFunction] = has_many(
        models.CustomScoringFunction.created_by_operator_id, "Scoring functions that the person wrote."
    )
    changes_made: Connection[ChangeRecord] = has_many(
        models.ChangeRecord.actor_id, "Changes that the person made.", actor_type="HUMAN"
    )
    audit_logs: Connection[AuditLog] = has_many(
        models.AuditLog.actor_id, "What the person did or tried that matters to security.", actor_type="HUMAN"
    )
    change_records: Connection[ChangeRecord] = history()


@entity(models.OrgMember, prefix="mem")
class OrgMember(Entity):
    """Contact directory and reporting tree of people; carries no permissions."""

    project: Project | None = belongs_to("project_id")
    name: str
    email: str | None = masked(mask_email, UNMASK_EMAIL)
    role: str
    title: str | None
    avatar: str | None
    parent_member: OrgMember | None = belongs_to("parent_member_id")
    reports: Connection[OrgMember] = has_many(models.OrgMember.parent_member_id, "People who report to this one.")
    level: int
    responsibilities: list[str] | None
    active: bool
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@entity(models.Provider, prefix="prv", hidden=("config",))
class Provider(Entity):
    """Model or runtime vendor that a tenant may bind instances to."""

    name: str
    type: ProviderType
    status: ProviderStatus
    health_endpoint: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.provider_id, "Agents whose model it runs, retired ones included."
    )
    change_records: Connection[ChangeRecord] = history()
