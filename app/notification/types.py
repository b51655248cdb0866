"""Types of notifications."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.graph.entity import (
    Connection,
    Entity,
    Private,
    belongs_to,
    entity,
    has_many,
    json_type,
    key,
    key_of,
    points_to,
)
from app.graph.scalars import JSON
from db import models
from db.enums import NotificationChannel, NotificationSeverity, NotificationType

if TYPE_CHECKING:
    from app.execution.types import Message, Task
    from app.governance.types import ApprovalRecord, Deployment
    from app.graph.entity import Entity as Node
    from app.identity.types import Operator, Project
    from app.registry.types import AgentInstance


@entity(models.NotificationEvent, prefix="nev")
class NotificationEvent(Entity):
    """Something that happened and waits to be told to whom it concerns (NOT-2)."""

    event_type: str
    source_entity: str
    source: Node | None = points_to("source_entity", "source_id")
    payload: JSON | None
    processed_at: datetime | None
    timestamp: datetime | None
    attempts: int
    metadata: JSON | None
    created_at: datetime
    notifications: Connection[Notification] = has_many(models.Notification.event_id, "What the caller was told of it.")


@entity(models.Notification, prefix="ntf", private=Private(("operator_id", "instance_id")))
class Notification(Entity):
    """One message to one recipient, an operator or an instance, over one channel. Shown to the recipient
    alone (NOT-6)."""

    operator: Operator | None = belongs_to("operator_id")
    type: NotificationType
    title: str
    body: str | None
    task: Task | None = belongs_to("task_id")
    approval_record: ApprovalRecord | None = belongs_to("approval_record_id")
    deployment: Deployment | None = belongs_to("deployment_id")
    from_instance: AgentInstance | None = belongs_to("from_instance_id")
    from_operator: Operator | None = belongs_to("from_operator_id")
    channel: NotificationChannel | None
    read_at: datetime | None
    event: NotificationEvent | None = belongs_to("event_id")
    severity: NotificationSeverity | None
    instance: AgentInstance | None = belongs_to("instance_id")
    message: Message | None = belongs_to("message_id")
    expires_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@json_type
class NotificationFilters:
    """What passes a notification preference (NOT-4)."""

    event_types: list[str] | None = key("Only events of these types; absent lets all pass.")
    min_severity: str | None = key("Only messages of this severity or a more urgent one: `INFO`, `SUCCESS`, …")
    projects: list[Project] | None = key_of("Project", "Only messages of these projects.", name="projectIds")


@entity(models.NotificationPreference, prefix="ntp", private=Private(("operator_id",)))
class NotificationPreference(Entity):
    """What one operator wants to hear over one channel; without a row only in-app messages arrive (NOT-4). Shown
    to that person alone."""

    operator: Operator = belongs_to("operator_id")
    channel: NotificationChannel
    enabled: bool
    filters: NotificationFilters | None
    frequency: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
