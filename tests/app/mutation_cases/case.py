"""What a mutation needs to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """What a mutation needs to be done: values of the input, and the names of the stage's rows where the id fields do
    not take the first row of their kind."""

    values: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    one_of: frozenset[str] = frozenset()
    """Fields that take each other's place."""
    stale: str | None = None
    """A state that the row does not have, where it has the last one of the enum."""
    is_own: bool = False
    """Whether it concerns the caller's own rows alone, which lie in no project: a grant for any place will do."""
