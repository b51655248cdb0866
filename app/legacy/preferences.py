"""Preferences for notifications: ARM had a row for each type of event, here is one for each channel (C25, NOT-4)."""

from typing import Any, Final
from uuid import UUID

from app.legacy.document import Doc, Rejection, items, member
from app.legacy.engine import Engine
from app.legacy.keys import row_id
from app.legacy.mapping import Mapped, Mapping, Row, key, table_of
from app.legacy.world import World
from db.enums import NotificationChannel
from db.models import NotificationPreference

_FREQUENCIES: Final = ("immediate", "hourly", "daily")
_ON: Final = {"email": "EMAIL", "inApp": "IN_APP", "slack": "SLACK", "webhook": "WEBHOOK"}
"""ARM's switches, where it did not list channels."""


def _frequency(doc: Doc, world: World) -> str | None:
    given = doc.take("frequency")
    if given is None:
        return None
    if given in _FREQUENCIES:
        return str(given)
    raise Rejection("frequency", given, f"is none of {', '.join(_FREQUENCIES)}")


def _enabled(doc: Doc, world: World) -> bool:
    given = doc.take("enabled", "isEnabled")
    return True if given is None else bool(given)


PREFERENCES: Final = Mapping(
    "notificationPreferences",
    NotificationPreference,
    {
        "operator_id": key("Operator", "operatorId"),
        "channel": lambda doc, world: NotificationChannel(
            member("channel", doc.take("channel") or "IN_APP", NotificationChannel)
        ),
        "enabled": _enabled,
        "frequency": _frequency,
    },
)


async def run_preferences(engine: Engine) -> None:
    """Import the preferences. Documents of one operator and channel become one row, which lists the types of events
    that are wanted; a document for several channels has a part in several rows."""
    rows: dict[tuple[UUID, str], Row] = {}
    own: list[tuple[Doc, list[Row]]] = []
    shared: list[tuple[Doc, Row]] = []
    async for docs in engine.fresh(PREFERENCES.table):
        for doc in docs:
            made: list[Row] = []
            parts: list[Row] = []
            event = doc.take("eventType")
            try:
                channels = _channels(doc)
            except Rejection as rejection:
                engine.reject(doc, rejection)
                continue
            for channel in channels:
                doc.values["channel"] = channel
                for one in engine.map(PREFERENCES, [doc]):
                    place = (one.row["operator_id"], one.row["channel"])
                    if place not in rows:
                        name = PREFERENCES.table if not made else f"{PREFERENCES.table}:{channel}"
                        rows[place] = one.row | {"id": row_id(engine.world.tenant_id, name, doc.id, doc.created)}
                        made.append(rows[place])
                    _want(rows[place], event, wanted=_enabled(doc, engine.world))
                    parts.append(rows[place])
            if made:
                own.append((doc, made))
            elif parts:
                shared.append((doc, parts[0]))
    target = table_of(NotificationPreference)
    mapped = [Mapped(doc, made[0], tuple((target, row) for row in made[1:])) for doc, made in own]
    await engine.write(PREFERENCES.entity, target, mapped)
    for doc, row in shared:
        await engine.merge(doc, PREFERENCES.entity, row["id"])


def _channels(doc: Doc) -> list[str]:
    """The channels that a preference is for: one, a list of ARM's, or ARM's switches."""
    if doc.peek("channel") is not None:
        return [str(doc.peek("channel"))]
    listed = doc.take("channels")
    if listed is not None:
        return [str(one).upper().replace("-", "_") for one in items("channels", listed)]
    return [name for switch, name in _ON.items() if doc.take(switch) is True] or ["IN_APP"]


def _want(row: dict[str, Any], event: Any, *, wanted: bool) -> None:
    """Add a type of event to those that the channel lets through."""
    if not isinstance(event, str):
        return
    filters = dict(row["filters"] or {})
    types = list(filters.get("eventTypes") or [])
    if wanted and event not in types:
        types.append(event)
    row["filters"] = {**filters, "eventTypes": types}
    row["enabled"] = bool(types)
