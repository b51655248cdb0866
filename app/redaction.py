"""Values that are not shown: the text in their place, and which fields of a row they are (PII-4)."""

from __future__ import annotations

from typing import Any, Final

REDACTED: Final = "[REDACTED]"
"""What stands where a secret or a hidden value was."""


def is_hidden(row: Any, field: str) -> bool:
    """Whether a row names this field, as the API does, among those whose values are hidden."""
    return field in (row.redacted_fields or ())


def shown(row: Any, field: str) -> str:
    """A row's text as everybody may see it; `field` is its name in the API and of the column alike."""
    return REDACTED if is_hidden(row, field) else getattr(row, field)


def title_of(task: Any) -> str:
    """A task's title as everybody may see it: in notifications, alerts, requests and journals."""
    return shown(task, "title")
