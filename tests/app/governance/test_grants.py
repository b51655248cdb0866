"""One-time grants: what was approved goes ahead once, and nothing else does (POL-12, APR-13)."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.governance.approving import make_request
from app.unit_of_work import UnitOfWork
from db import models
from db.enums import ApprovalDecision, TaskStatus
from tests.app.governance.scene import Scene, gid, make_scene
from tests.asking import ask
from tests.conftest import TenantUnderTest

DECIDE = """
mutation($input: ApprovalDecideInput!) { approvalDecide(input: $input) {
  approvalRecord { status } userErrors { code message }
} }
"""


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent at tier 1."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=1)
    return made


async def _journals(scene: Scene) -> tuple[list[str], list[str]]:
    changes = await scene.rows(models.ChangeRecord)
    events = await scene.rows(models.OpEvent)
    return [one.type.value for one in changes], [one.type.value for one in events]


async def _approve(scene: Scene, approval_id: str, **values: Any) -> None:
    found = [one for one in await scene.rows(models.ApprovalRecord) if gid(one) == approval_id]
    given = {"status": ApprovalDecision.APPROVED, "decided_by_operator_id": scene.operator.id, **values}
    await scene.set(found[0], **given)


async def _decide(scene: Scene, approval_id: str, decision: str = "APPROVE") -> str:
    """A person decides through the API; the status that the request then has, or the code of the refusal."""
    given = {"approvalId": approval_id, "decision": decision, "reason": "Looked at"}
    answer = await ask(scene.tenant.database, scene.person, DECIDE, input=given)
    assert not answer.errors, answer.errors
    payload = answer.data["approvalDecide"]
    if payload["userErrors"]:
        code: str = payload["userErrors"][0]["code"]
        return code
    status: str = payload["approvalRecord"]["status"]
    return status


async def test_pol_12_an_approved_request_lets_its_action_through_once(scene: Scene) -> None:
    """Allowed once, the second time asked again; the call that waited is the one that runs."""
    asked: dict[str, Any] = {"toolName": "write", "toolArgs": {"b": 2.0, "a": [1]}, "runId": gid(scene.run)}
    first = await scene.decide(**asked)
    await _approve(scene, first["approvalRecord"]["id"])
    rehearsed = await scene.decide(**asked, dryRun=True)
    assert rehearsed["decision"] == "ALLOW"
    second = await scene.decide(**{**asked, "toolName": "WRITE", "toolArgs": {"a": [1], "b": 2}})
    assert second["decision"] == "ALLOW"
    assert second["reason"].startswith(f"approved by operator {scene.operator.id}")
    assert second["requiredApprovals"] == []
    assert second["toolCall"] == {"id": first["toolCall"]["id"], "status": "RUNNING"}
    assert second["approvalRecord"]["id"] == first["approvalRecord"]["id"]
    third = await scene.decide(**asked)
    assert third["decision"] == "NEEDS_APPROVAL"
    assert third["approvalRecord"]["id"] != first["approvalRecord"]["id"]
    _, events = await _journals(scene)
    assert events == ["DECISION_MADE", "TOOL_CALL_STARTED", "DECISION_MADE"]


@pytest.mark.parametrize(
    "other",
    [
        {"toolArgs": {"path": "b"}},
        {"toolName": "payment"},
        {"estimatedCostUsd": 0.2},
        {"actionType": "SPAWN", "toolName": "spawn_agent"},
    ],
)
async def test_pol_12_no_other_action_is_let_through(scene: Scene, other: dict[str, Any]) -> None:
    """Not with other arguments, another tool, or for more money than was approved."""
    await scene.envelope(spawn_limits={"canSpawn": True}, attached_to_version_id=scene.version.id)
    asked: dict[str, Any] = {"toolName": "write", "toolArgs": {"path": "a"}, "estimatedCostUsd": 0.1}
    first = await scene.decide(**asked)
    await _approve(scene, first["approvalRecord"]["id"])
    assert (await scene.decide(**{**asked, **other}))["decision"] == "NEEDS_APPROVAL"
    assert (await scene.decide(**asked))["decision"] == "ALLOW"


@pytest.mark.parametrize(
    "values",
    [
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
        {"status": ApprovalDecision.DENIED},
        {"status": ApprovalDecision.PENDING},
        {"used_at": datetime.now(UTC)},
    ],
)
async def test_pol_12_what_is_not_granted_any_more(scene: Scene, values: dict[str, Any]) -> None:
    first = await scene.decide(toolName="write")
    await _approve(scene, first["approvalRecord"]["id"], **values)
    assert (await scene.decide(toolName="write"))["decision"] == "NEEDS_APPROVAL"


async def test_pol_12_a_grant_never_overrides_a_denial(scene: Scene) -> None:
    first = await scene.decide(toolName="write")
    await _approve(scene, first["approvalRecord"]["id"])
    await scene.envelope(denied_tools=["write"], attached_to_version_id=scene.version.id)
    assert (await scene.decide(toolName="write"))["decision"] == "DENY"


async def test_pol_12_of_two_at_once_one_gets_the_grant(scene: Scene) -> None:
    first = await scene.decide(toolName="write")
    await _approve(scene, first["approvalRecord"]["id"])
    found = await asyncio.gather(*(scene.decide(toolName="write") for _ in range(4)))
    assert sorted(one["decision"] for one in found) == ["ALLOW", *["NEEDS_APPROVAL"] * 3]


async def test_pol_12_a_request_that_somebody_made_up_is_no_grant(scene: Scene) -> None:
    """What lets an action through is policy's own to set: a request of another origin has no grant."""
    first = await scene.decide(toolName="write", dryRun=True)
    assert first["decision"] == "NEEDS_APPROVAL"
    real = await scene.decide(toolName="write")
    (approval,) = [one for one in await scene.rows(models.ApprovalRecord) if gid(one) == real["approvalRecord"]["id"]]
    async with scene.tenant.database.transaction(scene.person) as session:
        uow = UnitOfWork(session, scene.person, "write:approvals")
        made = make_request(
            uow,
            "TOOL_EXECUTION",
            action_summary="Read the news",
            justification="Curious",
            risk_level=None,
            metadata=approval.metadata_,
            action_payload=approval.metadata_["grant"],
        )
        made.approval.status = ApprovalDecision.APPROVED
        await uow.write_journals()
    assert (await scene.decide(toolName="write"))["decision"] == "NEEDS_APPROVAL"


# --- Decided through the API ------------------------------------------------------------------------------------------


async def test_the_story_of_a_tool_call_that_needs_approval(scene: Scene) -> None:
    """POL-10, POL-12, APR-13: asked, approved, allowed once, asked again; the task goes on, the call starts once."""
    asked: dict[str, Any] = {"toolName": "write", "toolArgs": {"path": "a"}, "runId": gid(scene.run)}
    first = await scene.decide(**asked)
    assert await _decide(scene, first["approvalRecord"]["id"]) == "APPROVED"
    (task,) = await scene.rows(models.Task)
    assert task.status is TaskStatus.IN_PROGRESS
    second = await scene.decide(**asked)
    assert (second["decision"], second["toolCall"]) == ("ALLOW", {"id": first["toolCall"]["id"], "status": "RUNNING"})
    assert (await scene.decide(**asked))["decision"] == "NEEDS_APPROVAL"
    _, events = await _journals(scene)
    assert events.count("TOOL_CALL_STARTED") == 1


async def test_apr_5_nobody_decides_on_what_they_asked_for_an_agent(scene: Scene) -> None:
    """A person who asks in an agent's place is the requester."""
    decision = await scene.decide(scene.person, toolName="write")
    (approval,) = await scene.rows(models.ApprovalRecord)
    assert (approval.requester_id, approval.requester_instance_id) == (scene.operator.id, None)
    assert await _decide(scene, decision["approvalRecord"]["id"]) != "APPROVED"
    (approval,) = await scene.rows(models.ApprovalRecord)
    assert approval.status is ApprovalDecision.PENDING


async def test_pol_12_what_a_denied_request_was_about_is_asked_again(scene: Scene) -> None:
    asked: dict[str, Any] = {"toolName": "write", "runId": gid(scene.run)}
    first = await scene.decide(**asked)
    assert await _decide(scene, first["approvalRecord"]["id"], "DENY") == "DENIED"
    (call,) = await scene.rows(models.ToolCall)
    assert call.status == "DENIED"
    second = await scene.decide(**asked)
    assert second["decision"] == "NEEDS_APPROVAL"
    assert second["approvalRecord"]["id"] != first["approvalRecord"]["id"]


@pytest.mark.parametrize("limits", [{"perRunUsd": 1}, {"dailyUsd": 1}])
async def test_bud_3_an_approved_estimate_goes_ahead_once(scene: Scene, limits: dict[str, Any]) -> None:
    """The override lets the action through whichever limit it passes, and through what its risk asks for as well."""
    await scene.set(scene.envelopes[0], cost_limits=limits, version=2)
    asked: dict[str, Any] = {"toolName": "write", "estimatedCostUsd": 2}
    first = await scene.decide(**asked)
    assert [one["type"] for one in first["requiredApprovals"]] == ["BUDGET_OVERRIDE", "TOOL_EXECUTION"]
    assert await _decide(scene, first["approvalRecord"]["id"]) == "APPROVED"
    assert (await scene.decide(**asked))["decision"] == "ALLOW"
    assert (await scene.decide(**asked))["decision"] == "NEEDS_APPROVAL"
