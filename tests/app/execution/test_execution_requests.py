"""Work that is handed to executors: routed, claimed once, ended, and told (EXR-1 to EXR-3, EXE-1)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.execution.machines import EXECUTION_REQUEST
from app.execution.rules.executors import executor_for
from app.notification.fanout import fan_out
from app.unit_of_work import PermissionDenied, run
from db import models
from db.enums import (
    ActorType,
    ExecutionRequestType,
    InstanceState,
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


async def peer(scene: Scene, **values: Any) -> models.AgentInstance:
    """Another agent."""
    made = models.AgentInstance(
        **{
            "id": new_id(),
            "project_id": scene.tenant.project.id,
            "version_id": scene.version.id,
            "environment_id": scene.tenant.environment.id,
            "state": InstanceState.ACTIVE,
            **values,
        }
    )
    await scene.tenant.add(made)
    return made


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
    assert (await create(scene)).code is Refusal.DEPENDENCY_NOT_MET
    for outcome in (
        await do(scene, "assign_execution_request", request_id=released.id),
        await do(scene, "claim_execution_request", request_id=routed.id, executor_id="x"),
    ):
        assert outcome.code is Refusal.DEPENDENCY_NOT_MET
    await done(scene, "complete_execution_request", request_id=claimed.id)


async def test_rbac_11_an_agent_asks_for_itself_and_in_its_own_project(
    scene: Scene, other_tenant: TenantUnderTest
) -> None:
    other = await peer(scene)
    far = models.Project(id=new_id(), name="Far", slug="far")
    others = models.Task(id=new_id(), project_id=far.id, title="Far", type=TaskType.DOCS, status=TaskStatus.INBOX)
    await scene.tenant.add(far, others)
    elsewhere = await peer(scene, project_id=far.id)
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
    agents = [await peer(scene) for _ in range(8)]
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
    elsewhere = scene.agent_of(await peer(scene, project_id=far.id))
    paused = scene.agent_of(await peer(scene, state=InstanceState.PAUSED))
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


async def test_rbac_11_an_agent_ends_what_it_claimed_and_calls_off_what_it_asked_for(scene: Scene) -> None:
    other = await peer(scene)
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
