"""One policy out of four levels (POL-3 to POL-5)."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.governance.policy import Decision, PolicyLevel, evaluate, resolve
from app.governance.policy.decide import tier_verdict
from app.governance.policy.inheritance import FIELDS, UNIONS, Envelope
from db.enums import PolicyVerdict
from tests.app.governance.policy.facts import TENANT, call, decide, envelope, facts

A, N, D = PolicyVerdict
LEVELS = (PolicyLevel.VERSION, PolicyLevel.TEMPLATE, PolicyLevel.PROJECT, PolicyLevel.TENANT)


def test_pol_3_without_an_envelope_tier_1_and_the_least_limits() -> None:
    """POL-3, decision 17: no envelope at all means tier 1, any tool, and the limits of the least role."""
    policy = resolve([])
    assert (policy.tier, policy.allowed_tools) == (1, None)
    assert policy.cost_limits == {"dailyUsd": Decimal("2.0"), "perRunUsd": Decimal("0.25")}
    assert policy.source("autonomy_tier").level is PolicyLevel.DEFAULT
    assert resolve([envelope(allowed_tools=["read"])]).tier == 1, "an envelope without a tier leaves the default"
    assert resolve([envelope(allowed_tools=["read"])]).cost_limits == {}


@pytest.mark.parametrize("stronger", range(3))
def test_pol_5_the_strongest_level_with_a_value_wins_field_by_field(stronger: int) -> None:
    strong = envelope(LEVELS[stronger], allowed_tools=["read"])
    weak = envelope(LEVELS[stronger + 1], allowed_tools=["write"], autonomy_tier=3)
    policy = resolve([weak, strong])
    assert (policy.values["allowed_tools"], policy.tier) == (["read"], 3)
    assert policy.source("allowed_tools") == (policy.source("allowed_tools").__class__)(strong.level, (strong.id,))
    assert policy.source("autonomy_tier").envelope_ids == (weak.id,)


def test_pol_5_on_one_level_the_priority_decides_and_then_the_newest() -> None:
    old, new = envelope(autonomy_tier=1), envelope(autonomy_tier=2)
    high = envelope(autonomy_tier=3, priority=101)
    assert resolve([old, new]).tier == 2
    assert resolve([new, high, old]).tier == 3


@pytest.mark.parametrize("name", UNIONS)
def test_pol_5_what_forbids_adds_up_over_the_levels(name: str) -> None:
    lists: list[dict[str, Any]] = [{name: [f"of {level}", "common"]} for level in LEVELS]
    given = [envelope(level, **one) for level, one in zip(LEVELS, lists, strict=True)]
    policy = resolve(given)
    assert policy.values[name] == ["of VERSION", "common", "of TEMPLATE", "of PROJECT", "of TENANT"]
    assert policy.source(name).envelope_ids == tuple(one.id for one in given)


def test_pol_5_the_tier_is_never_above_the_safety_floor() -> None:
    """POL-5: tenant.settings.safetyFloor.maxTier."""
    assert resolve([envelope(autonomy_tier=5)], max_tier=2).tier == 2
    assert resolve([envelope(autonomy_tier=1)], max_tier=2).tier == 1
    assert resolve([], max_tier=0).tier == 0


def test_pol_5_objects_are_inherited_key_by_key() -> None:
    """A limit holds until a stronger level sets the same one."""
    policy = resolve(
        [
            envelope(
                PolicyLevel.VERSION, cost_limits={"perRunUsd": 1, "dailyUsd": None}, tool_risk_map={"Read": "RED"}
            ),
            envelope(PolicyLevel.TENANT, cost_limits={"perRunUsd": 9, "dailyUsd": 5}, tool_risk_map={"edit": "GREEN"}),
        ]
    )
    assert policy.cost_limits == {"perRunUsd": Decimal(1), "dailyUsd": Decimal(5)}
    assert policy.tool_risks == {"read": "RED", "edit": "GREEN"}


def test_rsk_8_forbidden_globs_add_up_and_alone_allow_the_rest() -> None:
    """Entries with `!` forbid, at whatever level; the strongest list of others allows."""
    policy = resolve(
        [
            envelope(PolicyLevel.VERSION, file_write_paths=["src/**"]),
            envelope(PolicyLevel.TENANT, file_write_paths=["!.env*", "docs/**"]),
        ]
    )
    assert policy.writable is not None
    assert (policy.writable.has("src/a"), policy.writable.has("docs/a")) == (True, False)
    assert policy.unwritable.has("src/.env")
    assert policy.values["file_write_paths"] == ["src/**", "!.env*"]
    assert resolve([envelope(file_write_paths=["!.env*"])]).writable is None
    nothing = resolve([envelope(PolicyLevel.VERSION, file_write_paths=[]), envelope(file_write_paths=["**"])]).writable
    assert nothing is not None
    assert not nothing.has("a")


def test_pol_7_a_denial_by_name_is_never_taken_back() -> None:
    strong = envelope(PolicyLevel.VERSION, tool_policies={"read": "ALLOW"}, autonomy_tier=5)
    for denying in ({"READ": "DENY"}, {"*": "DENY"}):
        weak = envelope(PolicyLevel.TENANT, tool_policies=denying)
        decision = decide(call("read"), strong, weak)
        assert decision.verdict is D
        assert decision.envelope_ids == (weak.id,)


def test_a_compiled_policy_is_that_of_its_envelopes() -> None:
    """What was compiled is kept for the same version of a row, and for no other, nor for another tenant's."""
    first = envelope(autonomy_tier=1)
    assert resolve([first]) is resolve([first])
    changed = Envelope(TENANT, first.id, 2, "", first.level, 100, {"autonomy_tier": 4})
    touched = Envelope(TENANT, first.id, 1, "later", first.level, 100, {"autonomy_tier": 5})
    foreign = Envelope(UUID(int=2), first.id, 1, "", first.level, 100, {"autonomy_tier": 3})
    assert [resolve([one]).tier for one in (first, changed, touched, foreign)] == [1, 4, 5, 3]


# --- Properties -------------------------------------------------------------------------------------------------------

TOOLS = ("read", "write", "shell", "deploy", "git_push", "web_fetch")
STRICTNESS = {A: 0, N: 1, D: 2}
names = st.lists(st.sampled_from([*TOOLS, "git_*", "*"]), max_size=3)
triggers = st.lists(
    st.sampled_from(["risk:RED", "risk:YELLOW", "tool:write", "production", "cost_above:1"]), max_size=3
)
values = st.fixed_dictionaries(
    {},
    optional={
        "autonomy_tier": st.integers(0, 5),
        "allowed_tools": names,
        "denied_tools": names,
        "approval_triggers": triggers,
        "shell_blocklist": st.lists(st.sampled_from(["rm -rf", "sudo", "ls"]), max_size=2),
        "shell_allowlist": st.lists(st.sampled_from(["ls", "git status"]), max_size=2),
        "tool_policies": st.dictionaries(
            st.sampled_from([*TOOLS, "*"]), st.sampled_from(list(PolicyVerdict)), max_size=2
        ),
        "tool_risk_map": st.dictionaries(
            st.sampled_from(TOOLS), st.sampled_from(["GREEN", "YELLOW", "RED"]), max_size=2
        ),
        "file_write_paths": st.lists(st.sampled_from(["src/**", "!src/a", "**"]), max_size=2),
        "cost_limits": st.fixed_dictionaries({"perRunUsd": st.sampled_from([0, 1, 2])}),
    },
)
envelopes = st.lists(st.tuples(st.sampled_from(LEVELS), values), max_size=4)
calls = st.sampled_from(
    [
        *(call(tool) for tool in TOOLS[:1]),
        call("write", path="src/a"),
        call("shell", command="ls -la"),
        call("shell", command="rm -rf x"),
        call("deploy"),
        call("git_push", branch="x"),
        call("web_fetch", url="https://example.com"),
    ]
)


def _decided(given: list[tuple[PolicyLevel, dict[str, Any]]], action: Any) -> Decision:
    made = [envelope(level, **one) for level, one in given]
    return evaluate(facts(*made) if made else facts(envelope()), action)


@given(envelopes, calls, st.sampled_from(LEVELS), st.sampled_from(["denied_tools", "tool_policies"]))
def test_pol_5_adding_a_denial_never_makes_anything_laxer(
    given: list[tuple[PolicyLevel, dict[str, Any]]], action: Any, level: PolicyLevel, name: str
) -> None:
    """Another envelope that only denies, at any level, leaves every verdict at least as strict as it was."""
    denial: dict[str, Any] = (
        {"denied_tools": ["write"]} if name == "denied_tools" else {"tool_policies": {"write": "DENY"}}
    )
    before, after = _decided(given, action), _decided([*given, (level, denial)], action)
    assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]
    if action.tool == "write":
        assert after.verdict is D


@given(envelopes, calls, st.sampled_from(LEVELS), triggers, st.sampled_from(["rm -rf", "ls", "x"]))
def test_pol_5_adding_triggers_or_blocks_never_makes_anything_laxer(
    given: list[tuple[PolicyLevel, dict[str, Any]]], action: Any, level: PolicyLevel, more: list[str], block: str
) -> None:
    stricter = (level, {"approval_triggers": more, "shell_blocklist": [block]})
    before, after = _decided(given, action), _decided([*given, stricter], action)
    assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]


@given(envelopes.filter(bool), calls)
def test_pol_5_the_order_in_which_envelopes_are_found_does_not_matter(
    given: list[tuple[PolicyLevel, dict[str, Any]]], action: Any
) -> None:
    made = [envelope(level, **one) for level, one in given]
    assert evaluate(facts(*made), action) == evaluate(facts(*reversed(made)), action)


@given(envelopes, calls, st.integers(0, 5))
def test_pol_5_a_lower_safety_floor_never_makes_anything_laxer(
    given: list[tuple[PolicyLevel, dict[str, Any]]], action: Any, floor: int
) -> None:
    made = [envelope(level, **one) for level, one in given]
    free = evaluate(facts(*made, max_tier=5), action)
    bound = evaluate(facts(*made, max_tier=floor), action)
    assert STRICTNESS[bound.verdict] >= STRICTNESS[free.verdict]


def test_every_column_of_an_envelope_that_restricts_is_inherited() -> None:
    from db.models import PolicyEnvelope

    others = {"tenant_id", "id", "created_at", "updated_at", "metadata", "name", "version", "active", "priority"}
    columns = {one.name for one in PolicyEnvelope.__table__.columns} - others
    assert {one for one in columns if not one.startswith(("attached_", "created_by"))} == set(FIELDS)


@pytest.mark.parametrize("tier", range(6))
def test_pol_6_a_higher_tier_is_never_stricter(tier: int) -> None:
    from db.enums import RiskLevel

    for risk in RiskLevel:
        if tier:
            assert STRICTNESS[tier_verdict(tier, risk)] <= STRICTNESS[tier_verdict(tier - 1, risk)]
