"""One policy out of the envelopes of four levels (POL-3 to POL-5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from app.governance.policy.matching import BlockGlobs, Globs, Hosts, NameList, ShellBlocks, ShellPrefixes
from app.governance.policy.triggers import Triggers
from db.enums import PolicyVerdict, RiskLevel
from db.enums.described import Described


class PolicyLevel(Described):
    """Where a part of the policy in force comes from, the strongest first (POL-4)."""

    VERSION = "VERSION", "The version's envelope, or the one of this instance alone, which replaces it."
    TEMPLATE = "TEMPLATE", "The template's."
    PROJECT = "PROJECT", "The project's."
    TENANT = "TENANT", "The tenant's."
    DEFAULT = "DEFAULT", "No envelope says anything: the gateway's own default (POL-3)."


_RANK: Final = {level: rank for rank, level in enumerate(PolicyLevel)}
COST_LIMITS: Final = "cost_limits"
DEFAULT_TIER: Final = 1
"""Autonomy where no envelope gives one (POL-3, decision 17)."""
DEFAULT_COST_LIMITS: Final = {"dailyUsd": 2.0, "perRunUsd": 0.25}
"""US dollars where there is no envelope at all: those of the least of the former roles (POL-3, BUD-1)."""

UNIONS: Final = ("denied_tools", "shell_blocklist", "approval_triggers", "enforcement_points")
"""Lists that add up: what one level forbids, no stronger level can allow (POL-5)."""
OBJECTS: Final = ("cost_limits", "spawn_limits", "loop_thresholds", "caps", "tool_risk_map", "tool_policies")
"""Objects that are inherited key by key, so that a limit holds until a stronger level sets the same one."""
PLAIN: Final = (
    *("autonomy_tier", "allowed_tools", "data_scopes", "shell_allowlist", "file_read_paths", "file_write_paths"),
    *("network_allowlist", "allowed_task_types"),
)
"""Fields that the strongest level with a value decides alone."""
RISKS: Final = "require_approval_on_risk"
"""The same as `risk:` triggers, so it adds up with them (POL-7)."""
FIELDS: Final = (*PLAIN, *UNIONS, RISKS, *OBJECTS)
"""Every column of an envelope that says what is allowed."""
EVERY_OTHER_TOOL: Final = "*"
"""Key of `tool_policies` for the tools that it does not name."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An active envelope. Two are equal when they are the same version of the same row at the same level."""

    tenant_id: UUID
    id: UUID
    version: int
    stamp: str
    """When the row last changed, so that what was compiled of it is not used for another text."""
    level: PolicyLevel
    priority: int = field(compare=False)
    values: Mapping[str, Any] = field(compare=False)
    """Columns of FIELDS, as JSON has them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a field's value comes from."""

    level: PolicyLevel
    envelope_ids: tuple[UUID, ...]


NO_SOURCE: Final = Source(PolicyLevel.DEFAULT, ())


@dataclass(frozen=True, slots=True, eq=False)
class EffectivePolicy:
    """The policy in force, with its lists compiled."""

    tier: int
    values: Mapping[str, Any]
    """What each field amounts to, as JSON has it; None where nothing restricts."""
    sources: Mapping[str, Source]
    """For each field that some envelope sets: which."""
    allowed_tools: NameList | None
    denied_tools: NameList
    data_scopes: NameList | None
    task_types: frozenset[str] | None
    triggers: Triggers
    tool_risks: Mapping[str, RiskLevel]
    verdicts: Mapping[str, PolicyVerdict]
    denials: tuple[tuple[Mapping[str, PolicyVerdict], UUID], ...]
    """The verdicts of each envelope that denies a tool, for no other level can take that back."""
    shell_allowed: ShellPrefixes | None
    shell_blocked: ShellBlocks
    readable: Globs | None
    writable: Globs | None
    unreadable: BlockGlobs
    unwritable: BlockGlobs
    hosts: Hosts | None
    cost_limits: Mapping[str, Decimal]
    spawn_limits: Mapping[str, Any]

    def source(self, name: str) -> Source:
        """Where a field's value comes from; the default where no envelope sets it."""
        return self.sources.get(name, NO_SOURCE)


def resolve(envelopes: Iterable[Envelope], max_tier: int | None = None) -> EffectivePolicy:
    """The policy of these envelopes, strongest level first, on one level by priority and then the newest (POL-5).

    `max_tier` is the tenant's safety floor: the tier is never above it. The result is kept for envelopes that are the
    same again.
    """
    ordered = sorted(envelopes, key=lambda one: (_RANK[one.level], -one.priority, -one.id.int))
    return _resolve(tuple(ordered), max_tier)


@lru_cache(maxsize=4096)
def _resolve(envelopes: tuple[Envelope, ...], max_tier: int | None) -> EffectivePolicy:
    values: dict[str, Any] = dict.fromkeys(FIELDS)
    sources: dict[str, Source] = {}
    for name in FIELDS:
        setting = [one for one in envelopes if one.values.get(name) is not None]
        if setting:
            counting = setting[:1] if name in PLAIN else setting
            values[name] = _combined(name, [one.values[name] for one in counting])
            sources[name] = Source(setting[0].level, tuple(one.id for one in counting))
    sources |= _limit_sources(envelopes)
    if not envelopes:
        values["cost_limits"] = dict(DEFAULT_COST_LIMITS)
    tier = DEFAULT_TIER if values["autonomy_tier"] is None else values["autonomy_tier"]
    values["autonomy_tier"] = tier if max_tier is None else min(tier, max_tier)
    readable, unreadable = _file_lists("file_read_paths", envelopes, values, sources)
    writable, unwritable = _file_lists("file_write_paths", envelopes, values, sources)
    return EffectivePolicy(
        tier=values["autonomy_tier"],
        values=values,
        sources=sources,
        allowed_tools=_compiled(NameList, values["allowed_tools"]),
        denied_tools=NameList(values["denied_tools"] or ()),
        data_scopes=_compiled(NameList, values["data_scopes"]),
        task_types=_compiled(frozenset, values["allowed_task_types"]),
        triggers=Triggers((*(values["approval_triggers"] or ()), *(f"risk:{one}" for one in values[RISKS] or ()))),
        tool_risks={tool.casefold(): RiskLevel(risk) for tool, risk in (values["tool_risk_map"] or {}).items()},
        verdicts=_verdicts(values["tool_policies"]),
        denials=tuple(
            (verdicts, one.id)
            for one in envelopes
            if PolicyVerdict.DENY in (verdicts := _verdicts(one.values.get("tool_policies"))).values()
        ),
        shell_allowed=_compiled(ShellPrefixes, values["shell_allowlist"]),
        shell_blocked=ShellBlocks(values["shell_blocklist"] or ()),
        readable=readable,
        writable=writable,
        unreadable=unreadable,
        unwritable=unwritable,
        hosts=_compiled(Hosts, values["network_allowlist"]),
        cost_limits={
            name: Decimal(str(limit)) for name, limit in (values["cost_limits"] or {}).items() if limit is not None
        },
        spawn_limits=values["spawn_limits"] or {},
    )


def _limit_sources(envelopes: Sequence[Envelope]) -> dict[str, Source]:
    """Which envelope sets each limit of spend, by `cost_limits.<key>`: they are inherited key by key (POL-4)."""
    return {
        f"{COST_LIMITS}.{key}": Source(one.level, (one.id,))
        for one in reversed(envelopes)
        for key, value in (one.values.get(COST_LIMITS) or {}).items()
        if value is not None
    }


def _combined(name: str, found: Sequence[Any]) -> Any:
    """The values of one field, strongest first, as one."""
    if name in PLAIN:
        return found[0]
    if name in OBJECTS:
        merged: dict[str, Any] = {}
        for one in reversed(found):
            merged |= {key: value for key, value in one.items() if value is not None}
        return merged
    return list(dict.fromkeys(entry for one in found for entry in one))


def _compiled(make: Any, entries: Any) -> Any:
    return None if entries is None else make(entries)


def _verdicts(given: Mapping[str, str] | None) -> dict[str, PolicyVerdict]:
    return {tool.casefold(): PolicyVerdict(verdict) for tool, verdict in (given or {}).items()}


def _file_lists(
    name: str, envelopes: Sequence[Envelope], values: dict[str, Any], sources: dict[str, Source]
) -> tuple[Globs | None, BlockGlobs]:
    """A list of globs in its two halves: what is allowed, and what is not (entries that begin with `!`, RSK-8).

    What is not allowed adds up over the levels, as every list that forbids does (POL-5). What is allowed is the
    strongest level's that has a list with such entries; a list of forbidden entries alone allows the rest.
    """
    lists = [(one, one.values[name]) for one in envelopes if one.values.get(name) is not None]
    blocking = [(one, [entry[1:] for entry in entries if entry.startswith("!")]) for one, entries in lists]
    blocked = [(one, entries) for one, entries in blocking if entries]
    # An empty list has no entry of either kind, and means: nothing.
    allowing = [
        (one, [entry for entry in entries if not entry.startswith("!")])
        for one, entries in lists
        if not entries or any(not entry.startswith("!") for entry in entries)
    ]
    allowed = allowing[0][1] if allowing else None
    forbidden = list(dict.fromkeys(entry for _, entries in blocked for entry in entries))
    if lists:
        values[name] = [*(allowed if allowed is not None else ["**"]), *(f"!{entry}" for entry in forbidden)]
        used = [one for one, _ in allowing[:1]] + [one for one, _ in blocked]
        counting = [one for one in envelopes if one in used]
        sources[name] = Source(counting[0].level, tuple(one.id for one in counting))
    return (None if allowed is None else Globs(allowed)), BlockGlobs(forbidden)


def forget() -> None:
    """Let go of what was compiled: for measurements."""
    _resolve.cache_clear()
