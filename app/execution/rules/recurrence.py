"""When a recurring task is due again (TASK-7)."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from db.enums import RecurrenceFrequency

_MOST_STEPS: Final = 10_000


def next_time(recurrence: Mapping[str, Any], at: datetime, now: datetime, zone: ZoneInfo) -> datetime | None:
    """TASK-7. The first time of the series after `at` that is still to come; None where the series is over.

    Days are the tenant's: the clock there shows the same time, over a change of the clocks too. What was missed while
    nobody looked is passed over. A month without the day has its last one. `daysOfWeek` counts from Sunday, 0; weeks
    begin with it, and `interval` skips whole weeks.
    """
    local = at.astimezone(zone)
    end = recurrence.get("endDate")
    last = None if end is None else datetime.fromisoformat(end)
    for step in range(1, _MOST_STEPS):
        day = _day(recurrence, local.date(), step)
        if day is None:
            continue
        found = datetime.combine(day, local.time(), zone).astimezone(at.tzinfo)
        if last is not None and found > last:
            return None
        if found > now and found > at:
            return found
    return None


def _day(recurrence: Mapping[str, Any], first: date, step: int) -> date | None:
    """The day of a step of the series; None where the step has none."""
    interval = int(recurrence.get("interval", 1))
    days = recurrence.get("daysOfWeek") or ()
    match RecurrenceFrequency(recurrence["frequency"]):
        case RecurrenceFrequency.DAILY:
            return first + timedelta(days=step * interval)
        case RecurrenceFrequency.WEEKLY if not days:
            return first + timedelta(weeks=step * interval)
        case RecurrenceFrequency.WEEKLY:
            day = first + timedelta(days=step)
            weeks = (_sunday(day) - _sunday(first)).days // 7
            return day if _weekday(day) in days and weeks % interval == 0 else None
    month = first.month - 1 + step * interval
    year, month = first.year + month // 12, month % 12 + 1
    return date(year, month, min(first.day, calendar.monthrange(year, month)[1]))


def _weekday(day: date) -> int:
    """0 is Sunday."""
    return (day.weekday() + 1) % 7


def _sunday(day: date) -> date:
    return day - timedelta(days=_weekday(day))
