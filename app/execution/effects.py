"""What the end of a request for approval does to the work that waits for it (APR-13, TOL-2)."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from app.execution.ending import end_call
from app.execution.holding import return_held, return_tasks
from app.execution.refs import call_refs
from app.governance.approving import GRANT
from app.governance.budgets import add_budget_extra
from app.governance.deciding import EFFECTS
from app.registry.commands import resume_instance
from app.unit_of_work import UnitOfWork
from db.enums import ApprovalDecision, InstanceState, OpEventType, PauseCause, ToolCallStatus
from db.models import AgentInstance, ApprovalRecord, Task, ToolCall


async def held_work(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """TOL-2, APR-13. The tool call that waited runs, or is denied; what else waited for the decision goes on, and a
    step that it was about is still to be taken, by whoever asked for it."""
    await _decide_call(uow, approval, caused_by_id)
    if approval.status is ApprovalDecision.APPROVED and approval.task_id is not None:
        await return_tasks(uow, approval, [approval.task_id], caused_by_id)


async def _decide_call(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """TOL-2. The tool call that waited runs, or is denied, whatever kind of approval it was that it needed."""
    call = None if approval.tool_call_id is None else await uow.get(ToolCall, approval.tool_call_id)
    if call is None or call.status is not ToolCallStatus.PENDING:
        return
    decided = {"approvalId": str(approval.id), "decision": approval.status.value}
    if approval.status is ApprovalDecision.APPROVED:
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


async def budget_override(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """BUD-4. More for today; the agent that its budget had paused goes on, and the work held with it."""
    await _decide_call(uow, approval, caused_by_id)
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


async def _widen_task(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """BUD-5. More for a task that had spent its budget; it goes on where it was."""
    task = await uow.lock(Task, approval.target_id)
    if task is None or task.budget_allocated is None:
        return
    task.budget_allocated += Decimal(approval.estimated_cost or 0)
    task.budget_remaining = max(task.budget_allocated - task.actual_cost, Decimal(0))
    approval.used_at = uow.now
    await return_tasks(uow, approval, [task.id], caused_by_id)


EFFECTS.update(
    TOOL_EXECUTION=held_work,
    BUDGET_OVERRIDE=budget_override,
    COMPLETE_TASK=held_work,
    RUN_START=held_work,
    SPAWN=held_work,
    TRANSITION=held_work,
)
