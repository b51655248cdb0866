"""Rules of the platform: pure data and pure functions, no I/O."""

from app.platform.rules.emergency import (
    BLOCKED_REASON,
    STOPPED_WORK,
    Standing,
    is_at_least,
    strictest,
    under,
    without_emergency,
)

__all__ = [
    "BLOCKED_REASON",
    "STOPPED_WORK",
    "Standing",
    "is_at_least",
    "strictest",
    "under",
    "without_emergency",
]
