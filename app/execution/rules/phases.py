"""Into which parts a task falls (DAG-3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from db.enums import TaskType

MOST_PHASES: Final = 7
_COST_OF_MINUTE: Final = Decimal("0.01")
"""US dollars."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a strategy."""

    verb: str
    minutes: int
    type: TaskType | None = None
    """Its kind of work; None for the parent's."""
    after: tuple[int, ...] = ()
    """Positions of the phases that it waits for."""

    @property
    def estimated_cost(self) -> Decimal:
        """US dollars."""
        return self.minutes * _COST_OF_MINUTE


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to take a task apart."""

    name: str
    phases: Sequence[Phase]


_BY_TYPE: Final[Mapping[TaskType, Strategy]] = {
    TaskType.ENGINEERING: Strategy(
        "engineering",
        (
            Phase("Research", 30, TaskType.CUSTOMER_RESEARCH),
            Phase("Implement", 60, None, (0,)),
            Phase("Test", 30, None, (1,)),
            Phase("Document", 15, TaskType.DOCS, (1,)),
        ),
    ),
    TaskType.CONTENT: Strategy(
        "content", (Phase("Research", 20), Phase("Draft", 40, None, (0,)), Phase("Review", 20, None, (1,)))
    ),
    TaskType.OPS: Strategy(
        "ops", (Phase("Audit", 20), Phase("Plan", 15, None, (0,)), Phase("Execute", 30, None, (1,)))
    ),
}
_OTHER: Final = Strategy(
    "general", (Phase("Research", 20), Phase("Execute", 45, None, (0,)), Phase("Review", 15, None, (1,)))
)


def strategy_of(task_type: TaskType) -> Strategy:
    """DAG-3. How a task of this type is taken apart."""
    return _BY_TYPE.get(task_type, _OTHER)


def cut(strategy: Strategy, most: int) -> list[Phase]:
    """The first phases of a strategy; edges to those that were cut are gone with them."""
    kept = strategy.phases[:most]
    return [Phase(one.verb, one.minutes, one.type, tuple(at for at in one.after if at < len(kept))) for one in kept]
