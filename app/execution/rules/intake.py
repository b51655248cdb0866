"""What comes in from outside: texts made harmless, and issues read as tasks (TASK-1, TASK-5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from db.enums import TaskSource, TaskType

LONGEST_TITLE: Final = 500
OUTSIDE: Final = frozenset(
    {TaskSource.TELEGRAM, TaskSource.GITHUB, TaskSource.API, TaskSource.TRELLO, TaskSource.PRD_IMPORT}
)
"""Sources whose texts nobody of the house wrote."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def sanitised(text: str) -> str:
    """TASK-1. A text from outside without control characters, but for tabs and ends of lines, and trimmed."""
    return _CONTROL.sub("", text).strip()


def clean_labels(labels: Iterable[str]) -> list[str]:
    """Labels trimmed, blank ones left out, each once, in their order."""
    return list(dict.fromkeys(label.strip() for label in labels if label.strip()))


_TYPES: Final[Mapping[str, TaskType]] = {
    "bug": TaskType.ENGINEERING,
    "fix": TaskType.ENGINEERING,
    "feature": TaskType.ENGINEERING,
    "enhancement": TaskType.ENGINEERING,
    "docs": TaskType.DOCS,
    "content": TaskType.CONTENT,
    "blog": TaskType.CONTENT,
    "ops": TaskType.OPS,
    "infra": TaskType.OPS,
    "devops": TaskType.OPS,
    "research": TaskType.CUSTOMER_RESEARCH,
}
_PRIORITIES: Final[Mapping[str, int]] = {"critical": 1, "p0": 1, "high": 2, "p1": 2, "low": 4, "p3": 4}
_NORMAL: Final = 3
_WORD: Final = re.compile(r"[a-z0-9]+")


def _words(labels: Iterable[str]) -> list[str]:
    return [word for label in labels for word in _WORD.findall(label.lower())]


def type_of_labels(labels: Iterable[str]) -> TaskType:
    """TASK-5. The kind of work that an issue's labels name, as whole words; the first that does, else ENGINEERING."""
    return next((_TYPES[word] for word in _words(labels) if word in _TYPES), TaskType.ENGINEERING)


def priority_of_labels(labels: Iterable[str]) -> int:
    """TASK-5. The most urgent priority that an issue's labels name, as whole words; else 3."""
    return min((_PRIORITIES[word] for word in _words(labels) if word in _PRIORITIES), default=_NORMAL)
