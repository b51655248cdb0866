"""policyEvaluate: what is asked, what is answered, and what every verdict leaves behind (POL-1 to POL-12)."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from app.auth.scope import Grants, Scope
from app.graph.ids import global_id
from db import models
from db.enums import ApprovalDecision, InstanceState, LifecycleState, OperatorMode, RunStatus, TaskStatus
from db.ids import new_id
from tests.app.governance.scene import EVALUATE, Scene, genome, gid, make_scene
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
    assert [one[:2] for one in verbs[:3]] == [["WITH", "subject"], ["INSERT", "INTO"], ["WITH", "fresh"]]
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


# --- POL-12: one-time grants ------------------------------------------------------------------------------------------


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
    from app.governance.approving import make_request
    from app.unit_of_work import UnitOfWork

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


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "toolName"),
        ({"toolName": "   "}, "toolName"),
        ({"toolName": "x" * 201}, "toolName"),
        ({"toolName": "read", "toolArgs": "text"}, "toolArgs"),
        ({"toolName": "read", "toolArgs": [1]}, "toolArgs"),
        ({"toolName": "read", "toolArgs": {"a": deep}}, "toolArgs"),
        ({"toolName": "read", "toolArgs": {"a": ["x\0y"]}}, "toolArgs"),
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


# --- The facts --------------------------------------------------------------------------------------------------------


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
