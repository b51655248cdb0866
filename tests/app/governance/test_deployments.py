"""DEP-1 to DEP-6: releases, row by row, at once, and rolled back (decision 36)."""

import asyncio
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest

from app.commands import Refused
from app.governance.machines import DEPLOYMENT
from app.governance.rollout import rollout_faults, spawn_count
from app.lifecycle import allowed_from, refuse_step
from db import models
from db.enums import ActorType, DeploymentStatus, InstanceState, LifecycleState
from tests.app.governance.desk import done, refused
from tests.app.governance.releases import Releases
from tests.asking import ask

D, V, N = DeploymentStatus, LifecycleState, InstanceState
H, S = ActorType.HUMAN, ActorType.SYSTEM
ROWS = {
    (D.PENDING, D.ACTIVE): {H},
    (D.PENDING, D.RETIRED): {H},
    (D.ACTIVE, D.ROLLING_BACK): {H, S},
    (D.ACTIVE, D.RETIRED): {S},
    (D.ROLLING_BACK, D.RETIRED): {S},
    (D.ROLLING_BACK, D.ACTIVE): {H},
}


@pytest.mark.parametrize(("state", "target", "actor"), [*product(D, D, ActorType)])
def test_dep_1_the_machine(state: DeploymentStatus, target: DeploymentStatus, actor: ActorType) -> None:
    """Each step that the table has is taken by whom it names; every other is refused with what is legal (SM-2)."""
    refused = refuse_step(DEPLOYMENT, state, target, actor)
    assert (refused is None) is (actor in ROWS.get((state, target), set()))
    legal = {to.value for (at, to), who in ROWS.items() if at is state and actor in who}
    assert set(allowed_from(DEPLOYMENT, state, actor)) == legal


@pytest.mark.parametrize(
    ("policy", "replicas", "count"),
    [
        (None, 3, 3),
        ({}, 4, 4),
        ({"strategy": "ALL_AT_ONCE"}, 2, 2),
        ({"strategy": "CANARY", "canaryPercent": 10}, 5, 1),
        ({"strategy": "CANARY", "canaryPercent": 34}, 3, 2),
        ({"strategy": "CANARY", "canaryPercent": 100}, 3, 3),
        ({"strategy": "ROLLING", "batchSize": 2}, 5, 2),
        ({"strategy": "ROLLING", "batchSize": 9}, 5, 5),
    ],
)
def test_dep_5_how_many_agents_start(policy: Mapping[str, Any] | None, replicas: int, count: int) -> None:
    """A canary's share is rounded up, a batch is at most everything."""
    assert list(rollout_faults(policy, replicas)) == []
    assert spawn_count(policy, replicas) == count


@pytest.mark.parametrize(
    ("policy", "replicas", "field"),
    [
        (None, 0, "replicas"),
        ({"strategy": "ALL"}, 1, "rollout_policy"),
        ({"strategy": "CANARY"}, 1, "rollout_policy"),
        ({"strategy": "CANARY", "canaryPercent": 0}, 1, "rollout_policy"),
        ({"strategy": "CANARY", "canaryPercent": 101}, 1, "rollout_policy"),
        ({"strategy": "CANARY", "canaryPercent": True}, 1, "rollout_policy"),
        ({"strategy": "ROLLING", "batchSize": 0}, 1, "rollout_policy"),
        ({"strategy": "ROLLING", "batchSize": 1.5}, 1, "rollout_policy"),
    ],
)
def test_dep_5_what_a_rollout_must_say(policy: Mapping[str, Any] | None, replicas: int, field: str) -> None:
    """The fault names the field."""
    assert [found for found, _ in rollout_faults(policy, replicas)] == [field]


@pytest.mark.parametrize("state", V)
async def test_dep_1_only_an_approved_version_is_planned(releases: Releases, state: LifecycleState) -> None:
    """The plan is PENDING, by its planner, and recorded; a version in another state is refused."""
    version = await releases.version(state)
    given: dict[str, Any] = {
        "environment_id": releases.registry.tenant.environment.id,
        "target_version_id": version.id,
    }
    outcome = await releases.registry.do("create_deployment", **given)
    if state is not V.APPROVED:
        assert refused(outcome).code == "DEPENDENCY_NOT_MET"
        assert await releases.registry.types() == []
        return
    row: Any = done(outcome).row
    assert (row.status, row.created_by_operator_id) == (D.PENDING, releases.registry.operator.id)
    assert await releases.registry.types() == ["DEPLOYMENT_CREATED"]


async def test_dep_1_the_plan_knows_what_a_rollback_returns_to(releases: Releases) -> None:
    """The version in force; for the same version again, the one before that; where nothing is in force, none."""
    one, two = await releases.version(), await releases.version()
    first = await releases.in_force(one)
    assert first.previous_version_id is None
    second = await releases.plan(two)
    assert second.previous_version_id == one.id
    await releases.approve(second)
    done(await releases.activate(second))
    again = await releases.plan(two)
    assert again.previous_version_id == one.id


async def test_dep_1_what_was_in_force_at_the_activation_counts(releases: Releases) -> None:
    """A plan that waited while another release came into force returns to that one."""
    one, two, three = [await releases.version() for _ in range(3)]
    await releases.in_force(one)
    waiting = await releases.plan(three)
    await releases.in_force(two)
    await releases.approve(waiting)
    done(await releases.activate(waiting))
    assert (await releases.row(waiting)).previous_version_id == two.id


async def test_dep_1_guards_of_production(releases: Releases) -> None:
    """Approved by somebody, who is not its planner, and a decided request: each alone is not enough."""
    deployment = await releases.plan(await releases.version())
    own = await releases.registry.refused("approve_deployment", deployment_id=deployment.id)
    assert own.code == "DEPENDENCY_NOT_MET"
    assert "deploymentApprove" in refused(await releases.activate(deployment)).message
    done(await releases.by_other("approve_deployment", deployment_id=deployment.id))
    assert "DEPLOYMENT" in refused(await releases.activate(deployment)).message
    approval = await releases.registry.approval("DEPLOYMENT", "Deployment", deployment.id)
    assert await releases.registry.types() == ["DEPLOYMENT_CREATED"], "a refusal records nothing"
    done(await releases.activate(deployment))
    (used,) = [one for one in await releases.rows(models.ApprovalRecord) if one.id == approval.id]
    assert used.used_at is not None
    assert (await releases.row(deployment)).activated_at is not None


@pytest.mark.parametrize(("tier", "needs"), [(None, True), (2, True), (3, False)])
async def test_dep_1_outside_of_production(releases: Releases, tier: int | None, needs: bool) -> None:
    """The planner may approve; a trusted version (tier 3) needs no decided request there."""
    if tier is not None:
        await releases.registry.tier(tier)
    deployment = await releases.plan(await releases.version(), environment_id=releases.staging.id)
    await releases.registry.done("approve_deployment", deployment_id=deployment.id)
    outcome = await releases.activate(deployment)
    assert isinstance(outcome, Refused) is needs


async def test_dep_1_tier_3_does_not_help_in_production(releases: Releases) -> None:
    """Production asks for a decided request whatever the tier."""
    await releases.registry.tier(5)
    deployment = await releases.plan(await releases.version())
    done(await releases.by_other("approve_deployment", deployment_id=deployment.id))
    assert refused(await releases.activate(deployment)).code == "DEPENDENCY_NOT_MET"


async def test_dep_1_a_version_that_fell_back_meanwhile(releases: Releases) -> None:
    """Approved when it was planned is not enough."""
    version = await releases.version()
    deployment = await releases.plan(version)
    await releases.approve(deployment)
    await releases.put_version(version, V.DEPRECATED)
    assert refused(await releases.activate(deployment)).code == "DEPENDENCY_NOT_MET"


@pytest.mark.parametrize("status", D)
@pytest.mark.parametrize("name", ["activate_deployment", "roll_back_deployment", "cancel_deployment"])
async def test_dep_1_each_command_in_each_state(releases: Releases, status: DeploymentStatus, name: str) -> None:
    """Where the table has no step for a person, the state stays and the refusal names what is legal."""
    target = {"activate": D.ACTIVE, "roll": D.ROLLING_BACK, "cancel": D.RETIRED}[name.split("_")[0]]
    before, version = await releases.version(), await releases.version()
    deployment = await releases.plan(version)
    await releases.approve(deployment)
    await releases.put(deployment, status=status, previous_version_id=before.id)
    records = len(await releases.registry.types())
    reason: dict[str, Any] = {} if name == "activate_deployment" else {"reason": "bad"}
    outcome = await releases.registry.do(name, deployment_id=deployment.id, **reason)
    if H in ROWS.get((status, target), set()):
        done(outcome)
        return
    found = refused(outcome)
    assert found.code == "INVALID_STATE_TRANSITION"
    assert set(found.allowed or ()) == {to.value for (at, to), who in ROWS.items() if at is status and H in who}
    assert (await releases.row(deployment)).status is status
    assert len(await releases.registry.types()) == records


@pytest.mark.parametrize("status", [D.ACTIVE, D.ROLLING_BACK, D.RETIRED])
async def test_dep_1_only_a_planned_release_is_approved(releases: Releases, status: DeploymentStatus) -> None:
    """Nobody approves what is in force or over."""
    deployment = await releases.plan(await releases.version())
    await releases.put(deployment, status=status)
    assert refused(await releases.by_other("approve_deployment", deployment_id=deployment.id)).code == (
        "INVALID_STATE_TRANSITION"
    )


async def test_dep_1_an_abandoned_rollback_is_no_new_release(releases: Releases) -> None:
    """ROLLING_BACK to ACTIVE: no agents start; once another release is in force it is too late."""
    version = await releases.version()
    deployment = await releases.in_force(version, project_id=releases.registry.tenant.project.id, replicas=2)
    await releases.put(deployment, status=D.ROLLING_BACK)
    assert done(await releases.activate(deployment)).extras["spawned_instances"] == 0
    record = (await releases.registry.journal())[-1]
    assert record["beforeState"] == {"status": "ROLLING_BACK"}
    await releases.put(deployment, status=D.ROLLING_BACK)
    await releases.in_force(await releases.version())
    assert refused(await releases.activate(deployment)).code == "DEPENDENCY_NOT_MET"


async def test_dep_2_activation_retires_the_former_release_of_the_same_place_alone(releases: Releases) -> None:
    """C15: same template and environment; the record names what it supersedes, and DEP-6 tells the watchers."""
    first = await releases.in_force(await releases.version())
    elsewhere = await releases.plan(await releases.version(), environment_id=releases.staging.id)
    await releases.approve(elsewhere)
    done(await releases.activate(elsewhere))
    second = await releases.in_force(await releases.version())
    found = [(await releases.row(one)).status for one in (first, elsewhere, second)]
    assert found == [D.RETIRED, D.ACTIVE, D.ACTIVE]
    assert (await releases.row(first)).retired_at is not None
    record = (await releases.registry.journal())[-1]
    assert record["type"] == "DEPLOYMENT_ACTIVATED"
    assert record["afterState"]["supersedes"] == str(first.id)
    told = [one.event_type for one in await releases.rows(models.NotificationEvent)]
    assert told == ["DEPLOYMENT_ACTIVATED"] * 3


async def test_dep_2_two_activations_at_once(releases: Releases) -> None:
    """One after the other: exactly one is in force, and the other one has been retired by it."""
    planned = [await releases.plan(await releases.version()) for _ in range(4)]
    for deployment in planned:
        await releases.approve(deployment)
    for outcome in await asyncio.gather(*(releases.activate(one) for one in planned)):
        done(outcome)
    states = sorted(one.status.value for one in await releases.rows(models.Deployment))
    assert states == ["ACTIVE", "RETIRED", "RETIRED", "RETIRED"]
    same = await releases.plan(await releases.version())
    await releases.approve(same)
    outcomes = await asyncio.gather(releases.activate(same), releases.activate(same))
    (lost,) = [one for one in outcomes if isinstance(one, Refused)]
    assert lost.code == "INVALID_STATE_TRANSITION"


async def test_dep_5_activation_starts_the_agents(releases: Releases) -> None:
    """As many as the rollout says, bound to the release, each with its record hanging on the activation's."""
    rollout = {"strategy": "CANARY", "canaryPercent": 50}
    deployment = await releases.plan(
        await releases.version(),
        project_id=releases.registry.tenant.project.id,
        replicas=3,
        rollout_policy=rollout,
    )
    await releases.approve(deployment)
    assert done(await releases.activate(deployment)).extras["spawned_instances"] == 2
    agents = await releases.rows(models.AgentInstance)
    assert [(one.state, one.deployment_id) for one in agents] == [(N.PROVISIONING, deployment.id)] * 2
    journal = await releases.registry.journal()
    assert [one["type"] for one in journal[-3:]] == ["DEPLOYMENT_ACTIVATED", "INSTANCE_CREATED", "INSTANCE_CREATED"]
    assert {one["causedBy"]["seq"] for one in journal[-2:]} == {journal[-3]["seq"]}


@pytest.mark.parametrize("state", [V.APPROVED, V.DEPRECATED])
async def test_dep_3_the_story_of_a_rollback(releases: Releases, state: LifecycleState) -> None:
    """Decision 36: a new release of the version before is in force at once; old agents drain or retire, each drained
    one has a successor; a quarantined one stays; and agents of other versions are nobody's business."""
    good, bad = await releases.version(), await releases.version()
    await releases.in_force(good)
    broken = await releases.in_force(bad)
    await releases.put_version(good, state)
    bystander = await releases.agent(good, N.ACTIVE)
    old = {one: await releases.agent(bad, one) for one in N}
    records = len(await releases.registry.journal())
    outcome = done(await releases.registry.do("roll_back_deployment", deployment_id=broken.id, reason="it lies"))
    back: Any = outcome.row
    assert outcome.extras["drained_instances"] == 1
    assert (back.status, back.target_version_id, back.previous_version_id) == (D.ACTIVE, good.id, bad.id)
    assert back.metadata_["rollbackOf"] == str(broken.id)
    assert back.approved_by_operator_id == releases.registry.operator.id
    assert (await releases.row(broken)).status is D.RETIRED
    agents = {one.id: one for one in await releases.rows(models.AgentInstance)}
    after = {N.ACTIVE: N.DRAINING, N.PROVISIONING: N.RETIRED, N.PAUSED: N.RETIRED, N.READONLY: N.RETIRED}
    assert {one: agents[agent.id].state for one, agent in old.items()} == {one: after.get(one, one) for one in N}
    assert agents[bystander.id].state is N.ACTIVE
    (successor,) = [one for one in agents.values() if one.deployment_id == back.id]
    assert (successor.version_id, successor.state, successor.name) == (good.id, N.PROVISIONING, "ACTIVE")
    new = (await releases.registry.journal())[records:]
    assert [one["type"] for one in new[:2]] == ["DEPLOYMENT_ROLLED_BACK", "DEPLOYMENT_CREATED"]
    assert sorted(one["type"] for one in new[2:]) == ["INSTANCE_CREATED"] + ["INSTANCE_TRANSITIONED"] * 4
    assert {one["causedBy"]["seq"] for one in new[1:]} == {new[0]["seq"]}
    assert new[0]["reason"] == "it lies"
    started = await releases.registry.do("transition_instance", instance_id=successor.id, to=N.ACTIVE)
    done(started)
    told = [one.event_type for one in await releases.rows(models.NotificationEvent)]
    assert told[-1] == "DEPLOYMENT_ROLLED_BACK"
    assert [one.lifecycle_state for one in await releases.rows(models.AgentVersion)] == [state, V.APPROVED]


@pytest.mark.parametrize("state", [V.DRAFT, V.TESTING, V.CANDIDATE, V.RETIRED])
async def test_dep_1_a_version_that_cannot_run_again(releases: Releases, state: LifecycleState) -> None:
    """There is no way back to it; the release in force stays in force."""
    good, bad = await releases.version(), await releases.version()
    await releases.in_force(good)
    broken = await releases.in_force(bad)
    await releases.put_version(good, state)
    found = await releases.registry.refused("roll_back_deployment", deployment_id=broken.id, reason="r")
    assert found.code == "DEPENDENCY_NOT_MET"
    assert (await releases.row(broken)).status is D.ACTIVE


async def test_dep_4_a_rollback_needs_a_reason_and_a_version_before(releases: Releases) -> None:
    """But no approval, not even in production."""
    only = await releases.in_force(await releases.version())
    found = await releases.registry.refused("roll_back_deployment", deployment_id=only.id, reason=" ")
    assert (found.code, found.field) == ("VALIDATION_ERROR", "reason")
    found = await releases.registry.refused("roll_back_deployment", deployment_id=only.id, reason="r")
    assert found.code == "DEPENDENCY_NOT_MET"


async def test_dep_3_the_bad_version_is_deprecated_where_asked(releases: Releases) -> None:
    """`deprecateRolledBack`, off by default."""
    await releases.in_force(await releases.version())
    bad = await releases.version()
    broken = await releases.in_force(bad)
    await releases.registry.done(
        "roll_back_deployment", deployment_id=broken.id, reason="r", deprecate_rolled_back=True
    )
    states = {one.id: one.lifecycle_state for one in await releases.rows(models.AgentVersion)}
    assert states[bad.id] is V.DEPRECATED
    assert (await releases.registry.types())[-1] == "VERSION_TRANSITIONED"


async def test_dep_3_two_rollbacks_at_once(releases: Releases) -> None:
    """One wins; the other is told that it is over."""
    await releases.in_force(await releases.version())
    broken = await releases.in_force(await releases.version())
    outcomes = await asyncio.gather(
        *(releases.registry.do("roll_back_deployment", deployment_id=broken.id, reason="r") for _ in range(3))
    )
    lost = [one for one in outcomes if isinstance(one, Refused)]
    assert [one.code for one in lost] == ["INVALID_STATE_TRANSITION"] * 2
    assert [one.status for one in await releases.rows(models.Deployment)].count(D.ACTIVE) == 1


async def test_dep_1_over_the_api(releases: Releases) -> None:
    """The five mutations carry the release and its record; canceling is in the security journal."""
    tenant, actor = releases.registry.tenant, releases.registry.actor
    version = await releases.version()
    create = """mutation($input: DeploymentCreateInput!) { deploymentCreate(input: $input) {
        deployment { id status createdBy { name } } changeRecord { type } userErrors { code message } } }"""
    given = {"targetVersionId": f"ver_{version.id.hex}", "environmentId": f"env_{tenant.environment.id.hex}"}
    made = (await ask(tenant.database, actor, create, input=given)).data["deploymentCreate"]
    assert made["changeRecord"] == {"type": "DEPLOYMENT_CREATED"}
    assert made["deployment"]["createdBy"] == {"name": "Ada"}
    on = {"deploymentId": made["deployment"]["id"]}
    for name, more in (("deploymentActivate", {}), ("deploymentRollBack", {"reason": "r"})):
        mutation = f"""mutation($input: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $input) {{
            deployment {{ id }} changeRecord {{ type }} userErrors {{ code allowedTransitions }} }} }}"""
        answer = (await ask(tenant.database, actor, mutation, input={**on, **more})).data[name]
        assert answer["deployment"] is None
        assert len(answer["userErrors"]) == 1
    approve = """mutation($input: DeploymentApproveInput!) { deploymentApprove(input: $input) {
        deployment { approvedBy { name } } userErrors { code } } }"""
    other = tenant.actor(operator_id=releases.other.id)
    approved = (await ask(tenant.database, other, approve, input=on)).data["deploymentApprove"]
    assert approved["deployment"] == {"approvedBy": {"name": "Bob"}}
    cancel = """mutation($input: DeploymentCancelInput!) { deploymentCancel(input: $input) {
        deployment { status } userErrors { code } } }"""
    gone = (await ask(tenant.database, actor, cancel, input=on)).data["deploymentCancel"]
    assert gone["deployment"] == {"status": "RETIRED"}
    assert "DEPLOYMENT_CANCELED" in [one.action for one in await releases.rows(models.AuditLog)]
