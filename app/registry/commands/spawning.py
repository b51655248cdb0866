"""Agents that agents start, within the limits of policy (POL-9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.governance.commands.policy import evaluate_policy
from app.governance.policy import ActionType
from app.identity.standing import open_project
from app.registry.commands.children import OVER, PARENT_TASK
from app.registry.commands.instances import mode_of, move_instance, place, provision
from app.unit_of_work import UnitOfWork
from db.enums import ChangeRecordType, InstanceState, PolicyVerdict
from db.models import AgentInstance, AgentVersion, Environment, Task

_BLAMED: Final = {
    "child_template_id": "version_id",
    "project_id": "parent_instance_id",
    "environment_id": "parent_instance_id",
    "instance_id": "parent_instance_id",
}


@command("start:instances", ChangeRecordType.INSTANCE_CREATED, callers=(ActorKind.OPERATOR, ActorKind.INSTANCE))
async def spawn_instance(
    uow: UnitOfWork,
    parent_instance_id: UUID,
    version_id: UUID,
    task_id: UUID | None = None,
    name: str | None = None,
    justification: str | None = None,
) -> Done | Refused:
    """POL-9, INS-5. Start an agent below another one, if policy lets that one spawn: in its project and environment,
    with its provider and its limits, and ACTIVE at once.

    An agent spawns below itself alone. Where policy does not let it there is a verdict in the child's place, and with
    NEEDS_APPROVAL a request: once that is approved, the same spawn with a new key goes ahead.
    """
    await mode_of(uow, None, hold=True)
    # The limits count agents of the whole tenant: spawns take turns, so that each sees those before it.
    turn = func.hashtextextended(f"spawn {uow.tenant_id}", 0)
    await uow.session.execute(select(func.pg_advisory_xact_lock(turn)))
    parent = await uow.get(AgentInstance, parent_instance_id)
    if parent is None or (uow.actor.kind is ActorKind.INSTANCE and parent.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "parent_instance_id")
    uow.permit(project_id=parent.project_id, environment_id=parent.environment_id, instance_id=parent.id)
    version = await uow.lock(AgentVersion, version_id)
    if version is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "version_id")
    if refused := await _refuse_task(uow, parent, task_id):
        return refused
    project = await open_project(uow, parent.project_id, in_turn=True)
    if isinstance(project, Refused):
        return _blame(project)
    environment = await uow.get(Environment, parent.environment_id)
    if environment is None:
        raise LookupError("an agent without an environment")
    deployment = await place(uow, version, project, environment)
    if isinstance(deployment, Refused):
        return _blame(deployment)
    decided = await evaluate_policy(
        uow,
        instance_id=parent.id,
        action_type=ActionType.SPAWN,
        tool_args={"versionId": str(version.id)},
        task_id=task_id,
        child_template_id=version.template_id,
        justification=justification,
    )
    if isinstance(decided, Refused):
        return _blame(decided)
    if decided.extras["policy_decision"]["decision"] != PolicyVerdict.ALLOW.value:
        return decided
    child = provision(
        uow,
        version,
        name=name,
        project_id=project.id,
        environment_id=environment.id,
        provider_id=parent.provider_id,
        deployment_id=None if deployment is None else deployment.id,
        parent_instance_id=parent.id,
        cost_caps=parent.cost_caps,
        metadata_=None if task_id is None else {PARENT_TASK: str(task_id)},
    )
    await uow.session.flush()
    reason = "policy let another agent start it"
    move_instance(uow, child, InstanceState.ACTIVE, reason=reason, cause=None, caused_by_id=uow.first_change)
    return Done(child, decided.extras)


def _blame(refused: Refused) -> Refused:
    """The refusal with the field of this input that it is about: what a child is and where it runs it has from its
    version and from its parent."""
    return replace(refused, field=_BLAMED.get(refused.field or "", refused.field))


async def _refuse_task(uow: UnitOfWork, parent: AgentInstance, task_id: UUID | None) -> Refused | None:
    """POL-9. Why no child is started for this task: it is another project's, or it is over, as its child would be."""
    if task_id is None:
        return None
    task = await uow.get(Task, task_id)
    if task is None or task.project_id != parent.project_id:
        return Refused(Refusal.NOT_FOUND, "The agent's project has no such task.", "task_id")
    if task.status in OVER:
        message = f"The task is {task.status.value}; nobody is started for it any more."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id")
    return None
