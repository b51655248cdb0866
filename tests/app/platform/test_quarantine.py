"""What a quarantine of the tenant does to runs under way (EMG-4, RUN-4, TOL-4)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from app.commands import Done
from app.platform.rules import Standing
from db import models
from db.enums import InstanceState, OperatorMode, RiskLevel, RunStatus, TaskStatus, ToolCallStatus
from db.ids import new_id
from tests.app.platform.fleet import Fleet

N, M, T = InstanceState, OperatorMode, TaskStatus


async def test_emg_4_a_quarantine_ends_runs_and_their_tool_calls(fleet: Fleet) -> None:
    """Running runs fail as `quarantined`, with what they run; a call that waits is denied. A pause leaves them. What
    they have cost goes to their task, and every end has its event (RUN-4, TOL-4)."""
    agent = fleet.agent(Standing(N.ACTIVE))
    await fleet.add(agent)
    rows = fleet.task(T.IN_PROGRESS, [agent])
    task: Any = rows[0]
    task.budget_allocated, task.budget_remaining, task.actual_cost = Decimal(2), Decimal("1.5"), Decimal("0.5")
    await fleet.add(*rows)
    begun = datetime.now(UTC)
    runs = [
        models.Run(
            id=new_id(),
            idempotency_key=f"r{cost}",
            instance_id=agent.id,
            version_id=fleet.version.id,
            project_id=task.project_id,
            task_id=task.id,
            session_key="s",
            started_at=begun,
            model="m",
            input_tokens=10,
            output_tokens=5,
            cost_usd=Decimal(cost),
        )
        for cost in ("1", "0.25")
    ]
    run = runs[0]
    calls = [
        models.ToolCall(
            id=new_id(),
            run_id=run.id,
            instance_id=agent.id,
            tool_name="shell",
            risk_level=RiskLevel.YELLOW,
            started_at=begun,
            status=status,
        )
        for status in (ToolCallStatus.PENDING, ToolCallStatus.RUNNING, ToolCallStatus.SUCCESS)
    ]
    await fleet.add(*runs, *calls)
    await fleet.set(M.PAUSED)
    assert (await fleet.rows(models.Run))[0].status is RunStatus.RUNNING
    outcome = await fleet.set(M.QUARANTINED)
    assert isinstance(outcome, Done)
    assert outcome.extras["runs_failed"] == 2
    for ended in await fleet.rows(models.Run):
        assert (ended.status, ended.error) == (RunStatus.FAILED, "quarantined")
        assert ended.ended_at is not None
        assert ended.duration_ms is not None
    pending, running, finished = await fleet.rows(models.ToolCall)
    assert [one.status.value for one in (pending, running, finished)] == ["DENIED", "FAILED", "SUCCESS"]
    assert pending.duration_ms is None
    assert running.duration_ms is not None
    told = {(one.type.value, one.run_id, one.tool_call_id): one for one in await fleet.rows(models.OpEvent)}
    assert set(told) == {
        *(("RUN_FAILED", one.id, None) for one in runs),
        ("TOOL_CALL_BLOCKED", run.id, pending.id),
        ("TOOL_CALL_COMPLETED", run.id, running.id),
    }
    payload = told["RUN_FAILED", run.id, None].payload
    assert (payload["costUsd"], payload["inputTokens"], payload["outputTokens"]) == (1, 10, 5)
    (charged,) = await fleet.rows(models.Task)
    assert (charged.actual_cost, charged.budget_remaining) == (Decimal("1.75"), Decimal("0.25"))


async def test_run_4_a_task_without_a_budget_still_has_none_after_a_quarantine(fleet: Fleet) -> None:
    """Its cost counts all the same."""
    agent = fleet.agent(Standing(N.ACTIVE))
    await fleet.add(agent)
    rows = fleet.task(T.IN_PROGRESS, [agent])
    task: Any = rows[0]
    run = models.Run(
        id=new_id(),
        idempotency_key="r",
        instance_id=agent.id,
        version_id=fleet.version.id,
        task_id=task.id,
        session_key="s",
        started_at=datetime.now(UTC),
        model="m",
        cost_usd=Decimal(3),
    )
    await fleet.add(*rows)
    await fleet.add(run)
    await fleet.set(M.QUARANTINED)
    (charged,) = await fleet.rows(models.Task)
    assert (charged.actual_cost, charged.budget_remaining) == (Decimal(3), None)


async def test_tol_2_a_quarantine_withdraws_what_its_calls_waited_for(fleet: Fleet) -> None:
    """The request is cancelled in the same transaction, with a record that the quarantine caused."""
    agent = fleet.agent(Standing(N.ACTIVE))
    run = models.Run(
        id=new_id(),
        idempotency_key="r",
        instance_id=agent.id,
        version_id=fleet.version.id,
        session_key="s",
        started_at=datetime.now(UTC),
        model="m",
    )
    call = models.ToolCall(
        id=new_id(),
        run_id=run.id,
        instance_id=agent.id,
        tool_name="shell",
        risk_level=RiskLevel.YELLOW,
        started_at=datetime.now(UTC),
        status=ToolCallStatus.PENDING,
    )
    request = models.ApprovalRecord(
        id=new_id(),
        request_type="TOOL_EXECUTION",
        action_summary="Call shell.",
        justification="It has to.",
        requester_instance_id=agent.id,
        tool_call_id=call.id,
    )
    await fleet.add(agent, run, call, request)
    assert isinstance(await fleet.set(M.QUARANTINED), Done)
    (request,) = await fleet.rows(models.ApprovalRecord)
    assert (request.status.value, request.decision_reason) == ("CANCELED", "quarantined")
    records = {one.type.value: one for one in await fleet.rows(models.ChangeRecord)}
    assert records["APPROVAL_DECIDED"].caused_by_id == records["EMERGENCY_QUARANTINE"].id
    assert records["APPROVAL_DECIDED"].id in {one.change_record_id for one in await fleet.rows(models.OpEvent)}
