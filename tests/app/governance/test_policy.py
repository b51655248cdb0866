"""policyEvaluate: what is asked, what is answered, and what every verdict leaves behind (POL-1 to POL-12)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.auth.scope import Grants, Scope
from db import models
from db.enums import ApprovalDecision, InstanceState, RunStatus, TaskStatus
from db.ids import new_id
from tests.app.governance.scene import EVALUATE, Scene, gid, make_scene
from tests.asking import ask, recorded
from tests.conftest import TenantUnderTest


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


# --- POL-10: what each verdict writes ---------------------------------------------------------------------------------


async def test_pol_10_an_allowed_tool_call(scene: Scene) -> None:
    """TOOL_CALL_STARTED, no change record, and the row of the call RUNNING."""
    decision = await scene.decide(toolName="read", toolArgs={"path": "a", "note": "x"}, runId=gid(scene.run))
    assert (decision["decision"], decision["riskLevel"], decision["autonomyTier"]) == ("ALLOW", "GREEN", 1)
    assert await _journals(scene) == ([], ["TOOL_CALL_STARTED"])
    (event,) = await scene.rows(models.OpEvent)
    assert event.payload == {
        "decision": "ALLOW",
        "reason": "Tier 1 allows GREEN actions.",
        "actionType": "TOOL_CALL",
        "toolName": "read",
        "risk": "GREEN",
    }
    (call,) = await scene.rows(models.ToolCall)
    assert decision["toolCall"] == {"id": gid(call), "status": "RUNNING"}
    assert (event.instance_id, event.run_id, event.tool_call_id) == (scene.instance.id, scene.run.id, call.id)
    assert (event.task_id, event.version_id) == (scene.task.id, scene.version.id), "the run's task"
    assert (call.policy_envelope_id, call.version_id) == (scene.envelopes[0].id, scene.version.id)
    assert call.input_preview == '{"path": "a", "note": "x"}'
    assert call.policy_result == {"decision": "ALLOW", "reason": "Tier 1 allows GREEN actions."}
    assert len(call.input_hash) == 64


async def test_pol_10_without_a_run_there_is_no_row_of_the_call(scene: Scene) -> None:
    decision = await scene.decide(toolName="read")
    assert decision["toolCall"] is None
    assert await scene.rows(models.ToolCall) == []
    assert await _journals(scene) == ([], ["TOOL_CALL_STARTED"])


@pytest.mark.parametrize("kind", ["RUN_START", "MESSAGE"])
async def test_pol_10_another_action_that_is_allowed(scene: Scene, kind: str) -> None:
    decision = await scene.decide(actionType=kind)
    assert decision["decision"] == "ALLOW"
    assert await _journals(scene) == ([], ["DECISION_MADE"])


async def test_pol_10_a_call_that_needs_approval(scene: Scene) -> None:
    """The request, its record and event, the call PENDING, the task on hold, and people told."""
    decision = await scene.decide(
        toolName="write", toolArgs={"path": "a", "api_key": "hunter2"}, runId=gid(scene.run), justification="Needed"
    )
    assert decision["decision"] == "NEEDS_APPROVAL"
    assert [one["type"] for one in decision["requiredApprovals"]] == ["TOOL_EXECUTION"]
    assert decision["toolCall"]["status"] == "PENDING"
    (approval,) = await scene.rows(models.ApprovalRecord)
    assert decision["approvalRecord"] == {"id": gid(approval), "status": "PENDING"}
    assert (approval.requester_instance_id, approval.requester_id) == (scene.instance.id, None)
    assert (approval.task_id, approval.version_id) == (scene.task.id, scene.version.id)
    assert approval.justification == "Needed"
    assert approval.required_decision_count == 2, "a secret makes it RED, and RED needs two (APR-2)"
    assert timedelta(minutes=59) < approval.expires_at - datetime.now(UTC) <= timedelta(hours=1), "APR-6"
    assert approval.action_payload["toolArgs"] == {"path": "a", "api_key": "[REDACTED]"}
    changes, events = await scene.rows(models.ChangeRecord), await scene.rows(models.OpEvent)
    assert [one.type for one in changes] == ["APPROVAL_REQUESTED", "TASK_TRANSITIONED"]
    assert (changes[0].target_id, changes[0].actor_type, changes[0].actor_id) == (
        approval.id,
        "AGENT",
        scene.instance.id,
    )
    assert (changes[1].actor_type, changes[1].caused_by_id) == ("SYSTEM", changes[0].id)
    assert [one.type for one in events] == ["DECISION_MADE"]
    assert events[0].change_record_id == changes[0].id
    (task,) = await scene.rows(models.Task)
    assert task.status is TaskStatus.NEEDS_APPROVAL
    told = {one.event_type for one in await scene.rows(models.NotificationEvent)}
    assert told == {"APPROVAL_REQUIRED", "TASK_TRANSITIONED"}
    (call,) = await scene.rows(models.ToolCall)
    assert approval.tool_call_id == call.id
    assert call.policy_result["approvalId"] == str(approval.id)
    assert "hunter2" not in f"{call.input_preview}{approval.action_payload}"


@pytest.mark.parametrize("status", [TaskStatus.REVIEW, TaskStatus.ASSIGNED, TaskStatus.BLOCKED])
async def test_pol_10_only_a_task_in_progress_is_put_on_hold(scene: Scene, status: TaskStatus) -> None:
    await scene.set(scene.task, status=status)
    await scene.decide(toolName="write", taskId=gid(scene.task))
    (task,) = await scene.rows(models.Task)
    assert task.status is status
    assert await _journals(scene) == (["APPROVAL_REQUESTED"], ["DECISION_MADE"])


async def test_pol_10_a_call_that_is_denied(scene: Scene) -> None:
    """TOOL_CALL_BLOCKED with its POLICY_EVALUATED record, the call DENIED, and people told."""
    await scene.envelope(denied_tools=["write"], attached_to_version_id=scene.version.id)
    decision = await scene.decide(toolName="write", runId=gid(scene.run))
    assert (decision["decision"], decision["source"], decision["violations"]) == (
        "DENY",
        "VERSION",
        ["TOOL_NOT_ALLOWED"],
    )
    changes, events = await scene.rows(models.ChangeRecord), await scene.rows(models.OpEvent)
    assert [(one.type, one.target_id) for one in changes] == [("POLICY_EVALUATED", scene.instance.id)]
    assert changes[0].after_state["decision"] == "DENY"
    assert changes[0].after_state["toolName"] == "write"
    assert [(one.type, one.change_record_id) for one in events] == [("TOOL_CALL_BLOCKED", changes[0].id)]
    (call,) = await scene.rows(models.ToolCall)
    assert (call.status, call.error) == ("DENIED", decision["reason"])
    assert call.ended_at is not None
    assert call.policy_envelope_id == scene.envelopes[1].id
    assert [one.event_type for one in await scene.rows(models.NotificationEvent)] == ["POLICY_VIOLATION"]
    (task,) = await scene.rows(models.Task)
    assert task.status is TaskStatus.IN_PROGRESS


async def test_pol_10_another_action_that_is_denied(scene: Scene) -> None:
    await scene.set(scene.instance, state=InstanceState.PAUSED)
    decision = await scene.decide(actionType="RUN_START")
    assert decision["decision"] == "DENY"
    assert await _journals(scene) == (["POLICY_EVALUATED"], ["DECISION_MADE"])
    assert await scene.rows(models.NotificationEvent) == []


async def test_pol_1_the_answer_explains_itself(scene: Scene) -> None:
    """Ids per field with their level; hints; the rules as codes."""
    version = await scene.envelope(allowed_tools=["read", "write"], attached_to_version_id=scene.version.id)
    decision = await scene.decide(toolName="write")
    assert decision["effectiveEnvelope"] == [
        {"field": "autonomyTier", "level": "TENANT", "envelopes": [{"id": gid(scene.envelopes[0])}]},
        {"field": "allowedTools", "level": "VERSION", "envelopes": [{"id": gid(version)}]},
    ]
    assert decision["triggeredRules"] == ["tool_risk:write:YELLOW", "tier:1:YELLOW"]
    assert decision["reason"] == "Tier 1 asks for approval of YELLOW actions."
    assert decision["source"] == "TENANT"


# --- dry runs, statements, idempotency --------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["read", "write", "unknown"])
async def test_pol_1_a_dry_run_writes_nothing(scene: Scene, tool: str) -> None:
    await scene.decide(toolName=tool, runId=gid(scene.run), dryRun=True)
    assert await _journals(scene) == ([], [])
    assert await scene.rows(models.ToolCall) == []
    assert await scene.rows(models.ApprovalRecord) == []
    (task,) = await scene.rows(models.Task)
    assert task.status is TaskStatus.IN_PROGRESS


async def test_the_facts_take_one_statement_and_a_verdict_few(scene: Scene) -> None:
    """One statement reads; an allowed call writes its row and its event and nothing else."""
    places = {"project": scene.tenant.project.id, "template": scene.template.id, "version": scene.version.id}
    for level, key in places.items():
        await scene.envelope(**{f"attached_to_{level}_id": key})
    with recorded(scene.tenant.database.engine) as statements:
        await scene.decide(toolName="read", runId=gid(scene.run))
    verbs = [one.split()[:3] for one in statements]
    assert [one[0] for one in verbs] == ["WITH", "INSERT", "WITH", "SELECT", "SELECT"]
    assert [one[:2] for one in verbs[:3]] == [["WITH", "subject"], ["INSERT", "INTO"], ["WITH", "counter"]]
    assert all("FROM tool_calls" in one or "FROM policy_envelopes" in one for one in statements[3:]), "the payload's"


async def test_pol_11_the_same_key_gives_the_open_request_again(scene: Scene) -> None:
    """Also to another caller, for whom the key's first result is not kept."""
    asked: dict[str, Any] = {"toolName": "write", "toolArgs": {"path": "a"}, "idempotencyKey": "k"}
    first = await scene.decide(**asked)
    again = await scene.decide(**asked)
    assert first == again
    other = await scene.decide(scene.person, **asked)
    assert other["approvalRecord"] == first["approvalRecord"]
    assert len(await scene.rows(models.ApprovalRecord)) == 1
    assert await _journals(scene) == (["APPROVAL_REQUESTED"], ["DECISION_MADE"])


async def test_pol_11_the_same_key_for_something_else_is_a_conflict(scene: Scene) -> None:
    await scene.decide(toolName="write", toolArgs={"path": "a"}, idempotencyKey="k")
    for actor in (scene.agent, scene.person):
        payload = await scene.asked(actor, toolName="write", toolArgs={"path": "b"}, idempotencyKey="k")
        assert payload["userErrors"][0]["code"] == "CONFLICT"
        assert payload["policyDecision"] is None
    assert len(await scene.rows(models.ApprovalRecord)) == 1


async def test_pol_11_a_key_belongs_to_its_instance(scene: Scene) -> None:
    other = models.AgentInstance(
        id=new_id(),
        version_id=scene.version.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await scene.tenant.add(other)
    await scene.decide(toolName="write", idempotencyKey="k")
    await scene.decide(scene.agent_of(other), instanceId=gid(other), toolName="write", idempotencyKey="k")
    assert len(await scene.rows(models.ApprovalRecord)) == 2


async def test_pol_11_a_key_of_a_decided_request_is_a_conflict(scene: Scene) -> None:
    first = await scene.decide(toolName="write", idempotencyKey="k")
    await _approve(scene, first["approvalRecord"]["id"], status=ApprovalDecision.DENIED)
    payload = await scene.asked(scene.person, toolName="write", idempotencyKey="k")
    assert payload["userErrors"][0]["code"] == "CONFLICT"


# --- Who may ask, and what is refused ---------------------------------------------------------------------------------


async def test_rbac_11_an_agent_asks_for_itself_alone(scene: Scene) -> None:
    other = models.AgentInstance(
        id=new_id(),
        version_id=scene.version.id,
        environment_id=scene.tenant.environment.id,
        project_id=scene.tenant.project.id,
        state=InstanceState.ACTIVE,
    )
    await scene.tenant.add(other)
    asked: dict[str, Any] = {"instanceId": gid(other), "actionType": "TOOL_CALL", "toolName": "read"}
    answer = await ask(scene.tenant.database, scene.agent, EVALUATE, input=asked)
    assert answer.code == "FORBIDDEN"
    assert await _journals(scene) == ([], [])


async def test_rbac_7_a_person_asks_where_the_permission_reaches(scene: Scene) -> None:
    elsewhere = Scope(projects=frozenset({new_id()}))
    asked: dict[str, Any] = {"instanceId": gid(scene.instance), "actionType": "TOOL_CALL", "toolName": "read"}
    for grants in (Grants({"evaluate:policies": elsewhere}), Grants.everywhere(["read:policies"])):
        answer = await ask(scene.tenant.database, scene.tenant.actor(grants=grants), EVALUATE, input=asked)
        assert answer.code == "FORBIDDEN"
    here = Scope(projects=frozenset({scene.tenant.project.id}))
    reads = dict.fromkeys(("read:policies", "read:approvals", "read:tool-calls"), here)
    allowed = scene.tenant.actor(grants=Grants({"evaluate:policies": here, **reads}))
    assert (await scene.decide(allowed, toolName="read"))["decision"] == "ALLOW"


async def test_decision_26_an_agent_in_quarantine_is_not_answered(scene: Scene) -> None:
    await scene.set(scene.instance, state=InstanceState.QUARANTINED)
    scene.instance.state = InstanceState.QUARANTINED
    asked: dict[str, Any] = {"instanceId": gid(scene.instance), "actionType": "TOOL_CALL", "toolName": "read"}
    assert (await ask(scene.tenant.database, scene.agent, EVALUATE, input=asked)).code == "FORBIDDEN"
    assert (await scene.decide(scene.person, toolName="read"))["decision"] == "DENY"


async def test_ten_1_what_belongs_to_another_tenant_is_not_found(scene: Scene, other_tenant: TenantUnderTest) -> None:
    foreign = await make_scene(other_tenant)
    cases = {
        "instanceId": foreign.instance,
        "taskId": foreign.task,
        "runId": foreign.run,
        "projectId": other_tenant.project,
    }
    for name, row in cases.items():
        payload = await scene.asked(scene.person, **{"toolName": "read", name: gid(row)})
        assert payload["userErrors"][0]["code"] == "NOT_FOUND", name
    assert await _journals(scene) == ([], [])


deep: Any = "x"
for _ in range(70):
    deep = [deep]


async def test_a_nul_in_json_names_the_argument(scene: Scene) -> None:
    """Refused as an input, before the command, and nothing is written."""
    values = {"instanceId": gid(scene.instance), "actionType": "TOOL_CALL", "toolName": "read"}
    answer = await ask(scene.tenant.database, scene.agent, EVALUATE, input={**values, "toolArgs": {"a": ["x\0y"]}})
    assert answer.errors is not None
    (error,) = answer.errors
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "toolArgs"}
    assert await _journals(scene) == ([], [])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "toolName"),
        ({"toolName": "   "}, "toolName"),
        ({"toolName": "x" * 201}, "toolName"),
        ({"toolName": "read", "toolArgs": "text"}, "toolArgs"),
        ({"toolName": "read", "toolArgs": [1]}, "toolArgs"),
        ({"toolName": "read", "toolArgs": {"a": deep}}, "toolArgs"),
        ({"toolName": "read", "toolArgs": {"a": 2**60}}, "toolArgs"),
        ({"toolName": "read", "toolArgs": {"a": "\ud800"}}, "toolArgs"),
        ({"toolName": "read", "estimatedCostUsd": -0.1}, "estimatedCostUsd"),
        ({"toolName": "read", "estimatedCostUsd": 1e300}, "estimatedCostUsd"),
        ({"toolName": "read", "estimatedTokens": -1}, "estimatedTokens"),
        ({"actionType": "TRANSITION", "transitionTo": "DONE"}, "transitionTo"),
        ({"actionType": "TRANSITION"}, "transitionTo"),
    ],
)
async def test_bad_input_names_the_field(scene: Scene, given: dict[str, Any], field: str) -> None:
    payload = await scene.asked(**given)
    assert payload["policyDecision"] is None
    assert [(one["code"], one["field"]) for one in payload["userErrors"]] == [("VALIDATION_ERROR", ["input", field])]
    assert await _journals(scene) == ([], [])


async def test_a_run_that_has_ended_calls_no_tools(scene: Scene) -> None:
    await scene.set(scene.run, status=RunStatus.COMPLETED)
    payload = await scene.asked(toolName="read", runId=gid(scene.run))
    assert payload["userErrors"][0]["code"] == "DEPENDENCY_NOT_MET"
