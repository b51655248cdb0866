"""One statement a level: the answer of a deep query against SQL written by hand, and the count against the rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest

from app.graph.ids import global_id
from db import models
from db.enums import RunStatus, TaskType
from db.ids import new_id
from tests.asking import ask
from tests.conftest import Demo, TenantUnderTest

DEEP = """
query($instances: Int!, $tasks: Int!, $runs: Int!) {
  agentInstances(first: $instances) { edges { node { id name tasks(first: $tasks) { edges { node { id title
    runs(first: $runs) { edges { node { id status version { id versionLabel template { id name } } } } } } } } } } }
}
"""

BY_HAND = """
SELECT jsonb_agg(jsonb_build_object('id', i.id, 'name', i.name, 'tasks', (
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'title', t.title, 'runs', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'status', r.status,
            'version', (SELECT jsonb_build_object('id', v.id, 'versionLabel', v.version_label, 'template',
                (SELECT jsonb_build_object('id', m.id, 'name', m.name) FROM agent_templates m
                 WHERE m.tenant_id = v.tenant_id AND m.id = v.template_id))
                FROM agent_versions v WHERE v.tenant_id = r.tenant_id AND v.id = r.version_id)
        ) ORDER BY r.id), '[]') FROM (SELECT * FROM runs r WHERE r.tenant_id = t.tenant_id AND r.task_id = t.id
                                      ORDER BY r.id LIMIT $4) r
    )) ORDER BY t.id), '[]') FROM (
        SELECT t.* FROM tasks t JOIN task_assignees a ON a.tenant_id = t.tenant_id AND a.task_id = t.id
        WHERE a.tenant_id = i.tenant_id AND a.instance_id = i.id ORDER BY t.id LIMIT $3) t
)) ORDER BY i.id) AS found
FROM (SELECT * FROM agent_instances WHERE tenant_id = $1 ORDER BY id LIMIT $2) i
"""


async def test_twenty_by_five_by_five_is_what_the_tables_say(demo_fleet: Demo) -> None:
    """instance -> tasks -> runs -> version -> template, right against SQL by hand, in at most 6 data statements."""
    answer = await ask(demo_fleet.database, demo_fleet.northwind, DEEP, instances=20, tasks=5, runs=5)
    assert not answer.errors
    async with demo_fleet.database.platform() as connection:
        found = await connection.exec_driver_sql(BY_HAND, (demo_fleet.northwind.tenant_id, 20, 5, 5))
        raw = found.scalar_one()
    expected = orjson.loads(raw) if isinstance(raw, str) else raw
    assert _plain(answer.data["agentInstances"]) == _with_global_ids(expected, "ins")
    assert any(task["runs"] for instance in expected for task in instance["tasks"])
    assert len(answer.statements) <= 6


def _plain(value: Any) -> Any:
    """Connections as lists."""
    if isinstance(value, dict):
        if "edges" in value:
            return [_plain(edge["node"]) for edge in value["edges"]]
        return {key: _plain(inner) for key, inner in value.items()}
    return value


_PREFIX = {"tasks": "tsk", "runs": "run", "version": "ver", "template": "tpl"}


def _with_global_ids(value: Any, prefix: str) -> Any:
    if isinstance(value, list):
        return [_with_global_ids(one, prefix) for one in value]
    if isinstance(value, dict):
        return {
            key: global_id(prefix, UUID(inner)) if key == "id" else _with_global_ids(inner, _PREFIX.get(key, prefix))
            for key, inner in value.items()
        }
    return value


@pytest.mark.parametrize("parents", [1, 10, 200])
async def test_the_statement_count_does_not_grow_with_the_rows(tenant: TenantUnderTest, parents: int) -> None:
    """Keyset paging under a parent is one statement a level, also for 200 parents."""
    template = models.AgentTemplate(id=new_id(), name="T")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome={}, genome_hash="0" * 64)
    await tenant.add(template, version)
    instance = models.AgentInstance(
        id=new_id(), version_id=version.id, project_id=tenant.project.id, environment_id=tenant.environment.id
    )
    await tenant.add(instance)
    tasks = [
        models.Task(id=new_id(), project_id=tenant.project.id, title=f"task {i}", type=TaskType.DOCS)
        for i in range(parents)
    ]
    runs = [
        models.Run(
            id=new_id(),
            instance_id=instance.id,
            version_id=version.id,
            task_id=task.id,
            session_key="s",
            started_at=instance.created_at,
            model="m",
            input_tokens=1,
            output_tokens=1,
            cost_usd=0,
            status=RunStatus.RUNNING,
            idempotency_key=f"{task.title}.{j}",
        )
        for task in tasks
        for j in range(3)
    ]
    async with tenant.database.transaction(tenant.actor()) as session:
        for row in (*tasks, *runs):
            row.tenant_id = tenant.id  # type: ignore[attr-defined]
        session.add_all(tasks)
        await session.flush()
        session.add_all(runs)
    query = """{ tasks(first: 200) { edges { node { title runs(first: 2) { totalCount pageInfo { hasNextPage endCursor }
        edges { cursor node { version { template { name } } } } } } } } }"""
    answer = await ask(tenant.database, tenant.actor(), query)
    assert not answer.errors, answer.errors
    nodes = [edge["node"] for edge in answer.data["tasks"]["edges"]]
    assert len(nodes) == parents
    assert all(len(node["runs"]["edges"]) == 2 and node["runs"]["totalCount"] == 3 for node in nodes)
    assert all(node["runs"]["pageInfo"]["hasNextPage"] for node in nodes)
    assert len(answer.statements) == 5  # tasks, runs, totals, versions, templates
