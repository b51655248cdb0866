"""Enums of notifications."""

from db.enums.described import Described


class NotificationType(Described):
    """What a notification is about; many event types lead to one of these (NOT-3)."""

    MENTION = "MENTION", "Somebody named the recipient in a thread."
    TASK_ASSIGNED = "TASK_ASSIGNED", "The recipient was given a task."
    TASK_TRANSITION = "TASK_TRANSITION", "A task that the recipient watches or follows changed its status."
    APPROVAL_REQUESTED = "APPROVAL_REQUESTED", "A request waits for the recipient's decision."
    APPROVAL_DECIDED = "APPROVAL_DECIDED", "A request of the recipient, or one they watch, was decided."
    DEPLOYMENT_ACTIVATED = "DEPLOYMENT_ACTIVATED", "A deployment took effect, or was rolled back."
    EVALUATION_COMPLETED = "EVALUATION_COMPLETED", "An evaluation run ended, whatever its verdict."
    ALERT = "ALERT", "A policy was violated, an instance failed or an alert was opened."
    SYSTEM = "SYSTEM", "Anything else that the platform has to say."


class NotificationChannel(Described):
    """Way by which a notification reaches its recipient."""

    IN_APP = "IN_APP", "Shown in the application; on unless a preference switches it off (NOT-4)."
    EMAIL = "EMAIL", "Sent to the recipient's address; off unless a preference switches it on."
    SLACK = "SLACK", "Posted to Slack; off unless a preference switches it on."
    WEBHOOK = "WEBHOOK", "Posted to an address of the recipient; off unless a preference switches it on."


class NotificationSeverity(Described):
    """How urgent a notification is; a preference's `minSeverity` compares in this order."""

    INFO = "INFO", "For the record."
    SUCCESS = "SUCCESS", "Something that was waited for went well."
    WARNING = "WARNING", "Somebody should look at it."
    ERROR = "ERROR", "Something failed."
