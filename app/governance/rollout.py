"""How a release starts its agents (DEP-5): pure functions of its rollout policy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from db.enums import RolloutStrategy


def rollout_faults(policy: Mapping[str, Any] | None, replicas: int) -> Iterator[tuple[str, str]]:
    """(field, what would be right): a canary has a percentage above 0 up to 100, a rolling release a batch from 1."""
    if replicas < 1:
        yield "replicas", "A release has at least one replica."
    if policy is None:
        return
    strategy = policy.get("strategy", RolloutStrategy.ALL_AT_ONCE.value)
    if strategy not in list(RolloutStrategy):
        yield "rollout_policy", f"`rolloutPolicy.strategy` is one of {', '.join(RolloutStrategy)}."
    if strategy == RolloutStrategy.CANARY and not 0 < _number(policy.get("canaryPercent")) <= 100:
        yield "rollout_policy", "CANARY needs a `canaryPercent` above 0, up to 100."
    batch = _number(policy.get("batchSize"))
    if strategy == RolloutStrategy.ROLLING and (batch < 1 or batch != int(batch)):
        yield "rollout_policy", "ROLLING needs a `batchSize`, a whole number from 1."


def spawn_count(policy: Mapping[str, Any] | None, replicas: int) -> int:
    """How many agents start as the release comes into force."""
    match (policy or {}).get("strategy"):
        case RolloutStrategy.CANARY:
            return math.ceil(replicas * _number((policy or {})["canaryPercent"]) / 100)
        case RolloutStrategy.ROLLING:
            return min(replicas, int(_number((policy or {})["batchSize"])))
    return replicas


def _number(value: Any) -> float:
    """The number; 0, which no field here takes, for what is none."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else 0
