"""Runs that nobody reports the end of (RUN-6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.execution.ending import end_run, lock_subjects
from app.execution.rules.work import RUN_CAP
from app.governance.loading import policies_for
from app.governance.policy import EffectivePolicy
from app.unit_of_work import UnitOfWork
from db.enums import OpEventType, RunStatus
from db.models import PolicyEnvelope, Run

BATCH: Final = 50
"""Most runs of one transaction."""
LONGEST_RUN: Final = 60
"""Minutes that a run may take where no envelope says anything."""


@command("execute:runs", OpEventType.RUN_FAILED, callers=(ActorKind.PLATFORM,))
async def time_out_runs(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """RUN-6. End every run as TIMEOUT that goes on for longer than `caps.maxRunMinutes` of its agent's policy says, or
    60 minutes. What it has cost so far stays; its task is left to people and to the alert for what stands still."""
    least = min([LONGEST_RUN, *await _caps(uow)])
    statement = (
        select(Run.id, Run.instance_id, Run.started_at)
        .where(
            Run.tenant_id == uow.tenant_id,
            Run.status == RunStatus.RUNNING,
            Run.started_at < uow.now - timedelta(minutes=least),
        )
        .order_by(Run.instance_id, Run.id)
    )
    running = list(await uow.session.execute(statement))
    policies = await policies_for(uow, list({row.instance_id for row in running}))
    due = [
        (row.id, minutes)
        for row in running
        if row.started_at < uow.now - timedelta(minutes=(minutes := longest_run(policies[row.instance_id])))
    ]
    ended = 0
    for run_id, minutes in due[:limit]:
        about = await lock_subjects(uow, run_id)
        if about is None or about.run.status is not RunStatus.RUNNING:
            continue  # it was reported while we waited for the lock
        await end_run(uow, about, RunStatus.TIMEOUT, error=f"Its end was not reported within {minutes} minutes.")
        ended += 1
    return Done(None, {"ended": ended, "more": len(due) > limit})


async def _caps(uow: UnitOfWork) -> list[int]:
    """What any envelope says; most tenants say nothing."""
    cap = PolicyEnvelope.caps[RUN_CAP]
    statement = select(cap).where(
        PolicyEnvelope.tenant_id == uow.tenant_id, PolicyEnvelope.active.is_(True), func.jsonb_typeof(cap) == "number"
    )
    return [_minutes(one) for one in await uow.session.scalars(statement)]


def longest_run(policy: EffectivePolicy) -> int:
    """Minutes that a run may take under this policy."""
    return _minutes((policy.values.get("caps") or {}).get(RUN_CAP))


def _minutes(cap: Any) -> int:
    is_number = isinstance(cap, int | float) and not isinstance(cap, bool) and cap >= 1
    return min(int(cap), 10**6) if is_number else LONGEST_RUN
