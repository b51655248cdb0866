"""Root fields of notifications."""

from app.graph.roots import row, rows
from app.notification.types import Notification, NotificationEvent, NotificationPreference

FIELDS = (
    rows(NotificationEvent, "Events that were told or wait to be: those without `processedAt` are in the queue."),
    row(NotificationEvent, "One event."),
    rows(Notification, "Messages to people and agents; a recipient's own are on the operator and the instance."),
    row(Notification, "One message to one recipient."),
    rows(NotificationPreference, "Who wants to hear what, by channel."),
    row(NotificationPreference, "One person's preference for one channel."),
)
