"""Agents that agents start: the child is its parent's, and the limits count it (POL-9)."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.governance.rules import ApprovalChoice
from app.registry.rules import genome_hash
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import ChangeRecordType, InstanceState, LifecycleState, OperatorMode, TaskStatus, TaskType
from db.ids import new_id
from tests.app.governance.scene import Scene, genome, make_scene
from tests.conftest import TenantUnderTest


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent of tier 2, in a project with room."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=2)
    await made.set(tenant.project, swarm_config={"maxAgents": 100})
    return made


async def spawn(scene: Scene, actor: Actor | None = None, **given: Any) -> Any:
    """Ask for a child of the scene's agent, as that agent if nobody is named."""
    values = {"parent_instance_id": scene.instance.id, "version_id": scene.version.id, **given}
    return await run(scene.tenant.database, actor or scene.agent, "spawn_instance", values)


def rules(outcome: Any) -> list[str]:
    """The rules that fired in the verdict that stands in the child's place."""
    assert isinstance(outcome, Done), outcome
    assert outcome.row is None
    found: list[str] = outcome.extras["policy_decision"]["triggeredRules"]
    return found


async def test_pol_9_a_child_is_its_parents_and_runs_at_once(scene: Scene) -> None:
    await scene.set(scene.instance, cost_caps={"dailyUsd": 2})
    outcome = await spawn(scene, name="Kid", task_id=scene.task.id)
    (child,) = await scene.rows(models.AgentInstance, id=outcome.row.id)
    assert (child.parent_instance_id, child.state, child.name) == (scene.instance.id, InstanceState.ACTIVE, "Kid")
    assert (child.project_id, child.environment_id) == (scene.tenant.project.id, scene.tenant.environment.id)
    assert (child.cost_caps, child.metadata_) == ({"dailyUsd": 2}, {"parentTaskId": str(scene.task.id)})
    assert child.activated_at is not None
    made, moved = await scene.rows(models.ChangeRecord, instance_id=child.id)
    assert (made.type, made.actor_id) == (ChangeRecordType.INSTANCE_CREATED, scene.instance.id)
    assert made.after_state["parentInstanceId"] == str(scene.instance.id)
    assert (moved.type, moved.caused_by_id) == (ChangeRecordType.INSTANCE_TRANSITIONED, made.id)


async def test_pol_9_what_a_child_costs_counts_on_the_task_that_it_was_started_for(scene: Scene) -> None:
    database = scene.tenant.database
    child = (await spawn(scene, task_id=scene.task.id)).row
    given: dict[str, Any] = {"instance_id": child.id, "model": "m", "session_key": "s"}
    begun = await run(database, scene.agent_of(child), "start_run", given)
    assert isinstance(begun, Done)
    (row,) = await scene.rows(models.Run, instance_id=child.id)
    assert row.task_id == scene.task.id
    ended = await run(database, scene.agent_of(child), "complete_run", {"run_id": row.id, "cost_usd": 0.25})
    assert isinstance(ended, Done)
    assert [one.actual_cost for one in await scene.rows(models.Task)] == [Decimal("0.25")]


@pytest.mark.parametrize("notes", [None, {"parentTaskId": "no id"}, {"parentTaskId": 5}])
async def test_pol_9_a_run_of_an_agent_that_was_started_for_no_task_has_none(scene: Scene, notes: Any) -> None:
    child = (await spawn(scene)).row
    await scene.set(child, metadata_=notes)
    given: dict[str, Any] = {"instance_id": child.id, "model": "m", "session_key": "s"}
    assert isinstance(await run(scene.tenant.database, scene.agent_of(child), "start_run", given), Done)
    (row,) = await scene.rows(models.Run, instance_id=child.id)
    assert row.task_id is None


async def test_pol_9_a_parent_has_three_children_however_fast_it_asks(scene: Scene) -> None:
    outcomes = await asyncio.gather(*(spawn(scene) for _ in range(8)))
    assert sum(one.row is not None for one in outcomes) == 3
    assert Counter(rule for one in outcomes if one.row is None for rule in rules(one)) == {"spawn_limit:children": 5}
    assert len(await scene.rows(models.AgentInstance, parent_instance_id=scene.instance.id)) == 3


async def test_pol_9_a_child_that_retired_makes_room(scene: Scene) -> None:
    children = [(await spawn(scene)).row for _ in range(3)]
    await scene.set(children[0], state=InstanceState.RETIRED)
    assert (await spawn(scene)).row is not None
    assert rules(await spawn(scene)) == ["spawn_limit:children"]


async def test_pol_9_agents_are_two_levels_deep(scene: Scene) -> None:
    child = (await spawn(scene)).row
    grandchild = (await spawn(scene, scene.agent_of(child), parent_instance_id=child.id)).row
    last = await spawn(scene, scene.agent_of(grandchild), parent_instance_id=grandchild.id)
    assert rules(last) == ["spawn_limit:depth"]


async def test_pol_9_the_limit_of_the_tenant_holds_between_parents_that_ask_at_once(scene: Scene) -> None:
    await scene.envelope(attached_to_project_id=scene.tenant.project.id, spawn_limits={"maxGlobalActive": 6})
    others = [
        models.AgentInstance(
            id=new_id(),
            version_id=scene.version.id,
            environment_id=scene.tenant.environment.id,
            project_id=scene.tenant.project.id,
            state=InstanceState.ACTIVE,
        )
        for _ in range(2)
    ]
    await scene.tenant.add(*others)
    parents = [scene.instance, *others] * 2
    asked = (spawn(scene, scene.agent_of(one), parent_instance_id=one.id) for one in parents)
    outcomes = await asyncio.gather(*asked)
    assert sum(one.row is not None for one in outcomes) == 3
    assert len(await scene.rows(models.AgentInstance, state=InstanceState.ACTIVE)) == 6


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        ({"spawn_limits": {"canSpawn": False}}, "spawn_not_allowed"),
        ({"spawn_limits": {"maxSubAgents": 0}}, "spawn_limit:children"),
        ({"autonomy_tier": 1}, "spawn_not_allowed"),
    ],
)
async def test_pol_9_what_policy_denies_starts_nobody(scene: Scene, policy: dict[str, Any], rule: str) -> None:
    await scene.envelope(attached_to_version_id=scene.version.id, **policy)
    assert rules(await spawn(scene)) == [rule]
    assert len(await scene.rows(models.AgentInstance)) == 1
    (record,) = await scene.rows(models.ChangeRecord)
    assert record.type is ChangeRecordType.POLICY_EVALUATED


async def test_pol_9_only_children_of_the_roles_that_the_genome_names(scene: Scene, tenant: TenantUnderTest) -> None:
    built = genome(spawnConstraints={"maxChildren": 2, "spawnRate": 1, "allowedSubordinateRoles": ["INTERN"]})
    intern = models.AgentTemplate(id=new_id(), name="Intern", default_role="INTERN")

    def version(template_id: UUID, made: dict[str, Any]) -> models.AgentVersion:
        return models.AgentVersion(
            id=new_id(),
            template_id=template_id,
            genome=made,
            genome_hash=genome_hash(made),
            lifecycle_state=LifecycleState.APPROVED,
        )

    strict, junior = version(scene.template.id, built), version(intern.id, genome())
    await tenant.add(intern, strict, junior)
    parent = models.AgentInstance(
        id=new_id(),
        version_id=strict.id,
        environment_id=tenant.environment.id,
        project_id=tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await tenant.add(parent)
    asked: dict[str, Any] = {"actor": scene.agent_of(parent), "parent_instance_id": parent.id}
    unnamed = await spawn(scene, **asked)
    assert (unnamed.code, unnamed.field) == (Refusal.NOT_FOUND, "version_id")
    assert (await spawn(scene, **asked, version_id=junior.id)).row is not None
    await scene.set(intern, default_role="LEAD")
    assert rules(await spawn(scene, **asked, version_id=junior.id)) == ["spawn_role_not_allowed"]


async def test_pol_9_no_faster_than_the_genome_says_however_soon_children_retire(
    scene: Scene, tenant: TenantUnderTest
) -> None:
    built = genome(spawnConstraints={"maxChildren": 3, "spawnRate": 2})
    version = models.AgentVersion(
        id=new_id(),
        template_id=scene.template.id,
        genome=built,
        genome_hash=genome_hash(built),
        lifecycle_state=LifecycleState.APPROVED,
    )
    await tenant.add(version)
    await scene.set(scene.instance, version_id=version.id)
    outcomes = await asyncio.gather(*(spawn(scene) for _ in range(4)))
    children = [one.row for one in outcomes if one.row is not None]
    assert len(children) == 2
    assert {rule for one in outcomes if one.row is None for rule in rules(one)} == {"spawn_limit:rate"}
    for child in children:
        await scene.set(child, state=InstanceState.RETIRED)
    outcome = await spawn(scene)
    assert rules(outcome) == ["spawn_limit:rate"]
    decision = outcome.extras["policy_decision"]
    assert "2 an hour" in decision["reason"]
    assert decision["remediationHints"][0].startswith("Wait ")
    await scene.set(children[0], created_at=children[0].created_at - timedelta(minutes=61))
    assert (await spawn(scene)).row is not None


async def test_pol_12_a_spawn_that_was_approved_happens_once(scene: Scene) -> None:
    await scene.envelope(attached_to_project_id=scene.tenant.project.id, approval_triggers=["spawn"])
    waiting = await spawn(scene, justification="Two hands are too few.")
    assert waiting.row is None
    (asked,) = await scene.rows(models.ApprovalRecord)
    assert (asked.request_type, asked.justification) == ("SPAWN", "Two hands are too few.")
    decision = {"approval_id": asked.id, "decision": ApprovalChoice.APPROVE}
    assert isinstance(await run(scene.tenant.database, scene.person, "decide_approval", decision), Done)
    child = (await spawn(scene)).row
    assert child.parent_instance_id == scene.instance.id
    assert (await spawn(scene)).row is None


async def test_ins_5_a_child_is_made_by_the_rules_of_any_agent(scene: Scene, tenant: TenantUnderTest) -> None:
    await scene.set(scene.version, lifecycle_state=LifecycleState.DRAFT)
    refused = await spawn(scene)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "version_id")
    await scene.set(scene.version, lifecycle_state=LifecycleState.APPROVED)
    await scene.set(tenant.project, swarm_config={"maxAgents": 1})
    refused = await spawn(scene)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "parent_instance_id")


async def test_emg_2_nobody_spawns_in_an_emergency(scene: Scene) -> None:
    await scene.tenant.add(
        models.OperatorControl(mode=OperatorMode.DRAINING, reason="test", updated_at=datetime.now(UTC))
    )
    assert rules(await spawn(scene)) == ["operator_control:DRAINING"]


async def test_rbac_11_an_agent_spawns_below_itself_and_for_its_own_project(
    scene: Scene, other_tenant: TenantUnderTest
) -> None:
    peer = models.AgentInstance(
        id=new_id(),
        version_id=scene.version.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    far = models.Project(id=new_id(), name="Far", slug="far")
    others = models.Task(id=new_id(), project_id=far.id, title="Far", type=TaskType.DOCS, status=TaskStatus.INBOX)
    await scene.tenant.add(peer, far, others)
    theirs = await make_scene(other_tenant)
    with pytest.raises(PermissionDenied):
        await spawn(scene, parent_instance_id=peer.id)
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"parent_instance_id": theirs.instance.id}, "parent_instance_id"),
        ({"version_id": theirs.version.id}, "version_id"),
        ({"task_id": theirs.task.id}, "task_id"),
        ({"task_id": others.id}, "task_id"),
    )
    for given, field in cases:
        refused = await spawn(scene, **given)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.field) == (Refusal.NOT_FOUND, field)
    await scene.set(scene.task, status=TaskStatus.DONE)
    over = await spawn(scene, task_id=scene.task.id)
    assert (over.code, over.field) == (Refusal.DEPENDENCY_NOT_MET, "task_id")
    assert len(await scene.rows(models.AgentInstance)) == 2
