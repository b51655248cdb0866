"""policyEvaluate over what is in the database: modes, levels, versions, budgets, agents (POL-2 to POL-5, BUD-3)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from app.graph.ids import global_id
from db import models
from db.enums import InstanceState, LifecycleState, OperatorMode, RunStatus, TaskStatus
from db.ids import new_id
from tests.app.governance.scene import Scene, genome, gid, make_scene
from tests.conftest import TenantUnderTest


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent at tier 1."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=1)
    return made


@pytest.mark.parametrize(("project_mode", "tenant_mode"), [("PAUSED", "NORMAL"), ("NORMAL", "PAUSED")])
async def test_emg_1_the_stricter_of_both_scopes_holds(scene: Scene, project_mode: str, tenant_mode: str) -> None:
    """EMG-1, EMG-2: the newest row of each scope."""
    now = datetime.now(UTC)
    rows = [(scene.tenant.project.id, "QUARANTINED"), (scene.tenant.project.id, project_mode), (None, tenant_mode)]
    await scene.tenant.add(
        *(models.OperatorControl(id=new_id(), project_id=p, mode=OperatorMode(m), updated_at=now) for p, m in rows)
    )
    decision = await scene.decide(toolName="read")
    assert (decision["decision"], decision["triggeredRules"]) == ("DENY", ["operator_control:PAUSED"])


async def test_emg_1_the_own_projects_mode_holds_wherever_an_agent_is_asked_about(scene: Scene) -> None:
    other = models.Project(id=new_id(), name="Other", slug="other")
    mode = models.OperatorControl(
        id=new_id(), project_id=scene.tenant.project.id, mode=OperatorMode.PAUSED, updated_at=datetime.now(UTC)
    )
    await scene.tenant.add(other, mode)
    assert (await scene.decide(scene.person, toolName="read", projectId=gid(other)))["decision"] == "DENY"
    payload = await scene.asked(toolName="read", projectId=gid(other))
    assert payload["userErrors"][0]["code"] == "NOT_FOUND", "an agent has one project"


async def test_pol_4_four_levels_and_the_instances_own(scene: Scene) -> None:
    """The instance's own envelope takes the place of the version's, while it is active."""
    tenant_id = scene.envelopes[0].id
    await scene.envelope(autonomy_tier=2, attached_to_project_id=scene.tenant.project.id)
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 2
    await scene.envelope(autonomy_tier=3, attached_to_template_id=scene.template.id)
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 3
    version = await scene.envelope(autonomy_tier=4, denied_tools=["search"], attached_to_version_id=scene.version.id)
    assert (await scene.decide(toolName="search"))["decision"] == "DENY"
    own = await scene.envelope(autonomy_tier=0)
    await scene.set(own, active=False)
    await scene.set(scene.instance, policy_envelope_id=own.id)
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 4, "an envelope that is not active does not count"
    await scene.set(own, active=True, version=2)
    decision = await scene.decide(toolName="search")
    assert (decision["autonomyTier"], decision["source"]) == (0, "VERSION")
    assert decision["decision"] == "NEEDS_APPROVAL", "the version's envelope does not count beside it"
    await scene.set(version, active=False)
    await scene.set(scene.envelopes[0], active=False)
    assert tenant_id == scene.envelopes[0].id


async def test_pol_5_the_tenants_safety_floor(scene: Scene, tenant: TenantUnderTest) -> None:
    await scene.set(scene.envelopes[0], autonomy_tier=5, version=2)
    async with tenant.database.platform() as connection:
        await connection.execute(
            text("""UPDATE tenants SET settings = '{"safetyFloor": {"maxTier": 1}}' WHERE id = :id"""),
            {"id": tenant.id},
        )
    assert (await scene.decide(toolName="write"))["autonomyTier"] == 1


async def test_pol_3_a_tenant_without_an_envelope(tenant: TenantUnderTest) -> None:
    scene = await make_scene(tenant)
    decision = await scene.decide(toolName="write")
    assert (decision["decision"], decision["autonomyTier"], decision["source"]) == ("NEEDS_APPROVAL", 1, "DEFAULT")
    assert (await scene.decide(toolName="read", estimatedCostUsd=0.26))["decision"] == "NEEDS_APPROVAL"


async def test_an_envelope_that_changed_counts_at_once(scene: Scene) -> None:
    assert (await scene.decide(toolName="write"))["decision"] == "NEEDS_APPROVAL"
    await scene.set(scene.envelopes[0], autonomy_tier=2, version=2)
    assert (await scene.decide(toolName="write"))["decision"] == "ALLOW"


async def test_pol_2_the_version(scene: Scene) -> None:
    """RETIRED, a tool that the genome does not declare, and a genome that was tampered with."""
    assert (await scene.decide(toolName="tweet"))["violations"] == ["TOOL_NOT_IN_MANIFEST"]
    await scene.set(scene.version, lifecycle_state=LifecycleState.RETIRED)
    assert (await scene.decide(toolName="read"))["triggeredRules"] == ["version_retired"]
    bad = models.AgentVersion(
        id=new_id(), template_id=scene.template.id, genome=genome(), genome_hash="0" * 64, version_number=9
    )
    agent = models.AgentInstance(
        id=new_id(),
        version_id=bad.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await scene.tenant.add(bad, agent)
    decision = await scene.decide(scene.agent_of(agent), instanceId=gid(agent), toolName="read")
    assert decision["triggeredRules"] == ["version_tampered"]


async def test_decision_39_a_legacy_genome_without_a_manifest(tenant: TenantUnderTest) -> None:
    scene = await make_scene(tenant)
    built = genome(toolManifest=[])
    from app.registry.rules import genome_hash

    for source, verdict in (("legacy-agent", "ALLOW"), ("ci", "DENY")):
        version = models.AgentVersion(
            id=new_id(),
            template_id=scene.template.id,
            genome=built,
            genome_hash=genome_hash(built),
            lifecycle_state=LifecycleState.APPROVED,
            metadata_={"source": source},
            version_number=len(source),
        )
        agent = models.AgentInstance(
            id=new_id(),
            version_id=version.id,
            environment_id=tenant.environment.id,
            project_id=tenant.project.id,
            state=InstanceState.ACTIVE,
        )
        await tenant.add(version, agent)
        decision = await scene.decide(scene.agent_of(agent), instanceId=gid(agent), toolName="search")
        assert decision["decision"] == verdict


async def test_ins_4_running_work_of_a_draining_instance_goes_on(scene: Scene) -> None:
    await scene.set(scene.instance, state=InstanceState.DRAINING)
    assert (await scene.decide(toolName="read"))["decision"] == "ALLOW"
    assert (await scene.decide(actionType="RUN_START"))["decision"] == "DENY"
    await scene.set(scene.run, status=RunStatus.COMPLETED)
    assert (await scene.decide(toolName="read"))["decision"] == "DENY"


async def test_rsk_5_an_environment_of_the_tenant_that_is_production(scene: Scene) -> None:
    decision = await scene.decide(toolName="read", toolArgs={"environment": str(scene.tenant.environment.id)})
    assert decision["riskLevel"] == "RED"
    assert "production_in_arguments" in decision["triggeredRules"]


async def test_bud_3_what_is_spent_and_when_it_starts_again(tenant: TenantUnderTest) -> None:
    """BUD-2: a reset that is due counts as done; the month's sum ends with the month."""
    now = datetime.now(UTC)
    scene = await make_scene(
        tenant, spend_today=Decimal(5), spend_month=Decimal(50), spend_reset_at=now + timedelta(hours=1)
    )
    await scene.envelope(autonomy_tier=2, cost_limits={"dailyUsd": 5, "monthlyUsd": 60})
    denied = await scene.decide(scene.person, toolName="read", dryRun=True)
    assert (denied["decision"], denied["violations"]) == ("DENY", ["BUDGET_EXCEEDED"])
    await scene.set(scene.instance, spend_reset_at=now - timedelta(hours=1))
    assert (await scene.decide(toolName="read"))["decision"] == "ALLOW"
    await scene.set(scene.instance, spend_month=Decimal(60), spend_reset_at=now + timedelta(hours=1), spend_today=0)
    assert (await scene.decide(toolName="read", dryRun=True))["decision"] == "DENY"
    await scene.set(scene.instance, spend_reset_at=now - timedelta(days=40))
    assert (await scene.decide(toolName="read"))["decision"] == "ALLOW"


async def test_bud_3_tokens_of_today(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], cost_limits={"dailyTokens": 1000}, version=2)
    await scene.set(scene.run, input_tokens=600, output_tokens=390)
    assert (await scene.decide(toolName="read", estimatedTokens=10))["decision"] == "ALLOW"
    assert (await scene.decide(toolName="read", estimatedTokens=11))["decision"] == "DENY"
    await scene.set(scene.run, started_at=datetime.now(UTC) - timedelta(days=2))
    assert (await scene.decide(toolName="read", estimatedTokens=11))["decision"] == "ALLOW"


async def test_bud_3_the_tasks_budget(scene: Scene) -> None:
    await scene.set(scene.task, budget_allocated=Decimal(4), actual_cost=Decimal(3))
    asked: dict[str, Any] = {"toolName": "read", "taskId": gid(scene.task)}
    assert (await scene.decide(**asked, estimatedCostUsd=1))["decision"] == "ALLOW"
    decision = await scene.decide(**asked, estimatedCostUsd=1.5)
    assert decision["requiredApprovals"][0]["type"] == "BUDGET_OVERRIDE"
    (approval,) = await scene.rows(models.ApprovalRecord)
    assert (approval.request_type, approval.estimated_cost) == ("BUDGET_OVERRIDE", Decimal("1.5"))


async def test_bud_4_a_used_up_budget_contains_the_instance_once_a_day(tenant: TenantUnderTest) -> None:
    """BUD-3, BUD-4: paused by BUDGET, its work on hold, an alert, a request for half as much again, and the records."""
    until = datetime.now(UTC) + timedelta(hours=3)
    scene = await make_scene(tenant, spend_today=Decimal(6), spend_reset_at=until)
    await scene.envelope(autonomy_tier=2, cost_limits={"dailyUsd": 5})
    assert (await scene.decide(toolName="read"))["decision"] == "DENY"
    (agent,) = await scene.rows(models.AgentInstance)
    assert (agent.state, agent.paused_by) == (InstanceState.PAUSED, "BUDGET")
    (task,) = await scene.rows(models.Task)
    assert task.status is TaskStatus.NEEDS_APPROVAL
    changes = await scene.rows(models.ChangeRecord)
    assert [one.type for one in changes] == [
        "POLICY_EVALUATED",
        "BUDGET_EXCEEDED",
        "INSTANCE_TRANSITIONED",
        "TASK_TRANSITIONED",
        "APPROVAL_REQUESTED",
    ]
    assert [one.caused_by_id for one in changes] == [None, changes[0].id, *[changes[1].id] * 3]
    assert changes[1].after_state == {"scope": "DAY", "limit": 5.0, "spend": 6.0}
    (approval,) = await scene.rows(models.ApprovalRecord)
    assert (approval.request_type, approval.estimated_cost, approval.risk_level) == (
        "BUDGET_OVERRIDE",
        Decimal("2.5"),
        "YELLOW",
    )
    assert (approval.requester_id, approval.requester_instance_id) == (None, None)
    (alert,) = await scene.rows(models.Alert)
    assert (alert.type, alert.severity, alert.instance_id) == ("BUDGET_EXCEEDED", "ERROR", scene.instance.id)
    await scene.set(scene.instance, state=InstanceState.ACTIVE, paused_by=None)
    assert (await scene.decide(toolName="read"))["decision"] == "DENY"
    (agent,) = await scene.rows(models.AgentInstance)
    assert agent.state is InstanceState.ACTIVE, "a person resumed it: once a day"
    assert len(await scene.rows(models.Alert)) == 1


async def test_apr_13_what_an_approval_adds_to_todays_limit(tenant: TenantUnderTest) -> None:
    from app.governance.budgets import add_budget_extra
    from app.unit_of_work import UnitOfWork

    until = datetime.now(UTC) + timedelta(hours=3)
    scene = await make_scene(tenant, spend_today=Decimal(6), spend_reset_at=until)
    await scene.envelope(autonomy_tier=2, cost_limits={"dailyUsd": 5})
    async with tenant.database.transaction(scene.person) as session:
        uow = UnitOfWork(session, scene.person, "approve:approvals")
        for _ in range(2):
            instance = await uow.lock(models.AgentInstance, scene.instance.id)
            assert instance is not None
            add_budget_extra(uow, instance, Decimal(1))
            await session.flush()
    (agent,) = await scene.rows(models.AgentInstance)
    assert agent.metadata_["budgetExtra"]["usd"] == 2.0
    assert (await scene.decide(toolName="read"))["decision"] == "ALLOW"
    later = {**agent.metadata_["budgetExtra"], "until": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
    await scene.set(scene.instance, metadata_={"budgetExtra": later})
    assert (await scene.decide(toolName="read", dryRun=True))["decision"] == "DENY"


async def test_pol_9_a_spawn_counts_the_agents_that_there_are(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], autonomy_tier=3, version=2)
    assert (await scene.decide(actionType="SPAWN"))["decision"] == "ALLOW"
    children = [
        models.AgentInstance(
            id=new_id(),
            version_id=scene.version.id,
            environment_id=scene.tenant.environment.id,
            project_id=scene.tenant.project.id,
            state=state,
            parent_instance_id=scene.instance.id,
        )
        for state in (InstanceState.ACTIVE, InstanceState.PAUSED, InstanceState.RETIRED, InstanceState.PROVISIONING)
    ]
    await scene.tenant.add(*children)
    assert (await scene.decide(actionType="SPAWN"))["triggeredRules"] == ["spawn_limit:children"]
    await scene.set(children[1], parent_instance_id=children[0].id)
    assert (await scene.decide(actionType="SPAWN"))["decision"] == "ALLOW"
    child, grandchild = children[0], children[1]
    await scene.set(grandchild, state=InstanceState.ACTIVE)
    grandchild.state = InstanceState.ACTIVE
    asked: dict[str, Any] = {"instanceId": gid(grandchild), "actionType": "SPAWN"}
    assert (await scene.decide(scene.agent_of(grandchild), **asked))["triggeredRules"] == ["spawn_limit:depth"]
    asked = {"instanceId": gid(child), "actionType": "SPAWN"}
    assert (await scene.decide(scene.agent_of(child), **asked))["decision"] == "ALLOW"


async def test_pol_9_the_childs_role(tenant: TenantUnderTest) -> None:
    from app.registry.rules import genome_hash

    scene = await make_scene(tenant)
    await scene.envelope(autonomy_tier=3)
    built = genome(spawnConstraints={"maxChildren": 2, "spawnRate": 1, "allowedSubordinateRoles": ["INTERN"]})
    version = models.AgentVersion(
        id=new_id(),
        template_id=scene.template.id,
        genome=built,
        genome_hash=genome_hash(built),
        lifecycle_state=LifecycleState.APPROVED,
        version_number=2,
    )
    agent = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        environment_id=tenant.environment.id,
        project_id=tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    roles = {role: models.AgentTemplate(id=new_id(), name=role, default_role=role) for role in ("INTERN", "LEAD")}
    await tenant.add(version, agent, *roles.values())
    asked: dict[str, Any] = {"instanceId": gid(agent), "actionType": "SPAWN"}
    actor = scene.agent_of(agent)
    assert (await scene.decide(actor, **asked, childTemplateId=gid(roles["INTERN"])))["decision"] == "ALLOW"
    assert (await scene.decide(actor, **asked, childTemplateId=gid(roles["LEAD"])))["decision"] == "DENY"
    assert (await scene.decide(actor, **asked))["triggeredRules"] == ["spawn_role_not_allowed"]
    missing = await scene.asked(actor, **asked, childTemplateId=global_id("tpl", new_id()))
    assert missing["userErrors"][0]["code"] == "NOT_FOUND"


async def test_pol_2_an_inactive_tenant(scene: Scene, tenant: TenantUnderTest) -> None:
    async with tenant.database.platform() as connection:
        await connection.execute(text("UPDATE tenants SET active = false WHERE id = :id"), {"id": tenant.id})
    assert (await scene.decide(toolName="read"))["triggeredRules"] == ["tenant_inactive"]
