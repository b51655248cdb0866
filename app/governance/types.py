"""Types of governance."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.auth.permissions import OWN_COLUMN
from app.governance.chain import decision_chain
from app.governance.policy import ActionType, PolicyLevel
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
    points_to,
    through,
)
from app.graph.scalars import JSON
from db import models
from db.enums import ApprovalDecision, DeploymentStatus, PolicyVerdict, RiskLevel, RolloutStrategy, TaskType

if TYPE_CHECKING:
    from app.audit.types import ChangeRecord, OpEvent
    from app.communication.types import TelegraphThread
    from app.execution.types import Task, ToolCall
    from app.graph.entity import Entity as Node
    from app.identity.types import Environment, Operator, Project
    from app.notification.types import Notification
    from app.platform.types import WatchSubscription
    from app.registry.types import AgentInstance, AgentTemplate, AgentVersion


@json_type
class CostLimits:
    """Limits of spend that a policy sets; an absent key limits nothing at its level (BUD-1)."""

    daily_usd: float | None = key("Most US dollars a day, from midnight to midnight of the tenant's time zone.")
    per_run_usd: float | None = key("Most US dollars a run.")
    monthly_usd: float | None = key("Most US dollars a calendar month.")
    daily_tokens: int | None = key("Most tokens a day, read and written together.")


@entity(models.PolicyEnvelope, prefix="pol", project="attached_to_project_id")
class PolicyEnvelope(Entity):
    """Policy attached to exactly one level: tenant, project, template or version. The strongest level wins, field by
    field (POL-4, POL-5)."""

    name: str
    attached_to_tenant: bool
    attached_to_project: Project | None = belongs_to("attached_to_project_id")
    attached_to_template: AgentTemplate | None = belongs_to("attached_to_template_id")
    attached_to_version: AgentVersion | None = belongs_to("attached_to_version_id")
    autonomy_tier: int | None
    allowed_tools: list[str] | None
    denied_tools: list[str] | None
    data_scopes: list[str] | None
    caps: JSON | None
    approval_triggers: list[str] | None
    enforcement_points: list[str] | None
    tool_risk_map: JSON | None
    shell_allowlist: list[str] | None
    shell_blocklist: list[str] | None
    file_read_paths: list[str] | None
    file_write_paths: list[str] | None
    network_allowlist: list[str] | None
    loop_thresholds: JSON | None
    spawn_limits: JSON | None
    version: int
    active: bool
    created_by: Operator | None = belongs_to("created_by_operator_id")
    cost_limits: CostLimits | None
    allowed_task_types: list[TaskType] | None
    priority: int
    require_approval_on_risk: list[RiskLevel] | None
    tool_policies: JSON | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.policy_envelope_id, "Instances that have it instead of their version's (POL-4)."
    )
    requested_approvals: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.policy_envelope_id, "Approvals that it asked for."
    )
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.target_id,
        "Requests that are about it, such as for more autonomy.",
        target_entity="PolicyEnvelope",
    )
    tool_calls: Connection[ToolCall] = has_many(
        models.ToolCall.policy_envelope_id, "Tool calls whose verdict came from it."
    )
    change_records: Connection[ChangeRecord] = history()


@json_type
class ApprovalVote:
    """One person's vote on a request (APR-4)."""

    operator: Operator | None = key_of("Operator", "Who voted; null where an import names nobody known.")
    decision: ApprovalDecision = key("The vote: APPROVED or DENIED.")
    reason: str | None = key("Why; required to deny, and for RED risk.")
    at: datetime | None = key("When the vote was cast.")


@json_type
class ApprovalStep:
    """One step of a request's decision chain (APR-12)."""

    at: datetime = key("When it was taken.")
    stage: str = key(
        "What was done: REQUESTED, FIRST_APPROVAL and FURTHER_APPROVAL under dual control, ESCALATED, and in the end"
        " APPROVED, DENIED, EXPIRED or CANCELED."
    )
    operator: Operator | None = key_of("Operator", "The person who took it; null for agents and the gateway.")
    instance: AgentInstance | None = key_of("AgentInstance", "The agent that took it; only agents that asked.")
    reason: str | None = key("Why, in their words.")
    change_record: ChangeRecord | None = key_of(
        "ChangeRecord", "Its record; null for votes that did not decide, and for escalations."
    )
    op_event: OpEvent | None = key_of("OpEvent", "Its event; null once it is no longer kept.")


@entity(models.ApprovalRecord, prefix="apr", own=OWN_COLUMN["ApprovalRecord"])
class ApprovalRecord(Entity):
    """Request for a person's decision on an action, its votes and its outcome (APR-1 to APR-13)."""

    request_type: str
    request_scope: str | None
    requester: Operator | None = belongs_to("requester_id")
    requester_instance: AgentInstance | None = belongs_to("requester_instance_id")
    target: Node | None = points_to("target_entity", "target_id")
    action_summary: str
    justification: str
    rollback_plan: str | None
    risk_level: RiskLevel | None
    estimated_cost: float | None
    status: ApprovalDecision
    decided_by: Operator | None = belongs_to("decided_by_operator_id")
    decided_at: datetime | None
    decision_reason: str | None
    escalation_level: int
    escalated_at: datetime | None
    escalated_by: Operator | None = belongs_to("escalated_by_operator_id")
    required_decision_count: int
    decision_count: int
    expires_at: datetime | None
    policy_envelope: PolicyEnvelope | None = belongs_to("policy_envelope_id")
    evidence_links: list[str] | None
    project: Project | None = belongs_to("project_id")
    task: Task | None = belongs_to("task_id")
    tool_call: ToolCall | None = belongs_to("tool_call_id")
    version: AgentVersion | None = belongs_to("version_id")
    idempotency_key: str | None
    action_payload: JSON | None
    decisions: list[ApprovalVote] | None
    escalation_reason: str | None
    legacy_approval_id: str | None
    requested_at: datetime | None
    used_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    approved_versions: Connection[AgentVersion] = through(
        models.AgentVersionApproval.approval_id,
        models.AgentVersionApproval.version_id,
        "Versions that it carried through a step of their lifecycle (VER-1).",
    )
    telegraph_threads: Connection[TelegraphThread] = has_many(
        models.TelegraphThread.linked_approval_id, "Conversations about it (TEL-4)."
    )
    notifications: Connection[Notification] = has_many(
        models.Notification.approval_record_id, "What the caller is told about it."
    )
    watches: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.entity_id, "People who want to hear of its outcome.", entity_type="APPROVAL"
    )
    decision_chain: list[ApprovalStep] = decision_chain(
        "How it came to its decision, newest first: the request, its votes, escalations, and its end (APR-12)."
    )
    change_records: Connection[ChangeRecord] = history()


@json_type
class RolloutPolicy:
    """How many instances the activation of a deployment starts (DEP-5)."""

    strategy: RolloutStrategy | None = key("Which way; absent means all at once.")
    canary_percent: float | None = key("For CANARY: percentage of the replicas, above 0 and at most 100.")
    batch_size: int | None = key("For ROLLING: instances a batch, 1 or more.")


@entity(models.Deployment, prefix="dep")
class Deployment(Entity):
    """Promotion of an approved version to an environment, or a rollback to the one before (DEP-1 to DEP-6)."""

    template: AgentTemplate = belongs_to("template_id")
    environment: Environment = belongs_to("environment_id")
    target_version: AgentVersion = belongs_to("target_version_id")
    previous_version: AgentVersion | None = belongs_to("previous_version_id")
    rollout_policy: RolloutPolicy | None
    status: DeploymentStatus
    created_by: Operator = belongs_to("created_by_operator_id")
    approved_by: Operator | None = belongs_to("approved_by_operator_id")
    activated_at: datetime | None
    retired_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.deployment_id, "Instances that belong to the release."
    )
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.target_id, "Requests that are about it.", target_entity="Deployment"
    )
    notifications: Connection[Notification] = has_many(
        models.Notification.deployment_id, "What the caller is told about it."
    )
    watches: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.entity_id, "People who want to hear of its changes.", entity_type="DEPLOYMENT"
    )
    change_records: Connection[ChangeRecord] = history()


@entity(models.Role, prefix="rol")
class Role(Entity):
    """Named list of permissions that operators are given (RBAC-5)."""

    name: str
    description: str | None
    permissions: list[str]
    is_system: bool
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    assignments: Connection[RoleAssignment] = has_many(
        models.RoleAssignment.role_id, "Grants of the role, expired ones included."
    )
    change_records: Connection[ChangeRecord] = history()


@entity(models.RoleAssignment, prefix="rla")
class RoleAssignment(Entity):
    """Grant of a role to an operator: in the whole tenant, or in one project, environment or both (RBAC-6)."""

    role: Role = belongs_to("role_id")
    operator: Operator = belongs_to("operator_id")
    project: Project | None = belongs_to("project_id")
    environment: Environment | None = belongs_to("environment_id")
    assigned_at: datetime
    assigned_by: Operator | None = belongs_to("assigned_by_operator_id")
    expires_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    change_records: Connection[ChangeRecord] = history()


@entity(models.Permission, prefix="prm")
class Permission(Entity):
    """Entry of the tenant's registry of permissions: one action on one resource (RBAC-1)."""

    resource: str
    action: str
    description: str | None
    category: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


# --- Verdicts (POL-1) and the policy in force (decision 21): values without a row of their own -----------------------


@json_type
class PolicyFieldSource:
    """Where a field of the policy in force comes from."""

    field: str = key("The field, as `PolicyEnvelope` names it.")
    level: PolicyLevel = key("The strongest level that sets it; where levels add up, others set it too.")
    envelopes: list[PolicyEnvelope] = key_of(
        "PolicyEnvelope", "The envelopes that its value is made of, the strongest first.", "envelopeIds"
    )


@json_type
class RequiredApproval:
    """Approval that would let an action go ahead."""

    type: str = key("What to ask for, such as `TOOL_EXECUTION` or `BUDGET_OVERRIDE` (APR-1).")
    reason: str = key("Why it is needed, in a sentence.")


@json_type
class PolicyDecision:
    """What policy says to an action, and why (POL-1). A denial is an answer and no error."""

    decision: PolicyVerdict = key("The verdict.")
    action_type: ActionType = key("What was asked for.")
    tool_name: str | None = key("The tool that was asked for.")
    risk_level: RiskLevel = key("Risk of the action, by the gateway's own classification or the caller's if higher.")
    autonomy_tier: int = key("Tier that held: 0 observe only … 5 full autonomy (POL-6).")
    reason: str = key("The rule that decided, in one sentence.")
    triggered_rules: list[str] = key(
        "Every rule that fired, as a code, such as `tool_risk:shell:YELLOW` or `budget_exceeded`."
    )
    violations: list[str] = key("What a denial found, as codes, such as `TOOL_NOT_ALLOWED`.")
    remediation_hints: list[str] = key("What would help, a sentence each.")
    required_approvals: list[RequiredApproval] = key("What is needed for NEEDS_APPROVAL; empty for other verdicts.")
    source: PolicyLevel = key("PolicyLevel of the envelope that the deciding field comes from.")
    effective_envelope: list[PolicyFieldSource] = key("For each field that an envelope sets: which one.")
    approval_record: ApprovalRecord | None = key_of(
        "ApprovalRecord", "The request that was made, that is open already, or that was used up."
    )
    tool_call: ToolCall | None = key_of("ToolCall", "The call's row, where a run was given.")
    change_record: ChangeRecord | None = key_of(
        "ChangeRecord", "The record of a denial or of a request; null where nothing was recorded."
    )
    op_event: OpEvent | None = key_of("OpEvent", "The event of the verdict; null for a dry run or a repeated request.")
    evaluated_at: datetime = key("When it was decided.")


@json_type
class EffectivePolicy:
    """The policy in force for an instance: one out of the envelopes of four levels, field by field (POL-4, POL-5)."""

    autonomy_tier: int = key("Tier in force, never above the tenant's safety floor.")
    allowed_tools: list[str] | None = key("Tools that may be called; null means any.")
    denied_tools: list[str] | None = key("Tools that no level lets through, of all levels together.")
    data_scopes: list[str] | None = key("Data that may be named; null means any.")
    allowed_task_types: list[TaskType] | None = key("Kinds of task; null means any.")
    approval_triggers: list[str] | None = key("What asks for approval, of all levels together (POL-7).")
    require_approval_on_risk: list[RiskLevel] | None = key("Risks that ask for approval, of all levels together.")
    enforcement_points: list[str] | None = key("Where the policy is enforced, of all levels together.")
    tool_policies: JSON | None = key("Verdict by tool name; a DENY of any level holds.")
    tool_risk_map: JSON | None = key("Risk by tool name.")
    shell_allowlist: list[str] | None = key("What a shell command may begin with; null means anything.")
    shell_blocklist: list[str] | None = key("What it may not contain, of all levels together.")
    file_read_paths: list[str] | None = key("Globs of what may be read; those with `!` forbid, of all levels together.")
    file_write_paths: list[str] | None = key("Globs of what may be written; those with `!` forbid.")
    network_allowlist: list[str] | None = key("Hosts that may be reached; null means any.")
    cost_limits: CostLimits | None = key("Limits of spend; an instance's own caps narrow them (BUD-1).")
    spawn_limits: JSON | None = key("Limits on agents that it starts (POL-9).")
    loop_thresholds: JSON | None = key("When going in circles counts as a loop (LOOP-1).")
    caps: JSON | None = key("Limits on pace.")
    sources: list[PolicyFieldSource] = key("For each field that an envelope sets: which one; the others are defaults.")
