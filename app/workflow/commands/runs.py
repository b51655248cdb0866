"""Commands of workflow runs: started, paused, resumed, aborted by people (WF-2, WFR-1)."""

from __future__ import annotations

import secrets
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.commands import Refusal, Refused, command
from app.execution.rules.work import TERMINAL
from app.execution.standing import hold_mode, refuse_new_assignment
from app.governance.deciding import OPEN, lock_requests, settle
from app.identity.standing import open_project
from app.lifecycle import refuse_step
from app.unit_of_work import UnitOfWork
from app.workflow.machines import WORKFLOW_RUN
from app.workflow.rules.running import KEY_LENGTH, KEY_LETTERS
from app.workflow.running import STEP_RETRY, current_step, end_run, note_run, stop_task
from db.enums import (
    ApprovalDecision,
    ChangeRecordType,
    OpEventType,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from db.models import ApprovalRecord, Task, Workflow, WorkflowRun

_NO_RUN: Final = Refused(Refusal.NOT_FOUND, "No such workflow run.", "run_id")


@command("execute:workflows", ChangeRecordType.WORKFLOW_STARTED)
async def start_workflow_run(
    uow: UnitOfWork,
    workflow_id: UUID,
    project_id: UUID,
    input: str,
    parent_task_id: UUID | None = None,
) -> WorkflowRun | Refused:
    """WF-2. Ask for a run of an active workflow, in the project whose agents do it. It keeps the definition as it is
    now; a job begins its first step."""
    if not input.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say what the run is about: `input` is the context's `task`.", "input")
    await hold_mode(uow)
    workflow = await uow.lock(Workflow, workflow_id)
    if workflow is None:
        return Refused(Refusal.NOT_FOUND, "No such workflow.", "workflow_id")
    project = await open_project(uow, project_id)
    if isinstance(project, Refused):
        return project
    uow.permit(project_id=project_id)
    if not workflow.active:
        message = "The workflow is not active; none of its runs start. Activate it first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "workflow_id")
    if refused := await refuse_new_assignment(uow, project_id):
        return Refused(refused.code, refused.message, "project_id")
    if refused := await _refuse_parent(uow, project_id, parent_task_id):
        return refused
    run = uow.add(
        WorkflowRun(
            run_key="".join(secrets.choice(KEY_LETTERS) for _ in range(KEY_LENGTH)),
            workflow_id=workflow.id,
            project_id=project_id,
            parent_task_id=parent_task_id,
            status=WorkflowRunStatus.PENDING,
            current_step_index=0,
            total_steps=len(workflow.steps),
            steps=[
                {"stepId": step["id"], "status": WorkflowStepStatus.PENDING.value, "retryCount": 0}
                for step in workflow.steps
            ],
            context={"task": input},
            initial_input=input,
            started_at=uow.now,
            metadata_={"definition": {"version": workflow.version, "agents": workflow.agents, "steps": workflow.steps}},
        )
    )
    uow.record(
        ChangeRecordType.WORKFLOW_STARTED,
        run,
        after={
            "status": run.status.value,
            "runKey": run.run_key,
            "workflowId": str(workflow.id),
            "version": workflow.version,
        },
        summary=f"{workflow.name} was started.",
    )
    return run


async def _refuse_parent(uow: UnitOfWork, project_id: UUID, task_id: UUID | None) -> Refused | None:
    if task_id is None:
        return None
    parent = await uow.lock(Task, task_id)
    if parent is None:
        return Refused(Refusal.NOT_FOUND, "No such task.", "parent_task_id")
    if parent.project_id != project_id:
        return Refused(Refusal.VALIDATION_ERROR, "The task is of another project than the run.", "parent_task_id")
    if parent.status in TERMINAL:
        message = f"The task is {parent.status.value}; it gets no more parts."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "parent_task_id")
    return None


@command("execute:workflows", OpEventType.DECISION_MADE)
async def pause_workflow_run(
    uow: UnitOfWork, run_id: UUID, reason: str | None = None, expected_status: WorkflowRunStatus | None = None
) -> WorkflowRun | Refused:
    """WFR-1. Hold a running run: the task at hand may be finished, and what comes of it is looked at on resuming."""
    run = await _at_step(uow, run_id, WorkflowRunStatus.PAUSED, expected_status)
    if isinstance(run, Refused):
        return run
    run.status = WorkflowRunStatus.PAUSED
    note_run(uow, run, "WORKFLOW_PAUSED", reason=reason)
    return run


@command("execute:workflows", OpEventType.DECISION_MADE)
async def resume_workflow_run(
    uow: UnitOfWork, run_id: UUID, reason: str | None = None, expected_status: WorkflowRunStatus | None = None
) -> WorkflowRun | Refused:
    """WFR-1. Let a run go on that a person paused. One whose step used up its tries goes on by the approval of its
    request alone (WF-5)."""
    run = await _at_step(uow, run_id, WorkflowRunStatus.RUNNING, expected_status)
    if isinstance(run, Refused):
        return run
    step = current_step(run)
    if step is not None and step["status"] == WorkflowStepStatus.FAILED:
        message = (
            f"The step {step['stepId']!r} has failed for good. Decide on the request {STEP_RETRY} of this run: once it"
            " is approved, the step is tried again."
        )
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "run_id")
    run.status = WorkflowRunStatus.RUNNING
    note_run(uow, run, "WORKFLOW_RESUMED", reason=reason)
    return run


@command("execute:workflows", ChangeRecordType.WORKFLOW_COMPLETED)
async def abort_workflow_run(
    uow: UnitOfWork, run_id: UUID, reason: str, expected_status: WorkflowRunStatus | None = None
) -> WorkflowRun | Refused:
    """WFR-1. End a run for good: its open task is canceled, and a request to try a step again is withdrawn."""
    if not reason.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say why the run is aborted.", "reason")
    waiting = select(ApprovalRecord.id).where(
        ApprovalRecord.tenant_id == uow.tenant_id,
        ApprovalRecord.target_entity == WorkflowRun.__name__,
        ApprovalRecord.target_id == run_id,
        ApprovalRecord.request_type == STEP_RETRY,
        ApprovalRecord.status.in_(OPEN),
    )
    # Requests before their run, as whoever decides on one locks them.
    requests = await lock_requests(uow, list(await uow.session.scalars(waiting)))
    run = await _at_step(uow, run_id, WorkflowRunStatus.FAILED, expected_status)
    if isinstance(run, Refused):
        return run
    change_id = end_run(uow, run, WorkflowRunStatus.FAILED, reason=reason)
    for request in requests:
        if request.status in OPEN:
            await settle(uow, request, ApprovalDecision.CANCELED, reason)
    await stop_task(uow, run, reason=reason, caused_by_id=change_id)
    return run


async def _at_step(
    uow: UnitOfWork, run_id: UUID, to: WorkflowRunStatus, expected: WorkflowRunStatus | None
) -> WorkflowRun | Refused:
    """The run, locked, where the caller may take it there."""
    run = await uow.lock(WorkflowRun, run_id)
    if run is None:
        return _NO_RUN
    uow.permit(project_id=run.project_id)
    refused = refuse_step(WORKFLOW_RUN, run.status, to, uow.actor_type, expected, expected_field="expected_status")
    return refused or run
