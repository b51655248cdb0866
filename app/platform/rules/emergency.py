"""Rules of emergencies: which mode is the stricter, and how agents stand under one (EMG-1, EMG-4, EMG-6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from db.enums import InstanceState, OperatorMode, PauseCause, TaskStatus

_RESTRICTION: Final = {mode: position for position, mode in enumerate(OperatorMode)}


def strictest(modes: Iterable[OperatorMode]) -> OperatorMode:
    """EMG-1, C19: of the tenant's mode and the project's the more restrictive holds; NORMAL where nothing was set."""
    return max(modes, key=_RESTRICTION.__getitem__, default=OperatorMode.NORMAL)


def is_at_least(mode: OperatorMode, other: OperatorMode) -> bool:
    """EMG-1. Whether a mode restricts as much as another, or more."""
    return _RESTRICTION[mode] >= _RESTRICTION[other]


@dataclass(frozen=True, slots=True)
class Standing:
    """How an instance stands: its state, and if something holds it there, what, and the state to return to."""

    state: InstanceState
    paused_by: PauseCause | None = None
    returns_to: InstanceState | None = None


_HELD: Final = frozenset({InstanceState.PAUSED, InstanceState.DRAINING})
_WORKING: Final = frozenset({InstanceState.ACTIVE, InstanceState.READONLY, InstanceState.DRAINING})


def without_emergency(standing: Standing) -> Standing:
    """EMG-6. How an instance would stand if no emergency held it; what another cause paused stays paused."""
    if standing.paused_by is not PauseCause.EMERGENCY or standing.state not in _HELD:
        return standing
    return Standing(standing.returns_to or InstanceState.ACTIVE)


def under(mode: OperatorMode, standing: Standing) -> Standing:
    """EMG-4, EMG-6, EMG-7. How an instance stands once the mode is in force.

    It depends on how it would stand without any emergency and on nothing else, so stepping down and up restores exactly
    what was there. QUARANTINED alone is for good: leaving it takes an INSTANCE_REACTIVATION each.
    """
    free = without_emergency(standing)
    held = PauseCause.EMERGENCY
    match mode:
        case OperatorMode.DRAINING if free.state is InstanceState.ACTIVE:
            return Standing(InstanceState.DRAINING, held, free.state)
        case OperatorMode.PAUSED if free.state in _WORKING:
            return Standing(InstanceState.PAUSED, held, free.state)
        case OperatorMode.QUARANTINED if free.state in _WORKING | {InstanceState.PAUSED}:
            return Standing(InstanceState.QUARANTINED)
    return free


STOPPED_WORK: Final = (
    TaskStatus.INBOX,
    TaskStatus.ASSIGNED,
    TaskStatus.IN_PROGRESS,
    TaskStatus.REVIEW,
    TaskStatus.NEEDS_APPROVAL,
)
"""EMG-4. Tasks of a stopped agent that an emergency blocks, and the statuses that it takes them back to (EMG-6)."""
BLOCKED_REASON: Final = {
    OperatorMode.PAUSED: "emergency pause",
    OperatorMode.QUARANTINED: "emergency quarantine",
}
"""Why an emergency says that a task is blocked."""
