"""What an agent spends: the counters of its day and month, and what happens where they reach a limit (BUD-2 to BUD-6).

The counters move by cost ticks alone (COST-1), with the agent's row locked, so that they are the sum of the day's ticks
whoever writes at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select

from app.governance.budgets import contain_spend
from app.governance.loading import policies_for
from app.governance.policy.budget import BUDGET_EXTRA, Overrun, budget_extra, dollars, narrowed, spent
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AlertSeverity, OpEventType
from db.models import AgentInstance, Tenant

WARN_AT: Final = Decimal("0.8")
"""BUD-6. From this share of the day's limit on, ticks say how much of it is used."""
CRITICAL_AT: Final = Decimal("0.95")
"""BUD-6. At this share of the day's limit an alert is raised, once a day."""
_WARNED: Final = "budgetWarnedUntil"


@dataclass(frozen=True)
class Tick:
    """Money that was spent, and on what."""

    delta: Decimal
    """US dollars that this tick adds."""
    total: Decimal
    """US dollars of the run with it."""
    payload: JsonObject
    model: str
    run_id: UUID
    task_id: UUID | None
    event_id: str | None = None
    """The sender's own id of the event, with the time `at` at which the money was spent."""
    at: datetime | None = None


def next_reset(now: datetime, zone: ZoneInfo) -> datetime:
    """BUD-2. The next local midnight, in UTC terms."""
    return _midnight(now.astimezone(zone).date() + timedelta(days=1), zone)


def _midnight(day: Any, zone: ZoneInfo) -> datetime:
    # A zone may skip midnight itself; the first moment of the day is the same instant either way.
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return datetime.fromtimestamp(local.timestamp(), tz=ZoneInfo("UTC"))


def reset_if_due(instance: AgentInstance, now: datetime, zone: ZoneInfo) -> bool:
    """BUD-2. Begin the counters anew where a day, and with it perhaps a month, has ended. Whether one had."""
    due = instance.spend_reset_at
    if due is not None and now < due:
        return False
    instance.spend_today, instance.spend_month = spent(instance.spend_today, instance.spend_month, due, now, zone)
    instance.spend_reset_at = next_reset(now, zone)
    return due is not None


async def zone_of(uow: UnitOfWork) -> ZoneInfo:
    """The tenant's time zone: where its days begin."""
    name = await uow.session.scalar(select(Tenant.timezone).where(Tenant.id == uow.tenant_id))
    return ZoneInfo(name or "UTC")


async def spend(uow: UnitOfWork, instance: AgentInstance, tick: Tick) -> UUID:
    """COST-1, BUD-4, BUD-6. Count a tick on a locked agent, contain the agent where that used up a limit, and note the
    tick. Returns the id of its event."""
    _count(instance, tick.delta, uow.now, await zone_of(uow))
    limits = (await policies_for(uow, [instance.id]))[instance.id]
    extra = budget_extra((instance.metadata_ or {}).get(BUDGET_EXTRA), uow.now)
    overrun, used = _limits(instance, limits.cost_limits, extra)
    payload: JsonObject = dict(tick.payload)
    if used is not None and used >= WARN_AT:
        payload["dailyLimitUsed"] = float(round(used, 4))
    contained = None
    if overrun is not None:
        payload["budgetExceeded"] = True
        contained = await contain_spend(uow, instance.id, overrun)
    elif used is not None and used >= CRITICAL_AT:
        _warn(uow, instance, used)
    sent = {} if tick.at is None else {"event_id": tick.event_id, "timestamp": tick.at}
    return uow.emit(
        OpEventType.COST_TICK,
        **sent,
        instance_id=instance.id,
        version_id=instance.version_id,
        project_id=instance.project_id,
        task_id=tick.task_id,
        run_id=tick.run_id,
        change_record_id=contained,
        delta_usd=tick.delta,
        model=tick.model,
        payload=payload,
    )


def _count(instance: AgentInstance, delta: Decimal, now: datetime, zone: ZoneInfo) -> None:
    """Add to the counters of the day and month that the tick belongs to. One that waited for the row over midnight
    belongs to a day that is over, whose counter is gone."""
    reset_if_due(instance, now, zone)
    assert instance.spend_reset_at is not None  # noqa: S101 - just set
    day = (instance.spend_reset_at - timedelta(milliseconds=1)).astimezone(zone)
    when = now.astimezone(zone)
    if when.date() == day.date():
        instance.spend_today += delta
    if (when.year, when.month) == (day.year, day.month):
        instance.spend_month += delta


def _limits(
    instance: AgentInstance, given: Mapping[str, Decimal], extra: Decimal
) -> tuple[Overrun | None, Decimal | None]:
    """The limit that is used up, if one is, and the share of the day's limit that is used."""
    caps = {name: Decimal(str(cap)) for name, cap in (instance.cost_caps or {}).items() if cap is not None}
    day, month = (narrowed(given, caps, name) for name in ("dailyUsd", "monthlyUsd"))
    used = None
    overrun = None
    if month is not None and instance.spend_month >= month:
        text = f"This month's limit of {dollars(month)} is used up: {dollars(instance.spend_month)} are spent."
        overrun = Overrun("MONTH", text, True, True, month, instance.spend_month)
    if day is not None:
        whole = day + extra
        used = instance.spend_today / whole if whole > 0 else Decimal(1)
        if instance.spend_today >= whole:
            text = f"Today's limit of {dollars(whole)} is used up: {dollars(instance.spend_today)} are spent."
            overrun = Overrun("DAY", text, True, True, whole, instance.spend_today)
    return overrun, used


def _warn(uow: UnitOfWork, instance: AgentInstance, used: Decimal) -> None:
    """BUD-6. Raise the alert of a day that is nearly spent, once."""
    until = (instance.metadata_ or {}).get(_WARNED)
    if isinstance(until, str) and uow.now < datetime.fromisoformat(until):
        return
    assert instance.spend_reset_at is not None  # noqa: S101 - `_count` set it
    instance.metadata_ = {**(instance.metadata_ or {}), _WARNED: instance.spend_reset_at.isoformat()}
    uow.alert(
        "BUDGET_CRITICAL",
        AlertSeverity.WARNING,
        "An agent's budget of today is nearly used up",
        f"{instance.name or instance.id} has spent {used:.0%} of today's limit.",
        instance_id=instance.id,
        project_id=instance.project_id,
    )
