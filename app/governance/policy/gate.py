"""What the emergency mode and an instance's state let through, whatever any envelope says (EMG-2, INS-4)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.governance.policy.action import ActionType
from db.enums import ActorType, InstanceState, OperatorMode, PolicyVerdict, RiskLevel

ALLOW, ASK, DENY = PolicyVerdict
_ACTORS: Final = (ActorType.AGENT, ActorType.SYSTEM, ActorType.HUMAN)
_STARTS: Final = frozenset({ActionType.RUN_START, ActionType.SPAWN})
"""What begins new work; DRAINING stops that and nothing else."""

# For each mode the verdict for agents, for the gateway itself, and for people.
_NEW_WORK: Final = {
    OperatorMode.NORMAL: (ALLOW, ALLOW, ALLOW),
    OperatorMode.DRAINING: (DENY, DENY, DENY),
    OperatorMode.PAUSED: (DENY, DENY, ASK),
    OperatorMode.QUARANTINED: (DENY, DENY, ASK),
}
_OTHER: Final = {
    OperatorMode.NORMAL: (ALLOW, ALLOW, ALLOW),
    OperatorMode.DRAINING: (ALLOW, ASK, ALLOW),
    OperatorMode.PAUSED: (DENY, DENY, ASK),
    OperatorMode.QUARANTINED: (DENY, DENY, ASK),
}
_GATE: Final[Mapping[tuple[OperatorMode, ActionType, ActorType], PolicyVerdict]] = MappingProxyType(
    {
        (mode, kind, actor): verdict
        for kind in ActionType
        for mode, verdicts in (_NEW_WORK if kind in _STARTS else _OTHER).items()
        for actor, verdict in zip(_ACTORS, verdicts, strict=True)
    }
)


def gate(
    mode: OperatorMode, kind: ActionType, actor: ActorType = ActorType.AGENT, *, is_exempt: bool = False
) -> PolicyVerdict:
    """What the emergency mode says to an action (EMG-2).

    `is_exempt` for the emergency's own cascade, containment and expiry. A person who may go ahead only with approval
    overrides as EMG-3 says. Spawning begins new work as starting a run does; the other actions are as TRANSITION.
    """
    return ALLOW if is_exempt else _GATE[mode, kind, actor]


_WORKING: Final = frozenset({InstanceState.ACTIVE, InstanceState.READONLY, InstanceState.DRAINING})


def state_denies(state: InstanceState, kind: ActionType, *, is_running: bool) -> bool:
    """Whether an instance in this state may not do such a thing, risk aside (INS-4).

    `is_running`: it has a run that is RUNNING; in DRAINING only such work goes on.
    """
    if state not in _WORKING:
        return True
    if state is InstanceState.DRAINING:
        return kind in _STARTS or (kind is ActionType.TOOL_CALL and not is_running)
    return False


def state_denies_risk(state: InstanceState, kind: ActionType, risk: RiskLevel) -> bool:
    """Whether the state denies the risk: in READONLY only GREEN tools remain (INS-4), and nothing is spawned."""
    if state is not InstanceState.READONLY:
        return False
    return kind is ActionType.SPAWN or (kind is ActionType.TOOL_CALL and risk is not RiskLevel.GREEN)
