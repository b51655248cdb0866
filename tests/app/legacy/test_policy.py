"""Former policies in this system's columns (POL-4, POL-7, POL-9, MIG-2)."""

from typing import Any

import pytest

from app.legacy.document import Rejection
from app.legacy.policy import compile_policy, cost_limits, one_level, spawn_limits, stricter, texts_or_none, tier


def columns(rules: dict[str, Any], risk_map: Any = None, triggers: tuple[str, ...] = ()) -> dict[str, Any]:
    found = compile_policy(rules, risk_map, triggers).columns
    return {name: value for name, value in found.items() if value is not None}


def test_risks_and_switches_become_triggers() -> None:
    """POL-7."""
    assert columns({"requireApprovalOnRisk": ["RED", "YELLOW"]}) == {
        "approval_triggers": ["risk:YELLOW", "risk:RED"],
        "require_approval_on_risk": ["RED", "YELLOW"],
    }
    assert columns({"reviewToDoneRequiresHuman": True, "reviewToDoneRequiresApproval": True}) == {
        "approval_triggers": ["transition:DONE"]
    }
    assert columns({"budgetExceededRequiresApproval": True}) == {"approval_triggers": ["budget:exceeded"]}
    assert columns({"redToolsRequireApproval": True}, triggers=("risk:RED",)) == {"approval_triggers": ["risk:RED"]}
    assert columns({"redToolsRequireApproval": False}) == {}


def test_the_default_decision() -> None:
    """POL-7 as corrected: ALLOW has no effect, NEEDS_APPROVAL covers every tool without a verdict, DENY leaves those
    that are named and not denied."""
    named = {"toolPolicies": {"read": "ALLOW", "shell": "NEEDS_APPROVAL", "deploy": "DENY"}}
    assert columns({"defaultDecision": "ALLOW"}) == {}
    asking = columns({**named, "defaultDecision": "NEEDS_APPROVAL"})
    assert asking == {"tool_policies": {**named["toolPolicies"], "*": "NEEDS_APPROVAL"}}
    denying = columns({**named, "defaultDecision": "DENY"})
    assert denying["allowed_tools"] == ["read", "shell"]
    assert columns({"defaultDecision": "DENY"}) == {"allowed_tools": []}


def test_deny_by_default_stays_deny_beside_risks_that_ask() -> None:
    """POL-7 as corrected: a risk that asks for approval does not open what the default denies."""
    found = columns({"defaultDecision": "DENY", "requireApprovalOnRisk": ["RED"]})
    assert found["allowed_tools"] == []


def test_a_tool_that_is_allowed_by_name_beats_the_risks_that_ask() -> None:
    """POL-7 as corrected: toolPolicies beats requireApprovalOnRisk; no verdict reaches RED."""
    compiled = compile_policy(
        {
            "toolPolicies": {"shell": "ALLOW", "deploy": "ALLOW", "write": "DENY"},
            "requireApprovalOnRisk": ["YELLOW", "RED"],
        }
    )
    assert compiled.columns["tool_risk_map"] == {"shell": "GREEN"}
    assert compiled.notes == ["The tool deploy was allowed by name; its risk is RED, so it asks for approval now"]
    only_red = columns({"toolPolicies": {"shell": "ALLOW"}, "requireApprovalOnRisk": ["RED"]})
    assert "tool_risk_map" not in only_red


def test_the_risk_map_may_only_raise() -> None:
    """MIG-2 as corrected: what would lower a tool's base risk is kept and reported."""
    compiled = compile_policy(
        None, {"shell": "red", "deploy": "GREEN", "read": "YELLOW", "write": "YELLOW", "new": "RED"}
    )
    assert compiled.columns["tool_risk_map"] == {"shell": "RED", "read": "YELLOW", "new": "RED"}
    assert compiled.metadata["toolRiskMap"] == {"deploy": "GREEN"}
    assert "deploy GREEN" in compiled.notes[0]


def test_unknown_rules_are_kept_and_reported() -> None:
    """MIG-2."""
    compiled = compile_policy({"caoApprovalRequired": True, "caoAgentName": "Cao"})
    assert compiled.metadata["rules"] == {"caoApprovalRequired": True, "caoAgentName": "Cao"}
    assert compiled.notes == [
        "Rules without a counterpart are kept in the metadata and have no effect: caoAgentName, caoApprovalRequired"
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {"defaultDecision": "MAYBE"},
        {"toolPolicies": {"shell": "MAYBE"}},
        {"toolPolicies": ["shell"]},
        {"requireApprovalOnRisk": ["PINK"]},
        {"requireApprovalOnRisk": "RED"},
        {"redToolsRequireApproval": "yes"},
        "deny all",
    ],
)
def test_rules_that_cannot_be_understood_are_a_rejection(rules: Any) -> None:
    """A policy is never guessed at."""
    with pytest.raises(Rejection, match=r"^rules"):
        compile_policy(rules)


def test_a_number_of_sub_agents_of_zero_meant_the_default() -> None:
    """POL-9 as corrected."""
    assert spawn_limits({"canSpawn": True, "maxSubAgents": 0}) == {"canSpawn": True}
    assert spawn_limits({"maxSubAgents": 4}) == {"maxSubAgents": 4}
    assert spawn_limits(None) is spawn_limits({}) is None


def test_an_empty_list_meant_no_restriction() -> None:
    """C30."""
    assert texts_or_none("shellAllowlist", []) is None
    assert texts_or_none("shellAllowlist", ["ls"]) == ["ls"]
    assert cost_limits(dailyUsd=None, perRunUsd=2) == {"perRunUsd": 2}
    assert cost_limits(dailyUsd=None) is None


def test_the_most_specific_attachment_counts() -> None:
    """Decision 39, POL-4: version, then template, then project, then the tenant."""
    assert one_level({"version": 1, "template": 2, "project": 3})["attached_to_version_id"] == 1
    assert one_level({"template": 2, "project": 3})["attached_to_template_id"] == 2
    assert one_level({"project": 3})["attached_to_project_id"] == 3
    for attachments, tenant in (({"version": 1}, False), ({}, True)):
        level = one_level(attachments)
        assert level["attached_to_tenant"] is tenant
        assert len([one for one in level.values() if one]) == 1


@pytest.mark.parametrize("value", [6, -1, "2", 2.5, True])
def test_a_tier_is_an_integer_from_0_to_5(value: Any) -> None:
    """POL-14."""
    with pytest.raises(Rejection):
        tier(value)


def test_two_policies_of_one_agent_allow_what_both_allow() -> None:
    """POL-4: an instance's envelope takes the place of its version's, so it must not open what that one closes."""
    merged = stricter(
        {
            "autonomy_tier": 2,
            "allowed_tools": ["read", "shell", "write"],
            "cost_limits": {"dailyUsd": 5, "perRunUsd": 1},
            "spawn_limits": {"canSpawn": True, "maxSubAgents": 4},
            "tool_policies": {"shell": "NEEDS_APPROVAL", "read": "ALLOW"},
            "tool_risk_map": {"read": "GREEN", "write": "YELLOW"},
            "approval_triggers": ["risk:RED"],
        },
        {
            "autonomy_tier": 3,
            "allowed_tools": ["shell", "read", "deploy"],
            "cost_limits": {"dailyUsd": 9, "monthlyUsd": 50},
            "spawn_limits": {"canSpawn": False},
            "tool_policies": {"shell": "DENY"},
            "tool_risk_map": {"read": "RED"},
            "approval_triggers": ["production", "risk:RED"],
            "allowed_task_types": ["OPS"],
        },
    )
    assert {name: value for name, value in merged.items() if value is not None} == {
        "autonomy_tier": 2,
        "allowed_tools": ["read", "shell"],
        "cost_limits": {"dailyUsd": 5, "perRunUsd": 1, "monthlyUsd": 50},
        "spawn_limits": {"canSpawn": False, "maxSubAgents": 4},
        "tool_policies": {"shell": "DENY", "read": "ALLOW"},
        "tool_risk_map": {"read": "RED", "write": "YELLOW"},
        "approval_triggers": ["risk:RED", "production"],
        "allowed_task_types": ["OPS"],
    }
