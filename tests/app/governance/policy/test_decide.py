"""The verdict: every check in its order, its reasons and its explanation (POL-1, POL-2, POL-6 to POL-9, BUD-3)."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.governance.policy import Action, ActionType, PolicyLevel
from app.governance.policy.decide import tier_verdict
from app.governance.policy.facts import Build, Fleet, Work
from app.governance.policy.triggers import is_trigger
from db.enums import LifecycleState, OperatorMode, PolicyVerdict, RiskLevel, TaskStatus, TaskType
from tests.app.governance.policy.facts import call, decide, envelope

A, N, D = PolicyVerdict
GREEN, YELLOW, RED = RiskLevel
TOOL_OF = {GREEN: "read", YELLOW: "write", RED: "payment"}

MATRIX = [(0, "NNN"), (1, "ANN"), (2, "AAN"), (3, "AAA"), (4, "AAA"), (5, "AAA")]
CELLS = [
    (tier, risk, {"A": A, "N": N}[letter]) for tier, row in MATRIX for risk, letter in zip(RiskLevel, row, strict=True)
]


@pytest.mark.parametrize(("tier", "risk", "verdict"), CELLS)
def test_pol_6_tier_and_risk(tier: int, risk: RiskLevel, verdict: PolicyVerdict) -> None:
    """POL-6, every cell; and the engine asks the table."""
    assert tier_verdict(tier, risk) is verdict
    decision = decide(call(TOOL_OF[risk]), envelope(autonomy_tier=tier))
    assert (decision.verdict, decision.tier, decision.risk) == (verdict, tier, risk)
    assert f"tool_risk:{TOOL_OF[risk]}:{risk}" in decision.rules
    expected = [] if verdict is A else ["TOOL_EXECUTION"]
    assert [one.type for one in decision.required] == expected


@pytest.mark.parametrize(("tier", "risk", "verdict"), CELLS)
def test_pol_6_the_trigger_for_red_asks_at_any_tier(tier: int, risk: RiskLevel, verdict: PolicyVerdict) -> None:
    """POL-6, C9: RED needs approval at every tier while `risk:RED` is a trigger."""
    decision = decide(call(TOOL_OF[risk]), envelope(autonomy_tier=tier, approval_triggers=["risk:RED"]))
    assert decision.verdict is (N if risk is RED else verdict)


@pytest.mark.parametrize("tier", [-1, 6, 99])
@pytest.mark.parametrize("risk", RiskLevel)
def test_pol_6_a_tier_out_of_range_asks(tier: int, risk: RiskLevel) -> None:
    assert tier_verdict(tier, risk) is N


def test_pol_2_1_an_inactive_tenant() -> None:
    assert decide(call("read"), tenant_active=False).verdict is D


@pytest.mark.parametrize("mode", ["PAUSED", "QUARANTINED"])
def test_pol_2_2_the_emergency_gate_comes_before_any_envelope(mode: str) -> None:
    """POL-2, C7: no envelope overrides the emergency mode; the gate looks at the real kind of action."""
    generous = envelope(autonomy_tier=5, tool_policies={"read": "ALLOW"})
    decision = decide(call("read"), generous, mode=OperatorMode(mode))
    assert (decision.verdict, decision.rules) == (D, (f"operator_control:{mode}",))


def test_pol_2_2_draining_denies_new_work_alone() -> None:
    mode = OperatorMode.DRAINING
    assert decide(Action(type=ActionType.RUN_START), mode=mode).verdict is D
    assert decide(Action(type=ActionType.TRANSITION), mode=mode).verdict is A
    assert decide(call("read"), mode=mode).verdict is A


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (Build(LifecycleState.RETIRED, False, None), "version_retired"),
        (Build(LifecycleState.APPROVED, True, None), "version_tampered"),
    ],
)
def test_pol_2_4_the_version(build: Build, rule: str) -> None:
    decision = decide(call("read"), build=build)
    assert (decision.verdict, decision.rules) == (D, (rule,))


@pytest.mark.parametrize(
    ("values", "rule", "field"),
    [
        ({"denied_tools": ["READ"]}, "tool_denied:read", "denied_tools"),
        ({"denied_tools": ["re*"], "allowed_tools": ["read"]}, "tool_denied:read", "denied_tools"),
        ({"allowed_tools": ["write", "git_*"]}, "tool_not_allowed:read", "allowed_tools"),
        ({"allowed_tools": []}, "tool_not_allowed:read", "allowed_tools"),
    ],
)
def test_pol_2_5_tool_lists(values: dict[str, Any], rule: str, field: str) -> None:
    given = envelope(PolicyLevel.PROJECT, autonomy_tier=5, **values)
    decision = decide(call("read"), given)
    assert (decision.verdict, decision.rules, decision.violations) == (D, (rule,), ("TOOL_NOT_ALLOWED",))
    assert (decision.level, decision.envelope_ids) == (PolicyLevel.PROJECT, (given.id,))
    assert decision.hints


def test_pol_2_5_an_absent_list_allows_any_tool_and_wildcards_hold() -> None:
    """C30: null is no restriction."""
    assert decide(call("read"), envelope(autonomy_tier=2, allowed_tools=None)).verdict is A
    assert decide(call("git_status"), envelope(autonomy_tier=2, allowed_tools=["git_*"])).verdict is A


@pytest.mark.parametrize(("tier", "verdict"), [(2, D), (4, D), (5, A)])
def test_pol_2_6_a_tool_that_the_genome_does_not_declare(tier: int, verdict: PolicyVerdict) -> None:
    declared = frozenset({"search"})
    assert decide(call("read"), envelope(autonomy_tier=tier), tools=declared).verdict is verdict
    assert decide(call("Search"), envelope(autonomy_tier=tier), tools=declared).verdict is A


def test_pol_2_6_a_legacy_genome_without_a_manifest_is_passed_over() -> None:
    """Decision 39."""
    assert decide(call("read"), tools=None).verdict is A
    assert decide(call("read"), tools=frozenset()).verdict is D


@pytest.mark.parametrize(("kind", "verdict"), [(TaskType.DOCS, A), (TaskType.OPS, D)])
def test_pol_2_7_task_types(kind: TaskType, verdict: PolicyVerdict) -> None:
    given = envelope(autonomy_tier=2, allowed_task_types=["DOCS"])
    assert decide(call("read"), given, task=Work(kind, TaskStatus.IN_PROGRESS)).verdict is verdict
    assert decide(call("read"), given).verdict is A


LISTS: list[tuple[dict[str, Any], str, dict[str, Any], str | None]] = [
    ({"shell_allowlist": ["ls"]}, "shell", {"command": "ls -la"}, None),
    ({"shell_allowlist": ["ls"]}, "Bash", {"cmd": "ls; id"}, "ALLOWLIST_BLOCK"),
    ({"shell_allowlist": ["ls"]}, "exec", {"command": ["ls", "-la"]}, None),
    ({"shell_allowlist": ["ls"]}, "shell", {}, "ALLOWLIST_BLOCK"),
    ({"shell_allowlist": ["ls"]}, "shell", {"command": "ls 'x"}, "ALLOWLIST_BLOCK"),
    ({"shell_allowlist": []}, "shell_exec", {"command": "ls"}, "ALLOWLIST_BLOCK"),
    ({"shell_blocklist": ["rm -rf"]}, "shell", {"command": "rm -rf /"}, "BLOCKED_PATTERN"),
    ({"shell_blocklist": ["rm -rf"], "shell_allowlist": ["rm"]}, "shell", {"command": "rm -rf x"}, "BLOCKED_PATTERN"),
    ({}, "shell", {"command": "anything; at all"}, None),
    ({"network_allowlist": ["github.com"]}, "web_fetch", {"url": "https://api.github.com/x"}, None),
    ({"network_allowlist": ["github.com"]}, "fetch", {"url": "https://evil.com"}, "NETWORK_BLOCK"),
    ({"network_allowlist": ["github.com"]}, "http", {}, "NETWORK_BLOCK"),
    ({"network_allowlist": []}, "http_request", {"url": "https://github.com"}, "NETWORK_BLOCK"),
    ({}, "network_call", {"url": "ftp://github.com"}, "NETWORK_BLOCK"),
    ({}, "web_fetch", {"url": "https://anything.example"}, None),
    ({"file_read_paths": ["src/**"]}, "read_file", {"path": "./src/a.py"}, None),
    ({"file_read_paths": ["src/**"]}, "read", {"file_path": "docs/a"}, "FILE_BLOCK"),
    ({"file_read_paths": ["src/**"]}, "read", {"path": "src/../x"}, "FILE_BLOCK"),
    ({"file_read_paths": ["src/**"]}, "write", {"path": "docs/a"}, None),
    ({"file_read_paths": []}, "read", {"path": "a"}, "FILE_BLOCK"),
    ({"file_read_paths": ["src/**"]}, "read", {"what": "src/a"}, "FILE_BLOCK"),
    ({"file_write_paths": ["src/**"]}, "rename_file", {"from": "src/a", "to": "src/b"}, None),
    ({"file_write_paths": ["src/**"]}, "rename_file", {"from": "src/a", "to": "x"}, "FILE_BLOCK"),
    ({"file_write_paths": ["src/**", "!src/secret*"]}, "edit", {"path": "src/secrets.py"}, "FILE_BLOCK"),
    ({"file_write_paths": ["!config/**"]}, "create_file", {"paths": ["a", "config/x"]}, "FILE_BLOCK"),
    ({"file_write_paths": ["!config/**"]}, "delete_file", {"path": "a"}, None),
    ({"data_scopes": ["crm:*"]}, "query_db", {"scope": "crm:orders"}, None),
    ({"data_scopes": ["crm:*"]}, "query_db", {"dataScopes": ["crm:a", "hr:b"]}, "DATA_SCOPE_BLOCK"),
    ({"data_scopes": []}, "query_db", {"scope": "crm:orders"}, "DATA_SCOPE_BLOCK"),
    ({"data_scopes": ["crm:*"]}, "query_db", {"table": "hr"}, None),
]


@pytest.mark.parametrize(("values", "tool", "args", "violation"), LISTS)
def test_pol_8_lists(values: dict[str, Any], tool: str, args: dict[str, Any], violation: str | None) -> None:
    """POL-2 steps 8 and 9, POL-8: null is unrestricted, an empty list allows nothing."""
    decision = decide(call(tool, **args), envelope(autonomy_tier=3, **values))
    assert decision.verdict is (A if violation is None else D)
    assert decision.violations == (() if violation is None else (violation,))
    if violation:
        assert decision.rules == (f"allowlist_block:{tool}",)


def test_rsk_7_a_message_with_a_secret_does_not_go_out() -> None:
    message = Action(type=ActionType.MESSAGE, args={"content": "password: hunter2\ntree ."})
    decision = decide(message, envelope(autonomy_tier=5))
    assert decision.verdict is D
    assert set(decision.violations) == {"BLOCK_SECRET_PATTERNS", "BLOCK_DIRECTORY_DUMP"}
    from_dm = Action(type=ActionType.MESSAGE, args={"content": "hello", "source": "DM"})
    assert decide(from_dm).verdict is A
    assert "flag:UNTRUSTED_DM_INPUT" in decide(from_dm).rules


ROOM = Fleet(active=1, children=0, depth=0)

# --- Verdicts by name, and triggers -----------------------------------------------------------------------------------

BY_NAME = [
    # tier, tool, verdict by name, what comes of it
    (1, "write", "ALLOW", A),
    (0, "read", "ALLOW", A),
    (1, "payment", "ALLOW", N),  # never lowers RED
    (2, "payment", "ALLOW", N),
    (5, "read", "NEEDS_APPROVAL", N),
    (5, "read", "DENY", D),
    (1, "write", "NEEDS_APPROVAL", N),
]


@pytest.mark.parametrize(("tier", "tool", "given", "verdict"), BY_NAME)
@pytest.mark.parametrize("key", ["name", "*"])
def test_pol_7_verdicts_by_name(tier: int, tool: str, given: str, verdict: PolicyVerdict, key: str) -> None:
    policies = {tool.upper() if key == "name" else "*": given}
    decision = decide(call(tool), envelope(autonomy_tier=tier, tool_policies=policies))
    assert decision.verdict is verdict
    assert f"tool_policy:{tool}:{given}" in decision.rules
    assert len(set(decision.rules)) == len(decision.rules)


def test_pol_7_a_tool_that_is_named_is_not_every_other_tool() -> None:
    given = envelope(autonomy_tier=2, tool_policies={"*": "NEEDS_APPROVAL", "read": "ALLOW"})
    assert decide(call("read"), given).verdict is A
    assert decide(call("search"), given).verdict is N


def _to(status: str) -> Action:
    return Action(type=ActionType.TRANSITION, transition_to=TaskStatus(status))


def _for(dollars: str) -> Action:
    return Action(type=ActionType.TOOL_CALL, tool="read", estimated_cost=Decimal(dollars))


TRIGGERS: list[tuple[str, Action, Action]] = [
    ("risk:YELLOW", call("write"), call("read")),
    ("risk:RED", call("payment"), call("write")),
    ("tool:git_*", call("git_push"), call("write")),
    ("transition:DONE", _to("DONE"), _to("REVIEW")),
    ("cost_above:1.5", _for("1.51"), _for("1.5")),
    ("production", call("read", note="prod"), call("payment")),
    ("secrets", call("read", token="x"), call("payment")),
    ("spawn", Action(type=ActionType.SPAWN), call("write")),
    ("deployment", call("deploy"), call("payment")),
    ("deployment", call("read", note="redeploy it"), call("read", note="prod")),
]


@pytest.mark.parametrize(("trigger", "fires", "passes"), TRIGGERS)
def test_pol_7_triggers(trigger: str, fires: Action, passes: Action) -> None:
    """POL-7: a trigger that matches turns ALLOW into NEEDS_APPROVAL, and nothing else does."""
    assert is_trigger(trigger)
    given = envelope(autonomy_tier=4, approval_triggers=[trigger], tool_policies={"write": "ALLOW"})
    decision = decide(fires, given, fleet=ROOM)
    assert decision.verdict is N
    expected = "review_to_done_requires_human" if trigger == "transition:DONE" else f"trigger:{trigger.split(':')[0]}"
    assert any(rule.startswith(expected) for rule in decision.rules)
    assert decide(passes, given, fleet=ROOM).verdict is A
    assert decide(fires, envelope(autonomy_tier=4), fleet=ROOM).verdict is A


def test_pol_7_the_trigger_for_budgets() -> None:
    action = Action(type=ActionType.TOOL_CALL, tool="read", estimated_cost=Decimal(2))
    given = envelope(autonomy_tier=4, approval_triggers=["budget:exceeded"], cost_limits={"perRunUsd": 1})
    assert "trigger:budget:exceeded" in decide(action, given).rules
    assert decide(call("read"), given).verdict is A


def test_pol_7_require_approval_on_risk_is_a_trigger() -> None:
    given = envelope(autonomy_tier=4, require_approval_on_risk=["YELLOW"])
    assert [decide(call(tool), given).verdict for tool in ("read", "write", "payment")] == [A, N, A]


@pytest.mark.parametrize(
    "text",
    ["", "risk:PINK", "tool:", "cost_above:much", "cost_above:-1", "cost_above:NaN", "transition:X", "sometimes"],
)
def test_pol_7_what_is_no_trigger(text: str) -> None:
    assert not is_trigger(text)
    assert decide(call("payment"), envelope(autonomy_tier=4, approval_triggers=[text])).verdict is A


def test_pol_2_14_a_transition_to_done_asks_for_the_completion_of_the_task() -> None:
    done = Action(type=ActionType.TRANSITION, transition_to=TaskStatus.DONE)
    decision = decide(done, envelope(autonomy_tier=3, approval_triggers=["transition:DONE"]))
    assert [one.type for one in decision.required] == ["COMPLETE_TASK"]
    assert "review_to_done_requires_human" in decision.rules


# --- The explanation --------------------------------------------------------------------------------------------------


def test_pol_1_every_rule_that_fired_is_told_and_the_first_is_the_reason() -> None:
    given = envelope(autonomy_tier=2, approval_triggers=["risk:RED", "secrets"], cost_limits={"perRunUsd": 1})
    action = Action(type=ActionType.TOOL_CALL, tool="payment", args={"token": "x"}, estimated_cost=Decimal(2))
    decision = decide(action, given)
    assert decision.verdict is N
    assert decision.rules == (
        "budget_exceeded",
        "tool_risk:payment:RED",
        "secrets_in_arguments",
        "tier:2:RED",
        "trigger:risk:RED",
        "trigger:secrets",
    )
    assert decision.reason == "2 US dollars are more than the 1 US dollars that a run may cost."
    assert [one.type for one in decision.required] == ["BUDGET_OVERRIDE", "TOOL_EXECUTION"]
    assert decision.hints


def test_pol_1_a_denial_asks_for_no_approval() -> None:
    given = envelope(autonomy_tier=2, cost_limits={"perRunUsd": 1}, tool_policies={"write": "DENY"})
    action = Action(type=ActionType.TOOL_CALL, tool="write", estimated_cost=Decimal(2))
    decision = decide(action, given)
    assert (decision.verdict, decision.required) == (D, ())


def test_pol_1_an_allowance_says_what_allowed_it() -> None:
    tenant = envelope(autonomy_tier=1)
    version = envelope(PolicyLevel.VERSION, tool_policies={"write": "ALLOW"})
    plain = decide(call("read"), tenant, version)
    assert (plain.level, plain.envelope_ids, plain.reason) == (
        PolicyLevel.TENANT,
        (tenant.id,),
        "Tier 1 allows GREEN actions.",
    )
    named = decide(call("write"), tenant, version)
    assert (named.level, named.envelope_ids) == (PolicyLevel.VERSION, (version.id,))


def test_pol_1_without_an_envelope_the_source_is_the_default() -> None:
    from app.governance.policy import Facts, evaluate, resolve

    decision = evaluate(Facts(policy=resolve([]), build=Build(LifecycleState.APPROVED, False, None)), call("write"))
    no_ids: tuple[UUID, ...] = ()
    assert (decision.verdict, decision.level, decision.envelope_ids) == (N, PolicyLevel.DEFAULT, no_ids)
