"""Commands of a person's own notifications: read, removed, wanted (NOT-4, NOT-6).

They concern the caller's own rows alone, which lie in no project, so whoever may read notifications anywhere may give
them. Agents read theirs with their heartbeat (NOT-1).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, update

from app.commands import Done, Refusal, Refused, command
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import NotificationChannel
from db.models import Notification, NotificationPreference, Operator, Project

_READ: Final = "read:notifications"
_NONE: Final = Refused(Refusal.NOT_FOUND, "You have no such notification.", "notification_id")
FREQUENCIES: Final = ("immediate", "hourly", "daily")
"""How messages may be bundled (NOT-4)."""


@command(_READ, "NOTIFICATION_READ")
async def mark_notification_read(uow: UnitOfWork, notification_id: UUID) -> Notification | Refused:
    """NOT-6. Say that one has read a notification of one's own; saying it again changes nothing."""
    notification = await _own(uow, notification_id)
    if isinstance(notification, Refused):
        return notification
    if notification.read_at is None:
        notification.read_at = uow.now
        uow.audit("NOTIFICATION_READ", resource=Notification.__name__, resource_id=notification.id)
    return notification


@command(_READ, "NOTIFICATIONS_READ")
async def mark_all_notifications_read(uow: UnitOfWork, until: datetime | None = None) -> Done:
    """NOT-6. Say that one has read all of one's own notifications, or those that were made up to a time: what came
    after the page was drawn stays unread."""
    conditions = [
        Notification.tenant_id == uow.tenant_id,
        Notification.operator_id == uow.actor.id,
        Notification.read_at.is_(None),
    ]
    if until is not None:
        conditions.append(Notification.created_at <= until)
    marked = (
        update(Notification)
        .where(*conditions)
        .values(read_at=uow.now)
        .returning(Notification.id)
        .execution_options(synchronize_session=False)
        .cte("marked")
    )
    count = await uow.session.scalar(select(func.count()).select_from(marked)) or 0
    if count:
        uow.audit("NOTIFICATIONS_READ", resource=Notification.__name__, metadata={"count": count})
    return Done(None, {"count": count})


@command(_READ, "NOTIFICATION_DELETED")
async def delete_notification(uow: UnitOfWork, notification_id: UUID) -> Done | Refused:
    """NOT-6. Remove a notification of one's own."""
    notification = await _own(uow, notification_id)
    if isinstance(notification, Refused):
        return notification
    await uow.session.delete(notification)
    uow.audit(
        "NOTIFICATION_DELETED",
        resource=Notification.__name__,
        resource_id=notification.id,
        metadata={"type": notification.type.value},
    )
    return Done(None, {"notification_id": str(notification.id)})


async def _own(uow: UnitOfWork, notification_id: UUID) -> Notification | Refused:
    """The notification, locked; another recipient's is not there at all."""
    found = await uow.lock(Notification, notification_id)
    return found if found is not None and found.operator_id == uow.actor.id else _NONE


@command(_READ, "NOTIFICATION_PREFERENCE_SET")
async def set_notification_preference(
    uow: UnitOfWork,
    channel: NotificationChannel,
    enabled: bool,
    **changes: Any,
) -> Done | Refused:
    """NOT-4. Say what one wants to hear over a channel; what is left out stays. Security notices and critical alerts
    always show in the application."""
    if changes.get("frequency") is not None and changes["frequency"] not in FREQUENCIES:
        message = f"Messages are bundled {', '.join(FREQUENCIES)}."
        return Refused(Refusal.VALIDATION_ERROR, message, "frequency")
    if refused := await _bad_projects(uow, changes.get("filters")):
        return refused
    await uow.lock(Operator, uow.actor.id)  # one's own wishes follow each other
    statement = select(NotificationPreference).where(
        NotificationPreference.tenant_id == uow.tenant_id,
        NotificationPreference.operator_id == uow.actor.id,
        NotificationPreference.channel == channel,
    )
    known = (await uow.session.scalars(statement)).first()
    preference = known or NotificationPreference(operator_id=uow.actor.id, channel=channel)
    wanted = {"enabled": enabled, **changes}
    if "filters" in wanted:
        wanted["filters"] = _stored(wanted["filters"])
    before, after = edit(preference, wanted)
    if known is None:
        uow.add(preference)
    if after:
        uow.audit(
            "NOTIFICATION_PREFERENCE_SET",
            resource=NotificationPreference.__name__,
            resource_id=preference.id,
            metadata={"channel": channel.value, "before": before if known else None, "after": after},
        )
    return Done(preference)


async def _bad_projects(uow: UnitOfWork, filters: JsonObject | None) -> Refused | None:
    ids = (filters or {}).get("project_ids")
    if not ids:
        return None
    found = set(
        await uow.session.scalars(select(Project.id).where(Project.tenant_id == uow.tenant_id, Project.id.in_(ids)))
    )
    missing = next((at for at, one in enumerate(ids) if one not in found), None)
    if missing is None:
        return None
    return Refused(Refusal.NOT_FOUND, "No such project.", f"filters.project_ids[{missing}]")


def _stored(filters: JsonObject | None) -> JsonObject | None:
    """The filters as they are kept; a key that is absent lets everything pass."""
    if filters is None:
        return None
    kept: JsonObject = {}
    if filters.get("event_types") is not None:
        kept["eventTypes"] = list(dict.fromkeys(filters["event_types"]))
    if filters.get("min_severity") is not None:
        kept["minSeverity"] = filters["min_severity"].value
    if filters.get("project_ids") is not None:
        kept["projectIds"] = [str(one) for one in dict.fromkeys(filters["project_ids"])]
    return kept or None
