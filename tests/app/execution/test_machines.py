"""TSK-1 against the table of the rules, written out once more: every step for every actor, and no other."""

from __future__ import annotations

from typing import Final

import pytest

from app.commands import Refusal
from app.execution.machines import TASK
from app.lifecycle import allowed_from, refuse_step
from db.enums import ActorType, TaskStatus

A, H, S = ActorType.AGENT, ActorType.HUMAN, ActorType.SYSTEM

RULES: Final = """
INBOX          ASSIGNED        A H S
INBOX          NEEDS_APPROVAL  S
INBOX          BLOCKED         S H
INBOX          CANCELED        H
ASSIGNED       IN_PROGRESS     A H
ASSIGNED       INBOX           H
ASSIGNED       NEEDS_APPROVAL  S
ASSIGNED       BLOCKED         S H
ASSIGNED       CANCELED        H
IN_PROGRESS    REVIEW          A H
IN_PROGRESS    NEEDS_APPROVAL  S
IN_PROGRESS    BLOCKED         A H S
IN_PROGRESS    FAILED          A S
IN_PROGRESS    ASSIGNED        H
IN_PROGRESS    CANCELED        H
REVIEW         IN_PROGRESS     A H S
REVIEW         DONE            H
REVIEW         NEEDS_APPROVAL  H S
REVIEW         BLOCKED         H S
REVIEW         FAILED          S
REVIEW         ASSIGNED        H
REVIEW         CANCELED        H
NEEDS_APPROVAL INBOX           H
NEEDS_APPROVAL ASSIGNED        H S
NEEDS_APPROVAL IN_PROGRESS     H S
NEEDS_APPROVAL REVIEW          H S
NEEDS_APPROVAL DONE            H
NEEDS_APPROVAL BLOCKED         H S
NEEDS_APPROVAL FAILED          S H
NEEDS_APPROVAL CANCELED        H
BLOCKED        ASSIGNED        H S
BLOCKED        IN_PROGRESS     H S
BLOCKED        INBOX           S
BLOCKED        REVIEW          S
BLOCKED        NEEDS_APPROVAL  H S
BLOCKED        FAILED          H S
BLOCKED        CANCELED        H
FAILED         INBOX           H
FAILED         ASSIGNED        H
FAILED         CANCELED        H
"""
"""From, to, and who: A an agent, H a person, S the gateway."""
_LETTER: Final = {"A": A, "H": H, "S": S}
STEPS: Final = {
    (TaskStatus(line.split()[0]), TaskStatus(line.split()[1])): frozenset(_LETTER[one] for one in line.split()[2:])
    for line in RULES.strip().splitlines()
}
"""From and to -> who."""


@pytest.mark.parametrize("actor", list(ActorType))
@pytest.mark.parametrize("to", list(TaskStatus))
@pytest.mark.parametrize("state", list(TaskStatus))
def test_tsk_1_a_step_is_for_whom_the_table_says(state: TaskStatus, to: TaskStatus, actor: ActorType) -> None:
    """All of them: nine states by nine by three actors."""
    refused = refuse_step(TASK, state, to, actor)
    if actor in STEPS.get((state, to), frozenset()):
        assert refused is None
        return
    assert refused is not None
    assert refused.code is Refusal.INVALID_STATE_TRANSITION
    expected = {target.value for (start, target), actors in STEPS.items() if start is state and actor in actors}
    assert set(refused.allowed or ()) == expected


def test_tsk_1_done_and_canceled_are_final() -> None:
    """C40: no step leads out of either, for nobody."""
    for state in (TaskStatus.DONE, TaskStatus.CANCELED):
        assert not any(allowed_from(TASK, state, actor) for actor in ActorType)


def test_sm_3_the_same_status_again_is_no_step() -> None:
    """Not for anybody, from any status."""
    assert not any((state, state) in STEPS or state in TASK[state] for state in TaskStatus)
