"""Budgets before an action, and limits on agents that start agents (BUD-1, BUD-3, POL-9)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.governance.policy import Action, ActionType
from app.governance.policy.facts import Build, Fleet, Spend, Work
from db.enums import LifecycleState, PolicyVerdict, TaskStatus, TaskType
from tests.app.governance.policy.facts import call, decide, envelope

A, N, D = PolicyVerdict

# --- Budgets ----------------------------------------------------------------------------------------------------------

BUDGETS: list[tuple[str, dict[str, Any], dict[str, Any], str, PolicyVerdict, bool]] = [
    ("below everything", {"dailyUsd": 5, "perRunUsd": 1}, {"today": "1"}, "1", A, False),
    ("equality of an estimate is allowed", {"dailyUsd": 5, "perRunUsd": 1}, {"today": "4"}, "1", A, False),
    ("0.1 and 0.2 are 0.3", {"dailyUsd": 0.3}, {"today": "0.1"}, "0.2", A, False),
    ("the day is used up", {"dailyUsd": 5}, {"today": "5"}, "0", D, True),
    ("a limit of nothing is used up", {"dailyUsd": 0}, {"today": "0"}, "0", D, True),
    ("the day would be passed", {"dailyUsd": 5}, {"today": "4.5"}, "0.51", N, False),
    ("an approval added to the day", {"dailyUsd": 5}, {"today": "5", "extra_today": "1"}, "1", A, False),
    ("the run would be passed", {"perRunUsd": 1}, {}, "1.01", N, False),
    ("the month is used up", {"monthlyUsd": 50}, {"month": "50"}, "0", D, True),
    ("the month would be passed", {"monthlyUsd": 50}, {"month": "49.5"}, "0.6", D, False),
    ("the month is just reached", {"monthlyUsd": 50}, {"month": "49.5"}, "0.5", A, False),
    ("the tokens are used up", {"dailyTokens": 1000}, {"tokens_today": 1000}, "0", D, False),
    ("the tokens would be passed", {"dailyTokens": 1000}, {"tokens_today": 990}, "0", D, False),
    ("the tokens are just reached", {"dailyTokens": 1010}, {"tokens_today": 990}, "0", A, False),
    ("no limits", {}, {"today": "1000", "month": "9999", "tokens_today": 10**9}, "1000", A, False),
]


@pytest.mark.parametrize(("what", "limits", "spend", "estimate", "verdict", "is_contained"), BUDGETS)
def test_bud_3_the_pre_check(
    what: str,
    limits: dict[str, Any],
    spend: dict[str, Any],
    estimate: str,
    verdict: PolicyVerdict,
    is_contained: bool,
) -> None:
    """BUD-3: tokens with estimated tokens, dollars with dollars; a used-up limit denies and contains."""
    money = {name: Decimal(value) for name, value in spend.items() if isinstance(value, str)}
    spent = Spend(tokens_today=spend.get("tokens_today", 0), **money)
    action = Action(type=ActionType.TOOL_CALL, tool="read", estimated_cost=Decimal(estimate), estimated_tokens=20)
    decision = decide(action, envelope(autonomy_tier=2, cost_limits=limits), spend=spent)
    assert decision.verdict is verdict, what
    assert (decision.exhausted is not None) is is_contained
    if verdict is not A:
        assert "budget_exceeded" in decision.rules
    if verdict is N:
        assert [one.type for one in decision.required] == ["BUDGET_OVERRIDE"]


def test_bud_1_the_instances_own_caps_narrow_the_envelopes() -> None:
    given = envelope(autonomy_tier=2, cost_limits={"dailyUsd": 5})
    spent = Spend(today=Decimal(2))
    assert decide(call("read"), given, spend=spent, cost_caps={"dailyUsd": Decimal(2)}).verdict is D
    assert decide(call("read"), given, spend=spent, cost_caps={"dailyUsd": Decimal(9)}).verdict is A
    assert decide(call("read"), spend=spent, cost_caps={"dailyUsd": Decimal(2)}).verdict is D


def test_bud_3_the_tasks_budget() -> None:
    task = Work(TaskType.DOCS, TaskStatus.IN_PROGRESS, Decimal(3), Decimal(4))

    def verdict(estimate: str) -> PolicyVerdict:
        action = Action(type=ActionType.RUN_START, estimated_cost=Decimal(estimate))
        return decide(action, task=task).verdict

    assert (verdict("1"), verdict("1.01")) == (A, N)


# --- Spawning ---------------------------------------------------------------------------------------------------------

ROOM = Fleet(active=1, children=0, depth=0)
SPAWNS: list[tuple[dict[str, Any], Fleet, str | None]] = [
    ({}, ROOM, None),
    ({"canSpawn": False}, ROOM, "spawn_not_allowed"),
    ({}, Fleet(30, 0, 0), "spawn_limit:global"),
    ({"maxGlobalActive": 31}, Fleet(30, 0, 0), None),
    ({}, Fleet(1, 3, 0), "spawn_limit:children"),
    ({"maxSubAgents": 5}, Fleet(1, 3, 0), "spawn_limit:children"),
    ({"maxSubAgents": 5, "maxPerParent": 6}, Fleet(1, 4, 0), None),
    ({"maxSubAgents": 2}, Fleet(1, 2, 0), "spawn_limit:children"),
    ({}, Fleet(1, 0, 2), "spawn_limit:depth"),
    ({"maxDepth": 3}, Fleet(1, 0, 2), None),
]


@pytest.mark.parametrize(("limits", "fleet", "rule"), SPAWNS)
@pytest.mark.parametrize("action", [Action(type=ActionType.SPAWN), call("sessions_spawn"), call("Spawn_Agent")])
def test_pol_9_spawn_limits(action: Action, limits: dict[str, Any], fleet: Fleet, rule: str | None) -> None:
    decision = decide(action, envelope(autonomy_tier=3, spawn_limits=limits), fleet=fleet)
    assert decision.verdict is (A if rule is None else D)
    if rule:
        assert decision.rules[-1] == rule
        assert decision.violations == ("SPAWN_LIMIT",)


def test_pol_9_without_a_word_an_agent_of_tier_1_may_not_spawn() -> None:
    """POL-6: an INTERN, tier 1, could not; who may is said by canSpawn."""
    spawn = Action(type=ActionType.SPAWN)
    assert decide(spawn, envelope(autonomy_tier=1), fleet=ROOM).verdict is D
    assert decide(spawn, envelope(autonomy_tier=1, spawn_limits={"canSpawn": True}), fleet=ROOM).verdict is N
    assert decide(spawn, envelope(autonomy_tier=2), fleet=ROOM).verdict is A


def test_pol_9_the_smallest_limit_counts_and_the_childs_role() -> None:
    build = Build(LifecycleState.APPROVED, False, None, frozenset({"intern"}), 1)

    def verdict(children: int, role: str | None) -> PolicyVerdict:
        fleet = Fleet(1, children, 0)
        return decide(Action(type=ActionType.SPAWN, child_role=role), fleet=fleet, build=build).verdict

    assert [verdict(0, "INTERN"), verdict(1, "INTERN"), verdict(0, "LEAD"), verdict(0, None)] == [A, D, D, D]


PACES: list[tuple[float | None, list[float], str | None]] = [
    (None, [0, 0, 0], None),
    (0, [], "Its genome lets it start no agents."),
    (2, [], None),
    (2, [5], None),
    (2, [0, 59.5], "Wait 1 min."),
    (2, [0, 60], None),
    (2, [-1, 10], "Wait 50 min."),
    (2.9, [0, 0], "Wait 60 min."),
    (0.5, [], None),
    (0.5, [60], "Wait 60 min."),
    (0.5, [120], None),
    (1e-300, [1_000_000], "Wait"),
    (1_001, [0] * 1_000, None),
]
"""`spawnRate`, how many minutes ago others were started, and what is said."""


@pytest.mark.parametrize(("rate", "ago", "said"), PACES)
def test_pol_9_the_pace_that_the_genome_sets(rate: float | None, ago: list[float], said: str | None) -> None:
    build = Build(LifecycleState.APPROVED, False, None, spawn_rate=rate)
    fleet = Fleet(1, 0, 0, tuple(timedelta(minutes=minutes) for minutes in ago))
    decision = decide(Action(type=ActionType.SPAWN), fleet=fleet, build=build)
    if said is None:
        assert decision.verdict is A
        return
    assert (decision.verdict, decision.rules[-1]) == (D, "spawn_limit:rate")
    assert said in f"{decision.reason} {' '.join(decision.hints)}"
