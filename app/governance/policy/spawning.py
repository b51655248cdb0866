"""Limits on agents that start agents (POL-9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from app.governance.policy.action import Action
from app.governance.policy.facts import Facts

MAX_GLOBAL_ACTIVE: Final = 30
MAX_PER_PARENT: Final = 3
MAX_DEPTH: Final = 2
TTL_MS: Final = 21_600_000
"""How long a child lives if nothing else is said: 6 hours, in milliseconds."""
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
    return None


def children_limit(facts: Facts) -> int:
    """Most agents that the instance may have: the smallest limit that is set (POL-9)."""
    limits = facts.policy.spawn_limits
    given = (limits.get("maxSubAgents"), _limit(limits.get("maxPerParent"), MAX_PER_PARENT), facts.build.max_children)
    return min(one for one in given if isinstance(one, int))


def _limit(given: Any, default: int) -> int:
    return given if isinstance(given, int) else default
