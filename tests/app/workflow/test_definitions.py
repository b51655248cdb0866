"""Commands of definitions: versions, switches, deletion (WF-1)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from app.commands import Done, Refusal, Refused
from db import models
from db.enums import WorkflowRunStatus
from db.ids import new_id
from tests.app.execution.desk import Desk
from tests.app.mutation_cases.workflows import AGENTS

STEP: dict[str, Any] = {
    "id": "draft",
    "agent": "writer",
    "input": "{{task}}",
    "expects": "",
    "retry_limit": 0,
    "timeout_minutes": 5,
}

YAML = """
id: {key}
name: {name}
agents: [{{id: a, persona: A}}]
steps: [{{id: s, agent: {agent}, input: x, expects: y, retryLimit: 1, timeoutMinutes: 2}}]
"""


async def audits(desk: Desk, action: str) -> list[models.AuditLog]:
    async with desk.tenant.database.transaction(desk.human) as session:
        return list(await session.scalars(select(models.AuditLog).where(models.AuditLog.action == action)))


async def upserted(desk: Desk, **changes: Any) -> Done | Refused:
    given = {"workflow_key": "letters", "name": "Letters", "agents": AGENTS, "steps": [STEP], **changes}
    return await desk.do("upsert_workflow", **given)


async def test_wf_1_loading_again_makes_the_next_version(desk: Desk) -> None:
    first = await upserted(desk)
    assert isinstance(first, Done)
    assert first.extras == {"created": True}
    text = YAML.format(key="letters", name="New", agent="a")
    second = await desk.do("load_workflow", yaml=text)
    assert isinstance(second, Done)
    assert second.extras == {"created": False}
    (row,) = await desk.rows(models.Workflow)
    assert (row.id, row.version, row.name, row.active) == (first.row.id, 2, "New", True)  # type: ignore[union-attr]
    assert row.steps == [{"id": "s", "agent": "a", "input": "x", "expects": "y", "retryLimit": 1, "timeoutMinutes": 2}]
    assert row.created_by_operator_id == desk.registry.operator.id
    assert [(one.metadata_ or {})["version"] for one in await audits(desk, "WORKFLOW_UPSERTED")] == [1, 2]


async def test_wf_1_loads_at_once_are_versions_of_one_workflow(desk: Desk) -> None:
    outcomes = await asyncio.gather(*(upserted(desk) for _ in range(4)))
    assert all(isinstance(one, Done) for one in outcomes)
    (row,) = await desk.rows(models.Workflow)
    assert row.version == 4
    assert [one.extras["created"] for one in outcomes if isinstance(one, Done)].count(True) == 1


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"workflow_key": " "}, "workflow_key"),
        ({"steps": [{**STEP, "agent": "ghost"}]}, "steps[0].agent"),
        ({"steps": [{**STEP, "retry_limit": -1}]}, "steps[0].retryLimit"),
        ({"steps": []}, "steps"),
    ],
)
async def test_wf_1_a_bad_definition_is_refused_with_its_field(desk: Desk, changes: dict[str, Any], where: str) -> None:
    refused = await upserted(desk, **changes)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, where)
    assert await desk.rows(models.Workflow) == []


async def test_wf_1_bad_yaml_is_refused_and_names_the_step(desk: Desk) -> None:
    text = YAML.format(key="l", name="L", agent="b")
    refused = await desk.do("load_workflow", yaml=text)
    assert isinstance(refused, Refused)
    assert (refused.field, "'s'" in refused.message, "'b'" in refused.message) == ("yaml", True, True)


async def test_wf_1_switched_off_and_on(desk: Desk) -> None:
    made = await upserted(desk)
    assert isinstance(made, Done)
    row: Any = made.row
    assert isinstance(await desk.do("activate_workflow", workflow_id=row.id), Refused)
    assert isinstance(await desk.do("deactivate_workflow", workflow_id=row.id), Done)
    refused = await desk.do(
        "start_workflow_run", workflow_id=row.id, project_id=desk.tenant.project.id, input="the roof"
    )
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "workflow_id")
    assert isinstance(await desk.do("activate_workflow", workflow_id=row.id), Done)
    assert len(await audits(desk, "WORKFLOW_ACTIVATED")) == len(await audits(desk, "WORKFLOW_DEACTIVATED")) == 1


@pytest.mark.parametrize("status", list(WorkflowRunStatus))
async def test_wf_1_deleted_unless_a_run_is_under_way(desk: Desk, status: WorkflowRunStatus) -> None:
    """It stays as a row, which its runs name (decision 19), starts no more, and is brought back by loading it."""
    made = await upserted(desk)
    assert isinstance(made, Done)
    workflow: Any = made.row
    await desk.tenant.add(
        models.WorkflowRun(
            id=new_id(),
            run_key="abcdefgh",
            workflow_id=workflow.id,
            project_id=desk.tenant.project.id,
            status=status,
            total_steps=1,
            steps=[],
            context={},
            initial_input="x",
            started_at=datetime.now(UTC),
        )
    )
    outcome = await desk.do("delete_workflow", workflow_id=workflow.id, reason="a mistake")
    (row,) = await desk.rows(models.Workflow)
    if status in (WorkflowRunStatus.PENDING, WorkflowRunStatus.RUNNING, WorkflowRunStatus.PAUSED):
        assert isinstance(outcome, Refused)
        assert (outcome.code, "abort them" in outcome.message) == (Refusal.DEPENDENCY_NOT_MET, True)
        assert (row.active, row.deleted_at) == (True, None)
        return
    assert isinstance(outcome, Done)
    assert (row.active, row.deleted_at is None) == (False, False)
    (audit,) = await audits(desk, "WORKFLOW_DELETED")
    assert (audit.description, audit.resource_id) == ("a mistake", str(row.id))
    assert isinstance(await desk.do("delete_workflow", workflow_id=workflow.id), Refused)
    refused = await desk.do("activate_workflow", workflow_id=workflow.id)
    assert isinstance(refused, Refused)
    assert "deleted" in refused.message
    assert isinstance(await upserted(desk), Done)
    (row,) = await desk.rows(models.Workflow)
    assert (row.active, row.deleted_at, row.version) == (True, None, 2)


async def test_a_workflow_is_the_tenant_s(desk: Desk, other_tenant: Any) -> None:
    """Two tenants have a workflow of the same key each."""
    assert isinstance(await upserted(desk), Done)
    await other_tenant.add(
        models.Workflow(workflow_key="letters", name="L", description="", agents=AGENTS, steps=[STEP])
    )
    async with other_tenant.database.transaction(other_tenant.actor()) as session:
        assert await session.scalar(select(func.count()).select_from(models.Workflow)) == 1
