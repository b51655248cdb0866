"""When a recurring task is due again (TASK-7)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.execution.rules.recurrence import next_time


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("recurrence", "first", "now", "expected"),
    [
        ({"frequency": "DAILY", "interval": 1}, "2026-03-02T09:00", "2026-03-02T09:00", "2026-03-03T09:00"),
        ({"frequency": "DAILY", "interval": 3}, "2026-03-02T09:00", "2026-03-02T09:01", "2026-03-05T09:00"),
        ({"frequency": "DAILY", "interval": 3}, "2026-03-02T09:00", "2026-03-09T09:01", "2026-03-11T09:00"),
        ({"frequency": "WEEKLY", "interval": 1}, "2026-03-02T09:00", "2026-03-02T09:00", "2026-03-09T09:00"),
        ({"frequency": "WEEKLY", "interval": 2}, "2026-03-02T09:00", "2026-03-02T09:00", "2026-03-16T09:00"),
        # The 2nd of March 2026 is a Monday.
        (
            {"frequency": "WEEKLY", "interval": 1, "daysOfWeek": [1, 4]},
            "2026-03-02T09:00",
            "2026-03-02T09:00",
            "2026-03-05T09:00",
        ),
        (
            {"frequency": "WEEKLY", "interval": 2, "daysOfWeek": [1, 4]},
            "2026-03-05T09:00",
            "2026-03-05T09:00",
            "2026-03-16T09:00",
        ),
        (
            {"frequency": "WEEKLY", "interval": 1, "daysOfWeek": [0]},
            "2026-03-02T09:00",
            "2026-03-02T09:00",
            "2026-03-08T09:00",
        ),
        ({"frequency": "MONTHLY", "interval": 1}, "2026-01-31T09:00", "2026-01-31T09:00", "2026-02-28T09:00"),
        ({"frequency": "MONTHLY", "interval": 1}, "2026-01-31T09:00", "2026-03-01T09:00", "2026-03-31T09:00"),
        ({"frequency": "MONTHLY", "interval": 12}, "2024-02-29T09:00", "2024-03-01T09:00", "2025-02-28T09:00"),
        (
            {"frequency": "DAILY", "interval": 1, "endDate": "2026-03-03T09:00:00Z"},
            "2026-03-02T09:00",
            "2026-03-02T09:00",
            "2026-03-03T09:00",
        ),
        (
            {"frequency": "DAILY", "interval": 1, "endDate": "2026-03-03T08:59:00Z"},
            "2026-03-02T09:00",
            "2026-03-02T09:00",
            None,
        ),
        (
            {"frequency": "DAILY", "interval": 1, "endDate": "2026-03-04T00:00:00Z"},
            "2026-03-02T09:00",
            "2026-04-02T09:00",
            None,
        ),
    ],
)
def test_task_7_the_next_time(recurrence: dict[str, Any], first: str, now: str, expected: str | None) -> None:
    """The first of the series that is still to come, up to and with its end."""
    found = next_time(recurrence, at(first), at(now), ZoneInfo("UTC"))
    assert found == (None if expected is None else at(expected))


def test_task_7_the_clock_of_the_tenant_shows_the_same_time() -> None:
    """Over the change of the clocks in Berlin on the 29th of March 2026: 9:00 stays 9:00."""
    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 3, 28, 9, tzinfo=zone).astimezone(UTC)
    found = next_time({"frequency": "DAILY", "interval": 1}, first, first, zone)
    assert found == datetime(2026, 3, 29, 7, tzinfo=UTC)


def test_task_7_the_day_is_the_tenants() -> None:
    """Sunday evening in New York is Monday in UTC: the weekly Sunday stays one."""
    zone = ZoneInfo("America/New_York")
    first = datetime(2026, 1, 4, 22, tzinfo=zone)
    found = next_time({"frequency": "WEEKLY", "interval": 1, "daysOfWeek": [0]}, first.astimezone(UTC), first, zone)
    assert found == datetime(2026, 1, 11, 22, tzinfo=zone)
