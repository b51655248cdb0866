"""Types of the agent registry."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.governance.allowance import allowance
from app.governance.effective import effective_policy
from app.governance.policy.budget import BudgetSource
from app.graph.entity import (
    Connection,
    Entity,
    belongs_to,
    entity,
    has_many,
    history,
    json_type,
    key,
    key_of,
    notes,
    through,
)
from app.graph.scalars import JSON
from app.registry.rules import IntegrityStatus
from app.registry.verdict import integrity_status
from db import models
from db.enums import EvalStatus, IdentityComplianceStatus, InstanceState, LifecycleState, PauseCause

if TYPE_CHECKING:
    from app.audit.types import AuditLog, ChangeRecord, OpEvent
    from app.communication.types import Meeting, TelegraphMessage, VoiceArtifact
    from app.evaluation.types import EvaluationMetric, EvaluationRun, EvaluationSuite
    from app.execution.types import ExecutionRequest, Message, Review, Run, Task, ToolCall
    from app.governance.types import ApprovalRecord, Deployment, EffectivePolicy, PolicyEnvelope
    from app.identity.types import Environment, Operator, Project, Provider
    from app.intelligence.types import AgentDocument, AgentPattern, AgentPerformance
    from app.notification.types import Notification
    from app.platform.types import (
        Alert,
        Capture,
        ExperimentAssignment,
        ExperimentEvent,
        OrgAssignment,
        ThreadSubscription,
        WatchSubscription,
    )


@entity(models.AgentTemplate, prefix="tpl")
class AgentTemplate(Entity):
    """Blueprint of a family of agents: what they are for and who answers for them."""

    name: str
    description: str | None
    intended_use: str | None
    owners: list[Operator] = through(
        models.AgentTemplateOwner.template_id,
        models.AgentTemplateOwner.operator_id,
        "Operators who answer for the template; they hear of its deployments (DEP-6).",
    )
    tags: list[str] | None
    emoji: str | None
    default_role: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    versions: Connection[AgentVersion] = has_many(models.AgentVersion.template_id, "Builds of the template.")
    identities: Connection[AgentIdentity] = has_many(
        models.AgentIdentity.template_id, "Its identity, and those of single instances that have their own instead."
    )
    policy_envelopes: Connection[PolicyEnvelope] = has_many(
        models.PolicyEnvelope.attached_to_template_id, "Policies attached to the template, inactive ones included."
    )
    deployments: Connection[Deployment] = has_many(
        models.Deployment.template_id, "Releases of its versions, to any environment."
    )
    evaluation_suites: Connection[EvaluationSuite] = has_many(
        models.EvaluationSuite.template_id, "Suites that judge its versions, besides those for every template."
    )
    runs: Connection[Run] = has_many(models.Run.template_id, "Runs of any of its versions.")
    change_records: Connection[ChangeRecord] = history()


@json_type
class ModelConfig:
    """Which model a version thinks with, and how it is asked."""

    primary_model: str = key("Model that is asked first, as its provider names it.")
    fallback_model: str | None = key("Model that is asked where the first cannot answer.")
    temperature: float | None = key("Sampling temperature; absent means the provider's default.")
    max_tokens: int | None = key("Most tokens of one answer.")
    inference_params: JSON | None = key("Further parameters, as the provider takes them.")


@json_type
class ToolManifestEntry:
    """A tool that a version may use at all; policy narrows it further."""

    tool_id: str = key("Name of the tool, as policies list it.")
    schema_version: str = key("Version of the tool's interface that the build was made for.")
    required_permissions: list[str] = key("What the tool needs to be allowed, in its own terms.")


@json_type
class Provenance:
    """Where a genome came from. It is hashed with the rest, so it cannot be changed afterwards."""

    build_pipeline: str | None = key("Pipeline that made the build.")
    parent_version: AgentVersion | None = key_of(
        "AgentVersion",
        "Version that the genome was derived from, as the builder stated it; null where it names none of this tenant,"
        " as old imports do. `raw` has the text.",
    )
    commit_ref: str | None = key("Commit that the build was made from.")
    signing_key_ref: str | None = key("Name of the key that signed the build.")
    built_at: str = key("When it was built, as the builder wrote it: the hash is over this very text.")
    built_by: str = key("Who or what built it.")


@json_type
class MemoryConfig:
    """What a version remembers, and for how long."""

    types: list[str] = key("Kinds of memory that it keeps.")
    retention: str = key("How long they are kept, in the builder's words, such as `30d`.")
    redaction_rules: list[str] | None = key("What is taken out before something is remembered.")


@json_type
class BehaviorProfile:
    """How a version is meant to behave."""

    risk_tolerance: str = key("How much risk it takes on its own, in words.")
    escalation_posture: str = key("When it turns to people, in words.")
    communication_constraints: list[str] | None = key("What it must not say, or not to whom.")


@json_type
class SpawnConstraints:
    """Which agents an agent of the version may start; policy narrows it further (POL-9)."""

    max_children: int = key("Most agents that it may start.")
    spawn_rate: float = key("How many it may start within an hour, retired ones counted; 0.5 is one in two hours.")
    allowed_subordinate_roles: list[str] | None = key("Roles of templates that it may start; absent means any.")


@json_type
class Genome:
    """All that makes a version what it is, complete and immutable (GEN-1, GEN-6); `raw` is what the hash is over."""

    model_config: ModelConfig = key("The model and its parameters.")
    prompt_bundle_hash: str = key("Hash of the prompts, as the builder computed it.")
    tool_manifest: list[ToolManifestEntry] = key(
        "Tools that it may use; empty for a version of a former system, which had no manifest (decision 39)."
    )
    provenance: Provenance = key("Where the genome came from.")
    memory_config: MemoryConfig | None = key("What it remembers.")
    behavior_profile: BehaviorProfile | None = key("How it is meant to behave.")
    spawn_constraints: SpawnConstraints | None = key("Which agents it may start.")


@entity(models.AgentVersion, prefix="ver")
class AgentVersion(Entity):
    """Immutable build of a template. Only lifecycle, evaluation, signatures and approvals ever change (GEN-6)."""

    template: AgentTemplate = belongs_to("template_id")
    genome: Genome
    genome_hash: str
    integrity_status: IntegrityStatus = integrity_status(
        "Whether the genome still fits its hash, computed anew at each reading (GEN-8)."
    )
    lifecycle_state: LifecycleState
    parent_version: AgentVersion | None = belongs_to("parent_version_id")
    signatures: list[JSON] | None
    certifications: list[JSON] | None
    approvals: list[ApprovalRecord] = through(
        models.AgentVersionApproval.version_id,
        models.AgentVersionApproval.approval_id,
        "Approvals that carried the version through its lifecycle, in the order of their use (VER-1).",
    )
    build_provenance: JSON | None
    created_by: Operator | None = belongs_to("created_by_operator_id")
    eval_status: EvalStatus
    version_label: str | None
    version_number: int | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    child_versions: Connection[AgentVersion] = has_many(
        models.AgentVersion.parent_version_id, "Versions of the same template that came from this one."
    )
    instances: Connection[AgentInstance] = has_many(models.AgentInstance.version_id, "Instances that run it.")
    policy_envelopes: Connection[PolicyEnvelope] = has_many(
        models.PolicyEnvelope.attached_to_version_id, "Policies attached to the version, inactive ones included."
    )
    deployments: Connection[Deployment] = has_many(
        models.Deployment.target_version_id, "Releases of it, rollbacks to it included."
    )
    superseding_deployments: Connection[Deployment] = has_many(
        models.Deployment.previous_version_id, "Releases that took its place, and whose rollback returns to it (DEP-3)."
    )
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.version_id, "Requests that are about it, or that came from agents that run it."
    )
    approval_requests: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.target_id,
        "Requests that are about it itself, such as for a step of its lifecycle.",
        target_entity="AgentVersion",
    )
    evaluation_runs: Connection[EvaluationRun] = has_many(models.EvaluationRun.version_id, "Runs that judged it.")
    evaluation_metrics: Connection[EvaluationMetric] = has_many(
        models.EvaluationMetric.version_id, "Numbers that its evaluation yielded."
    )
    op_events: Connection[OpEvent] = has_many(
        models.OpEvent.version_id, "Telemetry of agents while they ran it, as far back as it is kept."
    )
    related_changes: Connection[ChangeRecord] = has_many(
        models.ChangeRecord.version_id, "Changes that concern it, also those of other rows."
    )
    runs: Connection[Run] = has_many(models.Run.version_id, "Runs of exactly this version.")
    tool_calls: Connection[ToolCall] = has_many(models.ToolCall.version_id, "Tool calls of exactly this version.")
    performance: Connection[AgentPerformance] = has_many(
        models.AgentPerformance.version_id, "Figures of agents while they ran it."
    )
    patterns: Connection[AgentPattern] = has_many(
        models.AgentPattern.version_id, "What was learnt about agents while they ran it."
    )
    change_records: Connection[ChangeRecord] = history()


@json_type
class CostCaps:
    """Limits of one instance's spend in US dollars; an absent key limits nothing (BUD-1)."""

    daily_usd: float | None = key("Most US dollars a day, from midnight to midnight of the tenant's time zone.")
    per_run_usd: float | None = key("Most US dollars a run.")
    monthly_usd: float | None = key("Most US dollars a calendar month.")


@json_type
class BudgetLimit:
    """A limit of an agent's spend in US dollars, and what is left of it (BUD-1)."""

    limit_usd: float | None = key("The limit that holds, with what was added to it for today; null for none.")
    spent_usd: float = key("What is spent since the day or the month began, in the tenant's time zone (BUD-2).")
    left_usd: float | None = key("What is left, never less than 0; null where there is no limit.")
    source: BudgetSource | None = key("Who set the limit; null where there is none.")


@json_type
class InstanceBudget:
    """What an agent may spend: the limits of its policy, narrowed by its own caps (BUD-1)."""

    day: BudgetLimit = key("Of this day.")
    month: BudgetLimit = key("Of this calendar month.")
    extra_today_usd: float = key("US dollars that approvals added to the day's limit (APR-13).")
    per_run_usd: float | None = key("Most US dollars of a run; null for no limit.")
    per_run_source: BudgetSource | None = key("Who set the limit of a run; null where there is none.")


@entity(models.AgentInstance, prefix="ins", hidden=("token_epoch", "heartbeat_event_at"))
class AgentInstance(Entity):
    """Running agent: one version bound to an environment and a project (INS-1 to INS-6)."""

    version: AgentVersion = belongs_to("version_id")
    environment: Environment = belongs_to("environment_id")
    project: Project = belongs_to("project_id")
    provider: Provider | None = belongs_to("provider_id")
    deployment: Deployment | None = belongs_to("deployment_id")
    policy_envelope: PolicyEnvelope | None = belongs_to("policy_envelope_id")
    effective_policy: EffectivePolicy = effective_policy(
        "The policy in force: one out of the envelopes of all levels, field by field, each with its level (POL-5)."
    )
    budget: InstanceBudget = allowance(
        "What it may still spend today, this month and in a run. Needs `read:budgets`; an agent knows its own alone."
    )
    state: InstanceState
    heartbeat_at: datetime | None
    cost_caps: CostCaps | None
    runtime_meta: JSON | None
    legacy_agent_id: str | None
    name: str | None
    activated_at: datetime | None
    retired_at: datetime | None
    spend_today: float
    spend_month: float
    spend_reset_at: datetime | None
    paused_by: PauseCause | None
    pre_pause_state: InstanceState | None
    error_streak: int
    last_error: str | None
    current_task: Task | None = belongs_to("current_task_id")
    parent_instance: AgentInstance | None = belongs_to("parent_instance_id")
    metadata: JSON | None = notes(
        "spend_today",
        "spend_month",
        "spend_reset_at",
        "paused_by",
        "pre_pause_state",
        "error_streak",
        "last_error",
        "current_task_id",
        "parent_instance_id",
    )
    created_at: datetime
    updated_at: datetime
    spawned_instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.parent_instance_id, "Instances that it started (POL-9)."
    )
    identities: Connection[AgentIdentity] = has_many(
        models.AgentIdentity.instance_id, "Its own identity, at most one; without it, the template's holds."
    )
    requested_approvals: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.requester_instance_id, "Approvals that it asked for."
    )
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.target_id,
        "Requests that are about it, such as to bring it back from quarantine.",
        target_entity="AgentInstance",
    )
    op_events: Connection[OpEvent] = has_many(models.OpEvent.instance_id, "Its telemetry, as far back as it is kept.")
    changes_made: Connection[ChangeRecord] = has_many(
        models.ChangeRecord.actor_id, "Changes that it made.", actor_type="AGENT"
    )
    audit_logs: Connection[AuditLog] = has_many(
        models.AuditLog.actor_id, "What it did or tried that matters to security.", actor_type="AGENT"
    )
    related_changes: Connection[ChangeRecord] = has_many(
        models.ChangeRecord.instance_id, "Changes that concern it, also those of other rows."
    )
    tasks: Connection[Task] = through(
        models.TaskAssignee.instance_id, models.TaskAssignee.task_id, "Tasks that it is assigned to."
    )
    created_tasks: Connection[Task] = has_many(models.Task.creator_instance_id, "Tasks that it made.")
    tasks_to_review: Connection[Task] = has_many(
        models.Task.reviewer_instance_id, "Tasks whose result it is to review."
    )
    messages: Connection[Message] = has_many(models.Message.author_instance_id, "What it wrote in tasks' threads.")
    runs: Connection[Run] = has_many(models.Run.instance_id, "Its execution turns.")
    tool_calls: Connection[ToolCall] = has_many(models.ToolCall.instance_id, "Tools that it called.")
    execution_requests: Connection[ExecutionRequest] = has_many(
        models.ExecutionRequest.requested_by_instance_id, "Work that it asked outside executors for."
    )
    reviews: Connection[Review] = has_many(models.Review.reviewer_instance_id, "Reviews that it gave.")
    answered_reviews: Connection[Review] = has_many(models.Review.response_by_instance_id, "Reviews that it answered.")
    performance: Connection[AgentPerformance] = has_many(
        models.AgentPerformance.instance_id, "Figures of its work by version and kind of work (LRN-1)."
    )
    patterns: Connection[AgentPattern] = has_many(models.AgentPattern.instance_id, "What was learnt about it (LRN-2).")
    documents: Connection[AgentDocument] = has_many(
        models.AgentDocument.instance_id, "Its working memory, one document of each type (DOC-1)."
    )
    telegraph_messages: Connection[TelegraphMessage] = has_many(
        models.TelegraphMessage.sender_instance_id, "What it sent in conversations."
    )
    hosted_meetings: Connection[Meeting] = has_many(models.Meeting.host_instance_id, "Meetings that it leads.")
    voice_artifacts: Connection[VoiceArtifact] = has_many(models.VoiceArtifact.instance_id, "Speech in its voice.")
    notifications: Connection[Notification] = has_many(
        models.Notification.instance_id,
        "What it is told; it reads with its heartbeat (NOT-1), and nobody else does (NOT-6).",
    )
    caused_notifications: Connection[Notification] = has_many(
        models.Notification.from_instance_id, "What the caller is told because of it."
    )
    experiment_assignments: Connection[ExperimentAssignment] = has_many(
        models.ExperimentAssignment.entity_id, "Variants that it was given.", entity_type="AgentInstance"
    )
    experiment_events: Connection[ExperimentEvent] = has_many(
        models.ExperimentEvent.entity_id, "Its outcomes under variants.", entity_type="AgentInstance"
    )
    alerts: Connection[Alert] = has_many(models.Alert.instance_id, "Alerts that concern it.")
    watches: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.entity_id, "People who want to hear of its changes.", entity_type="INSTANCE"
    )
    thread_subscriptions: Connection[ThreadSubscription] = has_many(
        models.ThreadSubscription.instance_id, "Threads that it follows (SUB-1)."
    )
    org_assignments: Connection[OrgAssignment] = has_many(
        models.OrgAssignment.instance_id, "Its positions in the project's organisation."
    )
    captures: Connection[Capture] = has_many(models.Capture.instance_id, "Pictures that it made.")
    change_records: Connection[ChangeRecord] = history()


@entity(models.AgentIdentity, prefix="idn")
class AgentIdentity(Entity):
    """Governed identity, soul and tools documents of a template, and the verdict on them (IDN-1)."""

    template: AgentTemplate = belongs_to("template_id")
    name: str
    creature: str | None
    vibe: str | None
    emoji: str | None
    avatar_path: str | None
    soul_content: str | None
    soul_hash: str | None
    compliance_status: IdentityComplianceStatus | None
    validation_errors: list[str] | None
    last_scan_at: datetime | None
    identity_content: str | None
    tools_content: str | None
    instance: AgentInstance | None = belongs_to("instance_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()
