"""The end of a day: counters of money begin anew, and agents that their budget had paused go on (BUD-2)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import and_, case, func, select, text, update

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.execution.holding import return_held
from app.governance.budgets import CONTAINED
from app.governance.deciding import OPEN, lock_requests, settle
from app.governance.loading import policies_for
from app.governance.policy import EffectivePolicy
from app.governance.policy.budget import narrowed
from app.governance.spend import next_reset, reset_if_due, zone_of
from app.registry.commands import resume_instance
from app.unit_of_work import UnitOfWork
from db.enums import ApprovalDecision, ChangeRecordType, InstanceState, PauseCause
from db.models import AgentInstance, ApprovalRecord

BATCH: Final = 100
"""Most agents of one transaction that are resumed; the others begin their day with one statement."""
_REASON: Final = "the day of its budget is over"


@command("write:instances", ChangeRecordType.INSTANCE_TRANSITIONED, callers=(ActorKind.PLATFORM,))
async def renew_budgets(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """BUD-2. At midnight of the tenant's time zone the day's spend begins anew, and with the month the month's.

    An agent that its budget had paused goes on, unless a limit is used up all the same; the request for more money is
    withdrawn, and the work that was held with it goes on where it was. What a person or an emergency paused stays so.
    """
    zone = await zone_of(uow)
    await _renew(uow, zone)
    ids = (await _contained(uow))[:limit]
    policies = await policies_for(uow, ids)
    resumed: list[AgentInstance] = []
    for instance in await uow.lock_all(AgentInstance, ids):
        if not (instance.state is InstanceState.PAUSED and instance.paused_by is PauseCause.BUDGET):
            continue  # somebody moved it while we waited for the lock
        reset_if_due(instance, uow.now, zone)
        if is_spent(instance, policies[instance.id]):
            _hold_until(instance, instance.spend_reset_at)
            continue
        await resume_instance(uow, instance, reason=_REASON, cause=PauseCause.BUDGET)
        resumed.append(instance)
    if resumed:
        await uow.resolve_alerts("BUDGET_EXCEEDED", "The day is over.", instance_ids=[one.id for one in resumed])
        await _withdraw(uow, [one.id for one in resumed])
    return Done(None, {"resumed": len(resumed), "more": len(ids) == limit})


async def _renew(uow: UnitOfWork, zone: ZoneInfo) -> None:
    """Every agent whose day is over and that is not to be resumed: one statement, in the order of ids. Whoever is busy
    with one of them does it themselves."""
    table = AgentInstance
    due = (
        select(table.id)
        .where(
            table.tenant_id == uow.tenant_id,
            table.spend_reset_at <= uow.now,
            ~and_(table.state == InstanceState.PAUSED, table.paused_by.is_not_distinct_from(PauseCause.BUDGET)),
        )
        .order_by(table.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    ended = func.timezone(zone.key, table.spend_reset_at - text("interval '1 millisecond'"))
    same_month = func.date_trunc("month", ended) == func.date_trunc("month", func.timezone(zone.key, uow.now))
    await uow.session.execute(
        update(table)
        .where(table.tenant_id == uow.tenant_id, table.id.in_(due))
        .values(
            spend_today=0,
            spend_month=case((same_month, table.spend_month), else_=0),
            spend_reset_at=next_reset(uow.now, zone),
        )
        .execution_options(synchronize_session=False)
    )


async def _contained(uow: UnitOfWork) -> list[UUID]:
    """Agents that their budget paused on a day that is over; there are few, and notes are text."""
    table = AgentInstance
    statement = select(table.id, table.spend_reset_at, table.metadata_[CONTAINED].astext.label("until")).where(
        table.tenant_id == uow.tenant_id,
        table.state == InstanceState.PAUSED,
        table.paused_by == PauseCause.BUDGET,
    )
    found = await uow.session.execute(statement.order_by(table.id))
    return [row.id for row in found if (until := _moment(row.until) or row.spend_reset_at) and until <= uow.now]


def _moment(note: str | None) -> datetime | None:
    try:
        at = None if note is None else datetime.fromisoformat(note)
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at


def is_spent(instance: AgentInstance, policy: EffectivePolicy) -> bool:
    """Whether the month's or the day's limit is used up although the day has begun anew (BUD-1, BUD-3)."""
    caps = {name: Decimal(str(cap)) for name, cap in (instance.cost_caps or {}).items() if cap is not None}
    day, month = (narrowed(policy.cost_limits, caps, name) for name in ("dailyUsd", "monthlyUsd"))
    return (day is not None and instance.spend_today >= day) or (month is not None and instance.spend_month >= month)


def _hold_until(instance: AgentInstance, until: datetime | None) -> None:
    if until is not None:
        instance.metadata_ = {**(instance.metadata_ or {}), CONTAINED: until.isoformat()}


async def _withdraw(uow: UnitOfWork, instance_ids: list[UUID]) -> None:
    """The requests for more money of a day that is over, and the work that waited for them."""
    asked = select(ApprovalRecord.id).where(
        ApprovalRecord.tenant_id == uow.tenant_id,
        ApprovalRecord.request_type == "BUDGET_OVERRIDE",
        ApprovalRecord.target_entity == AgentInstance.__name__,
        ApprovalRecord.target_id.in_(instance_ids),
        ApprovalRecord.status.in_(OPEN),
    )
    for approval in await lock_requests(uow, list(await uow.session.scalars(asked))):
        if approval.status in OPEN:
            change_id = await settle(uow, approval, ApprovalDecision.CANCELED, _REASON)
            await return_held(uow, approval, change_id)
