"""From events to notifications (NOT-2): who is concerned, who wants to hear it, one row each, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.actor import system_actor
from app.graph.registry import row_key
from app.notification.rules import Circle, circles_of, passes, severity_of, shows_always, telling_of
from db.enums import NotificationChannel, NotificationSeverity, OperatorStatus
from db.ids import created_at, new_id
from db.models import (
    AgentInstance,
    AgentTemplate,
    AgentTemplateOwner,
    AgentVersion,
    Alert,
    ApprovalRecord,
    Deployment,
    EvaluationRun,
    ExecutionRequest,
    Notification,
    NotificationEvent,
    NotificationPreference,
    Operator,
    Role,
    RoleAssignment,
    Task,
    ThreadSubscription,
    WatchSubscription,
)
from db.session import Database

BATCH: Final = 100
"""Events of one transaction."""
SAME_TEXT: Final = timedelta(minutes=5)
"""The same text to the same person within this time is told once (NOT-2)."""


async def fan_out(database: Database, tenant_id: UUID) -> None:
    """Tell every waiting event of a tenant. May be run by two at once: each event is taken by one of them."""
    while await _some(database, tenant_id):
        pass


async def _some(database: Database, tenant_id: UUID) -> bool:
    """One batch; whether there may be more."""
    async with database.transaction(system_actor(tenant_id)) as session:
        waiting = (
            select(NotificationEvent)
            .where(NotificationEvent.tenant_id == tenant_id, NotificationEvent.processed_at.is_(None))
            .order_by(NotificationEvent.id)
            .limit(BATCH)
            .with_for_update(skip_locked=True)
        )
        events = list(await session.scalars(waiting))
        now = datetime.now(UTC)
        for event in events:
            await _tell(session, event, now)
            event.processed_at, event.attempts = now, event.attempts + 1
        return len(events) == BATCH


async def _tell(session: AsyncSession, event: NotificationEvent, now: datetime) -> None:
    telling, payload = telling_of(event.event_type), event.payload or {}
    severity = severity_of(telling, payload)
    source = await _source(session, event)
    people: set[UUID] = set()
    agents: set[UUID] = set()
    for circle in circles_of(event.event_type, payload):
        if circle is Circle.REQUESTER:
            people |= _set(getattr(source, "requester_id", None))
            agents |= _set(getattr(source, "requester_instance_id", None))
        elif circle is Circle.STARTER:
            people |= _set(getattr(source, "triggered_by_operator_id", None))
        elif circle is Circle.ASSIGNEES:
            agents |= _ids(payload, "assigneeIds")
        elif circle is Circle.FOLLOWERS:
            agents |= set(await session.scalars(_followers(event)))
        elif circle is Circle.CALLED:
            agents |= _ids(payload, "instanceIds")
            people |= _ids(payload, "operatorIds")
        else:
            people |= set(await session.scalars(_members(circle, event, source)))
    agents -= _ids(payload, "exceptIds")
    project_id = getattr(source, "project_id", None)
    people = await _willing(session, event, people, severity, None if project_id is None else str(project_id))
    body = str(payload.get("actionSummary") or payload.get("summary") or payload.get("name") or "") or None
    recipients = [*((one, None) for one in sorted(people)), *((None, one) for one in sorted(agents))]
    rows = [
        {
            "tenant_id": event.tenant_id,
            "id": (row_id := new_id(now)),
            "created_at": created_at(row_id),
            "updated_at": created_at(row_id),
            "type": telling.type,
            "title": telling.title,
            "body": body,
            "severity": severity,
            "channel": NotificationChannel.IN_APP,
            "event_id": event.id,
            "approval_record_id": event.source_id if isinstance(source, ApprovalRecord) else None,
            "deployment_id": event.source_id if isinstance(source, Deployment) else None,
            "task_id": event.source_id if isinstance(source, Task) else getattr(source, "task_id", None),
            "message_id": row_key(payload.get("messageId")),
            "from_instance_id": row_key(payload.get("fromInstanceId")),
            "from_operator_id": row_key(payload.get("fromOperatorId")),
            "operator_id": operator_id,
            "instance_id": instance_id,
        }
        for operator_id, instance_id in recipients
    ]
    fresh = await _not_told_lately(session, event, rows, now)
    if fresh:
        await session.execute(insert(Notification).values(fresh).on_conflict_do_nothing())


def _ids(payload: Mapping[str, Any], name: str) -> set[UUID]:
    return {UUID(one) for one in payload.get(name, ())}


def _set(row_id: UUID | None) -> set[UUID]:
    return set() if row_id is None else {row_id}


_SOURCES: Final[dict[str, type[Any]]] = {
    model.__name__: model
    for model in (
        AgentInstance,
        AgentTemplate,
        AgentVersion,
        Alert,
        ApprovalRecord,
        Deployment,
        EvaluationRun,
        ExecutionRequest,
        Task,
    )
}


async def _source(session: AsyncSession, event: NotificationEvent) -> Any:
    """The row that the event is about, where its recipients depend on it."""
    model = _SOURCES.get(event.source_entity)
    return None if model is None else await session.get(model, (event.tenant_id, event.source_id))


def _members(circle: Circle, event: NotificationEvent, source: Any) -> Select[Any]:
    active = and_(Operator.tenant_id == event.tenant_id, Operator.status == OperatorStatus.ACTIVE)
    match circle:
        case Circle.APPROVERS:
            return _holders(active, "approve:approvals", getattr(source, "project_id", None))
        case Circle.POLICY_READERS:
            return _holders(active, "read:policies", getattr(source, "project_id", None))
        case Circle.IN_SCOPE:
            return _holders(active, "read:alerts", getattr(source, "project_id", None))
        case Circle.ADMINS:
            return _holders(active, "assign:roles", None)
        case Circle.WATCHERS:
            return (
                select(WatchSubscription.operator_id)
                .join(Operator, and_(active, Operator.id == WatchSubscription.operator_id))
                .where(
                    WatchSubscription.tenant_id == event.tenant_id,
                    WatchSubscription.entity_id.in_(_watched(event, source)),
                )
            )
        case Circle.OWNERS:
            return (
                select(AgentTemplateOwner.operator_id)
                .join(Operator, and_(active, Operator.id == AgentTemplateOwner.operator_id))
                .where(
                    AgentTemplateOwner.tenant_id == event.tenant_id,
                    AgentTemplateOwner.template_id.in_(_templates(event, source)),
                )
            )
    return select(Operator.id).where(active)


def _watched(event: NotificationEvent, source: Any) -> list[UUID]:
    """Whose watchers hear of the event: the source's, and of a task its project's too."""
    return [event.source_id, *([source.project_id] if isinstance(source, Task) else [])]


def _followers(event: NotificationEvent) -> Select[Any]:
    return select(ThreadSubscription.instance_id).where(
        ThreadSubscription.tenant_id == event.tenant_id, ThreadSubscription.task_id == event.source_id
    )


def _templates(event: NotificationEvent, source: Any) -> Any:
    if isinstance(source, AgentTemplate):
        return [source.id]
    if isinstance(source, AgentVersion | Deployment):
        return [source.template_id]
    version_id = getattr(source, "version_id", None)
    return select(AgentVersion.template_id).where(
        AgentVersion.tenant_id == event.tenant_id, AgentVersion.id == version_id
    )


def _holders(active: ColumnElement[bool], permission: str, project_id: UUID | None) -> Select[Any]:
    """Operators who hold a permission that reaches the project; an expired grant does not count (RBAC-6, RBAC-7)."""
    given = RoleAssignment
    reaches = [and_(given.project_id.is_(None), given.environment_id.is_(None))]
    if project_id is not None:
        reaches.append(and_(given.project_id == project_id, given.environment_id.is_(None)))
    return (
        select(Operator.id)
        .distinct()
        .join(given, and_(given.tenant_id == Operator.tenant_id, given.operator_id == Operator.id))
        .join(Role, and_(Role.tenant_id == given.tenant_id, Role.id == given.role_id))
        .where(
            active,
            Role.permissions.contains([permission]),
            or_(given.expires_at.is_(None), given.expires_at > datetime.now(UTC)),
            or_(*reaches),
        )
    )


async def _willing(
    session: AsyncSession,
    event: NotificationEvent,
    people: Iterable[UUID],
    severity: NotificationSeverity,
    project_id: str | None,
) -> set[UUID]:
    """Those who have not switched such messages off (NOT-4)."""
    asked = set(people)
    if not asked or shows_always(event.event_type, event.payload or {}):
        return asked
    preferences = await session.scalars(
        select(NotificationPreference).where(
            NotificationPreference.tenant_id == event.tenant_id,
            NotificationPreference.channel == NotificationChannel.IN_APP,
            NotificationPreference.operator_id.in_(asked),
        )
    )
    return asked - {
        one.operator_id
        for one in preferences
        if not one.enabled or not passes(one.filters, event.event_type, severity, project_id)
    }


async def _not_told_lately(
    session: AsyncSession, event: NotificationEvent, rows: Sequence[dict[str, Any]], now: datetime
) -> list[dict[str, Any]]:
    """The rows whose text their recipient has not had within the last minutes, about the same thing (NOT-2)."""
    if not rows:
        return []
    lately = await session.execute(
        select(Notification.operator_id, Notification.instance_id)
        .join(
            NotificationEvent,
            and_(NotificationEvent.tenant_id == Notification.tenant_id, NotificationEvent.id == Notification.event_id),
        )
        .where(
            Notification.tenant_id == event.tenant_id,
            Notification.created_at > now - SAME_TEXT,
            Notification.title == rows[0]["title"],
            Notification.body.is_not_distinct_from(rows[0]["body"]),
            NotificationEvent.source_id == event.source_id,
        )
    )
    told = {(row.operator_id, row.instance_id) for row in lately}
    return [row for row in rows if (row["operator_id"], row["instance_id"]) not in told]
