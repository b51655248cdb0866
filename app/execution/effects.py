"""What the end of a request for approval does to the work that waits for it (APR-13, TOL-2)."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import aliased

from app.execution.ending import end_call
from app.execution.moving import move_task
from app.execution.refs import call_refs
from app.governance.approving import GRANT
from app.governance.budgets import add_budget_extra
from app.governance.deciding import EFFECTS, OPEN
from app.registry.commands import resume_instance
from app.unit_of_work import UnitOfWork
from db.enums import (
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    OpEventType,
    PauseCause,
    TaskStatus,
    ToolCallStatus,
)
from db.models import AgentInstance, ApprovalRecord, ChangeRecord, Task, ToolCall

_RETURNS_TO = (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS, TaskStatus.REVIEW)
"""Where the gateway may take a task back to once it is approved (TSK-1)."""


async def tool_execution(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """TOL-2. The tool call that waited runs, or is denied; what else waited for the decision goes on."""
    call = await uow.get(ToolCall, approval.tool_call_id)
    approved = approval.status is ApprovalDecision.APPROVED
    if call is not None and call.status is ToolCallStatus.PENDING:
        decided = {"approvalId": str(approval.id), "decision": approval.status.value}
        if approved:
            call.status, call.started_at = ToolCallStatus.RUNNING, uow.now
            uow.emit(
                OpEventType.TOOL_CALL_STARTED,
                change_record_id=caused_by_id,
                **call_refs(call),
                payload={"toolName": call.tool_name, **decided},
            )
        else:
            error = f"The approval was {approval.status.value.lower()}."
            end_call(uow, call, ToolCallStatus.DENIED, error=error, change_record_id=caused_by_id, decided=decided)
    if approved and approval.task_id is not None:
        await _return_tasks(uow, approval, [approval.task_id], caused_by_id)


async def held_work(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """APR-13. What waited for the decision goes on; the step itself is still to be taken, by whoever asked for it."""
    if approval.status is ApprovalDecision.APPROVED and approval.task_id is not None:
        await _return_tasks(uow, approval, [approval.task_id], caused_by_id)


async def budget_override(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """BUD-4. More for today; the agent that its budget had paused goes on, and the work held with it."""
    if approval.status is not ApprovalDecision.APPROVED:
        return
    if approval.target_entity == Task.__name__:
        await _widen_task(uow, approval, caused_by_id)
        return
    is_about_agent = approval.target_entity == AgentInstance.__name__
    instance = await uow.lock(AgentInstance, approval.target_id if is_about_agent else approval.requester_instance_id)
    if instance is None:
        return
    add_budget_extra(uow, instance, Decimal(approval.estimated_cost or 0))
    if GRANT not in (approval.metadata_ or {}):
        approval.used_at = uow.now  # a grant is used up by the action that it is for (POL-12)
    if instance.state is InstanceState.PAUSED and instance.paused_by is PauseCause.BUDGET:
        await resume_instance(
            uow,
            instance,
            reason=approval.decision_reason,
            cause=PauseCause.BUDGET,
            caused_by_id=caused_by_id,
            approval_id=str(approval.id),
        )
    await return_held(uow, approval, caused_by_id)


async def return_held(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """The work that containment held as it made this request goes on where it was, unless something else holds it."""
    await _return_tasks(uow, approval, await _held_with(uow, approval), caused_by_id)


async def _widen_task(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """BUD-5. More for a task that had spent its budget; it goes on where it was."""
    task = await uow.lock(Task, approval.target_id)
    if task is None or task.budget_allocated is None:
        return
    task.budget_allocated += Decimal(approval.estimated_cost or 0)
    task.budget_remaining = max(task.budget_allocated - task.actual_cost, Decimal(0))
    approval.used_at = uow.now
    await _return_tasks(uow, approval, [task.id], caused_by_id)


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


async def _return_tasks(uow: UnitOfWork, approval: ApprovalRecord, task_ids: list[UUID], caused_by_id: UUID) -> None:
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


EFFECTS.update(
    TOOL_EXECUTION=tool_execution,
    BUDGET_OVERRIDE=budget_override,
    COMPLETE_TASK=held_work,
    RUN_START=held_work,
    SPAWN=held_work,
    TRANSITION=held_work,
)
