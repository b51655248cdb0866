"""Verdicts and policies as JSON: what a payload shows and an idempotency key keeps."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final

from app.governance.policy import Action, Decision, EffectivePolicy
from app.governance.policy.inheritance import FIELDS
from db.base import JsonObject


def camel(name: str) -> str:
    """A column's name as the graph has it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_NAMES: Final = {name: camel(name) for name in FIELDS}


def decision_json(policy: EffectivePolicy, action: Action, decision: Decision, at: datetime) -> JsonObject:
    """A decision with everything that explains it (POL-1); ids are bare UUIDs."""
    return {
        "decision": decision.verdict.value,
        "actionType": action.type.value,
        "toolName": action.tool,
        "riskLevel": decision.risk.value,
        "autonomyTier": decision.tier,
        "reason": decision.reason,
        "triggeredRules": list(decision.rules),
        "violations": list(decision.violations),
        "remediationHints": list(decision.hints),
        "requiredApprovals": [{"type": one.type, "reason": one.reason} for one in decision.required],
        "source": decision.level.value,
        "effectiveEnvelope": sources_json(policy),
        "evaluatedAt": at.isoformat(),
    }


@lru_cache(maxsize=1024)
def sources_json(policy: EffectivePolicy) -> list[JsonObject]:
    """For each field that an envelope sets: which envelopes, and at what level the strongest of them stands.

    The policy's own, which nobody may change.
    """
    return [
        {
            "field": _NAMES[name],
            "level": policy.sources[name].level.value,
            "envelopeIds": [str(one) for one in policy.sources[name].envelope_ids],
        }
        for name in FIELDS
        if name in policy.sources
    ]


def policy_json(policy: EffectivePolicy) -> JsonObject:
    """A policy in force, every field under its name in the graph (decision 21)."""
    return {name: policy.values[field] for field, name in _NAMES.items()} | {"sources": sources_json(policy)}
