"""Commands of deployments: planned, approved by somebody else, in force, rolled back (DEP-1 to DEP-6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refusal, Refused, command
from app.governance.machines import DEPLOYMENT
from app.governance.rollout import rollout_faults, spawn_count
from app.governance.standing import effective_tier, usable_approval
from app.lifecycle import refuse_step
from app.registry.commands import move_instance
from app.registry.integrity import refuse_tampered
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ChangeRecordType,
    DeploymentStatus,
    InstanceState,
    LifecycleState,
    PauseCause,
)
from db.models import AgentInstance, AgentTemplate, AgentVersion, Deployment, Environment, Project

APPROVAL_TYPE: Final = "DEPLOYMENT"
_TIER_FREE_TO_DEPLOY: Final = 3
"""From this tier on a release outside of production needs no approval (DEP-1)."""
_ROLLED_BACK: Final[Mapping[InstanceState, InstanceState]] = {
    InstanceState.ACTIVE: InstanceState.DRAINING,
    InstanceState.PROVISIONING: InstanceState.RETIRED,
    InstanceState.PAUSED: InstanceState.RETIRED,
    InstanceState.READONLY: InstanceState.RETIRED,
}
"""Decision 36: what becomes of the instances of a version that is rolled back; the others stay."""


@command("write:deployments", ChangeRecordType.DEPLOYMENT_CREATED)
async def create_deployment(
    uow: UnitOfWork,
    environment_id: UUID,
    target_version_id: UUID,
    rollout_policy: JsonObject | None = None,
    project_id: UUID | None = None,
    replicas: int = 1,
    metadata: JsonObject | None = None,
) -> Deployment | Refused:
    """DEP-1. Plan the release of an approved version; the version in force now is what a rollback returns to."""
    version = await uow.get(AgentVersion, target_version_id)
    if version is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "target_version_id")
    environment = await uow.get(Environment, environment_id)
    if environment is None:
        return Refused(Refusal.NOT_FOUND, "No such environment.", "environment_id")
    uow.permit(environment_id=environment.id)
    if version.lifecycle_state is not LifecycleState.APPROVED:
        message = f"The version is {version.lifecycle_state.value}; only an APPROVED one is deployed."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "target_version_id")
    for field, fault in rollout_faults(rollout_policy, replicas):
        return Refused(Refusal.VALIDATION_ERROR, fault, field)
    if project_id is not None and await uow.get(Project, project_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    current = await _in_force(uow, version.template_id, environment.id)
    notes = {**(metadata or {}), "replicas": replicas}
    if project_id is not None:
        notes["projectId"] = str(project_id)
    deployment = uow.add(
        Deployment(
            template_id=version.template_id,
            environment_id=environment.id,
            target_version_id=version.id,
            previous_version_id=None if current is None else _returns_to(current, version.id),
            rollout_policy=rollout_policy,
            status=DeploymentStatus.PENDING,
            created_by_operator_id=uow.actor.id,
            metadata_=notes,
        )
    )
    _record(uow, ChangeRecordType.DEPLOYMENT_CREATED, deployment, None)
    return deployment


@command("approve:deployments", "DEPLOYMENT_APPROVED", is_sensitive=True)
async def approve_deployment(uow: UnitOfWork, deployment_id: UUID) -> Deployment | Refused:
    """DEP-1. Approve a planned release; in production somebody else than its planner must."""
    deployment = await uow.lock(Deployment, deployment_id)
    if deployment is None:
        return Refused(Refusal.NOT_FOUND, "No such deployment.", "deployment_id")
    uow.permit(environment_id=deployment.environment_id)
    if deployment.status is not DeploymentStatus.PENDING:
        message = f"The deployment is {deployment.status.value}; only a PENDING one is approved."
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "deployment_id", ())
    environment = await uow.get(Environment, deployment.environment_id)
    is_production = environment is not None and environment.is_production
    if is_production and deployment.created_by_operator_id == uow.actor.id:
        message = "Whoever planned a release to production does not approve it. Ask somebody else (APR-5)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "deployment_id")
    deployment.approved_by_operator_id = uow.actor.id
    uow.audit("DEPLOYMENT_APPROVED", resource="Deployment", resource_id=deployment.id)
    return deployment


@command("activate:deployments", ChangeRecordType.DEPLOYMENT_ACTIVATED)
async def activate_deployment(
    uow: UnitOfWork, deployment_id: UUID, expected_status: DeploymentStatus | None = None
) -> Deployment | Done | Refused:
    """DEP-1, DEP-2. Bring a release into force; the one before it is retired, and its agents are started (DEP-5).

    A release that is ROLLING_BACK, as an import may bring one, comes back into force as long as nothing replaces it.
    """
    found = await _locked(uow, deployment_id)
    if isinstance(found, Refused):
        return found
    deployment, version, environment = found
    uow.permit(environment_id=environment.id)
    before = deployment.status
    if refused := refuse_step(
        DEPLOYMENT,
        before,
        DeploymentStatus.ACTIVE,
        uow.actor_type,
        expected_status,
        expected_field="expected_status",
    ):
        return refused
    former = await _in_force(uow, deployment.template_id, environment.id)
    if before is DeploymentStatus.ROLLING_BACK and former is not None:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "Another release has replaced it. Roll that one back instead.")
    if before is DeploymentStatus.PENDING and (refused := await _not_ready(uow, deployment, version, environment)):
        return refused
    if former is not None:
        former.status, former.retired_at = DeploymentStatus.RETIRED, uow.now
        # The index that allows one deployment in force looks at each statement.
        await uow.session.flush()
    deployment.status, deployment.activated_at = DeploymentStatus.ACTIVE, uow.now
    if former is not None:
        deployment.previous_version_id = _returns_to(former, version.id)
    first = _record(
        uow,
        ChangeRecordType.DEPLOYMENT_ACTIVATED,
        deployment,
        before,
        supersedes=None if former is None else str(former.id),
    )
    spawned = 0 if before is DeploymentStatus.ROLLING_BACK else _spawn(uow, deployment, version, first)
    uow.notify("DEPLOYMENT_ACTIVATED", deployment, {"versionId": str(version.id), "instances": spawned})
    return Done(deployment, {"spawned_instances": spawned})


@command("rollback:deployments", ChangeRecordType.DEPLOYMENT_ROLLED_BACK)
async def roll_back_deployment(
    uow: UnitOfWork, deployment_id: UUID, reason: str, deprecate_rolled_back: bool = False
) -> Done | Refused:
    """DEP-3, DEP-4. Return to the version before: a new release of it in force at once, the old agents drained.

    It needs no approval, since it restores safety, but a reason.
    """
    found = await _locked(uow, deployment_id)
    if isinstance(found, Refused):
        return found
    deployment, bad_version, environment = found
    uow.permit(environment_id=environment.id)
    if not reason.strip():
        return Refused(Refusal.VALIDATION_ERROR, "A rollback needs a reason.", "reason")
    if refused := refuse_step(DEPLOYMENT, deployment.status, DeploymentStatus.ROLLING_BACK, uow.actor_type):
        return refused
    version = await uow.get(AgentVersion, deployment.previous_version_id)
    if version is None or version.id == deployment.target_version_id:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "There is no version before this one to return to.")
    if version.lifecycle_state not in (LifecycleState.APPROVED, LifecycleState.DEPRECATED):
        message = f"The version before is {version.lifecycle_state.value}; it cannot run again. Deploy another one."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if refused := await refuse_tampered(uow, version):
        return refused
    deployment.status, deployment.retired_at = DeploymentStatus.RETIRED, uow.now
    await uow.session.flush()
    back = uow.add(
        Deployment(
            template_id=deployment.template_id,
            environment_id=deployment.environment_id,
            target_version_id=version.id,
            previous_version_id=deployment.target_version_id,
            rollout_policy=deployment.rollout_policy,
            status=DeploymentStatus.ACTIVE,
            created_by_operator_id=uow.actor.id,
            approved_by_operator_id=uow.actor.id,
            activated_at=uow.now,
            metadata_={**(deployment.metadata_ or {}), "rollbackOf": str(deployment.id)},
        )
    )
    first = _record(
        uow,
        ChangeRecordType.DEPLOYMENT_ROLLED_BACK,
        deployment,
        DeploymentStatus.ACTIVE,
        reason=reason,
        replacedBy=str(back.id),
    )
    _record(uow, ChangeRecordType.DEPLOYMENT_CREATED, back, None, by_system=True, caused_by_id=first)
    await uow.session.flush()
    drained = await _replace_instances(uow, deployment, back, reason, first)
    if deprecate_rolled_back and bad_version.lifecycle_state is LifecycleState.APPROVED:
        bad_version.lifecycle_state = LifecycleState.DEPRECATED
        uow.record(
            ChangeRecordType.VERSION_TRANSITIONED,
            bad_version,
            before={"lifecycleState": LifecycleState.APPROVED.value},
            after={"lifecycleState": LifecycleState.DEPRECATED.value},
            reason=reason,
            by_system=True,
            caused_by_id=first,
            version_id=bad_version.id,
        )
    uow.notify("DEPLOYMENT_ROLLED_BACK", deployment, {"versionId": str(version.id), "replacedBy": str(back.id)})
    return Done(back, {"drained_instances": drained})


@command("write:deployments", "DEPLOYMENT_CANCELED")
async def cancel_deployment(uow: UnitOfWork, deployment_id: UUID, reason: str | None = None) -> Deployment | Refused:
    """DEP-1. Give up a release that is not in force yet."""
    deployment = await uow.lock(Deployment, deployment_id)
    if deployment is None:
        return Refused(Refusal.NOT_FOUND, "No such deployment.", "deployment_id")
    uow.permit(environment_id=deployment.environment_id)
    if refused := refuse_step(DEPLOYMENT, deployment.status, DeploymentStatus.RETIRED, uow.actor_type):
        return refused
    deployment.status, deployment.retired_at = DeploymentStatus.RETIRED, uow.now
    uow.audit("DEPLOYMENT_CANCELED", resource="Deployment", resource_id=deployment.id, description=reason)
    return deployment


async def _locked(uow: UnitOfWork, deployment_id: UUID) -> tuple[Deployment, AgentVersion, Environment] | Refused:
    """The deployment and its versions. The template's lock makes all releases of a template take turns."""
    seen = await uow.get(Deployment, deployment_id)
    if seen is None:
        return Refused(Refusal.NOT_FOUND, "No such deployment.", "deployment_id")
    await uow.lock(AgentTemplate, seen.template_id)
    await uow.session.refresh(seen)  # another release of the template may have ended meanwhile
    versions = [one for one in (seen.target_version_id, seen.previous_version_id) if one is not None]
    await uow.lock_all(AgentVersion, versions)
    version = await uow.get(AgentVersion, seen.target_version_id)
    deployment = await uow.lock(Deployment, deployment_id)
    environment = await uow.get(Environment, seen.environment_id)
    if deployment is None or version is None or environment is None:
        return Refused(Refusal.NOT_FOUND, "No such deployment.", "deployment_id")
    return deployment, version, environment


async def _not_ready(
    uow: UnitOfWork, deployment: Deployment, version: AgentVersion, environment: Environment
) -> Refused | None:
    """What DEP-1 asks for between PENDING and ACTIVE."""
    if version.lifecycle_state is not LifecycleState.APPROVED:
        message = f"The version is {version.lifecycle_state.value} by now; only an APPROVED one comes into force."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if deployment.approved_by_operator_id is None:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "Nobody has approved the deployment yet: deploymentApprove first.")
    if environment.is_production and deployment.approved_by_operator_id == deployment.created_by_operator_id:
        message = "In production somebody else than its planner must have approved the deployment."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message)
    if environment.is_production or await effective_tier(uow, version) < _TIER_FREE_TO_DEPLOY:
        approval = await usable_approval(uow, APPROVAL_TYPE, "Deployment", deployment.id)
        if approval is None:
            message = f"This needs an approved request of type {APPROVAL_TYPE} for the deployment."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message)
        approval.used_at = uow.now
    return await refuse_tampered(uow, version)


def _returns_to(former: Deployment, version_id: UUID) -> UUID | None:
    """The version that a rollback returns to: the one in force before, or the one before that if it is the same."""
    return former.target_version_id if former.target_version_id != version_id else former.previous_version_id


async def _in_force(uow: UnitOfWork, template_id: UUID, environment_id: UUID) -> Deployment | None:
    statement = select(Deployment).where(
        Deployment.tenant_id == uow.tenant_id,
        Deployment.template_id == template_id,
        Deployment.environment_id == environment_id,
        Deployment.status == DeploymentStatus.ACTIVE,
    )
    return (await uow.session.scalars(statement.with_for_update(key_share=True))).first()


def _spawn(uow: UnitOfWork, deployment: Deployment, version: AgentVersion, caused_by_id: UUID) -> int:
    """Provision the agents of a release whose planner named a project."""
    notes = deployment.metadata_ or {}
    if "projectId" not in notes:
        return 0
    count = spawn_count(deployment.rollout_policy, int(notes.get("replicas", 1)))
    for _ in range(count):
        _provision(uow, deployment, version.id, UUID(notes["projectId"]), None, caused_by_id)
    return count


async def _replace_instances(
    uow: UnitOfWork, old: Deployment, back: Deployment, reason: str, caused_by_id: UUID
) -> int:
    """DEP-3, decision 36. Drain or retire the agents of the version that failed; one new agent for each drained one."""
    theirs = select(AgentInstance.id).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.version_id == old.target_version_id,
        AgentInstance.environment_id == old.environment_id,
        AgentInstance.state.in_(list(_ROLLED_BACK)),
    )
    drained = 0
    for instance in await uow.lock_all(AgentInstance, list(await uow.session.scalars(theirs))):
        target = _ROLLED_BACK[instance.state]
        move_instance(uow, instance, target, reason=reason, cause=PauseCause.OPERATOR, caused_by_id=caused_by_id)
        if target is InstanceState.DRAINING:
            drained += 1
            _provision(uow, back, back.target_version_id, instance.project_id, instance, caused_by_id)
    return drained


def _provision(
    uow: UnitOfWork,
    deployment: Deployment,
    version_id: UUID,
    project_id: UUID,
    successor_of: AgentInstance | None,
    caused_by_id: UUID,
) -> None:
    instance = uow.add(
        AgentInstance(
            name=None if successor_of is None else successor_of.name,
            version_id=version_id,
            project_id=project_id,
            environment_id=deployment.environment_id,
            provider_id=None if successor_of is None else successor_of.provider_id,
            deployment_id=deployment.id,
            state=InstanceState.PROVISIONING,
            cost_caps=None if successor_of is None else successor_of.cost_caps,
            metadata_=None if successor_of is None else {"successorOf": str(successor_of.id)},
        )
    )
    uow.record(
        ChangeRecordType.INSTANCE_CREATED,
        instance,
        after={"state": InstanceState.PROVISIONING.value, "deploymentId": str(deployment.id)},
        by_system=True,
        caused_by_id=caused_by_id,
        instance_id=instance.id,
        version_id=version_id,
    )


def _record(
    uow: UnitOfWork,
    kind: ChangeRecordType,
    deployment: Deployment,
    before: DeploymentStatus | None,
    *,
    reason: str | None = None,
    by_system: bool = False,
    caused_by_id: UUID | None = None,
    **after: str | None,
) -> UUID:
    return uow.record(
        kind,
        deployment,
        before=None if before is None else {"status": before.value},
        after={
            "status": deployment.status.value,
            "environmentId": str(deployment.environment_id),
            "targetVersionId": str(deployment.target_version_id),
            **{name: value for name, value in after.items() if value is not None},
        },
        reason=reason,
        by_system=by_system,
        caused_by_id=caused_by_id,
        version_id=deployment.target_version_id,
    )
