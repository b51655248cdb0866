"""Commands of graphs of tasks: taken apart into phases, and what waits for what (DAG-1, DAG-3)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import exists, select

from app.commands import Done, Refusal, Refused, command
from app.execution.commands.tasks import add_task, note_creation
from app.execution.commands.values import MINUTES
from app.execution.rules.graph import would_close_a_cycle
from app.execution.rules.intake import LONGEST_TITLE
from app.execution.rules.phases import MOST_PHASES, cut, strategy_of
from app.execution.rules.work import BUDGETS, LONGEST_CONTENT, TERMINAL
from app.execution.standing import lock_task
from app.redaction import is_hidden
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import OpEventType, TaskSource, TaskStatus
from db.ids import new_id
from db.models import Task, TaskDependency

MOST_EDGES: Final = 2_000
"""Of one graph."""


@command("write:tasks", OpEventType.DECISION_MADE)
async def decompose_task(uow: UnitOfWork, task_id: UUID, max_phases: int | None = None) -> Done | Refused:
    """DAG-3. Take a task in INBOX apart into phases, by the strategy of its type, with what waits for what.

    Each phase is a task in INBOX with the parent's priority and the budget of its own type (BUD-1).
    """
    most = MOST_PHASES if max_phases is None else max_phases
    if not 1 <= most <= MOST_PHASES:
        return Refused(Refusal.VALIDATION_ERROR, f"A task falls into 1 to {MOST_PHASES} phases.", "max_phases")
    task = await lock_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if task.status is not TaskStatus.INBOX:
        message = f"The task is {task.status.value}; it is taken apart in INBOX."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    if await uow.session.scalar(
        select(exists().where(Task.tenant_id == uow.tenant_id, Task.parent_task_id == task.id))
    ):
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The task has parts already.", "task_id")
    strategy = strategy_of(task.type)
    phases = cut(strategy, most)
    made: list[Task] = []
    ids = sorted(new_id(uow.now) for _ in phases)  # ids sort by creation, and the first phase comes first
    for at, phase in enumerate(phases):
        kind = phase.type or task.type
        made.append(
            add_task(
                uow,
                id=ids[at],
                project_id=task.project_id,
                parent_task_id=task.id,
                title=f"{phase.verb} — {task.title}"[:LONGEST_TITLE],
                redacted_fields=_hidden_with(task),
                description=f"{phase.verb} for: {task.description or task.title}"[:LONGEST_CONTENT],
                type=kind,
                priority=task.priority,
                estimated_cost=phase.estimated_cost,
                budget_allocated=BUDGETS[kind],
                labels=[f"phase:{at}", f"strategy:{strategy.name}"],
                source=TaskSource.AGENT,
                idempotency_key=f"decompose-{task.id}-phase-{at}",
                metadata_={MINUTES: phase.minutes},
            )
        )
    await uow.session.flush()
    for one, phase in zip(made, phases, strict=True):
        for other in phase.after:
            uow.add(TaskDependency(parent_task_id=task.id, task_id=one.id, depends_on_task_id=made[other].id))
    first = note_creation(uow, made[0])
    for one in made[1:]:
        note_creation(uow, one, caused_by_id=first)
    _note(uow, task, "TASK_DECOMPOSED", {"strategy": strategy.name, "taskIds": [str(one.id) for one in made]}, first)
    return Done(task, {"subtasks": [str(one.id) for one in made]})


def _hidden_with(task: Task) -> list[str] | None:
    """PII-4. What of its parts is hidden because they quote what the task hides."""
    if is_hidden(task, "title"):
        return ["title", "description"]
    return ["description"] if is_hidden(task, "description") else None


def _note(uow: UnitOfWork, task: Task, stage: str, payload: JsonObject, change_record_id: UUID | None = None) -> UUID:
    return uow.emit(
        OpEventType.DECISION_MADE,
        task_id=task.id,
        project_id=task.project_id,
        change_record_id=change_record_id,
        payload={
            "stage": stage,
            "actorType": uow.actor_type.value,
            "actorId": None if uow.actor_id is None else str(uow.actor_id),
            **payload,
        },
    )


@command("write:tasks", OpEventType.DECISION_MADE)
async def add_dependency(uow: UnitOfWork, task_id: UUID, depends_on_task_id: UUID) -> TaskDependency | Refused:
    """DAG-1. Let a task wait for another: both parts of one task, or one of them that task itself.

    What would close a cycle is refused, also beside others who add edges at the same time: the parent is locked.
    """
    found = await _pair(uow, task_id, depends_on_task_id)
    if isinstance(found, Refused):
        return found
    task, other = found
    parent_id = _common_parent(task, other)
    if parent_id is None:
        message = "The two are no parts of one task. Make them parts of one, or choose others."
        return Refused(Refusal.VALIDATION_ERROR, message, "depends_on_task_id")
    await uow.lock(Task, parent_id)
    if task.status in TERMINAL:
        return Refused(Refusal.DEPENDENCY_NOT_MET, f"The task is {task.status.value}; it waits for nothing.", "task_id")
    statement = select(TaskDependency.task_id, TaskDependency.depends_on_task_id).where(
        TaskDependency.tenant_id == uow.tenant_id, TaskDependency.parent_task_id == parent_id
    )
    edges = [(row.task_id, row.depends_on_task_id) for row in await uow.session.execute(statement)]
    if (task.id, other.id) in edges:
        return Refused(Refusal.DUPLICATE_RESOURCE, "The task waits for the other already.", "depends_on_task_id")
    if would_close_a_cycle(edges, task.id, other.id):
        message = "The other waits for this task, so the two would wait for each other for ever."
        return Refused(Refusal.VALIDATION_ERROR, message, "depends_on_task_id")
    if len(edges) >= MOST_EDGES:
        return Refused(Refusal.VALIDATION_ERROR, f"A graph has at most {MOST_EDGES} edges.", "task_id")
    edge = uow.add(TaskDependency(parent_task_id=parent_id, task_id=task.id, depends_on_task_id=other.id))
    _note(uow, task, "TASK_DEPENDENCY_ADDED", {"dependsOnTaskId": str(other.id), "parentTaskId": str(parent_id)})
    return edge


async def _pair(uow: UnitOfWork, task_id: UUID, other_id: UUID) -> tuple[Task, Task] | Refused:
    """Both tasks as they are; what they are part of never changes."""
    task, other = await uow.get(Task, task_id), await uow.get(Task, other_id)
    if task is None:
        return Refused(Refusal.NOT_FOUND, "No such task.", "task_id")
    uow.permit(project_id=task.project_id)
    if other is None:
        return Refused(Refusal.NOT_FOUND, "No such task.", "depends_on_task_id")
    if task.id == other.id:
        return Refused(Refusal.VALIDATION_ERROR, "A task does not wait for itself.", "depends_on_task_id")
    return task, other


def _common_parent(task: Task, other: Task) -> UUID | None:
    if task.parent_task_id is not None and task.parent_task_id in (other.parent_task_id, other.id):
        return task.parent_task_id
    return task.id if other.parent_task_id == task.id else None


@command("write:tasks", OpEventType.DECISION_MADE)
async def remove_dependency(uow: UnitOfWork, dependency_id: UUID) -> Done | Refused:
    """DAG-1. Let a task wait no longer for another."""
    edge = await uow.lock(TaskDependency, dependency_id)
    task = None if edge is None else await uow.get(Task, edge.task_id)
    if edge is None or task is None:
        return Refused(Refusal.NOT_FOUND, "No such dependency.", "dependency_id")
    uow.permit(project_id=task.project_id)
    removed = {"dependsOnTaskId": str(edge.depends_on_task_id), "parentTaskId": str(edge.parent_task_id)}
    await uow.session.delete(edge)
    _note(uow, task, "TASK_DEPENDENCY_REMOVED", removed)
    return Done(task, {"dependency_id": str(dependency_id)})
