"""The running agents: where each came from, the states it went through, and the emergency that stopped some of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from db.demo import approvals
from db.demo.governance import rollback_of
from db.demo.people import founder
from db.demo.stage import SYSTEM, Actor, Stage, actor
from db.enums import (
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    OrgPosition,
    OrgScope,
    PauseCause,
    RiskLevel,
)
from db.ids import created_at
from db.models import AgentInstance, Alert, Deployment, OrgAssignment, Provider


def build(stage: Stage) -> None:
    """Every instance, oldest first, up to the state that it is in now; budgets pause theirs later, with the work."""
    specs = sorted(stage.company["instances"], key=lambda one: _born(stage, one))
    for spec in specs:
        instance = _instance(stage, spec)
        stage.instances[spec["key"]] = instance
        _live(stage, instance, spec)
    _positions(stage)


def transition(
    stage: Stage,
    instance: AgentInstance,
    at: datetime,
    state: InstanceState,
    by: Actor,
    reason: str,
    *,
    cause: str | None = None,
    caused_by: UUID | None = None,
    record: UUID | None = None,
) -> None:
    """Change an instance's state, with its record (INS-3)."""
    before = instance.state
    instance.state = state
    instance.updated_at = max(instance.updated_at, at)
    stage.change(
        ChangeRecordType.INSTANCE_TRANSITIONED,
        instance,
        at,
        by,
        f"{instance.name} went from {before} to {state}.",
        before={"state": before.value},
        after={"state": state.value, **({"cause": cause} if cause else {})},
        reason=reason,
        project_id=instance.project_id,
        instance_id=instance.id,
        version_id=instance.version_id,
        caused_by_id=caused_by,
    )


def state_at(stage: Stage, instance: AgentInstance, at: datetime) -> InstanceState | None:
    """The state in which the records leave the instance at that time; None before it was made."""
    state = InstanceState.PROVISIONING if created_at(instance.id) <= at else None
    moves = [one for one in stage.changes if one.target_id == instance.id and one.timestamp <= at]
    for one in sorted(moves, key=lambda one: one.timestamp):
        if one.type is ChangeRecordType.INSTANCE_TRANSITIONED and one.after_state:
            state = InstanceState(one.after_state["state"])
    return state


def _release(stage: Stage, spec: dict[str, Any]) -> Deployment:
    """The release that the instance belongs to: of its version and environment, the rollback where it says so."""
    version = stage.versions[spec["template"], spec["version"]]
    environment = stage.environments[spec.get("environment", "prod")]
    wanted = bool(spec.get("rollback"))
    for one in stage.deployments:
        is_rollback = "rollbackOf" in (one.metadata_ or {})
        if (one.target_version_id, one.environment_id, is_rollback) == (version.id, environment.id, wanted):
            return one
    raise ValueError(f"content: no release of {spec['template']} {spec['version']} for the instance {spec['key']}")


def _born(stage: Stage, spec: dict[str, Any]) -> datetime:
    release = _release(stage, spec)
    number = int(spec["key"].rpartition("-")[2])
    return (release.activated_at or created_at(release.id)) + timedelta(minutes=4 + 7 * number)


def _instance(stage: Stage, spec: dict[str, Any]) -> AgentInstance:
    at = _born(stage, spec)
    version = stage.versions[spec["template"], spec["version"]]
    model = stage.kinds[stage.kind_of[version.template_id]]["model"]["primaryModel"]
    openai = model.startswith("gpt")
    provider = next(one for one in stage.all(Provider) if (one.type == "OPENAI") == openai)
    parent = stage.instances.get(spec.get("parent", ""))
    instance = AgentInstance(
        id=stage.id(at),
        version_id=version.id,
        environment_id=stage.environments[spec.get("environment", "prod")].id,
        project_id=stage.projects[spec["project"]].id,
        provider_id=provider.id,
        deployment_id=_release(stage, spec).id,
        policy_envelope_id=stage.envelopes[spec["template"]].id,
        state=InstanceState.PROVISIONING,
        cost_caps={"dailyUsd": spec["cap"]} if "cap" in spec else None,
        runtime_meta={"host": f"{spec['key']}.{stage.slug}.internal", "runtime": "python 3.12"},
        name=spec["key"],
        parent_instance_id=parent.id if parent else None,
        spend_reset_at=midnight(stage) + timedelta(days=1),
        updated_at=at,
    )
    stage.kind_of[instance.id] = stage.kind_of[version.template_id]
    return stage.add(instance)


def midnight(stage: Stage) -> datetime:
    """The last midnight of the tenant, whose zone is UTC."""
    return stage.now.replace(hour=0, minute=0, second=0, microsecond=0)


def _live(stage: Stage, instance: AgentInstance, spec: dict[str, Any]) -> None:
    at = created_at(instance.id)
    release = _release(stage, spec)
    starter = actor(next(one for one in stage.people.values() if one.id == release.created_by_operator_id))
    stage.change(
        ChangeRecordType.INSTANCE_CREATED,
        instance,
        at,
        starter,
        f"{instance.name} was made.",
        after={"state": "PROVISIONING", "versionId": str(instance.version_id), "deploymentId": str(release.id)},
        project_id=instance.project_id,
        instance_id=instance.id,
        version_id=instance.version_id,
    )
    wanted = InstanceState(spec.get("state", "ACTIVE"))
    if wanted is InstanceState.PROVISIONING:
        return
    instance.activated_at = at + timedelta(minutes=2)
    transition(stage, instance, instance.activated_at, InstanceState.ACTIVE, SYSTEM, "Its release is in force.")
    instance.heartbeat_at = stage.ago(minutes=stage.between(5, 55) / 60)
    admin = actor(founder(stage))
    match wanted:
        case InstanceState.READONLY:
            transition(stage, instance, stage.ago(3), wanted, admin, spec["reason"])
        case InstanceState.PAUSED if spec["cause"] == "OPERATOR":
            instance.paused_by = PauseCause.OPERATOR
            transition(stage, instance, stage.ago(1.5), wanted, admin, spec["reason"], cause="OPERATOR")
        case InstanceState.DRAINING:
            back = rollback_of(stage, release)
            if back is None or back.activated_at is None:
                raise ValueError(f"content: nothing was rolled back for {spec['key']} to drain after")
            transition(stage, instance, back.activated_at, wanted, SYSTEM, "Its release was rolled back.")
        case InstanceState.RETIRED:
            ended = (release.retired_at or at) + timedelta(minutes=1)
            transition(stage, instance, ended, InstanceState.DRAINING, SYSTEM, "A newer release took over.")
            instance.retired_at = instance.heartbeat_at = ended + timedelta(hours=4)
            transition(stage, instance, instance.retired_at, wanted, SYSTEM, "Its last run ended.")
        case InstanceState.QUARANTINED:
            _quarantine(stage, instance, spec["error"])


def _quarantine(stage: Stage, instance: AgentInstance, error: str) -> None:
    """Five heartbeats with an error in a row contain the agent (HB-3); only an approval brings it back."""
    at = stage.ago(2.2)
    first = stage.change(
        ChangeRecordType.EMERGENCY_QUARANTINE,
        instance,
        at,
        SYSTEM,
        f"{instance.name} was quarantined after five errors in a row.",
        after={"cause": "ERROR_STREAK", "errorStreak": 5, "instanceIds": [str(instance.id)]},
        reason=error,
        project_id=instance.project_id,
        instance_id=instance.id,
        version_id=instance.version_id,
    )
    transition(stage, instance, at, InstanceState.QUARANTINED, SYSTEM, error, cause="CONTAINMENT", caused_by=first)
    instance.error_streak = 5
    instance.last_error = error
    stage.add(
        Alert(
            id=stage.id(at),
            project_id=instance.project_id,
            severity=AlertSeverity.CRITICAL,
            type="AGENT_ERROR_STREAK",
            title=f"{instance.name} is quarantined",
            description=error,
            instance_id=instance.id,
            status=AlertStatus.ACKNOWLEDGED,
            acknowledged_by_operator_id=founder(stage).id,
            acknowledged_at=at + timedelta(minutes=12),
            updated_at=at + timedelta(minutes=12),
        )
    )
    asker = next(iter(list(stage.people.values())[1:]))
    version = next(one for one in stage.versions.values() if one.id == instance.version_id)
    approvals.request(
        stage,
        "INSTANCE_REACTIVATION",
        asker,
        stage.ago(minutes=11),
        instance,
        summary=f"Bring {instance.name} back from quarantine",
        why="The service behind the errors answers again since this morning.",
        rollback_plan="Quarantine it again.",
        risk=RiskLevel.YELLOW,
        status=ApprovalDecision.PENDING,
        lifetime=timedelta(hours=12),
        envelope=stage.envelopes["tenant"],
        project=next(one for one in stage.projects.values() if one.id == instance.project_id),
        version=version,
    )


def _positions(stage: Stage) -> None:
    """Who leads, who knows, who learns (ORG-1)."""
    giver = founder(stage)
    for spec in stage.company["instances"]:
        instance = stage.instances[spec["key"]]
        if instance.state is InstanceState.RETIRED:
            continue
        at = created_at(instance.id) + timedelta(hours=1)
        position = OrgPosition(spec.get("position", "INTERN" if "parent" in spec else "SPECIALIST"))
        repository = stage.kind_of[instance.id] == "engineering" and position is OrgPosition.SPECIALIST
        stage.add(
            OrgAssignment(
                id=stage.id(min(at, stage.now)),
                instance_id=instance.id,
                project_id=instance.project_id,
                org_position=position,
                scope=OrgScope.REPO if repository else OrgScope.PROJECT,
                scope_ref=next(one["repo"] for one in stage.company["projects"] if "repo" in one)
                if repository
                else None,
                assigned_by_operator_id=giver.id,
                assigned_at=min(at, stage.now),
            )
        )
