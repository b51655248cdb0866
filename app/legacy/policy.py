"""Former policies in this system's columns (POL-7, MIG-2, MIG-8).

Inside one former policy a tool's own verdict beats the risks that ask for approval, and those beat the default
decision. In the columns of an envelope that reads:

- `toolPolicies` stay as they are;
- `requireApprovalOnRisk` becomes `risk:` triggers. A tool that is allowed by name and would be caught by one counts
  as GREEN, unless it is RED: no verdict reaches RED risk;
- `defaultDecision` ALLOW has no effect, NEEDS_APPROVAL becomes the verdict of `*`, every tool that is not named, and
  DENY an allow list of the tools that are named and not denied.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from app.governance.rules import base_risk, is_riskier
from app.legacy.document import Rejection, flag, items, mapping, member, words
from db.enums import PolicyVerdict, RiskLevel

EVERY_OTHER_TOOL: Final = "*"
"""Key of `tool_policies` for the tools that it does not name."""

_TRIGGERS: Final[Mapping[str, str]] = {
    "reviewToDoneRequiresHuman": "transition:DONE",
    "reviewToDoneRequiresApproval": "transition:DONE",
    "budgetExceededRequiresApproval": "budget:exceeded",
    "redToolsRequireApproval": "risk:RED",
}
_TRIGGERING: Final = (RiskLevel.YELLOW, RiskLevel.RED)


@dataclass
class Compiled:
    """Columns of an envelope, and what of the former policy had no place in them."""

    columns: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Sentences for the report."""


def compile_policy(rules: Any, tool_risk_map: Any = None, triggers: Iterable[str] = ()) -> Compiled:
    """The columns for a former policy's `rules` and `toolRiskMap`; `triggers` are there in any case.

    Raises Rejection for a value that is no verdict, no risk, or of the wrong shape.
    """
    compiled = Compiled()
    given = {} if rules is None else mapping("rules", rules)
    raised = _raised(tool_risk_map, compiled)
    verdicts = {
        tool: PolicyVerdict(member(f"rules.toolPolicies.{tool}", verdict, PolicyVerdict))
        for tool, verdict in mapping("rules.toolPolicies", given.get("toolPolicies") or {}).items()
    }
    risks = [
        RiskLevel(member("rules.requireApprovalOnRisk", one, RiskLevel))
        for one in items("rules.requireApprovalOnRisk", given.get("requireApprovalOnRisk") or [])
    ]
    named = [*triggers, *(f"risk:{risk.value}" for risk in _TRIGGERING if risk in risks)]
    named += [
        trigger
        for name, trigger in _TRIGGERS.items()
        if given.get(name) is not None and flag(f"rules.{name}", given[name])
    ]
    _spare_allowed(verdicts, named, raised, compiled)
    default = member("rules.defaultDecision", given.get("defaultDecision") or "ALLOW", PolicyVerdict)
    if default is PolicyVerdict.NEEDS_APPROVAL:
        verdicts.setdefault(EVERY_OTHER_TOOL, PolicyVerdict.NEEDS_APPROVAL)
    if default is PolicyVerdict.DENY:
        compiled.columns["allowed_tools"] = sorted(
            tool for tool, verdict in verdicts.items() if verdict is not PolicyVerdict.DENY
        )
    compiled.columns |= {
        "tool_policies": {tool: verdict.value for tool, verdict in verdicts.items()} or None,
        "approval_triggers": list(dict.fromkeys(named)) or None,
        "require_approval_on_risk": risks or None,
        "tool_risk_map": {tool: risk.value for tool, risk in raised.items()} or None,
    }
    _keep_unknown(given, compiled)
    return compiled


def _raised(tool_risk_map: Any, compiled: Compiled) -> dict[str, RiskLevel]:
    """The entries that raise a tool's base risk; the others would lower it and go to the metadata (MIG-2)."""
    raised, kept = {}, {}
    for tool, level in mapping("toolRiskMap", tool_risk_map or {}).items():
        risk = RiskLevel(member(f"toolRiskMap.{tool}", level, RiskLevel))
        if is_riskier(risk, than=base_risk(tool)):
            raised[tool] = risk
        elif risk is not base_risk(tool):
            kept[tool] = risk.value
    if kept:
        compiled.metadata["toolRiskMap"] = kept
        compiled.notes.append(
            "Entries of toolRiskMap that would lower a tool's base risk are kept in the metadata and have no effect: "
            + ", ".join(f"{tool} {level}" for tool, level in sorted(kept.items()))
        )
    return raised


def _spare_allowed(
    verdicts: Mapping[str, PolicyVerdict], triggers: Iterable[str], risk_map: dict[str, RiskLevel], compiled: Compiled
) -> None:
    """A verdict of ALLOW beats the risks that ask for approval: such a tool counts as GREEN, unless it is RED."""
    for tool, verdict in verdicts.items():
        risk = risk_map.get(tool, base_risk(tool))
        if verdict is not PolicyVerdict.ALLOW or f"risk:{risk.value}" not in triggers:
            continue
        if risk is RiskLevel.RED:
            compiled.notes.append(f"The tool {tool} was allowed by name; its risk is RED, so it asks for approval now")
        else:
            risk_map[tool] = RiskLevel.GREEN


def _keep_unknown(given: Mapping[str, Any], compiled: Compiled) -> None:
    known = {"toolPolicies", "requireApprovalOnRisk", "defaultDecision", *_TRIGGERS}
    unknown = {name: value for name, value in given.items() if name not in known}
    if unknown:
        compiled.metadata["rules"] = unknown
        compiled.notes.append(
            f"Rules without a counterpart are kept in the metadata and have no effect: {', '.join(sorted(unknown))}"
        )


def cost_limits(**limits: Any) -> dict[str, Any] | None:
    """The limits that are set, as an envelope keeps them; none at all is None."""
    return {name: value for name, value in limits.items() if value is not None} or None


def spawn_limits(given: Any) -> dict[str, Any] | None:
    """Spawn limits as they are, without a `maxSubAgents` of 0, which meant "the default" (POL-9)."""
    if given is None:
        return None
    limits = dict(mapping("spawnLimits", given))
    if limits.get("maxSubAgents") == 0:
        del limits["maxSubAgents"]
    return limits or None


def texts_or_none(name: str, value: Any) -> list[str] | None:
    """A list of texts; the former systems' empty list meant "no restriction" (C30)."""
    return [words(name, one) for one in items(name, value)] or None if value is not None else None


POLICY_COLUMNS: Final = (
    *("autonomy_tier", "allowed_tools", "denied_tools", "data_scopes", "caps", "approval_triggers"),
    *("enforcement_points", "tool_risk_map", "shell_allowlist", "shell_blocklist", "file_read_paths"),
    *("file_write_paths", "network_allowlist", "loop_thresholds", "spawn_limits", "cost_limits"),
    *("allowed_task_types", "require_approval_on_risk", "tool_policies"),
)
"""Columns of an envelope that say what is allowed."""


def stricter(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """One envelope that allows what both allow: for an agent whose own settings stand beside its version's policy.

    An instance's envelope replaces that of its version (POL-4), so the version's has to be in it.
    """
    return {name: _stricter(name, first.get(name), second.get(name)) for name in POLICY_COLUMNS}


def _stricter(name: str, first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    match name:
        case "autonomy_tier":
            return min(first, second)
        case "cost_limits" | "caps" | "loop_thresholds" | "spawn_limits":
            return {key: _smaller(first.get(key), second.get(key)) for key in {**first, **second}}
        case "tool_risk_map":
            return {key: _riskier(first.get(key), second.get(key)) for key in {**first, **second}}
        case "tool_policies":
            return {key: _verdict(first.get(key), second.get(key)) for key in {**first, **second}}
        case (
            "approval_triggers" | "denied_tools" | "shell_blocklist" | "enforcement_points" | "require_approval_on_risk"
        ):
            return list(dict.fromkeys([*first, *second]))
    return [one for one in first if one in second]


def _smaller(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, bool) or isinstance(second, bool):
        return bool(first) and bool(second)
    if isinstance(first, int | float | Decimal) and isinstance(second, int | float | Decimal):
        return min(first, second)
    return first


def _riskier(first: str | None, second: str | None) -> str | None:
    if first is None or second is None:
        return second if first is None else first
    return first if is_riskier(RiskLevel(first), than=RiskLevel(second)) else second


_STRICTNESS: Final = {None: -1, "ALLOW": 0, "NEEDS_APPROVAL": 1, "DENY": 2}


def _verdict(first: str | None, second: str | None) -> str | None:
    return max(first, second, key=_STRICTNESS.__getitem__)


def one_level(attachments: Mapping[str, Any]) -> dict[str, Any]:
    """The most specific of several attachments, version before template before project, else the tenant (POL-4,
    decision 39)."""
    chosen: dict[str, Any] = {
        "attached_to_tenant": False,
        "attached_to_project_id": None,
        "attached_to_template_id": None,
        "attached_to_version_id": None,
    }
    for level in ("version", "template", "project"):
        if (target := attachments.get(level)) is not None:
            return chosen | {f"attached_to_{level}_id": target}
    return chosen | {"attached_to_tenant": True}


def tier(value: Any) -> int | None:
    """An autonomy tier, an integer from 0 to 5 (POL-14)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 5:
        raise Rejection("autonomyTier", value, "is no autonomy tier from 0 to 5")
    return value
