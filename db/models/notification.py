"""Notifications: events to be told, what each recipient is told, and what each of them wants to hear."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, text
from sqlalchemy.orm import Mapped

from db.base import Changing, Model, Noted, TenantScoped, column, entity, index, json_object, name_text, reference
from db.enums import NotificationChannel, NotificationSeverity, NotificationType


class NotificationEvent(TenantScoped, Noted, Model):
    """Something that happened and waits to be told to whom it concerns (NOT-2)."""

    __tablename__ = "notification_events"
    __table_args__ = (
        index("processed_at"),  # the fan-out takes events without it, oldest first (NOT-2)
        index("event_type", "timestamp"),  # the feed of one type in time order
        index("source_entity", "source_id"),  # what a row gave rise to
        index("timestamp"),  # events of a period
    )

    event_type: Mapped[name_text] = column(
        "What happened, such as `APPROVAL_REQUIRED`; decides the recipients (NOT-3)."
    )
    source_entity: Mapped[str] = entity("GraphQL type of the row that the event is about.")
    source_id: Mapped[UUID] = column("Key of the row that the event is about.")
    payload: Mapped[json_object | None] = column("What the texts of the notifications are made of.")
    processed_at: Mapped[datetime | None] = column("When every recipient had been told; absent while the event waits.")
    timestamp: Mapped[datetime | None] = column("When it happened; absent means when the row was made.")
    attempts: Mapped[int] = column("How often the fan-out was tried.", default=0)


class Notification(TenantScoped, Changing, Noted, Model):
    """One message to one recipient, an operator or an instance, over one channel."""

    __tablename__ = "notifications"
    __table_args__ = (
        # the recipient is an operator or an instance, exactly one (NOT-1, C24)
        CheckConstraint("num_nonnulls(operator_id, instance_id) = 1", name="recipient"),
        # an event is told once to each recipient over each channel, however often the fan-out runs (NOT-2)
        index("event_id", "operator_id", "channel", unique=True, where=text("operator_id IS NOT NULL")),
        index("event_id", "instance_id", "channel", unique=True, where=text("instance_id IS NOT NULL")),
        # unread lists and counts cost what is unread, not what was ever sent (NOT-1, NOT-6)
        index("operator_id", "read_at", where=text("read_at IS NULL")),
        index("instance_id", "read_at", where=text("read_at IS NULL")),
        index("read_at"),  # the filter for unread rows outside a recipient's own list
        index("type"),
        index("severity"),
        index("expires_at", where=text("expires_at IS NOT NULL")),  # what has expired is not delivered any more (NOT-5)
    )

    operator_id: Mapped[UUID | None] = reference(
        "operators", "The person who is told; exactly one of operator and instance is set (NOT-1)."
    )
    type: Mapped[NotificationType] = column("What the message is about.")
    title: Mapped[str] = column("The message in a line.")
    body: Mapped[str | None] = column("The message in full.")
    task_id: Mapped[UUID | None] = reference("tasks", "Task that the message is about.")
    approval_record_id: Mapped[UUID | None] = reference("approval_records", "Request that the message is about.")
    deployment_id: Mapped[UUID | None] = reference("deployments", "Deployment that the message is about.")
    from_instance_id: Mapped[UUID | None] = reference("agent_instances", "Agent that caused the message.")
    from_operator_id: Mapped[UUID | None] = reference("operators", "Person who caused the message.")
    channel: Mapped[NotificationChannel | None] = column(
        "Way by which the message goes out (NOT-4).", default=NotificationChannel.IN_APP
    )
    read_at: Mapped[datetime | None] = column("When the recipient read it; an agent reads with its heartbeat (NOT-1).")
    event_id: Mapped[UUID | None] = reference(
        "notification_events", "Event that the message tells; absent on imported messages, whose events are history."
    )
    severity: Mapped[NotificationSeverity | None] = column("How urgent the message is (NOT-3).")
    instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "The agent that is told; exactly one of operator and instance is set (NOT-1)."
    )
    message_id: Mapped[UUID | None] = reference("messages", "Thread message that the notification is about.")
    expires_at: Mapped[datetime | None] = column(
        "When delivery is given up, 24 hours after creation for channels outside the application (NOT-5)."
    )


class NotificationPreference(TenantScoped, Changing, Noted, Model):
    """What one operator wants to hear over one channel; without a row only in-app messages arrive (NOT-4)."""

    __tablename__ = "notification_preferences"
    __table_args__ = (
        CheckConstraint("frequency IN ('immediate', 'hourly', 'daily')", name="frequency"),
        index("operator_id", "channel", unique=True),  # a row an operator and channel (NOT-4, C25)
        index("channel"),  # the fan-out asks who wants a channel
    )

    operator_id: Mapped[UUID] = reference("operators", "Whose preference it is.", on_delete="CASCADE")
    channel: Mapped[NotificationChannel] = column("Channel that the row switches.")
    enabled: Mapped[bool] = column(
        "Whether messages go out on the channel; security notices and critical alerts always show in-app (NOT-4)."
    )
    filters: Mapped[json_object | None] = column(
        "What passes: `eventTypes`, `minSeverity`, `projectIds`; an absent key lets everything pass (NOT-4)."
    )
    frequency: Mapped[str | None] = column("How messages are bundled: `immediate`, `hourly` or `daily`.")
