"""Alerts as a command leaves them: kept until its end, then written all at once, each problem once (ALR-2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.base import JsonObject
from db.enums import AlertSeverity, AlertStatus
from db.ids import created_at, new_id
from db.logs.events import in_chunks
from db.models import Alert

ALERT_OPENED: Final = "ALERT_OPENED"
"""Notification event of an alert that was opened, or got worse while it was open (NOT-3)."""
CHUNK: Final = 1_000
"""Alerts of one statement."""
_ORDER: Final = list(AlertSeverity)


@dataclass(frozen=True, kw_only=True)
class AlertDraft:
    """A problem that people should look at. Two with the same topic are the same problem."""

    type: str
    severity: AlertSeverity
    title: str
    description: str
    project_id: UUID | None = None
    instance_id: UUID | None = None
    task_id: UUID | None = None
    run_id: UUID | None = None
    about_id: UUID | None = None
    """What else tells two problems of a type apart, such as the version or the request that it is about."""
    loop_data: JsonObject | None = None
    metadata: JsonObject | None = None
    id: UUID = field(default_factory=new_id)

    @property
    def topic(self) -> str:
        """ALR-2. What the alert is about: its type with the agent and the task; without either, what else it names."""
        about = (self.instance_id, self.task_id, self.about_id)
        named = about if any(about) else (*about, self.project_id)
        return " ".join([self.type, *("-" if one is None else one.hex for one in named)])


@dataclass(frozen=True)
class Opened:
    """An alert that people hear of."""

    id: UUID
    payload: JsonObject
    """Of its notification event."""


async def write_alerts(
    session: AsyncSession, tenant_id: UUID, drafts: Iterable[AlertDraft], now: datetime
) -> list[Opened]:
    """ALR-2. Open an alert for each topic, or update the one that is open; gives those that are new or got worse.

    Two statements, and one more for each further thousand. The topics are taken in their order, and a unique index
    decides between transactions, so that two at once leave one alert and do not wait for each other in a circle.
    """
    latest = {draft.topic: draft for draft in drafts}
    if not latest:
        return []
    table: Any = Alert.__table__
    is_open = (table.c.tenant_id == tenant_id, table.c.topic.in_(latest), table.c.status == AlertStatus.OPEN)
    known = await session.execute(select(table.c.topic, table.c.severity).where(*is_open))
    before = {row.topic: row.severity for row in known}
    written: dict[str, UUID] = {}
    for chunk in in_chunks(sorted(latest), CHUNK):
        fresh = insert(table).values([_row(tenant_id, latest[topic], now) for topic in chunk])
        statement = fresh.on_conflict_do_update(
            index_elements=["tenant_id", "topic"],
            # As text: with a parameter in its place a prepared statement no longer finds the index after some uses.
            index_where=text("status = 'OPEN'"),
            set_={
                **{name: fresh.excluded[name] for name in ("severity", "title", "description", "run_id", "updated_at")},
                **{name: func.coalesce(fresh.excluded[name], table.c[name]) for name in ("loop_data", "metadata")},
                "occurrences": table.c.occurrences + 1,
            },
        ).returning(table.c.id, table.c.topic)
        written |= {row.topic: row.id for row in await session.execute(statement)}
    return [
        Opened(written[topic], {"severity": draft.severity.value, "summary": draft.title, "type": draft.type})
        for topic, draft in latest.items()
        if topic not in before or _is_worse(draft.severity, before[topic])
    ]


def _row(tenant_id: UUID, draft: AlertDraft, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "id": draft.id,
        "created_at": created_at(draft.id),
        "updated_at": now,
        "project_id": draft.project_id,
        "severity": draft.severity,
        "type": draft.type,
        "title": draft.title,
        "description": draft.description,
        "instance_id": draft.instance_id,
        "task_id": draft.task_id,
        "run_id": draft.run_id,
        "status": AlertStatus.OPEN,
        "topic": draft.topic,
        "loop_data": draft.loop_data,
        "metadata": draft.metadata,
    }


def _is_worse(severity: AlertSeverity, than: AlertSeverity) -> bool:
    return _ORDER.index(severity) > _ORDER.index(than)
