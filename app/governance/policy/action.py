"""What an agent asks permission for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from db.canonical import canonical_hash
from db.enums import RiskLevel, TaskStatus
from db.enums.described import Described

DEEPEST_ARGUMENTS: Final = 64
"""Objects and lists inside each other that a tool's arguments may have; what is deeper is no honest call."""
_SPAWN_TOOLS: Final = frozenset({"sessions_spawn", "spawn_agent"})


class ActionType(Described):
    """What an agent wants to do (POL-1)."""

    TOOL_CALL = "TOOL_CALL", "Call a tool."
    TRANSITION = "TRANSITION", "Move a task to another status."
    SPAWN = "SPAWN", "Start another agent."
    RUN_START = "RUN_START", "Begin a run."
    MESSAGE = "MESSAGE", "Post a message."


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action, as it would be carried out."""

    type: ActionType
    tool: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the tool; for a message its `content`, `channel` and so on."""
    risk: RiskLevel | None = None
    """The caller's own view; it can raise the risk and never lower it (POL-1)."""
    transition_to: TaskStatus | None = None
    estimated_cost: Decimal = Decimal(0)
    """US dollars."""
    estimated_tokens: int = 0
    child_role: str | None = None
    """For a spawn: the default role of the child's template."""

    @property
    def is_spawn(self) -> bool:
        """Whether it starts an agent, by itself or through a tool (POL-9)."""
        return self.type is ActionType.SPAWN or (self.tool is not None and self.tool.casefold() in _SPAWN_TOOLS)


def args_hash(args: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical text of a tool's arguments, lower-case hex: what a one-time grant is for (POL-12).

    Raises CanonicalError.
    """
    return canonical_hash(dict(args))


def is_too_deep(value: Any) -> bool:
    """Whether objects and lists lie inside each other further than DEEPEST_ARGUMENTS."""
    level = [value]
    for _ in range(DEEPEST_ARGUMENTS + 1):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
