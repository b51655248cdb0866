"""Budgets of instances: what an approval adds for a day, and what happens when a limit is used up (BUD-4, APR-13)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import and_, select

from app.governance.approving import hold_task, make_request
from app.governance.policy.budget import BUDGET_EXTRA, Overrun, budget_extra
from app.registry.commands import move_instance
from app.unit_of_work import UnitOfWork
from db.enums import AlertSeverity, ChangeRecordType, InstanceState, PauseCause, RiskLevel, TaskStatus
from db.models import AgentInstance, Task, TaskAssignee

CONTAINED: Final = "budgetContainedUntil"
"""Key of an instance's metadata: the end of the day on which its budget paused it (BUD-4)."""
EXTRA_SHARE: Final = Decimal("0.5")
"""Part of the daily limit that the request for more asks for (BUD-4)."""


def add_budget_extra(uow: UnitOfWork, instance: AgentInstance, usd: Decimal) -> None:
    """APR-13. Add to the instance's limit of today; what was added before and is still good stays."""
    notes = dict(instance.metadata_ or {})
    until = instance.spend_reset_at
    notes[BUDGET_EXTRA] = {
        "usd": float(budget_extra(notes.get(BUDGET_EXTRA), uow.now) + usd),
        "until": None if until is None else until.isoformat(),
    }
    instance.metadata_ = notes


async def contain_spend(uow: UnitOfWork, instance_id: UUID, overrun: Overrun) -> UUID | None:
    """BUD-4. Pause an instance whose limit of money is used up, hold its work, and ask for more; once a day.

    What is recorded hangs on the command's first record. Gives the id of the BUDGET_EXCEEDED record; None where there
    was nothing to contain.
    """
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None or instance.state is not InstanceState.ACTIVE or _is_contained(instance, uow.now):
        return None
    limit, spend = overrun.limit or Decimal(0), overrun.spend or Decimal(0)
    cause = uow.record(
        ChangeRecordType.BUDGET_EXCEEDED,
        instance,
        after={"scope": overrun.scope, "limit": float(limit), "spend": float(spend)},
        reason=overrun.reason,
        by_system=True,
        caused_by_id=uow.first_change,
        instance_id=instance.id,
        version_id=instance.version_id,
    )
    move_instance(
        uow, instance, InstanceState.PAUSED, reason=overrun.reason, cause=PauseCause.BUDGET, caused_by_id=cause
    )
    until = instance.spend_reset_at or uow.now + timedelta(days=1)
    instance.metadata_ = {**(instance.metadata_ or {}), CONTAINED: until.isoformat()}
    working = (
        select(Task.id)
        .join(TaskAssignee, and_(TaskAssignee.tenant_id == Task.tenant_id, TaskAssignee.task_id == Task.id))
        .where(
            Task.tenant_id == uow.tenant_id,
            Task.status == TaskStatus.IN_PROGRESS,
            TaskAssignee.instance_id == instance.id,
        )
    )
    for task in await uow.lock_all(Task, list(await uow.session.scalars(working))):
        await hold_task(uow, task, reason=overrun.reason, caused_by_id=cause)
    uow.alert(
        "BUDGET_EXCEEDED",
        AlertSeverity.ERROR,
        "An agent's budget is used up",
        f"{instance.name or instance.id} is paused. {overrun.reason}",
        instance_id=instance.id,
        project_id=instance.project_id,
    )
    make_request(
        uow,
        "BUDGET_OVERRIDE",
        action_summary=f"Let {instance.name or instance.id} spend more today.",
        justification=overrun.reason,
        risk_level=RiskLevel.YELLOW,
        target=instance,
        by_system=True,
        instance_id=instance.id,
        estimated_cost=float(limit * EXTRA_SHARE),
        project_id=instance.project_id,
        version_id=instance.version_id,
        caused_by_id=cause,
    )
    return cause


def _is_contained(instance: AgentInstance, now: datetime) -> bool:
    """Whether it was contained today already: once resumed by a person it is not paused again for the same day."""
    until = (instance.metadata_ or {}).get(CONTAINED)
    return isinstance(until, str) and now < datetime.fromisoformat(until)
