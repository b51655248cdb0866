"""Types of workflow orchestration."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.graph.entity import Connection, Entity, belongs_to, entity, has_many, history, json_type, key, key_of
from app.graph.scalars import JSON
from db import models
from db.enums import WorkflowRunStatus, WorkflowStepStatus

if TYPE_CHECKING:
    from app.audit.types import ChangeRecord, OpEvent
    from app.execution.types import Task
    from app.identity.types import Operator, Project
    from app.registry.types import AgentInstance


@json_type
class WorkflowWorkspace:
    """What an agent of a workflow finds in its working directory."""

    files: JSON | None = key("Files by name.")


@json_type
class WorkflowAgent:
    """Role that the steps of a workflow are given to (WF-1)."""

    id: str = key("Name that steps use.")
    persona: str = key("Which agents can take the role.")
    workspace: WorkflowWorkspace | None = key("Working directory of the role.")


@json_type
class WorkflowStep:
    """One step of a workflow's definition (WF-1)."""

    id: str = key("Name of the step, unique in its workflow.")
    agent: str = key("`id` of the role that executes it.")
    input: str = key("What the agent is told; `{{name}}` stands for a value of the run's context (WF-3).")
    expects: str = key("What the output has to contain for the step to be done (WF-4).")
    retry_limit: int = key("How often a failed step is tried again; 0 means never.")
    timeout_minutes: float = key("Longest time of one try, in minutes.")


@entity(models.Workflow, prefix="wfl")
class Workflow(Entity):
    """Definition of a procedure of several steps and agents, loaded from YAML (WF-1)."""

    workflow_key: str
    name: str
    description: str
    agents: list[WorkflowAgent]
    steps: list[WorkflowStep]
    active: bool
    version: int
    created_by: Operator | None = belongs_to("created_by_operator_id")
    deleted_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    runs: Connection[WorkflowRun] = has_many(models.WorkflowRun.workflow_id, "Its executions.")
    change_records: Connection[ChangeRecord] = history()


@json_type
class WorkflowStepState:
    """How one step of a workflow run stands."""

    step_id: str = key("`id` of the step in the workflow's definition.")
    status: WorkflowStepStatus = key("How the step stands.")
    task: Task | None = key_of("Task", "Task that was made for it.")
    instance: AgentInstance | None = key_of("AgentInstance", "Agent that executes it.")
    started_at: datetime | None = key("When its latest try began.")
    timeout_at: datetime | None = key("When the time of the try under way is over.")
    next_try_at: datetime | None = key("Before when it is not tried again, after a try that failed (WF-5).")
    completed_at: datetime | None = key("When it was done, or failed.")
    retry_count: int = key("Tries after the first so far.")
    error: str | None = key("Why its latest try failed.")
    output: str | None = key("What its agent answered.")


@entity(models.WorkflowRun, prefix="wfr")
class WorkflowRun(Entity):
    """Execution of a workflow, with the state of each step, retries, context and output."""

    run_key: str
    workflow: Workflow = belongs_to("workflow_id")
    project: Project | None = belongs_to("project_id")
    parent_task: Task | None = belongs_to("parent_task_id")
    status: WorkflowRunStatus
    current_step_index: int
    total_steps: int
    steps: list[WorkflowStepState]
    context: JSON
    initial_input: str
    started_at: datetime
    completed_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    op_events: Connection[OpEvent] = has_many(
        models.OpEvent.workflow_run_id, "Telemetry of its steps, as far back as it is kept."
    )
    change_records: Connection[ChangeRecord] = history()
