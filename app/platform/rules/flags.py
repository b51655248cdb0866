"""Feature flags and experiments: who has what (FLG-1, FLG-2, EXP-1 to EXP-3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

MOST_VARIANTS: Final = 50
_WHOLE: Final = 100
"""Per cent of everybody."""
_WORD: Final = 2**32


def bucket(text: str) -> int:
    """FLG-2. 0 to 99, the same for the same text for ever: a 32-bit hash of its UTF-16 code units, without its sign."""
    units = text.encode("utf-16-le", "surrogatepass")
    value = 0
    for at in range(0, len(units), 2):
        value = (value * 31 + units[at] + (units[at + 1] << 8)) % _WORD
    signed = value - _WORD if value >= _WORD // 2 else value
    return abs(signed) % _WHOLE


def is_on(
    key: str,
    enabled: bool,
    conditions: Mapping[str, Any] | None,
    operator_id: str | None = None,
    environments: Sequence[str] | None = None,
) -> bool:
    """FLG-1. Whether a flag is on, for a person and in an environment where they are given.

    People who are named decide alone, whatever the percentage; without a person only a flag for everybody is on.
    `environments` are the names by which the conditions may know the environment: its id and its slug.
    """
    if not enabled:
        return False
    rules = conditions or {}
    rollout = rules.get("rolloutPercentage") or 0
    people = rules.get("targetOperators") or ()
    if operator_id is None:
        is_in = rollout >= _WHOLE
    elif people:
        is_in = operator_id in people
    else:
        is_in = rollout >= _WHOLE or bucket(f"{operator_id}_{key}") < rollout
    places = rules.get("targetEnvironments") or ()
    if environments is not None and places:
        return is_in and any(one in places for one in environments)
    return is_in


def percentage_fault(value: Any) -> str | None:
    """FLG-1. What is wrong with a rollout percentage."""
    if value is None or (math.isfinite(value) and 0 <= value <= _WHOLE):
        return None
    return "A rollout percentage goes from 0 to 100."


def variants_fault(variants: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """EXP-1. What is wrong with an experiment's variants, and where."""
    if not 2 <= len(variants) <= MOST_VARIANTS:
        return f"An experiment compares 2 to {MOST_VARIANTS} variants.", "variants"
    seen: set[str] = set()
    for at, one in enumerate(variants):
        for name in ("id", "name"):
            if not one[name].strip():
                return f"The {name} of a variant may not be blank.", f"variants[{at}].{name}"
        if one["id"] in seen:
            return f"Two variants are called {one['id']!r}.", f"variants[{at}].id"
        seen.add(one["id"])
        if not 0 <= one["weight"] <= _WHOLE:
            return "A weight is a whole number from 0 to 100.", f"variants[{at}].weight"
    total = sum(one["weight"] for one in variants)
    if total != _WHOLE:
        return f"The weights sum to {total}; they must sum to 100.", "variants"
    return None


def variant_of(experiment_id: str, entity_id: str, variants: Sequence[Mapping[str, Any]]) -> str:
    """EXP-2, EXP-3. The variant of an entity: the first whose weights so far exceed its bucket, else the last."""
    drawn, so_far = bucket(f"{experiment_id}_{entity_id}"), 0.0
    for one in variants:
        so_far += one["weight"]
        if drawn < so_far:
            return str(one["id"])
    return str(variants[-1]["id"])
