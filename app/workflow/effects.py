"""What the end of a request to try a step again does to the run that waits for it (WF-5, APR-13)."""

from __future__ import annotations

from uuid import UUID

from app.governance.deciding import EFFECTS
from app.unit_of_work import UnitOfWork
from app.workflow.running import STEP_RETRY, current_step, end_run, note_run, set_step
from db.enums import ApprovalDecision, WorkflowRunStatus, WorkflowStepStatus
from db.models import ApprovalRecord, WorkflowRun


async def workflow_step_retry(uow: UnitOfWork, approval: ApprovalRecord, caused_by_id: UUID) -> None:
    """WF-5. Approved: the step has all its tries again and the run goes on. Anything else fails the run."""
    run = await uow.lock(WorkflowRun, approval.target_id if approval.target_entity == WorkflowRun.__name__ else None)
    state = None if run is None else current_step(run)
    if run is None or state is None or run.status is not WorkflowRunStatus.PAUSED:
        return
    if state["status"] != WorkflowStepStatus.FAILED:
        return
    if approval.status is not ApprovalDecision.APPROVED:
        end_run(uow, run, WorkflowRunStatus.FAILED, reason=approval.decision_reason, caused_by_id=caused_by_id)
        return
    approval.used_at = uow.now
    set_step(run, status=WorkflowStepStatus.PENDING, retryCount=0, completedAt=None, nextTryAt=None)
    run.status = WorkflowRunStatus.RUNNING
    note_run(uow, run, "WORKFLOW_RESUMED", reason=approval.decision_reason, change_record_id=caused_by_id)


EFFECTS[STEP_RETRY] = workflow_step_retry
