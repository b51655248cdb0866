"""Templates with their identities, and versions with their genomes and the way each came through its life."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

from db.canonical import canonical_hash, genome_hash
from db.demo import approvals
from db.demo.evaluation import evaluate
from db.demo.people import founder
from db.demo.stage import SYSTEM, Actor, Stage, actor, text_of
from db.enums import (
    ApprovalDecision,
    ChangeRecordType,
    EvalStatus,
    EvaluationRunStatus,
    IdentityComplianceStatus,
    LifecycleState,
    RiskLevel,
)
from db.models import (
    AgentIdentity,
    AgentTemplate,
    AgentTemplateOwner,
    AgentVersion,
    AgentVersionApproval,
    ApprovalRecord,
    Operator,
)

_LIFE: Final = (
    LifecycleState.DRAFT,
    LifecycleState.TESTING,
    LifecycleState.CANDIDATE,
    LifecycleState.APPROVED,
    LifecycleState.DEPRECATED,
    LifecycleState.RETIRED,
)


def build_templates(stage: Stage) -> None:
    """Every template with its owners and its identity."""
    for one in stage.company["templates"]:
        kind = stage.kinds[one["kind"]]
        first = one["versions"][0]
        at = stage.ago(first["days"] + 1)
        owners = [stage.people[key] for key in one["owners"]]
        template = AgentTemplate(
            id=stage.id(at),
            name=one["name"],
            description=kind["description"],
            intended_use=kind["intended_use"],
            tags=kind["tags"],
            emoji=kind["emoji"],
            default_role=kind["role"],
            updated_at=stage.ago(first["days"] - 2),
        )
        stage.templates[one["key"]] = stage.add(template)
        stage.kind_of[template.id] = one["kind"]
        for position, owner in enumerate(owners):
            stage.add(AgentTemplateOwner(template_id=template.id, operator_id=owner.id, position=position))
        maker = stage.people[first["by"]]
        stage.change(
            ChangeRecordType.TEMPLATE_CREATED,
            template,
            at,
            actor(maker),
            f"Template {template.name} was made.",
            after={"name": template.name, "defaultRole": kind["role"]},
        )
        stage.change(
            ChangeRecordType.TEMPLATE_UPDATED,
            template,
            template.updated_at,
            actor(maker),
            f"The intended use of {template.name} was put in words.",
            before={"intendedUse": None},
            after={"intendedUse": kind["intended_use"]},
        )
        _identity(stage, template, kind, at + timedelta(hours=3), actor(founder(stage)))


def _identity(stage: Stage, template: AgentTemplate, kind: dict[str, Any], at: datetime, by: Actor) -> None:
    unfinished = stage.kind_of[template.id] == "support"
    soul_hash = hashlib.sha256(kind["soul"].encode()).hexdigest()
    identity = AgentIdentity(
        id=stage.id(at),
        template_id=template.id,
        name=template.name,
        creature=kind["creature"],
        vibe=None if unfinished else kind["vibe"],
        emoji=kind["emoji"],
        avatar_path=f"avatars/{stage.slug}/{template.name.lower().replace(' ', '-')}.png",
        soul_content=kind["soul"],
        soul_hash=soul_hash,
        compliance_status=IdentityComplianceStatus.PARTIAL if unfinished else IdentityComplianceStatus.VALID,
        validation_errors=["vibe is blank."] if unfinished else [],
        last_scan_at=stage.ago(0.3),
        identity_content=f"# {template.name}\n\n{kind['description']}\n",
        tools_content=kind["toolsNotes"],
        updated_at=stage.ago(0.3),
    )
    stage.add(identity)
    stage.change(
        ChangeRecordType.IDENTITY_UPDATED,
        identity,
        at,
        by,
        f"{template.name} got its soul.",
        before={"soulHash": None},
        after={"soulHash": soul_hash},
    )


def build_versions(stage: Stage) -> None:
    """Every version, oldest first, each with the genome's right hash and the records of its life."""
    for one in stage.company["templates"]:
        template = stage.templates[one["key"]]
        parent: AgentVersion | None = None
        for number, spec in enumerate(one["versions"], 1):
            later = one["versions"][number:]
            version = _version(stage, template, one["kind"], number, spec, parent)
            stage.versions[one["key"], spec["label"]] = version
            _live(stage, version, spec, later, stage.people[spec["by"]])
            parent = version


def _version(
    stage: Stage,
    template: AgentTemplate,
    kind_name: str,
    number: int,
    spec: dict[str, Any],
    parent: AgentVersion | None,
) -> AgentVersion:
    kind = stage.kinds[kind_name]
    at = stage.ago(spec["days"])
    genome = {
        "modelConfig": {**kind["model"], **({"primaryModel": spec["model"]} if "model" in spec else {})},
        "promptBundleHash": canonical_hash({"soul": kind["soul"], "label": spec["label"]}),
        "toolManifest": [
            {
                "toolId": tool,
                "schemaVersion": stage.tools[tool]["schema"],
                "requiredPermissions": stage.tools[tool]["permissions"],
            }
            for tool in kind["tools"]
        ],
        "provenance": {
            "buildPipeline": "agents/build.yml",
            "commitRef": f"{stage.random.getrandbits(160):040x}",
            "signingKeyRef": f"{stage.slug}-release-1",
            "builtAt": text_of(at - timedelta(minutes=7)),
            "builtBy": "build pipeline",
            **({"parentVersionId": str(parent.id)} if parent else {}),
        },
        "memoryConfig": {"types": ["working", "session"], "retention": "30d", "redactionRules": ["e-mail addresses"]},
        "behaviorProfile": kind["behavior"],
        **({"spawnConstraints": kind["spawn"]} if "spawn" in kind else {}),
    }
    maker = stage.people[spec["by"]]
    version = AgentVersion(
        id=stage.id(at),
        template_id=template.id,
        genome=genome,
        genome_hash=genome_hash(genome),
        lifecycle_state=LifecycleState(spec["state"]),
        parent_version_id=parent.id if parent else None,
        build_provenance={"runner": "linux-arm64", "durationSeconds": stage.between(160, 420)},
        created_by_operator_id=maker.id,
        version_label=spec["label"],
        version_number=number,
        updated_at=at,
    )
    stage.add(version)
    stage.change(
        ChangeRecordType.VERSION_CREATED,
        version,
        at,
        actor(maker),
        f"{template.name} {spec['label']} was made.",
        after={"versionLabel": spec["label"], "genomeHash": version.genome_hash, "lifecycleState": "DRAFT"},
        version_id=version.id,
    )
    return version


def _live(
    stage: Stage, version: AgentVersion, spec: dict[str, Any], later: list[dict[str, Any]], maker: Operator
) -> None:
    """The records of how the version came to where it stands (VER-1)."""
    template = next(one for one in stage.all(AgentTemplate) if one.id == version.template_id)
    name = f"{template.name} {version.version_label}"
    kind = stage.kind_of[template.id]
    reached = _LIFE.index(version.lifecycle_state)
    born = stage.ago(spec["days"])
    by = actor(maker)
    if reached == 0 and not spec.get("failed"):
        version.eval_status = EvalStatus.NOT_RUN
        return

    tested = stage.ago(minutes=20) if reached == 1 else born + timedelta(hours=2)
    _move(stage, version, name, 0, 1, tested, by)
    if reached == 1:
        version.eval_status = EvalStatus.RUNNING
        evaluate(stage, version, kind, tested, EvaluationRunStatus.RUNNING)
        return
    judged = evaluate(
        stage,
        version,
        kind,
        tested,
        EvaluationRunStatus.FAILED if spec.get("failed") else EvaluationRunStatus.PASSED,
    )
    if spec.get("failed"):
        version.eval_status = EvalStatus.FAIL
        _move(stage, version, name, 1, 0, judged + timedelta(hours=1), by, reason="Two cases of the suite fail.")
        return
    version.eval_status = EvalStatus.PASS
    granted: list[ApprovalRecord] = []
    candidate = judged + timedelta(minutes=30)
    if stage.tier(kind) < 2:
        granted.append(_promotion(stage, version, name, maker, judged, ApprovalDecision.APPROVED, "to candidate"))
        candidate = judged + timedelta(minutes=45)
    _move(stage, version, name, 1, 2, candidate, SYSTEM if not granted else by, approval=granted[-1:] or None)
    if reached == 2:
        _promotion(stage, version, name, maker, stage.ago(minutes=23), ApprovalDecision.PENDING, "to approved")
        return
    stage.change(
        ChangeRecordType.VERSION_INTEGRITY_VERIFIED,
        version,
        candidate + timedelta(hours=1),
        SYSTEM,
        f"The genome of {name} has its hash.",
        after={"integrityStatus": "VERIFIED", "genomeHash": version.genome_hash},
        version_id=version.id,
    )
    asked = candidate + timedelta(hours=2)
    granted.append(_promotion(stage, version, name, maker, asked, ApprovalDecision.APPROVED, "to approved"))
    _move(stage, version, name, 2, 3, asked + timedelta(minutes=40), by, approval=granted[-1:])
    version.signatures = [{"keyRef": f"{stage.slug}-release-1", "algorithm": "ed25519", "over": version.genome_hash}]
    for position, approval in enumerate(granted):
        stage.add(AgentVersionApproval(version_id=version.id, approval_id=approval.id, position=position))
    if reached >= 4:
        followed = next(one for one in later if LifecycleState(one["state"]) in _LIFE[3:])
        old = stage.ago(followed["days"] - 11)
        _move(stage, version, name, 3, 4, old, by, reason=f"{followed['label']} takes over.")
        if reached == 5:
            _move(stage, version, name, 4, 5, old + timedelta(days=12), by, reason="Nothing runs on it any more.")


def _promotion(
    stage: Stage,
    version: AgentVersion,
    name: str,
    maker: Operator,
    at: datetime,
    status: ApprovalDecision,
    step: str,
) -> ApprovalRecord:
    """A request to carry the version on; whoever made it does not decide (APR-5)."""
    others = [one for one in stage.approvers() if one is not maker]
    decided = status is ApprovalDecision.APPROVED
    return approvals.request(
        stage,
        "VERSION_PROMOTION",
        maker,
        at,
        version,
        summary=f"Promote {name} {step}",
        why="Every suite that applies passed; the changes are described in the build.",
        rollback_plan="The version before stays approved and can be released again.",
        risk=RiskLevel.YELLOW if decided else RiskLevel.GREEN,
        status=status,
        lifetime=timedelta(hours=48),
        voters=[others[(version.version_number or 0) % len(others)]] if decided else None,
        verdict="The suite's results and the diff of the prompts are fine.",
        envelope=stage.envelopes.get("tenant"),
        version=version,
    )


def _move(
    stage: Stage,
    version: AgentVersion,
    name: str,
    before: int,
    after: int,
    at: datetime,
    by: Actor,
    *,
    reason: str | None = None,
    approval: list[ApprovalRecord] | None = None,
) -> None:
    version.updated_at = at
    stage.change(
        ChangeRecordType.VERSION_TRANSITIONED,
        version,
        at,
        by,
        f"{name} went from {_LIFE[before]} to {_LIFE[after]}.",
        before={"lifecycleState": _LIFE[before].value},
        after={"lifecycleState": _LIFE[after].value},
        reason=reason,
        version_id=version.id,
        metadata={"approvalId": str(approval[0].id)} if approval else None,
    )
