"""Root fields of notifications."""

from app.graph.roots import row, rows
from app.notification.types import Notification, NotificationEvent, NotificationPreference

FIELDS = (
    rows(NotificationEvent, "Events that were told or wait to be: those without `processedAt` are in the queue."),
    row(NotificationEvent, "One event."),
    rows(Notification, "Messages to the caller; nobody sees another's (NOT-6)."),
    row(Notification, "One message to the caller."),
    rows(NotificationPreference, "What the caller wants to hear, a row a channel (NOT-4)."),
    row(NotificationPreference, "The caller's preference for one channel."),
)
