"""The agent registry: blueprints, their immutable builds, the running instances, and the identity documents."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, text
from sqlalchemy.orm import Mapped

from db.base import (
    Association,
    Changing,
    Model,
    Noted,
    TenantScoped,
    column,
    contains_index,
    in_domain,
    index,
    json_list,
    json_object,
    money,
    name_text,
    reference,
)
from db.enums import EvalStatus, IdentityComplianceStatus, InstanceState, LifecycleState, PauseCause


class AgentTemplate(TenantScoped, Changing, Noted, Model):
    """Blueprint of a family of agents: what they are for and who answers for them."""

    __tablename__ = "agent_templates"
    __table_args__ = (
        index("name"),  # the directory sorts by name, and the import finds a template by it (MIG-1)
        index("default_role"),  # routing and the directory group by role
        contains_index("tags"),  # the directory filters by tag
    )

    name: Mapped[name_text] = column("Display name of the family.")
    description: Mapped[str | None] = column("What the agents do.")
    intended_use: Mapped[str | None] = column("What they may be used for, and what not.")
    tags: Mapped[list[str] | None] = column("Labels of the directory.")
    emoji: Mapped[str | None] = column("Picture in one character; instances show it where they have no avatar.")
    default_role: Mapped[name_text | None] = column(
        "Role in words, such as `SPECIALIST`; a spawning parent may limit it (POL-9)."
    )


class AgentTemplateOwner(Association, Model):
    """Operators who answer for a template; they hear of its deployments (DEP-6)."""

    __tablename__ = "agent_template_owners"

    template_id: Mapped[UUID] = reference(
        "agent_templates", "The template.", on_delete="CASCADE", primary_key=True, sort_order=-100
    )
    operator_id: Mapped[UUID] = reference(
        "operators", "One of its owners.", on_delete="CASCADE", primary_key=True, sort_order=-99
    )


class AgentVersion(TenantScoped, Changing, Noted, Model):
    """Immutable build of a template. Only lifecycle, evaluation, signatures and approvals ever change (GEN-6)."""

    __tablename__ = "agent_versions"
    __table_args__ = (
        CheckConstraint(in_domain("sha256", "genome_hash"), name="genome_hash"),
        index("lifecycle_state"),  # the directory lists versions by state
        index("eval_status"),  # the evaluation board lists what waits or failed
        index("genome_hash"),  # the same genome gives the existing version back (GEN-7)
        index("template_id", "version_number", unique=True),  # numbers count up within a template (VER-6)
        index("template_id", "version_label", unique=True),  # labels name one version of a template (VER-6)
    )

    template_id: Mapped[UUID] = reference("agent_templates", "Blueprint that the version builds; never changes.")
    genome: Mapped[json_object] = column(
        "Model, prompt bundle, tools and provenance, complete and immutable (GEN-1, GEN-6)."
    )
    genome_hash: Mapped[name_text] = column(
        "SHA-256 of the genome's canonical text (RFC 8785), lower-case hex (GEN-2, GEN-3)."
    )
    lifecycle_state: Mapped[LifecycleState] = column(
        "Where the version stands between draft and retirement (VER-1).", default=LifecycleState.DRAFT
    )
    parent_version_id: Mapped[UUID | None] = reference(
        "agent_versions", "Version of the same template that this one came from (VER-8); never changes."
    )
    signatures: Mapped[json_list | None] = column("Signatures over the genome hash, oldest first.")
    certifications: Mapped[json_list | None] = column("Certificates that others gave this build, oldest first.")
    build_provenance: Mapped[json_object | None] = column(
        "What the build pipeline tells about the build beyond the genome's own provenance."
    )
    created_by_operator_id: Mapped[UUID | None] = reference(
        "operators", "Who made the version; may not decide on its promotion (APR-5)."
    )
    eval_status: Mapped[EvalStatus] = column("Outcome of its evaluation (VER-1).", default=EvalStatus.NOT_RUN)
    version_label: Mapped[name_text | None] = column("Label such as `v1.4.0`, unique in the template (VER-6).")
    version_number: Mapped[int | None] = column("Number of the version in its template, counting from 1 (VER-6).")


class AgentVersionApproval(Association, Model):
    """Approvals that carried a version through its lifecycle, in the order of their use (VER-1)."""

    __tablename__ = "agent_version_approvals"

    version_id: Mapped[UUID] = reference(
        "agent_versions", "The version.", on_delete="CASCADE", primary_key=True, sort_order=-100
    )
    approval_id: Mapped[UUID] = reference(
        "approval_records", "One of its approvals.", on_delete="CASCADE", primary_key=True, sort_order=-99
    )


class AgentInstance(TenantScoped, Changing, Noted, Model):
    """Running agent: one version bound to an environment and a project (INS-1 to INS-6)."""

    __tablename__ = "agent_instances"
    __table_args__ = (
        CheckConstraint(
            "spend_today >= 0 AND spend_month >= 0 AND error_streak >= 0 AND token_epoch >= 0", name="counters"
        ),
        index("state"),  # the fleet board groups by state, and the emergency cascade starts from it (EMG-4)
        index("heartbeat_at"),  # stale detection reads the oldest first (HB-4)
        index("name"),  # mentions and the directory find an instance by name
        index("legacy_agent_id", unique=True, where=text("legacy_agent_id IS NOT NULL")),  # MIG-10 looks up by it
    )

    version_id: Mapped[UUID] = reference("agent_versions", "Build that the instance runs; never changes (INS-6).")
    environment_id: Mapped[UUID] = reference("environments", "Where the instance runs.")
    project_id: Mapped[UUID] = reference("projects", "Whose tasks the instance works on.")
    provider_id: Mapped[UUID | None] = reference("providers", "Vendor of the model that the instance runs on.")
    deployment_id: Mapped[UUID | None] = reference(
        "deployments", "Release that the instance belongs to; required where the environment says so (INS-5)."
    )
    policy_envelope_id: Mapped[UUID | None] = reference(
        "policy_envelopes", "Envelope of this instance alone; replaces the version's where set (POL-4)."
    )
    state: Mapped[InstanceState] = column("What the instance may do (INS-4).", default=InstanceState.PROVISIONING)
    heartbeat_at: Mapped[datetime | None] = column("Last heartbeat; absent until the first one (HB-1).")
    cost_caps: Mapped[json_object | None] = column(
        "Limits of this instance in US dollars (`dailyUsd`, `perRunUsd`, `monthlyUsd`); they only narrow (BUD-1)."
    )
    runtime_meta: Mapped[json_object | None] = column("What the runtime reports about itself: host, process, build.")
    legacy_agent_id: Mapped[name_text | None] = column(
        "Id of the agent in Mission Control that the instance continues (MIG-10); unique in the tenant."
    )
    name: Mapped[name_text | None] = column("Name that mentions and the directory use.")
    activated_at: Mapped[datetime | None] = column("When the instance first became ACTIVE (INS-1).")
    retired_at: Mapped[datetime | None] = column("When the instance retired, for good (INS-1).")
    spend_today: Mapped[money] = column(
        "US dollars spent since the last daily reset; cost ticks alone move it (BUD-2, COST-1).", default=Decimal(0)
    )
    spend_month: Mapped[money] = column(
        "US dollars spent since the month began; cost ticks alone move it (BUD-2, COST-1).", default=Decimal(0)
    )
    spend_reset_at: Mapped[datetime | None] = column(
        "When the daily spend starts again from zero: the next midnight of the tenant's time zone (BUD-2)."
    )
    paused_by: Mapped[PauseCause | None] = column(
        "What paused the instance, or EMERGENCY where an emergency drains it; else absent (EMG-6)."
    )
    pre_pause_state: Mapped[InstanceState | None] = column("State to return to when the emergency ends (EMG-6).")
    error_streak: Mapped[int] = column("Heartbeats with an error in a row; 5 quarantine it (HB-3).", default=0)
    last_error: Mapped[str | None] = column("Text of the last error that the instance reported (HB-1).")
    current_task_id: Mapped[UUID | None] = reference("tasks", "Task that its last heartbeat named (HB-1).")
    parent_instance_id: Mapped[UUID | None] = reference("agent_instances", "Instance that spawned this one (POL-9).")
    heartbeat_event_at: Mapped[datetime | None] = column(
        "When a heartbeat last left a HEARTBEAT event; there is one in 30 seconds at most (HB-1)."
    )
    token_epoch: Mapped[int] = column(
        "Generation of its tokens; adding one kills every token given out before (decision 26).", default=0
    )


class AgentIdentity(TenantScoped, Changing, Noted, Model):
    """Governed identity, soul and tools documents of a template, and the verdict on them (IDN-1)."""

    __tablename__ = "agent_identities"
    __table_args__ = (
        index("compliance_status"),  # the compliance report counts and lists by verdict (IDN-3)
        index("name"),
        # A template has one identity; an instance may have its own instead.
        index("template_id", unique=True, where=text("instance_id IS NULL")),
        index("instance_id", unique=True, where=text("instance_id IS NOT NULL")),
    )

    template_id: Mapped[UUID] = reference("agent_templates", "Template whose agents have this identity.")
    name: Mapped[name_text] = column("Name that the agent goes by.")
    creature: Mapped[str | None] = column("What kind of being the agent is, in its own words.")
    vibe: Mapped[str | None] = column("Tone the agent speaks in.")
    emoji: Mapped[str | None] = column("Picture in one character.")
    avatar_path: Mapped[str | None] = column("Picture: an http(s) address, a data URI, or a relative path (IDN-1).")
    soul_content: Mapped[str | None] = column("SOUL document: core truths, boundaries, vibe; Markdown.")
    soul_hash: Mapped[str | None] = column("SHA-256 of the SOUL document, lower-case hex (IDN-2).")
    compliance_status: Mapped[IdentityComplianceStatus | None] = column(
        "Verdict of the last scan; absent until there was one (IDN-1)."
    )
    validation_errors: Mapped[list[str] | None] = column("What the last scan found wrong, one sentence each (IDN-1).")
    last_scan_at: Mapped[datetime | None] = column("When the documents were last checked (IDN-2).")
    identity_content: Mapped[str | None] = column("IDENTITY document; Markdown.")
    tools_content: Mapped[str | None] = column("TOOLS document: notes on how the agent uses its tools; Markdown.")
    instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "The one instance this identity is for; absent means every instance of the template."
    )
