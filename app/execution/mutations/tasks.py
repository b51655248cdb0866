"""Mutations of tasks."""

from __future__ import annotations

from datetime import datetime

from app.execution.commands import assigning, graphs, intake, tasks, transitions
from app.execution.commands.assigning import MOST_ASSIGNEES
from app.execution.commands.values import LONGEST_LABEL, MOST_LABELS
from app.execution.rules.work import LONGEST_CONTENT
from app.execution.types import Task, TaskDependency
from app.graph.fields import list_of
from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.registry import Named
from app.graph.scalars import JSON
from db.enums import TaskSource, TaskStatus, TaskType

_LONGEST_TITLE_SENT = 2_000
"""More than a title may have once it is trimmed and made harmless."""
_PLAN = "How it is to be done: 3 to 6 `bullets`, and `estimatedCost` (US dollars) and `estimatedDuration` if known."
_DELIVERABLE = "What is handed in: a `summary`, `content` or `artifactIds`."
_CHECKLIST = "The self-review: its `type`, and `items`, each with `label`, `checked`, and a `note` where it is not."


@input_type
class TaskCreateInput:
    """A new task."""

    project_id: str = given("The project that the work belongs to.", id_of="Project")
    title: str = given("What is to be done, 1 to 500 characters once trimmed.", longest=_LONGEST_TITLE_SENT)
    type: TaskType = given("Kind of work; who is assigned must be allowed it.")
    description: str | None = given("The work in detail.", longest=LONGEST_CONTENT)
    priority: int | None = given("1 critical, 2 high, 3 normal (if nothing is said), 4 low.")
    assignee_ids: list[str] | None = given(
        "Agents that it is meant for; it stays in INBOX all the same.", id_of="AgentInstance", most=MOST_ASSIGNEES
    )
    reviewer_instance_id: str | None = given("Agent that is to review the result.", id_of="AgentInstance")
    parent_task_id: str | None = given("The task that it is a part of, in the same project.", id_of="Task")
    labels: list[str] | None = given("Free tags.", longest=LONGEST_LABEL, most=MOST_LABELS)
    estimated_cost: float | None = given("Expected cost in US dollars.")
    estimated_minutes: float | None = given("Expected time in minutes, for the critical path (DAG-2).")
    budget_allocated: float | None = given(
        "Most it may cost in US dollars; by its type if nothing is said (BUD-1), no limit for null or 0."
    )
    due_at: datetime | None = given("When the result is wanted.")
    scheduled_for: datetime | None = given("When the work is planned to begin.")
    recurrence: JSON | None = given(
        "How it repeats: `frequency` (DAILY, WEEKLY, MONTHLY), `interval`, and `daysOfWeek` (0 is Sunday) and `endDate`"
        " if wanted (TASK-7)."
    )
    source: TaskSource | None = given("Channel that it came in by; DASHBOARD if nothing is said.")
    source_ref: str | None = given("Name of the original at its source.", longest=500)
    thread_ref: JSON | None = given("Outside chat of the task: `chatId`, `threadId`.")
    metadata: JSON | None = given("Open notes.")


@input_type
class TaskUpdateInput:
    """What changes on a task; what is left out stays."""

    task_id: str = given("The task.", id_of="Task")
    reason: str | None = given("Why, for the event.", longest=2_000)
    title: str | None = given("What is to be done.", longest=_LONGEST_TITLE_SENT)
    description: str | None = given("The work in detail.", longest=LONGEST_CONTENT)
    type: TaskType | None = given("Kind of work; its agents must be allowed it.")
    priority: int | None = given("1 critical, 2 high, 3 normal, 4 low.")
    reviewer_instance_id: str | None = given("Agent that is to review the result.", id_of="AgentInstance")
    labels: list[str] | None = given("Free tags, all of them.", longest=LONGEST_LABEL, most=MOST_LABELS)
    estimated_cost: float | None = given("Expected cost in US dollars.")
    estimated_minutes: float | None = given("Expected time in minutes, for the critical path (DAG-2).")
    budget_allocated: float | None = given(
        "Most it may cost in US dollars, no limit for null or 0. Takes `write:budgets` as well."
    )
    due_at: datetime | None = given("When the result is wanted.")
    scheduled_for: datetime | None = given("When the work is planned to begin.")
    recurrence: JSON | None = given("How it repeats; null for once (TASK-7).")
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class TaskWorkSetInput:
    """How a task is worked on; what is left out stays."""

    task_id: str = given("The task; for an agent one that is assigned to it.", id_of="Task")
    work_plan: JSON | None = given(_PLAN)
    deliverable: JSON | None = given(_DELIVERABLE)
    review_checklist: JSON | None = given(_CHECKLIST)


@input_type
class TaskAssignInput:
    """Who does a task."""

    task_id: str = given("The task.", id_of="Task")
    instance_ids: list[str] = given(
        "Agents of its project, all of them, the one who answers for it first.",
        id_of="AgentInstance",
        most=MOST_ASSIGNEES,
    )
    reason: str | None = given("Why, for the change record.", longest=2_000)


@input_type
class TaskClaimInput:
    """Who takes which task."""

    instance_id: str = given("The agent; an agent claims for itself alone.", id_of="AgentInstance")
    task_id: str | None = given("The task; the most urgent one that it may do if nothing is said.", id_of="Task")


@input_type
class TaskAutoAssignInput:
    """Which task goes to the best agent."""

    task_id: str = given("The task.", id_of="Task")


@input_type
class TaskTransitionInput:
    """Which task goes where."""

    task_id: str = given("The task; for an agent one that is assigned to it, or one to claim.", id_of="Task")
    to: TaskStatus = given("The status to reach.")
    reason: str | None = given("Why, for the change record; stands for the texts below where they are missing.")
    expected_status: TaskStatus | None = given(EXPECTED_STATUS)
    blocked_reason: str | None = given("For BLOCKED: what it is blocked by.")
    error: str | None = given("For FAILED: what went wrong.")
    feedback: str | None = given("From REVIEW back to IN_PROGRESS: what is to be changed.")
    work_plan: JSON | None = given(f"{_PLAN} To begin with.")
    deliverable: JSON | None = given(f"{_DELIVERABLE} To submit.")
    review_checklist: JSON | None = given(f"{_CHECKLIST} To submit.")
    force_start: bool | None = given("For a person: begin although tasks that it waits for were CANCELED.")
    confirm_override: bool | None = given(
        "For a person in an emergency that is PAUSED: go ahead all the same, with a reason (EMG-3)."
    )
    session_key: str | None = given("Session of the agent's runtime, for the change record.", longest=200)


@input_type
class TaskDecomposeInput:
    """Which task falls into phases."""

    task_id: str = given("The task, in INBOX and without parts.", id_of="Task")
    max_phases: int | None = given("At most so many, 1 to 7; all if nothing is said.")


@input_type
class TaskDependencyAddInput:
    """What waits for what."""

    task_id: str = given("The task that waits.", id_of="Task")
    depends_on_task_id: str = given("The task that must be DONE first.", id_of="Task")


@input_type
class TaskDependencyRemoveInput:
    """Which edge goes."""

    dependency_id: str = given("The edge.", id_of="TaskDependency")


@input_type
class TaskIssueUpsertInput:
    """An issue of a repository, as it is there now."""

    project_id: str = given("The project that keeps it.", id_of="Project")
    repository: str = given("The repository, `owner/name`.", longest=201)
    number: int = given("The issue's number.")
    title: str = given("The issue's title.", longest=_LONGEST_TITLE_SENT)
    body: str | None = given("The issue's text.", longest=LONGEST_CONTENT)
    labels: list[str] | None = given(
        "The issue's labels; of a new one they give the kind of work and the priority.",
        longest=LONGEST_LABEL,
        most=MOST_LABELS,
    )
    state: str | None = given("How the issue stands there, such as `open`; kept, and never followed.", longest=50)
    url: str | None = given("The issue's address.", longest=2_000)


_CREATED = Shown(
    "created", bool, "Whether it is new: false where the key had made it before.", tell=lambda done: not done.is_replay
)
_HIT = Shown(
    "idempotency_hit",
    bool,
    "Whether the key had taken this step before, and nothing was done now (TSK-5).",
    tell=lambda done: done.is_replay,
)

FIELDS = (
    mutation("task_create", tasks.create_task, TaskCreateInput, Task, shows=(_CREATED,)),
    mutation("task_update", tasks.update_task, TaskUpdateInput, Task),
    mutation("task_work_set", tasks.set_task_work, TaskWorkSetInput, Task),
    mutation("task_assign", assigning.assign_task, TaskAssignInput, Task),
    mutation("task_claim", assigning.claim_task, TaskClaimInput, Task),
    mutation(
        "task_auto_assign",
        assigning.auto_assign_task,
        TaskAutoAssignInput,
        Task,
        shows=(
            Shown("instance", Named("AgentInstance"), "The agent that got it.", of="AgentInstance"),
            Shown("score", float, "Its score, 0 to 1 (RTE-1)."),
            Shown("reasoning", str, "What the score is made of."),
        ),
    ),
    mutation("task_transition", transitions.transition_task, TaskTransitionInput, Task, shows=(_HIT,)),
    mutation(
        "task_decompose",
        graphs.decompose_task,
        TaskDecomposeInput,
        Task,
        shows=(Shown("subtasks", list_of(Named("Task")), "The phases, in their order.", of="Task"),),
    ),
    mutation("task_dependency_add", graphs.add_dependency, TaskDependencyAddInput, TaskDependency),
    mutation(
        "task_dependency_remove",
        graphs.remove_dependency,
        TaskDependencyRemoveInput,
        Task,
        shows=(shown_id("dependency_id", "TaskDependency", "The edge that is gone."),),
    ),
    mutation(
        "task_issue_upsert",
        intake.upsert_issue,
        TaskIssueUpsertInput,
        Task,
        shows=(Shown("created", bool, "Whether the issue is new here."),),
    ),
)
