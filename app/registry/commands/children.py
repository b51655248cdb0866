"""Agents that agents have started live as long as what they are for (POL-9)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, and_, cast, func, select
from sqlalchemy.orm import aliased

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.governance.loading import policies_for
from app.governance.policy import EffectivePolicy
from app.governance.policy.spawning import TTL_MS
from app.registry.commands.instances import move_instance
from app.unit_of_work import UnitOfWork
from db.enums import ChangeRecordType, InstanceState, TaskStatus
from db.models import AgentInstance, Task

BATCH: Final = 200
PARENT_TASK: Final = "parentTaskId"
"""Key of a child's metadata: the bare UUID of its parent's task that it was started for."""
_LONGEST: Final = 10 * 365 * 24 * 3600 * 1000.0
OVER: Final = (TaskStatus.DONE, TaskStatus.CANCELED, TaskStatus.FAILED)
"""What a task has come to when nobody is needed for it any more."""


def parent_task_of(instance: AgentInstance) -> UUID | None:
    """The task that a child was started for; None where it is no child, or its notes name none."""
    named = (instance.metadata_ or {}).get(PARENT_TASK)
    if instance.parent_instance_id is None or not isinstance(named, str):
        return None
    try:
        return UUID(named)
    except ValueError:
        return None


@command("write:instances", ChangeRecordType.INSTANCE_TRANSITIONED, callers=(ActorKind.PLATFORM,))
async def retire_children(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """POL-9. Retire agents that another agent has started: after `spawnLimits.ttlMs` of its policy, or 6 hours; once
    the task that they were started for has ended; and with their parent."""
    child, parent = aliased(AgentInstance), aliased(AgentInstance)
    # Notes are text that anybody may have written: only what is a task's id joins one.
    statement = (
        select(
            child.id,
            child.parent_instance_id,
            func.coalesce(child.activated_at, child.created_at).label("since"),
            parent.state.label("parent_state"),
            Task.status.label("task_status"),
        )
        .join(parent, and_(parent.tenant_id == child.tenant_id, parent.id == child.parent_instance_id))
        .outerjoin(
            Task,
            and_(Task.tenant_id == child.tenant_id, cast(Task.id, Text) == child.metadata_[PARENT_TASK].astext),
        )
        .where(child.tenant_id == uow.tenant_id, child.state != InstanceState.RETIRED)
        .order_by(child.id)
    )
    living = list(await uow.session.execute(statement))
    parents = list({row.parent_instance_id for row in living})
    policies = await policies_for(uow, parents) if parents else {}
    due = {row.id: why for row in living if (why := _why(row, policies[row.parent_instance_id], uow.now)) is not None}
    ids = list(due)[:limit]
    retired = 0
    for instance in await uow.lock_all(AgentInstance, ids):
        if instance.state is not InstanceState.RETIRED:
            move_instance(uow, instance, InstanceState.RETIRED, reason=due[instance.id], cause=None)
            retired += 1
    return Done(None, {"retired": retired, "more": len(due) > limit})


def _why(row: Any, policy: EffectivePolicy, now: datetime) -> str | None:
    """Why a child's time is over; None while it is not."""
    if row.parent_state is InstanceState.RETIRED:
        return "the agent that started it has retired"
    if row.task_status in OVER:
        return "the task that it was started for has ended"
    given = policy.spawn_limits.get("ttlMs")
    is_number = isinstance(given, int | float) and not isinstance(given, bool) and given > 0
    lifetime = timedelta(milliseconds=min(float(given), _LONGEST) if is_number and given is not None else TTL_MS)
    return f"it was started for {_hours(lifetime)}" if now - row.since >= lifetime else None


def _hours(lifetime: timedelta) -> str:
    return f"{lifetime / timedelta(hours=1):g} h"
