"""Answers out of what was learnt: rankings, estimates, profiles, insights."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.auth.scope import Grants, Scope
from app.graph.ids import global_id
from db import models
from db.enums import InstanceState
from db.ids import new_id
from tests.app.execution.desk import Desk, desk, registry
from tests.asking import ask, data_of

__all__ = ["desk", "registry"]


async def did(
    desk: Desk, agent: models.AgentInstance, good: int, bad: int, kind: str = "OPS", **given: Any
) -> models.AgentPerformance:
    """What an agent did of one kind of work."""
    values = {"version_id": agent.version_id, "avg_cost_usd": Decimal(0), "avg_completion_time_ms": 0.0, **given}
    made = models.AgentPerformance(
        instance_id=agent.id,
        project_id=agent.project_id,
        task_type=kind,
        success_count=good,
        failure_count=bad,
        total_tasks_completed=good + bad,
        last_updated_at=datetime.now(UTC),
        **values,
    )
    await desk.tenant.add(made)
    return made


def prj(desk: Desk) -> str:
    return global_id("prj", desk.tenant.project.id)


async def test_lrn_3_the_best_agents_for_a_kind_of_work(desk: Desk) -> None:
    """0.7 success and 0.3 cheapness over all versions, 0.5 without history, retired ones left out."""
    cheap, dear = await desk.agent("cheap"), await desk.agent("dear")
    await desk.agent("fresh")
    gone = await desk.agent("gone", InstanceState.RETIRED)
    newer = (await desk.registry.version()).id
    await did(desk, cheap, 3, 1, avg_cost_usd=Decimal(1))
    await did(desk, cheap, 4, 0, version_id=newer, avg_cost_usd=Decimal(3))
    await did(desk, cheap, 0, 9, kind="DOCS")
    await did(desk, dear, 1, 3, avg_cost_usd=Decimal(10))
    await did(desk, gone, 9, 0)
    query = """query ($project: ID!) { bestInstances(projectId: $project, taskType: OPS) {
        instance { name } score successRate tasks avgCostUsd } }"""
    answer = await ask(desk.tenant.database, desk.human, query, project=prj(desk))
    assert not answer.errors, answer.errors
    rows = answer.data["bestInstances"]
    assert [row["instance"]["name"] for row in rows] == ["cheap", "fresh", "dear"]
    assert (rows[0]["successRate"], rows[0]["tasks"], rows[0]["avgCostUsd"]) == (7 / 8, 8, 2.0)
    assert rows[0]["score"] == pytest.approx(0.7 * 7 / 8 + 0.3 * 0.5)
    assert (rows[1]["score"], rows[1]["successRate"]) == (0.5, None)
    assert rows[2]["score"] == pytest.approx(0.7 * 0.25 + 0.3 * 0.1)
    assert len(answer.statements) == 2


async def test_lrn_4_an_estimate_for_a_type(desk: Desk) -> None:
    """Weighted by tasks; of one project where that is asked; defaults where nothing is known."""
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    near, far = await desk.agent(), await desk.agent(project_id=project.id)
    await did(desk, near, 3, 0, avg_cost_usd=Decimal(1), avg_completion_time_ms=60_000.0)
    await did(desk, far, 1, 0, avg_cost_usd=Decimal(5), avg_completion_time_ms=300_000.0)
    query = """query ($project: ID!) {
        all: taskEstimate(taskType: OPS) { costUsd minutes confidence tasks }
        near: taskEstimate(taskType: OPS, projectId: $project) { costUsd minutes tasks }
        none: taskEstimate(taskType: SOCIAL) { costUsd minutes confidence tasks } }"""
    found = await data_of(desk.tenant, desk.human, query, project=prj(desk))
    assert (found["all"]["costUsd"], found["all"]["minutes"], found["all"]["tasks"]) == (2.0, 2.0, 4)
    assert found["all"]["confidence"] == pytest.approx(math.log10(5) / 2)
    assert found["near"] == {"costUsd": 1.0, "minutes": 1.0, "tasks": 3}
    assert found["none"] == {"costUsd": 0.5, "minutes": 30.0, "confidence": 0.0, "tasks": 0}


async def test_lrn_4_a_profile_names_best_and_worst(desk: Desk) -> None:
    """From 0.7 on and below 0.5, of two tasks at least, over all versions."""
    agent = await desk.agent()
    await did(desk, agent, 2, 0, kind="DOCS", version_id=(await desk.registry.version()).id)
    await did(desk, agent, 5, 3, kind="DOCS")
    await did(desk, agent, 1, 1, kind="OPS")
    await did(desk, agent, 1, 2, kind="SOCIAL")
    await did(desk, agent, 0, 1, kind="CONTENT")
    query = """query ($id: ID!) { performanceProfile(instanceId: $id) {
        successRate tasks bestTypes { taskType successRate tasks } worstTypes { taskType } } }"""
    found = (await data_of(desk.tenant, desk.human, query, id=global_id("ins", agent.id)))["performanceProfile"]
    assert (found["successRate"], found["tasks"]) == (9 / 16, 16)
    assert found["bestTypes"] == [{"taskType": "DOCS", "successRate": 0.7, "tasks": 10}]
    assert found["worstTypes"] == [{"taskType": "SOCIAL"}]
    unknown = await data_of(desk.tenant, desk.human, query, id=global_id("ins", new_id()))
    assert unknown["performanceProfile"] is None


async def test_lrn_3_insights_of_a_project(desk: Desk) -> None:
    """Counts of two tasks and more, and patterns that are surer than 0.7; the surest first."""
    agent = await desk.agent("Scout")
    await did(desk, agent, 9, 1)
    await did(desk, agent, 1, 3, kind="DOCS")
    await did(desk, agent, 1, 0, kind="SOCIAL")
    for name, confidence in (("strength:OPS", 0.95), ("strength:haste", 0.8), ("weakness:tests", 0.7)):
        await desk.tenant.add(
            models.AgentPattern(
                instance_id=agent.id,
                version_id=agent.version_id,
                project_id=agent.project_id,
                pattern=name,
                confidence=confidence,
                evidence=[],
                discovered_at=datetime.now(UTC),
                last_seen_at=datetime.now(UTC),
            )
        )
    query = """query ($project: ID!) { learningInsights(projectId: $project) {
        instance { name } trait subject confidence tasks pattern { pattern } } }"""
    rows = (await data_of(desk.tenant, desk.human, query, project=prj(desk)))["learningInsights"]
    assert [(row["trait"], row["subject"], row["confidence"], row["tasks"]) for row in rows] == [
        ("STRENGTH", "OPS", 0.95, 10),
        ("STRENGTH", "haste", 0.8, None),
        ("WEAKNESS", "DOCS", 0.75, 4),
    ]
    assert [row["pattern"] and row["pattern"]["pattern"] for row in rows] == ["strength:OPS", "strength:haste", None]


async def test_what_was_learnt_is_for_who_may_read_it(desk: Desk) -> None:
    """`read:intelligence`, in the project that is asked about."""
    query = "query ($project: ID!) { bestInstances(projectId: $project, taskType: OPS) { score } }"
    elsewhere = desk.tenant.actor(grants=Grants({"read:intelligence": Scope(projects=frozenset({new_id()}))}))
    for actor in (desk.tenant.actor("read:tasks"), elsewhere, desk.as_agent(await desk.agent())):
        answer = await ask(desk.tenant.database, actor, query, project=prj(desk))
        assert answer.errors[0]["extensions"]["code"] == "FORBIDDEN"
