"""Work that is on hold until somebody decides on a request, and how it goes on (APR-13, BUD-4)."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import aliased

from app.execution.moving import move_task
from app.governance.deciding import OPEN
from app.unit_of_work import UnitOfWork
from db.enums import ChangeRecordType, TaskStatus
from db.models import ApprovalRecord, ChangeRecord, Task

_RETURNS_TO = (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS, TaskStatus.REVIEW)
"""Where the gateway may take a task back to once it is approved (TSK-1)."""


async def return_held(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """The work that containment held as it made this request goes on where it was, unless something else holds it."""
    await return_tasks(uow, approval, await _held_with(uow, approval), caused_by_id)


async def _held_with(uow: UnitOfWork, approval: ApprovalRecord) -> list[UUID]:
    """The tasks that containment put on hold as it made this request, and the request's own."""
    asked, held = aliased(ChangeRecord), aliased(ChangeRecord)
    statement = (
        select(held.target_id)
        .join(asked, (asked.tenant_id == held.tenant_id) & (asked.caused_by_id == held.caused_by_id))
        .where(
            asked.tenant_id == uow.tenant_id,
            asked.target_entity == ApprovalRecord.__name__,
            asked.target_id == approval.id,
            asked.type == ChangeRecordType.APPROVAL_REQUESTED,
            held.type == ChangeRecordType.TASK_TRANSITIONED,
        )
    )
    own = [] if approval.task_id is None else [approval.task_id]
    return list(dict.fromkeys([*own, *await uow.session.scalars(statement)]))


async def return_tasks(uow: UnitOfWork, approval: ApprovalRecord, task_ids: Sequence[UUID], caused_by_id: UUID) -> None:
    """The tasks that waited for this request alone go back to where they were."""
    others = select(ApprovalRecord.task_id).where(
        ApprovalRecord.tenant_id == uow.tenant_id,
        ApprovalRecord.task_id.in_(task_ids),
        ApprovalRecord.id != approval.id,
        ApprovalRecord.status.in_(OPEN),
    )
    still_wait = set(await uow.session.scalars(others))
    for task in await uow.lock_all(Task, [one for one in task_ids if one not in still_wait]):
        former = await _status_before(uow, task)
        if task.status is not TaskStatus.NEEDS_APPROVAL or former not in _RETURNS_TO:
            continue
        await move_task(
            uow,
            task,
            TaskStatus(former),
            reason=approval.decision_reason,
            by_system=True,
            caused_by_id=caused_by_id,
            after={"approvalId": str(approval.id)},
        )


async def _status_before(uow: UnitOfWork, task: Task) -> str | None:
    """Where a task was when it was last put on hold."""
    statement = (
        select(ChangeRecord.before_state["status"].astext)
        .where(
            ChangeRecord.tenant_id == uow.tenant_id,
            ChangeRecord.target_entity == Task.__name__,
            ChangeRecord.target_id == task.id,
            ChangeRecord.type == ChangeRecordType.TASK_TRANSITIONED,
            ChangeRecord.after_state["status"].astext == TaskStatus.NEEDS_APPROVAL.value,
        )
        .order_by(ChangeRecord.seq.desc())
        .limit(1)
    )
    return await uow.session.scalar(statement)
