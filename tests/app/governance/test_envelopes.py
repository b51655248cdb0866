"""Policies are made, changed in place, switched, and given to instances; more autonomy needs an approval (POL-14)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.auth.scope import Grants, Scope
from app.graph.ids import global_id
from db import models
from db.enums import ApprovalDecision, InstanceState, RiskLevel
from db.ids import new_id
from tests.app.governance.scene import Scene, gid, make_scene
from tests.asking import ask
from tests.conftest import TenantUnderTest

FIELDS = """
  policyEnvelope { id name version active autonomyTier allowedTools costLimits { raw } createdBy { id } }
  changeRecord { type target { id } beforeState afterState reason instance { id } }
  userErrors { code message field }
"""


NEEDS_APPROVAL = ("DEPENDENCY_NOT_MET", "autonomyTier")


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """A tenant at tier 2 with an agent."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=2)
    return made


async def do(scene: Scene, action: str, actor: Any = None, /, **given: Any) -> dict[str, Any]:
    """The payload of policyEnvelope<Action>."""
    query = f"mutation($input: PolicyEnvelope{action}Input!) {{ policyEnvelope{action}(input: $input) {{ {FIELDS} }} }}"
    answer = await ask(scene.tenant.database, actor or scene.person, query, input=given)
    assert not answer.errors, answer.errors
    payload: dict[str, Any] = answer.data[f"policyEnvelope{action}"]
    return payload


def code(payload: dict[str, Any]) -> tuple[str, str] | None:
    """Code and field of the first refusal."""
    if not payload["userErrors"]:
        return None
    assert payload["policyEnvelope"] is None
    error = payload["userErrors"][0]
    return error["code"], error["field"][-1] if error["field"] else ""


async def approve(scene: Scene, envelope_id: str, tier: Any, **values: Any) -> models.ApprovalRecord:
    """An approved request for more autonomy."""
    made = models.ApprovalRecord(
        **{
            "id": new_id(),
            "request_type": "POLICY_AUTONOMY_INCREASE",
            "action_summary": "More",
            "justification": "Because",
            "risk_level": RiskLevel.YELLOW,
            "status": ApprovalDecision.APPROVED,
            "target_entity": "PolicyEnvelope",
            "target_id": UUID(envelope_id.split("_")[1]),
            "action_payload": {"autonomyTier": tier},
            "expires_at": datetime.now(UTC) + timedelta(hours=1),
            **values,
        }
    )
    await scene.tenant.add(made)
    return made


async def test_pol_14_a_policy_is_made(scene: Scene) -> None:
    """With its record and its author; lists and limits as they were given."""
    payload = await do(
        scene,
        "Create",
        name=" Careful ",
        attachedToVersionId=gid(scene.version),
        autonomyTier=1,
        allowedTools=["read"],
        allowedTaskTypes=["DOCS"],
        costLimits={"dailyUsd": 5},
        metadata={"a": 1},
    )
    envelope = payload["policyEnvelope"]
    assert (envelope["name"], envelope["version"], envelope["active"]) == ("Careful", 1, True)
    assert (envelope["autonomyTier"], envelope["allowedTools"]) == (1, ["read"])
    assert envelope["createdBy"] == {"id": gid(scene.operator)}
    record = payload["changeRecord"]
    assert (record["type"], record["target"]) == ("POLICY_ATTACHED", {"id": envelope["id"]})
    assert record["beforeState"] is None
    assert record["afterState"] == {
        "name": "Careful",
        "active": True,
        "attachedToTenant": False,
        "attachedToProjectId": None,
        "attachedToTemplateId": None,
        "attachedToVersionId": str(scene.version.id),
        "autonomyTier": 1,
        "allowedTools": ["read"],
        "allowedTaskTypes": ["DOCS"],
        "costLimits": {"dailyUsd": 5},
        "version": 1,
    }


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({}, ("VALIDATION_ERROR", "attachedToTenant")),
        ({"attachedToTenant": True, "attachedToProjectId": "project"}, ("VALIDATION_ERROR", "attachedToTenant")),
        ({"attachedToTenant": True}, ("VALIDATION_ERROR", "autonomyTier")),
        ({"attachedToProjectId": "missing"}, ("NOT_FOUND", "attachedToProjectId")),
        ({"attachedToProjectId": "project", "name": "  "}, ("VALIDATION_ERROR", "name")),
        ({"attachedToProjectId": "project", "name": "policy 0"}, ("DUPLICATE_RESOURCE", "name")),
        *(
            ({"attachedToProjectId": "project", field: value}, ("VALIDATION_ERROR", field))
            for field, value in (
                ("autonomyTier", 6),
                ("autonomyTier", -1),
                ("priority", -1),
                ("priority", None),
                ("allowedTools", [" "]),
                ("fileWritePaths", ["../x"]),
                ("fileReadPaths", ["!"]),
                ("approvalTriggers", ["risk:PINK"]),
                ("toolRiskMap", {"read": "PINK"}),
                ("toolRiskMap", ["read"]),
                ("toolPolicies", {"read": "MAYBE"}),
                ("costLimits", {"dailyUSD": 5}),
                ("costLimits", {"dailyUsd": -1}),
                ("costLimits", {"dailyTokens": 1.5}),
                ("costLimits", {"dailyUsd": True}),
                ("spawnLimits", {"maxSubAgents": 0}),
                ("spawnLimits", {"canSpawn": 1}),
                ("loopThresholds", {"maxReviewCycles": "3"}),
                ("caps", {"maxRunsPerHour": 0}),
                ("caps", 5),
            )
        ),
    ],
)
async def test_pol_14_what_cannot_be(scene: Scene, given: dict[str, Any], refused: tuple[str, str]) -> None:
    """Each value is checked, and the refusal names its field; nothing is left behind."""
    keys = {"project": gid(scene.tenant.project), "missing": global_id("prj", new_id())}
    values = {name: keys.get(value, value) if isinstance(value, str) else value for name, value in given.items()}
    assert code(await do(scene, "Create", **{"name": "New", **values})) == refused
    assert len(await scene.rows(models.PolicyEnvelope)) == 1
    assert await scene.rows(models.ChangeRecord) == []


async def test_pol_14_values_that_can_be(scene: Scene) -> None:
    payload = await do(
        scene,
        "Create",
        name="All",
        attachedToProjectId=gid(scene.tenant.project),
        autonomyTier=0,
        approvalTriggers=[
            "risk:RED",
            "tool:git_*",
            "transition:DONE",
            "cost_above:1.5",
            "production",
            "budget:exceeded",
        ],
        requireApprovalOnRisk=["RED"],
        toolRiskMap={"read": "YELLOW"},
        toolPolicies={"*": "NEEDS_APPROVAL", "read": "ALLOW"},
        costLimits={"dailyUsd": 0.5, "perRunUsd": 0, "monthlyUsd": None, "dailyTokens": 100},
        spawnLimits={"canSpawn": True, "maxSubAgents": 1, "ttlMs": 1000},
        loopThresholds={"maxReviewCycles": 3},
        caps={"maxRunsPerHour": 10, "maxRunMinutes": 5},
        fileReadPaths=["src/**", "!**/*.pem"],
        fileWritePaths=[],
        shellAllowlist=["ls"],
        shellBlocklist=["sudo"],
        networkAllowlist=["github.com"],
        dataScopes=["crm:*"],
        deniedTools=["tweet"],
        enforcementPoints=["run"],
        priority=7,
    )
    assert code(payload) is None
    (made,) = [one for one in await scene.rows(models.PolicyEnvelope) if one.name == "All"]
    assert (made.priority, made.file_write_paths, made.tool_risk_map) == (7, [], {"read": "YELLOW"})


async def test_decision_17_a_change_is_made_in_place_and_its_record_has_what_was_before(scene: Scene) -> None:
    envelope = gid(scene.envelopes[0])
    payload = await do(
        scene,
        "Update",
        envelopeId=envelope,
        name="Renamed",
        allowedTools=["read"],
        reason="Too much",
        expectedVersion=1,
    )
    assert payload["policyEnvelope"]["version"] == 2
    assert payload["policyEnvelope"]["id"] == envelope
    record = payload["changeRecord"]
    assert record["beforeState"] == {"name": "policy 0", "allowedTools": None}
    assert record["afterState"] == {"name": "Renamed", "allowedTools": ["read"], "version": 2}
    assert record["reason"] == "Too much"
    cleared = await do(scene, "Update", envelopeId=envelope, allowedTools=None)
    assert (cleared["policyEnvelope"]["allowedTools"], cleared["policyEnvelope"]["version"]) == (None, 3)
    nothing = await do(scene, "Update", envelopeId=envelope, allowedTools=None, name="Renamed")
    assert (nothing["policyEnvelope"]["version"], nothing["changeRecord"]) == (3, None), "nothing changed"
    stale = await do(scene, "Update", envelopeId=envelope, name="X", expectedVersion=2)
    assert code(stale) == ("CONFLICT", "expectedVersion")
    assert code(await do(scene, "Update", envelopeId=envelope, name=None)) == ("VALIDATION_ERROR", "name")
    assert code(await do(scene, "Update", envelopeId=envelope, autonomyTier=None)) == (
        "VALIDATION_ERROR",
        "autonomyTier",
    )
    missing = await do(scene, "Update", envelopeId=global_id("pol", new_id()), name="X")
    assert code(missing) == ("NOT_FOUND", "envelopeId")


async def test_pol_14_a_change_counts_with_the_next_verdict(scene: Scene) -> None:
    assert (await scene.decide(toolName="write"))["decision"] == "ALLOW"
    await do(scene, "Update", envelopeId=gid(scene.envelopes[0]), deniedTools=["write"])
    assert (await scene.decide(toolName="write"))["decision"] == "DENY"


async def test_decision_17_names_are_unique_among_the_active(scene: Scene) -> None:
    other = await scene.envelope(attached_to_project_id=scene.tenant.project.id)
    renamed = await do(scene, "Update", envelopeId=gid(other), name="policy 0")
    assert code(renamed) == ("DUPLICATE_RESOURCE", "name")
    assert code(await do(scene, "Deactivate", envelopeId=gid(other))) is None
    assert code(await do(scene, "Update", envelopeId=gid(other), name="policy 0")) is None, "an inactive one may"
    assert code(await do(scene, "Activate", envelopeId=gid(other))) == ("DUPLICATE_RESOURCE", "name")


async def test_two_policies_of_one_name_at_once(scene: Scene) -> None:
    given = {"name": "Twin", "attachedToProjectId": gid(scene.tenant.project)}
    found = await asyncio.gather(*(do(scene, "Create", **given) for _ in range(3)))
    assert sorted(str(code(one)) for one in found) == [str(("DUPLICATE_RESOURCE", "name"))] * 2 + ["None"]


# --- More autonomy ----------------------------------------------------------------------------------------------------


async def test_pol_14_raising_the_tier_needs_an_approval_that_is_used_up(scene: Scene) -> None:
    envelope = gid(scene.envelopes[0])
    assert code(await do(scene, "Update", envelopeId=envelope, autonomyTier=3)) == (
        "DEPENDENCY_NOT_MET",
        "autonomyTier",
    )
    (kept,) = await scene.rows(models.PolicyEnvelope)
    assert (kept.autonomy_tier, kept.version) == (2, 1)
    approval = await approve(scene, envelope, 3)
    raised = await do(scene, "Update", envelopeId=envelope, autonomyTier=3)
    assert raised["policyEnvelope"]["autonomyTier"] == 3
    assert raised["changeRecord"]["afterState"]["approvalId"] == str(approval.id)
    assert (await scene.rows(models.ApprovalRecord))[0].used_at is not None
    assert code(await do(scene, "Update", envelopeId=envelope, autonomyTier=1)) is None, "less needs none"
    assert code(await do(scene, "Update", envelopeId=envelope, autonomyTier=2)) == (
        "DEPENDENCY_NOT_MET",
        "autonomyTier",
    )


@pytest.mark.parametrize(
    "values",
    [
        {"action_payload": {"autonomyTier": 2}},
        {"action_payload": {"autonomyTier": True}},
        {"action_payload": {"autonomyTier": "5"}},
        {"action_payload": None},
        {"status": ApprovalDecision.PENDING},
        {"status": ApprovalDecision.DENIED},
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
        {"used_at": datetime.now(UTC)},
        {"target_id": UUID(int=5)},
        {"request_type": "DEPLOYMENT"},
    ],
)
async def test_pol_14_an_approval_of_something_else_does_not_carry_it(scene: Scene, values: dict[str, Any]) -> None:
    envelope = gid(scene.envelopes[0])
    await approve(scene, envelope, 3, **values)
    assert code(await do(scene, "Update", envelopeId=envelope, autonomyTier=3)) == (
        "DEPENDENCY_NOT_MET",
        "autonomyTier",
    )


async def test_pol_14_a_policy_that_raises_is_made_inactive_and_activated_with_an_approval(scene: Scene) -> None:
    given = {"name": "Free", "attachedToTemplateId": gid(scene.template), "autonomyTier": 4}
    assert code(await do(scene, "Create", **given)) == NEEDS_APPROVAL
    assert len(await scene.rows(models.PolicyEnvelope)) == 1
    made = (await do(scene, "Create", **given, active=False))["policyEnvelope"]
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 2
    refused = await do(scene, "Activate", envelopeId=made["id"])
    assert code(refused) == NEEDS_APPROVAL
    assert "actionPayload" in refused["userErrors"][0]["message"]
    await approve(scene, made["id"], 4)
    assert (await do(scene, "Activate", envelopeId=made["id"]))["policyEnvelope"]["active"] is True
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 4


async def test_pol_14_what_holds_back_is_not_switched_off_without_an_approval(scene: Scene) -> None:
    strict = await scene.envelope(autonomy_tier=0, attached_to_template_id=scene.template.id)
    refused = await do(scene, "Deactivate", envelopeId=gid(strict))
    assert code(refused) == NEEDS_APPROVAL
    inherited = await do(scene, "Update", envelopeId=gid(strict), autonomyTier=None)
    assert code(inherited) == NEEDS_APPROVAL
    await approve(scene, gid(strict), 2)
    done = await do(scene, "Deactivate", envelopeId=gid(strict), reason="Proven")
    assert done["policyEnvelope"]["active"] is False
    assert done["changeRecord"]["beforeState"] == {"active": True}
    assert (await do(scene, "Deactivate", envelopeId=gid(strict)))["changeRecord"] is None, "it is so already"


async def test_pol_14_an_instance_gets_a_policy_of_its_own(scene: Scene) -> None:
    """It takes the place of the version's; more autonomy needs an approval, and the record names both."""
    elsewhere = models.AgentTemplate(id=new_id(), name="Another")
    await scene.tenant.add(elsewhere)
    own = await scene.envelope(autonomy_tier=0, attached_to_template_id=elsewhere.id)
    payload = await do(scene, "Attach", instanceId=gid(scene.instance), envelopeId=gid(own))
    record = payload["changeRecord"]
    assert record["target"] == {"id": gid(own)}
    assert record["instance"] == {"id": gid(scene.instance)}
    assert record["beforeState"]["policyEnvelopeId"] is None
    assert record["afterState"]["policyEnvelopeId"] == str(own.id)
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 0
    assert code(await do(scene, "Deactivate", envelopeId=gid(own))) == ("DEPENDENCY_NOT_MET", "envelopeId")
    detach = {"instanceId": gid(scene.instance), "envelopeId": None}
    assert code(await do(scene, "Attach", **detach)) == NEEDS_APPROVAL
    await approve(scene, gid(own), 2)
    assert code(await do(scene, "Attach", **detach)) is None
    assert (await scene.decide(toolName="read"))["autonomyTier"] == 2


async def test_pol_14_raising_a_policy_that_an_instance_has_as_its_own(scene: Scene) -> None:
    """Though another one of its level decides there, the instance would get more."""
    own = await scene.envelope(autonomy_tier=1, priority=1)
    await scene.set(scene.instance, policy_envelope_id=own.id)
    assert code(await do(scene, "Update", envelopeId=gid(own), autonomyTier=2)) == (
        "DEPENDENCY_NOT_MET",
        "autonomyTier",
    )


@pytest.mark.parametrize("what", ["inactive", "retired", "missing"])
async def test_pol_14_what_cannot_be_attached(scene: Scene, what: str) -> None:
    own = await scene.envelope(autonomy_tier=1, attached_to_template_id=scene.template.id)
    if what == "inactive":
        await scene.set(own, active=False)
    if what == "retired":
        await scene.set(scene.instance, state=InstanceState.RETIRED)
    envelope = global_id("pol", new_id()) if what == "missing" else gid(own)
    expected = {
        "inactive": ("DEPENDENCY_NOT_MET", "envelopeId"),
        "retired": ("DEPENDENCY_NOT_MET", "instanceId"),
        "missing": ("NOT_FOUND", "envelopeId"),
    }
    assert code(await do(scene, "Attach", instanceId=gid(scene.instance), envelopeId=envelope)) == expected[what]


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_rbac_7_a_projects_policy_is_its_peoples_and_the_tenants_is_not(scene: Scene) -> None:
    here = Scope(projects=frozenset({scene.tenant.project.id}))
    reads = dict.fromkeys(("read:policies", "read:operators", "read:change-records", "read:instances"), here)
    actor = scene.tenant.actor(operator_id=scene.operator.id, grants=Grants({"write:policies": here, **reads}))
    mine = {"name": "Mine", "attachedToProjectId": gid(scene.tenant.project)}
    assert code(await do(scene, "Create", actor, **mine)) is None
    query = (
        "mutation($input: PolicyEnvelopeUpdateInput!) { policyEnvelopeUpdate(input: $input) { userErrors { code } } }"
    )
    given = {"envelopeId": gid(scene.envelopes[0]), "priority": 5}
    assert (await ask(scene.tenant.database, actor, query, input=given)).code == "FORBIDDEN"
    assert (await ask(scene.tenant.database, scene.agent, query, input=given)).code == "FORBIDDEN"
    foreign = {"envelopeId": global_id("pol", new_id()), "priority": 5}
    assert (await do(scene, "Update", **foreign))["userErrors"][0]["code"] == "NOT_FOUND"
