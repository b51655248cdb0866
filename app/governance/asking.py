"""What a caller asks of policy, made of what the input says."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.commands import Refusal, Refused
from app.governance.policy import Action, ActionType
from app.governance.policy.action import DEEPEST_ARGUMENTS, is_too_deep
from app.governance.verdicts import camel
from db.base import JsonObject
from db.canonical import CanonicalError, canonical_hash
from db.enums import RiskLevel, TaskStatus

LONGEST_TOOL: Final = 200
"""Characters of a tool's name."""
_MOST_DOLLARS: Final = Decimal(10) ** 9


@dataclass(frozen=True)
class Asked:
    """What a caller asks: the action, and what goes with a request for approval."""

    action: Action
    hash: str
    """Of the tool's arguments before redaction (POL-12, TOL-3)."""
    run_id: UUID | None
    justification: str | None
    rollback_plan: str | None
    if_allowed: JsonObject = field(default_factory=dict)
    """Further keys of the event of an ALLOW, where that is the asking command's own event."""


def refused_input(name: str, message: str) -> Refused:
    """The refusal of a value."""
    return Refused(Refusal.VALIDATION_ERROR, message, name)


def exact_hash(value: Any, name: str) -> str | Refused:
    """SHA-256 of a JSON value's canonical text (POL-12, TOL-3), or why the input field `name` cannot be written down
    exactly: it is too deep, or holds a number or a text that has no such form."""
    if isinstance(value, dict | list) and is_too_deep(value):
        return refused_input(
            name, f"`{camel(name)}` is nested deeper than {DEEPEST_ARGUMENTS} levels. Send the deepest part as text."
        )
    try:
        return canonical_hash(value)
    except CanonicalError as error:
        return refused_input(name, f"`{camel(name)}` cannot be written down exactly. {error} Send it as text.")


def action_of(
    kind: ActionType,
    tool: str | None,
    args: Any,
    risk: RiskLevel | None,
    transition_to: TaskStatus | None,
    cost: float | None,
    tokens: int | None,
    task_id: UUID | None,
) -> Action | Refused:
    """The action of an input, or why it is none."""
    if tool is not None and not 0 < len(tool.strip()) <= LONGEST_TOOL:
        return refused_input("tool_name", f"`toolName` has 1 to {LONGEST_TOOL} characters.")
    if kind is ActionType.TOOL_CALL and tool is None:
        return refused_input("tool_name", "A TOOL_CALL needs a `toolName`.")
    if kind is ActionType.TRANSITION and (transition_to is None or task_id is None):
        return refused_input("transition_to", "A TRANSITION needs `transitionTo` and `taskId`.")
    if not isinstance(args, dict | None):
        return refused_input(
            "tool_args", '`toolArgs` is an object of the arguments by name, such as {"path": "src/a.py"}.'
        )
    if is_too_deep(args) or _has_nul(args):
        return refused_input(
            "tool_args", f"`toolArgs` is nested deeper than {DEEPEST_ARGUMENTS} levels, or has a NUL character."
        )
    dollars = Decimal(str(cost or 0))
    if not 0 <= dollars <= _MOST_DOLLARS:
        return refused_input("estimated_cost_usd", "`estimatedCostUsd` is at least 0, and at most a thousand million.")
    if tokens is not None and tokens < 0:
        return refused_input("estimated_tokens", "`estimatedTokens` is at least 0.")
    return Action(
        type=kind,
        tool=None if tool is None else tool.strip(),
        args=args or {},
        risk=risk,
        transition_to=transition_to if kind is ActionType.TRANSITION else None,
        estimated_cost=dollars,
        estimated_tokens=tokens or 0,
    )


def _has_nul(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and "\0" in one:
            return True
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
    return False
