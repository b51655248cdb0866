"""Versions: built once, found again by their genome, moved along the lifecycle with its guards."""

import asyncio
import copy
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from db import models
from db.enums import (
    DeploymentStatus,
    EvalStatus,
    EvaluationRunStatus,
    InstanceState,
    LifecycleState,
)
from db.ids import new_id
from tests.app.registry.conftest import GENOME, GENOME_HASH, Registry
from tests.asking import data_of

V = LifecycleState


async def build(registry: Registry, genome: dict[str, Any] | None = None, **more: Any) -> Any:
    return await registry.done("create_version", template_id=registry.template.id, genome=genome or GENOME, **more)


async def test_gen_4_the_test_vector(registry: Registry) -> None:
    """The gateway computes the hash; key order and 4096 against 4096.0 change nothing."""
    version = await build(registry)
    assert version.genome_hash == GENOME_HASH
    assert (version.lifecycle_state, version.eval_status) == (V.DRAFT, EvalStatus.NOT_RUN)  # VER-2
    assert version.created_by_operator_id == registry.operator.id


async def test_gen_7_the_same_genome_gives_the_existing_version(registry: Registry) -> None:
    """Written in another order, it is the same; a retired version is not given back."""
    first = await build(registry)
    shuffled = dict(reversed(list(copy.deepcopy(GENOME).items())))
    shuffled["modelConfig"] = {"maxTokens": 4096, "primaryModel": "m-1", "temperature": 0.7}
    assert (await build(registry, shuffled)).id == first.id
    assert await registry.types() == ["VERSION_CREATED"]


async def test_gen_7_two_who_build_the_same_at_once_get_one_version(registry: Registry) -> None:
    """The template's lock makes them take turns."""
    built = await asyncio.gather(*(build(registry) for _ in range(4)))
    assert len({version.id for version in built}) == 1
    assert await registry.types() == ["VERSION_CREATED"]


async def test_gen_5_a_hash_that_does_not_fit_is_refused(registry: Registry) -> None:
    """The client's hash is compared, never taken over."""
    refused = await registry.refused(
        "create_version", template_id=registry.template.id, genome=GENOME, genome_hash_expected="0" * 64
    )
    assert refused.code == "INTEGRITY_VIOLATION"
    fits = await build(registry, genome_hash_expected=GENOME_HASH.upper())
    assert fits.genome_hash == GENOME_HASH


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("modelConfig", None),
        ("promptBundleHash", None),
        ("toolManifest", None),
        ("provenance", None),
        ("modelConfig", {"temperature": 1}),
        ("modelConfig", {"primaryModel": "m", "maxTokens": "many"}),
        ("promptBundleHash", " "),
        ("toolManifest", {}),
        ("toolManifest", [{"toolId": "x"}]),
        ("toolManifest", [{"toolId": "x", "schemaVersion": "1", "requiredPermissions": "all"}]),
        ("provenance", {"builtAt": "yesterday", "builtBy": "ci"}),
        ("provenance", {"builtAt": "2026-01-01T00:00:00Z"}),
        ("spawnConstraints", {"maxChildren": -1}),
        ("memoryConfig", {"types": []}),
    ],
)
async def test_gen_1_an_incomplete_genome_is_refused(registry: Registry, path: str, value: Any) -> None:
    """The refusal names the key; nothing is left behind."""
    genome = copy.deepcopy(GENOME)
    if value is None:
        del genome[path]
    else:
        genome[path] = value
    refused = await registry.refused("create_version", template_id=registry.template.id, genome=genome)
    assert refused.code == "VALIDATION_ERROR"
    assert refused.field is not None
    assert refused.field.startswith(f"genome.{path}")
    assert await registry.types() == []


async def test_ver_6_numbers_count_up_and_labels_are_unique(registry: Registry) -> None:
    """One more than the highest number of the template; a label is a semantic version and used once."""
    first = await build(registry, version_label="v1.0.0")
    second = await build(registry, {**GENOME, "promptBundleHash": "p2"}, version_label="1.1.0-rc.1")
    assert (first.version_number, second.version_number) == (1, 2)
    other = {**GENOME, "promptBundleHash": "p3"}
    for label, code in (("v1.0.0", "DUPLICATE_RESOURCE"), ("one", "VALIDATION_ERROR"), ("1.0", "VALIDATION_ERROR")):
        refused = await registry.refused(
            "create_version", template_id=registry.template.id, genome=other, version_label=label
        )
        assert refused.code == code, label


async def test_ver_8_a_parent_is_of_the_same_template(registry: Registry) -> None:
    """A version of another template is no parent; an unknown one is not found."""
    first = await build(registry)
    child = await build(registry, {**GENOME, "promptBundleHash": "p2"}, parent_version_id=first.id)
    assert child.parent_version_id == first.id
    stranger = models.AgentTemplate(id=new_id(), name="Writer")
    await registry.tenant.add(stranger)
    for parent, code in ((first.id, "VALIDATION_ERROR"), (new_id(), "NOT_FOUND")):
        refused = await registry.refused(
            "create_version", template_id=stranger.id, genome=GENOME, parent_version_id=parent
        )
        assert refused.code == code


async def suite(registry: Registry, **more: Any) -> Any:
    cases = [{"id": "a", "name": "A", "input": {}}, {"id": "b", "name": "B", "input": {}}]
    return await registry.done("create_suite", name=more.pop("name", "Basics"), test_cases=cases, **more)


async def test_ver_1_testing_needs_a_suite_and_opens_a_run_of_each(registry: Registry) -> None:
    """Decision 37. One PENDING run a suite; the template's own suites come before the general ones."""
    version = await build(registry)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.TESTING)
    assert refused.code == "DEPENDENCY_NOT_MET"
    await suite(registry, name="General")
    mine = [await suite(registry, name=name, template_id=registry.template.id) for name in ("One", "Two")]
    moved = await registry.done("transition_version", version_id=version.id, to=V.TESTING, reason="ready")
    assert (moved.lifecycle_state, moved.eval_status) == (V.TESTING, EvalStatus.RUNNING)
    query = "{ evaluationRuns { edges { node { status triggeredBy suite { name } } } } }"
    data = await data_of(registry.tenant, registry.actor, query)
    runs = [edge["node"] for edge in data["evaluationRuns"]["edges"]]
    assert {run["suite"]["name"] for run in runs} == {one.name for one in mine}
    assert {(run["status"], run["triggeredBy"]) for run in runs} == {("PENDING", "STATE_TRANSITION")}
    record = (await registry.journal())[-1]
    assert record["type"] == "VERSION_TRANSITIONED"  # VER-3
    assert record["beforeState"] == {"lifecycleState": "DRAFT"}
    assert record["afterState"]["lifecycleState"] == "TESTING"
    assert record["reason"] == "ready"


async def test_ver_1_back_to_draft_cancels_the_open_runs(registry: Registry) -> None:
    """TESTING to DRAFT: the verdict is what it was before."""
    version = await build(registry)
    await suite(registry)
    await registry.done("transition_version", version_id=version.id, to=V.TESTING)
    moved = await registry.done("transition_version", version_id=version.id, to=V.DRAFT)
    assert moved.eval_status is EvalStatus.NOT_RUN
    data = await data_of(registry.tenant, registry.actor, "{ evaluationRuns { edges { node { status } } } }")
    assert [edge["node"]["status"] for edge in data["evaluationRuns"]["edges"]] == ["CANCELED"]


@pytest.mark.parametrize("status", [one for one in EvalStatus if one is not EvalStatus.PASS])
async def test_ver_1_no_candidate_without_a_pass(registry: Registry, status: EvalStatus) -> None:
    """The gate is hard: an approval cannot stand in for the evaluation."""
    version = await registry.version(V.TESTING, eval_status=status)
    await registry.approval("VERSION_PROMOTION", "AgentVersion", version.id)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.CANDIDATE)
    assert refused.code == "DEPENDENCY_NOT_MET"


@pytest.mark.parametrize(
    ("tier", "state", "target", "needs"),
    [
        (1, V.TESTING, V.CANDIDATE, True),
        (2, V.TESTING, V.CANDIDATE, False),
        (2, V.CANDIDATE, V.APPROVED, True),
        (3, V.CANDIDATE, V.APPROVED, False),
        (None, V.TESTING, V.CANDIDATE, True),
        (None, V.CANDIDATE, V.APPROVED, True),
    ],
)
async def test_ver_4_the_tier_says_whether_an_approval_is_needed(
    registry: Registry, tier: int | None, state: LifecycleState, target: LifecycleState, needs: bool
) -> None:
    """Without any envelope the tier is 1 (decision 17). An approval carries one promotion, and is listed."""
    if tier is not None:
        await registry.tier(tier)
    version = await registry.version(state, eval_status=EvalStatus.PASS)
    if needs:
        refused = await registry.refused("transition_version", version_id=version.id, to=target)
        assert refused.code == "DEPENDENCY_NOT_MET"
        assert await registry.types() == []
        approval = await registry.approval("VERSION_PROMOTION", "AgentVersion", version.id)
    await registry.done("transition_version", version_id=version.id, to=target)
    record = (await registry.journal())[-1]
    if needs:
        assert record["afterState"]["approvalId"] == str(approval.id)
        data = await data_of(
            registry.tenant, registry.actor, "{ agentVersions { edges { node { approvals { usedAt } } } } }"
        )
        assert data["agentVersions"]["edges"][0]["node"]["approvals"][0]["usedAt"] is not None


@pytest.mark.parametrize(
    ("state", "target", "told"),
    [
        (V.CANDIDATE, V.APPROVED, ["VERSION_APPROVED"]),
        (V.CANDIDATE, V.DRAFT, ["VERSION_REJECTED"]),
        (V.TESTING, V.DRAFT, []),
        (V.APPROVED, V.DEPRECATED, []),
    ],
)
async def test_not_3_what_becomes_of_a_candidate_is_told(
    registry: Registry, state: LifecycleState, target: LifecycleState, told: list[str]
) -> None:
    """To the template's owners, as the fan-out sees to it."""
    await registry.tier(3)
    version = await registry.version(state, eval_status=EvalStatus.PASS)
    await registry.done("transition_version", version_id=version.id, to=target)
    tenant = registry.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        events = list(await session.scalars(select(models.NotificationEvent)))
    assert [(one.event_type, one.source_id) for one in events] == [(one, version.id) for one in told]


async def test_ver_1_an_approval_is_not_used_twice(registry: Registry) -> None:
    """TESTING to CANDIDATE takes it; CANDIDATE to APPROVED needs another."""
    version = await registry.version(V.TESTING, eval_status=EvalStatus.PASS)
    await registry.approval("VERSION_PROMOTION", "AgentVersion", version.id)
    await registry.done("transition_version", version_id=version.id, to=V.CANDIDATE)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.APPROVED)
    assert refused.code == "DEPENDENCY_NOT_MET"


async def test_ver_1_a_version_in_use_does_not_retire(registry: Registry) -> None:
    """No instance outside RETIRED, no deployment that wants it."""
    version = await registry.version(V.DEPRECATED)
    instance = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=registry.tenant.project.id,
        environment_id=registry.tenant.environment.id,
        state=InstanceState.PAUSED,
    )
    await registry.tenant.add(instance)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.RETIRED)
    assert "instances" in refused.message
    await registry.done("transition_instance", instance_id=instance.id, to=InstanceState.RETIRED)
    deployment = models.Deployment(
        template_id=registry.template.id,
        environment_id=registry.tenant.environment.id,
        target_version_id=version.id,
        status=DeploymentStatus.PENDING,
        created_by_operator_id=registry.operator.id,
    )
    await registry.tenant.add(deployment)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.RETIRED)
    assert "deployments" in refused.message


async def test_sm_2_a_refused_transition_changes_nothing_and_names_what_is_allowed(registry: Registry) -> None:
    """The row and the journal stay as they were."""
    version = await registry.version(V.CANDIDATE)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.RETIRED)
    assert refused.allowed == ("APPROVED", "DRAFT")
    assert await registry.types() == []


async def test_two_who_move_a_version_at_once(registry: Registry) -> None:
    """One wins, the other is told that the state is not what it was."""
    await registry.tier(3)
    version = await registry.version(V.CANDIDATE)
    outcomes = await asyncio.gather(
        *(registry.do("transition_version", version_id=version.id, to=V.APPROVED) for _ in range(2))
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["Done", "Refused"]
    assert await registry.types() == ["VERSION_TRANSITIONED"]


async def test_gen_8_a_tampered_version_is_contained(registry: Registry) -> None:
    """The failure is on record, an alert is raised, and the instances are quarantined; the approval is refused."""
    await registry.tier(3)
    version = models.AgentVersion(
        id=new_id(),
        template_id=registry.template.id,
        genome={**GENOME, "promptBundleHash": "evil"},
        genome_hash=GENOME_HASH,
        lifecycle_state=V.CANDIDATE,
    )
    instance = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=registry.tenant.project.id,
        environment_id=registry.tenant.environment.id,
        state=InstanceState.ACTIVE,
    )
    await registry.tenant.add(version, instance)
    refused = await registry.refused("transition_version", version_id=version.id, to=V.APPROVED)
    assert refused.code == "INTEGRITY_VIOLATION"
    records = await registry.journal()
    assert [record["type"] for record in records] == ["VERSION_INTEGRITY_FAILED", "INSTANCE_TRANSITIONED"]
    assert records[1]["causedBy"] == {"seq": records[0]["seq"]}
    query = """{ agentInstances { edges { node { state } } } alerts { edges { node { type severity } } }
        auditLogs { edges { node { action severity } } } }"""
    data = await data_of(registry.tenant, registry.actor, query)
    assert data["agentInstances"]["edges"][0]["node"] == {"state": "QUARANTINED"}
    assert data["alerts"]["edges"][0]["node"] == {"type": "INTEGRITY_FAILED", "severity": "CRITICAL"}
    assert {"action": "INTEGRITY_FAILED", "severity": "ERROR"} in [edge["node"] for edge in data["auditLogs"]["edges"]]


async def test_gen_8_reading_a_version_tells_whether_it_is_sound(registry: Registry) -> None:
    """Hashed anew at each reading, and nothing is written."""
    sound = await registry.version(V.APPROVED)
    forged = models.AgentVersion(
        template_id=registry.template.id, genome={**GENOME, "promptBundleHash": "evil"}, genome_hash=GENOME_HASH
    )
    await registry.tenant.add(forged)
    query = "{ agentVersions { edges { node { id integrityStatus } } } }"
    data = await data_of(registry.tenant, registry.actor, query)
    found = {edge["node"]["id"][4:]: edge["node"]["integrityStatus"] for edge in data["agentVersions"]["edges"]}
    assert found == {sound.id.hex: "VERIFIED", forged.id.hex: "TAMPERED"}
    assert await registry.journal() == []


async def test_gen_8_a_sound_version_verifies(registry: Registry) -> None:
    """VERIFIED is on record too."""
    version = await registry.version(V.APPROVED)
    await registry.done("verify_version", version_id=version.id)
    assert await registry.types() == ["VERSION_INTEGRITY_VERIFIED"]


async def test_evl_3_a_passed_run_opens_the_gate(registry: Registry) -> None:
    """DRAFT to CANDIDATE as CI does it: claim, report, promote."""
    await registry.tier(2)
    version = await build(registry)
    await suite(registry)
    await registry.done("transition_version", version_id=version.id, to=V.TESTING)
    data = await data_of(registry.tenant, registry.actor, "{ evaluationRuns { edges { node { id } } } }")
    run_id = UUID(data["evaluationRuns"]["edges"][0]["node"]["id"].partition("_")[2])
    await registry.done("claim_run", run_id=run_id)
    results = [{"test_case_id": "a", "passed": True, "score": 1.0}, {"test_case_id": "b", "passed": True}]
    run = await registry.done("finish_run", run_id=run_id, test_results=results)
    assert (run.status, run.pass_rate, run.score) == (EvaluationRunStatus.PASSED, 1.0, 1.0)
    moved = await registry.done("transition_version", version_id=version.id, to=V.CANDIDATE)
    assert moved.eval_status is EvalStatus.PASS
