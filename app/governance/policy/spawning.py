"""Limits on agents that start agents (POL-9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from app.governance.policy.action import Action
from app.governance.policy.facts import Facts

MAX_GLOBAL_ACTIVE: Final = 30
MAX_PER_PARENT: Final = 3
MAX_DEPTH: Final = 2
TTL_MS: Final = 21_600_000
"""How long a child lives if nothing else is said: 6 hours, in milliseconds."""
MOST_STARTED: Final = 1_000
"""A faster pace than so many an hour is not held back."""
_HOUR: Final = timedelta(hours=1)
_SLOWEST: Final = 10 * 365 * 24.0
"""Hours between two agents that a pace which is next to nothing asks for."""
LEAST_TIER: Final = 2
"""Tier from which an agent may spawn where no envelope says whether it may; an INTERN, tier 1, could not."""


@dataclass(frozen=True, slots=True)
class SpawnFault:
    """Why no agent may be started."""

    rule: str
    reason: str
    hint: str


def spawn_fault(facts: Facts, action: Action) -> SpawnFault | None:
    """The first limit that stands in the way of a spawn; None where none does."""
    limits, fleet = facts.policy.spawn_limits, facts.fleet
    can_spawn = limits.get("canSpawn")
    if can_spawn is False or (can_spawn is None and facts.policy.tier < LEAST_TIER):
        return SpawnFault("spawn_not_allowed", "The policy does not let it start agents.", "Do the work itself.")
    if fleet is None:
        return SpawnFault("spawn_unknown", "It is not known how many agents there are.", "Ask again.")
    most = _limit(limits.get("maxGlobalActive"), MAX_GLOBAL_ACTIVE)
    if fleet.active >= most:
        return SpawnFault(
            "spawn_limit:global", f"The tenant has its {most} active instances.", "Wait until some have retired."
        )
    most = children_limit(facts)
    if fleet.children >= most:
        return SpawnFault("spawn_limit:children", f"It has its {most} agents already.", "Wait until one has retired.")
    most = _limit(limits.get("maxDepth"), MAX_DEPTH)
    if fleet.depth >= most:
        return SpawnFault("spawn_limit:depth", f"Agents may be {most} levels deep.", "Ask its parent to start it.")
    roles = facts.build.child_roles
    if roles is not None and (action.child_role is None or action.child_role.casefold() not in roles):
        allowed = ", ".join(sorted(roles)) or "none"
        return SpawnFault(
            "spawn_role_not_allowed",
            f"Its genome lets it start agents of these roles only: {allowed}.",
            "Name the template of the child, one whose role is allowed.",
        )
    return None if facts.build.spawn_rate is None else _pace_fault(facts.build.spawn_rate, fleet.started)


def _pace_fault(rate: float, started: Sequence[timedelta]) -> SpawnFault | None:
    """Why it is too early for another agent; None where it is not. The genome's `spawnRate` is a pace an hour, and of
    less than one it is one agent in so many hours."""
    if rate <= 0:
        return SpawnFault("spawn_limit:rate", "Its genome lets it start no agents.", "Do the work itself.")
    if rate > MOST_STARTED:
        return None
    most, span = (int(rate), _HOUR) if rate >= 1 else (1, min(1 / rate, _SLOWEST) * _HOUR)
    if len(started) < most or started[most - 1] >= span:
        return None
    wait = span - started[most - 1]
    return SpawnFault(
        "spawn_limit:rate",
        f"It has started as many agents as its genome allows: {rate:g} an hour.",
        f"Wait {-(-wait // timedelta(minutes=1))} min.",
    )


def children_limit(facts: Facts) -> int:
    """Most agents that the instance may have: the smallest limit that is set (POL-9)."""
    limits = facts.policy.spawn_limits
    given = (limits.get("maxSubAgents"), _limit(limits.get("maxPerParent"), MAX_PER_PARENT), facts.build.max_children)
    return min(one for one in given if isinstance(one, int))


def _limit(given: Any, default: int) -> int:
    return given if isinstance(given, int) else default
