"""Types of agent intelligence."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.graph.entity import Entity, belongs_to, entity
from app.graph.scalars import JSON
from db import models
from db.enums import AgentDocumentType

if TYPE_CHECKING:
    from app.identity.types import Project
    from app.registry.types import AgentInstance, AgentVersion


@entity(models.AgentPerformance, prefix="prf")
class AgentPerformance(Entity):
    """Running success, cost and time of an instance's tasks, per version and task type (LRN-1)."""

    instance: AgentInstance = belongs_to("instance_id")
    version: AgentVersion = belongs_to("version_id")
    project: Project | None = belongs_to("project_id")
    task_type: str
    success_count: int
    failure_count: int
    avg_completion_time_ms: float
    avg_cost_usd: float
    total_tasks_completed: int
    last_updated_at: datetime
    created_at: datetime
    updated_at: datetime


@entity(models.AgentPattern, prefix="pat")
class AgentPattern(Entity):
    """Learnt statement about an instance's strength or weakness, with confidence and evidence (LRN-2)."""

    instance: AgentInstance = belongs_to("instance_id")
    project: Project | None = belongs_to("project_id")
    pattern: str
    confidence: float
    evidence: list[str]
    discovered_at: datetime
    last_seen_at: datetime
    version: AgentVersion = belongs_to("version_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@entity(models.AgentDocument, prefix="doc")
class AgentDocument(Entity):
    """Working memory of an instance: one document of each type (DOC-1)."""

    instance: AgentInstance = belongs_to("instance_id")
    project: Project | None = belongs_to("project_id")
    type: AgentDocumentType
    content: str
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
