"""What an envelope may say: the values of its fields, checked one by one (POL-14)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from app.governance.policy.triggers import VOCABULARY, is_trigger
from db.enums import PolicyVerdict, RiskLevel

HIGHEST_PRIORITY: Final = 10_000
_COST_KEYS: Final = ("dailyUsd", "perRunUsd", "monthlyUsd", "dailyTokens")
_SPAWN_KEYS: Final = ("maxSubAgents", "maxGlobalActive", "maxPerParent", "maxDepth", "ttlMs")
_LOOP_KEYS: Final = (
    *("maxCommentsPerWindow", "windowMinutes", "maxReviewCycles", "maxPingPong", "pingPongWindowMinutes"),
    *("backAndForthLimit", "backAndForthWindowMinutes", "maxFailedRuns", "failedRunWindow", "toolRetryLimit"),
)


def fault_of(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first field of an envelope whose value cannot be, and what would be right; None where all can.

    An absent value (None) means that the field is inherited.
    """
    for name, value in values.items():
        check = _CHECKS.get(name)
        fault = None if value is None or check is None else check(value)
        if fault is not None:
            return name, fault
    return None


def _tier(value: Any) -> str | None:
    return None if _is_whole(value) and 0 <= value <= 5 else "An autonomy tier is an integer from 0 to 5."


def _priority(value: Any) -> str | None:
    if _is_whole(value) and 0 <= value <= HIGHEST_PRIORITY:
        return None
    return f"A priority is an integer from 0 to {HIGHEST_PRIORITY}."


def _names(value: Any) -> str | None:
    return None if all(entry.strip() for entry in value) else "An entry is blank. Take it out."


def _globs(value: Any) -> str | None:
    if all(entry.strip().removeprefix("!") and ".." not in entry.split("/") for entry in value):
        return None
    return "A glob is not blank and has no '..' in it; one that begins with '!' forbids what it matches."


def _trigger_list(value: Any) -> str | None:
    wrong = next((entry for entry in value if not is_trigger(entry)), None)
    return None if wrong is None else f"'{wrong[:60]}' is no trigger. Triggers are: {VOCABULARY}."


def _one_of(kind: type[RiskLevel] | type[PolicyVerdict], what: str) -> Callable[[Any], str | None]:
    known = [member.value for member in kind]

    def check(value: Any) -> str | None:
        if isinstance(value, dict) and all(name.strip() and one in known for name, one in value.items()):
            return None
        return f"This is an object of {what} by tool name, each {', '.join(known)}."

    return check


def _limits(keys: tuple[str, ...], least: int, *, is_whole: bool, flags: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    kind = "an integer" if is_whole else "a number"

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return f"This is an object with keys out of {', '.join((*flags, *keys))}."
        for name, one in value.items():
            if name not in keys and name not in flags:
                return f"There is no key '{name[:60]}'; there are {', '.join((*flags, *keys))}."
            if one is None:
                continue
            if name in flags and not isinstance(one, bool):
                return f"`{name}` is true or false."
            whole = is_whole or name == "dailyTokens"
            if name in keys and not ((_is_whole(one) or (not whole and isinstance(one, float))) and one >= least):
                return f"`{name}` is {'an integer' if whole else kind} of at least {least}."
        return None

    return check


def _caps(value: Any) -> str | None:
    good = isinstance(value, dict) and all(one is None or (_is_whole(one) and one >= 1) for one in value.values())
    return None if good else "Caps are an object of integers of at least 1, such as `maxRunsPerHour`."


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_CHECKS: Final[Mapping[str, Callable[[Any], str | None]]] = {
    "autonomy_tier": _tier,
    "priority": _priority,
    **dict.fromkeys(
        ("allowed_tools", "denied_tools", "data_scopes", "shell_allowlist", "shell_blocklist", "network_allowlist"),
        _names,
    ),
    "enforcement_points": _names,
    "file_read_paths": _globs,
    "file_write_paths": _globs,
    "approval_triggers": _trigger_list,
    "tool_risk_map": _one_of(RiskLevel, "risks"),
    "tool_policies": _one_of(PolicyVerdict, "verdicts"),
    "cost_limits": _limits(_COST_KEYS, 0, is_whole=False),
    # 0 meant "the default" once; an agent that may start none has `canSpawn: false` (POL-9).
    "spawn_limits": _limits(_SPAWN_KEYS, 1, is_whole=True, flags=("canSpawn",)),
    "loop_thresholds": _limits(_LOOP_KEYS, 1, is_whole=True),
    "caps": _caps,
}
