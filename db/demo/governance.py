"""Policy envelopes of every level, and the releases of versions, one of them taken back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from db.demo import approvals
from db.demo.people import founder
from db.demo.stage import Stage, actor
from db.enums import ApprovalDecision, ChangeRecordType, DeploymentStatus, RiskLevel, TaskType
from db.models import Deployment, Operator, PolicyEnvelope

_ROLLBACK_PLAN: Final = "Release the version before again; its instances are kept for a day."
_SHELL_ALLOW: Final = (
    *("ls", "pwd", "cat", "head", "tail", "grep", "find", "git status", "git diff", "git log"),
    *("npm test", "npm run lint", "npm run typecheck", "npm run build", "python scripts/"),
)
_SHELL_BLOCK: Final = ("rm -rf", "sudo", "chmod 777", "chown", "dd", "mkfs", "curl | bash", "../", "/etc/")


def build_envelopes(stage: Stage) -> None:
    """One envelope for the tenant, one for its first project, one for each template, and one that was replaced."""
    admin = founder(stage)
    founded = stage.ago(stage.company["tenant"]["founded"], minutes=-8)
    stage.envelopes["tenant"] = _attach(
        stage,
        admin,
        founded,
        name="House rules",
        attached_to_tenant=True,
        autonomy_tier=1,
        denied_tools=["rm_rf", "git_force_push", "drop_table", "access_secrets"],
        approval_triggers=["risk:RED", "budget:exceeded", "production"],
        enforcement_points=["tool_call", "run_start", "transition", "spawn"],
        shell_blocklist=list(_SHELL_BLOCK),
        loop_thresholds={"maxReviewCycles": 3, "toolRetryLimit": 3, "maxCommentsPerWindow": 20},
        caps={"maxConcurrentTasks": 4, "maxRunMinutes": 60},
        cost_limits={"perRunUsd": 2, "dailyUsd": 20},
        priority=100,
    )
    key, project = next(iter(stage.projects.items()))
    stage.envelopes[key] = _attach(
        stage,
        admin,
        founded + timedelta(days=9),
        name=f"{project.name}: files and hosts",
        attached_to_project_id=project.id,
        shell_allowlist=list(_SHELL_ALLOW),
        file_write_paths=["src/**", "docs/**", "planner/**", "tests/**"],
        network_allowlist=["github.com", "api.github.com", f"{stage.slug}.example"],
        data_scopes=["orders", "catalogue", "tickets", "public"],
    )
    for one in stage.company["templates"]:
        kind = stage.kinds[one["kind"]]
        template = stage.templates[one["key"]]
        stage.envelopes[one["key"]] = _attach(
            stage,
            admin,
            stage.ago(one["versions"][0]["days"] + 0.4),
            name=f"{template.name}: what it may do",
            attached_to_template_id=template.id,
            autonomy_tier=kind["tier"],
            allowed_tools=list(kind["tools"]),
            cost_limits=dict(kind["limits"]),
            allowed_task_types=[TaskType(name) for name in kind["task_types"]],
            spawn_limits={"canSpawn": "spawn" in kind, "maxSubAgents": 2 if "spawn" in kind else None},
            version=2,
        )
    old = _attach(
        stage,
        admin,
        founded + timedelta(days=1),
        name="House rules (first draft)",
        attached_to_tenant=True,
        autonomy_tier=0,
        active=False,
    )
    old.updated_at = founded + timedelta(days=4)


def watch_candidates(stage: Stage) -> None:
    """A version that waits for its approval may only watch: tier 0, for itself alone."""
    for one in stage.company["templates"]:
        for spec in one["versions"]:
            if spec["state"] == "CANDIDATE":
                version = stage.versions[one["key"], spec["label"]]
                stage.envelopes[f"{one['key']} {spec['label']}"] = _attach(
                    stage,
                    founder(stage),
                    stage.ago(spec["days"] - 0.3),
                    name=f"{stage.templates[one['key']].name} {spec['label']}: observes",
                    attached_to_version_id=version.id,
                    autonomy_tier=0,
                    require_approval_on_risk=[RiskLevel.YELLOW, RiskLevel.RED],
                )


def _attach(stage: Stage, by: Operator, at: datetime, **fields: Any) -> PolicyEnvelope:
    envelope = stage.add(PolicyEnvelope(id=stage.id(at), created_by_operator_id=by.id, **fields))
    stage.change(
        ChangeRecordType.POLICY_ATTACHED,
        envelope,
        at,
        actor(by),
        f"The policy «{envelope.name}» was attached.",
        after={"name": envelope.name, "autonomyTier": envelope.autonomy_tier, "active": fields.get("active", True)},
        project_id=envelope.attached_to_project_id,
        version_id=envelope.attached_to_version_id,
    )
    return envelope


def build_deployments(stage: Stage) -> None:
    """The releases in order of time: planned, approved, in force, superseded, or taken back (DEP-1 to DEP-3)."""
    for spec in sorted(stage.company["deployments"], key=lambda one: -one["days"]):
        _release(stage, spec)


def _release(stage: Stage, spec: dict[str, Any]) -> None:
    at = stage.ago(spec["days"])
    template = stage.templates[spec["template"]]
    environment = stage.environments[spec["environment"]]
    version = stage.versions[spec["template"], spec["version"]]
    name = f"{template.name} {spec['version']} to {environment.name}"
    planner = stage.people[spec["by"]]
    former = in_force(stage, spec["template"], spec["environment"])
    row = Deployment(
        id=stage.id(at),
        template_id=template.id,
        environment_id=environment.id,
        target_version_id=version.id,
        previous_version_id=former.target_version_id if former else None,
        rollout_policy=spec.get("rollout"),
        status=DeploymentStatus.PENDING,
        created_by_operator_id=planner.id,
        metadata_={"replicas": 2},
        updated_at=at,
    )
    stage.add(row)
    stage.deployments.append(row)
    stage.change(
        ChangeRecordType.DEPLOYMENT_CREATED,
        row,
        at,
        actor(planner),
        f"A release of {name} was planned.",
        after={"status": "PENDING", "targetVersionId": str(version.id)},
        version_id=version.id,
    )
    if spec.get("pending"):
        return
    decider = stage.people[spec["approved"]]
    risky = environment.is_production and stage.kind_of[template.id] == "engineering"
    second = [one for one in stage.approvers() if one is not planner and one is not decider][:1]
    if environment.is_production:
        approvals.request(
            stage,
            "DEPLOYMENT",
            planner,
            at + timedelta(minutes=5),
            row,
            summary=f"Release {name}",
            why="The suite passed, and staging ran on it for a day.",
            rollback_plan=_ROLLBACK_PLAN,
            risk=RiskLevel.RED if risky else RiskLevel.YELLOW,
            status=ApprovalDecision.APPROVED,
            lifetime=timedelta(hours=48),
            decided_after=timedelta(hours=2),
            voters=[*(second if risky else []), decider],
            verdict="Go ahead; I watch the first hour.",
            envelope=stage.envelopes["tenant"],
            version=version,
        )
    row.approved_by_operator_id = decider.id
    activate(stage, row, at + timedelta(hours=3), planner, name, former)
    if "rolled_back" in spec:
        _roll_back(stage, row, former, stage.ago(spec["rolled_back"]), spec["reason"], name)


def activate(stage: Stage, row: Deployment, at: datetime, by: Operator, name: str, former: Deployment | None) -> None:
    """Bring a release into force; the one before it ends (DEP-2)."""
    row.status = DeploymentStatus.ACTIVE
    row.activated_at = row.updated_at = at
    if former is not None:
        former.status = DeploymentStatus.RETIRED
        former.retired_at = former.updated_at = at
    stage.change(
        ChangeRecordType.DEPLOYMENT_ACTIVATED,
        row,
        at,
        actor(by),
        f"{name} came into force.",
        before={"status": "PENDING"},
        after={"status": "ACTIVE", "retiredDeploymentId": str(former.id) if former else None},
        version_id=row.target_version_id,
    )


def _roll_back(stage: Stage, bad: Deployment, former: Deployment | None, at: datetime, reason: str, name: str) -> None:
    """The version before comes back with a release of its own, and the bad one ends (DEP-3)."""
    if former is None:
        raise ValueError(f"content: {name} cannot be rolled back, since nothing was released before it.")
    by = founder(stage)
    back = Deployment(
        id=stage.id(at),
        template_id=bad.template_id,
        environment_id=bad.environment_id,
        target_version_id=former.target_version_id,
        previous_version_id=bad.target_version_id,
        rollout_policy=bad.rollout_policy,
        status=DeploymentStatus.ACTIVE,
        created_by_operator_id=by.id,
        approved_by_operator_id=by.id,
        activated_at=at,
        metadata_={"replicas": 2, "rollbackOf": str(bad.id)},
        updated_at=at,
    )
    stage.add(back)
    stage.deployments.append(back)
    bad.status = DeploymentStatus.RETIRED
    bad.retired_at = bad.updated_at = at
    first = stage.change(
        ChangeRecordType.DEPLOYMENT_CREATED,
        back,
        at,
        actor(by),
        f"The version before {name} was released again.",
        after={"status": "ACTIVE", "rollbackOf": str(bad.id)},
        reason=reason,
        version_id=back.target_version_id,
    )
    stage.change(
        ChangeRecordType.DEPLOYMENT_ROLLED_BACK,
        bad,
        at,
        actor(by),
        f"{name} was rolled back.",
        before={"status": "ACTIVE"},
        after={"status": "RETIRED", "replacedBy": str(back.id)},
        reason=reason,
        version_id=bad.target_version_id,
        caused_by_id=first,
    )


def in_force(stage: Stage, template: str, environment: str) -> Deployment | None:
    """The release in force for the template in the environment, as far as the story is told."""
    key = (stage.templates[template].id, stage.environments[environment].id)
    for one in stage.deployments:
        if (one.template_id, one.environment_id) == key and one.status is DeploymentStatus.ACTIVE:
            return one
    return None


def rollback_of(stage: Stage, bad: Deployment) -> Deployment | None:
    """The release that took the place of a bad one."""
    return next((one for one in stage.deployments if (one.metadata_ or {}).get("rollbackOf") == str(bad.id)), None)
