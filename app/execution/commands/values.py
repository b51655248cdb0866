"""Values of tasks as they come in: texts, amounts, a recurrence (TASK-1, TASK-7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.commands import Refusal, Refused
from app.execution.rules.intake import LONGEST_TITLE, OUTSIDE, clean_labels, sanitised
from app.execution.rules.work import LONGEST_CONTENT, recurrence_fault
from db.base import JsonObject
from db.enums import TaskSource

MOST_LABELS: Final = 50
LONGEST_LABEL: Final = 100
MINUTES: Final = "estimatedMinutes"
"""Key of a task's metadata: how long it takes, for the critical path (DAG-2)."""
_MOST_DOLLARS: Final = 10**9
_LOWEST_PRIORITY: Final = 4


@dataclass(frozen=True)
class Texts:
    """The texts of a new task as they are kept."""

    title: str
    description: str | None
    labels: list[str] | None


def wanted_texts(title: str, description: str | None, labels: list[str] | None, source: TaskSource) -> Texts | Refused:
    """TASK-1. The texts as they are kept; those from outside are made harmless."""
    clean = sanitised if source in OUTSIDE else str.strip
    texts = Texts(
        clean(title),
        None if description is None else clean(description),
        None if labels is None else clean_labels(map(clean, labels)),
    )
    return refuse_texts(texts.title, texts.description, texts.labels) or texts


def refuse_texts(title: str | None, description: str | None, labels: Sequence[str] | None) -> Refused | None:
    """Why texts are not those of a task."""
    if title is not None and not 0 < len(title) <= LONGEST_TITLE:
        return Refused(Refusal.VALIDATION_ERROR, f"A task's title has 1 to {LONGEST_TITLE} characters.", "title")
    if len(description or "") > LONGEST_CONTENT:
        message = f"A task's description has at most {LONGEST_CONTENT} characters."
        return Refused(Refusal.VALIDATION_ERROR, message, "description")
    if len(labels or ()) > MOST_LABELS:
        return Refused(Refusal.VALIDATION_ERROR, f"A task has at most {MOST_LABELS} labels.", "labels")
    return None


def refuse_values(
    priority: int | None, amounts: Mapping[str, float | None], recurrence: JsonObject | None
) -> Refused | None:
    """Why a priority, amounts by input field, or a recurrence are none."""
    if priority is not None and not 1 <= priority <= _LOWEST_PRIORITY:
        message = "A priority is 1 (critical), 2 (high), 3 (normal) or 4 (low)."
        return Refused(Refusal.VALIDATION_ERROR, message, "priority")
    for name, value in amounts.items():
        if value is not None and not (math.isfinite(value) and 0 <= value < _MOST_DOLLARS):
            return Refused(Refusal.VALIDATION_ERROR, "This is an amount from 0 to below a billion.", name)
    if recurrence is not None and (fault := recurrence_fault(recurrence)):
        return Refused(Refusal.VALIDATION_ERROR, fault, "recurrence")
    return None


def money_of(amount: float | None) -> Decimal | None:
    """An amount as it is kept."""
    return None if amount is None else Decimal(str(amount))
