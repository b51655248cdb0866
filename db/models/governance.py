"""Governance: policy, approvals, deployments, and who may do what."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped

from db.base import (
    Changing,
    Model,
    Noted,
    TenantScoped,
    column,
    contains_index,
    entity,
    index,
    json_any,
    json_list,
    json_object,
    money,
    name_text,
    reference,
)
from db.enums import ApprovalDecision, DeploymentStatus, RiskLevel, TaskType
from db.functions.search import APPROVAL_WORDS


class PolicyEnvelope(TenantScoped, Changing, Noted, Model):
    """Policy attached to exactly one level: tenant, project, template or version. The strongest level wins, field by
    field (POL-4, POL-5)."""

    __tablename__ = "policy_envelopes"
    __table_args__ = (
        CheckConstraint(
            "attached_to_tenant::int"
            " + num_nonnulls(attached_to_project_id, attached_to_template_id, attached_to_version_id) = 1",
            name="one_level",
        ),
        CheckConstraint("NOT attached_to_tenant OR autonomy_tier IS NOT NULL", name="tenant_tier"),
        index("active"),  # only active envelopes count (POL-5)
        index("name", unique=True, where=text("active")),  # names tell the active ones apart (decision 17)
        index("name"),  # the history of an envelope is listed under its name
        index("attached_to_tenant"),  # every evaluation reads the tenant's own envelopes (POL-4)
        index("autonomy_tier"),  # the policy board groups by tier
    )

    name: Mapped[name_text] = column("Name, unique among the tenant's active envelopes (POL-14).")
    attached_to_tenant: Mapped[bool] = column(
        "Whether this is a policy of the whole tenant, the weakest level (POL-4).", default=False
    )
    attached_to_project_id: Mapped[UUID | None] = reference("projects", "Project that the policy is for.")
    attached_to_template_id: Mapped[UUID | None] = reference(
        "agent_templates", "Template that the policy is for; stronger than the project's."
    )
    attached_to_version_id: Mapped[UUID | None] = reference(
        "agent_versions", "Version that the policy is for, the strongest level."
    )
    autonomy_tier: Mapped[int | None] = column(
        "How much goes without asking: 0 observe only, 1 guided, 2 supervised, 3 trusted, 4 autonomous, 5 full"
        " (POL-6). Absent means inherited; a tenant's policy always has one.",
        range=(0, 5),
    )
    allowed_tools: Mapped[list[str] | None] = column(
        "Tools that may be called, `git_*` style endings allowed; absent means any, an empty list none (POL-2)."
    )
    denied_tools: Mapped[list[str] | None] = column(
        "Tools that may never be called; a stronger level adds to them and cannot take any away (POL-5)."
    )
    data_scopes: Mapped[list[str] | None] = column("Data that tool arguments may name; absent means any (POL-2).")
    caps: Mapped[json_object | None] = column("Limits on pace, such as `maxConcurrentTasks` and `maxRunsPerHour`.")
    approval_triggers: Mapped[list[str] | None] = column(
        "What asks for approval although the tier would allow it: `risk:RED`, `tool:<name>`, `cost_above:<usd>` …"
        " (POL-7). Levels add up."
    )
    enforcement_points: Mapped[list[str] | None] = column("Where the policy is enforced; levels add up (POL-5).")
    tool_risk_map: Mapped[json_object | None] = column(
        "Risk by tool name, before the built-in map; secrets and production still raise it (RSK-3)."
    )
    shell_allowlist: Mapped[list[str] | None] = column(
        "What a shell command may begin with; absent means anything, an empty list nothing (POL-8)."
    )
    shell_blocklist: Mapped[list[str] | None] = column(
        "What a shell command may not contain; wins over the allowlist, and levels add up (POL-8)."
    )
    file_read_paths: Mapped[list[str] | None] = column("Globs of files that may be read; absent means any (POL-8).")
    file_write_paths: Mapped[list[str] | None] = column("Globs of files that may be written; absent means any (POL-8).")
    network_allowlist: Mapped[list[str] | None] = column(
        "Hosts that may be reached, sub-domains included; absent means any (POL-8)."
    )
    loop_thresholds: Mapped[json_object | None] = column(
        "When going in circles counts as a loop: `maxReviewCycles`, `toolRetryLimit` and others (LOOP-1)."
    )
    spawn_limits: Mapped[json_object | None] = column(
        "Whether and how many agents an instance may start: `canSpawn`, `maxSubAgents`, `maxDepth`, `ttlMs` (POL-9)."
    )
    version: Mapped[int] = column("Counts the changes of this envelope, from 1 (decision 17).", default=1)
    active: Mapped[bool] = column("Whether the envelope counts; an inactive one is history (POL-5).", default=True)
    created_by_operator_id: Mapped[UUID | None] = reference("operators", "Who made the envelope.")
    cost_limits: Mapped[json_object | None] = column(
        "Limits of spend: `perRunUsd`, `dailyUsd`, `monthlyUsd` in US dollars, and `dailyTokens` (BUD-1)."
    )
    allowed_task_types: Mapped[list[TaskType] | None] = column(
        "Kinds of task that may be worked on; absent means any (POL-2)."
    )
    priority: Mapped[int] = column("Decides between envelopes of one level: the highest wins (POL-5).", default=100)
    require_approval_on_risk: Mapped[list[RiskLevel] | None] = column(
        "Risks that ask for approval whatever the tier; the same as `risk:` triggers (POL-7)."
    )
    tool_policies: Mapped[json_object | None] = column(
        "Verdict by tool name: `ALLOW`, `NEEDS_APPROVAL` or `DENY`; ALLOW does not reach RED risk (POL-7)."
    )


class ApprovalRecord(TenantScoped, Changing, Noted, Model):
    """Request for a person's decision on an action, its votes and its outcome (APR-1 to APR-13)."""

    __tablename__ = "approval_records"
    __table_args__ = (
        CheckConstraint("num_nonnulls(requester_id, requester_instance_id) <= 1", name="one_requester"),
        CheckConstraint("num_nonnulls(target_entity, target_id) IN (0, 2)", name="target"),
        CheckConstraint("required_decision_count >= 1 AND decision_count >= 0", name="decision_counts"),
        index("status"),  # the queue lists what is open, newest first (APR-12)
        index("status", "expires_at"),  # expiry reads the open ones that end first (APR-7)
        index("expires_at"),  # queues show what ends first
        Index("ix_approval_records_words", text(APPROVAL_WORDS), postgresql_using="gin"),  # full-text search
        index("target_entity", "target_id"),  # the approvals of a row
        index("request_type"),  # the queue filters by kind
        index("risk_level"),  # and by risk
        index("idempotency_key", unique=True, where=text("idempotency_key IS NOT NULL")),  # POL-11
        index("legacy_approval_id", unique=True, where=text("legacy_approval_id IS NOT NULL")),  # MIG-3 joins by it
    )

    request_type: Mapped[name_text] = column(
        "What is asked for, such as `TOOL_EXECUTION`, `DEPLOYMENT` or `BUDGET_OVERRIDE` (APR-1)."
    )
    request_scope: Mapped[str | None] = column("How far the approval reaches, in words; absent means this action once.")
    requester_id: Mapped[UUID | None] = reference("operators", "Operator who asks, and who may not decide (APR-5).")
    requester_instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "Agent that asks; agents never decide (APR-5)."
    )
    target_entity: Mapped[str | None] = entity("Type of the row that the action is about.")
    target_id: Mapped[UUID | None] = column("Row that the action is about.")
    action_summary: Mapped[str] = column("The action in one sentence, for the person who decides.")
    justification: Mapped[str] = column("Why the action is needed; never blank (APR-1).")
    rollback_plan: Mapped[str | None] = column(
        "How to put things back; required for RED risk, deployments and promotions (APR-1)."
    )
    risk_level: Mapped[RiskLevel | None] = column("Risk of the action; RED needs two votes (APR-2).")
    estimated_cost: Mapped[money | None] = column("What the action is expected to cost, in US dollars.")
    status: Mapped[ApprovalDecision] = column("Where the request stands.", default=ApprovalDecision.PENDING)
    decided_by_operator_id: Mapped[UUID | None] = reference(
        "operators", "Who cast the final vote; absent where the gateway decided (APR-3, APR-7)."
    )
    decided_at: Mapped[datetime | None] = column("When the request reached its final status.")
    decision_reason: Mapped[str | None] = column("Why; required to deny, and to decide on RED (APR-4).")
    escalation_level: Mapped[int] = column(
        "How far it was raised: 1 all approvers, 2 admins, 3 an alert (APR-8).", default=0, range=(0, 3)
    )
    escalated_at: Mapped[datetime | None] = column("When it was last raised.")
    escalated_by_operator_id: Mapped[UUID | None] = reference(
        "operators", "Who raised it; absent where the gateway did, for its age."
    )
    required_decision_count: Mapped[int] = column("Votes that approve: 2 under dual control (APR-2).", default=1)
    decision_count: Mapped[int] = column("Votes to approve that were cast so far (APR-2).", default=0)
    expires_at: Mapped[datetime | None] = column("After this moment nobody can decide any more (APR-6, APR-8).")
    policy_envelope_id: Mapped[UUID | None] = reference("policy_envelopes", "Policy that asked for the approval.")
    evidence_links: Mapped[list[str] | None] = column("Addresses of what speaks for the request.")
    project_id: Mapped[UUID | None] = reference("projects", "Project that the action belongs to.")
    task_id: Mapped[UUID | None] = reference("tasks", "Task that waits for the decision.")
    tool_call_id: Mapped[UUID | None] = reference("tool_calls", "Tool call that waits for the decision (APR-13).")
    version_id: Mapped[UUID | None] = reference(
        "agent_versions", "Version that the request is about, or that the requesting agent runs."
    )
    idempotency_key: Mapped[name_text | None] = column(
        "Key of the request; the same key gives this row back while it is open (POL-11)."
    )
    action_payload: Mapped[json_any | None] = column("The exact action, to be carried out once approved (POL-12).")
    decisions: Mapped[json_list | None] = column(
        "The votes in order: `operatorId`, `decision`, `reason`, `at` of each (APR-4)."
    )
    escalation_reason: Mapped[str | None] = column("Why it was raised, such as `open for 45 minutes` (APR-8).")
    legacy_approval_id: Mapped[name_text | None] = column("Id of the approval in Mission Control (MIG-3).")
    requested_at: Mapped[datetime | None] = column("When it was asked for, where that differs from `createdAt`.")
    used_at: Mapped[datetime | None] = column("When it carried the one action that it allows (POL-12, EMG-3).")


class Deployment(TenantScoped, Changing, Noted, Model):
    """Promotion of an approved version to an environment, or a rollback to the one before (DEP-1 to DEP-6)."""

    __tablename__ = "deployments"
    __table_args__ = (
        index("status"),  # the board lists by status
        index("template_id", "environment_id"),  # what runs where, and what ran before
        # At most one is in force for a template in an environment (DEP-2).
        index("template_id", "environment_id", unique=True, where=text("status = 'ACTIVE'")),
    )

    template_id: Mapped[UUID] = reference("agent_templates", "Template whose version is released.")
    environment_id: Mapped[UUID] = reference("environments", "Where it is released.")
    target_version_id: Mapped[UUID] = reference("agent_versions", "Version that is released; approved (DEP-1).")
    previous_version_id: Mapped[UUID | None] = reference(
        "agent_versions", "Version that was in force before, and that a rollback returns to (DEP-3)."
    )
    rollout_policy: Mapped[json_object | None] = column(
        "How instances are started: `strategy`, `canaryPercent`, `batchSize`; absent means all at once (DEP-5)."
    )
    status: Mapped[DeploymentStatus] = column("Where the deployment stands.", default=DeploymentStatus.PENDING)
    created_by_operator_id: Mapped[UUID] = reference(
        "operators", "Who planned it; in production somebody else approves (DEP-1)."
    )
    approved_by_operator_id: Mapped[UUID | None] = reference("operators", "Who approved it.")
    activated_at: Mapped[datetime | None] = column("When it came into force.")
    retired_at: Mapped[datetime | None] = column("When it was cancelled, superseded or rolled back.")


class Role(TenantScoped, Changing, Noted, Model):
    """Named list of permissions that operators are given (RBAC-5)."""

    __tablename__ = "roles"
    __table_args__ = (
        index("name", unique=True),  # a name means one role in its tenant (RBAC-5)
        index("is_system"),  # forms list the built-in roles first
        contains_index("permissions"),  # who can approve: the roles that hold a permission (APR-11)
    )

    name: Mapped[name_text] = column("Name, unique in the tenant.")
    description: Mapped[str | None] = column("What holders of the role do.")
    permissions: Mapped[list[str]] = column("Permissions as `action:resource`, each from the registry (RBAC-1).")
    is_system: Mapped[bool] = column(
        "Whether it is built in, and can neither be changed nor deleted (RBAC-4).", default=False
    )


class RoleAssignment(TenantScoped, Changing, Noted, Model):
    """Grant of a role to an operator: in the whole tenant, or in one project, environment or both (RBAC-6)."""

    __tablename__ = "role_assignments"
    __table_args__ = (
        index("operator_id", "project_id"),  # the grants of a person in a project
        index("operator_id"),  # a caller's permissions, computed with every new token (RBAC-7)
        # The same grant twice is an update of its end, or a conflict (RBAC-6).
        Index(
            None,
            *("tenant_id", "operator_id", "role_id", "project_id", "environment_id"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )

    role_id: Mapped[UUID] = reference("roles", "What is granted.")
    operator_id: Mapped[UUID] = reference("operators", "To whom.")
    project_id: Mapped[UUID | None] = reference("projects", "Only in this project; absent means in all.")
    environment_id: Mapped[UUID | None] = reference("environments", "Only in this environment; absent means in all.")
    assigned_at: Mapped[datetime] = column("When it was granted.")
    assigned_by_operator_id: Mapped[UUID | None] = reference("operators", "By whom; absent means the gateway itself.")
    expires_at: Mapped[datetime | None] = column("From then on the grant is ignored; absent means never (RBAC-6).")


class Permission(TenantScoped, Changing, Noted, Model):
    """Entry of the tenant's registry of permissions: one action on one resource (RBAC-1)."""

    __tablename__ = "permissions"
    __table_args__ = (
        index("resource", "action", unique=True),  # an entry a pair
        index("resource"),  # the registry is listed by resource
        index("category"),  # and grouped by category
    )

    resource: Mapped[name_text] = column("What is acted on, such as `versions`.")
    action: Mapped[name_text] = column("What is done to it, such as `approve`.")
    description: Mapped[str | None] = column("What holders may do, in a sentence.")
    category: Mapped[name_text | None] = column("Heading that forms show it under.")
