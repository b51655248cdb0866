"""A workflow run and the step at hand: what its commands, its jobs and its approvals share (WF-3 to WF-6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.execution.machines import TASK
from app.execution.moving import move_task
from app.governance.approving import make_request
from app.graph.registry import row_key
from app.lifecycle import allowed_from
from app.rows import plain
from app.unit_of_work import UnitOfWork
from app.workflow.rules.running import retry_delay
from db.base import JsonObject
from db.enums import (
    ActorType,
    AlertSeverity,
    ChangeRecordType,
    OpEventType,
    RiskLevel,
    TaskStatus,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from db.models import Task, Workflow, WorkflowRun

STEP_RETRY: Final = "WORKFLOW_STEP_RETRY"
"""Type of the request to try a step again that used up its tries (WF-5)."""
_LONGEST_ERROR: Final = 2_000


@dataclass(frozen=True)
class Plan:
    """The definition that a run goes by: the one that it was started with."""

    name: str
    agents: list[JsonObject]
    steps: list[JsonObject]

    def step(self, state: Mapping[str, Any]) -> JsonObject | None:
        """The definition of a step of the run; None where the workflow has it no more, as an import may find."""
        return next((one for one in self.steps if one.get("id") == state["stepId"]), None)

    def role(self, name: str) -> JsonObject:
        """The role that a step is for."""
        return next((one for one in self.agents if one.get("id") == name), {})


async def plan_of(uow: UnitOfWork, run: WorkflowRun) -> Plan:
    """What a run goes by; an imported one, which keeps no definition, by the workflow's own."""
    workflow = await uow.get(Workflow, run.workflow_id)
    kept = (run.metadata_ or {}).get("definition")
    if isinstance(kept, dict):
        return Plan("" if workflow is None else workflow.name, kept["agents"], kept["steps"])
    if workflow is None:
        return Plan("", [], [])
    return Plan(workflow.name, workflow.agents, workflow.steps)


def current_step(run: WorkflowRun) -> JsonObject | None:
    """The state of the step at hand; None where the run has no such step."""
    at = run.current_step_index
    return run.steps[at] if 0 <= at < len(run.steps) else None


def set_step(run: WorkflowRun, **changes: Any) -> JsonObject:
    """Change the state of the step at hand; times and ids as JSON has them."""
    changed = {**run.steps[run.current_step_index], **{name: plain(value) for name, value in changes.items()}}
    run.steps = [changed if at == run.current_step_index else one for at, one in enumerate(run.steps)]
    return changed


def time_in(state: Mapping[str, Any], name: str) -> datetime | None:
    """A time of a step's state."""
    value = state.get(name)
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def id_in(state: Mapping[str, Any], name: str) -> UUID | None:
    """A row that a step's state names; None where it names none."""
    return row_key(state.get(name))


def emit_step(uow: UnitOfWork, kind: OpEventType, run: WorkflowRun, state: Mapping[str, Any], **payload: Any) -> UUID:
    """The event of a step, with its agent and its task where it has them."""
    return uow.emit(
        kind,
        workflow_run_id=run.id,
        project_id=run.project_id,
        instance_id=id_in(state, "instanceId"),
        task_id=id_in(state, "taskId"),
        payload={
            "stepId": state["stepId"],
            "stepIndex": run.current_step_index,
            "retryCount": state.get("retryCount") or 0,
            "runKey": run.run_key,
            **payload,
        },
    )


def note_run(
    uow: UnitOfWork, run: WorkflowRun, stage: str, *, reason: str | None = None, change_record_id: UUID | None = None
) -> UUID:
    """The event of a step of the run itself that is no change type."""
    return uow.emit(
        OpEventType.DECISION_MADE,
        workflow_run_id=run.id,
        project_id=run.project_id,
        change_record_id=change_record_id,
        payload={
            "stage": stage,
            "runKey": run.run_key,
            "reason": reason,
            "actorType": uow.actor_type.value,
            "actorId": None if uow.actor_id is None else str(uow.actor_id),
        },
    )


def end_run(
    uow: UnitOfWork,
    run: WorkflowRun,
    to: WorkflowRunStatus,
    *,
    reason: str | None = None,
    caused_by_id: UUID | None = None,
) -> UUID:
    """WF-6. Complete or fail a run; returns the id of its WORKFLOW_COMPLETED record."""
    before, run.status = run.status, to
    run.completed_at = uow.now
    return uow.record(
        ChangeRecordType.WORKFLOW_COMPLETED,
        run,
        before={"status": before.value},
        after={"status": to.value, "runKey": run.run_key, "currentStepIndex": run.current_step_index},
        reason=reason,
        by_system=caused_by_id is not None,
        caused_by_id=caused_by_id,
    )


def fail_step(uow: UnitOfWork, run: WorkflowRun, retry_limit: int, error: str, workflow_name: str) -> None:
    """WF-5. A try of the step at hand has failed: another one later, or the run waits for a person to allow one."""
    error = error[:_LONGEST_ERROR]
    state = run.steps[run.current_step_index]
    retries = int(state.get("retryCount") or 0)
    is_final = retries >= retry_limit
    next_try = None if is_final else uow.now + retry_delay(retries)
    emit_step(uow, OpEventType.WORKFLOW_STEP_FAILED, run, state, error=error, nextTryAt=plain(next_try))
    if not is_final:
        set_step(
            run,
            status=WorkflowStepStatus.PENDING,
            retryCount=retries + 1,
            error=error,
            completedAt=None,
            nextTryAt=next_try,
            timeoutAt=None,
        )
        return
    set_step(run, status=WorkflowStepStatus.FAILED, error=error, completedAt=uow.now, nextTryAt=None, timeoutAt=None)
    run.status = WorkflowRunStatus.PAUSED
    make_request(
        uow,
        STEP_RETRY,
        action_summary=f"Try the step {state['stepId']!r} of {workflow_name} again.",
        justification=error,
        risk_level=RiskLevel.YELLOW,
        target=run,
        by_system=True,
        may_approve_itself=False,
        project_id=run.project_id,
        event={"workflowRunId": str(run.id), "stepId": state["stepId"]},
    )
    uow.alert(
        "WORKFLOW_PAUSED",
        AlertSeverity.WARNING,
        f"{workflow_name} waits at {state['stepId']!r}",
        error,
        project_id=run.project_id,
        about_id=run.id,
    )


async def stop_task(uow: UnitOfWork, run: WorkflowRun, *, reason: str, caused_by_id: UUID | None = None) -> None:
    """Take the task of the step at hand out of its agent's hands, as far as the machine of tasks lets the gateway or
    the person: nobody asks for it any more."""
    state = current_step(run)
    task = await uow.lock(Task, None if state is None else id_in(state, "taskId"))
    if task is None:
        return
    is_person = uow.actor_type is ActorType.HUMAN
    wanted = [TaskStatus.CANCELED] if is_person else [TaskStatus.FAILED, TaskStatus.BLOCKED]
    allowed = allowed_from(TASK, task.status, uow.actor_type)
    to = next((one for one in wanted if one.value in allowed), None)
    if to is None or to is task.status:
        return
    await move_task(uow, task, to, reason=reason, by_system=not is_person, caused_by_id=caused_by_id)
