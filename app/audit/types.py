"""Types of the journals."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.graph.entity import ACTORS, Connection, Entity, belongs_to, entity, has_many, points_to
from app.graph.scalars import JSON, Seq
from db import models
from db.enums import ActorType, AuditSeverity, ChangeRecordType, OpEventType

if TYPE_CHECKING:
    from app.execution.types import Run, Task, ToolCall
    from app.graph.entity import Entity as Node
    from app.identity.types import Project
    from app.registry.types import AgentInstance, AgentVersion
    from app.workflow.types import WorkflowRun


@entity(models.ChangeRecord, prefix="chg")
class ChangeRecord(Entity):
    """Append-only journal of governance: what changed, by whom, before and after. Rows chain by hash (AUD-3)."""

    type: ChangeRecordType
    actor_type: ActorType
    actor: Node | None = points_to("actor_type", "actor_id", ACTORS)
    target: Node | None = points_to("target_entity", "target_id")
    before_state: JSON | None
    after_state: JSON | None
    reason: str | None
    evidence_links: list[str] | None
    timestamp: datetime
    project: Project | None = belongs_to("project_id")
    instance: AgentInstance | None = belongs_to("instance_id")
    version: AgentVersion | None = belongs_to("version_id")
    summary: str | None
    idempotency_key: str | None
    caused_by: ChangeRecord | None = belongs_to("caused_by_id")
    seq: Seq
    content_hash: str
    prev_hash: str
    hash: str
    metadata: JSON | None
    created_at: datetime
    cascade: Connection[ChangeRecord] = has_many(
        models.ChangeRecord.caused_by_id, "Changes that followed from this one (decision 1)."
    )
    op_events: Connection[OpEvent] = has_many(
        models.OpEvent.change_record_id, "Telemetry that caused the change, as far back as it is kept (OPE-2)."
    )


@entity(models.OpEvent, prefix="evt", clock="timestamp", default_hours=24)
class OpEvent(Entity):
    """Telemetry of execution, in great numbers and kept for a while; linked to the change it caused (OPE-1, RET).

    A link is null where its row is gone: telemetry is taken as it comes (decision 5)."""

    type: OpEventType
    instance: AgentInstance | None = belongs_to("instance_id")
    version: AgentVersion | None = belongs_to("version_id")
    project: Project | None = belongs_to("project_id")
    task: Task | None = belongs_to("task_id")
    run: Run | None = belongs_to("run_id")
    payload: JSON | None
    change_record: ChangeRecord | None = belongs_to("change_record_id")
    timestamp: datetime
    tool_call: ToolCall | None = belongs_to("tool_call_id")
    workflow_run: WorkflowRun | None = belongs_to("workflow_run_id")
    seq: Seq
    event_id: str | None
    delta_usd: float | None
    model: str | None
    created_at: datetime


@entity(models.AuditLog, prefix="aud")
class AuditLog(Entity):
    """Journal of security: sign-in, refusals, permissions, erasure (AUD-1). Kept for a while (RET)."""

    severity: AuditSeverity
    action: str
    actor_type: ActorType
    actor: Node | None = points_to("actor_type", "actor_id", ACTORS)
    resource: str | None
    resource_id: str | None
    description: str | None
    ip_address: str | None
    user_agent: str | None
    timestamp: datetime
    metadata: JSON | None
    created_at: datetime
