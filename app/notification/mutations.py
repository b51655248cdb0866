"""Mutations of a person's own notifications."""

from __future__ import annotations

from datetime import datetime

from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.notification import commands
from app.notification.types import Notification, NotificationPreference
from db.enums import NotificationChannel, NotificationSeverity


@input_type
class NotificationMarkReadInput:
    """What one has read."""

    notification_id: str = given("A notification of one's own.", id_of="Notification")


@input_type
class NotificationMarkAllReadInput:
    """That one has read everything."""

    until: datetime | None = given("Only what was made up to this time; everything if nothing is said.")


@input_type
class NotificationDeleteInput:
    """What goes."""

    notification_id: str = given("A notification of one's own.", id_of="Notification")


@input_type
class NotificationFiltersInput:
    """What passes: all that is given must hold."""

    event_types: list[str] | None = given("Only events of these types, such as `TASK_ASSIGNED`.", longest=100, most=100)
    min_severity: NotificationSeverity | None = given("Only messages of this severity or a more urgent one.")
    project_ids: list[str] | None = given("Only messages of these projects, and of none.", id_of="Project", most=200)


@input_type
class NotificationPreferenceSetInput:
    """What one wants to hear over a channel; what is left out stays."""

    channel: NotificationChannel = given("The channel.")
    enabled: bool = given("Whether messages go out on it.")
    filters: NotificationFiltersInput | None = given("Which messages, all filters; null lets every one pass.")
    frequency: str | None = given("How messages are bundled: `immediate`, `hourly` or `daily`.", longest=20)


FIELDS = (
    mutation("notification_mark_read", commands.mark_notification_read, NotificationMarkReadInput, Notification),
    mutation(
        "notification_mark_all_read",
        commands.mark_all_notifications_read,
        NotificationMarkAllReadInput,
        None,
        shows=(Shown("count", int, "How many were unread."),),
    ),
    mutation(
        "notification_delete",
        commands.delete_notification,
        NotificationDeleteInput,
        None,
        shows=(shown_id("notification_id", "Notification", "Id of the notification that is gone."),),
    ),
    mutation(
        "notification_preference_set",
        commands.set_notification_preference,
        NotificationPreferenceSetInput,
        NotificationPreference,
    ),
)
