"""What the mutations of webhooks need, and those of what a person keeps for themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from db import models
from db.enums import NotificationType, SavedViewScope, WebhookDeliveryStatus
from tests.app.mutation_cases.case import Case

URL: Final = "https://1.1.1.1/hooks"

INPUTS: Final[Mapping[str, Case]] = {
    "savedViewCreate": Case({"name": "Mine", "scope": "KANBAN", "filters": {"status": ["INBOX"]}}),
    "savedViewUpdate": Case({"name": "Renamed"}),
    "savedViewDelete": Case(),
    "watchToggle": Case(rows={"entityId": "agent"}),
    "notificationMarkRead": Case(is_own=True),
    "notificationMarkAllRead": Case(is_own=True),
    "notificationDelete": Case(is_own=True),
    "notificationPreferenceSet": Case({"channel": "EMAIL", "enabled": True}, is_own=True),
    "webhookCreate": Case({"name": "Hook", "url": URL, "events": ["task.created"]}),
    "webhookUpdate": Case({"name": "Renamed"}),
    "webhookRotate": Case(),
    "webhookActivate": Case(rows={"webhookId": "inactive webhook"}),
    "webhookDeactivate": Case(),
    "webhookDeliveryRedeliver": Case(),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """The caller's own, two webhooks and a delivery."""
    caller, project = rows["caller"], rows["project"]
    put(
        "view",
        models.SavedView(
            project_id=project.id, owner_operator_id=caller.id, name="Mine", scope=SavedViewScope.KANBAN, filters={}
        ),
    )
    put("notification", models.Notification(operator_id=caller.id, type=NotificationType.SYSTEM, title="Hello"))

    def webhook(name: str, active: bool) -> Any:
        made = models.Webhook(
            project_id=project.id, name=name, url=URL, secret="v1.sealed", events=["*"], active=active
        )
        return put(name, made)

    hook = webhook("webhook", active=True)
    webhook("inactive webhook", active=False)
    put(
        "delivery",
        models.WebhookDelivery(
            webhook_id=hook.id, event="task.created", payload={}, url=URL, status=WebhookDeliveryStatus.FAILED
        ),
    )
