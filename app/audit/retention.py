"""What is kept for how long, and what has expired (RET)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.enums import WebhookDeliveryStatus
from db.ids import first_id_at
from db.models import AuditLog, EvaluationRun, Notification, OpEvent, Tenant, WebhookDelivery
from db.models.gateway import IdempotencyKey, RetentionMark

OP_EVENT_DAYS: Final = 30
AUDIT_DAYS: Final = 90
NOTIFICATION_DAYS: Final = 90
"""After they were read."""
WEBHOOK_DELIVERY_DAYS: Final = 30
"""After they ended."""
EVALUATION_RUN_DAYS: Final = 90
"""After they ended; then they are marked as archived, not removed."""
_AFTER_EXPIRY: Final = timedelta(hours=24)
SETTING: Final = "retention"
"""Key of a tenant's settings: an object of `notificationDays`, `webhookDeliveryDays` and `evaluationRunDays`."""
ARCHIVED: Final = "archived"
"""Key of an evaluation run's metadata."""

_OP_EVENTS: Final = cast("Table", OpEvent.__table__)


@dataclass(frozen=True)
class Policy:
    """How long a tenant keeps what has an end."""

    op_events: timedelta
    audit_logs: timedelta
    notifications: timedelta
    webhook_deliveries: timedelta
    evaluation_runs: timedelta

    @classmethod
    def of(cls, tenant: Tenant) -> Policy:
        """What the tenant says, and the defaults for the rest; a setting that is no number of days is none."""
        given = (tenant.settings or {}).get(SETTING)
        own: Mapping[str, Any] = given if isinstance(given, dict) else {}

        def days(name: str, default: int) -> timedelta:
            value = own.get(name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 3650
            return timedelta(days=value if is_number and value is not None else default)

        return cls(
            timedelta(days=tenant.op_event_retention_days or OP_EVENT_DAYS),
            timedelta(days=tenant.audit_retention_days or AUDIT_DAYS),
            days("notificationDays", NOTIFICATION_DAYS),
            days("webhookDeliveryDays", WEBHOOK_DELIVERY_DAYS),
            days("evaluationRunDays", EVALUATION_RUN_DAYS),
        )


Condition = Callable[[Policy, datetime], ColumnElement[bool]]


@dataclass(frozen=True)
class Kept:
    """A table whose rows have an end. `archives` marks them in the place of removing them."""

    name: str
    """As the purge's row in the security journal counts it."""
    table: Table
    expired: Condition
    archives: bool = False


def _notification(policy: Policy, now: datetime) -> ColumnElement[bool]:
    given = Notification
    return or_(
        given.expires_at < now - _AFTER_EXPIRY,
        and_(given.expires_at.is_(None), given.read_at < now - policy.notifications),
    )


def _delivery(policy: Policy, now: datetime) -> ColumnElement[bool]:
    ended = func.coalesce(WebhookDelivery.delivered_at, WebhookDelivery.updated_at)
    is_final = WebhookDelivery.status.in_([WebhookDeliveryStatus.DELIVERED, WebhookDeliveryStatus.FAILED])
    return and_(is_final, ended < now - policy.webhook_deliveries)


def _evaluation(policy: Policy, now: datetime) -> ColumnElement[bool]:
    is_marked = func.coalesce(func.jsonb_exists(EvaluationRun.metadata_, ARCHIVED), False)
    return and_(EvaluationRun.completed_at < now - policy.evaluation_runs, is_marked.is_(False))


def _table(model: Any) -> Table:
    return cast("Table", model.__table__)


KEPT: Final = (
    Kept("opEvents", _OP_EVENTS, lambda policy, now: _OP_EVENTS.c.id < first_id_at(now - policy.op_events)),
    Kept("auditLogs", _table(AuditLog), lambda policy, now: AuditLog.timestamp < now - policy.audit_logs),
    Kept("notifications", _table(Notification), _notification),
    Kept("webhookDeliveries", _table(WebhookDelivery), _delivery),
    Kept("evaluationRunsArchived", _table(EvaluationRun), _evaluation, archives=True),
    Kept("idempotencyKeys", _table(IdempotencyKey), lambda _policy, now: IdempotencyKey.expires_at < now),
)
"""Change records are for ever. Approvals stay too: seven years is how long they must be kept, and nothing says that
they must go."""


async def count_expired(connection: AsyncConnection, tenant_id: UUID, policy: Policy, now: datetime) -> dict[str, int]:
    """How many rows of each kind have expired; nothing is changed."""
    counts = {}
    for kept in KEPT:
        where = kept.table.c.tenant_id == tenant_id, kept.expired(policy, now)
        counts[kept.name] = (await connection.execute(select(func.count()).where(*where))).scalar_one()
    return counts


async def remove_expired(
    connection: AsyncConnection, tenant_id: UUID, policy: Policy, now: datetime, limit: int
) -> dict[str, int]:
    """Remove, or archive, at most so many rows of each kind; the counts of those that were."""
    counts = {}
    for kept in KEPT:
        if kept.table is _OP_EVENTS:
            counts[kept.name] = await _remove_op_events(connection, tenant_id, now - policy.op_events, limit)
            continue
        table = kept.table
        keys = [column for column in table.primary_key.columns if column.name != "tenant_id"]
        where = table.c.tenant_id == tenant_id, kept.expired(policy, now)
        oldest = select(*keys).where(*where).order_by(*keys).limit(limit)
        chosen = and_(table.c.tenant_id == tenant_id, tuple_(*keys).in_(oldest))
        if kept.archives:
            noted = func.coalesce(table.c.metadata, func.jsonb_build_object()).op("||", return_type=JSONB)(
                func.jsonb_build_object(ARCHIVED, True)
            )
            statement: Any = update(table).where(chosen).values(metadata=noted)
        else:
            statement = delete(table).where(chosen)
        counts[kept.name] = (await connection.execute(statement)).rowcount
    if counts["auditLogs"]:
        await _mark(connection, {"tenant_id": tenant_id, "log": "audit_logs", "first_seq": 1}, now - policy.audit_logs)
    return counts


async def _remove_op_events(connection: AsyncConnection, tenant_id: UUID, before: datetime, limit: int) -> int:
    """The oldest first. Two statements, so that both know which partitions they need."""
    id_, own = _OP_EVENTS.c.id, _OP_EVENTS.c.tenant_id == tenant_id
    bound = first_id_at(before)
    past = select(id_).where(own, id_ < bound).order_by(id_).offset(limit).limit(1)
    end = (await connection.execute(past)).scalar() or bound
    gone = delete(_OP_EVENTS).where(own, id_ < end).returning(_OP_EVENTS.c.seq).cte("gone")
    count, newest = (await connection.execute(select(func.count(), func.max(gone.c.seq)).select_from(gone))).one()
    if count:
        await _mark(connection, {"tenant_id": tenant_id, "log": "op_events", "first_seq": newest + 1}, before)
    return int(count)


async def _mark(connection: AsyncConnection, mark: Mapping[str, Any], before: datetime) -> None:
    """Note how far a log is gone (decision 8): whoever has read less than `first_seq` - 1 has missed something."""
    given = insert(RetentionMark).values(**mark, removed_before=before)
    newer = given.on_conflict_do_update(
        index_elements=["tenant_id", "log"],
        set_={
            "first_seq": func.greatest(RetentionMark.first_seq, given.excluded.first_seq),
            "removed_before": func.greatest(RetentionMark.removed_before, given.excluded.removed_before),
            "updated_at": func.now(),
        },
    )
    await connection.execute(newer)


async def longest_retention(connection: AsyncConnection) -> timedelta:
    """How long the tenant that keeps op events longest does."""
    days = func.coalesce(Tenant.op_event_retention_days, OP_EVENT_DAYS)
    return timedelta(days=(await connection.execute(select(func.max(days)))).scalar() or OP_EVENT_DAYS)


async def mark_op_events_before(connection: AsyncConnection, end: datetime) -> dict[UUID, int]:
    """Note that every tenant's op events before this moment go, with the partitions that hold them; how many there
    are, by tenant."""
    table = _OP_EVENTS.c
    found = await connection.execute(
        select(table.tenant_id, func.count(), func.max(table.seq))
        .where(table.id < first_id_at(end))
        .group_by(table.tenant_id)
    )
    counts = {}
    for tenant_id, count, newest in found:
        counts[tenant_id] = count
        await _mark(connection, {"tenant_id": tenant_id, "log": "op_events", "first_seq": newest + 1}, end)
    return counts
