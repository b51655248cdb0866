"""`workflowMetrics` (WF-7) and `workflowSuggestion` (WF-8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.auth.scope import Assignment, Grants
from db import models
from db.enums import WorkflowRunStatus
from db.ids import new_id
from tests.asking import ask, data_of
from tests.conftest import TenantUnderTest

METRICS = """query($workflow: ID, $days: Int! = 30, $asOf: DateTime) {
    workflowMetrics(workflowId: $workflow, days: $days, asOf: $asOf) {
    workflow { workflowKey } runs completed failed successRate averageDurationMs minDurationMs maxDurationMs
    retries paused escalations bottlenecks { stepId runs failureRate averageRetries } } }"""


def state(name: str, status: str, retries: int = 0, began: bool = True) -> dict[str, Any]:
    times = {"startedAt": "2026-01-01T00:00:00.000Z"} if began else {}
    return {"stepId": name, "status": status, "retryCount": retries, **times}


async def history(tenant: TenantUnderTest) -> models.Workflow:
    """Four runs of one workflow within 30 days, one before; one of another."""
    made = [
        models.Workflow(id=new_id(), workflow_key=key, name=key, description="", agents=[], steps=[])
        for key in ("mend", "write")
    ]
    await tenant.add(*made)
    mend, write = made
    now = datetime.now(UTC)

    def run(
        workflow: models.Workflow, status: WorkflowRunStatus, days: int, minutes: int | None, *steps: dict[str, Any]
    ) -> models.WorkflowRun:
        started = now - timedelta(days=days)
        return models.WorkflowRun(
            id=new_id(),
            run_key=new_id().hex[-8:],
            workflow_id=workflow.id,
            project_id=tenant.project.id,
            status=status,
            total_steps=2,
            steps=list(steps),
            context={},
            initial_input="x",
            started_at=started,
            completed_at=None if minutes is None else started + timedelta(minutes=minutes),
        )

    stuck = run(mend, WorkflowRunStatus.PAUSED, 2, None, state("fix", "DONE", 1), state("test", "FAILED", 2))
    await tenant.add(
        run(mend, WorkflowRunStatus.COMPLETED, 1, 10, state("fix", "DONE", 1), state("test", "DONE")),
        run(mend, WorkflowRunStatus.COMPLETED, 29, 20, state("fix", "DONE", 1), state("test", "DONE")),
        run(mend, WorkflowRunStatus.FAILED, 3, 99, state("fix", "FAILED"), state("test", "PENDING", began=False)),
        stuck,
        run(mend, WorkflowRunStatus.FAILED, 31, 5, state("fix", "FAILED", 9)),
        run(write, WorkflowRunStatus.RUNNING, 1, None, state("draft", "RUNNING")),
        models.ApprovalRecord(
            request_type="WORKFLOW_STEP_RETRY",
            target_entity="WorkflowRun",
            target_id=stuck.id,
            action_summary="again",
            justification="failed",
        ),
    )
    return mend


async def test_wf_7_figures_of_thirty_days(tenant: TenantUnderTest) -> None:
    mend = await history(tenant)
    answer = await ask(tenant.database, tenant.actor(), METRICS)
    assert not answer.errors
    first, second = answer.data["workflowMetrics"]
    bottlenecks = first.pop("bottlenecks")
    assert first == {
        "workflow": {"workflowKey": "mend"},
        "runs": 4,
        "completed": 2,
        "failed": 1,
        "successRate": pytest.approx(2 / 3),
        "averageDurationMs": 15 * 60_000,
        "minDurationMs": 10 * 60_000,
        "maxDurationMs": 20 * 60_000,
        "retries": 5,
        "paused": 1,
        "escalations": 1,
    }
    assert bottlenecks == [
        {"stepId": "test", "runs": 3, "failureRate": pytest.approx(1 / 3), "averageRetries": pytest.approx(2 / 3)},
        {"stepId": "fix", "runs": 4, "failureRate": 0.25, "averageRetries": 0.75},
    ]
    assert (second["runs"], second["successRate"], second["bottlenecks"]) == (1, None, [])
    assert len(answer.statements) == 3  # the figures, the steps, the workflows' names
    longer = await data_of(tenant, tenant.actor(), METRICS, days=40)
    assert longer["workflowMetrics"][0]["runs"] == 5
    week_ago = (datetime.now(UTC) - timedelta(days=7)).isoformat()
    earlier = await data_of(tenant, tenant.actor(), METRICS, asOf=week_ago)
    assert [one["runs"] for one in earlier["workflowMetrics"]] == [2]
    prefixed = f"wfl_{mend.id.hex}"
    (only,) = (await data_of(tenant, tenant.actor(), METRICS, workflow=prefixed))["workflowMetrics"]
    assert only["runs"] == 4


async def test_wf_7_a_bottleneck_fails_more_than_a_tenth_or_is_tried_again_every_second_time(
    tenant: TenantUnderTest,
) -> None:
    """Exactly a tenth, and exactly a half, are none."""
    workflow = models.Workflow(id=new_id(), workflow_key="w", name="w", description="", agents=[], steps=[])
    await tenant.add(workflow)
    await tenant.add(
        *(
            models.WorkflowRun(
                run_key=str(number),
                workflow_id=workflow.id,
                project_id=tenant.project.id,
                status=WorkflowRunStatus.COMPLETED,
                total_steps=4,
                steps=[
                    state("a tenth", "FAILED" if number < 1 else "DONE"),
                    state("a fifth", "FAILED" if number < 2 else "DONE"),
                    state("half", "DONE", 1 if number < 5 else 0),
                    state("six", "DONE", 1 if number < 6 else 0),
                ],
                context={},
                initial_input="x",
                started_at=datetime.now(UTC) - timedelta(days=1),
            )
            for number in range(10)
        )
    )
    (found,) = (await data_of(tenant, tenant.actor(), METRICS))["workflowMetrics"]
    assert [one["stepId"] for one in found["bottlenecks"]] == ["a fifth", "six"]


async def test_wf_7_is_the_tenant_s_and_within_the_scope(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    await history(tenant)
    assert (await data_of(other_tenant, other_tenant.actor(), METRICS))["workflowMetrics"] == []
    elsewhere = models.Project(id=new_id(), name="Far", slug="far")
    await tenant.add(elsewhere)
    scoped = Grants.union([Assignment(frozenset({"read:workflows"}), project_id=elsewhere.id)], datetime.now(UTC))
    assert (await data_of(tenant, tenant.actor(grants=scoped), METRICS))["workflowMetrics"] == []
    answer = await ask(tenant.database, tenant.actor("read:tasks"), METRICS)
    assert answer.code == "FORBIDDEN"


@pytest.mark.parametrize("days", [0, 366])
async def test_wf_7_days_have_a_range(tenant: TenantUnderTest, days: int) -> None:
    assert (await ask(tenant.database, tenant.actor(), METRICS, days=days)).code == "BAD_USER_INPUT"


SUGGESTION = """query($text: String!) { workflowSuggestion(text: $text) {
    workflowKey confidence startsByItself workflow { name } } }"""


async def test_wf_8_the_workflow_that_a_text_asks_for(tenant: TenantUnderTest) -> None:
    row = models.Workflow(workflow_key="bug-fix", name="Mend", description="", agents=[], steps=[])
    off = models.Workflow(workflow_key="feature-dev", name="New", description="", agents=[], steps=[], active=False)
    await tenant.add(row, off)

    async def suggested(text: str) -> Any:
        return (await data_of(tenant, tenant.actor(), SUGGESTION, text=text))["workflowSuggestion"]

    assert await suggested("Fix the crash") == {
        "workflowKey": "bug-fix",
        "confidence": 0.9,
        "startsByItself": True,
        "workflow": {"name": "Mend"},
    }
    assert (await suggested("implement it"))["workflow"] is None
    assert await suggested("hello") is None
    answer = await ask(tenant.database, tenant.actor("read:tasks"), SUGGESTION, text="bug")
    assert answer.code == "FORBIDDEN"
    assert (await ask(tenant.database, tenant.actor(), SUGGESTION, text="x" * 10_001)).code == "BAD_USER_INPUT"
