"""The old shape of an agent, and the root field that gives it (MIG-10)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from app.auth.actor import Actor
from app.auth.permissions import READ_PERMISSION
from app.auth.scope import Grants, Scope
from app.legacy.compat import STATUS_OF_STATE, Allowance, former_id
from app.legacy.types import LegacyAgentStatus
from db import models
from db.enums import InstanceState, LifecycleState, TaskType
from db.ids import new_id
from tests.asking import Answer, ask
from tests.conftest import TenantUnderTest

LEGACY_ID = "00000000000000000000010045agents"
AGENT = """
query ($id: String!) {
  agentByLegacyId(legacyAgentId: $id) {
    id name emoji role status workspacePath allowedTaskTypes allowedTools budgetDaily budgetPerRun spendToday
    canSpawn maxSubAgents parentAgentId currentTaskId lastHeartbeatAt
    instance { id } version { id versionLabel } template { id name } policyEnvelope { id name }
  }
}
"""
OWN = "query ($id: String!) { agentByLegacyId(legacyAgentId: $id) { id status spendToday instance { name } } }"


@dataclass
class Imported:
    """An agent as the import leaves it."""

    tenant: TenantUnderTest
    template: models.AgentTemplate
    version: models.AgentVersion
    envelope: models.PolicyEnvelope
    parent: models.AgentInstance
    instance: models.AgentInstance
    task: models.Task

    async def ask(self, query: str = AGENT, actor: Actor | None = None, legacy_id: str = LEGACY_ID) -> Answer:
        return await ask(self.tenant.database, actor or self.tenant.actor(), query, id=legacy_id)


@pytest.fixture
async def agent(tenant: TenantUnderTest) -> Imported:
    """An agent with a parent, a task, a version and an envelope that is attached to that version."""
    template = models.AgentTemplate(id=new_id(), name="MC Atlas", emoji="🧭", default_role="CEO")
    version = models.AgentVersion(
        id=new_id(),
        template_id=template.id,
        genome={},
        genome_hash="0" * 64,
        lifecycle_state=LifecycleState.APPROVED,
        version_label="v0.1.0-legacy",
    )
    envelope = models.PolicyEnvelope(
        id=new_id(),
        name="Legacy: MC Atlas",
        attached_to_tenant=False,
        attached_to_version_id=version.id,
        allowed_task_types=[TaskType.OPS, TaskType.DOCS],
        allowed_tools=["read", "write"],
        cost_limits={"dailyUsd": 30, "perRunUsd": 3.5},
        spawn_limits={"canSpawn": True, "maxSubAgents": 8},
    )
    place = {
        "version_id": version.id,
        "environment_id": tenant.environment.id,
        "project_id": tenant.project.id,
    }
    parent = models.AgentInstance(id=new_id(), legacy_agent_id="0044agents", name="MC Prime", **place)
    task = models.Task(
        id=new_id(),
        project_id=tenant.project.id,
        title="Write",
        type=TaskType.DOCS,
        metadata_={"legacyTable": "tasks", "legacyId": "0077tasks"},
    )
    instance = models.AgentInstance(
        id=new_id(),
        legacy_agent_id=LEGACY_ID,
        state=InstanceState.DRAINING,
        heartbeat_at=datetime(2026, 3, 9, 12, tzinfo=UTC),
        spend_today=Decimal("8.20"),
        parent_instance_id=parent.id,
        current_task_id=task.id,
        metadata_={"legacyRole": "LEAD", "workspacePath": "/agents/atlas", "legacyStatus": "ACTIVE"},
        **place,
    )
    await tenant.add(template, version, envelope, parent, task, instance)
    return Imported(tenant, template, version, envelope, parent, instance, task)


async def test_an_agent_is_found_by_its_old_id_in_its_old_shape(agent: Imported) -> None:
    """MIG-10: the old fields beside the rows that continue it; its own word for its role beats its template's."""
    found = await agent.ask()
    assert not found.errors
    assert found.data["agentByLegacyId"] == {
        "id": LEGACY_ID,
        "name": "MC Atlas",
        "emoji": "🧭",
        "role": "LEAD",
        "status": "DRAINED",
        "workspacePath": "/agents/atlas",
        "allowedTaskTypes": ["OPS", "DOCS"],
        "allowedTools": ["read", "write"],
        "budgetDaily": 30.0,
        "budgetPerRun": 3.5,
        "spendToday": 8.2,
        "canSpawn": True,
        "maxSubAgents": 8,
        "parentAgentId": "0044agents",
        "currentTaskId": "0077tasks",
        "lastHeartbeatAt": "2026-03-09T12:00:00.000Z",
        "instance": {"id": f"ins_{agent.instance.id.hex}"},
        "version": {"id": f"ver_{agent.version.id.hex}", "versionLabel": "v0.1.0-legacy"},
        "template": {"id": f"tpl_{agent.template.id.hex}", "name": "MC Atlas"},
        "policyEnvelope": {"id": f"pol_{agent.envelope.id.hex}", "name": "Legacy: MC Atlas"},
    }
    assert len(found.statements) == 6, "instance, version, template, envelope, parent, task: one each"


async def test_the_envelope_of_the_instance_alone_beats_those_of_its_version(agent: Imported) -> None:
    """POL-4, POL-5: the instance's own envelope; among its version's the active one of the highest priority."""

    def envelope(name: str, **columns: Any) -> models.PolicyEnvelope:
        given = {"attached_to_tenant": False, "attached_to_version_id": agent.version.id, **columns}
        return models.PolicyEnvelope(id=new_id(), name=name, **given)

    stronger = envelope("Stronger", priority=200, allowed_tools=[])
    await agent.tenant.add(stronger, envelope("Off", priority=300, active=False), envelope("Weak", priority=1))
    found = (await agent.ask()).data["agentByLegacyId"]
    assert found["policyEnvelope"]["name"] == "Stronger"
    assert found["allowedTools"] == []
    assert found["maxSubAgents"] == 0
    own = envelope("Own", priority=0)
    await agent.tenant.add(own)
    async with agent.tenant.database.transaction(agent.tenant.actor()) as session:
        instance = await session.get(models.AgentInstance, (agent.tenant.id, agent.instance.id))
        assert instance is not None
        instance.policy_envelope_id = own.id
    assert (await agent.ask()).data["agentByLegacyId"]["policyEnvelope"]["name"] == "Own"


async def test_an_unknown_id_is_null_and_makes_nothing(agent: Imported, other_tenant: TenantUnderTest) -> None:
    """MIG-10: null if unknown; another tenant's agent is unknown, too."""
    count = "{ agentInstances { totalCount } }"
    before = await agent.ask(count)
    for actor, legacy_id in ((agent.tenant.actor(), "0000agents"), (other_tenant.actor(), LEGACY_ID)):
        found = await agent.ask(actor=actor, legacy_id=legacy_id)
        assert (found.data, found.errors) == ({"agentByLegacyId": None}, [])
    assert (await agent.ask(count)).data == before.data


async def test_it_needs_the_right_to_read_instances(agent: Imported) -> None:
    """The permission is named, and nothing is looked up (decision 30)."""
    found = await agent.ask(OWN, agent.tenant.actor(*(set(READ_PERMISSION.values()) - {"read:instances"})))
    assert found.code == "FORBIDDEN"
    lookup = "query ($id: String!) { agentByLegacyId(legacyAgentId: $id) { id } }"
    found = await agent.ask(lookup, agent.tenant.actor("read:tasks"))
    assert found.code == "FORBIDDEN"
    assert found.errors[0]["extensions"]["permission"] == "read:instances"
    assert found.statements == []


async def test_a_scoped_grant_shows_the_agents_of_its_project(agent: Imported) -> None:
    """Decision 29: the look-up is as narrow as `agentInstance(id:)`."""
    inside = Grants({"read:instances": Scope(projects=frozenset({agent.tenant.project.id}))})
    outside = Grants({"read:instances": Scope(projects=frozenset({new_id()}))})
    assert (await agent.ask(OWN, agent.tenant.actor(grants=inside))).data["agentByLegacyId"]["status"] == "DRAINED"
    assert (await agent.ask(OWN, agent.tenant.actor(grants=outside))).data == {"agentByLegacyId": None}


@pytest.mark.parametrize(
    ("field", "permission"),
    [("emoji", "read:templates"), ("budgetDaily", "read:policies"), ("allowedTaskTypes", "read:policies")],
)
async def test_what_comes_from_another_type_needs_the_right_to_read_it(
    agent: Imported, field: str, permission: str
) -> None:
    """The old shape is no way around the permissions; the other fields answer."""
    query = f"query ($id: String!) {{ agentByLegacyId(legacyAgentId: $id) {{ role {field} }} }}"
    found = await agent.ask(query, agent.tenant.actor("read:instances"))
    assert found.data["agentByLegacyId"] == {"role": "LEAD", field: None}
    assert found.errors[0]["path"] == ["agentByLegacyId", field]
    assert found.errors[0]["extensions"] == {"code": "FORBIDDEN", "permission": permission}


async def test_a_task_that_was_made_here_has_its_global_id(agent: Imported) -> None:
    """No old id can name it; and a parent that never was an agent has none either."""
    task = models.Task(id=new_id(), project_id=agent.tenant.project.id, title="New", type=TaskType.DOCS)
    parent = models.AgentInstance(
        id=new_id(),
        version_id=agent.version.id,
        environment_id=agent.tenant.environment.id,
        project_id=agent.tenant.project.id,
    )
    await agent.tenant.add(task, parent)
    async with agent.tenant.database.transaction(agent.tenant.actor()) as session:
        instance = await session.get(models.AgentInstance, (agent.tenant.id, agent.instance.id))
        assert instance is not None
        instance.current_task_id, instance.parent_instance_id = task.id, parent.id
    found = (await agent.ask()).data["agentByLegacyId"]
    assert (found["currentTaskId"], found["parentAgentId"]) == (f"tsk_{task.id.hex}", None)


def test_every_state_has_its_former_status() -> None:
    """MIG-10's reverse map, whole."""
    assert {state.value: status for state, status in STATUS_OF_STATE.items()} == {
        "PROVISIONING": "OFFLINE",
        "ACTIVE": "ACTIVE",
        "PAUSED": "PAUSED",
        "READONLY": "ACTIVE",
        "DRAINING": "DRAINED",
        "QUARANTINED": "QUARANTINED",
        "RETIRED": "OFFLINE",
    }
    assert set(STATUS_OF_STATE) == set(InstanceState)
    assert set(STATUS_OF_STATE.values()) == {status.name for status in LegacyAgentStatus}


def test_no_envelope_limits_nothing() -> None:
    """The old "any" was an empty list of kinds, no list of tools, and 0 for the default number (MIG-1, POL-9)."""
    assert Allowance.of_envelope(None) == Allowance([], None, None, None, None, 0)


def test_a_row_that_was_made_here_has_no_former_id() -> None:
    """MIG-0a: the import notes where a row came from in its metadata."""
    assert former_id(SimpleNamespace(metadata=None)) is None
    assert former_id(SimpleNamespace(metadata={"legacyId": "0077tasks"})) == "0077tasks"
