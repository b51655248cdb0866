"""Heartbeats: what they change, what they are answered with, and what errors in a row come to (HB-1 to HB-3)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    ChangeRecordType,
    InstanceState,
    NotificationSeverity,
    NotificationType,
    OperatorMode,
    OpEventType,
    PauseCause,
    TaskStatus,
    TaskType,
)
from db.ids import new_id
from tests.app.execution.desk import Desk, desk, registry
from tests.asking import recorded
from tests.serving import Served

__all__ = ["desk", "registry"]


DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]


async def beat(desk: Desk, agent: models.AgentInstance, **said: Any) -> dict[str, Any]:
    outcome = await desk.do("beat", desk.as_agent(agent), instance_id=agent.id, **said)
    assert isinstance(outcome, Done), outcome
    return outcome.extras


async def age(desk: Desk, agent: models.AgentInstance, **columns: Any) -> None:
    """Put the agent's row into another past."""
    async with desk.tenant.database.transaction(desk.human) as session:
        row = await session.get(models.AgentInstance, (desk.tenant.id, agent.id))
        for name, value in columns.items():
            setattr(row, name, value)


async def all_of(desk: Desk, model: Any) -> list[Any]:
    async with desk.tenant.database.transaction(desk.human) as session:
        return list(await session.scalars(select(model).order_by(model.id)))


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


async def fail(desk: Desk, agent: models.AgentInstance, times: int) -> dict[str, Any]:
    """Errors in a row, each in a minute of its own."""
    answer: dict[str, Any] = {}
    for turn in range(times):
        await age(desk, agent, heartbeat_at=ago(minutes=2))
        answer = await beat(desk, agent, error_message=f"boom {turn}")
    return answer


async def test_hb_1_what_a_heartbeat_leaves(desk: Desk) -> None:
    """Time, task and report on the row; one event; no change record, for it is no change that anybody decided."""
    agent = await desk.agent()
    task = await desk.task(TaskStatus.IN_PROGRESS, agent)
    await beat(desk, agent, current_task_id=task.id, session_key="s-1", soul_hash="ab", health={"load": 0.5})
    row = await desk.get(models.AgentInstance, agent.id)
    assert datetime.now(UTC) - row.heartbeat_at < timedelta(minutes=1)
    assert row.current_task_id == task.id
    assert row.runtime_meta == {"sessionKey": "s-1", "soulHash": "ab", "health": {"load": 0.5}}
    (event,) = await all_of(desk, models.OpEvent)
    assert (event.type, event.instance_id, event.task_id) == (OpEventType.HEARTBEAT, agent.id, task.id)
    assert (event.version_id, event.project_id) == (agent.version_id, agent.project_id)
    assert await all_of(desk, models.ChangeRecord) == []
    assert await all_of(desk, models.AuditLog) == []


async def test_hb_1_one_event_in_thirty_seconds(desk: Desk) -> None:
    """However often it beats; the row is up to date all the same."""
    agent = await desk.agent()
    for _ in range(3):
        await beat(desk, agent)
    assert len(await all_of(desk, models.OpEvent)) == 1
    await age(desk, agent, heartbeat_event_at=ago(seconds=29))
    await beat(desk, agent)
    assert len(await all_of(desk, models.OpEvent)) == 1
    await age(desk, agent, heartbeat_event_at=ago(seconds=30))
    await beat(desk, agent)
    assert len(await all_of(desk, models.OpEvent)) == 2


@pytest.mark.parametrize("state", list(InstanceState))
async def test_ins_4_whose_heartbeat_is_recorded(desk: Desk, state: InstanceState) -> None:
    """PAUSED and QUARANTINED are answered and leave no event; RETIRED is refused; its state is never its own to set."""
    agent = await desk.agent(state=state)
    outcome = await desk.do("beat", desk.as_agent(agent), instance_id=agent.id)
    row = await desk.get(models.AgentInstance, agent.id)
    assert row.state is state
    if state is InstanceState.RETIRED:
        assert isinstance(outcome, Refused)
        assert (outcome.code, row.heartbeat_at) == (Refusal.INVALID_STATE_TRANSITION, None)
        return
    assert isinstance(outcome, Done)
    assert outcome.extras["state"] == state.value
    assert row.heartbeat_at is not None
    silent = state in (InstanceState.PAUSED, InstanceState.QUARANTINED)
    assert len(await all_of(desk, models.OpEvent)) == (0 if silent else 1)


async def test_hb_1_a_heartbeat_costs_few_statements(desk: Desk) -> None:
    """HB-2: five, whatever there is to tell: the lock, the facts, the queue, the row, the event."""
    agent = await desk.agent()
    for _ in range(5):
        await desk.task(TaskStatus.ASSIGNED, agent)
        await desk.task()
        await _message(desk, agent)
    with recorded(desk.tenant.database.engine) as statements:
        await beat(desk, agent)
    assert len(statements) == 5, statements
    with recorded(desk.tenant.database.engine) as statements:
        await beat(desk, agent)
    assert len(statements) == 4, statements


async def test_rbac_11_an_agent_beats_for_itself_alone(desk: Desk) -> None:
    """A person may for an agent that they run by hand, where they may change it."""
    one, other = await desk.agents(2)
    with pytest.raises(PermissionDenied):
        await desk.do("beat", desk.as_agent(one), instance_id=other.id)
    viewer = desk.tenant.actor("read:instances")
    with pytest.raises(PermissionDenied):
        await desk.do("beat", viewer, instance_id=other.id)
    assert isinstance(await desk.do("beat", instance_id=other.id), Done)


async def test_hb_1_the_task_is_one_of_its_project(desk: Desk, other_tenant: Any) -> None:
    """Another project's or tenant's is not found, and the heartbeat does not count."""
    other = models.Project(id=new_id(), name="Other", slug="other")
    await desk.tenant.add(other)
    agent, task = await desk.agent(), await desk.task(project_id=other.id)
    for task_id in (task.id, new_id()):
        refused = await desk.do("beat", desk.as_agent(agent), instance_id=agent.id, current_task_id=task_id)
        assert isinstance(refused, Refused)
        assert (refused.code, refused.field) == (Refusal.NOT_FOUND, "current_task_id")
    assert (await desk.get(models.AgentInstance, agent.id)).heartbeat_at is None


@pytest.mark.parametrize("health", [{"x": "y" * 4_000}, {"big": 10**4_100}, {"deep": DEEP}])
async def test_hb_1_health_is_short(desk: Desk, health: dict[str, Any]) -> None:
    """Beyond that it is telemetry, which has a place of its own."""
    agent = await desk.agent()
    outcome = await desk.do("beat", desk.as_agent(agent), instance_id=agent.id, health=health)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, "health")


# --- The answer -------------------------------------------------------------------------------------------------------


async def _message(desk: Desk, agent: models.AgentInstance, **columns: Any) -> UUID:
    made = models.Notification(
        id=new_id(),
        type=NotificationType.SYSTEM,
        title="Hear",
        severity=NotificationSeverity.INFO,
        instance_id=agent.id,
        **columns,
    )
    await desk.tenant.add(made)
    return made.id


async def test_hb_2_the_answer(desk: Desk) -> None:
    """What is assigned, what may be claimed, what waits for a decision; the most urgent first."""
    agent, other = await desk.agents(2)
    mine = await desk.task(TaskStatus.ASSIGNED, agent, priority=2)
    urgent = await desk.task(TaskStatus.ASSIGNED, agent, other, priority=1)
    await desk.task(TaskStatus.IN_PROGRESS, agent)
    await desk.task(TaskStatus.ASSIGNED, other)
    free = await desk.task(priority=4)
    free_urgent = await desk.task(priority=1)
    meant = await desk.task(TaskStatus.INBOX, agent, priority=2)
    await desk.task(TaskStatus.INBOX, other)
    waits = await desk.task(parent_task_id=free.id)
    await desk.tenant.add(
        models.TaskDependency(id=new_id(), parent_task_id=free.id, task_id=waits.id, depends_on_task_id=free.id)
    )
    asked = await desk.approval(mine, "TOOL_EXECUTION", ApprovalDecision.PENDING, requester_instance_id=agent.id)
    await desk.approval(mine, "TOOL_EXECUTION", ApprovalDecision.PENDING, requester_instance_id=other.id)
    answer = await beat(desk, agent)
    assert [one["id"] for one in answer["pending_tasks"]] == [str(urgent.id), str(mine.id)]
    assert [one["id"] for one in answer["claimable_tasks"]] == [str(free_urgent.id), str(meant.id), str(free.id)]
    assert [one["id"] for one in answer["pending_approvals"]] == [str(asked.id)]
    assert (answer["mode"], answer["state"]) == ("NORMAL", "ACTIVE")
    assert answer["stale_after_ms"] == 300_000


async def test_hb_2_what_it_could_claim_is_what_the_claim_gives(desk: Desk) -> None:
    """`taskClaim` gives the first of the list, as its policy lets it."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="docs",
            attached_to_tenant=True,
            autonomy_tier=2,
            allowed_task_types=[TaskType.DOCS],
            version=1,
            active=True,
        )
    )
    agent = await desk.agent()
    await desk.task(type=TaskType.OPS, priority=1)
    docs = await desk.task(type=TaskType.DOCS, priority=3)
    answer = await beat(desk, agent)
    assert [one["id"] for one in answer["claimable_tasks"]] == [str(docs.id)]
    claimed = await desk.do("claim_task", desk.as_agent(agent), instance_id=agent.id)
    assert isinstance(claimed, Done)
    assert claimed.row is not None
    assert claimed.row.id == docs.id  # type: ignore[attr-defined]


@pytest.mark.parametrize("why", ["paused", "emergency", "budget", "tier", None])
async def test_hb_2_nothing_to_claim(desk: Desk, why: str | None) -> None:
    """For who may not claim, the list is empty; TSK-8: at tier 1 nobody does."""
    tier = 1 if why == "tier" else 2
    await desk.tenant.add(
        models.PolicyEnvelope(name="tier", attached_to_tenant=True, autonomy_tier=tier, version=1, active=True)
    )
    state = InstanceState.PAUSED if why == "paused" else InstanceState.ACTIVE
    agent = await desk.agent(
        state=state, spend_today=Decimal(2) if why == "budget" else Decimal(0), cost_caps={"dailyUsd": 2}
    )
    task = await desk.task()
    if why == "emergency":
        await desk.tenant.add(
            models.OperatorControl(id=new_id(), mode=OperatorMode.DRAINING, reason="r", updated_at=ago(minutes=1))
        )
    answer = await beat(desk, agent)
    assert [one["id"] for one in answer["claimable_tasks"]] == ([] if why else [str(task.id)])
    assert answer["budget_exceeded"] is (why == "budget")
    assert answer["mode"] == ("DRAINING" if why == "emergency" else "NORMAL")


@pytest.mark.parametrize(
    ("limits", "caps", "spent", "left"),
    [
        ({"dailyUsd": 5.0}, None, (2, 2), 3.0),
        ({"dailyUsd": 5.0, "monthlyUsd": 10.0}, None, (1, 9), 1.0),
        ({"dailyUsd": 5.0}, {"dailyUsd": 3.0}, (2, 2), 1.0),
        ({"dailyUsd": 5.0}, None, (7, 7), 0.0),
        ({"perRunUsd": 5.0}, None, (7, 7), None),
    ],
)
async def test_hb_2_what_is_left_of_the_budget(
    desk: Desk, limits: dict[str, float], caps: dict[str, float] | None, spent: tuple[int, int], left: float | None
) -> None:
    """BUD-1: the least of today's and the month's, narrowed by its own caps."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="b", attached_to_tenant=True, cost_limits=limits, autonomy_tier=1, version=1, active=True
        )
    )
    agent = await desk.agent(cost_caps=caps, spend_today=Decimal(spent[0]), spend_month=Decimal(spent[1]))
    answer = await beat(desk, agent)
    assert answer["budget_remaining_usd"] == left
    assert answer["budget_exceeded"] is (left == 0.0)


async def test_bud_2_a_day_that_is_over_ends_with_the_heartbeat(desk: Desk) -> None:
    """HB-1: the counters begin anew; an agent that its budget paused waits for the job, which resumes it."""
    over = ago(minutes=1)
    agent = await desk.agent(spend_today=Decimal(2), spend_month=Decimal(3), spend_reset_at=over)
    paused = await desk.agent(
        state=InstanceState.PAUSED, paused_by=PauseCause.BUDGET, spend_today=Decimal(2), spend_reset_at=over
    )
    assert (await beat(desk, agent))["budget_exceeded"] is False
    row = await desk.get(models.AgentInstance, agent.id)
    assert row.spend_today == 0
    assert row.spend_reset_at > datetime.now(UTC)
    before = await desk.get(models.AgentInstance, paused.id)
    assert (await beat(desk, paused))["budget_exceeded"] is False
    held = await desk.get(models.AgentInstance, paused.id)
    assert (held.spend_reset_at, held.state) == (before.spend_reset_at, InstanceState.PAUSED)


async def test_not_1_messages_are_told_once_the_oldest_thirty_first(desk: Desk) -> None:
    """They count as read with the answer; expired ones are not delivered, and nobody hears another's."""
    agent, other = await desk.agents(2)
    await _message(desk, agent, expires_at=ago(minutes=1))
    ids = [str(await _message(desk, agent)) for _ in range(31)]
    await _message(desk, other)
    assert [one["id"] for one in (await beat(desk, agent))["pending_notifications"]] == ids[:30]
    assert [one["id"] for one in (await beat(desk, agent))["pending_notifications"]] == ids[30:]
    assert (await beat(desk, agent))["pending_notifications"] == []
    unread = [one for one in await all_of(desk, models.Notification) if one.read_at is None]
    assert len(unread) == 2


async def test_not_1_ten_heartbeats_at_once_tell_each_message_once(desk: Desk) -> None:
    """They take turns on the agent's row."""
    agent = await desk.agent()
    ids = {str(await _message(desk, agent)) for _ in range(20)}
    answers = await asyncio.gather(*(beat(desk, agent) for _ in range(10)))
    told = [one["id"] for answer in answers for one in answer["pending_notifications"]]
    assert sorted(told) == sorted(ids)
    assert len(await all_of(desk, models.OpEvent)) == 1


async def test_hb_2_whether_its_soul_is_the_governed_one(desk: Desk) -> None:
    """An agent learns that it runs with old words."""
    await desk.tenant.add(
        models.AgentIdentity(id=new_id(), template_id=desk.registry.template.id, name="Scout", soul_hash="aa")
    )
    agent = await desk.agent()
    assert (await beat(desk, agent))["soul_is_current"] is None
    assert (await beat(desk, agent, soul_hash="aa"))["soul_is_current"] is True
    assert (await beat(desk, agent, soul_hash="bb"))["soul_is_current"] is False


# --- Errors in a row --------------------------------------------------------------------------------------------------


async def test_hb_3_two_errors_three_errors(desk: Desk) -> None:
    """At three an alert, once."""
    agent = await desk.agent()
    answer = await fail(desk, agent, 2)
    assert (answer["error_streak"], answer["error_quarantine_warning"]) == (2, False)
    assert await all_of(desk, models.Alert) == []
    answer = await fail(desk, agent, 1)
    assert (answer["error_streak"], answer["error_quarantine_warning"]) == (3, True)
    await fail(desk, agent, 1)
    (alert,) = await all_of(desk, models.Alert)
    assert (alert.type, alert.severity, alert.occurrences) == ("AGENT_ERROR_STREAK", AlertSeverity.WARNING, 1)
    assert (await desk.get(models.AgentInstance, agent.id)).state is InstanceState.ACTIVE


async def test_hb_3_five_errors_quarantine(desk: Desk) -> None:
    """EMERGENCY_QUARANTINE by the gateway, the agent's own work blocked, the alert CRITICAL; no more after that."""
    agent, other = await desk.agents(2)
    alone = await desk.task(TaskStatus.IN_PROGRESS, agent)
    shared = await desk.task(TaskStatus.IN_PROGRESS, agent, other)
    answer = await fail(desk, agent, 5)
    assert answer["state"] == "QUARANTINED"
    await fail(desk, agent, 2)
    records = await all_of(desk, models.ChangeRecord)
    assert [one.type for one in records] == [
        ChangeRecordType.EMERGENCY_QUARANTINE,
        ChangeRecordType.INSTANCE_TRANSITIONED,
        ChangeRecordType.TASK_TRANSITIONED,
    ]
    assert {one.actor_type.value for one in records} == {"SYSTEM"}
    assert [one.caused_by_id for one in records] == [None, records[0].id, records[0].id]
    (alert,) = await all_of(desk, models.Alert)
    assert (alert.severity, alert.status) == (AlertSeverity.CRITICAL, AlertStatus.OPEN)
    assert (await desk.get(models.Task, alone.id)).status is TaskStatus.BLOCKED
    assert (await desk.get(models.Task, shared.id)).status is TaskStatus.IN_PROGRESS


async def test_hb_3_a_good_heartbeat_ends_the_streak(desk: Desk) -> None:
    """And the warning, which the gateway resolves itself; what went wrong last stays to be read."""
    agent = await desk.agent()
    await fail(desk, agent, 4)
    assert (await beat(desk, agent))["error_streak"] == 0
    (alert,) = await all_of(desk, models.Alert)
    assert alert.status is AlertStatus.RESOLVED
    assert (await desk.get(models.AgentInstance, agent.id)).last_error == "boom 3"
    assert (await fail(desk, agent, 1))["error_streak"] == 1


async def test_hb_1_an_error_counts_once_in_a_minute(desk: Desk) -> None:
    """A heartbeat that is sent again is not another error, and ten at once are one."""
    agent = await desk.agent(heartbeat_at=ago(minutes=2))
    await asyncio.sleep(max(0, datetime.now(UTC).second - 54))  # not over the end of a minute
    await asyncio.gather(*(beat(desk, agent, error_message="boom") for _ in range(10)))
    assert (await desk.get(models.AgentInstance, agent.id)).error_streak == 1


async def test_hb_3_reactivated_it_has_all_its_tries_again(desk: Desk) -> None:
    """INS-1: the person who lets it go on does not see it quarantined by the next error."""
    agent = await desk.agent()
    await fail(desk, agent, 5)
    await desk.registry.approval("INSTANCE_REACTIVATION", "AgentInstance", agent.id)
    outcome = await desk.do("transition_instance", instance_id=agent.id, to=InstanceState.ACTIVE)
    assert isinstance(outcome, Done)
    assert (await fail(desk, agent, 1))["state"] == "ACTIVE"


async def test_pii_4_an_error_is_kept_without_its_secrets(desk: Desk) -> None:
    """Errors quote what they failed at."""
    agent = await desk.agent()
    await beat(desk, agent, error_message="401 for password=hunter2hunter2 at the door")
    row = await desk.get(models.AgentInstance, agent.id)
    assert "hunter2" not in row.last_error
    (event,) = await all_of(desk, models.OpEvent)
    assert "hunter2" not in str(event.payload)


# --- Over HTTP --------------------------------------------------------------------------------------------------------

HEARTBEAT = """mutation Beat($input: AgentHeartbeatInput!) { agentHeartbeat(input: $input) {
    state mode budgetRemainingUsd budgetExceeded errorStreak errorQuarantineWarning staleAfterMs soulIsCurrent
    pendingTasks { id title type status priority dueAt } claimableTasks { id }
    pendingApprovals { id requestType status summary taskId expiresAt }
    pendingNotifications { id type title body severity taskId approvalId createdAt }
    userErrors { code message field } } }"""


async def test_decision_26_a_quarantined_agent_beats_with_the_same_document(served: Served) -> None:
    """Its heartbeat and `viewer` answer, nothing else; a RETIRED one is nobody."""
    tenant = served.tenant
    template = models.AgentTemplate(id=new_id(), name="T")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome={}, genome_hash="0" * 64)
    agent = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=tenant.project.id,
        environment_id=tenant.environment.id,
        state=InstanceState.ACTIVE,
    )
    task = models.Task(
        id=new_id(),
        project_id=tenant.project.id,
        title="Dig",
        type=TaskType.OPS,
        status=TaskStatus.ASSIGNED,
        due_at=datetime.now(UTC),
    )
    link = models.TaskAssignee(task_id=task.id, instance_id=agent.id, position=0)
    message = models.Notification(
        id=new_id(), type=NotificationType.TASK_ASSIGNED, title="Yours", instance_id=agent.id, task_id=task.id
    )
    await tenant.add(template, version, agent, task, link, message)
    tokens = served.application.gateway.authenticator.local
    assert tokens is not None
    token = tokens.issue(ActorKind.INSTANCE, str(agent.id), tenant=tenant.slug, epoch=0)
    said = {"instanceId": f"ins_{agent.id.hex}"}

    async def beaten() -> dict[str, Any]:
        return await served.post(HEARTBEAT, token, input=said)

    first = (await beaten())["data"]["agentHeartbeat"]
    assert first["userErrors"] == []
    assert [one["id"] for one in first["pendingTasks"]] == [f"tsk_{task.id.hex}"]
    assert [(one["taskId"], one["type"]) for one in first["pendingNotifications"]] == [
        (f"tsk_{task.id.hex}", "TASK_ASSIGNED")
    ]
    for state in (InstanceState.QUARANTINED, InstanceState.RETIRED):
        # By the gateway's own door: what is changed past it is noticed within a second only.
        async with served.application.gateway.database.transaction(tenant.actor()) as session:
            row = await session.get(models.AgentInstance, (tenant.id, agent.id))
            assert row is not None
            row.state = state
        answer = await beaten()
        if state is InstanceState.QUARANTINED:
            assert answer["data"]["agentHeartbeat"]["state"] == "QUARANTINED"
            denied = await served.post("{ tasks { totalCount } }", token)
            assert denied["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        else:
            assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
