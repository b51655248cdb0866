"""What the gateway does to agents by itself: the silent are quarantined, the drained are retired."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.orm import aliased

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.execution.moving import move_task
from app.redaction import title_of
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
    patience = patience_of(((await uow.tenant()).settings or {}).get("heartbeat"))
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
    reason = f"no heartbeat for more than {int(patience.total_seconds())} s"
    causes: dict[UUID, UUID] = {}
    for instance in await uow.lock_all(AgentInstance, ids):
        last = instance.heartbeat_at or instance.activated_at
        if instance.state not in _LISTENED_TO or last is None or last >= uow.now - patience:
            continue  # it spoke, or somebody moved it, while we waited for the lock
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
        causes[instance.id] = first
    if causes:
        await _block(uow, causes, reason)
    return Done(None, {"quarantined": len(causes), "more": len(ids) == limit})


async def _block(uow: UnitOfWork, causes: Mapping[UUID, UUID], reason: str) -> None:
    for task, instance_id in await block_work(uow, causes, PauseCause.STALE, reason, "its agent has gone silent"):
        uow.alert(
            "TASK_BLOCKED_STALE_AGENT",
            AlertSeverity.WARNING,
            "A task is blocked because its agent has gone silent",
            title_of(task),
            task_id=task.id,
            instance_id=instance_id,
            project_id=task.project_id,
        )


def patience_of(setting: object) -> timedelta:
    """HB-4. How long an agent may be silent, by the tenant's setting `heartbeat`."""
    stale = setting.get("staleMs") if isinstance(setting, dict) else None
    is_number = isinstance(stale, int | float) and not isinstance(stale, bool) and stale > 0
    return timedelta(milliseconds=float(stale)) if is_number and stale is not None else STALE_AFTER


async def block_work(
    uow: UnitOfWork, causes: Mapping[UUID, UUID], cause: PauseCause, reason: str, blocked_reason: str
) -> list[tuple[Task, UUID]]:
    """Block what is assigned to one of these agents and to nobody else, and is begun or about to be (HB-4).

    `causes` has the change record by agent that the tasks' records hang on. Gives the tasks that were IN_PROGRESS,
    each with its agent.
    """
    other = aliased(TaskAssignee)
    alone = (
        select(Task.id, TaskAssignee.instance_id)
        .join(TaskAssignee, (TaskAssignee.tenant_id == Task.tenant_id) & (TaskAssignee.task_id == Task.id))
        .where(
            Task.tenant_id == uow.tenant_id,
            Task.status.in_(_HELD_UP),
            TaskAssignee.instance_id.in_(causes),
            ~exists().where(
                other.tenant_id == Task.tenant_id,
                other.task_id == Task.id,
                other.instance_id != TaskAssignee.instance_id,
            ),
        )
    )
    agents = {row.id: row.instance_id for row in await uow.session.execute(alone)}
    working: list[tuple[Task, UUID]] = []
    for task in await uow.lock_all(Task, list(agents)):
        if task.status not in _HELD_UP:
            continue  # somebody moved it while we waited for the lock
        if task.status is TaskStatus.IN_PROGRESS:
            working.append((task, agents[task.id]))
        await move_task(
            uow,
            task,
            TaskStatus.BLOCKED,
            reason=reason,
            by_system=True,
            caused_by_id=causes[agents[task.id]],
            after={"cause": cause.value},
            blocked_reason=blocked_reason,
            instance_id=agents[task.id],
        )
    return working


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
