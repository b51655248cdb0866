"""Commands that bring a run forward, for a job to give: begin the step at hand, judge what came of it (WF-3 to WF-6).

Each looks anew under the run's lock and does nothing where there is nothing to do, so that several workers, or one that
was interrupted, may give them at any time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.commands.tasks import add_task, note_creation
from app.execution.moving import assign_to, move_task
from app.execution.rules.work import BUDGETS, LONGEST_CONTENT
from app.execution.standing import hold_instances, hold_mode
from app.governance.loading import policies_for
from app.registry.commands import mode_of
from app.unit_of_work import UnitOfWork
from app.workflow.rules.running import holds, learned, missing_names, rendered
from app.workflow.running import (
    Plan,
    current_step,
    emit_step,
    end_run,
    fail_step,
    id_in,
    plan_of,
    set_step,
    stop_task,
    time_in,
)
from db.base import JsonObject
from db.enums import (
    InstanceState,
    OperatorMode,
    OpEventType,
    TaskStatus,
    TaskType,
    WorkflowRunStatus,
    WorkflowStepStatus,
)
from db.models import AgentInstance, AgentTemplate, AgentVersion, Task, TaskAssignee, WorkflowRun

_PRIORITY: Final = 2
_LABEL: Final = "workflow"
_BUSY: Final = (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS)
_LOST: Final = (TaskStatus.FAILED, TaskStatus.CANCELED)
_NO_RUN: Final = Refused(Refusal.NOT_FOUND, "No such workflow run.", "run_id")


class _CannotBegin(Exception):
    """Why a step fails before anybody has its task."""


@command("execute:workflows", OpEventType.WORKFLOW_STEP_STARTED, callers=(ActorKind.PLATFORM,))
async def begin_workflow_step(uow: UnitOfWork, run_id: UUID) -> Done | Refused:
    """WF-3. Give the step at hand to an agent, as a task: its input with the context's values, for an ACTIVE agent of
    the project that has the role's persona. Where that cannot be, the step has failed, and WF-5 says what follows.

    Does nothing where the step runs already or is not due, or while an emergency is in force.
    """
    await hold_mode(uow)
    run = await uow.lock(WorkflowRun, run_id)
    if run is None:
        return _NO_RUN
    uow.permit(project_id=run.project_id)
    state = current_step(run)
    if run.status not in (WorkflowRunStatus.PENDING, WorkflowRunStatus.RUNNING) or state is None:
        return Done(run)
    due = time_in(state, "nextTryAt")
    if state["status"] != WorkflowStepStatus.PENDING or (due is not None and due > uow.now):
        return Done(run)
    if await mode_of(uow, run.project_id) is not OperatorMode.NORMAL:
        return Done(run)
    plan = await plan_of(uow, run)
    step = plan.step(state)
    run.status = WorkflowRunStatus.RUNNING
    try:
        await _hand_out(uow, run, plan, state, step)
    except _CannotBegin as fault:
        set_step(run, startedAt=uow.now, taskId=None, instanceId=None)
        fail_step(uow, run, _retry_limit(step), str(fault), plan.name)
    return Done(run)


async def _hand_out(uow: UnitOfWork, run: WorkflowRun, plan: Plan, state: JsonObject, step: JsonObject | None) -> None:
    """Make the task and the event; everything that may fail comes first. Raises _CannotBegin."""
    if step is None:
        raise _CannotBegin(f"The workflow has no step {state['stepId']!r} any more.")
    if run.project_id is None:
        raise _CannotBegin("The run has no project whose agents could do the step.")
    if missing := missing_names(step["input"], run.context):
        raise _CannotBegin(f"The context has no value for {', '.join(missing)}.")
    text = rendered(step["input"], run.context)
    if len(text) > LONGEST_CONTENT:
        raise _CannotBegin(f"The input has more than {LONGEST_CONTENT} characters with the context's values in it.")
    role = plan.role(step["agent"])
    agent = await _agent_of(uow, run.project_id, role.get("persona"))
    if agent is None:
        raise _CannotBegin(f"No ACTIVE agent of the project is called {role.get('persona')!r}, nor is its template.")
    kind = await _kind_for(uow, agent)
    notes: JsonObject = {
        "workflowRunId": str(run.id),
        "workflowStepId": step["id"],
        "workflowStepIndex": run.current_step_index,
    }
    if role.get("workspace"):
        notes["workspace"] = role["workspace"]
    task = add_task(
        uow,
        project_id=run.project_id,
        parent_task_id=run.parent_task_id,
        title=f"[{plan.name}] {step['id']}",
        description=text,
        type=kind,
        priority=_PRIORITY,
        labels=[_LABEL],
        budget_allocated=BUDGETS[kind],
        metadata_=notes,
    )
    await uow.session.flush()
    await assign_to(uow, task, [agent.id])
    created = note_creation(uow, task, [agent.id])
    await move_task(uow, task, TaskStatus.ASSIGNED, by_system=True, caused_by_id=created)
    started = set_step(
        run,
        status=WorkflowStepStatus.RUNNING,
        taskId=task.id,
        instanceId=agent.id,
        startedAt=uow.now,
        completedAt=None,
        nextTryAt=None,
        timeoutAt=uow.now + _timeout(step),
        output=None,
    )
    emit_step(uow, OpEventType.WORKFLOW_STEP_STARTED, run, started, persona=role.get("persona"))


async def _agent_of(uow: UnitOfWork, project_id: UUID, persona: str | None) -> AgentInstance | None:
    """WF-3. The agent with the least work among those that are ACTIVE and have the persona's name, or whose template
    has; it stays ACTIVE until this transaction ends."""
    load = (
        select(func.count())
        .select_from(TaskAssignee)
        .join(Task, (Task.tenant_id == TaskAssignee.tenant_id) & (Task.id == TaskAssignee.task_id))
        .where(
            TaskAssignee.tenant_id == AgentInstance.tenant_id,
            TaskAssignee.instance_id == AgentInstance.id,
            Task.status.in_(_BUSY),
        )
        .scalar_subquery()
    )
    statement = (
        select(AgentInstance.id)
        .join(
            AgentVersion,
            (AgentVersion.tenant_id == AgentInstance.tenant_id) & (AgentVersion.id == AgentInstance.version_id),
        )
        .join(
            AgentTemplate,
            (AgentTemplate.tenant_id == AgentVersion.tenant_id) & (AgentTemplate.id == AgentVersion.template_id),
        )
        .where(
            AgentInstance.tenant_id == uow.tenant_id,
            AgentInstance.project_id == project_id,
            AgentInstance.state == InstanceState.ACTIVE,
            or_(AgentInstance.name == persona, AgentTemplate.name == persona),
        )
        .order_by(load, AgentInstance.id)
        .limit(1)
    )
    found = await uow.session.scalar(statement)
    agent = None if found is None else (await hold_instances(uow, [found])).get(found)
    return agent if agent is not None and agent.state is InstanceState.ACTIVE else None


async def _kind_for(uow: UnitOfWork, agent: AgentInstance) -> TaskType:
    """WF-3. The first type of work that the agent's policy allows; OPS where it has no list. Raises _CannotBegin."""
    named = (await policies_for(uow, [agent.id]))[agent.id].values["allowed_task_types"]
    if named is None:
        return TaskType.OPS
    for one in named:
        return TaskType(one)
    raise _CannotBegin(f"The policy of {agent.name or 'the agent'} allows no type of task (TASK-3, POL-8).")


@command("execute:workflows", OpEventType.WORKFLOW_STEP_COMPLETED, callers=(ActorKind.PLATFORM,))
async def judge_workflow_step(uow: UnitOfWork, run_id: UUID) -> Done | Refused:
    """WF-4 to WF-6. See what came of the step at hand: done where its task is DONE and the output has what the step
    expects, failed where it has not, where the task failed or was canceled, or where its time is over.

    The last step completes the run. Does nothing where the task is still under way.
    """
    run = await uow.lock(WorkflowRun, run_id)
    if run is None:
        return _NO_RUN
    uow.permit(project_id=run.project_id)
    state = current_step(run)
    if run.status is not WorkflowRunStatus.RUNNING or state is None:
        return Done(run)
    if state["status"] != WorkflowStepStatus.RUNNING:
        return Done(run)
    plan = await plan_of(uow, run)
    step = plan.step(state)
    task = await uow.lock(Task, id_in(state, "taskId"))
    over = time_in(state, "timeoutAt")
    if task is None or task.status in _LOST:
        status = "is gone" if task is None else f"is {task.status.value}"
        fail_step(uow, run, _retry_limit(step), f"The step's task {status}.", plan.name)
    elif task.status is TaskStatus.DONE:
        output = str((task.deliverable or {}).get("content") or (task.deliverable or {}).get("summary") or "")
        expects = "" if step is None else str(step["expects"])
        if holds(output, expects):
            _complete_step(uow, run, state, output)
        else:
            fail_step(uow, run, _retry_limit(step), f"The output does not have {expects!r}.", plan.name)
    elif over is not None and uow.now > over:
        fail_step(uow, run, _retry_limit(step), "timeout", plan.name)
        await stop_task(uow, run, reason="The time for the workflow's step is over.", caused_by_id=uow.first_change)
    return Done(run)


def _retry_limit(step: JsonObject | None) -> int:
    return 0 if step is None else int(step["retryLimit"])


def _timeout(step: JsonObject) -> timedelta:
    return timedelta(minutes=step["timeoutMinutes"])


def _complete_step(uow: UnitOfWork, run: WorkflowRun, state: JsonObject, output: str) -> None:
    """WF-4, WF-6. The step is DONE; the next one is at hand, or the run is COMPLETED."""
    done = set_step(
        run,
        status=WorkflowStepStatus.DONE,
        completedAt=uow.now,
        output=output,
        error=None,
        nextTryAt=None,
        timeoutAt=None,
    )
    run.context = {**run.context, **learned(state["stepId"], output)}
    emit_step(uow, OpEventType.WORKFLOW_STEP_COMPLETED, run, done)
    if run.current_step_index + 1 < run.total_steps:
        run.current_step_index += 1
    else:
        end_run(uow, run, WorkflowRunStatus.COMPLETED)
