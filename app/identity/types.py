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
    from app.communication.types import Meeting, TelegraphMessage, TelegraphThread, VoiceArtifact
    from app.evaluation.types import CustomScoringFunction, EvaluationRun, EvaluationSuite
    from app.execution.types import ExecutionRequest, Message, Review, Run, Task, ToolCall
    from app.governance.types import ApprovalRecord, Deployment, PolicyEnvelope, RoleAssignment
    from app.intelligence.types import AgentDocument, AgentPattern, AgentPerformance
    from app.notification.types import Notification, NotificationPreference
    from app.platform.types import (
        Alert,
        Capture,
        ExperimentAssignment,
        ExperimentEvent,
        OperatorControl,
        OrgAssignment,
        SavedView,
        ThreadSubscription,
        WatchSubscription,
        Webhook,
        WebhookDelivery,
    )
    from app.registry.types import AgentInstance, AgentTemplate, AgentVersion
    from app.workflow.types import Workflow, WorkflowRun


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
    deleted_at: datetime | None
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
    tasks: Connection[Task] = has_many(models.Task.project_id, "Work of the project.")
    messages: Connection[Message] = has_many(models.Message.project_id, "Entries of its tasks' threads.")
    runs: Connection[Run] = has_many(models.Run.project_id, "Runs of its agents.")
    tool_calls: Connection[ToolCall] = has_many(models.ToolCall.project_id, "Tool calls of its agents' runs.")
    execution_requests: Connection[ExecutionRequest] = has_many(
        models.ExecutionRequest.project_id, "Work that outside executors were asked for."
    )
    reviews: Connection[Review] = has_many(models.Review.project_id, "Reviews of its tasks.")
    agent_performance: Connection[AgentPerformance] = has_many(
        models.AgentPerformance.project_id, "Figures of its agents' work."
    )
    agent_patterns: Connection[AgentPattern] = has_many(
        models.AgentPattern.project_id, "What was learnt about its agents."
    )
    agent_documents: Connection[AgentDocument] = has_many(
        models.AgentDocument.project_id, "Working memory of its agents."
    )
    telegraph_threads: Connection[TelegraphThread] = has_many(
        models.TelegraphThread.project_id, "Conversations that belong to it."
    )
    telegraph_messages: Connection[TelegraphMessage] = has_many(
        models.TelegraphMessage.project_id, "Messages of its conversations."
    )
    meetings: Connection[Meeting] = has_many(models.Meeting.project_id, "Meetings about it.")
    voice_artifacts: Connection[VoiceArtifact] = has_many(models.VoiceArtifact.project_id, "Speech that belongs to it.")
    workflow_runs: Connection[WorkflowRun] = has_many(
        models.WorkflowRun.project_id, "Workflow runs that its agents execute."
    )
    alerts: Connection[Alert] = has_many(models.Alert.project_id, "Alerts that concern it.")
    operator_controls: Connection[OperatorControl] = has_many(
        models.OperatorControl.project_id, "History of its own emergency mode; the tenant's holds as well (EMG-1)."
    )
    saved_views: Connection[SavedView] = has_many(
        models.SavedView.project_id, "Saved filters of its rows: the caller's own, and shared ones (WATCH-1)."
    )
    watches: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.entity_id, "People who watch it, with every task in it (NOT-3).", entity_type="PROJECT"
    )
    watch_subscriptions: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.project_id, "Watches on anything in it."
    )
    webhooks: Connection[Webhook] = has_many(
        models.Webhook.project_id, "Addresses outside that are told of its events, besides those told of every event."
    )
    webhook_deliveries: Connection[WebhookDelivery] = has_many(
        models.WebhookDelivery.project_id, "Its events on their way to webhooks."
    )
    thread_subscriptions: Connection[ThreadSubscription] = has_many(
        models.ThreadSubscription.project_id, "Agents that follow threads of its tasks."
    )
    org_assignments: Connection[OrgAssignment] = has_many(models.OrgAssignment.project_id, "Positions of its agents.")
    captures: Connection[Capture] = has_many(models.Capture.project_id, "Pictures that its work produced.")
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
    created_tasks: Connection[Task] = has_many(models.Task.creator_operator_id, "Tasks that the person made.")
    messages: Connection[Message] = has_many(
        models.Message.author_operator_id, "What the person wrote in tasks' threads."
    )
    reviews: Connection[Review] = has_many(models.Review.reviewer_operator_id, "Reviews that the person gave.")
    answered_reviews: Connection[Review] = has_many(
        models.Review.response_by_operator_id, "Reviews that the person answered."
    )
    telegraph_messages: Connection[TelegraphMessage] = has_many(
        models.TelegraphMessage.sender_operator_id, "What the person sent in conversations."
    )
    created_workflows: Connection[Workflow] = has_many(
        models.Workflow.created_by_operator_id, "Workflows that the person loaded first."
    )
    notifications: Connection[Notification] = has_many(
        models.Notification.operator_id, "What the person is told; empty for others (NOT-6)."
    )
    caused_notifications: Connection[Notification] = has_many(
        models.Notification.from_operator_id, "What the caller is told because of the person."
    )
    notification_preferences: Connection[NotificationPreference] = has_many(
        models.NotificationPreference.operator_id,
        "What the person wants to hear, a row a channel (NOT-4); empty for others.",
    )
    experiment_assignments: Connection[ExperimentAssignment] = has_many(
        models.ExperimentAssignment.entity_id, "Variants that the person was given.", entity_type="Operator"
    )
    experiment_events: Connection[ExperimentEvent] = has_many(
        models.ExperimentEvent.entity_id, "Outcomes of the person under variants.", entity_type="Operator"
    )
    acknowledged_alerts: Connection[Alert] = has_many(
        models.Alert.acknowledged_by_operator_id, "Alerts that the person took up."
    )
    operator_controls: Connection[OperatorControl] = has_many(
        models.OperatorControl.updated_by_operator_id, "Emergency modes that the person set."
    )
    saved_views: Connection[SavedView] = has_many(
        models.SavedView.owner_operator_id,
        "Saved filters of the person; of others than the caller, the shared ones (WATCH-1).",
    )
    watch_subscriptions: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.operator_id, "What the person watches."
    )
    created_webhooks: Connection[Webhook] = has_many(
        models.Webhook.created_by_operator_id, "Webhooks that the person made."
    )
    given_org_assignments: Connection[OrgAssignment] = has_many(
        models.OrgAssignment.assigned_by_operator_id, "Positions that the person gave to agents."
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
