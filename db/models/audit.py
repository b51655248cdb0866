"""The three journals: what was changed, what was done, and who knocked at the door."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import (
    Model,
    Noted,
    TenantScoped,
    big_int,
    column,
    entity,
    in_domain,
    index,
    json_object,
    money,
    name_text,
    reference,
)
from db.enums import ActorType, AuditSeverity, ChangeRecordType, OpEventType


class ChangeRecord(TenantScoped, Noted, Model):
    """Append-only journal of governance: what changed, by whom, before and after. Rows chain by hash (AUD-3)."""

    __tablename__ = "change_records"
    __table_args__ = (
        CheckConstraint("actor_type <> 'SYSTEM' OR actor_id IS NULL", name="system_has_no_id"),
        CheckConstraint(in_domain("sha256", "content_hash", "prev_hash", "hash"), name="hashes"),
        CheckConstraint("seq >= 1", name="seq"),
        index("seq", unique=True),  # subscribers resume from it, and the chain is read along it
        index("target_entity", "target_id"),  # the history of a row
        index("actor_id"),  # what a person or an agent changed
        index("type"),  # the journal lists by type
        index("type", "timestamp"),  # of a time range
        index("timestamp"),  # everything of a time range
        index("idempotency_key", unique=True, where=text("idempotency_key IS NOT NULL")),  # MIG-5 imports once
    )

    type: Mapped[ChangeRecordType] = column("What the record records.")
    actor_type: Mapped[ActorType] = column("Who made the change: a person, an agent, or the gateway itself.")
    actor_id: Mapped[UUID | None] = column(
        "The operator or the instance; absent for the gateway, and for actors that an import could not find."
    )
    target_entity: Mapped[str] = entity("Type of the row that changed.")
    target_id: Mapped[UUID] = column("Row that changed.")
    before_state: Mapped[json_object | None] = column("The changed keys as they were; absent for what is new.")
    after_state: Mapped[json_object | None] = column("The changed keys as they are now.")
    reason: Mapped[str | None] = column("Why, in the words of whoever asked for it.")
    evidence_links: Mapped[list[str] | None] = column("Addresses of what the change rests on.")
    timestamp: Mapped[datetime] = column("When the change took effect; an import keeps the original time.")
    project_id: Mapped[UUID | None] = reference("projects", "Project that the change belongs to.")
    instance_id: Mapped[UUID | None] = reference("agent_instances", "Instance that the change is about.")
    version_id: Mapped[UUID | None] = reference("agent_versions", "Version that the change is about.")
    summary: Mapped[str | None] = column("The change in one sentence.")
    idempotency_key: Mapped[name_text | None] = column("Key of the request or of the imported row; unique when set.")
    caused_by_id: Mapped[UUID | None] = reference(
        "change_records", "First record of the cascade that this one belongs to (decision 1)."
    )
    seq: Mapped[big_int] = column("Number of the record in its tenant: 1, 2, 3 … without holes, in commit order.")
    content_hash: Mapped[str] = column("SHA-256 of the record's canonical text (RFC 8785), lower-case hex.")
    prev_hash: Mapped[str] = column("`hash` of the record before; 64 zeros for the first.")
    hash: Mapped[str] = column("SHA-256 over `prevHash`, `seq` and `contentHash`: vouches for all records up to here.")


class OpEvent(TenantScoped, Model):
    """Telemetry of execution, in great numbers and kept for a while; linked to the change it caused (OPE-1, RET).

    Partitioned by id, whose time is `timestamp`. Has no foreign keys: whoever writes a batch checks its ids, and a
    link may outlive its row (decision 5).
    """

    __tablename__ = "op_events"
    __table_args__ = (
        # Subscribers resume from the number. Not unique: on a partitioned table it would need the id too; the counter
        # gives every number once.
        index("seq"),
        index("type", "timestamp"),  # one kind of event in a time range (OPE-3)
        index("timestamp"),  # everything of a time range
        {"postgresql_partition_by": "RANGE (id)"},
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True, sort_order=-110, doc="The tenant that owns the row.")
    type: Mapped[OpEventType] = column("What the event reports.")
    instance_id: Mapped[UUID | None] = reference("agent_instances", "Agent that the event is about.", constrained=False)
    version_id: Mapped[UUID | None] = reference(
        "agent_versions", "Version that the agent ran then; filled from the instance (OPE-1).", constrained=False
    )
    project_id: Mapped[UUID | None] = reference(
        "projects", "Project of the work; filled from the instance (OPE-1).", constrained=False
    )
    task_id: Mapped[UUID | None] = reference("tasks", "Task that was worked on.", constrained=False)
    run_id: Mapped[UUID | None] = reference("runs", "Run that the event belongs to.", constrained=False)
    payload: Mapped[json_object | None] = column(
        "Details by type: `decision`, `reason`, `toolName`, `risk`, `inputTokens`, `durationMs`, `stage` and others."
    )
    change_record_id: Mapped[UUID | None] = reference(
        "change_records", "Governance record that the event caused (OPE-2).", constrained=False
    )
    timestamp: Mapped[datetime] = column("When it happened (UTC, milliseconds); the id carries the same time.")
    tool_call_id: Mapped[UUID | None] = reference("tool_calls", "Tool call that the event reports.", constrained=False)
    workflow_run_id: Mapped[UUID | None] = reference(
        "workflow_runs", "Workflow run whose step the event reports.", constrained=False
    )
    seq: Mapped[big_int] = column("Number of the event in its tenant, in commit order; the cursor of live streams.")
    event_id: Mapped[str | None] = column("The sender's own id of the event; the same one is stored once (OPE-1).")
    delta_usd: Mapped[money | None] = column("US dollars that a COST_TICK adds (COST-1).")
    model: Mapped[str | None] = column("Model that the money was spent on, such as `claude-sonnet-4`.")
    created_at: Mapped[datetime] = mapped_column(
        default=func.now(),
        server_default=func.now(),
        sort_order=900,
        doc="When the event arrived; what happened earlier may arrive later.",
    )


class AuditLog(TenantScoped, Noted, Model):
    """Journal of security: sign-in, refusals, permissions, erasure (AUD-1). Kept for a while (RET)."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        CheckConstraint("actor_type <> 'SYSTEM' OR actor_id IS NULL", name="system_has_no_id"),
        index("severity", "timestamp"),  # what was serious in a time range (AUD-4)
        index("action", "timestamp"),  # one kind of action in a time range
        index("timestamp"),  # everything of a time range; retention removes along it
        index("actor_id"),  # what one person or agent tried
        index("resource", "resource_id"),  # what was tried on one thing
    )

    severity: Mapped[AuditSeverity] = column("Weight of the row.")
    action: Mapped[name_text] = column("What was done or refused, such as `ACCESS_DENIED` or `ROLE_ASSIGNED` (AUD-1).")
    actor_type: Mapped[ActorType] = column("Who acted.")
    actor_id: Mapped[UUID | None] = column(
        "The operator or the instance; absent for the gateway, and for callers that nobody knows."
    )
    resource: Mapped[name_text | None] = column("Kind of thing that was acted on, such as `roles`.")
    resource_id: Mapped[name_text | None] = column("Which one, as text: not everything here has a row.")
    description: Mapped[str | None] = column("What happened, in a sentence, with people by pseudonym (PII-2).")
    ip_address: Mapped[str | None] = column("Address of the caller, cut before storing (PII-3).")
    user_agent: Mapped[str | None] = column("Program of the caller, without version numbers (PII-3).")
    timestamp: Mapped[datetime] = column("When it happened.")
