"""Work that is handed to executors: routed, claimed once, ended, and told (EXR-1 to EXR-3, EXE-1)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.execution.machines import EXECUTION_REQUEST
from app.execution.rules.executors import executor_for
from app.governance.rules import ApprovalChoice
from app.notification.fanout import fan_out
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ActorType,
    ChangeRecordType,
    ExecutionRequestType,
    InstanceState,
    NotificationSeverity,
    NotificationType,
    OperatorMode,
    OpEventType,
    TaskStatus,
    TaskType,
)
from db.enums import ExecutionRequestStatus as S
from db.enums import ExecutorKind as K
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest

A, H, Y = ActorType.AGENT, ActorType.HUMAN, ActorType.SYSTEM

STEPS: dict[tuple[S, S], set[ActorType]] = {
    (S.PENDING, S.ASSIGNED): {H, Y},
    (S.PENDING, S.FAILED): {A, H},
    (S.ASSIGNED, S.IN_PROGRESS): {A, H},
    (S.ASSIGNED, S.FAILED): {A, H},
    (S.ASSIGNED, S.PENDING): {H},
    (S.IN_PROGRESS, S.COMPLETED): {A, H},
    (S.IN_PROGRESS, S.FAILED): {A, H},
}
"""EXR-1, written down once more."""


async def do(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Any:
    """Run a command, as a person unless an agent is named."""
    return await run(scene.tenant.database, actor or scene.person, name, given)


async def done(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Any:
    """Run a command that must succeed; the row."""
    outcome = await do(scene, name, actor, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def refused(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> tuple[Refusal, str | None]:
    """Run a command that must be refused, and leaves no event; the code and the blamed field."""
    before = await stages(scene)
    outcome = await do(scene, name, actor, **given)
    assert isinstance(outcome, Refused), outcome
    assert await stages(scene) == before
    return outcome.code, outcome.field


async def request(scene: Scene, status: S = S.ASSIGNED, **values: Any) -> models.ExecutionRequest:
    """A request of the scene's agent in any state."""
    made = models.ExecutionRequest(
        **{
            "id": new_id(),
            "project_id": scene.tenant.project.id,
            "requested_by_instance_id": scene.instance.id,
            "type": ExecutionRequestType.RESEARCH,
            "executor": K.OPENCLAW_AGENT,
            "status": status,
            "payload": {},
            "requested_at": datetime.now(UTC),
            **values,
        }
    )
    await scene.tenant.add(made)
    return made


async def now(scene: Scene, row: models.ExecutionRequest) -> models.ExecutionRequest:
    """The request as it is."""
    (found,) = await scene.rows(models.ExecutionRequest, id=row.id)
    there: models.ExecutionRequest = found
    return there


async def stages(scene: Scene) -> list[str]:
    """What the events tell, in order."""
    found = await scene.rows(models.OpEvent, type=OpEventType.DECISION_MADE)
    return [one.payload["stage"] for one in found]


async def create(scene: Scene, actor: Actor | None = None, **given: Any) -> Any:
    """Ask for work."""
    values = {
        "instance_id": scene.instance.id,
        "type": ExecutionRequestType.RESEARCH,
        "payload": {"question": "why?"},
        **given,
    }
    return await do(scene, "create_execution_request", actor or scene.agent, **values)


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", list(ActorType))
@pytest.mark.parametrize("to", list(S))
@pytest.mark.parametrize("status", list(S))
def test_exr_1_the_table(status: S, to: S, who: ActorType) -> None:
    assert (who in EXECUTION_REQUEST[status].get(to, ())) is (who in STEPS.get((status, to), set()))


COMMANDS: dict[str, tuple[set[S], S, dict[str, Any]]] = {
    "assign_execution_request": ({S.PENDING}, S.ASSIGNED, {}),
    "claim_execution_request": ({S.ASSIGNED}, S.IN_PROGRESS, {"executor_id": "desk 4"}),
    "complete_execution_request": ({S.IN_PROGRESS}, S.COMPLETED, {"result": {"answer": 42}}),
    "fail_execution_request": ({S.ASSIGNED, S.IN_PROGRESS}, S.FAILED, {"error": "no answer"}),
    "cancel_execution_request": ({S.PENDING}, S.FAILED, {"reason": "not needed"}),
    "release_execution_request": ({S.ASSIGNED}, S.PENDING, {}),
}


@pytest.mark.parametrize("status", list(S))
@pytest.mark.parametrize("name", list(COMMANDS))
async def test_exr_1_every_command_in_every_state(scene: Scene, name: str, status: S) -> None:
    starts, to, given = COMMANDS[name]
    made = await request(scene, status)
    if status in starts:
        await done(scene, name, request_id=made.id, **given)
        assert (await now(scene, made)).status is to
        assert len(await stages(scene)) == 1
    else:
        found = await refused(scene, name, request_id=made.id, **given)
        assert found == (Refusal.INVALID_STATE_TRANSITION, "request_id")
        assert (await now(scene, made)).status is status


# --- asking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [None, *K])
@pytest.mark.parametrize("kind", list(ExecutionRequestType))
def test_exe_1_the_executor_that_was_asked_for_or_else_by_the_kind_of_work(
    kind: ExecutionRequestType, asked: K | None
) -> None:
    usual = K.CURSOR if kind is ExecutionRequestType.CODE_CHANGE else K.OPENCLAW_AGENT
    assert executor_for(kind, asked) is (asked or usual)


async def test_exe_1_a_request_is_routed_as_it_is_made(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=2)
    outcome = await create(scene, type=ExecutionRequestType.CODE_CHANGE, task_id=scene.task.id)
    made = outcome.row
    assert (made.status, made.executor, made.assigned_to) == (S.ASSIGNED, K.CURSOR, None)
    assert made.assigned_at == made.requested_at
    assert (made.project_id, made.task_id) == (scene.tenant.project.id, scene.task.id)
    (event,) = await scene.rows(models.OpEvent)
    assert (event.type, event.instance_id, event.task_id) == (
        OpEventType.DECISION_MADE,
        scene.instance.id,
        scene.task.id,
    )
    assert event.payload == {
        "stage": "EXECUTION_REQUESTED",
        "requestId": str(made.id),
        "status": "ASSIGNED",
        "type": "CODE_CHANGE",
        "executor": "CURSOR",
        "decision": "ALLOW",
        "reason": "Tier 2 allows YELLOW actions.",
        "actionType": "RUN_START",
        "toolName": None,
        "risk": "YELLOW",
    }


@pytest.mark.parametrize("state", [one for one in InstanceState if one is not InstanceState.ACTIVE])
async def test_exr_1_only_an_active_agent_asks(scene: Scene, state: InstanceState) -> None:
    await scene.set(scene.instance, state=state)
    outcome = await create(scene, scene.person)
    assert (outcome.code, outcome.field) == (Refusal.DEPENDENCY_NOT_MET, "instance_id")


@pytest.mark.parametrize("mode", [one for one in OperatorMode if one is not OperatorMode.NORMAL])
async def test_emg_4_in_an_emergency_nobody_is_given_new_work(scene: Scene, mode: OperatorMode) -> None:
    released, routed = await request(scene, S.PENDING), await request(scene)
    claimed = await request(scene, S.IN_PROGRESS)
    await scene.tenant.add(models.OperatorControl(mode=mode, reason="test", updated_at=datetime.now(UTC)))
    assert verdict(await create(scene))["triggeredRules"] == [f"operator_control:{mode}"]
    for outcome in (
        await do(scene, "assign_execution_request", request_id=released.id),
        await do(scene, "claim_execution_request", request_id=routed.id, executor_id="x"),
    ):
        assert outcome.code is Refusal.DEPENDENCY_NOT_MET
    await done(scene, "complete_execution_request", request_id=claimed.id)
    assert len(await scene.rows(models.ExecutionRequest)) == 3


# --- policy -----------------------------------------------------------------------------------------------------------


def verdict(outcome: Any) -> dict[str, Any]:
    """The verdict that stands in a request's place."""
    assert isinstance(outcome, Done), outcome
    assert outcome.row is None
    found: dict[str, Any] = outcome.extras["policy_decision"]
    return found


ASKS: dict[int, set[ExecutionRequestType]] = {
    0: set(ExecutionRequestType),
    1: {
        ExecutionRequestType.CODE_CHANGE,
        ExecutionRequestType.OPS,
        ExecutionRequestType.EMAIL,
        ExecutionRequestType.SOCIAL,
    },
    2: {ExecutionRequestType.EMAIL, ExecutionRequestType.SOCIAL},
    3: set(),
}
"""POL-6 and RSK-6, written down once more: which work asks for approval, by tier."""


@pytest.mark.parametrize("tier", list(ASKS))
@pytest.mark.parametrize("kind", list(ExecutionRequestType))
async def test_pol_6_the_tier_says_which_work_is_handed_on(scene: Scene, kind: ExecutionRequestType, tier: int) -> None:
    await scene.envelope(autonomy_tier=tier)
    outcome = await create(scene, type=kind)
    if kind not in ASKS[tier]:
        assert outcome.row.type is kind
        return
    assert verdict(outcome)["decision"] == "NEEDS_APPROVAL"
    assert await scene.rows(models.ExecutionRequest) == []
    (waiting,) = await scene.rows(models.ApprovalRecord)
    assert (waiting.request_type, waiting.requester_instance_id) == ("RUN_START", scene.instance.id)
    assert waiting.justification.startswith(kind.value)


async def test_pol_12_what_was_approved_is_handed_on_once(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=1)
    asked: dict[str, Any] = {"type": ExecutionRequestType.OPS, "payload": {"restart": "web"}, "task_id": scene.task.id}
    waiting = verdict(await create(scene, **asked))
    assert (await scene.rows(models.Task, id=scene.task.id))[0].status is TaskStatus.NEEDS_APPROVAL
    other = models.Operator(id=new_id(), auth_id=f"b-{new_id()}", name="Bob", email="bob@example.com")
    await scene.tenant.add(other)
    decider = scene.tenant.actor(operator_id=other.id)
    decision: dict[str, Any] = {"approval_id": UUID(waiting["approvalRecordId"]), "decision": ApprovalChoice.APPROVE}
    await done(scene, "decide_approval", decider, **decision)
    assert (await scene.rows(models.Task, id=scene.task.id))[0].status is TaskStatus.IN_PROGRESS
    assert verdict(await create(scene, **{**asked, "payload": {"restart": "db"}}))["decision"] == "NEEDS_APPROVAL"
    made = (await create(scene, **asked)).row
    assert (made.status, made.payload) == (S.ASSIGNED, {"restart": "web"})
    assert verdict(await create(scene, **asked))["decision"] == "NEEDS_APPROVAL"


async def test_pol_10_a_denial_is_on_record(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=3, allowed_task_types=[TaskType.CONTENT])
    denied = verdict(await create(scene, task_id=scene.task.id))
    assert (denied["decision"], denied["violations"]) == ("DENY", ["TASK_TYPE_NOT_ALLOWED"])
    assert await scene.rows(models.ExecutionRequest) == []
    (record,) = await scene.rows(models.ChangeRecord)
    assert (record.type, record.target_id) == (ChangeRecordType.POLICY_EVALUATED, scene.instance.id)


async def test_bud_3_an_estimate_beyond_the_limit_asks_for_more(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=3, cost_limits={"perRunUsd": 1})
    asked = verdict(await create(scene, estimated_cost_usd=1.01))
    assert [one["type"] for one in asked["requiredApprovals"]] == ["BUDGET_OVERRIDE"]
    assert (await create(scene, estimated_cost_usd=1)).row is not None


async def test_pii_4_no_secret_is_handed_on_nor_brought_back(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=3)
    secret = "sk-ant-api03-" + "a" * 40
    made = (await create(scene, payload={"steps": [f"use {secret}"], "apiKey": "hush", "maxTokens": 5})).row
    wanted = {"steps": ["use [REDACTED]"], "apiKey": "[REDACTED]", "maxTokens": 5}
    assert (await now(scene, made)).payload == wanted
    await scene.set(made, status=S.IN_PROGRESS)
    await done(scene, "complete_execution_request", request_id=made.id, result={"log": [secret], "answer": 42})
    assert (await now(scene, made)).result == {"log": ["[REDACTED]"], "answer": 42}
    journals = [await scene.rows(model) for model in (models.OpEvent, models.ChangeRecord, models.NotificationEvent)]
    assert not any(secret in str(vars(row)) for rows in journals for row in rows)


async def test_pii_4_a_secret_that_waits_for_approval_is_not_kept(scene: Scene) -> None:
    """POL-12: the approval is for the work as it was asked for, which its hash tells, and shows it without secrets."""
    secret = "sk-ant-api03-" + "a" * 40
    assert verdict(await create(scene, payload={"use": secret}))["riskLevel"] == "RED"
    (waiting,) = await scene.rows(models.ApprovalRecord)
    assert waiting.action_payload["toolArgs"] == {
        "type": "RESEARCH",
        "executor": "OPENCLAW_AGENT",
        "payload": {"use": "[REDACTED]"},
    }
    assert secret not in str(vars(waiting))


DEEP: Any = 1
for _ in range(64):
    DEEP = [DEEP]


@pytest.mark.parametrize("value", [["a"], "text", {"deep": DEEP}, {"lone": "\ud800"}])
async def test_what_is_handed_over_is_an_object_that_can_be_kept(scene: Scene, value: Any) -> None:
    claimed = await request(scene, S.IN_PROGRESS)
    outcome = await create(scene, payload=value)
    assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, "payload")
    wrong = (Refusal.VALIDATION_ERROR, "result")
    ends: dict[str, dict[str, Any]] = {"complete_execution_request": {}, "fail_execution_request": {"error": "x"}}
    for name, given in ends.items():
        assert await refused(scene, name, request_id=claimed.id, result=value, **given) == wrong


async def test_pol_2_an_agent_claims_no_work_for_a_task_that_its_policy_forbids(scene: Scene) -> None:
    await scene.envelope(autonomy_tier=2, allowed_task_types=[TaskType.CONTENT])
    started = datetime.now(UTC)
    docs = await request(scene, task_id=scene.task.id, requested_at=started - timedelta(hours=1))
    name = "claim_execution_request"
    assert await refused(scene, name, scene.agent, request_id=docs.id) == (Refusal.DEPENDENCY_NOT_MET, "request_id")
    assert (await refused(scene, name, scene.agent))[0] is Refusal.NOT_FOUND
    free = await request(scene, requested_at=started)
    assert (await done(scene, name, scene.agent)).id == free.id
    await scene.set(scene.task, type=TaskType.CONTENT)
    assert (await done(scene, name, scene.agent)).id == docs.id


async def test_rbac_11_an_agent_asks_for_itself_and_in_its_own_project(
    scene: Scene, other_tenant: TenantUnderTest
) -> None:
    other = await scene.peer()
    far = models.Project(id=new_id(), name="Far", slug="far")
    others = models.Task(id=new_id(), project_id=far.id, title="Far", type=TaskType.DOCS, status=TaskStatus.INBOX)
    await scene.tenant.add(far, others)
    elsewhere = await scene.peer(project_id=far.id)
    theirs = await make_scene(other_tenant)
    with pytest.raises(PermissionDenied):
        await create(scene, instance_id=other.id)
    for instance_id in (elsewhere.id, theirs.instance.id):
        outcome = await create(scene, instance_id=instance_id)
        assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "instance_id")
    for task_id in (others.id, theirs.task.id):
        outcome = await create(scene, task_id=task_id)
        assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "task_id")
    assert await scene.rows(models.ExecutionRequest) == []


# --- claiming ---------------------------------------------------------------------------------------------------------


async def test_exr_2_who_claims_a_request_has_it(scene: Scene) -> None:
    made = await request(scene, metadata_={"origin": "test"})
    await done(scene, "claim_execution_request", request_id=made.id, executor_id=" desk 4 ")
    found = await now(scene, made)
    assert (found.status, found.assigned_to) == (S.IN_PROGRESS, "desk 4")
    notes = found.metadata_ or {}
    assert notes["origin"] == "test"
    assert datetime.now(UTC) - datetime.fromisoformat(notes["claimedAt"]) < timedelta(minutes=1)


async def test_exr_2_of_twenty_that_claim_one_gets_it(scene: Scene) -> None:
    made = await request(scene)
    outcomes = await asyncio.gather(
        *(
            do(scene, "claim_execution_request", request_id=made.id, executor_id=f"desk {number}")
            for number in range(20)
        )
    )
    winners = [number for number, one in enumerate(outcomes) if isinstance(one, Done)]
    assert len(winners) == 1
    assert (await now(scene, made)).assigned_to == f"desk {winners[0]}"
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {Refusal.INVALID_STATE_TRANSITION}
    assert await stages(scene) == ["EXECUTION_STARTED"]


async def test_exr_2_agents_that_take_the_oldest_get_one_each(scene: Scene) -> None:
    """No two get the same, and nobody waits: eight agents, five requests."""
    started = datetime.now(UTC)
    rows = [await request(scene, requested_at=started + timedelta(seconds=number)) for number in range(5)]
    await request(scene, executor=K.CURSOR, requested_at=started - timedelta(days=1))
    agents = [await scene.peer() for _ in range(8)]
    outcomes = await asyncio.gather(*(do(scene, "claim_execution_request", scene.agent_of(one)) for one in agents))
    winners = {str(agent.id) for agent, one in zip(agents, outcomes, strict=True) if isinstance(one, Done)}
    assert len(winners) == len(rows)
    assert {(await now(scene, one)).assigned_to for one in rows} == winners
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {Refusal.NOT_FOUND}


async def test_exr_2_an_agent_takes_the_oldest_first(scene: Scene) -> None:
    started = datetime.now(UTC)
    newer = await request(scene, requested_at=started)
    older = await request(scene, requested_at=started - timedelta(hours=1))
    first = await done(scene, "claim_execution_request", scene.agent)
    second = await done(scene, "claim_execution_request", scene.agent)
    assert [first.id, second.id] == [older.id, newer.id]


async def test_exr_2_who_may_not_claim(scene: Scene, other_tenant: TenantUnderTest) -> None:
    codes = await request(scene, executor=K.CLAUDE_CODE)
    mine = await request(scene)
    far = models.Project(id=new_id(), name="Far", slug="far")
    await scene.tenant.add(far)
    elsewhere = scene.agent_of(await scene.peer(project_id=far.id))
    paused = scene.agent_of(await scene.peer(state=InstanceState.PAUSED))
    theirs = await make_scene(other_tenant)
    name = "claim_execution_request"
    assert await refused(scene, name, scene.agent, request_id=codes.id) == (Refusal.DEPENDENCY_NOT_MET, "request_id")
    assert await refused(scene, name, elsewhere, request_id=mine.id) == (Refusal.NOT_FOUND, "request_id")
    assert (await refused(scene, name, elsewhere))[0] is Refusal.NOT_FOUND
    assert (await refused(scene, name, paused, request_id=mine.id))[0] is Refusal.DEPENDENCY_NOT_MET
    assert await refused(theirs, name, request_id=mine.id, executor_id="x") == (Refusal.NOT_FOUND, "request_id")
    assert await refused(scene, name, request_id=mine.id) == (Refusal.VALIDATION_ERROR, "executor_id")
    assert await refused(scene, name, executor_id="x") == (Refusal.VALIDATION_ERROR, "request_id")
    assert (await now(scene, mine)).status is S.ASSIGNED


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_exr_3_the_agent_that_asked_hears_of_the_end(scene: Scene) -> None:
    made = await request(scene, S.IN_PROGRESS, task_id=scene.task.id, assigned_to="desk 4")
    await done(scene, "complete_execution_request", request_id=made.id, result={"answer": 42})
    found = await now(scene, made)
    assert (found.status, found.result) == (S.COMPLETED, {"answer": 42})
    assert found.completed_at is not None
    assert await stages(scene) == ["EXECUTION_COMPLETED"]
    await fan_out(scene.tenant.database, scene.tenant.id)
    (told,) = await scene.rows(models.Notification)
    assert (told.instance_id, told.operator_id, told.type) == (scene.instance.id, None, NotificationType.SYSTEM)
    assert (told.task_id, told.body) == (scene.task.id, "RESEARCH by OPENCLAW_AGENT: COMPLETED")


async def test_exr_1_a_failure_says_why_and_keeps_no_secret(scene: Scene) -> None:
    made = await request(scene, S.IN_PROGRESS)
    secret = "sk-ant-api03-" + "a" * 40
    await done(scene, "fail_execution_request", request_id=made.id, error=f"used {secret}", result={"tries": 2})
    found = await now(scene, made)
    assert found.status is S.FAILED
    assert found.result is not None
    assert found.result["tries"] == 2
    assert found.result["error"].startswith("used ")
    assert secret not in found.result["error"]
    await fan_out(scene.tenant.database, scene.tenant.id)
    (told,) = await scene.rows(models.Notification)
    assert (told.instance_id, told.severity) == (scene.instance.id, NotificationSeverity.ERROR)
    assert await refused(scene, "fail_execution_request", request_id=(await request(scene)).id, error=" ") == (
        Refusal.VALIDATION_ERROR,
        "error",
    )


async def test_exr_1_a_request_is_taken_back_and_called_off(scene: Scene) -> None:
    made = (await create(scene)).row
    await done(scene, "release_execution_request", request_id=made.id, reason="wrong desk")
    assert (await now(scene, made)).assigned_at is None
    await done(scene, "cancel_execution_request", scene.agent, request_id=made.id, reason="not needed")
    found = await now(scene, made)
    assert (found.status, found.result) == (S.FAILED, {"canceled": True, "reason": "not needed"})
    assert await stages(scene) == ["EXECUTION_REQUESTED", "EXECUTION_RELEASED", "EXECUTION_CANCELED"]
    assert await scene.rows(models.NotificationEvent, event_type="EXECUTION_ENDED") == []  # its own doing


async def test_exe_1_a_released_request_goes_to_another_executor(scene: Scene) -> None:
    made = await request(scene, S.PENDING)
    await done(scene, "assign_execution_request", request_id=made.id, executor=K.CLAUDE_CODE)
    found = await now(scene, made)
    assert (found.status, found.executor) == (S.ASSIGNED, K.CLAUDE_CODE)
    assert found.assigned_at is not None
    await fan_out(scene.tenant.database, scene.tenant.id)
    (told,) = await scene.rows(models.Notification)  # NOT-3: the agent that asked hears of it
    assert (told.instance_id, told.severity) == (scene.instance.id, NotificationSeverity.INFO)
    assert told.body == "RESEARCH by CLAUDE_CODE: ASSIGNED"


async def test_rbac_11_an_agent_ends_what_it_claimed_and_calls_off_what_it_asked_for(scene: Scene) -> None:
    other = await scene.peer()
    claimed = await request(scene, S.IN_PROGRESS, assigned_to=str(other.id))
    released = await request(scene, S.PENDING)
    missing = (Refusal.NOT_FOUND, "request_id")
    assert await refused(scene, "complete_execution_request", scene.agent, request_id=claimed.id) == missing
    assert await refused(scene, "fail_execution_request", scene.agent, request_id=claimed.id, error="x") == missing
    assert (
        await refused(scene, "cancel_execution_request", scene.agent_of(other), request_id=released.id, reason="x")
        == missing
    )
    await done(scene, "complete_execution_request", scene.agent_of(other), request_id=claimed.id)
    for name, row in (("assign_execution_request", released), ("release_execution_request", await request(scene))):
        with pytest.raises(PermissionDenied):  # for people alone
            await do(scene, name, scene.agent, request_id=row.id)


async def test_exr_1_two_ends_at_once_are_one(scene: Scene) -> None:
    made = await request(scene, S.IN_PROGRESS)
    outcomes = await asyncio.gather(
        do(scene, "complete_execution_request", request_id=made.id),
        do(scene, "fail_execution_request", request_id=made.id, error="no answer"),
    )
    assert sorted(isinstance(one, Done) for one in outcomes) == [False, True]
    async with scene.tenant.database.transaction(scene.person) as session:
        found = await session.scalars(
            select(models.NotificationEvent).where(models.NotificationEvent.event_type == "EXECUTION_ENDED")
        )
        assert len(list(found)) == 1
