"""The policy in force as a field (decision 21), and the simulator (POL-13)."""

from typing import Any

import pytest

from app.auth.scope import Grants, Scope
from app.graph.ids import global_id
from db import models
from db.enums import InstanceState, OperatorMode
from db.ids import new_id
from tests.app.governance.scene import Scene, gid, make_scene
from tests.asking import ask, data_of, recorded
from tests.conftest import TenantUnderTest

POLICY = """
query($id: ID!) { agentInstance(id: $id) { effectivePolicy {
  autonomyTier allowedTools deniedTools allowedTaskTypes costLimits { dailyUsd perRunUsd }
  sources { field level envelopes { id } }
} } }
"""
POLICIES = "{ agentInstances { edges { node { id effectivePolicy { autonomyTier deniedTools } } } } }"
SIMULATE = """
query($tools: [String!]!, $instance: ID, $version: ID, $project: ID) {
  policySimulate(tools: $tools, instanceId: $instance, versionId: $version, projectId: $project) {
    toolName decision riskLevel autonomyTier reason source approvalRecord { id } opEvent { id }
  }
}
"""


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent under policies of all four levels."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=1, denied_tools=["tweet"], cost_limits={"dailyUsd": 5, "perRunUsd": 1})
    await made.envelope(denied_tools=["payment"], attached_to_project_id=tenant.project.id)
    await made.envelope(autonomy_tier=2, attached_to_template_id=made.template.id)
    await made.envelope(
        allowed_tools=["read", "write"], cost_limits={"perRunUsd": 3}, attached_to_version_id=made.version.id
    )
    return made


async def test_decision_21_the_policy_in_force_with_the_level_of_each_field(scene: Scene) -> None:
    data = await data_of(scene.tenant, scene.person, POLICY, id=gid(scene.instance))
    policy = data["agentInstance"]["effectivePolicy"]
    sources = {one["field"]: (one["level"], len(one["envelopes"])) for one in policy.pop("sources")}
    assert policy == {
        "autonomyTier": 2,
        "allowedTools": ["read", "write"],
        "deniedTools": ["payment", "tweet"],
        "allowedTaskTypes": None,
        "costLimits": {"dailyUsd": 5.0, "perRunUsd": 3.0},
    }
    assert sources == {
        "autonomyTier": ("TEMPLATE", 1),
        "allowedTools": ("VERSION", 1),
        "deniedTools": ("PROJECT", 2),
        "costLimits": ("VERSION", 2),
    }


async def test_decision_21_it_is_one_statement_for_all_instances(scene: Scene) -> None:
    """And each instance has its own: the second one's envelope takes the place of the version's."""
    own = await scene.envelope(autonomy_tier=0, attached_to_template_id=scene.template.id, priority=1)
    others = [
        models.AgentInstance(
            id=new_id(),
            version_id=scene.version.id,
            environment_id=scene.tenant.environment.id,
            project_id=scene.tenant.project.id,
            state=InstanceState.ACTIVE,
            policy_envelope_id=key,
        )
        for key in (own.id, None, None)
    ]
    await scene.tenant.add(*others)
    with recorded(scene.tenant.database.read_engine) as statements:
        data = await data_of(scene.tenant, scene.person, POLICIES)
    assert len(statements) == 2
    tiers = {
        edge["node"]["id"]: edge["node"]["effectivePolicy"]["autonomyTier"] for edge in data["agentInstances"]["edges"]
    }
    assert tiers == {gid(scene.instance): 2, gid(others[0]): 0, gid(others[1]): 2, gid(others[2]): 2}


async def test_decision_31_an_agent_sees_the_policy_that_binds_itself(scene: Scene) -> None:
    other = models.AgentInstance(
        id=new_id(),
        version_id=scene.version.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await scene.tenant.add(other)
    mine = await data_of(scene.tenant, scene.agent, POLICY, id=gid(scene.instance))
    assert mine["agentInstance"]["effectivePolicy"]["autonomyTier"] == 2
    assert (await ask(scene.tenant.database, scene.agent, POLICY, id=gid(other))).code == "FORBIDDEN"
    blind = scene.tenant.actor("read:instances")
    query = "query($id: ID!) { agentInstance(id: $id) { effectivePolicy { autonomyTier } } }"
    assert (await ask(scene.tenant.database, blind, query, id=gid(scene.instance))).code == "FORBIDDEN"


async def simulate(scene: Scene, actor: Any = None, **given: Any) -> Any:
    """What policySimulate says."""
    return (await data_of(scene.tenant, actor or scene.person, SIMULATE, **given))["policySimulate"]


TOOLS = ["read", "write", "payment", "search", "Write"]


async def test_pol_13_a_matrix_of_decisions_and_nothing_written(scene: Scene) -> None:
    with recorded(scene.tenant.database.read_engine) as statements:
        found = await simulate(scene, tools=TOOLS, instance=gid(scene.instance))
    assert len(statements) == 1
    assert [(one["toolName"], one["decision"], one["source"]) for one in found] == [
        ("read", "ALLOW", "TEMPLATE"),
        ("write", "ALLOW", "TEMPLATE"),
        ("payment", "DENY", "PROJECT"),
        ("search", "DENY", "VERSION"),
        ("Write", "ALLOW", "TEMPLATE"),
    ]
    assert all(one["opEvent"] is None and one["approvalRecord"] is None for one in found)
    assert await scene.rows(models.ChangeRecord) == []
    assert await scene.rows(models.OpEvent) == []


async def test_pol_13_the_instance_is_taken_as_it_is_and_a_version_as_if_it_ran(scene: Scene) -> None:
    await scene.set(scene.instance, state=InstanceState.PAUSED)
    assert {one["decision"] for one in await simulate(scene, tools=TOOLS, instance=gid(scene.instance))} == {"DENY"}
    found = await simulate(scene, tools=["read", "payment"], version=gid(scene.version))
    assert [one["decision"] for one in found] == ["ALLOW", "DENY"]
    here = {"version": gid(scene.version), "project": gid(scene.tenant.project)}
    assert [one["source"] for one in await simulate(scene, tools=["payment"], **here)] == ["PROJECT"]
    control = models.OperatorControl(
        id=new_id(), mode=OperatorMode.PAUSED, updated_at=scene.run.started_at, project_id=scene.tenant.project.id
    )
    await scene.tenant.add(control)
    assert [one["decision"] for one in await simulate(scene, tools=["read"], version=gid(scene.version))] == ["ALLOW"]
    assert [one["decision"] for one in await simulate(scene, tools=["read"], **here)] == ["DENY"]


async def test_pol_13_what_is_not_there_is_null(scene: Scene, other_tenant: TenantUnderTest) -> None:
    foreign = await make_scene(other_tenant)
    assert await simulate(scene, tools=["read"], instance=gid(foreign.instance)) is None
    assert await simulate(scene, tools=["read"], version=gid(foreign.version)) is None
    assert await simulate(scene, tools=["read"], version=gid(scene.version), project=global_id("prj", new_id())) is None


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"tools": ["read"]}, "instanceId"),
        ({"tools": ["read"], "instance": "both", "version": "both"}, "instanceId"),
        ({"tools": [], "instance": "mine"}, "tools"),
        ({"tools": ["read"] * 101, "instance": "mine"}, "tools"),
        ({"tools": ["read", " "], "instance": "mine"}, "tools[1]"),
        ({"tools": ["x" * 201], "instance": "mine"}, "tools[0]"),
        ({"tools": ["read"], "instance": "version"}, "instanceId"),
    ],
)
async def test_pol_13_bad_questions_name_the_argument(scene: Scene, given: dict[str, Any], argument: str) -> None:
    ids = {"mine": gid(scene.instance), "version": gid(scene.version)}
    keys = {"instance": gid(scene.instance), "version": gid(scene.version)}
    values = {
        name: keys[name] if value == "both" else ids.get(value, value) if isinstance(value, str) else value
        for name, value in given.items()
    }
    answer = await ask(scene.tenant.database, scene.person, SIMULATE, **values)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["argument"] == argument


async def test_pol_13_who_may_simulate(scene: Scene) -> None:
    """Who may evaluate, there where they may; an agent for itself alone."""
    asked = {"tools": ["read"], "instance": gid(scene.instance)}
    query = (
        "query($tools: [String!]!, $instance: ID) { policySimulate(tools: $tools, instanceId: $instance) { decision } }"
    )
    database = scene.tenant.database
    elsewhere = Grants({"evaluate:policies": Scope(projects=frozenset({new_id()}))})
    for actor in (scene.tenant.actor("read:policies"), scene.tenant.actor(grants=elsewhere)):
        assert (await ask(database, actor, query, **asked)).code == "FORBIDDEN"
    assert (await ask(database, scene.agent, query, **asked)).data == {"policySimulate": [{"decision": "ALLOW"}]}
    other = models.AgentInstance(
        id=new_id(),
        version_id=scene.version.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await scene.tenant.add(other)
    assert (await ask(database, scene.agent, query, tools=["read"], instance=gid(other))).code == "FORBIDDEN"
