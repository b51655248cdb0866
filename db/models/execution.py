"""Task execution: the work, its threads, the runs and tool calls that did it, and the reviews of it."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped

from db.base import (
    Association,
    Changing,
    Model,
    Noted,
    TenantScoped,
    column,
    contains_index,
    index,
    json_list,
    json_object,
    money,
    name_text,
    reference,
)
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
from db.functions.search import MESSAGE_WORDS, TASK_WORDS


class Task(TenantScoped, Changing, Noted, Model):
    """Unit of work with a status machine, assignees, plan, deliverable, review and cost."""

    __tablename__ = "tasks"
    __table_args__ = (
        index("status"),  # the board has a column a status; workers look for what runs or is blocked
        index("project_id"),  # the index below starts alike, so a project's tasks need their own to page by id
        index("project_id", "status"),  # the board of one project
        index("priority"),  # boards sort by priority
        index("project_id", "priority", where=text("status = 'INBOX'")),  # the queue that agents claim from (HB-2)
        index("type"),  # routing and cost reports go by kind of work
        index("due_at"),  # the calendar
        index("scheduled_for"),  # the calendar; recurrence looks for what is due (TASK-7)
        index("completed_at"),  # standups and trends count what was finished
        index("source"),
        index("source_ref"),  # a webhook finds the task of its issue (TASK-5)
        index(
            "idempotency_key", unique=True, where=text("idempotency_key IS NOT NULL")
        ),  # the same key makes one task (TASK-1)
        contains_index("labels"),  # boards filter by label
        Index("ix_tasks_words", text(TASK_WORDS), postgresql_using="gin"),  # full-text search (TASK-6)
        Index(  # the queue that agents claim from, the most urgent first (TASK-3)
            "ix_tasks_queue",
            *("tenant_id", "project_id", "priority", "id"),
            postgresql_where=text("status = 'INBOX'"),
        ),
    )

    project_id: Mapped[UUID] = reference("projects", "Project the work belongs to.")
    idempotency_key: Mapped[name_text | None] = column(
        "Caller's key of the creation; the same key answers with this task (TASK-1)."
    )
    title: Mapped[str] = column("What is to be done, 1 to 500 characters (TASK-1).")
    description: Mapped[str | None] = column(
        "The work in detail, up to 50,000 characters from outside sources (TASK-1)."
    )
    type: Mapped[TaskType] = column("Kind of work; assignees must be allowed it (TASK-3).")
    status: Mapped[TaskStatus] = column(
        "Where the task stands; only transitions change it (TSK-1, TASK-2).", default=TaskStatus.INBOX
    )
    priority: Mapped[int] = column("1 critical, 2 high, 3 normal, 4 low.", default=3, range=(1, 4))
    thread_ref: Mapped[json_object | None] = column("Outside chat of the task: `chatId`, `threadId`.")
    creator_instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "Agent that made the task; absent where none did."
    )
    reviewer_instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "Agent that is to review the result; absent means any reviewer."
    )
    parent_task_id: Mapped[UUID | None] = reference("tasks", "Task that this one is a part of (DAG-1).")
    work_plan: Mapped[json_object | None] = column(
        "Plan that starting needs: 3 to 6 `bullets`, `estimatedCost` (US dollars), `estimatedDuration` (TSK-1)."
    )
    deliverable: Mapped[json_object | None] = column(
        "What was handed in: `summary`, `content` or `artifactIds`; review needs one of them (TSK-1)."
    )
    review_checklist: Mapped[json_object | None] = column(
        "Self-review: `type` and `items`, each checked or with a note before review (TSK-1)."
    )
    review_cycles: Mapped[int] = column("How often review sent the task back or refuted it (TSK-3, REV-3).", default=0)
    estimated_cost: Mapped[money | None] = column("Expected cost in US dollars.")
    actual_cost: Mapped[money] = column("Cost of the task's finished runs in US dollars (RUN-4).", default=Decimal(0))
    budget_allocated: Mapped[money | None] = column(
        "Most the task may cost in US dollars (BUD-5); absent means no limit of its own."
    )
    budget_remaining: Mapped[money | None] = column(
        "Budget less actual cost in US dollars, as of the last finished run (RUN-4)."
    )
    due_at: Mapped[datetime | None] = column("When the result is wanted.")
    started_at: Mapped[datetime | None] = column("First entry into IN_PROGRESS; never overwritten (TSK-3).")
    submitted_at: Mapped[datetime | None] = column("Last entry into REVIEW (TSK-3).")
    completed_at: Mapped[datetime | None] = column("Entry into DONE or CANCELED (TSK-3).")
    scheduled_for: Mapped[datetime | None] = column(
        "When the work is planned to begin; a recurring task's next copy is made then (TASK-7)."
    )
    recurrence: Mapped[json_object | None] = column(
        "Repetition: `frequency`, `interval`, `daysOfWeek` (0 is Sunday), `endDate` (TASK-7)."
    )
    labels: Mapped[list[str] | None] = column("Free tags.")
    blocked_reason: Mapped[str | None] = column("Why the task cannot go on; cleared when it leaves BLOCKED (TSK-3).")
    redacted_fields: Mapped[list[str] | None] = column(
        "Names of fields whose values are hidden from others than its agents, the agent that made it and holders of"
        " `write:tasks`; set by imports (PII-4)."
    )
    source: Mapped[TaskSource | None] = column("Channel that the task came in by.")
    source_ref: Mapped[name_text | None] = column(
        "Name of the original at its source, such as `owner/repo#12` (TASK-5)."
    )
    created_by: Mapped[TaskCreator | None] = column("Kind of maker; absent on old imports.")
    created_by_ref: Mapped[str | None] = column(
        "What the maker was, where it is no operator or agent, such as `meeting:<id>` (MTG-3)."
    )
    creator_operator_id: Mapped[UUID | None] = reference(
        "operators", "Person who made the task; absent where none did."
    )


class TaskAssignee(Association, Model):
    """Which instances a task is assigned to, in the order of assignment."""

    __tablename__ = "task_assignees"
    __table_args__ = (
        Index(None, "tenant_id", "instance_id", "task_id"),  # pages an instance's tasks by the task's id
    )

    task_id: Mapped[UUID] = reference("tasks", "The task.", on_delete="CASCADE", primary_key=True)
    instance_id: Mapped[UUID] = reference("agent_instances", "The assignee.", on_delete="CASCADE", primary_key=True)


class Message(TenantScoped, Changing, Noted, Model):
    """Entry in a task's thread: comment, plan, progress, artifact, review, approval request or system note."""

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("num_nonnulls(author_instance_id, author_operator_id) <= 1", name="author"),
        index("type"),  # threads filter by kind; boards look for work plans
        Index("ix_messages_words", text(MESSAGE_WORDS), postgresql_using="gin"),  # full-text search
        index(
            "idempotency_key", unique=True, where=text("idempotency_key IS NOT NULL")
        ),  # the same key posts once (MSG-1)
    )

    project_id: Mapped[UUID | None] = reference("projects", "The task's project.")
    idempotency_key: Mapped[name_text | None] = column(
        "Caller's key of the post; the same key answers with this message (MSG-1)."
    )
    task_id: Mapped[UUID] = reference("tasks", "Task whose thread this is in.")
    author_type: Mapped[ActorType] = column("Whether an agent, a person or the gateway wrote it.")
    author_instance_id: Mapped[UUID | None] = reference("agent_instances", "The author, where it is an agent.")
    author_operator_id: Mapped[UUID | None] = reference(
        "operators", "The author, where it is a person; a name that an import could not resolve stays in the metadata."
    )
    type: Mapped[MessageType] = column("What the message is for.")
    content: Mapped[str] = column(
        "The text, up to 10,000 characters (MSG-1). Where it has a redacted version, others than its author, the task's"
        " agents and holders of `write:tasks` get that instead (PII-4)."
    )
    content_redacted: Mapped[str | None] = column(
        "The text with secrets and personal data taken out, for wider showing."
    )
    artifacts: Mapped[json_list | None] = column("What is handed over, each `name`, `type`, and `url` or `content`.")
    mentions: Mapped[list[str] | None] = column("Names called with @ in the text or given by the caller (MSG-2).")
    reply_to_id: Mapped[UUID | None] = reference("messages", "Message that this one answers.")
    thread_ref: Mapped[str | None] = column("Thread of an outside chat that the message is mirrored in.")
    redacted_fields: Mapped[list[str] | None] = column(
        "Names of fields whose values are hidden from others than its author, the task's agents and holders of"
        " `write:tasks` (PII-4)."
    )


class Run(TenantScoped, Changing, Noted, Model):
    """One execution turn of an instance, at its exact version, with tokens, cost and outcome."""

    __tablename__ = "runs"
    __table_args__ = (
        index("status"),  # dashboards show what runs and what failed; the timeout worker looks for RUNNING (RUN-6)
        index("started_at"),  # time ranges of cost and activity (COST-3)
        index("model"),  # cost by model (COST-3)
        index("session_key"),  # the turns of one session
        index("idempotency_key", unique=True),  # the same key starts one run (RUN-2)
    )

    project_id: Mapped[UUID | None] = reference("projects", "The instance's project when the run began.")
    idempotency_key: Mapped[name_text] = column("Key of the start; the same key answers with this run (RUN-2).")
    instance_id: Mapped[UUID] = reference("agent_instances", "Agent that ran.")
    version_id: Mapped[UUID] = reference(
        "agent_versions", "Exact version that ran, copied from the instance at the start (RUN-3)."
    )
    task_id: Mapped[UUID | None] = reference("tasks", "Task that the run worked on.")
    session_key: Mapped[name_text] = column("The agent's own name for the session; several runs may share it.")
    started_at: Mapped[datetime] = column("When the run began.")
    ended_at: Mapped[datetime | None] = column("When the run ended; absent while it runs.")
    duration_ms: Mapped[int | None] = column("Length of the run in milliseconds (RUN-4).")
    model: Mapped[name_text] = column("Model that answered, as its provider names it.")
    input_tokens: Mapped[int] = column("Tokens sent to the model, without cached ones.", default=0)
    output_tokens: Mapped[int] = column("Tokens that the model wrote.", default=0)
    cache_read_tokens: Mapped[int | None] = column(
        "Tokens read from the provider's cache, at a tenth of the price (COST-2)."
    )
    cache_write_tokens: Mapped[int | None] = column(
        "Tokens written to the provider's cache, at 1.25 of the price (COST-2)."
    )
    cost_usd: Mapped[money] = column(
        "Cost in US dollars: the sum of the run's cost ticks (COST-1).", default=Decimal(0)
    )
    budget_allocated: Mapped[money | None] = column(
        "Limit of the run in US dollars when it began; passing it alerts, the run goes on (RUN-3, RUN-4)."
    )
    status: Mapped[RunStatus] = column("How the run stands.", default=RunStatus.RUNNING)
    error: Mapped[str | None] = column("Why the run failed.")
    template_id: Mapped[UUID | None] = reference(
        "agent_templates", "The version's template, kept for reports by template."
    )


class ToolCall(TenantScoped, Changing, Noted, Model):
    """One tool invocation inside a run, with risk class, policy verdict and redacted previews."""

    __tablename__ = "tool_calls"
    __table_args__ = (
        index("risk_level"),  # auditors ask for RED
        index("status"),  # what waits for approval, what was denied
        index("tool_name"),  # how a tool is used across the fleet
        index("started_at"),  # time ranges
    )

    project_id: Mapped[UUID | None] = reference("projects", "The run's project.")
    run_id: Mapped[UUID] = reference("runs", "Run that made the call.")
    instance_id: Mapped[UUID] = reference("agent_instances", "Agent that made the call.")
    task_id: Mapped[UUID | None] = reference("tasks", "Task that the run worked on.")
    tool_name: Mapped[name_text] = column("Name of the tool, as policies list it.")
    tool_version: Mapped[str | None] = column("Version of the tool, as the agent reported it.")
    risk_level: Mapped[RiskLevel] = column("Risk of this call by tool and arguments (RSK-3).")
    policy_result: Mapped[json_object | None] = column(
        "The verdict: `decision`, `reason` and, where one was asked for, `approvalId` (TOL-3)."
    )
    input_preview: Mapped[str | None] = column("Input as JSON text, redacted, 600 characters at most (TOL-3).")
    output_preview: Mapped[str | None] = column("Output as JSON text, redacted, 600 characters at most (TOL-3).")
    input_hash: Mapped[str | None] = column("SHA-256 in hex of the canonical input before redaction (TOL-3).")
    output_hash: Mapped[str | None] = column("SHA-256 in hex of the canonical output before redaction (TOL-3).")
    started_at: Mapped[datetime] = column("When the call was asked for.")
    ended_at: Mapped[datetime | None] = column("When it ended or was denied.")
    duration_ms: Mapped[int | None] = column("Length of the call in milliseconds.")
    status: Mapped[ToolCallStatus] = column("How the call stands.", default=ToolCallStatus.PENDING)
    error: Mapped[str | None] = column("Why the call failed or was denied.")
    retry_count: Mapped[int] = column("Retries so far, three at most (TOL-1).", default=0)
    version_id: Mapped[UUID | None] = reference(
        "agent_versions", "Exact version that made the call; absent on imports that did not say."
    )
    policy_envelope_id: Mapped[UUID | None] = reference(
        "policy_envelopes", "Envelope that the verdict came from, as recorded at the time (decision 21)."
    )


class ExecutionRequest(TenantScoped, Changing, Noted, Model):
    """Queue item that asks an outside executor to carry out a piece of work."""

    __tablename__ = "execution_requests"
    __table_args__ = (
        index("status"),  # the router and the dashboard ask by status
        index("executor", "status"),  # an executor's queue is its ASSIGNED and IN_PROGRESS requests (EXE-1)
        index("type"),
        index("requested_at"),  # the oldest first
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project the work belongs to.")
    task_id: Mapped[UUID | None] = reference("tasks", "Task that the work is for.")
    requested_by_instance_id: Mapped[UUID] = reference(
        "agent_instances", "Agent that asked; it is notified of the end (EXR-3)."
    )
    assigned_to: Mapped[str | None] = column("The executor that claimed the request, as it calls itself (EXR-2).")
    type: Mapped[ExecutionRequestType] = column("Kind of work.")
    executor: Mapped[ExecutorKind] = column("Kind of executor: the one asked for, else by the kind of work (EXE-1).")
    status: Mapped[ExecutionRequestStatus] = column("How the request stands.", default=ExecutionRequestStatus.PENDING)
    payload: Mapped[json_object] = column("What is to be done, in the executor's own terms.")
    result: Mapped[json_object | None] = column(
        "What came of it; `canceled` and `reason` where it was called off (EXR-1)."
    )
    requested_at: Mapped[datetime] = column("When the work was asked for.")
    assigned_at: Mapped[datetime | None] = column("When the request was routed (EXR-2).")
    completed_at: Mapped[datetime | None] = column("When it was completed or failed (EXR-2).")


class TaskDependency(TenantScoped, Model):
    """Edge of a task graph: one task waits until another is DONE, both under one parent."""

    __tablename__ = "task_dependencies"
    __table_args__ = (
        CheckConstraint("task_id <> depends_on_task_id", name="no_self_edge"),  # DAG-1
        index("task_id", "depends_on_task_id", unique=True),  # an edge exists once (DAG-1)
    )

    parent_task_id: Mapped[UUID] = reference("tasks", "Task that both ends are parts of, or are themselves (DAG-1).")
    task_id: Mapped[UUID] = reference("tasks", "Task that waits.")
    depends_on_task_id: Mapped[UUID] = reference(
        "tasks", "Task that is waited for; only DONE satisfies the edge (DAG-2)."
    )


class Review(TenantScoped, Changing, Noted, Model):
    """Structured peer review of a task, deliverable, artifact or code change."""

    __tablename__ = "reviews"
    __table_args__ = (
        CheckConstraint("num_nonnulls(reviewer_instance_id, reviewer_operator_id) <= 1", name="reviewer"),  # REV-2
        CheckConstraint("num_nonnulls(response_by_instance_id, response_by_operator_id) <= 1", name="response_by"),
        index("status"),  # what waits for an answer
        index("type"),  # statistics go by type
    )

    project_id: Mapped[UUID] = reference("projects", "The task's project.")
    task_id: Mapped[UUID] = reference("tasks", "Task under review.")
    type: Mapped[ReviewType] = column("What the review says, and so what it does to the task (REV-3).")
    status: Mapped[ReviewStatus] = column("How the review was answered.", default=ReviewStatus.PENDING)
    reviewer_instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "The reviewer, where it is an agent; never an assignee of the task (REV-2)."
    )
    reviewer_operator_id: Mapped[UUID | None] = reference(
        "operators",
        "The reviewer, where it is a person; a name that an import could not resolve stays in the metadata.",
    )
    target_type: Mapped[ReviewTargetType] = column("What the review looks at.")
    target_id: Mapped[str | None] = column(
        "Which deliverable, artifact or change, as its own system names it; absent for the task itself."
    )
    summary: Mapped[str] = column("The finding in a sentence.")
    details: Mapped[str | None] = column("The finding in full.")
    score: Mapped[float | None] = column("Praise from 1 to 5; PRAISE only (REV-2).")
    severity: Mapped[ReviewSeverity | None] = column("Weight of the finding; REFUTE and CHANGESET only (REV-2).")
    changeset: Mapped[json_object | None] = column(
        "Changes asked for: `description` and `files`, each `path`, `action`, `diff`; CHANGESET only (REV-2)."
    )
    response_by_instance_id: Mapped[UUID | None] = reference(
        "agent_instances", "Who answered, where it is an agent: an assignee of the task (REV-1)."
    )
    response_text: Mapped[str | None] = column("The answer; every answer has one (REV-1).")
    resolved_at: Mapped[datetime | None] = column("When the review was accepted, rejected or superseded.")
    response_by_operator_id: Mapped[UUID | None] = reference("operators", "Who answered, where it is a person (REV-1).")
