"""EMG-1, EMG-4, EMG-6 and EMG-7 as pure rules: how an agent stands under a mode, row by row."""

from itertools import product

import pytest

from app.lifecycle import refuse_step
from app.platform.rules import BLOCKED_REASON, STOPPED_WORK, Standing, is_at_least, strictest, under, without_emergency
from app.registry.machines import INSTANCE
from db.enums import ActorType, InstanceState, OperatorMode, PauseCause, TaskStatus

N, M = InstanceState, OperatorMode
EMERGENCY = PauseCause.EMERGENCY
FREE = [
    *(Standing(state) for state in N if state is not N.PAUSED),
    *(Standing(N.PAUSED, cause, N.ACTIVE) for cause in PauseCause if cause is not EMERGENCY),
    Standing(N.PAUSED),
]
"""Every standing without an emergency."""
TIGHTENED = {
    M.NORMAL: {},
    M.DRAINING: {N.ACTIVE: Standing(N.DRAINING, EMERGENCY, N.ACTIVE)},
    M.PAUSED: {state: Standing(N.PAUSED, EMERGENCY, state) for state in (N.ACTIVE, N.READONLY, N.DRAINING)},
    M.QUARANTINED: {state: Standing(N.QUARANTINED) for state in (N.ACTIVE, N.READONLY, N.DRAINING, N.PAUSED)},
}
"""EMG-4, as its page has it."""


@pytest.mark.parametrize(("mode", "standing"), [*product(M, FREE)])
def test_emg_4_what_a_mode_makes_of_an_agent(mode: OperatorMode, standing: Standing) -> None:
    """The mode moves the states that it names, remembers where from, and leaves everything else alone."""
    assert under(mode, standing) == TIGHTENED[mode].get(standing.state, standing)


@pytest.mark.parametrize(("standing", "path"), [*product(FREE, product(M, M))])
def test_emg_7_stepping_up_and_down_is_as_if_the_last_mode_had_come_first(
    standing: Standing, path: tuple[OperatorMode, OperatorMode]
) -> None:
    """Of two modes the last one counts, but for a quarantine, which only a reactivation of each agent ends."""
    first, last = path
    after = under(last, under(first, standing))
    if under(first, standing).state is N.QUARANTINED:
        assert after == Standing(N.QUARANTINED)
    else:
        assert after == under(last, standing)


@pytest.mark.parametrize(("standing", "mode"), [*product(FREE, (M.DRAINING, M.PAUSED))])
def test_emg_6_resume_restores_exactly_what_was_there(standing: Standing, mode: OperatorMode) -> None:
    """State, cause and remembered state are those from before; what another cause paused stays paused."""
    assert under(M.NORMAL, under(mode, standing)) == standing
    assert without_emergency(under(mode, standing)) == standing


def test_emg_6_a_paused_row_without_a_memory_becomes_active() -> None:
    """An import may bring one that the emergency paused and that does not say from where."""
    assert under(M.NORMAL, Standing(N.PAUSED, EMERGENCY)) == Standing(N.ACTIVE)


@pytest.mark.parametrize(("standing", "path"), [*product(FREE, product(M, M))])
def test_ins_1_every_step_of_a_cascade_is_one_that_the_gateway_may_take(
    standing: Standing, path: tuple[OperatorMode, OperatorMode]
) -> None:
    """The cascade goes by the table of instances too."""
    at = standing
    for mode in path:
        goal = under(mode, at)
        if goal.state is not at.state:
            assert refuse_step(INSTANCE, at.state, goal.state, ActorType.SYSTEM) is None
        at = goal


@pytest.mark.parametrize(("one", "other"), [*product(M, M)])
def test_emg_1_the_stricter_of_two_modes_holds(one: OperatorMode, other: OperatorMode) -> None:
    """C19: NORMAL, DRAINING, PAUSED, QUARANTINED restrict more and more."""
    order = [M.NORMAL, M.DRAINING, M.PAUSED, M.QUARANTINED]
    assert strictest([one, other]) is order[max(order.index(one), order.index(other))]
    assert is_at_least(one, other) is (order.index(one) >= order.index(other))


def test_emg_4_which_tasks_an_emergency_blocks() -> None:
    """Those that somebody could work on; what is finished, failed or blocked already stays."""
    final = {TaskStatus.BLOCKED, TaskStatus.FAILED, TaskStatus.DONE, TaskStatus.CANCELED}
    assert set(STOPPED_WORK) == set(TaskStatus) - final
    assert BLOCKED_REASON[M.PAUSED] == "emergency pause"
