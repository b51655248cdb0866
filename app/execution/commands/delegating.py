"""What holds where it is an agent that makes a task (TASK-1, TSK-8, RBAC-11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from app.commands import Refusal, Refused
from app.execution.moving import assignees_of
from app.execution.standing import hold_instances
from app.governance.loading import policies_for
from app.registry.commands import mode_of
from app.unit_of_work import UnitOfWork
from db.enums import InstanceState, OperatorMode, TaskSource

LEAST_TIER: Final = 1
"""TSK-8. Tier 0 observes, and makes no work either."""
_NOT_ITS_OWN: Final[Mapping[str, str]] = {
    "assignee_ids": "An agent gives nobody work as it makes a task. Claim it, or assign it, once it is there.",
    "budget_allocated": "An agent's task has the budget of its type (BUD-1); a person sets another one.",
    "recurrence": "A person makes tasks that come again; an agent makes one at a time.",
}
"""What a person alone says of a new task."""


async def refuse_creation(
    uow: UnitOfWork, project_id: UUID, parent_task_id: UUID | None, source: TaskSource, given: Mapping[str, Any]
) -> Refused | None:
    """Why the agent that asks does not make such a task. It makes them in its own project, as itself, while it is
    ACTIVE and no emergency is in force, and parts of its own tasks alone."""
    if project_id != uow.actor.project_id:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    for name, message in _NOT_ITS_OWN.items():
        if given.get(name) is not None:
            return Refused(Refusal.VALIDATION_ERROR, message, name)
    if source is not TaskSource.AGENT:
        message = f"What an agent makes comes from {TaskSource.AGENT.value}. Leave the source out."
        return Refused(Refusal.VALIDATION_ERROR, message, "source")
    if (mode := await mode_of(uow, project_id)) is not OperatorMode.NORMAL:
        message = f"The emergency mode is {mode.value}: agents make no work until it is NORMAL (EMG-4)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    state = (await hold_instances(uow, [uow.actor.id]))[uow.actor.id].state
    if state is not InstanceState.ACTIVE:
        message = f"The agent is {state.value}; one that is ACTIVE makes tasks."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    tier = (await policies_for(uow, [uow.actor.id]))[uow.actor.id].tier
    if tier < LEAST_TIER:
        message = f"An agent of tier {tier} makes no tasks; from tier {LEAST_TIER} on it does (TSK-8)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if parent_task_id is not None and uow.actor.id not in await assignees_of(uow, parent_task_id):
        return Refused(Refusal.NOT_FOUND, "The agent has no such task.", "parent_task_id")
    return None
