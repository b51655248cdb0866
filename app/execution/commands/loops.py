"""What the gateway does about work that goes in circles, and about work that stands still (LOOP-1 to LOOP-3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.execution.looping import LOOP_DETECTED, Loop, find_loops
from app.execution.machines import TASK
from app.execution.moving import move_task
from app.intelligence.memory import remember
from app.lifecycle import allowed_from
from app.redaction import title_of
from app.registry.commands import move_instance
from app.registry.machines import INSTANCE
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ActorType,
    AlertSeverity,
    ChangeRecordType,
    InstanceState,
    OpEventType,
    PauseCause,
    TaskStatus,
)
from db.ids import first_id_at
from db.models import AgentInstance, Task

BATCH: Final = 100
"""Most tasks of one transaction."""
STUCK_TASK: Final = "STUCK_TASK"
STUCK_AFTER: Final = timedelta(minutes=30)
"""LOOP-3. Stillness that is too long for a task that is IN_PROGRESS."""


@command("transition:tasks", ChangeRecordType.LOOP_DETECTED, callers=(ActorKind.PLATFORM,))
async def contain_loops(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """LOOP-1, LOOP-2. Block every task that goes in circles, with an alert and a note in its agent's memory.

    An agent whose tool fails again and again with the same error is quarantined as well. A task with an open alert of a
    loop is left alone, and what was a loop before does not count again.
    """
    loops = {loop.task_id: loop for loop in await find_loops(uow.session, uow.tenant_id, uow.now, limit)}
    culprits = {loop.culprit for loop in loops.values() if loop.culprit is not None}
    agents = {one.id: one for one in await uow.lock_all(AgentInstance, list(culprits))}
    notes: dict[UUID, list[str]] = {}
    contained = 0
    for task in await uow.lock_all(Task, list(loops)):
        loop = loops[task.id]
        if TaskStatus.BLOCKED.value not in allowed_from(TASK, task.status, ActorType.SYSTEM):
            continue  # somebody moved it while we waited for the lock
        contained += 1
        cause = await _block(uow, task, loop)
        if loop.culprit is not None and (agent := agents.get(loop.culprit)) is not None:
            _quarantine(uow, agent, loop, cause)
        if loop.instance_id is not None:
            notes.setdefault(loop.instance_id, []).append(_note(uow, task, loop))
    await remember(uow, {agent: "\n\n".join(told) for agent, told in notes.items()})
    return Done(None, {"contained": contained, "more": len(loops) == limit})


async def _block(uow: UnitOfWork, task: Task, loop: Loop) -> UUID:
    """LOOP-2. The record of the loop, and what hangs on it."""
    data: JsonObject = {
        "type": loop.type,
        "count": loop.count,
        "threshold": loop.threshold,
        "reviewCycles": loop.review_cycles,
        **({"toolName": loop.tool} if loop.tool else {}),
    }
    agent = loop.culprit or loop.instance_id
    cause = uow.record(ChangeRecordType.LOOP_DETECTED, task, after=data, reason=loop.text, instance_id=agent)
    await move_task(
        uow,
        task,
        TaskStatus.BLOCKED,
        reason=loop.text,
        by_system=True,
        caused_by_id=cause,
        after={"cause": PauseCause.LOOP.value},
        blocked_reason=loop.text,
        instance_id=agent,
    )
    uow.alert(
        LOOP_DETECTED,
        AlertSeverity.WARNING,
        f"A loop in «{title_of(task)}»",
        f"{loop.text}. The task is blocked until somebody lets it go on.",
        task_id=task.id,
        instance_id=agent,
        project_id=task.project_id,
        loop_data=data,
    )
    return cause


def _quarantine(uow: UnitOfWork, agent: AgentInstance, loop: Loop, cause: UUID) -> None:
    """LOOP-1. An agent that tries the same thing again and again would do so with its next task."""
    if InstanceState.QUARANTINED.value in allowed_from(INSTANCE, agent.state, ActorType.SYSTEM):
        move_instance(
            uow, agent, InstanceState.QUARANTINED, reason=loop.text, cause=PauseCause.LOOP, caused_by_id=cause
        )


def _note(uow: UnitOfWork, task: Task, loop: Loop) -> str:
    tool = "" if loop.tool is None else f" Tool: {loop.tool}."
    return (
        f"## {loop.type} in «{title_of(task)}»\n\n"
        f"{uow.now:%Y-%m-%d %H:%M} UTC. {loop.text}.{tool} The task is blocked; do it another way next time."
    )


# What touches a task: itself, what is said, run and called in it, and what its agents report of it.
_STUCK: Final = text(
    """
SELECT task.id, task.title, task.redacted_fields, task.project_id, first.instance_id
FROM tasks task
LEFT JOIN LATERAL (SELECT assignee.instance_id FROM task_assignees assignee
    WHERE assignee.tenant_id = task.tenant_id AND assignee.task_id = task.id
    ORDER BY assignee.position LIMIT 1) first ON true
WHERE task.tenant_id = :tenant AND task.status = 'IN_PROGRESS' AND task.updated_at < :since
    AND NOT EXISTS (SELECT FROM messages said
        WHERE said.tenant_id = task.tenant_id AND said.task_id = task.id AND said.id >= CAST(:first AS uuid))
    AND NOT EXISTS (SELECT FROM runs run
        WHERE run.tenant_id = task.tenant_id AND run.task_id = task.id AND run.updated_at >= :since)
    AND NOT EXISTS (SELECT FROM tool_calls call
        WHERE call.tenant_id = task.tenant_id AND call.task_id = task.id AND call.updated_at >= :since)
    AND NOT EXISTS (SELECT FROM op_events event
        WHERE event.tenant_id = task.tenant_id AND event.task_id = task.id AND event.id >= CAST(:first AS uuid)
            AND event.type <> 'HEARTBEAT')
    AND NOT EXISTS (SELECT FROM alerts told
        WHERE told.tenant_id = task.tenant_id AND told.task_id = task.id AND told.type = 'STUCK_TASK'
            AND (told.status IN ('OPEN', 'ACKNOWLEDGED') OR told.updated_at >= :since))
ORDER BY task.id
LIMIT :limit
"""
)


@command("transition:tasks", OpEventType.DECISION_MADE, callers=(ActorKind.PLATFORM,))
async def report_stuck_tasks(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """LOOP-3. Raise an alert for every task that is IN_PROGRESS and to which nothing has happened for half an hour.

    Once: not while somebody has the alert, nor within half an hour of its end. A heartbeat that names the task is no
    progress.
    """
    since = uow.now - STUCK_AFTER
    found = await uow.session.execute(
        _STUCK, {"tenant": uow.tenant_id, "since": since, "first": first_id_at(since), "limit": limit}
    )
    count = 0
    for row in found:
        count += 1
        minutes = int(STUCK_AFTER / timedelta(minutes=1))
        uow.alert(
            STUCK_TASK,
            AlertSeverity.WARNING,
            f"«{title_of(row)}» stands still",
            f"It is IN_PROGRESS, and for {minutes} minutes nothing was said, run or called in it.",
            task_id=row.id,
            instance_id=row.instance_id,
            project_id=row.project_id,
        )
        uow.emit(
            OpEventType.DECISION_MADE,
            task_id=row.id,
            instance_id=row.instance_id,
            project_id=row.project_id,
            payload={"stage": STUCK_TASK, "minutes": minutes},
        )
    return Done(None, {"reported": count, "more": count == limit})
