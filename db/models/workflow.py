"""Workflow orchestration: definitions of procedures, and their runs."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Mapped

from db.base import Changing, Model, Noted, TenantScoped, column, index, json_list, json_object, name_text, reference
from db.enums import WorkflowRunStatus


class Workflow(TenantScoped, Changing, Noted, Model):
    """Definition of a procedure of several steps and agents, loaded from YAML (WF-1)."""

    __tablename__ = "workflows"
    __table_args__ = (
        index("workflow_key", unique=True),  # loading a definition again replaces it (WF-1)
        index("name"),  # the selector sorts by name
        index("active"),  # only active ones start
    )

    workflow_key: Mapped[name_text] = column("The `id` in its YAML, unique in the tenant (WF-1).")
    name: Mapped[name_text] = column("Display name.")
    description: Mapped[str] = column("What the procedure is for.")
    agents: Mapped[json_list] = column("Roles that steps name, each `id`, `persona`, `workspace` (WF-1).")
    steps: Mapped[json_list] = column(
        "Steps in order, each `id`, `agent`, `input`, `expects`, `retryLimit`, `timeoutMinutes` (WF-1)."
    )
    active: Mapped[bool] = column("Whether runs may start (WF-1).", default=True)
    version: Mapped[int] = column("Counts the loads of the definition, from 1 (WF-1).", default=1)
    created_by_operator_id: Mapped[UUID | None] = reference("operators", "Person who loaded it first.")
    deleted_at: Mapped[datetime | None] = column(
        "When it was deleted; its runs still name it, and loading it again brings it back (WF-1)."
    )


class WorkflowRun(TenantScoped, Changing, Noted, Model):
    """Execution of a workflow, with the state of each step, retries, context and output."""

    __tablename__ = "workflow_runs"
    __table_args__ = (
        index("run_key", unique=True),  # people and logs name a run by its key (WF-2)
        index("status"),  # the executor takes RUNNING, then PENDING (WF-3)
        index("started_at"),  # metrics look back 30 days (WF-7)
    )

    run_key: Mapped[name_text] = column("Short name, eight characters of base 36, unique in the tenant (WF-2).")
    workflow_id: Mapped[UUID] = reference("workflows", "Definition that is executed.")
    project_id: Mapped[UUID | None] = reference("projects", "Project whose agents execute it.")
    parent_task_id: Mapped[UUID | None] = reference("tasks", "Task that the steps' tasks are parts of.")
    status: Mapped[WorkflowRunStatus] = column("How the run stands.", default=WorkflowRunStatus.PENDING)
    current_step_index: Mapped[int] = column(
        "Position of the step at hand, from 0; steps run one by one (WF-6).", default=0
    )
    total_steps: Mapped[int] = column("Steps of the definition when the run began; constant (WF-6).")
    steps: Mapped[json_list] = column(
        "State of each step: `stepId`, `status`, `taskId`, `instanceId`, times, `retryCount`, `error`, `output`."
    )
    context: Mapped[json_object] = column(
        "Values that steps read as `{{name}}`: `task`, `<stepId>Output`, and keys from outputs (WF-3, WF-4)."
    )
    initial_input: Mapped[str] = column("The text that the run was started with; `task` of the context.")
    started_at: Mapped[datetime] = column("When the run was asked for.")
    completed_at: Mapped[datetime | None] = column("When it was completed or failed.")
