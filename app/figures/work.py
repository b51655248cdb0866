"""Figures of work: tasks, runs, tool calls and workflows, and what they cost."""

from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Numeric, Table, and_, func, or_

from app.audit.types import OpEvent
from app.execution.types import Run, Task, ToolCall
from app.graph.stats import (
    average,
    column_key,
    computed_measure,
    count,
    percentile,
    related_key,
    share,
    stats,
    through_key,
    total,
)
from app.workflow.types import WorkflowRun
from db import models
from db.enums import OpEventType, RunStatus, TaskStatus, ToolCallStatus, WorkflowRunStatus

_ASSIGNEES: Final = cast("Table", models.TaskAssignee.__table__)
_TASKS: Final = cast("Table", models.Task.__table__)
_VERSIONS: Final = cast("Table", models.AgentVersion.__table__)
_OVER: Final = (TaskStatus.DONE, TaskStatus.CANCELED)


def _milliseconds(since: Any, until: Any) -> Any:
    return func.extract("epoch", until - since) * 1000


def _status(status: Any) -> Any:
    return lambda table: table.c.status == status


def _is_late(table: Table) -> Any:
    return and_(table.c.due_at < func.now(), table.c.status.not_in(_OVER))


def _tokens(name: str) -> Any:
    """Tokens of cost ticks; what is no number counts nothing."""

    def expression(table: Table) -> Any:
        value = table.c.payload[name]
        is_number = func.jsonb_typeof(value) == "number"
        return func.coalesce(func.sum(value.astext.cast(Numeric)).filter(is_number), 0)

    return expression


TASK_STATS: Final = stats(
    Task,
    "task_stats",
    "Tasks by status, kind, priority, project, assignee …: how many there are, and what they cost. A task with two"
    " assignees counts for each of them.",
    keys=(
        column_key("status", "Where the tasks stand."),
        column_key("type", "Kind of work."),
        column_key("priority", "1 critical, 2 high, 3 normal, 4 low."),
        column_key("source", "Channel that the tasks came in by."),
        related_key("project", "project_id", "Project", "Project that the tasks belong to."),
        related_key(
            "assignee",
            "instance_id",
            "AgentInstance",
            "Agent that the tasks are assigned to; null for those without one.",
            through=(_ASSIGNEES, "task_id", "id"),
        ),
    ),
    times=("created_at", "completed_at", "due_at", "started_at"),
    measures=(
        count("Number of tasks."),
        count("Number of tasks that are past their time and neither done nor canceled.", "overdue", _is_late),
        total("estimated_cost_usd", "estimated_cost", "Expected cost in US dollars, where one was given."),
        total("actual_cost_usd", "actual_cost", "Cost of finished runs in US dollars."),
        total("budget_allocated_usd", "budget_allocated", "Budgets in US dollars, where there are any."),
        total("budget_remaining_usd", "budget_remaining", "What is left of the budgets in US dollars."),
        total("review_cycles", "review_cycles", "How often reviews sent the tasks back.", int),
        computed_measure(
            "average_completion_ms",
            float,
            "Mean time from start to completion in milliseconds; null where none was completed.",
            lambda table: func.avg(_milliseconds(table.c.started_at, table.c.completed_at)),
        ),
    ),
)

RUN_STATS: Final = stats(
    Run,
    "run_stats",
    "Runs by status, agent, exact version, model …: how many, how many succeed, what they cost and how long they take.",
    keys=(
        column_key("status", "How the runs stand."),
        column_key("model", "Model that answered."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that ran."),
        related_key("version", "version_id", "AgentVersion", "Exact version that ran."),
        related_key(
            "template",
            "template_id",
            "AgentTemplate",
            "Template of the version.",
            through=(_VERSIONS, "id", "version_id"),
        ),
        related_key("project", "project_id", "Project", "Project of the runs."),
        related_key("task", "task_id", "Task", "Task that was worked on."),
        through_key("task_type", _TASKS, "id", "task_id", "type", "Kind of work of the task."),
    ),
    times=("started_at", "ended_at"),
    measures=(
        count("Number of runs."),
        count("Number of runs under way.", "running", _status(RunStatus.RUNNING)),
        count("Number of runs that were completed.", "completed", _status(RunStatus.COMPLETED)),
        count("Number of runs that failed.", "failed", _status(RunStatus.FAILED)),
        count("Number of runs that took too long (RUN-6).", "timed_out", _status(RunStatus.TIMEOUT)),
        share(
            "success_rate",
            _status(RunStatus.COMPLETED),
            lambda table: table.c.status != RunStatus.RUNNING,
            "Share of the ended runs that were completed, 0 to 1; null where none has ended.",
        ),
        total("cost_usd", "cost_usd", "Cost in US dollars."),
        total("input_tokens", "input_tokens", "Tokens sent to models, without cached ones."),
        total("output_tokens", "output_tokens", "Tokens that models wrote."),
        average("average_duration_ms", "duration_ms", "Mean length in milliseconds; null where none has ended."),
        percentile("p95_duration_ms", "duration_ms", 0.95, "95th percentile of the length in milliseconds."),
    ),
)

TOOL_CALL_STATS: Final = stats(
    ToolCall,
    "tool_call_stats",
    "Tool calls by tool, verdict, risk, agent …: how a tool is used, what fails, and what policy stops.",
    keys=(
        column_key("tool_name", "Name of the tool."),
        column_key("status", "How the calls stand."),
        column_key("risk_level", "Risk of the calls."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that called."),
        related_key("version", "version_id", "AgentVersion", "Exact version that called."),
        related_key("project", "project_id", "Project", "Project of the calls."),
    ),
    times=("started_at", "ended_at"),
    measures=(
        count("Number of calls."),
        count("Number of calls that succeeded.", "succeeded", _status(ToolCallStatus.SUCCESS)),
        count("Number of calls that failed.", "failed", _status(ToolCallStatus.FAILED)),
        count("Number of calls that policy or an approver denied.", "denied", _status(ToolCallStatus.DENIED)),
        count("Number of calls that wait for approval.", "pending", _status(ToolCallStatus.PENDING)),
        share(
            "failure_rate",
            _status(ToolCallStatus.FAILED),
            lambda table: or_(table.c.status == ToolCallStatus.FAILED, table.c.status == ToolCallStatus.SUCCESS),
            "Share of the calls that ran which failed, 0 to 1; null where none ran.",
        ),
        average("average_duration_ms", "duration_ms", "Mean length in milliseconds; null where none has ended."),
    ),
)

COST_STATS: Final = stats(
    OpEvent,
    "cost_stats",
    "What was spent, by agent, exact version, model, project, task and span of time, from the cost ticks (COST-1,"
    " COST-3): the sum of all spending that the logs still have.",
    keys=(
        column_key("model", "Model that the money was spent on."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that spent it."),
        related_key("version", "version_id", "AgentVersion", "Exact version that spent it."),
        related_key(
            "template",
            "template_id",
            "AgentTemplate",
            "Template of the version.",
            through=(_VERSIONS, "id", "version_id"),
        ),
        related_key("project", "project_id", "Project", "Project that it was spent for."),
        related_key("task", "task_id", "Task", "Task that it was spent on."),
        related_key("run", "run_id", "Run", "Run that spent it."),
        through_key("task_type", _TASKS, "id", "task_id", "type", "Kind of work of the task."),
    ),
    times=("timestamp",),
    measures=(
        count("Number of cost ticks."),
        total("cost_usd", "delta_usd", "US dollars."),
        computed_measure("input_tokens", float, "Tokens sent to models, without cached ones.", _tokens("inputTokens")),
        computed_measure("output_tokens", float, "Tokens that models wrote.", _tokens("outputTokens")),
    ),
    fixed=lambda table: table.c.type == OpEventType.COST_TICK,
)

TELEMETRY_STATS: Final = stats(
    OpEvent,
    "telemetry_stats",
    "Op events by type, agent, version, project, task and run: how many, and when the latest came (OPE-3).",
    keys=(
        column_key("type", "What the events report."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that the events are about."),
        related_key("version", "version_id", "AgentVersion", "Version that the agent ran then."),
        related_key("project", "project_id", "Project", "Project of the work."),
        related_key("task", "task_id", "Task", "Task that was worked on."),
        related_key("run", "run_id", "Run", "Run that the events belong to."),
    ),
    times=("timestamp",),
    measures=(
        count("Number of events."),
        total("cost_usd", "delta_usd", "US dollars that cost ticks among them add."),
        computed_measure("latest_at", datetime, "When the latest happened.", lambda t: func.max(t.c.timestamp)),
    ),
)

WORKFLOW_RUN_STATS: Final = stats(
    WorkflowRun,
    "workflow_run_stats",
    "Runs of workflows by status, workflow and project: how many, how many succeed, how long they take.",
    keys=(
        column_key("status", "How the runs stand."),
        related_key("workflow", "workflow_id", "Workflow", "Workflow that was run."),
        related_key("project", "project_id", "Project", "Project of the runs."),
    ),
    times=("started_at", "completed_at"),
    measures=(
        count("Number of runs."),
        count("Number of runs that go on.", "running", _status(WorkflowRunStatus.RUNNING)),
        count("Number of runs that wait for somebody.", "paused", _status(WorkflowRunStatus.PAUSED)),
        count("Number of runs that succeeded.", "completed", _status(WorkflowRunStatus.COMPLETED)),
        count("Number of runs that failed.", "failed", _status(WorkflowRunStatus.FAILED)),
        share(
            "success_rate",
            _status(WorkflowRunStatus.COMPLETED),
            lambda table: table.c.status.in_((WorkflowRunStatus.COMPLETED, WorkflowRunStatus.FAILED)),
            "Share of the ended runs that succeeded, 0 to 1; null where none has ended.",
        ),
        computed_measure(
            "average_duration_ms",
            float,
            "Mean time from start to end in milliseconds; null where none has ended.",
            lambda table: func.avg(_milliseconds(table.c.started_at, table.c.completed_at)),
        ),
    ),
)

FIELDS: Final = (TASK_STATS, RUN_STATS, TOOL_CALL_STATS, COST_STATS, TELEMETRY_STATS, WORKFLOW_RUN_STATS)
