"""Which steps a task may take, and what would come of one: asked of the same table and guards, written by nobody
(SM-2, TSK-9)."""

from __future__ import annotations

from typing import Any, Final

import strawberry

from app.auth.actor import ActorKind
from app.commands import Refused
from app.execution.commands.transitions import check_step
from app.execution.machines import TASK
from app.execution.seeing import seen_task
from app.graph.context import Info, OperationContext, context_of
from app.graph.declared import Declaration, Declared
from app.graph.entity import json_type, key
from app.graph.fields import GraphField, Shape, argument, base_type, described_enum, graph_field, list_of, optional
from app.graph.registry import Named
from app.lifecycle import HUMAN, allowed_from
from app.unit_of_work import PermissionDenied, UnitOfWork
from db.base import JsonObject
from db.enums import ActorType, TaskStatus

_MOVE: Final = "transition:tasks"


@json_type
class TaskSteps:
    """The steps that lead out of a status."""

    from_: TaskStatus = key("The status that a task is in.")
    to: list[TaskStatus] = key("The statuses that a person may move it to, guards aside.")


@json_type
class TaskStepRequirements:
    """What a step needs, whoever takes it."""

    requires_work_plan: bool = key("Whether it needs a work plan of 3 to 6 bullets.")
    requires_deliverable: bool = key("Whether it needs a deliverable.")
    requires_checklist: bool = key("Whether it needs a self-review whose points are ticked or have a note.")
    human_only: bool = key("Whether a person alone takes it.")


@json_type
class TaskStepError:
    """What stands in the way of a step."""

    field: str | None = key("Field of `TaskTransitionInput` to blame; null where no single one is.")
    message: str = key("What is wrong and what would be right.")


@json_type
class TaskTransitionSimulation:
    """What would come of a step, if it were taken now and with nothing but its target (TSK-9)."""

    valid: bool = key("Whether it would be taken.")
    from_: TaskStatus = key("The status that the task is in.")
    to: TaskStatus = key("The status that it would be in.")
    actor: ActorType = key("As whom the caller would take it.")
    requirements: TaskStepRequirements = key("What the step needs.")
    errors: list[TaskStepError] = key("What stands in the way; empty where it would be taken.")
    allowed_transitions: list[TaskStatus] = key("The statuses that the caller may move it to, guards aside (SM-2).")


def _kind(context: OperationContext) -> ActorType:
    return ActorType.AGENT if context.actor.kind is ActorKind.INSTANCE else ActorType.HUMAN


def allowed_transitions(description: str) -> Any:
    """The steps that the caller may take with the task that the row is."""

    def make(_declaration: Declaration, name: str, shape: Shape) -> GraphField:
        def resolve(row: Any, info: Info) -> list[str]:
            return list(allowed_from(TASK, TaskStatus(row.status), _kind(context_of(info))))

        return graph_field(name, shape.graphql(base_type(shape.name, {"TaskStatus": TaskStatus})), description, resolve)

    return Declared(make)


def _requirements(before: TaskStatus, to: TaskStatus) -> JsonObject:
    is_begun = (before, to) == (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS)
    is_submitted = (before, to) == (TaskStatus.IN_PROGRESS, TaskStatus.REVIEW)
    return {
        "requiresWorkPlan": is_begun,
        "requiresDeliverable": is_submitted,
        "requiresChecklist": is_submitted,
        "humanOnly": TASK[before].get(to) == HUMAN,
    }


class _Undo(Exception):
    """Ends a transaction that must leave nothing."""


async def _try(context: OperationContext, task_id: Any, to: TaskStatus) -> list[JsonObject]:
    """What the command would refuse the step for. The transaction is rolled back, whatever it found."""
    errors: list[JsonObject] = []
    try:
        async with context.database.transaction(context.actor) as session:
            uow = UnitOfWork(session, context.actor, _MOVE)
            found = await check_step(uow, task_id=task_id, to=to)
            if isinstance(found, Refused):
                errors.append({"field": found.field, "message": found.message})
            raise _Undo
    except _Undo:
        return errors
    except PermissionDenied as denied:
        return [{"field": None, "message": f"This needs `{denied.permission}`."}]


async def _simulate(_root: Any, info: Info, taskId: str, to: Any) -> JsonObject | None:  # noqa: N803  # the API's name
    context = context_of(info)
    task = await seen_task(context, taskId)
    if task is None:
        return None
    before, target, kind = TaskStatus(task.status), TaskStatus(to), _kind(context)
    errors = (
        await _try(context, task.id, target)
        if context.actor.can(_MOVE)
        else [{"field": None, "message": f"This needs `{_MOVE}`."}]
    )
    return {
        "valid": not errors,
        "from": before.value,
        "to": target.value,
        "actor": kind.value,
        "requirements": _requirements(before, target),
        "errors": errors,
        "allowedTransitions": list(allowed_from(TASK, before, kind)),
    }


task_transition_simulate: Final = graph_field(
    "task_transition_simulate",
    optional(Named("TaskTransitionSimulation")),
    "What would come of moving a task, by the caller and now; nothing is written (TSK-9). Null where there is no such"
    " task.",
    _simulate,
    [
        argument("task_id", strawberry.ID, "The task."),
        argument("to", described_enum(TaskStatus), "The status to reach."),
    ],
)

allowed_transitions_for_human: Final = graph_field(
    "allowed_transitions_for_human",
    list_of(Named("TaskSteps")),
    "For each status, where a person may move a task, guards aside: the menu of a board (TSK-9).",
    lambda _root, _info: [
        {"from": status.value, "to": list(allowed_from(TASK, status, ActorType.HUMAN))} for status in TaskStatus
    ],
)

FIELDS: Final = (task_transition_simulate, allowed_transitions_for_human)
