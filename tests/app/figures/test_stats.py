"""Figures against SQL written by hand, on the demo fleet; and who may see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.auth.scope import Assignment, Grants
from app.figures import fleet, work
from app.graph import stats
from app.graph.ids import global_id
from app.graph.registry import camel
from app.schema import schema
from db import models
from db.enums import TaskStatus, TaskType
from db.ids import new_id
from tests.asking import ask
from tests.conftest import Demo, TenantUnderTest

FIELDS = (*work.FIELDS, *fleet.FIELDS)


async def rows(demo: Demo, sql: str) -> list[Any]:
    """What a superuser's eyes see of northwind; `$1` is the tenant."""
    async with demo.database.platform() as connection:
        return list(await connection.exec_driver_sql(sql, (demo.northwind.tenant_id,)))


async def test_tasks_by_status(demo_fleet: Demo) -> None:
    query = "{ taskStats(groupBy: [STATUS]) { status count actualCostUsd estimatedCostUsd overdue } }"
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    assert answer.errors == []
    assert len(answer.statements) == 1
    expected = await rows(
        demo_fleet,
        """SELECT status, count(*), coalesce(sum(actual_cost), 0), coalesce(sum(estimated_cost), 0),
            count(*) FILTER (WHERE due_at < now() AND status NOT IN ('DONE', 'CANCELED'))
        FROM tasks WHERE tenant_id = $1 GROUP BY status""",
    )
    assert len(expected) > 3
    assert {tuple(group.values()) for group in answer.data["taskStats"]} == {
        (row[0], row[1], float(row[2]), float(row[3]), row[4]) for row in expected
    }
    counts = [group["count"] for group in answer.data["taskStats"]]
    assert counts == sorted(counts, reverse=True)


async def test_a_task_counts_for_each_of_its_assignees(demo_fleet: Demo) -> None:
    query = "{ taskStats(groupBy: [ASSIGNEE, STATUS]) { assignee { id } status count } }"
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    assert answer.errors == []
    assert len(answer.statements) == 2  # the figures, and the assignees' rows
    expected = await rows(
        demo_fleet,
        """SELECT a.instance_id, t.status, count(*) FROM tasks t LEFT JOIN task_assignees a
            ON a.tenant_id = t.tenant_id AND a.task_id = t.id
        WHERE t.tenant_id = $1 GROUP BY 1, 2""",
    )
    found = {(g["assignee"] and g["assignee"]["id"], g["status"], g["count"]) for g in answer.data["taskStats"]}
    assert found == {(row[0] and global_id("ins", row[0]), row[1], row[2]) for row in expected}


async def test_cost_by_model_and_day(demo_fleet: Demo) -> None:
    """COST-3, in a time zone whose days begin at another moment than ours."""
    query = """query ($since: DateTime!) { costStats(
        groupBy: [MODEL], bucket: DAY, timeZone: "Asia/Tokyo", filter: {timestamp: {gte: $since}}
    ) { model period count costUsd inputTokens } }"""
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query, since="2020-01-01T00:00:00Z")
    assert answer.errors == []
    assert len(answer.statements) == 1
    expected = await rows(
        demo_fleet,
        """SELECT model, date_trunc('day', timestamp, 'Asia/Tokyo'), count(*), sum(delta_usd),
            coalesce(sum((payload->>'inputTokens')::numeric), 0)
        FROM op_events WHERE tenant_id = $1 AND type = 'COST_TICK' GROUP BY 1, 2""",
    )
    assert len(expected) > 3
    found = {
        (g["model"], datetime.fromisoformat(g["period"]), g["count"], round(g["costUsd"], 8), g["inputTokens"])
        for g in answer.data["costStats"]
    }
    assert found == {
        (m, at, n, round(float(usd or Decimal(0)), 8), float(tokens)) for m, at, n, usd, tokens in expected
    }
    periods = [group["period"] for group in answer.data["costStats"]]
    assert periods == sorted(periods)


async def test_runs_by_template_and_kind_of_work(demo_fleet: Demo) -> None:
    query = """{ runStats(groupBy: [TEMPLATE, TASK_TYPE]) {
        template { id } taskType count completed failed successRate costUsd p95DurationMs } }"""
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    assert answer.errors == []
    assert len(answer.statements) == 2
    expected = await rows(
        demo_fleet,
        """SELECT v.template_id, t.type, count(*), count(*) FILTER (WHERE r.status = 'COMPLETED'),
            count(*) FILTER (WHERE r.status = 'FAILED'),
            (count(*) FILTER (WHERE r.status = 'COMPLETED'))::float
                / nullif(count(*) FILTER (WHERE r.status <> 'RUNNING'), 0),
            sum(r.cost_usd), percentile_cont(0.95) WITHIN GROUP (ORDER BY r.duration_ms)
        FROM runs r JOIN agent_versions v ON v.tenant_id = r.tenant_id AND v.id = r.version_id
        LEFT JOIN tasks t ON t.tenant_id = r.tenant_id AND t.id = r.task_id
        WHERE r.tenant_id = $1 GROUP BY 1, 2""",
    )
    assert len(expected) > 2

    def rounded(value: Any) -> Any:
        return value if value is None else round(float(value), 6)

    found = {
        (
            g["template"]["id"],
            *(g[name] for name in ("taskType", "count", "completed", "failed")),
            *(rounded(g[name]) for name in ("successRate", "costUsd", "p95DurationMs")),
        )
        for g in answer.data["runStats"]
    }
    assert found == {(global_id("tpl", row[0]), *row[1:5], *map(rounded, (row[5], row[6], row[7]))) for row in expected}


async def test_approvals_and_alerts_that_wait(demo_fleet: Demo) -> None:
    query = """{ approvalStats { count waiting escalated status } alertStats { open openCritical } }"""
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    ((count, waiting),) = await rows(
        demo_fleet,
        "SELECT count(*), count(*) FILTER (WHERE status IN ('PENDING', 'ESCALATED')) FROM approval_records "
        "WHERE tenant_id = $1",
    )
    (group,) = answer.data["approvalStats"]
    assert (group["count"], group["waiting"], group["status"]) == (count, waiting, None)
    ((opened,),) = await rows(demo_fleet, "SELECT count(*) FROM alerts WHERE tenant_id = $1 AND status = 'OPEN'")
    assert answer.data["alertStats"][0]["open"] == opened
    assert len(answer.statements) == 2


@pytest.mark.parametrize("field", FIELDS, ids=lambda one: str(one.python_name))
async def test_every_key_and_time_of_every_field(demo_fleet: Demo, field: Any) -> None:
    """Each key alone, and with each time; the groups add up to the whole, save where rows count more than once."""
    kind = schema()._schema.query_type
    assert kind is not None
    name = camel(field.python_name)
    plain = await ask(demo_fleet.database, demo_fleet.northwind, f"{{ {name} {{ count }} }}")
    assert plain.errors == []
    whole = plain.data[name][0]["count"]
    for key in field.key_enum.__members__:
        for by in field.time_enum.__members__:
            bucket = f"groupBy: [{key}], bucket: MONTH, bucketBy: {by}"
            answer = await ask(demo_fleet.database, demo_fleet.northwind, f"{{ {name}({bucket}) {{ count period }} }}")
            assert answer.errors == [], (key, by)
            counted = sum(group["count"] for group in answer.data[name])
            assert counted >= whole if key == "ASSIGNEE" else counted == whole, (key, by)


async def test_only_the_rows_in_the_callers_reach(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Decision 29: a grant for one project counts that project's tasks; another tenant's count nowhere."""
    far = models.Project(id=new_id(), name="Far", slug="far")
    await tenant.add(far)

    def task(project: models.Project) -> models.Task:
        return models.Task(project_id=project.id, title="Work", type=TaskType.DOCS, status=TaskStatus.INBOX)

    await tenant.add(task(tenant.project), task(tenant.project), task(far))
    await other_tenant.add(task(other_tenant.project))
    query = "{ taskStats(groupBy: [STATUS]) { status count } }"
    grants = Grants.union([Assignment(frozenset({"read:tasks"}), project_id=far.id)], datetime.now(UTC))
    for actor, expected in ((tenant.actor(), 3), (tenant.actor(grants=grants), 1), (other_tenant.actor(), 1)):
        answer = await ask(tenant.database, actor, query)
        assert answer.data == {"taskStats": [{"status": "INBOX", "count": expected}]}


async def test_without_the_permission_there_are_no_figures(tenant: TenantUnderTest) -> None:
    for field in FIELDS:
        answer = await ask(
            tenant.database, tenant.actor("read:projects"), f"{{ {camel(field.python_name)} {{ count }} }}"
        )
        assert answer.code == "FORBIDDEN", field.python_name


async def test_no_rows_are_a_count_of_nothing(tenant: TenantUnderTest) -> None:
    query = "{ runStats { count costUsd successRate p95DurationMs } taskStats(groupBy: [STATUS]) { count } }"
    answer = await ask(tenant.database, tenant.actor(), query)
    nothing = {"count": 0, "costUsd": 0.0, "successRate": None, "p95DurationMs": None}
    assert answer.data == {"runStats": [nothing], "taskStats": []}


async def test_too_many_groups_are_an_error_and_not_a_cut(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "MOST_GROUPS", 2)
    now = datetime.now(UTC)
    for days in range(3):
        await tenant.add(
            models.Task(
                project_id=tenant.project.id, title="Work", type=TaskType.DOCS, due_at=now + timedelta(days=days)
            )
        )
    query = "{ taskStats(bucket: DAY, bucketBy: DUE_AT) { count } }"
    answer = await ask(tenant.database, tenant.actor(), query)
    assert answer.code == "BAD_USER_INPUT"
    assert "longer spans" in answer.errors[0]["message"]


@pytest.mark.parametrize("zone", ["Middle/Earth", "", "../../etc/passwd", "UTC'; DROP TABLE tasks; --", "\0"])
async def test_a_time_zone_that_is_none_names_itself(tenant: TenantUnderTest, zone: str) -> None:
    query = "query ($zone: String!) { taskStats(bucket: DAY, timeZone: $zone) { count } }"
    answer = await ask(tenant.database, tenant.actor(), query, zone=zone)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["argument"] == "timeZone"
