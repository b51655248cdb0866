"""`systemHealth`: is all well with the fleet and its gateway, and if not, what is it (HLT-1)?"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Final, cast

import strawberry
from sqlalchemy import Table, func, literal, select

from app.auth.scope import TENANT_WIDE
from app.figures.rules import HEALTH, HealthCheck, HealthStatus, judge, worst
from app.graph.context import OperationContext
from app.graph.errors import Forbidden
from app.graph.fields import computed, described_enum
from app.graph.recent import SPAN_SECONDS
from db import models
from db.enums import (
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    EvaluationRunStatus,
    InstanceState,
    TaskStatus,
)

PERMISSION: Final = "read:metrics"
described_enum(HealthStatus)
described_enum(HealthCheck)


@strawberry.type(description="One of the things that health is judged by.")
class HealthFinding:
    """A check and what it found."""

    check: HealthCheck = strawberry.field(description="What was looked at.")
    status: HealthStatus = strawberry.field(description="How it is.")
    value: float | None = strawberry.field(description="What was found, in `unit`; null where there was nothing.")
    unit: str = strawberry.field(description="`milliseconds`, `share` (0 to 1) or `count`.")
    degraded_at: float | None = strawberry.field(description="From this value on it is DEGRADED; null where never.")
    unhealthy_at: float | None = strawberry.field(description="From this value on it is UNHEALTHY; null where never.")
    description: str = strawberry.field(description="What it means, in words.")


@strawberry.type(description="Figures of this gateway's last five minutes, of the caller's tenant alone.")
class RequestFigures:
    """What the process has done for the tenant lately."""

    span_seconds: float = strawberry.field(description="How far back the figures go, in seconds.")
    operations: int = strawberry.field(description="Operations that were executed or refused.")
    operations_per_second: float = strawberry.field(description="Operations a second.")
    faults: int = strawberry.field(description="Operations that failed on our side: INTERNAL and TIMEOUT.")
    mutations: int = strawberry.field(description="Mutations among them.")
    average_ms: float | None = strawberry.field(description="Mean latency in milliseconds; null without operations.")
    p50_ms: float | None = strawberry.field(description="Median latency in milliseconds, right to a quarter.")
    p95_ms: float | None = strawberry.field(description="95th percentile of the latency in milliseconds.")
    p99_ms: float | None = strawberry.field(description="99th percentile of the latency in milliseconds.")


@strawberry.type(description="Whether all is well with the fleet and its gateway (HLT-1).")
class SystemHealth:
    """The whole, and each check."""

    status: HealthStatus = strawberry.field(description="The worst of the checks.")
    checked_at: datetime = strawberry.field(description="When it was looked at.")
    findings: list[HealthFinding] = strawberry.field(description="Every check, in the order of its enum.")
    requests: RequestFigures = strawberry.field(
        description="How the gateway that answers this has done lately; others have figures of their own."
    )


def _counts(context: OperationContext) -> Any:
    """One statement: a number for each check that counts rows."""

    def number(check: HealthCheck, model: Any, *conditions: Any) -> Any:
        table = cast("Table", model.__table__)
        counted = select(func.count()).select_from(table).where(context.reader.tenant(table), *conditions)
        return counted.scalar_subquery().label(check.value)

    instance, task, approval, alert = (
        cast("Table", one.__table__) for one in (models.AgentInstance, models.Task, models.ApprovalRecord, models.Alert)
    )
    run = cast("Table", models.EvaluationRun.__table__)
    is_open = alert.c.status == AlertStatus.OPEN
    waiting = (ApprovalDecision.PENDING, ApprovalDecision.ESCALATED)
    return select(
        number(HealthCheck.QUARANTINED_INSTANCES, models.AgentInstance, instance.c.state == InstanceState.QUARANTINED),
        number(HealthCheck.BLOCKED_TASKS, models.Task, task.c.status == TaskStatus.BLOCKED),
        number(HealthCheck.PENDING_APPROVALS, models.ApprovalRecord, approval.c.status.in_(waiting)),
        number(HealthCheck.OPEN_ALERTS, models.Alert, is_open),
        number(HealthCheck.CRITICAL_ALERTS, models.Alert, is_open, alert.c.severity == AlertSeverity.CRITICAL),
        number(HealthCheck.EVALUATION_BACKLOG, models.EvaluationRun, run.c.status == EvaluationRunStatus.PENDING),
    )


@computed(
    "Whether all is well with the fleet and its gateway: the database's latency, failures of the last five minutes,"
    f" quarantined agents, blocked tasks, waiting requests, open alerts (HLT-1). Needs `{PERMISSION}` for the whole"
    " tenant. Two statements."
)
async def system_health(info: strawberry.Info) -> SystemHealth:
    """FORBIDDEN without the permission."""
    context = cast("OperationContext", info.context)
    if context.actor.scope(PERMISSION) is not TENANT_WIDE:
        raise Forbidden(PERMISSION)
    await context.reading.rows(select(literal(1)))  # opens the snapshot, so that what is timed is the database alone
    started = time.perf_counter()
    (counted,) = await context.reading.rows(_counts(context))
    latency = 1000 * (time.perf_counter() - started)
    lately = context.lately
    values: dict[HealthCheck, float | None] = {
        HealthCheck.DATABASE: latency,
        HealthCheck.MUTATION_SUCCESS: (1 - lately.mutation_faults / lately.mutations if lately.mutations else None),
        HealthCheck.ERROR_RATE: lately.faults / lately.operations if lately.operations else None,
        **{
            HealthCheck(name): float(value)
            for name, value in counted._mapping.items()
            if name in HealthCheck.__members__
        },
    }
    findings = [
        HealthFinding(
            check=check,
            status=judge(check, values[check]),
            value=values[check],
            unit=limits.unit,
            degraded_at=limits.degraded,
            unhealthy_at=limits.unhealthy,
            description=f"{limits.description}.",
        )
        for check, limits in HEALTH.items()
    ]
    return SystemHealth(
        status=worst(one.status for one in findings),
        checked_at=datetime.now(UTC),
        findings=findings,
        requests=RequestFigures(
            span_seconds=SPAN_SECONDS,
            operations=lately.operations,
            operations_per_second=lately.operations / SPAN_SECONDS,
            faults=lately.faults,
            mutations=lately.mutations,
            average_ms=1000 * lately.seconds / lately.operations if lately.operations else None,
            p50_ms=lately.percentile_ms(0.5),
            p95_ms=lately.percentile_ms(0.95),
            p99_ms=lately.percentile_ms(0.99),
        ),
    )


FIELDS: Final = (system_health,)
