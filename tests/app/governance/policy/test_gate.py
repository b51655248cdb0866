"""The emergency gate and what an instance's state permits (EMG-2, INS-4)."""

import pytest

from app.governance.policy.action import ActionType
from app.governance.policy.gate import gate, state_denies, state_denies_risk
from db.enums import ActorType, InstanceState, OperatorMode, PolicyVerdict, RiskLevel
from tests.app.governance.policy.facts import call, decide

A, N, D = PolicyVerdict
AGENT, HUMAN, SYSTEM = ActorType
NEW_WORK = (ActionType.RUN_START, ActionType.SPAWN)
OTHER = (ActionType.TOOL_CALL, ActionType.TRANSITION, ActionType.MESSAGE)

TABLE = [
    # mode, run start by (agent, system, human), the rest by (agent, system, human)
    ("NORMAL", (A, A, A), (A, A, A)),
    ("DRAINING", (D, D, D), (A, N, A)),
    ("PAUSED", (D, D, N), (D, D, N)),
    ("QUARANTINED", (D, D, N), (D, D, N)),
]
ROWS = [
    (OperatorMode(mode), kind, actor, verdict)
    for mode, starts, rest in TABLE
    for kinds, verdicts in ((NEW_WORK, starts), (OTHER, rest))
    for kind in kinds
    for actor, verdict in zip((AGENT, SYSTEM, HUMAN), verdicts, strict=True)
]


@pytest.mark.parametrize(("mode", "kind", "actor", "verdict"), ROWS)
def test_emg_2_the_gate_table(mode: OperatorMode, kind: ActionType, actor: ActorType, verdict: PolicyVerdict) -> None:
    assert gate(mode, kind, actor) is verdict
    assert gate(mode, kind, actor, is_exempt=True) is A


def test_emg_2_the_table_has_every_combination() -> None:
    assert len(ROWS) == len(OperatorMode) * len(ActionType) * len(ActorType)


STATES = {
    # state: new run, tool call without a running run, tool call within one, message
    "PROVISIONING": (False, False, False, False),
    "ACTIVE": (True, True, True, True),
    "READONLY": (True, True, True, True),
    "DRAINING": (False, False, True, True),
    "PAUSED": (False, False, False, False),
    "QUARANTINED": (False, False, False, False),
    "RETIRED": (False, False, False, False),
}


@pytest.mark.parametrize("state", InstanceState)
def test_ins_4_what_a_state_permits(state: InstanceState) -> None:
    run, idle_call, running_call, message = STATES[state]
    assert state_denies(state, ActionType.RUN_START, is_running=False) is not run
    assert state_denies(state, ActionType.RUN_START, is_running=True) is not run
    assert state_denies(state, ActionType.TOOL_CALL, is_running=False) is not idle_call
    assert state_denies(state, ActionType.TOOL_CALL, is_running=True) is not running_call
    assert state_denies(state, ActionType.MESSAGE, is_running=False) is not message
    assert state_denies(state, ActionType.SPAWN, is_running=True) == (not run)
    assert state_denies(state, ActionType.TRANSITION, is_running=False) == (not message)


@pytest.mark.parametrize("risk", RiskLevel)
def test_ins_4_only_green_tools_remain_in_readonly(risk: RiskLevel) -> None:
    is_denied = risk is not RiskLevel.GREEN
    assert state_denies_risk(InstanceState.READONLY, ActionType.TOOL_CALL, risk) is is_denied
    assert not state_denies_risk(InstanceState.READONLY, ActionType.MESSAGE, risk)
    assert not state_denies_risk(InstanceState.ACTIVE, ActionType.TOOL_CALL, risk)


@pytest.mark.parametrize("state", ["PROVISIONING", "PAUSED", "QUARANTINED", "RETIRED", "DRAINING"])
def test_ins_4_the_evaluation_asks_the_table(state: str) -> None:
    denied = decide(call("read"), state=InstanceState(state))
    assert (denied.verdict, denied.rules) == (D, (f"assignee_not_active:{state}",))


def test_ins_4_the_evaluation_denies_what_readonly_leaves_out() -> None:
    assert decide(call("read"), state=InstanceState.READONLY).verdict is A
    denied = decide(call("write"), state=InstanceState.READONLY)
    assert (denied.verdict, denied.rules[-1]) == (D, "assignee_not_active:READONLY")
    assert decide(call("read"), state=InstanceState.DRAINING, has_running_run=True).verdict is A
