"""The one way a task's status changes (C12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select

from app.intelligence.learning import learn
from app.redaction import title_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ActorType, ChangeRecordType, TaskStatus, WatchEntityType
from db.models import Task, TaskAssignee, ThreadSubscription, WatchSubscription

TASK_ASSIGNED: Final = "TASK_ASSIGNED"
"""Notification event of a task that somebody got to do (TSK-7)."""
TASK_TRANSITIONED: Final = "TASK_TRANSITIONED"
"""Notification event of a task that changed its status (TSK-7)."""
HELD: Final = (TaskStatus.NEEDS_APPROVAL, TaskStatus.BLOCKED)
"""Where work is stopped that may be given back to the status that it had."""
FORMER_STATUS: Final = "preBlockStatus"
"""Key of a task's metadata: the status that an emergency took it out of (EMG-4)."""
EMERGENCY: Final = "emergencyControlId"
"""Key of a task's metadata: the emergency that blocked it."""


async def move_task(
    uow: UnitOfWork,
    task: Task,
    to: TaskStatus,
    *,
    reason: str | None = None,
    by_system: bool = False,
    caused_by_id: UUID | None = None,
    after: JsonObject | None = None,
    metadata: JsonObject | None = None,
    blocked_reason: str | None = None,
    is_assignment_noted: bool = False,
    **columns: Any,
) -> UUID:
    """Change a locked task's status with all that hangs on it (TSK-3, TSK-6, TSK-7, LRN-1); returns the id of its
    TASK_TRANSITIONED record.

    Asks nothing: the machine (`app/execution/machines.py: TASK`) and the guards are the caller's to ask, before it
    changes anything. `by_system` for what a cascade or a job does rather than the caller; what the gateway takes out
    of NEEDS_APPROVAL or BLOCKED it gives back, which is neither a new submission nor a new assignment. What anybody
    else puts back into INBOX is nobody's again: its agents are let go. `after` are
    further keys of the record's after-state, `metadata` its notes, `columns` further columns of it. A task that goes
    to BLOCKED has `blocked_reason`, or else `reason`, for its reason. `is_assignment_noted`: the caller has recorded
    whose the task is now (`note_assignment`).
    """
    before, task.status = task.status, to
    is_returned = by_system and before in HELD
    former: JsonObject = {"status": before.value}
    latter: JsonObject = {"status": to.value, **(after or {})}
    if to is TaskStatus.INBOX and not is_returned and (released := await assignees_of(uow, task.id)):
        await assign_to(uow, task, [])
        former["assigneeIds"], latter["assigneeIds"] = [str(one) for one in released], []
    _stamp(uow, task, before, to, is_returned=is_returned)
    if to is TaskStatus.BLOCKED:
        task.blocked_reason = blocked_reason or reason
    change_id = uow.record(
        ChangeRecordType.TASK_TRANSITIONED,
        task,
        before=former,
        after=latter,
        reason=reason,
        by_system=by_system,
        caused_by_id=caused_by_id,
        metadata=metadata,
        **columns,
    )
    uow.notify(TASK_TRANSITIONED, task, {**moved(title_of(task), before, to), **({} if by_system else _mover(uow))})
    if to is TaskStatus.ASSIGNED and not is_returned and not is_assignment_noted:
        note_assignment(uow, task, await assignees_of(uow, task.id), caused_by_id=change_id, by_system=by_system)
    if to in (TaskStatus.DONE, TaskStatus.FAILED):
        await learn(uow, task)
    return change_id


def _mover(uow: UnitOfWork) -> JsonObject:
    """Who moved a task, as its event tells; an agent is not told of its own step."""
    match uow.actor_type:
        case ActorType.AGENT:
            return {"fromInstanceId": str(uow.actor.id), "exceptIds": [str(uow.actor.id)]}
        case ActorType.HUMAN:
            return {"fromOperatorId": str(uow.actor.id)}
    return {}


def _stamp(uow: UnitOfWork, task: Task, before: TaskStatus, to: TaskStatus, *, is_returned: bool) -> None:
    """TSK-3. What a task keeps of its way."""
    if to is TaskStatus.IN_PROGRESS:
        task.started_at = task.started_at or uow.now
        task.review_cycles += before is TaskStatus.REVIEW
    if to is TaskStatus.REVIEW and not is_returned:
        task.submitted_at = uow.now
    if to in (TaskStatus.DONE, TaskStatus.CANCELED):
        task.completed_at = uow.now
    if before is TaskStatus.BLOCKED:
        task.blocked_reason = None
        notes = {key: value for key, value in (task.metadata_ or {}).items() if key not in (FORMER_STATUS, EMERGENCY)}
        task.metadata_ = notes or None


def moved(title: str, before: TaskStatus, after: TaskStatus) -> JsonObject:
    """What a TASK_TRANSITIONED event tells of a move."""
    return {
        "summary": f"{title}: from {before.value} to {after.value}",
        "from": before.value,
        "to": after.value,
    }


def followed() -> ColumnElement[bool]:
    """Whether anybody would hear of a task's move: who watches it or its project, or follows its thread (NOT-3). What a
    cascade moves by the thousand leaves no event where nobody would."""
    watched = exists().where(
        WatchSubscription.tenant_id == Task.tenant_id,
        or_(
            and_(WatchSubscription.entity_type == WatchEntityType.TASK, WatchSubscription.entity_id == Task.id),
            and_(
                WatchSubscription.entity_type == WatchEntityType.PROJECT,
                WatchSubscription.entity_id == Task.project_id,
            ),
        ),
    )
    subscribed = exists().where(ThreadSubscription.tenant_id == Task.tenant_id, ThreadSubscription.task_id == Task.id)
    return or_(watched, subscribed)


def note_assignment(
    uow: UnitOfWork,
    task: Task,
    assignee_ids: Sequence[UUID],
    *,
    before: Sequence[UUID] | None = None,
    reason: str | None = None,
    caused_by_id: UUID | None = None,
    by_system: bool = False,
) -> UUID:
    """TSK-6, TSK-7. Record whose a task is now, and tell them; returns the id of its TASK_ASSIGNED record.

    Those who had it `before` know already, where that is given.
    """
    names = [str(one) for one in assignee_ids]
    fresh = [str(one) for one in assignee_ids if one not in (before or ()) or task.status is TaskStatus.INBOX]
    if fresh:
        uow.notify(TASK_ASSIGNED, task, {"name": title_of(task), "assigneeIds": fresh})
    return uow.record(
        ChangeRecordType.TASK_ASSIGNED,
        task,
        before=None if before is None else {"assigneeIds": [str(one) for one in before]},
        after={"assigneeIds": names},
        reason=reason,
        by_system=by_system,
        caused_by_id=caused_by_id,
    )


async def assignees_of(uow: UnitOfWork, task_id: UUID) -> list[UUID]:
    """A task's agents, in the order of assignment."""
    statement = (
        select(TaskAssignee.instance_id)
        .where(TaskAssignee.tenant_id == uow.tenant_id, TaskAssignee.task_id == task_id)
        .order_by(TaskAssignee.position)
    )
    return list(await uow.session.scalars(statement))


async def assign_to(uow: UnitOfWork, task: Task, instance_ids: Sequence[UUID]) -> None:
    """Make these agents, in this order, the ones that a locked task is assigned to; records nothing."""
    mine = (TaskAssignee.tenant_id == uow.tenant_id, TaskAssignee.task_id == task.id)
    await uow.session.execute(delete(TaskAssignee).where(*mine))
    for position, instance_id in enumerate(dict.fromkeys(instance_ids)):
        link = TaskAssignee(task_id=task.id, instance_id=instance_id, position=position)
        link.tenant_id = uow.tenant_id
        uow.session.add(link)
    task.updated_at = uow.now
