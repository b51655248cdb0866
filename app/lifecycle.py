"""State machines as tables: from a state, by whom, to which states (SM-1 to SM-4)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeAlias, TypeVar

from app.commands import Refusal, Refused
from db.enums import ActorType

S = TypeVar("S", bound=enum.StrEnum)

Machine: TypeAlias = Mapping[S, Mapping[S, frozenset[ActorType]]]
"""State -> reachable state -> who may take the step."""

HUMAN = frozenset({ActorType.HUMAN})
SYSTEM = frozenset({ActorType.SYSTEM})
HUMAN_OR_SYSTEM = HUMAN | SYSTEM


def allowed_from(machine: Machine[S], state: S, actor: ActorType) -> tuple[str, ...]:
    """The states that this actor may go to from here, guards aside (SM-2)."""
    return tuple(target.value for target, actors in machine.get(state, {}).items() if actor in actors)


def refuse_step(
    machine: Machine[S],
    state: S,
    target: S,
    actor: ActorType,
    expected: S | None = None,
    *,
    expected_field: str = "expected_state",
) -> Refused | None:
    """Why the step is not taken, or None where the table has it.

    SM-2: the refusal names what would have been allowed. SM-3: the same state again is refused. `expected` is the state
    that the caller believes in, as the input field `expected_field`; another one is a conflict.
    """
    steps = machine.get(state, {})
    if expected is not None and expected is not state:
        message = f"It is {state.value}, not {expected.value}: somebody was faster. Read it again."
        return Refused(Refusal.CONFLICT, message, expected_field, allowed_from(machine, state, actor))
    if actor in steps.get(target, ()):
        return None
    if target is state:
        message = f"It is {state.value} already."
    elif actor is not ActorType.SYSTEM and target in steps:
        message = f"Only the gateway itself takes the step from {state.value} to {target.value}."
    else:
        message = f"There is no step from {state.value} to {target.value}."
    return Refused(Refusal.INVALID_STATE_TRANSITION, message, "to", allowed_from(machine, state, actor))
