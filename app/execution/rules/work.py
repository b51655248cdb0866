"""What a task's plan, deliverable, self-review and recurrence look like, and what a step needs of them (TSK-1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from db.enums import RecurrenceFrequency, TaskStatus, TaskType

FEWEST_BULLETS: Final = 3
MOST_BULLETS: Final = 6
LONGEST_BULLET: Final = 500
LONGEST_CONTENT: Final = 50_000
"""Characters of a description, and of a deliverable's text (ERR-3)."""
MOST_ITEMS: Final = 100
"""Artifacts of a deliverable and points of a checklist."""
MOST_RETRIES: Final = 3
"""LOOP-3. How often a failed task is tried again before that takes an approval."""
LONGEST_INTERVAL: Final = 366
RUN_CAP: Final = "maxRunMinutes"
"""Key of an envelope's caps: minutes that a run may take (RUN-6)."""

BUDGETS: Final[Mapping[TaskType, Decimal]] = {
    TaskType.CONTENT: Decimal(6),
    TaskType.SOCIAL: Decimal(2),
    TaskType.EMAIL_MARKETING: Decimal(4),
    TaskType.CUSTOMER_RESEARCH: Decimal(5),
    TaskType.SEO_RESEARCH: Decimal(4),
    TaskType.ENGINEERING: Decimal(8),
    TaskType.DOCS: Decimal(3),
    TaskType.OPS: Decimal(3),
}
"""BUD-1. What a task may cost in US dollars where nobody says."""

TERMINAL: Final = frozenset({TaskStatus.DONE, TaskStatus.CANCELED})
"""No step leads out of these."""
NEEDS_TIER: Final[Mapping[tuple[TaskStatus, TaskStatus], int]] = {
    (TaskStatus.ASSIGNED, TaskStatus.IN_PROGRESS): 1,
    (TaskStatus.IN_PROGRESS, TaskStatus.REVIEW): 1,
    (TaskStatus.REVIEW, TaskStatus.IN_PROGRESS): 1,
    (TaskStatus.INBOX, TaskStatus.ASSIGNED): 2,
    (TaskStatus.IN_PROGRESS, TaskStatus.BLOCKED): 2,
    (TaskStatus.IN_PROGRESS, TaskStatus.FAILED): 2,
}
"""TSK-8. The autonomy tier from which an agent takes a step by itself: at 0 none, at 1 it does the work that it was
given, from 2 on it also takes work and gives it up."""


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= longest


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def plan_fault(plan: Any) -> str | None:
    """TSK-1. Why a work plan is none: 3 to 6 bullets that say something."""
    if not isinstance(plan, dict):
        return "A work plan is an object with `bullets`, and `estimatedCost` and `estimatedDuration` if known."
    bullets = plan.get("bullets")
    if not isinstance(bullets, list) or not FEWEST_BULLETS <= len(bullets) <= MOST_BULLETS:
        return f"A work plan has {FEWEST_BULLETS} to {MOST_BULLETS} `bullets`."
    if not all(_is_text(bullet, LONGEST_BULLET) for bullet in bullets):
        return f"Each bullet of a work plan is a text of 1 to {LONGEST_BULLET} characters."
    if plan.get("estimatedCost") is not None and not _is_amount(plan["estimatedCost"]):
        return "`estimatedCost` of a work plan is an amount in US dollars."
    if plan.get("estimatedDuration") is not None and not _is_text(plan["estimatedDuration"], LONGEST_BULLET):
        return "`estimatedDuration` of a work plan is a text, such as `2 hours`."
    return None


def deliverable_fault(deliverable: Any) -> str | None:
    """TSK-1. Why a deliverable is none: it has a summary, content or artifacts."""
    if not isinstance(deliverable, dict):
        return "A deliverable is an object with `summary`, `content` or `artifactIds`."
    for name in ("summary", "content"):
        if deliverable.get(name) is not None and not isinstance(deliverable[name], str):
            return f"`{name}` of a deliverable is a text."
        if len(deliverable.get(name) or "") > LONGEST_CONTENT:
            return f"`{name}` of a deliverable has at most {LONGEST_CONTENT} characters."
    artifacts = deliverable.get("artifactIds")
    if artifacts is not None and (
        not isinstance(artifacts, list)
        or len(artifacts) > MOST_ITEMS
        or not all(_is_text(one, LONGEST_BULLET) for one in artifacts)
    ):
        return f"`artifactIds` of a deliverable is a list of at most {MOST_ITEMS} names."
    if not artifacts and not any((deliverable.get(name) or "").strip() for name in ("summary", "content")):
        return "A deliverable has a `summary`, `content` or `artifactIds`."
    return None


def checklist_fault(checklist: Any) -> str | None:
    """Why a self-review is none: a list of points, each with a label; whether they hold is asked at the submission."""
    if not isinstance(checklist, dict):
        return "A review checklist is an object with `type` and `items`."
    if not _is_text(checklist.get("type"), LONGEST_BULLET):
        return "`type` of a review checklist says which checklist it is."
    items = checklist.get("items")
    if not isinstance(items, list) or not 0 < len(items) <= MOST_ITEMS:
        return f"A review checklist has 1 to {MOST_ITEMS} `items`."
    for item in items:
        if not isinstance(item, dict) or not _is_text(item.get("label"), LONGEST_BULLET):
            return "Each item of a review checklist has a `label`."
        if not isinstance(item.get("checked"), bool):
            return "Each item of a review checklist says whether it is `checked`."
        if item.get("note") is not None and not isinstance(item["note"], str):
            return "The `note` of an item is a text."
    return None


def submission_fault(deliverable: Any, checklist: Any) -> tuple[str, str] | None:
    """TSK-1. What is missing for a submission, as the field and a sentence: a deliverable, and a self-review whose
    every point is ticked or has a note."""
    if deliverable is None:
        return "deliverable", "A submission needs a deliverable."
    if fault := deliverable_fault(deliverable):
        return "deliverable", fault
    if checklist is None:
        return "review_checklist", "A submission needs a review checklist."
    if fault := checklist_fault(checklist):
        return "review_checklist", fault
    open_points = [item["label"] for item in checklist["items"] if not item["checked"] and not _has_note(item)]
    if open_points:
        return "review_checklist", f"Every point is ticked or has a note; these have neither: {', '.join(open_points)}."
    return None


def _has_note(item: Mapping[str, Any]) -> bool:
    return bool((item.get("note") or "").strip())


def recurrence_fault(recurrence: Any) -> str | None:
    """TASK-7. Why a recurrence is none."""
    if not isinstance(recurrence, dict):
        return "A recurrence is an object with `frequency`, `interval`, and `daysOfWeek` and `endDate` if wanted."
    if recurrence.get("frequency") not in list(RecurrenceFrequency):
        return f"`frequency` of a recurrence is one of {', '.join(RecurrenceFrequency)}."
    interval = recurrence.get("interval")
    if not isinstance(interval, int) or isinstance(interval, bool) or not 1 <= interval <= LONGEST_INTERVAL:
        return f"`interval` of a recurrence is a whole number from 1 to {LONGEST_INTERVAL}."
    days = recurrence.get("daysOfWeek")
    if days is not None:
        if recurrence["frequency"] != RecurrenceFrequency.WEEKLY:
            return "Only a WEEKLY recurrence has `daysOfWeek`."
        if not isinstance(days, list) or not days or any(type(one) is not int or not 0 <= one <= 6 for one in days):
            return "`daysOfWeek` of a recurrence are whole numbers from 0 (Sunday) to 6."
        if len(set(days)) < len(days):
            return "`daysOfWeek` names a day twice."
    if recurrence.get("endDate") is not None and not _is_moment(recurrence["endDate"]):
        return "`endDate` of a recurrence is RFC 3339 text with a time zone."
    return None


def _is_moment(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
