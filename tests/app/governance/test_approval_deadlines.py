"""APR-7, APR-8 and APR-13: what time does to a request, and what its end does to the work that waits."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from app.governance.rules import ApprovalChoice
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    InstanceState,
    OperatorMode,
    PauseCause,
    ToolCallStatus,
)
from tests.app.governance.desk import (
    APPROVE,
    DENY,
    A,
    Desk,
    agent_of,
    done,
    refused,
    task_target,
    waiting_call,
)


async def test_apr_7_expiry(desk: Desk) -> None:
    """Strictly after its time: EXPIRED, its record says so, the requester is told; others stay. Twice is once."""
    late, other = await desk.request(), await desk.request()
    escalated = await desk.request()
    past = datetime.now(UTC) - timedelta(seconds=1)
    await desk.change(late, expires_at=past)
    await desk.change(escalated, expires_at=past, status=A.ESCALATED)
    assert await desk.system("expire_approvals") == {"expired": 2, "more": False}
    assert await desk.system("expire_approvals") == {"expired": 0, "more": False}
    states = [(await desk.row(one)).status for one in (late, escalated, other)]
    assert states == [A.EXPIRED, A.EXPIRED, A.PENDING]
    ends = [one for one in await desk.registry.journal() if one["type"] == "APPROVAL_DECIDED"]
    assert [(one["actorType"], one["afterState"]["decision"]) for one in ends] == [("SYSTEM", "EXPIRED")] * 2
    assert (await desk.told()).count("APPROVAL_DECIDED") == 2


async def test_apr_7_expiry_goes_in_batches(desk: Desk) -> None:
    """A batch says whether more may be due."""
    for _ in range(5):
        await desk.change(await desk.request(), expires_at=datetime.now(UTC) - timedelta(seconds=1))
    found = [await desk.system("expire_approvals", limit=2) for _ in range(3)]
    assert found == [{"expired": 2, "more": True}, {"expired": 2, "more": True}, {"expired": 1, "more": False}]


async def test_apr_7_the_job_and_a_person_at_once(desk: Desk) -> None:
    """A request ends once, whoever comes first."""
    approval = await desk.request()
    await desk.change(approval, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await asyncio.gather(
        desk.system("expire_approvals"),
        desk.decide(approval, APPROVE),
        desk.system("expire_approvals"),
        desk.decide(approval, DENY, 1),
    )
    assert (await desk.row(approval)).status is A.EXPIRED
    assert (await desk.registry.types()).count("APPROVAL_DECIDED") == 1


@pytest.mark.parametrize("action", [APPROVE, DENY, None])
async def test_apr_4_an_expired_request_ends_when_somebody_touches_it(
    desk: Desk, action: ApprovalChoice | None
) -> None:
    """Approving, denying and withdrawing look at the time too; the refusal keeps the expiry and its record."""
    approval = await desk.request()
    await desk.change(approval, expires_at=datetime.now(UTC) - timedelta(milliseconds=50))
    if action is None:
        found = await desk.registry.refused("cancel_approval", approval_id=approval.id)
    else:
        found = refused(await desk.decide(approval, action))
    assert found.code == "INVALID_STATE_TRANSITION"
    assert (await desk.row(approval)).status is A.EXPIRED
    assert (await desk.registry.types())[-1] == "APPROVAL_DECIDED"


async def test_apr_8_escalation(desk: Desk) -> None:
    """At 30 minutes, 60 and 90: levels 1, 2 and 3, each with its event, its audit log and its notification."""
    approval = await desk.request(request_type="COMPLETE_TASK", target_id=await task_target(desk))
    for minutes, level in ((29, 0), (30, 1), (59, 1), (60, 2), (90, 3), (500, 3)):
        await desk.change(approval, requested_at=datetime.now(UTC) - timedelta(minutes=minutes))
        await desk.system("escalate_approvals")
        row = await desk.row(approval)
        assert row.escalation_level == level, minutes
        assert row.status is (A.ESCALATED if level else A.PENDING)
    assert row.escalation_reason == "open for 90 minutes"
    assert await desk.stages() == ["REQUESTED", "ESCALATED", "ESCALATED", "ESCALATED"]
    logs = [one for one in await desk.rows(models.AuditLog) if one.action == "APPROVAL_ESCALATED"]
    assert [one.severity.value for one in logs] == ["WARNING"] * 3
    raised = [one for one in await desk.rows(models.NotificationEvent) if one.event_type == "APPROVAL_ESCALATED"]
    assert [one.payload["level"] for one in raised] == [1, 2, 3]
    (alert,) = await desk.rows(models.Alert)
    assert (alert.type, alert.severity.value) == ("APPROVAL_OVERDUE", "CRITICAL")
    assert await desk.registry.types() == ["APPROVAL_REQUESTED"]
    done(await desk.decide(approval, APPROVE))


async def test_apr_8_the_tenants_own_limit_and_what_is_not_escalated(desk: Desk) -> None:
    """`approvalSlaMinutes` takes the place of 30; what has ended or expired is not raised; one level a run."""
    tenant = desk.registry.tenant
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(
            update(models.Tenant).where(models.Tenant.id == tenant.id).values(settings={"approvalSlaMinutes": 5})
        )
    long_ago = datetime.now(UTC) - timedelta(minutes=50)
    due, ended, expired = [await desk.request() for _ in range(3)]
    await desk.change(due, requested_at=long_ago)
    await desk.change(ended, requested_at=long_ago, status=A.DENIED)
    await desk.change(expired, requested_at=long_ago, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert await desk.system("escalate_approvals") == {"escalated": 1, "more": False}
    assert [(await desk.row(one)).escalation_level for one in (due, ended, expired)] == [1, 0, 0]


async def test_apr_7_people_cannot_run_the_jobs_commands(desk: Desk) -> None:
    """Time does it, not a person."""
    for name in ("expire_approvals", "escalate_approvals"):
        with pytest.raises(PermissionDenied):
            await run(desk.registry.tenant.database, desk.asker, name, {})


@pytest.mark.parametrize(
    ("end", "status", "event"),
    [
        ("approve", ToolCallStatus.RUNNING, "TOOL_CALL_STARTED"),
        ("deny", ToolCallStatus.DENIED, "TOOL_CALL_BLOCKED"),
        ("expire", ToolCallStatus.DENIED, "TOOL_CALL_BLOCKED"),
        ("cancel", ToolCallStatus.DENIED, "TOOL_CALL_BLOCKED"),
    ],
)
async def test_apr_13_the_tool_call_that_waited(desk: Desk, end: str, status: ToolCallStatus, event: str) -> None:
    """TOL-2: approved it runs, otherwise it is denied, with an event that names the decision's record."""
    approval, call = await waiting_call(desk)
    if end == "expire":
        await desk.change(approval, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        await desk.system("expire_approvals")
    elif end == "cancel":
        await desk.registry.done("cancel_approval", approval_id=approval.id)
    else:
        done(await desk.decide(approval, APPROVE if end == "approve" else DENY))
    (row,) = await desk.rows(models.ToolCall)
    assert row.status is status
    found = [one for one in await desk.rows(models.OpEvent) if one.tool_call_id == call.id and one.type.value == event]
    (decided,) = [one for one in await desk.rows(models.ChangeRecord) if one.type.value == "APPROVAL_DECIDED"]
    assert [one.change_record_id for one in found] == [decided.id]
    told, ended = found[0].payload, {"approve": "APPROVED", "deny": "DENIED", "expire": "EXPIRED", "cancel": "CANCELED"}
    assert (told["approvalId"], told["decision"]) == (str(approval.id), ended[end])
    assert (told.get("status"), told.get("error"), row.duration_ms) == (
        (None, None, None) if end == "approve" else ("DENIED", f"The approval was {ended[end].lower()}.", None)
    )
    assert row.error == told.get("error")


async def test_apr_13_a_bigger_budget_lets_the_agent_and_its_work_go_on(desk: Desk) -> None:
    """BUDGET_OVERRIDE: what was asked for is added for today, and who was paused by the budget is active again."""
    agent = await agent_of(
        desk, state=InstanceState.PAUSED, paused_by=PauseCause.BUDGET, pre_pause_state=InstanceState.ACTIVE
    )
    approval = await desk.request(
        request_type="BUDGET_OVERRIDE", target_id=("AgentInstance", agent.id), estimated_cost=12.5
    )
    done(await desk.decide(approval, APPROVE))
    (row,) = await desk.rows(models.AgentInstance)
    assert (row.state, row.paused_by) == (InstanceState.ACTIVE, None)
    assert Decimal(str(row.metadata_["budgetExtra"]["usd"])) == Decimal("12.5")
    journal = await desk.registry.journal()
    assert [one["type"] for one in journal] == ["APPROVAL_REQUESTED", "APPROVAL_DECIDED", "INSTANCE_TRANSITIONED"]
    assert journal[2]["causedBy"] == {"seq": journal[1]["seq"]}
    assert (await desk.row(approval)).used_at is not None


async def test_emg_6_a_budget_granted_during_an_emergency_waits_for_its_end(desk: Desk) -> None:
    """The agent is the emergency's now: it stays paused, and goes on when the mode is NORMAL again."""
    agent = await agent_of(
        desk, state=InstanceState.PAUSED, paused_by=PauseCause.BUDGET, pre_pause_state=InstanceState.ACTIVE
    )
    approval = await desk.request(
        request_type="BUDGET_OVERRIDE", target_id=("AgentInstance", agent.id), estimated_cost=1
    )
    await desk.registry.do("set_operator_control", mode=OperatorMode.PAUSED, reason="drill")
    done(await desk.decide(approval, APPROVE))
    (row,) = await desk.rows(models.AgentInstance)
    assert (row.state, row.paused_by) == (InstanceState.PAUSED, PauseCause.EMERGENCY)
    await desk.registry.do("set_operator_control", mode=OperatorMode.NORMAL)
    (row,) = await desk.rows(models.AgentInstance)
    assert row.state is InstanceState.ACTIVE
