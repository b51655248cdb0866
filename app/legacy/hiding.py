"""What the old journals quote of a task that hides it: taken out as they are imported (PII-4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import UUID

from app.legacy.outcomes import Change, Event, Outcome
from app.redaction import REDACTED
from db.models import Task

_STATES: Final = frozenset({"status", "type", "priority"})
"""What a task's journals are about, which is never hidden."""

V = TypeVar("V")


def without_hidden(outcome: Outcome, hidden: Mapping[UUID, frozenset[str]]) -> Outcome:
    """The outcome without the values that stand under the names which its task hides; `hidden` has those by task."""
    match outcome:
        case Change(draft) if draft.target_entity == Task.__name__ and (names := hidden.get(draft.target_id)):
            return Change(
                replace(
                    draft,
                    before_state=_without(draft.before_state, names - _STATES),
                    after_state=_without(draft.after_state, names - _STATES),
                    metadata=_without(draft.metadata, names - _STATES),
                )
            )
        case Event(draft) if draft.task_id is not None and (names := hidden.get(draft.task_id)):
            return Event(replace(draft, payload=_without(draft.payload, names - _STATES)))
    return outcome


def _without(value: V, names: frozenset[str]) -> V:
    """The value with the text for hidden ones in the place of what stands under these names, at any depth."""
    found: Any = value
    if isinstance(found, dict):
        found = {
            key: REDACTED if key in names and one is not None else _without(one, names) for key, one in found.items()
        }
    elif isinstance(found, list):
        found = [_without(one, names) for one in found]
    return found  # type: ignore[no-any-return]
