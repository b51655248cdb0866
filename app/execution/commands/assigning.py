"""Commands that give tasks to agents: assigned by a person or a lead, claimed, or given to the best (TASK-3, RTE-2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import aliased

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.candidates import candidates_in, candidates_statement
from app.execution.machines import TASK
from app.execution.moving import assign_to, assignees_of, move_task, note_assignment
from app.execution.rules.routing import ranked
from app.execution.rules.work import TERMINAL
from app.execution.standing import (
    agent_may,
    hold_instances,
    hold_mode,
    is_agent,
    leads,
    lock_task,
    refuse_assignees,
    refuse_new_assignment,
)
from app.governance.policy import EffectivePolicy
from app.lifecycle import allowed_from
from app.registry.commands import mode_of
from app.unit_of_work import PermissionDenied, UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType, InstanceState, OperatorMode, TaskStatus
from db.models import AgentInstance, Task, TaskAssignee, TaskDependency

MOST_ASSIGNEES: Final = 20


@command("assign:tasks", ChangeRecordType.TASK_ASSIGNED, callers=(ActorKind.OPERATOR, ActorKind.INSTANCE))
async def assign_task(
    uow: UnitOfWork, task_id: UUID, instance_ids: list[UUID], reason: str | None = None
) -> Done | Refused:
    """TASK-3. Make these agents a task's assignees, in this order; one in INBOX is ASSIGNED with it.

    An agent assigns others where it is a LEAD or the CEO of its project (TSK-8).
    """
    instance_ids = list(dict.fromkeys(instance_ids))
    if not 0 < len(instance_ids) <= MOST_ASSIGNEES:
        message = f"Name 1 to {MOST_ASSIGNEES} agents. To let all go, move the task to INBOX."
        return Refused(Refusal.VALIDATION_ERROR, message, "instance_ids")
    await hold_mode(uow)
    if is_agent(uow) and (refused := await _refuse_lead(uow)):
        return refused
    seen = await uow.get(Task, task_id)
    if seen is None or (is_agent(uow) and seen.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, "No such task.", "task_id")
    uow.permit(project_id=seen.project_id, instance_id=uow.actor.id if is_agent(uow) else None)
    if refused := await refuse_assignees(uow, instance_ids, seen.project_id, seen.type):
        return refused
    task = await lock_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if refused := await _refuse_open(uow, task):
        return refused
    if task.status is not TaskStatus.INBOX and instance_ids == await assignees_of(uow, task.id):
        return Refused(Refusal.CONFLICT, "The task is assigned to just these agents already.", "instance_ids")
    return await _assign(uow, task, instance_ids, reason)


async def _refuse_lead(uow: UnitOfWork) -> Refused | None:
    me = (await hold_instances(uow, [uow.actor.id])).get(uow.actor.id)
    if me is None or me.state is not InstanceState.ACTIVE or not await leads(uow, me):
        message = "An agent gives work to others only while it is ACTIVE, and a LEAD or the CEO of its project (TSK-8)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    return None


async def _refuse_open(uow: UnitOfWork, task: Task) -> Refused | None:
    if task.status in TERMINAL or task.status is TaskStatus.FAILED:
        message = f"The task is {task.status.value}; nobody is given it any more."
        allowed = allowed_from(TASK, task.status, uow.actor_type)
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "task_id", allowed)
    return await refuse_new_assignment(uow, task.project_id)


async def _assign(
    uow: UnitOfWork, task: Task, instance_ids: Sequence[UUID], reason: str | None, extras: JsonObject | None = None
) -> Done:
    """Assign, and out of INBOX move; the TASK_ASSIGNED record is the command's own."""
    before = await assignees_of(uow, task.id)
    await assign_to(uow, task, instance_ids)
    first = note_assignment(uow, task, list(instance_ids), before=before, reason=reason)
    if task.status is TaskStatus.INBOX:
        await move_task(
            uow,
            task,
            TaskStatus.ASSIGNED,
            reason=reason,
            caused_by_id=first,
            metadata={"operatorMode": OperatorMode.NORMAL.value},
            is_assignment_noted=True,
        )
    return Done(task, extras or {}, change_id=first)


# --- Claiming ---------------------------------------------------------------------------------------------------------


@command("assign:tasks", ChangeRecordType.TASK_ASSIGNED, callers=(ActorKind.OPERATOR, ActorKind.INSTANCE))
async def claim_task(uow: UnitOfWork, instance_id: UUID, task_id: UUID | None = None) -> Done | Refused:
    """TASK-3. Let an ACTIVE agent take a task out of INBOX: the one that is named, or the next that it may do.

    The first wins; of many at once each gets another. An agent claims for itself alone. Where there is nothing to
    claim, that is NOT_FOUND.
    """
    if is_agent(uow) and instance_id != uow.actor.id:
        raise PermissionDenied("assign:tasks")
    await hold_mode(uow)
    instance = (await hold_instances(uow, [instance_id])).get(instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id, instance_id=instance_id)
    mode = await mode_of(uow, instance.project_id)
    if mode is not OperatorMode.NORMAL:
        message = f"The emergency mode is {mode.value}: nobody takes new work until it is NORMAL (EMG-4)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if instance.state is not InstanceState.ACTIVE:
        message = f"The agent is {instance.state.value}; one that is ACTIVE takes work."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "instance_id")
    if task_id is not None:
        return await _claim_named(uow, instance, task_id)
    permit = await agent_may(uow, instance_id, TaskStatus.INBOX, TaskStatus.ASSIGNED, None)
    if isinstance(permit, Refused):
        return permit
    task = (await uow.session.scalars(_next(uow, instance, permit.policy))).first()
    if task is None:
        message = "There is no task in INBOX that this agent may do and that is nobody else's."
        return Refused(Refusal.NOT_FOUND, message)
    return await permit.use(uow) or await _assign(uow, task, [instance_id], None)


async def _claim_named(uow: UnitOfWork, instance: AgentInstance, task_id: UUID) -> Done | Refused:
    task = await uow.lock(Task, task_id)
    if task is None or (is_agent(uow) and task.project_id != instance.project_id):
        return Refused(Refusal.NOT_FOUND, "No such task.", "task_id")
    if task.project_id != instance.project_id:
        return Refused(Refusal.VALIDATION_ERROR, "The agent works for another project than the task's.", "instance_id")
    if task.status is not TaskStatus.INBOX:
        message = f"The task is {task.status.value}: somebody was faster. Claim another one."
        return Refused(Refusal.CONFLICT, message, "task_id")
    if set(await assignees_of(uow, task.id)) - {instance.id}:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The task is meant for another agent.", "task_id")
    permit = await agent_may(uow, instance.id, TaskStatus.INBOX, TaskStatus.ASSIGNED, task)
    if isinstance(permit, Refused):
        return permit
    return await permit.use(uow) or await _assign(uow, task, [instance.id], None)


def _next(uow: UnitOfWork, instance: AgentInstance, policy: EffectivePolicy) -> Select[Any]:
    """The most urgent task that an agent may claim and begin, locked. What another transaction is about to take is
    passed over, so that nobody waits and nobody gets what is gone (SKIP LOCKED)."""
    waits_for = aliased(Task)
    statement = (
        select(Task)
        .where(
            Task.tenant_id == uow.tenant_id,
            Task.project_id == instance.project_id,
            Task.status == TaskStatus.INBOX,
            ~exists().where(
                TaskAssignee.tenant_id == Task.tenant_id,
                TaskAssignee.task_id == Task.id,
                TaskAssignee.instance_id != instance.id,
            ),
            ~exists(
                select(TaskDependency.id)
                .join(
                    waits_for,
                    (waits_for.tenant_id == TaskDependency.tenant_id)
                    & (waits_for.id == TaskDependency.depends_on_task_id),
                )
                .where(
                    TaskDependency.tenant_id == Task.tenant_id,
                    TaskDependency.task_id == Task.id,
                    waits_for.status != TaskStatus.DONE,
                )
                .correlate(Task)
            ),
        )
        .order_by(Task.priority, Task.id)
        .limit(1)
        .with_for_update(key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    types: Any = policy.task_types
    return statement if types is None else statement.where(Task.type.in_(sorted(types)))


# --- The best one -----------------------------------------------------------------------------------------------------


@command("assign:tasks", ChangeRecordType.TASK_ASSIGNED)
async def auto_assign_task(uow: UnitOfWork, task_id: UUID) -> Done | Refused:
    """RTE-2. Give a task to the best agent of its project that has it not yet: ACTIVE, with budget, allowed its type.

    Whoever has it already goes on with it.
    """
    await hold_mode(uow)
    seen = await uow.get(Task, task_id)
    if seen is None:
        return Refused(Refusal.NOT_FOUND, "No such task.", "task_id")
    uow.permit(project_id=seen.project_id)
    statement = candidates_statement(uow.tenant_id, seen.project_id, seen.id, seen.type)
    found = ranked(candidates_in(await uow.session.execute(statement), seen.type, uow.now))
    if not found or found[0].score <= 0:
        message = "No agent of the project is ACTIVE, has budget left and may do such tasks."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    best = found[0]
    if refused := await refuse_assignees(uow, [best.candidate.id], seen.project_id, seen.type):
        return replace(refused, field="task_id")
    task = await lock_task(uow, task_id)
    if isinstance(task, Refused):
        return task
    if refused := await _refuse_open(uow, task):
        return refused
    mine = await assignees_of(uow, task.id)
    if len(mine) >= MOST_ASSIGNEES:
        return Refused(Refusal.DEPENDENCY_NOT_MET, f"The task has {MOST_ASSIGNEES} agents already.", "task_id")
    extras = {"instance": str(best.candidate.id), "score": best.score, "reasoning": best.reasoning}
    return await _assign(uow, task, [*mine, best.candidate.id], f"the best of the project: {best.reasoning}", extras)
