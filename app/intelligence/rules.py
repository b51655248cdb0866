"""What is learnt of finished work: rates, means, patterns, estimates (LRN-1 to LRN-4). Pure functions, no I/O."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FEWEST_TASKS: Final = 2
"""LRN-3, LRN-4. Of so many tasks of a type on, something is said about them."""
STRONG: Final = 0.8
"""LRN-3. A success rate above this is a strength."""
WEAK: Final = 0.5
"""LRN-3, LRN-4. A success rate below this is a weakness."""
GOOD: Final = 0.7
"""LRN-4. From this success rate on a type is among an agent's best; LRN-3: above this confidence a pattern is shown."""
MOST_EVIDENCE: Final = 100
"""Entries of a pattern's evidence; the newest stay."""
_OF_OLD: Final = 0.4
_UNKNOWN_COST: Final = 0.5
_UNKNOWN_MINUTES: Final = 30.0
_UNTRIED: Final = 0.5


class Trait(enum.StrEnum):
    """What a pattern says of an agent (LRN-2)."""

    STRENGTH = "strength"
    WEAKNESS = "weakness"

    def named(self, what: str) -> str:
        """The pattern's name."""
        return f"{self.value}:{what}"


@dataclass(frozen=True, slots=True)
class Record:
    """What an agent, or several, did of one kind of work."""

    successes: int
    failures: int
    avg_cost: float
    """US dollars; 0 where none is known."""
    avg_ms: float
    """Milliseconds; 0 where none is known."""

    @property
    def tasks(self) -> int:
        """How many there were."""
        return self.successes + self.failures

    @property
    def success_rate(self) -> float | None:
        """Share that succeeded; None without any."""
        return self.successes / self.tasks if self.tasks else None


def together(records: Iterable[Record]) -> Record:
    """Several records as one: counts added, means weighted by the tasks that they are of."""
    found = [one for one in records if one.tasks]
    tasks = sum(one.tasks for one in found)
    if not tasks:
        return Record(0, 0, 0.0, 0.0)
    return Record(
        sum(one.successes for one in found),
        sum(one.failures for one in found),
        sum(one.avg_cost * one.tasks for one in found) / tasks,
        sum(one.avg_ms * one.tasks for one in found) / tasks,
    )


def trait_of(record: Record) -> Trait | None:
    """LRN-3. What a record shows, once there are two tasks of the type."""
    rate = record.success_rate
    if rate is None or record.tasks < FEWEST_TASKS:
        return None
    if rate > STRONG:
        return Trait.STRENGTH
    return Trait.WEAKNESS if rate < WEAK else None


def confidence_in(trait: Trait, record: Record) -> float:
    """How sure a trait is by its record: the rate of what it says."""
    rate = record.success_rate or 0.0
    return rate if trait is Trait.STRENGTH else 1 - rate


def rediscovered(old: float, new: float) -> float:
    """LRN-2. The confidence of a pattern that is seen again: 0.4 of before and 0.6 of now, between 0 and 1."""
    return min(max(_OF_OLD * old + (1 - _OF_OLD) * new, 0.0), 1.0)


def suitability(record: Record | None) -> float:
    """LRN-3. How good an agent is for a type: 0.7 of its success and 0.3 of its cheapness; 0.5 without history."""
    rate = None if record is None else record.success_rate
    if record is None or rate is None:
        return _UNTRIED
    cheapness = 1.0 if record.avg_cost <= 0 else min(1 / record.avg_cost, 1.0)
    return 0.7 * rate + 0.3 * cheapness


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the next task of a type will take (LRN-4)."""

    cost_usd: float
    minutes: float
    confidence: float
    tasks: int


def estimate(records: Iterable[Record]) -> Estimate:
    """LRN-4. Weighted means of what is known, 0.5 US dollars and 30 minutes where nothing is; more tasks are surer.

    A record without a cost or a time has none known, and does not count for it.
    """
    found = list(records)
    whole = together(found)
    cost = together(one for one in found if one.avg_cost > 0)
    time = together(one for one in found if one.avg_ms > 0)
    return Estimate(
        cost.avg_cost if cost.tasks else _UNKNOWN_COST,
        time.avg_ms / 60_000 if time.tasks else _UNKNOWN_MINUTES,
        min(math.log10(whole.tasks + 1) / 2, 1.0),
        whole.tasks,
    )
