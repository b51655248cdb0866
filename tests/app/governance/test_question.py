"""The question behind a verdict: what it leaves out is what nobody asked for, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from app.governance import question
from app.governance.question import Question
from db import models
from db.ids import new_id
from db.texts import DriverText
from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest

ASKED = ("task", "run", "child", "spawn", "request")


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent with a policy, a child and an earlier request for approval."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=1, cost_limits={"dailyTokens": 5})
    await made.peer(parent_instance_id=made.instance.id)
    request = models.ApprovalRecord(
        id=new_id(),
        request_type="TOOL_EXECUTION",
        action_summary="Call shell.",
        justification="It has to.",
        idempotency_key="k-1",
    )
    await tenant.add(request)
    return made


async def found(scene: Scene, statement: DriverText, given: Question) -> dict[str, Any]:
    async with scene.tenant.database.reads.connection(scene.tenant.id) as connection:
        ((row),) = await connection.fetch(statement.sql, statement.arguments(given.values))
    return dict(row)


@pytest.mark.parametrize("shape", list(product((False, True), repeat=len(ASKED))), ids=str)
async def test_what_is_left_out_is_empty_and_the_rest_is_the_same(scene: Scene, shape: tuple[bool, ...]) -> None:
    task, run, child, spawn, request = shape
    given = Question(
        tenant_id=scene.tenant.id,
        now=datetime.now(UTC),
        instance_id=scene.instance.id,
        task_id=scene.task.id if task else None,
        run_id=scene.run.id if run else None,
        child_template_id=scene.template.id if child else None,
        is_spawn=spawn,
        key="k-1" if request else None,
    )
    everything = await found(scene, question._facts_of(question._Parts(*[True] * len(ASKED)))[1], given)
    if not spawn:
        everything["fleet"] = None
    own = await found(scene, given.driver_text, given)
    assert own == everything
    assert [own[name] is not None for name in ("run_status", "child_role", "fleet", "asked")] == list(shape[1:])
    assert (own["task"] is not None) == (task or run)
    tables = ("FROM tasks", "JOIN runs", "FROM agent_templates", "FROM approval_records")
    read = [table in given.driver_text.sql for table in tables]
    assert read == [task or run, run, child, request]
