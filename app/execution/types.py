"""Types of task execution."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, cast

from app.execution.graphs import readiness
from app.execution.reporting import incident_report
from app.execution.review_stats import review_stats
from app.execution.shapes import (
    Changeset,
    Deliverable,
    MessageArtifact,
    Recurrence,
    ReviewChecklist,
    ThreadRef,
    ToolCallVerdict,
    WorkPlan,
)
from app.execution.simulation import allowed_transitions
from app.execution.timeline import timeline
from app.governance.policy.risk import task_risk
from app.graph.entity import (
    Connection,
    Entity,
    belongs_to,
    derived,
    entity,
    has_many,
    history,
    json_type,
    key,
    through,
)
from app.graph.hiding import Agents, Hiding
from app.graph.scalars import JSON
from db import models
from db.enums import (
    ActorType,
    ExecutionRequestStatus,
    ExecutionRequestType,
    ExecutorKind,
    MessageType,
    ReviewSeverity,
    ReviewStatus,
    ReviewTargetType,
    ReviewType,
    RiskLevel,
    RunStatus,
    TaskCreator,
    TaskSource,
    TaskStatus,
    TaskType,
    ToolCallStatus,
)

if TYPE_CHECKING:
    from sqlalchemy import Table

    from app.audit.types import ChangeRecord, OpEvent
    from app.communication.types import TelegraphThread
    from app.execution.timeline import TaskTimelineEntry
    from app.governance.types import ApprovalRecord, PolicyEnvelope
    from app.identity.types import Operator, Project
    from app.notification.types import Notification
    from app.platform.types import Alert, Capture, ThreadSubscription, WatchSubscription
    from app.registry.types import AgentInstance, AgentTemplate, AgentVersion
    from app.workflow.types import WorkflowRun


@json_type
class ReviewStats:
    """How a task was judged, in numbers."""

    total: int = key("Reviews of it.")
    pending: int = key("Those that nobody has answered.")
    praise: int = key("Those that praise.")
    refute: int = key("Those that say that the result does not hold.")
    changeset: int = key("Those that ask for changes.")
    approve: int = key("Those that approve.")
    average_score: float | None = key("Mean score of those that praise, 1 to 5; null without any.")


def _assigned(key: str) -> Agents:
    """The agents of the task that a column names."""
    return Agents(cast("Table", models.TaskAssignee.__table__), key, "task_id", "instance_id")


@entity(
    models.Task,
    prefix="tsk",
    # A person sees what is hidden by `write:tasks`, which making a task takes.
    hiding=Hiding(
        "redacted_fields",
        "write:tasks",
        ("creator_instance_id",),
        _assigned("id"),
        keys=("idempotency_key",),
    ),
)
class Task(Entity):
    """Unit of work with a status machine, assignees, plan, deliverable, review and cost."""

    project: Project = belongs_to("project_id")
    idempotency_key: str | None
    title: str
    description: str | None
    type: TaskType
    status: TaskStatus
    priority: int
    risk_level: RiskLevel = derived(
        RiskLevel, lambda task: task_risk(TaskType(task.type)), "How risky its type of work is (RSK-6).", "type"
    )
    thread_ref: ThreadRef | None
    creator_instance: AgentInstance | None = belongs_to("creator_instance_id")
    assignees: list[AgentInstance] = through(
        models.TaskAssignee.task_id, models.TaskAssignee.instance_id, "Agents that work on it, in order of assignment."
    )
    reviewer_instance: AgentInstance | None = belongs_to("reviewer_instance_id")
    parent_task: Task | None = belongs_to("parent_task_id")
    work_plan: WorkPlan | None
    deliverable: Deliverable | None
    review_checklist: ReviewChecklist | None
    review_cycles: int
    estimated_cost: float | None
    actual_cost: float
    budget_allocated: float | None
    budget_remaining: float | None
    due_at: datetime | None
    started_at: datetime | None
    submitted_at: datetime | None
    completed_at: datetime | None
    scheduled_for: datetime | None
    recurrence: Recurrence | None
    labels: list[str] | None
    blocked_reason: str | None
    redacted_fields: list[str] | None
    source: TaskSource | None
    source_ref: str | None
    created_by: TaskCreator | None
    created_by_ref: str | None
    creator_operator: Operator | None = belongs_to("creator_operator_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    subtasks: Connection[Task] = has_many(models.Task.parent_task_id, "Tasks that are parts of this one.")
    dependencies: Connection[TaskDependency] = has_many(
        models.TaskDependency.task_id, "Edges to the tasks that it waits for."
    )
    dependents: Connection[TaskDependency] = has_many(
        models.TaskDependency.depends_on_task_id, "Edges from the tasks that wait for it."
    )
    subtask_dependencies: Connection[TaskDependency] = has_many(
        models.TaskDependency.parent_task_id, "Every edge of the graph of its subtasks."
    )
    messages: Connection[Message] = has_many(models.Message.task_id, "Its thread.")
    runs: Connection[Run] = has_many(models.Run.task_id, "Runs that worked on it.")
    tool_calls: Connection[ToolCall] = has_many(models.ToolCall.task_id, "Tool calls of its runs.")
    execution_requests: Connection[ExecutionRequest] = has_many(
        models.ExecutionRequest.task_id, "Work on it that outside executors were asked for."
    )
    reviews: Connection[Review] = has_many(models.Review.task_id, "Reviews of it.")
    review_stats: ReviewStats = review_stats("How it was judged, in numbers.")
    telegraph_threads: Connection[TelegraphThread] = has_many(
        models.TelegraphThread.linked_task_id, "Conversations about it."
    )
    workflow_runs: Connection[WorkflowRun] = has_many(
        models.WorkflowRun.parent_task_id, "Workflow runs whose steps' tasks are parts of it."
    )
    notifications: Connection[Notification] = has_many(models.Notification.task_id, "What the caller is told about it.")
    alerts: Connection[Alert] = has_many(models.Alert.task_id, "Alerts that concern it.")
    watches: Connection[WatchSubscription] = has_many(
        models.WatchSubscription.entity_id, "People who want to hear of its changes.", entity_type="TASK"
    )
    thread_subscriptions: Connection[ThreadSubscription] = has_many(
        models.ThreadSubscription.task_id, "Agents that follow its thread."
    )
    captures: Connection[Capture] = has_many(models.Capture.task_id, "Pictures made for it.")
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.task_id, "Requests that it waits for, or waited for."
    )
    current_instances: Connection[AgentInstance] = has_many(
        models.AgentInstance.current_task_id, "Agents whose last heartbeat named it (HB-1)."
    )
    op_events: Connection[OpEvent] = has_many(models.OpEvent.task_id, "Its telemetry, as far back as it is kept.")
    change_records: Connection[ChangeRecord] = history()
    allowed_transitions: list[TaskStatus] = allowed_transitions(
        "The statuses that the caller may move it to, guards aside (SM-2)."
    )
    is_ready: bool = readiness(
        "Whether it can be worked on: neither under way nor at an end, and all that it waits for is DONE (DAG-2)."
    )
    timeline: list[TaskTimelineEntry] = timeline(
        "What happened to it, the oldest first: of the kinds of row that the caller may read (TASK-8)."
    )
    incident_report: str = incident_report(
        "It as a report in Markdown: description, agents, timeline, deliverable, cost; of what the caller may read."
    )


@entity(
    models.Message,
    prefix="msg",
    hiding=Hiding(
        "redacted_fields",
        "write:tasks",
        ("author_instance_id", "author_operator_id"),
        _assigned("task_id"),
        keys=("idempotency_key",),
        safe={"content": "content_redacted"},
    ),
)
class Message(Entity):
    """Entry in a task's thread: comment, plan, progress, artifact, review, approval request or system note."""

    project: Project | None = belongs_to("project_id")
    idempotency_key: str | None
    task: Task = belongs_to("task_id")
    author_type: ActorType
    author_instance: AgentInstance | None = belongs_to("author_instance_id")
    author_operator: Operator | None = belongs_to("author_operator_id")
    type: MessageType
    content: str
    content_redacted: str | None
    artifacts: list[MessageArtifact] | None
    mentions: list[str] | None
    reply_to: Message | None = belongs_to("reply_to_id")
    thread_ref: str | None
    redacted_fields: list[str] | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    replies: Connection[Message] = has_many(models.Message.reply_to_id, "Messages that answer it.")
    notifications: Connection[Notification] = has_many(
        models.Notification.message_id, "What the caller is told about it."
    )


@entity(models.Run, prefix="run")
class Run(Entity):
    """One execution turn of an instance, at its exact version, with tokens, cost and outcome."""

    project: Project | None = belongs_to("project_id")
    idempotency_key: str
    instance: AgentInstance = belongs_to("instance_id")
    version: AgentVersion = belongs_to("version_id")
    task: Task | None = belongs_to("task_id")
    session_key: str
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cost_usd: float
    budget_allocated: float | None
    status: RunStatus
    error: str | None
    template: AgentTemplate | None = belongs_to("template_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    tool_calls: Connection[ToolCall] = has_many(models.ToolCall.run_id, "Tool calls that it made.")
    alerts: Connection[Alert] = has_many(models.Alert.run_id, "Alerts that concern it.")
    op_events: Connection[OpEvent] = has_many(models.OpEvent.run_id, "Its telemetry, as far back as it is kept.")
    change_records: Connection[ChangeRecord] = history()


@entity(models.ToolCall, prefix="tcl")
class ToolCall(Entity):
    """One tool invocation inside a run, with risk class, policy verdict and redacted previews."""

    project: Project | None = belongs_to("project_id")
    run: Run = belongs_to("run_id")
    instance: AgentInstance = belongs_to("instance_id")
    task: Task | None = belongs_to("task_id")
    tool_name: str
    tool_version: str | None
    risk_level: RiskLevel
    policy_result: ToolCallVerdict | None
    input_preview: str | None
    output_preview: str | None
    input_hash: str | None
    output_hash: str | None
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    status: ToolCallStatus
    error: str | None
    retry_count: int
    version: AgentVersion | None = belongs_to("version_id")
    policy_envelope: PolicyEnvelope | None = belongs_to("policy_envelope_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    approval_records: Connection[ApprovalRecord] = has_many(
        models.ApprovalRecord.tool_call_id, "Requests that it waits for, or waited for (APR-13)."
    )
    op_events: Connection[OpEvent] = has_many(models.OpEvent.tool_call_id, "Its telemetry, as far back as it is kept.")
    change_records: Connection[ChangeRecord] = history()


@entity(models.ExecutionRequest, prefix="exr")
class ExecutionRequest(Entity):
    """Queue item that asks an outside executor to carry out a piece of work."""

    project: Project | None = belongs_to("project_id")
    task: Task | None = belongs_to("task_id")
    requested_by: AgentInstance = belongs_to("requested_by_instance_id")
    assigned_to: str | None
    type: ExecutionRequestType
    executor: ExecutorKind
    status: ExecutionRequestStatus
    payload: JSON
    result: JSON | None
    requested_at: datetime
    assigned_at: datetime | None
    completed_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime


@entity(models.TaskDependency, prefix="tdp")
class TaskDependency(Entity):
    """Edge of a task graph: one task waits until another is DONE, both under one parent."""

    parent_task: Task = belongs_to("parent_task_id")
    task: Task = belongs_to("task_id")
    depends_on_task: Task = belongs_to("depends_on_task_id")
    created_at: datetime


@entity(models.Review, prefix="rev")
class Review(Entity):
    """Structured peer review of a task, deliverable, artifact or code change."""

    project: Project = belongs_to("project_id")
    task: Task = belongs_to("task_id")
    type: ReviewType
    status: ReviewStatus
    reviewer_instance: AgentInstance | None = belongs_to("reviewer_instance_id")
    reviewer_operator: Operator | None = belongs_to("reviewer_operator_id")
    target_type: ReviewTargetType
    target_id: str | None
    summary: str
    details: str | None
    score: float | None
    severity: ReviewSeverity | None
    changeset: Changeset | None
    response_by_instance: AgentInstance | None = belongs_to("response_by_instance_id")
    response_text: str | None
    resolved_at: datetime | None
    response_by_operator: Operator | None = belongs_to("response_by_operator_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
