"""Rules of the platform: pure functions, no I/O."""

from collections.abc import Iterable
from typing import Final

from db.enums import OperatorMode

_RESTRICTION: Final = {mode: position for position, mode in enumerate(OperatorMode)}


def strictest(modes: Iterable[OperatorMode]) -> OperatorMode:
    """EMG-1, C19: of the tenant's mode and the project's the more restrictive holds; NORMAL where nothing was set."""
    return max(modes, key=_RESTRICTION.__getitem__, default=OperatorMode.NORMAL)
