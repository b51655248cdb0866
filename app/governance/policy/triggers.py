"""Triggers: what asks for approval although the tier would allow it (POL-7)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

from app.governance.policy.action import Action, ActionType
from app.governance.policy.matching import NameList
from app.governance.policy.risk import Assessment
from db.enums import RiskLevel, TaskStatus

_PLAIN: Final = frozenset({"budget:exceeded", "production", "secrets", "spawn", "deployment"})
_RISKS: Final = frozenset(level.value for level in RiskLevel)
_STATUSES: Final = frozenset(status.value for status in TaskStatus)
BUDGET: Final = "budget:exceeded"
VOCABULARY: Final = (
    "risk:GREEN|YELLOW|RED, tool:<name>, transition:<STATUS>, cost_above:<usd>, "
    "budget:exceeded, production, secrets, spawn, deployment"
)
"""Every form of a trigger, for messages."""


def is_trigger(text: str) -> bool:
    """Whether a text is a trigger of the vocabulary (POL-7)."""
    kind, colon, rest = text.partition(":")
    if text in _PLAIN:
        return True
    match kind:
        case "risk":
            return rest in _RISKS
        case "tool":
            return bool(rest.strip())
        case "transition":
            return rest in _STATUSES
        case "cost_above":
            return bool(colon) and _dollars(rest) is not None
    return False


def _dollars(text: str) -> Decimal | None:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None


class Triggers:
    """A compiled list of triggers. What is none of the vocabulary asks for nothing."""

    __slots__ = ("_has_plain", "_least", "_risks", "_tools", "_transitions")

    def __init__(self, entries: Iterable[str]) -> None:
        given = [entry for entry in entries if is_trigger(entry)]
        named = [entry.partition(":")[::2] for entry in given]
        amounts = [_dollars(rest) for kind, rest in named if kind == "cost_above"]
        self._risks = frozenset(rest for kind, rest in named if kind == "risk")
        self._transitions = frozenset(rest for kind, rest in named if kind == "transition")
        self._tools = NameList(rest for kind, rest in named if kind == "tool")
        self._least = min((amount for amount in amounts if amount is not None), default=None)
        self._has_plain = frozenset(given) & _PLAIN

    def fired(self, action: Action, assessed: Assessment, over_budget: bool) -> list[str]:
        """The triggers that match, as they are written; `cost_above` with the least amount that is passed."""
        found = []
        if assessed.level in self._risks:
            found.append(f"risk:{assessed.level}")
        if action.tool is not None and self._tools.has(action.tool):
            found.append(f"tool:{action.tool}")
        if action.type is ActionType.TRANSITION and action.transition_to in self._transitions:
            found.append(f"transition:{action.transition_to}")
        if self._least is not None and action.estimated_cost > self._least:
            found.append(f"cost_above:{self._least}")
        if self._has_plain:
            states = (
                (BUDGET, over_budget),
                ("production", assessed.is_production),
                ("secrets", assessed.has_secret),
                ("spawn", action.is_spawn),
                ("deployment", assessed.is_deployment),
            )
            found += [name for name, holds in states if holds and name in self._has_plain]
        return found
