"""Who is best for a task: scores of routing and of delegation (RTE-1 to RTE-3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

RECOMMENDED: Final = 5
"""RTE-2. How many a recommendation names."""
_ROLES: Final = {"LEAD": 1.0, "SPECIALIST": 0.8, "REVIEWER": 0.6, "CHALLENGER": 0.6, "INTERN": 0.4}
_OTHER_ROLE: Final = 0.5
_UNTRIED: Final = 0.5
_DELEGATED_ROLES: Final = {"LEAD": 15.0, "SPECIALIST": 10.0, "INTERN": 5.0}
_OTHER_DELEGATED: Final = 5.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent that a task might be given to."""

    id: UUID
    is_active: bool
    may_do: bool
    """Whether its policy allows the task's type, as TASK-3 asks; without a list it allows any (RTE-1, POL-8)."""
    load: int
    """Its tasks that are ASSIGNED or IN_PROGRESS."""
    role: str | None
    """Its position in the project, else its template's role; in capitals."""
    successes: int = 0
    failures: int = 0
    """Of tasks of this type."""
    budget_left: Decimal | None = None
    """US dollars left of today's and of this month's limit, the lesser; None for no limit."""
    capabilities: frozenset[str] = frozenset()

    @property
    def can_be_given(self) -> bool:
        """RTE-2. Whether it is a candidate at all: ACTIVE, with budget, and allowed the type."""
        return self.is_active and self.may_do and (self.budget_left is None or self.budget_left > 0)


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with its score and the parts of it."""

    candidate: Candidate
    score: float
    parts: tuple[tuple[str, float], ...]
    """Name and share of the score, which they add up to."""

    @property
    def reasoning(self) -> str:
        """The score in words."""
        return ", ".join(f"{name} {share:.2f}" for name, share in self.parts)


def success_rate(successes: int, failures: int) -> float | None:
    """Share of tasks that succeeded; None without any."""
    count = successes + failures
    return None if count == 0 else successes / count


def performance(successes: int, failures: int) -> float:
    """RTE-1. How well an agent has done: 0.5 without history."""
    rate = success_rate(successes, failures)
    return _UNTRIED if rate is None else 0.7 * rate + 0.3 * max(0.0, 1 - 0.1 * failures)


def score(candidate: Candidate, max_load: int) -> Scored:
    """RTE-1. skill, availability, load, performance and role, weighted."""
    parts = (
        ("skill", 0.3 * candidate.may_do),
        ("availability", 0.2 * candidate.is_active),
        ("load", 0.2 * (1 - candidate.load / max(max_load, 1))),
        ("performance", 0.2 * performance(candidate.successes, candidate.failures)),
        ("role", 0.1 * _ROLES.get(candidate.role or "", _OTHER_ROLE)),
    )
    return Scored(candidate, sum(share for _, share in parts), parts)


def ranked(candidates: Iterable[Candidate]) -> list[Scored]:
    """RTE-2. Those that the task can be given to, the best first; ties by lower load, then by id."""
    given = [one for one in candidates if one.can_be_given]
    max_load = max((one.load for one in given), default=1)
    return _sorted([score(one, max_load) for one in given])


def delegation(candidate: Candidate, required: Sequence[str] = ()) -> Scored:
    """RTE-3. How well a part of a task would be with this agent: capabilities, performance, role, load and budget."""
    wanted = {one.casefold() for one in required}
    match = len(wanted & candidate.capabilities) / len(wanted) * 40 if wanted else 20.0
    left = 5.0 if candidate.budget_left is None else float(candidate.budget_left)
    parts = (
        ("capabilities", match),
        ("performance", performance(candidate.successes, candidate.failures) * 25),
        ("role", _DELEGATED_ROLES.get(candidate.role or "", _OTHER_DELEGATED)),
        ("load", -min(2.5 * candidate.load, 10.0)),
        ("budget", min(max(left, 0.0) / 5, 1.0) * 10),
    )
    return Scored(candidate, sum(share for _, share in parts), parts)


def ranked_for_delegation(candidates: Iterable[Candidate], required: Sequence[str] = ()) -> list[Scored]:
    """RTE-3. As `ranked`, by the score of delegation; ties as RTE-2."""
    return _sorted([delegation(one, required) for one in candidates if one.can_be_given])


def _sorted(found: list[Scored]) -> list[Scored]:
    return sorted(found, key=lambda one: (-one.score, one.candidate.load, one.candidate.id))
