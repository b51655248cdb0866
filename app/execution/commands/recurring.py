"""Tasks that come again (TASK-7)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.execution.commands.tasks import add_task, note_creation
from app.execution.rules.recurrence import next_time
from app.execution.rules.work import recurrence_fault
from app.governance.spend import zone_of
from app.unit_of_work import UnitOfWork
from db.enums import ChangeRecordType
from db.models import Project, Task

BATCH: Final = 100
REPEATED: Final = "repeatedAs"
"""Key of a task's metadata: the bare UUID of the copy that came after it, or null where its series is over."""
_COPIED: Final = (
    *("project_id", "title", "description", "type", "priority", "reviewer_instance_id", "parent_task_id", "labels"),
    *("estimated_cost", "budget_allocated", "recurrence", "source", "source_ref", "thread_ref", "redacted_fields"),
)


@command("write:tasks", ChangeRecordType.TASK_CREATED, callers=(ActorKind.PLATFORM,))
async def repeat_tasks(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """TASK-7. Make the next copy of every recurring task whose time has come: in INBOX, nobody's, for the next time
    that is still to come. The copy carries the series on."""
    due = (
        select(Task.id)
        .where(
            Task.tenant_id == uow.tenant_id,
            Task.scheduled_for <= uow.now,
            Task.recurrence.is_not(None),
            Task.metadata_.is_(None) | ~Task.metadata_.has_key(REPEATED),
        )
        .order_by(Task.id)
        .limit(limit)
    )
    ids = list(await uow.session.scalars(due))
    zone = await zone_of(uow)
    tasks = [one for one in await uow.lock_all(Task, ids) if REPEATED not in (one.metadata_ or {})]
    gone = select(Project.id).where(
        Project.tenant_id == uow.tenant_id,
        Project.id.in_({one.project_id for one in tasks}),
        Project.deleted_at.is_not(None),
    )
    closed = set(await uow.session.scalars(gone)) if tasks else set()
    made = 0
    for task in tasks:
        at, recurrence = task.scheduled_for, task.recurrence
        following = None
        if at is not None and recurrence is not None and task.project_id not in closed:
            following = None if recurrence_fault(recurrence) else next_time(recurrence, at, uow.now, zone)
        copy_id = None
        if following is not None and at is not None:
            copy = add_task(
                uow,
                **{name: getattr(task, name) for name in _COPIED},
                scheduled_for=following,
                due_at=None if task.due_at is None else task.due_at + (following - at),
                metadata_={"repeats": str(task.id)},
            )
            note_creation(uow, copy)
            copy_id, made = str(copy.id), made + 1
        task.metadata_ = {**(task.metadata_ or {}), REPEATED: copy_id}
    return Done(None, {"made": made, "more": len(ids) == limit})
