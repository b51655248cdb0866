"""The standup, the incidents and the health of a fleet, against rows that the test put there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from graphql import OperationType

from app.figures.rules import HEALTH, HealthCheck, HealthStatus, judge, worst
from app.graph.ids import global_id
from app.graph.recent import SPAN_SECONDS, Recent, Tally
from db import models
from db.enums import (
    ActorType,
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    AuditSeverity,
    InstanceState,
    OpEventType,
    RiskLevel,
    TaskStatus,
    TaskType,
)
from db.ids import new_id
from db.logs import EventDraft, append_op_events
from tests.asking import ask, data_of
from tests.conftest import Demo, TenantUnderTest
from tests.serving import Served

NOW = datetime.now(UTC)


def task(tenant: TenantUnderTest, status: TaskStatus, **columns: Any) -> models.Task:
    """A task of the tenant's project."""
    columns.setdefault("project_id", tenant.project.id)
    return models.Task(title=status.value, type=TaskType.DOCS, status=status, **columns)


def alert(severity: AlertSeverity, status: AlertStatus = AlertStatus.OPEN) -> models.Alert:
    """An alert."""
    return models.Alert(type="TEST", severity=severity, status=status, title="Something", description="Look at it.")


# --- standup ----------------------------------------------------------------------------------------------------------

STANDUP = """query ($project: ID, $hours: Int! = 24) { standup(projectId: $project, hours: $hours) {
    tasksByStatus { status count } completed { title } inProgress { title } blocked { priority }
    waitingApprovals { actionSummary } spentUsd runs { count } } }"""


async def test_a_standup_tells_of_its_time_and_its_project(tenant: TenantUnderTest) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    await tenant.add(far)
    await tenant.add(
        task(tenant, TaskStatus.DONE, completed_at=NOW - timedelta(hours=2)),
        task(tenant, TaskStatus.DONE, completed_at=NOW - timedelta(hours=30)),
        task(tenant, TaskStatus.IN_PROGRESS, started_at=NOW),
        task(tenant, TaskStatus.BLOCKED, priority=3),
        task(tenant, TaskStatus.BLOCKED, priority=1),
        task(tenant, TaskStatus.BLOCKED, priority=2, project_id=far.id),
        models.ApprovalRecord(
            request_type="OTHER",
            action_summary="Ship it",
            justification="done",
            risk_level=RiskLevel.YELLOW,
            status=ApprovalDecision.PENDING,
            project_id=tenant.project.id,
        ),
    )
    async with tenant.database.transaction(tenant.actor()) as session:
        connection = await session.connection()
        ticks = [(tenant.project.id, "0.25", 1), (tenant.project.id, "0.5", 26), (far.id, "4", 1)]
        drafts = [
            EventDraft(
                type=OpEventType.COST_TICK,
                timestamp=NOW - timedelta(hours=hours),
                project_id=project,
                delta_usd=usd,  # type: ignore[arg-type]
                id=new_id(NOW - timedelta(hours=hours)),
            )
            for project, usd, hours in ticks
        ]
        await append_op_events(connection, tenant.id, drafts)
    answer = await ask(tenant.database, tenant.actor(), STANDUP, project=global_id("prj", tenant.project.id))
    assert answer.errors == []
    told = answer.data["standup"]
    assert {one["status"]: one["count"] for one in told["tasksByStatus"]} == {"IN_PROGRESS": 1, "BLOCKED": 2, "DONE": 2}
    assert len(told["completed"]) == 1
    assert len(told["inProgress"]) == 1
    assert [one["priority"] for one in told["blocked"]] == [1, 3]
    assert told["waitingApprovals"] == [{"actionSummary": "Ship it"}]
    assert told["spentUsd"] == 0.25
    assert len(answer.statements) == 7
    whole = (await ask(tenant.database, tenant.actor(), STANDUP, hours=48)).data["standup"]
    assert (whole["spentUsd"], len(whole["blocked"]), len(whole["completed"])) == (4.75, 3, 2)


async def test_a_standup_needs_what_its_fields_read(tenant: TenantUnderTest) -> None:
    actor = tenant.actor("read:tasks")
    assert (await ask(tenant.database, actor, "{ standup { tasksByStatus { count } } }")).errors == []
    for field in ("spentUsd", "runs { count }", "instancesByState { count }", "waitingApprovals { id }"):
        answer = await ask(tenant.database, actor, f"{{ standup {{ {field} }} }}")
        assert answer.code == "FORBIDDEN", field


@pytest.mark.parametrize("hours", [0, -1, 745])
async def test_a_standup_of_a_time_that_cannot_be(tenant: TenantUnderTest, hours: int) -> None:
    answer = await ask(tenant.database, tenant.actor(), STANDUP, hours=hours)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["argument"] == "hours"


# --- incidents --------------------------------------------------------------------------------------------------------

INCIDENTS = """query ($first: Int! = 50, $before: ID) { incidents(first: $first, before: $before) {
    severity at title alert { id type } auditLog { id action } } }"""


async def test_incidents_are_both_journals_in_one_order(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    def log(severity: AuditSeverity) -> models.AuditLog:
        return models.AuditLog(severity=severity, action="X", actor_type=ActorType.SYSTEM, timestamp=NOW)

    rows: list[Any] = [
        alert(AlertSeverity.CRITICAL),
        log(AuditSeverity.ERROR),
        alert(AlertSeverity.INFO, AlertStatus.ACKNOWLEDGED),
        log(AuditSeverity.WARNING),
    ]
    for row in [*rows, alert(AlertSeverity.ERROR, AlertStatus.RESOLVED), log(AuditSeverity.INFO)]:
        row.id = new_id()
        await tenant.add(row)
    await other_tenant.add(alert(AlertSeverity.CRITICAL))
    answer = await ask(tenant.database, tenant.actor(), INCIDENTS)
    assert answer.errors == []
    assert len(answer.statements) == 3
    told = answer.data["incidents"]
    assert [one["severity"] for one in told] == ["WARNING", "INFO", "ERROR", "CRITICAL"]
    ids = [(one["alert"] or one["auditLog"])["id"] for one in told]
    assert [one[-32:] for one in ids] == [row.id.hex for row in reversed(rows)]
    page = await ask(tenant.database, tenant.actor(), INCIDENTS, first=2, before=ids[0])
    assert [(one["alert"] or one["auditLog"])["id"] for one in page.data["incidents"]] == ids[1:3]


async def test_incidents_show_what_their_reader_may_read(tenant: TenantUnderTest) -> None:
    await tenant.add(
        alert(AlertSeverity.ERROR),
        models.AuditLog(severity=AuditSeverity.ERROR, action="X", actor_type=ActorType.SYSTEM, timestamp=NOW),
    )
    query = "{ incidents { severity title } }"
    for permissions, count in ((("read:alerts",), 1), (("read:audit",), 1), (("read:alerts", "read:audit"), 2)):
        answer = await ask(tenant.database, tenant.actor(*permissions), query)
        assert len(answer.data["incidents"]) == count
    assert (await ask(tenant.database, tenant.actor("read:tasks"), query)).code == "FORBIDDEN"


@pytest.mark.parametrize(
    ("arguments", "blamed"), [({"first": 201}, "first"), ({"before": "tsk_" + "0" * 32}, "before")]
)
async def test_incidents_say_what_is_wrong_with_the_page(
    tenant: TenantUnderTest, arguments: dict[str, Any], blamed: str
) -> None:
    answer = await ask(tenant.database, tenant.actor(), INCIDENTS, **arguments)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["argument"] == blamed


# --- health -----------------------------------------------------------------------------------------------------------

HEALTHY, DEGRADED, UNHEALTHY = HealthStatus


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (HealthCheck.DATABASE, 99.9, HEALTHY),
        (HealthCheck.DATABASE, 100, DEGRADED),
        (HealthCheck.DATABASE, 500, UNHEALTHY),
        (HealthCheck.MUTATION_SUCCESS, 0.95, HEALTHY),
        (HealthCheck.MUTATION_SUCCESS, 0.949, DEGRADED),
        (HealthCheck.MUTATION_SUCCESS, 0.899, UNHEALTHY),
        (HealthCheck.MUTATION_SUCCESS, None, HEALTHY),
        (HealthCheck.ERROR_RATE, 0.009, HEALTHY),
        (HealthCheck.ERROR_RATE, 0.01, DEGRADED),
        (HealthCheck.ERROR_RATE, 0.05, UNHEALTHY),
        (HealthCheck.QUARANTINED_INSTANCES, 0, HEALTHY),
        (HealthCheck.QUARANTINED_INSTANCES, 1, DEGRADED),
        (HealthCheck.BLOCKED_TASKS, 5, HEALTHY),
        (HealthCheck.BLOCKED_TASKS, 6, DEGRADED),
        (HealthCheck.PENDING_APPROVALS, 10, HEALTHY),
        (HealthCheck.PENDING_APPROVALS, 11, DEGRADED),
        (HealthCheck.OPEN_ALERTS, 5, HEALTHY),
        (HealthCheck.OPEN_ALERTS, 6, DEGRADED),
        (HealthCheck.CRITICAL_ALERTS, 0, HEALTHY),
        (HealthCheck.CRITICAL_ALERTS, 1, UNHEALTHY),
        (HealthCheck.EVALUATION_BACKLOG, 20, HEALTHY),
        (HealthCheck.EVALUATION_BACKLOG, 21, DEGRADED),
    ],
)
def test_hlt_1_thresholds(check: HealthCheck, value: float | None, expected: HealthStatus) -> None:
    assert judge(check, value) is expected


def test_hlt_1_the_worst_check_is_the_whole() -> None:
    assert worst([]) is HEALTHY
    assert worst([HEALTHY, UNHEALTHY, DEGRADED]) is UNHEALTHY
    assert set(HEALTH) == set(HealthCheck)


HEALTH_QUERY = "{ systemHealth { status findings { check status value } requests { operations } } }"


async def test_hlt_1_a_fleet_in_trouble(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    async def health() -> dict[str, Any]:
        told = (await data_of(tenant, tenant.actor(), HEALTH_QUERY))["systemHealth"]
        found = {one["check"]: one for one in told["findings"] if one["check"] != "DATABASE"}
        return {**{name: (one["status"], one["value"]) for name, one in found.items()}, "": told["status"]}

    quiet = await health()
    assert {status for status, _ in (one for name, one in quiet.items() if name)} == {"HEALTHY"}
    await other_tenant.add(alert(AlertSeverity.CRITICAL))
    assert (await health())["CRITICAL_ALERTS"] == ("HEALTHY", 0)
    await tenant.add(*(task(tenant, TaskStatus.BLOCKED) for _ in range(6)))
    assert (await health())["BLOCKED_TASKS"] == ("DEGRADED", 6)
    await tenant.add(alert(AlertSeverity.CRITICAL), alert(AlertSeverity.CRITICAL, AlertStatus.RESOLVED))
    troubled = await health()
    assert troubled["CRITICAL_ALERTS"] == ("UNHEALTHY", 1)
    assert troubled[""] == "UNHEALTHY"


async def test_health_needs_its_permission_for_the_whole_tenant(tenant: TenantUnderTest) -> None:
    assert (await ask(tenant.database, tenant.actor("read:tasks"), HEALTH_QUERY)).code == "FORBIDDEN"
    answer = await ask(tenant.database, tenant.actor("read:metrics"), HEALTH_QUERY)
    assert answer.errors == []
    assert len(answer.statements) == 2


async def test_the_gateways_own_figures_count_what_it_answered(served: Served) -> None:
    before = (await served.post(HEALTH_QUERY))["data"]["systemHealth"]["requests"]["operations"]
    await served.post("{ viewer { name } }")
    after = (await served.post(HEALTH_QUERY))["data"]["systemHealth"]["requests"]["operations"]
    assert after == before + 2


# --- the window -------------------------------------------------------------------------------------------------------


@dataclass
class _Actor:
    tenant_id: Any


@dataclass
class _Reported:
    """What the window looks at of a report."""

    operation: Any
    outcome: Any
    seconds: float
    context: Any


def reports(tenant_id: Any, kind: OperationType, code: str, *seconds: float) -> Iterator[Any]:
    """Reports of one tenant."""
    for one in seconds:
        operation = type("Operation", (), {"kind": kind})
        outcome = type("Outcome", (), {"code": code})
        yield _Reported(operation, outcome, one, type("Context", (), {"actor": _Actor(tenant_id)}))


def test_the_window_forgets_and_keeps_tenants_apart() -> None:
    clock = [1000.0]
    recent = Recent(lambda: clock[0])
    one, other = new_id(), new_id()
    for report in reports(one, OperationType.QUERY, "OK", *[0.01] * 98, 1.0, 1.0):
        recent.observe(report)
    for report in reports(other, OperationType.MUTATION, "INTERNAL", 0.02):
        recent.observe(report)
    tally = recent.of(one)
    assert (tally.operations, tally.faults, tally.mutations) == (100, 0, 0)
    median, high = tally.percentile_ms(0.5), tally.percentile_ms(0.99)
    assert median is not None
    assert 10 <= median <= 12.5
    assert high is not None
    assert 1000 <= high <= 1250
    assert (recent.of(other).mutation_faults, recent.of(other).operations) == (1, 1)
    clock[0] += SPAN_SECONDS / 2
    for report in reports(one, OperationType.QUERY, "BAD_USER_INPUT", 0.01):
        recent.observe(report)
    clock[0] += SPAN_SECONDS / 2 + 20
    assert recent.of(one).operations == 1
    assert recent.of(one).faults == 0
    clock[0] += SPAN_SECONDS
    assert recent.of(one).operations == 0
    assert Tally().percentile_ms(0.5) is None


async def test_reports_on_the_demo_fleet(demo_fleet: Demo) -> None:
    """What a view asks of them answers there, without errors."""
    query = "{ incidents(first: 5) { title } standup(hours: 744) { instancesByState { state count } spentUsd } }"
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    assert answer.errors == []
    assert len(answer.data["incidents"]) == 5
    assert {one["state"] for one in answer.data["standup"]["instancesByState"]} >= {InstanceState.ACTIVE.value}
