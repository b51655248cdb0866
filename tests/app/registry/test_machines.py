"""The tables of VER-1 and INS-1, row by row."""

from itertools import product

import pytest

from app.lifecycle import allowed_from, refuse_step
from app.registry.machines import INSTANCE, VERSION
from db.enums import ActorType, InstanceState, LifecycleState

V, N = LifecycleState, InstanceState
H, S, A = ActorType.HUMAN, ActorType.SYSTEM, ActorType.AGENT

VERSION_ROWS = {
    (V.DRAFT, V.TESTING): {H},
    (V.TESTING, V.CANDIDATE): {H, S},
    (V.TESTING, V.DRAFT): {H},
    (V.CANDIDATE, V.APPROVED): {H},
    (V.CANDIDATE, V.DRAFT): {H},
    (V.APPROVED, V.DEPRECATED): {H, S},
    (V.DEPRECATED, V.RETIRED): {H, S},
}
INSTANCE_ROWS = {
    (N.PROVISIONING, N.ACTIVE): {H, S},
    (N.PROVISIONING, N.RETIRED): {H, S},
    (N.ACTIVE, N.PAUSED): {H, S},
    (N.ACTIVE, N.READONLY): {H, S},
    (N.ACTIVE, N.DRAINING): {H, S},
    (N.ACTIVE, N.QUARANTINED): {H, S},
    (N.ACTIVE, N.RETIRED): {H, S},
    (N.PAUSED, N.ACTIVE): {H, S},
    (N.PAUSED, N.RETIRED): {H, S},
    (N.PAUSED, N.READONLY): {S},
    (N.PAUSED, N.DRAINING): {S},
    (N.PAUSED, N.QUARANTINED): {H, S},
    (N.READONLY, N.ACTIVE): {H},
    (N.READONLY, N.PAUSED): {H, S},
    (N.READONLY, N.QUARANTINED): {H, S},
    (N.READONLY, N.RETIRED): {H, S},
    (N.DRAINING, N.RETIRED): {H, S},
    (N.DRAINING, N.ACTIVE): {H, S},
    (N.DRAINING, N.PAUSED): {H, S},
    (N.DRAINING, N.QUARANTINED): {H, S},
    (N.QUARANTINED, N.ACTIVE): {H},
    (N.QUARANTINED, N.READONLY): {H},
    (N.QUARANTINED, N.RETIRED): {H, S},
}


@pytest.mark.parametrize(("state", "target", "actor"), [*product(V, V, ActorType)])
def test_ver_1(state: LifecycleState, target: LifecycleState, actor: ActorType) -> None:
    """Each step that the table has is taken by whom it names; every other is refused with what is legal (SM-2)."""
    refused = refuse_step(VERSION, state, target, actor)
    assert (refused is None) is (actor in VERSION_ROWS.get((state, target), set()))
    if refused is not None:
        assert refused.code == "INVALID_STATE_TRANSITION"
        assert set(refused.allowed or ()) == {
            to for (at, to), who in VERSION_ROWS.items() if at is state and actor in who
        }


@pytest.mark.parametrize(("state", "target", "actor"), [*product(N, N, ActorType)])
def test_ins_1(state: InstanceState, target: InstanceState, actor: ActorType) -> None:
    """Each step that the table has is taken by whom it names; an agent takes none (INS-2)."""
    refused = refuse_step(INSTANCE, state, target, actor)
    assert (refused is None) is (actor in INSTANCE_ROWS.get((state, target), set()))
    if refused is not None:
        assert set(refused.allowed or ()) == {
            to for (at, to), who in INSTANCE_ROWS.items() if at is state and actor in who
        }


@pytest.mark.parametrize("actor", ActorType)
def test_final_states_are_final(actor: ActorType) -> None:
    """RETIRED is terminal for both."""
    assert allowed_from(VERSION, V.RETIRED, actor) == ()
    assert allowed_from(INSTANCE, N.RETIRED, actor) == ()


def test_sm_3_an_expected_state_that_is_not_so_is_a_conflict() -> None:
    """Whoever believes in another state is told, before anything else is looked at."""
    refused = refuse_step(VERSION, V.TESTING, V.CANDIDATE, H, expected=V.DRAFT)
    assert refused is not None
    assert refused.code == "CONFLICT"
    assert refuse_step(VERSION, V.TESTING, V.CANDIDATE, H, expected=V.TESTING) is None
