"""What the gateway does to agents by itself: the silent are quarantined, the drained are retired."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.execution.moving import move_task
from app.registry.commands.instances import move_instance
from app.unit_of_work import UnitOfWork
from db.enums import (
    AlertSeverity,
    ChangeRecordType,
    InstanceState,
    PauseCause,
    RunStatus,
    TaskStatus,
)
from db.models import AgentInstance, Run, Task, TaskAssignee

STALE_AFTER: Final = timedelta(minutes=5)
"""HB-4. Silence that is too long, unless the tenant's setting `heartbeat.staleMs` says otherwise."""
BATCH: Final = 200
"""Most agents of one transaction; the job runs the command again as long as `more` is true."""
_LISTENED_TO: Final = (InstanceState.ACTIVE, InstanceState.READONLY, InstanceState.DRAINING)
_HELD_UP: Final = (TaskStatus.IN_PROGRESS, TaskStatus.ASSIGNED)
_CLOSED: Final = (TaskStatus.DONE, TaskStatus.CANCELED, TaskStatus.FAILED)


@command("write:instances", ChangeRecordType.EMERGENCY_QUARANTINE, callers=(ActorKind.PLATFORM,))
async def quarantine_stale_instances(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """HB-4. Quarantine every agent that has been silent for too long, and block the work that hangs on it alone."""
    patience = _patience(((await uow.tenant()).settings or {}).get("heartbeat"))
    heard = func.coalesce(AgentInstance.heartbeat_at, AgentInstance.activated_at)
    silent = (
        select(AgentInstance.id)
        .where(
            AgentInstance.tenant_id == uow.tenant_id,
            AgentInstance.state.in_(_LISTENED_TO),
            heard < uow.now - patience,
        )
        .order_by(AgentInstance.id)
        .limit(limit)
    )
    ids = list(await uow.session.scalars(silent))
    blocked = 0
    quarantined = 0
    for instance in await uow.lock_all(AgentInstance, ids):
        last = instance.heartbeat_at or instance.activated_at
        if instance.state not in _LISTENED_TO or last is None or last >= uow.now - patience:
            continue  # it spoke, or somebody moved it, while we waited for the lock
        quarantined += 1
        reason = f"no heartbeat for more than {int(patience.total_seconds())} s"
        first = uow.record(
            ChangeRecordType.EMERGENCY_QUARANTINE,
            instance,
            before={"state": instance.state.value},
            after={"state": InstanceState.QUARANTINED.value, "cause": PauseCause.STALE.value},
            reason=reason,
            instance_id=instance.id,
            version_id=instance.version_id,
        )
        move_instance(
            uow, instance, InstanceState.QUARANTINED, reason=reason, cause=PauseCause.STALE, caused_by_id=first
        )
        uow.alert(
            "AGENT_STALE_HEARTBEAT",
            AlertSeverity.CRITICAL,
            f"{instance.name or 'An agent'} has gone silent",
            f"There was {reason}; it is quarantined. Reactivate it once it answers again.",
            instance_id=instance.id,
            project_id=instance.project_id,
        )
        blocked += await _block_tasks(uow, instance, reason, first)
    return Done(None, {"quarantined": quarantined, "blocked": blocked, "more": len(ids) == limit})


def _patience(setting: object) -> timedelta:
    stale = setting.get("staleMs") if isinstance(setting, dict) else None
    is_number = isinstance(stale, int | float) and not isinstance(stale, bool) and stale > 0
    return timedelta(milliseconds=float(stale)) if is_number and stale is not None else STALE_AFTER


async def _block_tasks(uow: UnitOfWork, instance: AgentInstance, reason: str, caused_by_id: UUID) -> int:
    other = aliased(TaskAssignee)
    alone = (
        select(Task.id)
        .join(TaskAssignee, (TaskAssignee.tenant_id == Task.tenant_id) & (TaskAssignee.task_id == Task.id))
        .where(
            Task.tenant_id == uow.tenant_id,
            Task.status.in_(_HELD_UP),
            TaskAssignee.instance_id == instance.id,
            ~exists().where(
                other.tenant_id == Task.tenant_id, other.task_id == Task.id, other.instance_id != instance.id
            ),
        )
    )
    tasks = await uow.lock_all(Task, list(await uow.session.scalars(alone)))
    for task in tasks:
        before = task.status
        await move_task(
            uow,
            task,
            TaskStatus.BLOCKED,
            reason=reason,
            by_system=True,
            caused_by_id=caused_by_id,
            after={"cause": PauseCause.STALE.value},
            blocked_reason="its agent has gone silent",
            instance_id=instance.id,
        )
        if before is TaskStatus.IN_PROGRESS:
            uow.alert(
                "TASK_BLOCKED_STALE_AGENT",
                AlertSeverity.WARNING,
                "A task is blocked because its agent has gone silent",
                task.title,
                task_id=task.id,
                instance_id=instance.id,
                project_id=task.project_id,
            )
    return len(tasks)


@command("write:instances", ChangeRecordType.INSTANCE_TRANSITIONED, callers=(ActorKind.PLATFORM,))
async def complete_drains(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """INS-1. Retire every draining agent that has no run under way and no open task.

    Those that an emergency drains are not: its end lets them go on (EMG-6).
    """
    drained = (
        select(AgentInstance.id)
        .where(
            AgentInstance.tenant_id == uow.tenant_id,
            AgentInstance.state == InstanceState.DRAINING,
            AgentInstance.paused_by.is_distinct_from(PauseCause.EMERGENCY),
            ~exists().where(
                Run.tenant_id == AgentInstance.tenant_id,
                Run.instance_id == AgentInstance.id,
                Run.status == RunStatus.RUNNING,
            ),
            ~exists().where(
                TaskAssignee.tenant_id == AgentInstance.tenant_id,
                TaskAssignee.instance_id == AgentInstance.id,
                Task.tenant_id == TaskAssignee.tenant_id,
                Task.id == TaskAssignee.task_id,
                Task.status.not_in(_CLOSED),
            ),
        )
        .order_by(AgentInstance.id)
        .limit(limit)
    )
    ids = list(await uow.session.scalars(drained))
    retired = 0
    for instance in await uow.lock_all(AgentInstance, ids):
        if instance.state is InstanceState.DRAINING and instance.paused_by is not PauseCause.EMERGENCY:
            move_instance(
                uow, instance, InstanceState.RETIRED, reason="drained: nothing is left to do", cause=PauseCause.OPERATOR
            )
            retired += 1
    return Done(None, {"retired": retired, "more": len(ids) == limit})
