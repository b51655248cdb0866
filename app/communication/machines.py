"""The lives of telegraph messages and meetings, as tables."""

from typing import Final

from app.lifecycle import HUMAN_OR_SYSTEM, Machine
from db.enums import ActorType, MeetingStatus, TelegraphMessageStatus

_ANYBODY: Final = frozenset(ActorType)

TELEGRAPH_MESSAGE: Final[Machine[TelegraphMessageStatus]] = {
    TelegraphMessageStatus.DRAFT: {TelegraphMessageStatus.SENT: HUMAN_OR_SYSTEM},
    TelegraphMessageStatus.SENT: {
        TelegraphMessageStatus.DELIVERED: HUMAN_OR_SYSTEM,
        TelegraphMessageStatus.READ: _ANYBODY,
        TelegraphMessageStatus.FAILED: HUMAN_OR_SYSTEM,
    },
    TelegraphMessageStatus.DELIVERED: {TelegraphMessageStatus.READ: _ANYBODY},
    TelegraphMessageStatus.READ: {},
    TelegraphMessageStatus.FAILED: {TelegraphMessageStatus.SENT: HUMAN_OR_SYSTEM},
}
"""TEL-1. What a channel reports, a person or the gateway tells in its place; agents read."""

MEETING: Final[Machine[MeetingStatus]] = {
    MeetingStatus.SCHEDULED: {
        MeetingStatus.IN_PROGRESS: HUMAN_OR_SYSTEM,
        MeetingStatus.COMPLETED: HUMAN_OR_SYSTEM,
        MeetingStatus.CANCELLED: HUMAN_OR_SYSTEM,
    },
    MeetingStatus.IN_PROGRESS: {
        MeetingStatus.COMPLETED: HUMAN_OR_SYSTEM,
        MeetingStatus.CANCELLED: HUMAN_OR_SYSTEM,
    },
    MeetingStatus.COMPLETED: {},
    MeetingStatus.CANCELLED: {},
}
"""MTG-1. Only a MANUAL meeting goes from SCHEDULED to COMPLETED: its notes are typed afterwards."""
