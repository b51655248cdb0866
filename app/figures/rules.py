"""When a figure is a reason for concern (HLT-1): pure data and pure functions."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final


class HealthStatus(enum.StrEnum):
    """How a system, or a part of it, is."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNHEALTHY = "UNHEALTHY"


class HealthCheck(enum.StrEnum):
    """What the health of a fleet is judged by."""

    DATABASE = "DATABASE"
    MUTATION_SUCCESS = "MUTATION_SUCCESS"
    ERROR_RATE = "ERROR_RATE"
    QUARANTINED_INSTANCES = "QUARANTINED_INSTANCES"
    BLOCKED_TASKS = "BLOCKED_TASKS"
    PENDING_APPROVALS = "PENDING_APPROVALS"
    OPEN_ALERTS = "OPEN_ALERTS"
    CRITICAL_ALERTS = "CRITICAL_ALERTS"
    EVALUATION_BACKLOG = "EVALUATION_BACKLOG"


@dataclass(frozen=True)
class Threshold:
    """From which value on a check is degraded, and unhealthy; None where it never is."""

    description: str
    unit: str
    degraded: float | None
    unhealthy: float | None = None
    falls: bool = False
    """Whether low values are the bad ones."""


HEALTH: Final = {
    HealthCheck.DATABASE: Threshold("How long the database takes to answer", "milliseconds", 100, 500),
    HealthCheck.MUTATION_SUCCESS: Threshold(
        "Share of the mutations of the last five minutes that did not fail on our side", "share", 0.95, 0.9, falls=True
    ),
    HealthCheck.ERROR_RATE: Threshold(
        "Share of the operations of the last five minutes that failed on our side", "share", 0.01, 0.05
    ),
    HealthCheck.QUARANTINED_INSTANCES: Threshold("Agents in QUARANTINED", "count", 1),
    HealthCheck.BLOCKED_TASKS: Threshold("Tasks in BLOCKED", "count", 6),
    HealthCheck.PENDING_APPROVALS: Threshold("Requests that wait for a decision", "count", 11),
    HealthCheck.OPEN_ALERTS: Threshold("Open alerts", "count", 6),
    HealthCheck.CRITICAL_ALERTS: Threshold("Open alerts that are critical", "count", None, 1),
    HealthCheck.EVALUATION_BACKLOG: Threshold("Evaluation runs that nobody has claimed", "count", 21),
}
"""HLT-1, EVL-9: the limits of the rules; "more than five" is from six on."""

_ORDER: Final = list(HealthStatus)


def judge(check: HealthCheck, value: float | None) -> HealthStatus:
    """How a check is; what has no value has no fault."""
    limits = HEALTH[check]
    if value is None:
        return HealthStatus.HEALTHY
    for status, limit in ((HealthStatus.UNHEALTHY, limits.unhealthy), (HealthStatus.DEGRADED, limits.degraded)):
        if limit is not None and (value < limit if limits.falls else value >= limit):
            return status
    return HealthStatus.HEALTHY


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """The worst of several; HEALTHY where there is none."""
    return max(statuses, key=_ORDER.index, default=HealthStatus.HEALTHY)
