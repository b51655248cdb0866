"""Whom an event concerns, and what they are told (NOT-3, NOT-4): pure data and pure functions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from db.enums import AlertSeverity, NotificationSeverity, NotificationType


class Circle(enum.Enum):
    """A group of recipients, as seen from an event's source."""

    APPROVERS = "operators who may approve in the request's project"
    REQUESTER = "whoever made the request"
    WATCHERS = "operators who watch the source"
    OWNERS = "owners of the source's template"
    STARTER = "whoever started the evaluation"
    POLICY_READERS = "operators who may read policies in the project"
    ADMINS = "operators who may assign roles"
    OPERATORS = "every operator"
    IN_SCOPE = "operators who may read alerts in the project"
    ASSIGNEES = "agents that the task is assigned to"
    FOLLOWERS = "agents that follow the task's thread"
    CALLED = "whoever the event names"


@dataclass(frozen=True)
class Telling:
    """What an event type leads to."""

    circles: tuple[Circle, ...]
    type: NotificationType
    severity: NotificationSeverity
    title: str


_INFO, _SUCCESS = NotificationSeverity.INFO, NotificationSeverity.SUCCESS
_WARNING, _ERROR = NotificationSeverity.WARNING, NotificationSeverity.ERROR

TELLINGS: Final[Mapping[str, Telling]] = {
    "APPROVAL_REQUIRED": Telling(
        (Circle.APPROVERS,), NotificationType.APPROVAL_REQUESTED, _INFO, "A request waits for your decision"
    ),
    "APPROVAL_ESCALATED": Telling(
        (Circle.APPROVERS,), NotificationType.APPROVAL_REQUESTED, _WARNING, "A request has waited for too long"
    ),
    "APPROVAL_DECIDED": Telling(
        (Circle.REQUESTER, Circle.WATCHERS), NotificationType.APPROVAL_DECIDED, _SUCCESS, "Your request was decided"
    ),
    "VERSION_APPROVED": Telling((Circle.OWNERS,), NotificationType.SYSTEM, _SUCCESS, "A version was approved"),
    "VERSION_REJECTED": Telling((Circle.OWNERS,), NotificationType.SYSTEM, _WARNING, "A version was sent back"),
    "DEPLOYMENT_ACTIVATED": Telling(
        (Circle.OWNERS, Circle.WATCHERS), NotificationType.DEPLOYMENT_ACTIVATED, _SUCCESS, "A release is in force"
    ),
    "DEPLOYMENT_ROLLED_BACK": Telling(
        (Circle.OWNERS, Circle.WATCHERS), NotificationType.DEPLOYMENT_ACTIVATED, _WARNING, "A release was rolled back"
    ),
    "EVAL_COMPLETED": Telling(
        (Circle.OWNERS, Circle.STARTER), NotificationType.EVALUATION_COMPLETED, _SUCCESS, "An evaluation has ended"
    ),
    "EVAL_FAILED": Telling(
        (Circle.OWNERS, Circle.STARTER), NotificationType.EVALUATION_COMPLETED, _ERROR, "An evaluation failed to run"
    ),
    "POLICY_VIOLATION": Telling(
        (Circle.POLICY_READERS,), NotificationType.ALERT, _WARNING, "Policy has stopped an agent"
    ),
    "TASK_ASSIGNED": Telling((Circle.ASSIGNEES,), NotificationType.TASK_ASSIGNED, _INFO, "A task is yours"),
    "TASK_TRANSITIONED": Telling(
        (Circle.WATCHERS, Circle.FOLLOWERS), NotificationType.TASK_TRANSITION, _INFO, "A task that you follow has moved"
    ),
    "MENTION": Telling((Circle.CALLED,), NotificationType.MENTION, _INFO, "Somebody called you"),
    "MESSAGE_POSTED": Telling(
        (Circle.FOLLOWERS,), NotificationType.SYSTEM, _INFO, "There is news in a thread that you follow"
    ),
    "ALERT_OPENED": Telling((Circle.IN_SCOPE,), NotificationType.ALERT, _WARNING, "There is an alert"),
    "EXECUTION_ASSIGNED": Telling(
        (Circle.CALLED,), NotificationType.SYSTEM, _INFO, "Work that you asked an executor for has a new executor"
    ),
    "EXECUTION_ENDED": Telling(
        (Circle.CALLED,), NotificationType.SYSTEM, _INFO, "Work that you asked an executor for has ended"
    ),
    "SOUL_CHANGED": Telling((Circle.OWNERS,), NotificationType.SYSTEM, _INFO, "The soul of your agents changed"),
}
"""NOT-3, as far as events are written by now."""

OTHERWISE: Final = Telling((Circle.OPERATORS,), NotificationType.ALERT, _WARNING, "Something needs attention")
"""An event of a type that is not listed concerns every operator."""

_ORDER: Final = list(NotificationSeverity)


def telling_of(event_type: str) -> Telling:
    """What an event of this type leads to."""
    return TELLINGS.get(event_type, OTHERWISE)


_RAISED_TO: Final = {2: (Circle.APPROVERS, Circle.ADMINS), 3: (Circle.OPERATORS,)}
"""APR-8. Whom a request is raised to; the first level is the approvers' own."""


def circles_of(event_type: str, payload: Mapping[str, Any]) -> tuple[Circle, ...]:
    """Whom an event concerns."""
    usual = telling_of(event_type).circles
    if _is_critical(event_type, payload):
        return (Circle.OPERATORS,)
    return _RAISED_TO.get(payload.get("level", 0), usual) if event_type == "APPROVAL_ESCALATED" else usual


_SECURITY: Final = frozenset({"EMERGENCY_MODE_CHANGED", "SOUL_CHANGED"})
"""NOT-4. Notices of security: what agents may do at all, and who they are, has changed."""


def shows_always(event_type: str, payload: Mapping[str, Any]) -> bool:
    """NOT-4. Whether people see it in the application whatever their preferences say: a notice of security, or an alert
    that is CRITICAL."""
    return event_type in _SECURITY or _is_critical(event_type, payload)


def _is_critical(event_type: str, payload: Mapping[str, Any]) -> bool:
    return event_type == "ALERT_OPENED" and payload.get("severity") == AlertSeverity.CRITICAL


def severity_of(telling: Telling, payload: Mapping[str, Any]) -> NotificationSeverity:
    """The event's own severity where it says one: a denied request, a failed evaluation, a RED risk."""
    said = payload.get("severity")
    if said in list(NotificationSeverity):
        return NotificationSeverity(said)
    if said == AlertSeverity.CRITICAL:
        return NotificationSeverity.ERROR
    if payload.get("riskLevel") == "RED" or payload.get("status") in ("DENIED", "EXPIRED", "CANCELED", "FAILED"):
        return NotificationSeverity.WARNING
    return telling.severity


def passes(
    filters: Mapping[str, Any] | None, event_type: str, severity: NotificationSeverity, project_id: str | None
) -> bool:
    """NOT-4. Whether a preference's filters let the message through; an absent key lets everything through."""
    wanted = filters or {}
    types, projects, least = wanted.get("eventTypes"), wanted.get("projectIds"), wanted.get("minSeverity")
    if types is not None and event_type not in types:
        return False
    if projects is not None and project_id is not None and project_id not in projects:
        return False
    if least not in list(NotificationSeverity):
        return True
    return _ORDER.index(severity) >= _ORDER.index(NotificationSeverity(least))
