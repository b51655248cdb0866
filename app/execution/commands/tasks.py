"""Commands of tasks: made, changed, worked on (TASK-1, TASK-2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.commands.delegating import refuse_creation
from app.execution.commands.transitions import refuse_work
from app.execution.commands.values import MINUTES, money_of, refuse_texts, refuse_values, wanted_texts
from app.execution.moving import assign_to, assignees_of
from app.execution.rules.intake import clean_labels
from app.execution.rules.work import BUDGETS, TERMINAL
from app.execution.standing import allows, hold_mode, is_agent, lock_task, refuse_assignees
from app.governance.loading import policies_for
from app.identity.standing import open_project
from app.redaction import is_hidden, title_of
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ActorType, ChangeRecordType, OpEventType, TaskCreator, TaskSource, TaskStatus, TaskType
from db.ids import first_id_at
from db.models import AgentInstance, Task

_AGENTS: Final = "transition:tasks"
"""What lets an agent make tasks; `write:tasks`, which reads what was taken out of messages (PII-4), is for people."""
CHAT_LIMIT: Final = 30
"""TASK-1. Tasks that one Telegram chat may make within `CHAT_WINDOW`."""
CHAT_WINDOW: Final = timedelta(minutes=1)


class _Default:
    """What stands for a value that was not sent, where null means something else."""


_DEFAULT: Final = _Default()


@command(
    "write:tasks",
    ChangeRecordType.TASK_CREATED,
    callers=(ActorKind.OPERATOR, ActorKind.INSTANCE),
    or_permission=_AGENTS,
)
async def create_task(
    uow: UnitOfWork,
    project_id: UUID,
    title: str,
    type: TaskType,
    description: str | None = None,
    priority: int | None = None,
    assignee_ids: list[UUID] | None = None,
    reviewer_instance_id: UUID | None = None,
    parent_task_id: UUID | None = None,
    labels: list[str] | None = None,
    estimated_cost: float | None = None,
    estimated_minutes: float | None = None,
    budget_allocated: float | _Default | None = _DEFAULT,
    due_at: datetime | None = None,
    scheduled_for: datetime | None = None,
    recurrence: JsonObject | None = None,
    source: TaskSource | None = None,
    source_ref: str | None = None,
    thread_ref: JsonObject | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """TASK-1, TSK-2. Make a task; it begins in INBOX. The same idempotency key makes it once, for ever.

    Agents that are named are its assignees from the start, and are told when it is ASSIGNED. An agent makes tasks in
    its own project, with `transition:tasks`; a person takes `write:tasks`.
    """
    source = source or (TaskSource.AGENT if is_agent(uow) else TaskSource.DASHBOARD)
    wanted = wanted_texts(title, description, labels, source)
    if isinstance(wanted, Refused):
        return wanted
    budget = BUDGETS[type] if isinstance(budget_allocated, _Default) else money_of(budget_allocated or None)
    priority = 3 if priority is None else priority
    amounts = {
        "estimated_cost": estimated_cost,
        "estimated_minutes": estimated_minutes,
        "budget_allocated": None if isinstance(budget_allocated, _Default) else budget_allocated,
    }
    if refused := refuse_values(priority, amounts, recurrence):
        return refused
    if assignee_ids or is_agent(uow):
        await hold_mode(uow)
    if is_agent(uow):
        asked = {
            "assignee_ids": assignee_ids,
            "budget_allocated": amounts["budget_allocated"],
            "recurrence": recurrence,
        }
        if refused := await refuse_creation(uow, project_id, parent_task_id, source, asked):
            return refused
    project = await open_project(uow, project_id)
    if isinstance(project, Refused):
        return project
    _permit(uow, project_id)
    if (known := await _known(uow)) is not None:
        return known
    if refused := await _refuse_relations(uow, project_id, type, assignee_ids, reviewer_instance_id, parent_task_id):
        return refused
    if source is TaskSource.TELEGRAM and (refused := await _refuse_flood(uow, thread_ref)):
        return refused
    notes = {**(metadata or {}), **({} if estimated_minutes is None else {MINUTES: estimated_minutes})}
    task = add_task(
        uow,
        project_id=project_id,
        title=wanted.title,
        description=wanted.description,
        type=type,
        priority=priority,
        reviewer_instance_id=reviewer_instance_id,
        parent_task_id=parent_task_id,
        labels=wanted.labels,
        estimated_cost=money_of(estimated_cost),
        budget_allocated=budget,
        due_at=due_at,
        scheduled_for=scheduled_for,
        recurrence=recurrence,
        source=source,
        source_ref=source_ref,
        thread_ref=thread_ref,
        idempotency_key=uow.key,
        metadata_=notes or None,
    )
    if assignee_ids:
        await uow.session.flush()
        await assign_to(uow, task, assignee_ids)
    note_creation(uow, task, assignee_ids or ())
    return Done(task)


def add_task(uow: UnitOfWork, *, by_system: bool = False, **columns: Any) -> Task:
    """TSK-2. A new task in INBOX, with the caller as its maker, or the gateway itself; records nothing."""
    kind = ActorType.SYSTEM if by_system else uow.actor_type
    budget = columns.get("budget_allocated")
    return uow.add(
        Task(
            status=TaskStatus.INBOX,
            created_by=TaskCreator(kind.value),
            creator_operator_id=uow.actor_id if kind is ActorType.HUMAN else None,
            creator_instance_id=uow.actor_id if kind is ActorType.AGENT else None,
            budget_remaining=budget,
            **columns,
        )
    )


def note_creation(
    uow: UnitOfWork, task: Task, assignee_ids: Sequence[UUID] = (), *, caused_by_id: UUID | None = None
) -> UUID:
    """TSK-6. Record a new task; returns the id of its TASK_CREATED record."""
    after: JsonObject = {
        "status": TaskStatus.INBOX.value,
        "title": title_of(task),
        "type": task.type.value,
        "priority": task.priority,
    }
    if assignee_ids:
        after["assigneeIds"] = [str(one) for one in assignee_ids]
    if task.parent_task_id is not None:
        after["parentTaskId"] = str(task.parent_task_id)
    return uow.record(ChangeRecordType.TASK_CREATED, task, after=after, caused_by_id=caused_by_id)


@command("write:tasks", OpEventType.DECISION_MADE)
async def update_task(
    uow: UnitOfWork,
    task_id: UUID,
    reason: str | None = None,
    **changes: Any,
) -> Task | Refused:
    """TASK-2, TASK-7. Change a task's texts, kind, priority, costs, dates, labels and reviewer; never its status.

    What is left out stays. The budget takes `write:budgets` as well.
    """
    task = await lock_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if "budget_allocated" in changes:
        uow.permit(project_id=task.project_id, permission="write:budgets")
    if refused := await _refuse_changes(uow, task, changes):
        return refused
    edited = _edited(task, changes)
    before, after = edit(task, edited)
    if "budget_allocated" in edited:
        budget = task.budget_allocated
        task.budget_remaining = None if budget is None else max(budget - task.actual_cost, Decimal(0))
    note_update(uow, task, before, after, reason)
    return task


def note_update(
    uow: UnitOfWork, task: Task, before: JsonObject, after: JsonObject, reason: str | None, stage: str = "TASK_UPDATED"
) -> UUID:
    """TASK-2. The event of a change that is no step: which fields, and what of them is short enough to show."""
    shown = {
        name: ["changed", "changed"] if is_hidden(task, name) else [_short(before[name]), _short(after[name])]
        for name in after
    }
    return uow.emit(
        OpEventType.DECISION_MADE,
        task_id=task.id,
        project_id=task.project_id,
        instance_id=uow.actor.id if is_agent(uow) else None,
        payload={
            "stage": stage,
            "fields": sorted(after),
            "changes": shown,
            "reason": reason,
            "actorType": uow.actor_type.value,
            "actorId": None if uow.actor_id is None else str(uow.actor_id),
        },
    )


_LONGEST_SHOWN: Final = 200


def _short(value: Any) -> Any:
    """A value as an event shows it: whole if it is short, nothing of what is open notes or long text."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_SHOWN else f"{value[: _LONGEST_SHOWN - 1]}…"
    return value if isinstance(value, int | float | bool) or value is None else "changed"


@command("transition:tasks", OpEventType.DECISION_MADE, callers=(ActorKind.OPERATOR, ActorKind.INSTANCE))
async def set_task_work(
    uow: UnitOfWork,
    task_id: UUID,
    work_plan: JsonObject | None = None,
    deliverable: JsonObject | None = None,
    review_checklist: JsonObject | None = None,
) -> Task | Refused:
    """TSK-1. Put down how a task is worked on: its plan, its deliverable, its self-review; what is left out stays.

    An agent does so for the tasks that are assigned to it.
    """
    given = {"work_plan": work_plan, "deliverable": deliverable, "review_checklist": review_checklist}
    work = {name: value for name, value in given.items() if value is not None}
    if not work:
        return Refused(Refusal.VALIDATION_ERROR, "Give a `workPlan`, a `deliverable` or a `reviewChecklist`.")
    if refused := refuse_work(work):
        return refused
    task = await lock_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if is_agent(uow) and uow.actor.id not in await assignees_of(uow, task.id):
        message = "An agent works on the tasks alone that are assigned to it."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    if task.status in TERMINAL:
        message = f"The task is {task.status.value}; nothing is done on it any more."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    before, after = edit(task, work)
    note_update(uow, task, before, after, None)
    return task


async def _known(uow: UnitOfWork) -> Done | Refused | None:
    """TASK-1, TASK-4. The task that this key made before, however long ago."""
    if uow.key is None:
        return None
    statement = select(Task).where(Task.tenant_id == uow.tenant_id, Task.idempotency_key == uow.key)
    found = (await uow.session.scalars(statement)).first()
    if found is None:
        return None
    _permit(uow, found.project_id)
    return Done(found, is_replay=True)


def _permit(uow: UnitOfWork, project_id: UUID) -> None:
    """RBAC-11. A person's grant covers the project, an agent makes tasks in its own. Raises PermissionDenied."""
    if is_agent(uow) and project_id == uow.actor.project_id:
        uow.permit(project_id=project_id, instance_id=uow.actor.id, permission=_AGENTS)
    else:
        uow.permit(project_id=project_id)


async def _refuse_relations(
    uow: UnitOfWork,
    project_id: UUID,
    task_type: TaskType,
    assignee_ids: list[UUID] | None,
    reviewer_id: UUID | None,
    parent_id: UUID | None,
) -> Refused | None:
    if assignee_ids and (
        refused := await refuse_assignees(uow, assignee_ids, project_id, task_type, field="assignee_ids")
    ):
        return refused
    if refused := await _refuse_reviewer(uow, project_id, reviewer_id):
        return refused
    if parent_id is None:
        return None
    parent = await uow.lock(Task, parent_id)
    if parent is None:
        return Refused(Refusal.NOT_FOUND, "No such task.", "parent_task_id")
    if parent.project_id != project_id:
        return Refused(Refusal.VALIDATION_ERROR, "A part of a task is in the same project.", "parent_task_id")
    if parent.status in TERMINAL:
        message = f"The task is {parent.status.value}; it gets no more parts."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "parent_task_id")
    return None


async def _refuse_reviewer(uow: UnitOfWork, project_id: UUID, reviewer_id: UUID | None) -> Refused | None:
    if reviewer_id is None:
        return None
    reviewer = await uow.get(AgentInstance, reviewer_id)
    if reviewer is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "reviewer_instance_id")
    if reviewer.project_id != project_id:
        message = "The reviewer works for another project than the task's."
        return Refused(Refusal.VALIDATION_ERROR, message, "reviewer_instance_id")
    return None


async def _refuse_flood(uow: UnitOfWork, thread_ref: JsonObject | None) -> Refused | None:
    """TASK-1. A chat makes so many tasks a minute; two at once count each other."""
    chat = (thread_ref or {}).get("chatId")
    if not isinstance(chat, str) or not chat:
        message = "A task from Telegram names its chat: `threadRef` has a `chatId`."
        return Refused(Refusal.VALIDATION_ERROR, message, "thread_ref")
    key = f"chat {uow.tenant_id} {chat}"
    await uow.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    count = select(func.count()).where(
        Task.tenant_id == uow.tenant_id,
        Task.source == TaskSource.TELEGRAM,
        Task.thread_ref["chatId"].astext == chat,
        Task.id >= first_id_at(uow.now - CHAT_WINDOW),
    )
    if (await uow.session.scalar(count) or 0) < CHAT_LIMIT:
        return None
    message = f"The chat has made {CHAT_LIMIT} tasks within a minute. Wait a minute."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, "thread_ref")


async def _refuse_changes(uow: UnitOfWork, task: Task, changes: Mapping[str, Any]) -> Refused | None:
    for name in ("title", "type", "priority"):
        if name in changes and changes[name] is None:
            return Refused(Refusal.VALIDATION_ERROR, "This cannot be taken away from a task.", name)
    title = changes.get("title")
    labels = changes.get("labels")
    if refused := refuse_texts(None if title is None else title.strip(), changes.get("description"), labels):
        return refused
    amounts = {name: changes.get(name) for name in ("estimated_cost", "estimated_minutes", "budget_allocated")}
    if refused := refuse_values(changes.get("priority"), amounts, changes.get("recurrence")):
        return refused
    if task.status in TERMINAL and set(changes) - {"labels", "metadata"}:
        message = f"The task is {task.status.value}; of it only labels and notes change."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    if refused := await _refuse_reviewer(uow, task.project_id, changes.get("reviewer_instance_id")):
        return refused
    if "type" in changes and changes["type"] is not task.type and (mine := await assignees_of(uow, task.id)):
        return await _refuse_type(uow, mine, changes["type"])
    return None


async def _refuse_type(uow: UnitOfWork, assignee_ids: list[UUID], task_type: TaskType) -> Refused | None:
    """A task does not become one that its agents may not do (TASK-3)."""
    policies = await policies_for(uow, assignee_ids)
    if all(allows(policy, task_type) for policy in policies.values()):
        return None
    message = f"The policy of an agent that it is assigned to does not allow tasks of type {task_type.value}."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, "type")


def _edited(task: Task, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as columns hold them."""
    edited = dict(changes)
    if "title" in edited:
        edited["title"] = edited["title"].strip()
    if edited.get("labels") is not None:
        edited["labels"] = clean_labels(edited["labels"])
    for name in ("estimated_cost", "budget_allocated"):
        if name in edited:
            edited[name] = money_of(edited[name] or None if name == "budget_allocated" else edited[name])
    if "estimated_minutes" in edited:
        minutes = edited.pop("estimated_minutes")
        notes = {**(edited.get("metadata", task.metadata_) or {}), MINUTES: minutes}
        edited["metadata"] = {key: value for key, value in notes.items() if value is not None} or None
    return edited
