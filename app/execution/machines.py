"""The life of a task, as a table."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, SYSTEM, Machine
from db.enums import ActorType, TaskStatus

_ANYBODY: Final = frozenset(ActorType)
_AGENT_OR_HUMAN: Final = frozenset({ActorType.AGENT, ActorType.HUMAN})
_AGENT_OR_SYSTEM: Final = frozenset({ActorType.AGENT, ActorType.SYSTEM})

TASK: Final[Machine[TaskStatus]] = {
    TaskStatus.INBOX: {
        TaskStatus.ASSIGNED: _ANYBODY,
        TaskStatus.NEEDS_APPROVAL: SYSTEM,
        TaskStatus.BLOCKED: HUMAN_OR_SYSTEM,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.ASSIGNED: {
        TaskStatus.INBOX: HUMAN,
        TaskStatus.IN_PROGRESS: _AGENT_OR_HUMAN,
        TaskStatus.NEEDS_APPROVAL: SYSTEM,
        TaskStatus.BLOCKED: HUMAN_OR_SYSTEM,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.IN_PROGRESS: {
        TaskStatus.ASSIGNED: HUMAN,
        TaskStatus.REVIEW: _AGENT_OR_HUMAN,
        TaskStatus.NEEDS_APPROVAL: SYSTEM,
        TaskStatus.BLOCKED: _ANYBODY,
        TaskStatus.FAILED: _AGENT_OR_SYSTEM,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.REVIEW: {
        TaskStatus.ASSIGNED: HUMAN,
        TaskStatus.IN_PROGRESS: _ANYBODY,
        TaskStatus.NEEDS_APPROVAL: HUMAN_OR_SYSTEM,
        TaskStatus.BLOCKED: HUMAN_OR_SYSTEM,
        TaskStatus.FAILED: SYSTEM,
        TaskStatus.DONE: HUMAN,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.NEEDS_APPROVAL: {
        TaskStatus.INBOX: HUMAN,
        TaskStatus.ASSIGNED: HUMAN_OR_SYSTEM,
        TaskStatus.IN_PROGRESS: HUMAN_OR_SYSTEM,
        TaskStatus.REVIEW: HUMAN_OR_SYSTEM,
        TaskStatus.BLOCKED: HUMAN_OR_SYSTEM,
        TaskStatus.FAILED: HUMAN_OR_SYSTEM,
        TaskStatus.DONE: HUMAN,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.BLOCKED: {
        TaskStatus.INBOX: SYSTEM,
        TaskStatus.ASSIGNED: HUMAN_OR_SYSTEM,
        TaskStatus.IN_PROGRESS: HUMAN_OR_SYSTEM,
        TaskStatus.REVIEW: SYSTEM,
        TaskStatus.NEEDS_APPROVAL: HUMAN_OR_SYSTEM,
        TaskStatus.FAILED: HUMAN_OR_SYSTEM,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.FAILED: {
        TaskStatus.INBOX: HUMAN,
        TaskStatus.ASSIGNED: HUMAN,
        TaskStatus.CANCELED: HUMAN,
    },
    TaskStatus.DONE: {},
    TaskStatus.CANCELED: {},
}
"""TSK-1. Guards come on top (`app/execution/rules.py`)."""
