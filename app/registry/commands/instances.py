"""Commands of instances: made from an approved version, moved between states, given tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Done, Refusal, Refused, command
from app.governance.standing import effective_tier, usable_approval
from app.identity.standing import open_project
from app.lifecycle import refuse_step
from app.platform.rules import Standing, strictest, under
from app.registry.integrity import refuse_tampered
from app.registry.machines import INSTANCE
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ChangeRecordType,
    DeploymentStatus,
    InstanceState,
    LifecycleState,
    OperatorMode,
    PauseCause,
)
from db.models import (
    AgentInstance,
    AgentVersion,
    Deployment,
    Environment,
    OperatorControl,
    PolicyEnvelope,
    Project,
    Provider,
    Tenant,
)

_TIER_FREE_TO_RUN_ON: Final = 4
"""From this tier on a person needs an approval to quarantine an instance (INS-1)."""
_USUAL_SWARM: Final = 5
"""BUD-7. How many agents a project has at most where its `swarmConfig` does not say."""
_TESTABLE: Final = (LifecycleState.TESTING, LifecycleState.CANDIDATE, LifecycleState.APPROVED)
_NEEDED_APPROVAL: Final[Mapping[tuple[InstanceState, InstanceState], str]] = {
    (InstanceState.QUARANTINED, InstanceState.ACTIVE): "INSTANCE_REACTIVATION",
    (InstanceState.QUARANTINED, InstanceState.READONLY): "INSTANCE_REACTIVATION",
}


@command("write:instances", ChangeRecordType.INSTANCE_CREATED)
async def create_instance(
    uow: UnitOfWork,
    version_id: UUID,
    project_id: UUID,
    environment_id: UUID,
    name: str | None = None,
    provider_id: UUID | None = None,
    deployment_id: UUID | None = None,
    policy_envelope_id: UUID | None = None,
    cost_caps: JsonObject | None = None,
    runtime_meta: JsonObject | None = None,
    metadata: JsonObject | None = None,
) -> AgentInstance | Refused:
    """INS-5. Provision an agent: one approved version, bound to a project and an environment.

    Outside of production a version that is being tested will do.
    """
    version = await uow.lock(AgentVersion, version_id)
    if version is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "version_id")
    project = await open_project(uow, project_id, in_turn=True)
    if isinstance(project, Refused):
        return project
    environment = await uow.get(Environment, environment_id)
    if environment is None:
        return Refused(Refusal.NOT_FOUND, "No such environment.", "environment_id")
    uow.permit(project_id=project_id, environment_id=environment_id)
    if provider_id is not None and await uow.get(Provider, provider_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such provider.", "provider_id")
    if policy_envelope_id is not None and await uow.get(PolicyEnvelope, policy_envelope_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such policy envelope.", "policy_envelope_id")
    deployment = await place(uow, version, project, environment, deployment_id)
    if isinstance(deployment, Refused):
        return deployment
    return provision(
        uow,
        version,
        name=name,
        project_id=project_id,
        environment_id=environment_id,
        provider_id=provider_id,
        deployment_id=None if deployment is None else deployment.id,
        policy_envelope_id=policy_envelope_id,
        cost_caps=cost_caps,
        runtime_meta=runtime_meta,
        metadata_=metadata,
    )


async def place(
    uow: UnitOfWork,
    version: AgentVersion,
    project: Project,
    environment: Environment,
    deployment_id: UUID | None = None,
) -> Deployment | Refused | None:
    """INS-5, BUD-7. Whether an agent of a version, locked, may be made in a project, locked, and an environment; the
    release that it then belongs to, if any."""
    good = (LifecycleState.APPROVED,) if environment.is_production else _TESTABLE
    if version.lifecycle_state not in good:
        wanted = " or ".join(state.value for state in good)
        message = f"The version is {version.lifecycle_state.value}; in this environment it must be {wanted}."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "version_id")
    deployment = await _deployment(uow, version, environment, deployment_id)
    if isinstance(deployment, Refused):
        return deployment
    return await refuse_tampered(uow, version) or await _refuse_swarm(uow, project) or deployment


def provision(uow: UnitOfWork, version: AgentVersion, **columns: Any) -> AgentInstance:
    """INS-5. A new agent of a version, PROVISIONING, with its record."""
    instance = uow.add(AgentInstance(version_id=version.id, state=InstanceState.PROVISIONING, **columns))
    parent_id = instance.parent_instance_id
    uow.record(
        ChangeRecordType.INSTANCE_CREATED,
        instance,
        after={
            "state": InstanceState.PROVISIONING.value,
            "name": instance.name,
            "versionId": str(version.id),
            **({} if parent_id is None else {"parentInstanceId": str(parent_id)}),
        },
        instance_id=instance.id,
        version_id=version.id,
    )
    return instance


async def _refuse_swarm(uow: UnitOfWork, project: Project) -> Refused | None:
    """BUD-7. Whether a project, locked, has all the agents that it may have; RETIRED ones do not count."""
    most = (project.swarm_config or {}).get("maxAgents", _USUAL_SWARM)
    living = select(func.count()).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.project_id == project.id,
        AgentInstance.state != InstanceState.RETIRED,
    )
    if (await uow.session.scalar(living) or 0) < most:
        return None
    message = (
        f"The project may have {most} agents and has them all (BUD-7). Retire one, or raise `maxAgents` of its"
        " `swarmConfig`."
    )
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, "project_id")


async def _deployment(
    uow: UnitOfWork, version: AgentVersion, environment: Environment, deployment_id: UUID | None
) -> Deployment | Refused | None:
    """INS-5. The release that the instance belongs to; needed where the environment says so."""
    if deployment_id is not None:
        named = await uow.get(Deployment, deployment_id)
        if named is None:
            return Refused(Refusal.NOT_FOUND, "No such deployment.", "deployment_id")
        if named.target_version_id != version.id or named.environment_id != environment.id:
            message = "The deployment releases another version, or to another environment."
            return Refused(Refusal.VALIDATION_ERROR, message, "deployment_id")
        return named
    if not (environment.config or {}).get("requireActiveDeployment"):
        return None
    active = select(Deployment).where(
        Deployment.tenant_id == uow.tenant_id,
        Deployment.environment_id == environment.id,
        Deployment.target_version_id == version.id,
        Deployment.status == DeploymentStatus.ACTIVE,
    )
    found = (await uow.session.scalars(active.limit(1))).first()
    if found is None:
        message = "The environment asks for an active deployment of the version. Deploy it first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "environment_id")
    return found


@command(
    "write:instances",
    ChangeRecordType.INSTANCE_TRANSITIONED,
    mostly_brief=lambda given: given["to"] is not InstanceState.QUARANTINED,
)
async def transition_instance(
    uow: UnitOfWork,
    instance_id: UUID,
    to: InstanceState,
    reason: str | None = None,
    expected_state: InstanceState | None = None,
) -> AgentInstance | Refused:
    """INS-1, INS-3. Move an instance to another state; an agent never moves itself (INS-2)."""
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id)
    before = instance.state
    if refused := refuse_step(INSTANCE, before, to, uow.actor_type, expected_state):
        return refused
    used = await _guard(uow, instance, to)
    if isinstance(used, Refused):
        return used
    move_instance(uow, instance, to, reason=reason, cause=PauseCause.OPERATOR, approval_id=used)
    return instance


def move_instance(
    uow: UnitOfWork,
    instance: AgentInstance,
    to: InstanceState,
    *,
    reason: str | None,
    cause: PauseCause | None,
    caused_by_id: UUID | None = None,
    approval_id: str | None = None,
) -> None:
    """Change an instance's state with all that hangs on it, and record that (INS-3).

    `cause` says who paused it, so that only the same cause resumes it (EMG-6); none where time does it. `caused_by_id`
    marks a cascade's row.
    """
    before, instance.state = instance.state, to
    if to is InstanceState.ACTIVE:
        instance.activated_at = instance.activated_at or uow.now
    if to is InstanceState.RETIRED:
        instance.retired_at = uow.now
    if before is InstanceState.QUARANTINED:
        instance.error_streak = 0  # whoever lets it go on gives it all its tries again (HB-3)
    is_paused = to is InstanceState.PAUSED
    instance.paused_by = cause if is_paused else None
    instance.pre_pause_state = before if is_paused else None
    uow.record(
        ChangeRecordType.INSTANCE_TRANSITIONED,
        instance,
        before={"state": before.value},
        after={
            "state": to.value,
            **({"cause": cause.value} if cause else {}),
            **({"approvalId": approval_id} if approval_id else {}),
        },
        reason=reason,
        by_system=caused_by_id is not None,
        caused_by_id=caused_by_id,
        instance_id=instance.id,
        version_id=instance.version_id,
    )


async def _guard(uow: UnitOfWork, instance: AgentInstance, to: InstanceState) -> str | Refused | None:
    """What must be so for a step; gives the id of the approval that it rests on, if it needs one."""
    if (instance.state, to) == (InstanceState.PROVISIONING, InstanceState.ACTIVE):
        return await _may_start(uow, instance)
    needed = _NEEDED_APPROVAL.get((instance.state, to))
    if needed is None and to is InstanceState.QUARANTINED:
        version = await uow.get(AgentVersion, instance.version_id)
        tier = 0 if version is None else await effective_tier(uow, version, instance.project_id)
        needed = "INSTANCE_QUARANTINE" if tier >= _TIER_FREE_TO_RUN_ON else None
    if needed is None:
        return None
    approval = await usable_approval(uow, needed, "AgentInstance", instance.id)
    if approval is None:
        message = f"This needs an approved request of type {needed} for the instance."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    approval.used_at = uow.now
    return str(approval.id)


async def _may_start(uow: UnitOfWork, instance: AgentInstance) -> Refused | None:
    """PROVISIONING to ACTIVE: no emergency, a version that may run here, and the release that the environment wants."""
    version = await uow.get(AgentVersion, instance.version_id)
    environment = await uow.get(Environment, instance.environment_id)
    if version is None or environment is None:
        return Refused(Refusal.NOT_FOUND, "No such row.", "instance_id")
    if (mode := await mode_of(uow, instance.project_id, hold=True)) is not OperatorMode.NORMAL:
        return Refused(Refusal.DEPENDENCY_NOT_MET, f"The emergency mode is {mode.value}: nothing starts (EMG-4).")
    good = (LifecycleState.APPROVED,) if environment.is_production else _TESTABLE
    rolled_back = version.lifecycle_state is LifecycleState.DEPRECATED and instance.deployment_id is not None
    if version.lifecycle_state not in good and not rolled_back:
        message = f"The version is {version.lifecycle_state.value}; it must be {' or '.join(s.value for s in good)}."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if (environment.config or {}).get("requireActiveDeployment"):
        deployment = await uow.get(Deployment, instance.deployment_id)
        if deployment is None or deployment.status is not DeploymentStatus.ACTIVE:
            return Refused(Refusal.DEPENDENCY_NOT_MET, "Its deployment is not active. Activate it first.")
    return None


async def resume_instance(
    uow: UnitOfWork,
    instance: AgentInstance,
    *,
    reason: str | None,
    cause: PauseCause,
    caused_by_id: UUID | None = None,
    approval_id: str | None = None,
) -> None:
    """Let a paused instance go on, as far as the emergency mode lets it: what the mode holds, its end releases."""
    mode = await mode_of(uow, instance.project_id, hold=True)
    goal = under(mode, Standing(InstanceState.ACTIVE))
    if goal.state is not instance.state:
        move_instance(
            uow,
            instance,
            goal.state,
            reason=reason,
            cause=cause if goal.paused_by is None else goal.paused_by,
            caused_by_id=caused_by_id,
            approval_id=approval_id,
        )
    instance.paused_by, instance.pre_pause_state = goal.paused_by, goal.returns_to


async def mode_of(uow: UnitOfWork, project_id: UUID | None, *, hold: bool = False) -> OperatorMode:
    """EMG-1. The emergency mode in force for a project.

    With `hold` it stays in force until this transaction ends, so that nothing starts beside an emergency's cascade.
    """
    if hold:
        await uow.session.execute(select(Tenant.id).where(Tenant.id == uow.tenant_id).with_for_update(read=True))
    of_tenant = OperatorControl.project_id.is_(None)
    scopes = [of_tenant] if project_id is None else [of_tenant, OperatorControl.project_id == project_id]
    newest = [
        select(OperatorControl.mode)
        .where(OperatorControl.tenant_id == uow.tenant_id, scope)
        .order_by(OperatorControl.id.desc())
        .limit(1)
        .scalar_subquery()
        for scope in scopes
    ]
    found = (await uow.session.execute(select(*newest))).one()
    return strictest(mode for mode in found if mode is not None)


@command("write:instances", "API_KEY_CREATED", is_sensitive=True)
async def issue_instance_token(uow: UnitOfWork, instance_id: UUID) -> Done | Refused:
    """RBAC-11, decision 26. Give an agent a token of its own; shown once, dead when the instance is."""
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id)
    if instance.state in (InstanceState.QUARANTINED, InstanceState.RETIRED):
        message = f"The instance is {instance.state.value}: its tokens are dead, and it gets no new one."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "instance_id")
    uow.audit("API_KEY_CREATED", resource="AgentInstance", resource_id=instance.id)
    return Done(instance, {"instance_id": str(instance.id), "epoch": instance.token_epoch})


@command("write:instances", "API_KEY_REVOKED", is_sensitive=True)
async def revoke_instance_tokens(uow: UnitOfWork, instance_id: UUID, reason: str | None = None) -> Done | Refused:
    """Decision 26. End every token that an agent has, at once."""
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id)
    instance.token_epoch += 1
    uow.audit("API_KEY_REVOKED", resource="AgentInstance", resource_id=instance.id, description=reason)
    return Done(instance)
