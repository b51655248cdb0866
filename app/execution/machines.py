"""The lives of tasks, runs, tool calls, execution requests and reviews, as tables."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, SYSTEM, Machine
from db.enums import ActorType, ExecutionRequestStatus, ReviewStatus, RunStatus, TaskStatus, ToolCallStatus

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

RUN: Final[Machine[RunStatus]] = {
    RunStatus.RUNNING: {
        RunStatus.COMPLETED: _ANYBODY,
        RunStatus.FAILED: _ANYBODY,
        RunStatus.TIMEOUT: SYSTEM,
    },
    RunStatus.COMPLETED: {},
    RunStatus.FAILED: {},
    RunStatus.TIMEOUT: {},
}
"""RUN-1. Whoever acts for an agent ends its runs: the agent itself, or an operator in its place."""

TOOL_CALL: Final[Machine[ToolCallStatus]] = {
    ToolCallStatus.PENDING: {
        ToolCallStatus.RUNNING: SYSTEM,
        ToolCallStatus.DENIED: SYSTEM,
    },
    ToolCallStatus.RUNNING: {
        ToolCallStatus.SUCCESS: _ANYBODY,
        ToolCallStatus.FAILED: _ANYBODY,
    },
    ToolCallStatus.FAILED: {ToolCallStatus.RUNNING: _AGENT_OR_HUMAN},
    ToolCallStatus.DENIED: {},
    ToolCallStatus.SUCCESS: {},
}
"""TOL-1. What waits for approval is let go or denied by its decision (TOL-2); a failed call is tried again at most
three times."""

EXECUTION_REQUEST: Final[Machine[ExecutionRequestStatus]] = {
    ExecutionRequestStatus.PENDING: {
        ExecutionRequestStatus.ASSIGNED: HUMAN_OR_SYSTEM,
        ExecutionRequestStatus.FAILED: _AGENT_OR_HUMAN,
    },
    ExecutionRequestStatus.ASSIGNED: {
        ExecutionRequestStatus.PENDING: HUMAN,
        ExecutionRequestStatus.IN_PROGRESS: _AGENT_OR_HUMAN,
        ExecutionRequestStatus.FAILED: _AGENT_OR_HUMAN,
    },
    ExecutionRequestStatus.IN_PROGRESS: {
        ExecutionRequestStatus.COMPLETED: _AGENT_OR_HUMAN,
        ExecutionRequestStatus.FAILED: _AGENT_OR_HUMAN,
    },
    ExecutionRequestStatus.COMPLETED: {},
    ExecutionRequestStatus.FAILED: {},
}
"""EXR-1. An executor outside signs in as a person. From PENDING to FAILED is a request that was called off."""

REVIEW: Final[Machine[ReviewStatus]] = {
    ReviewStatus.PENDING: {
        ReviewStatus.ACCEPTED: _AGENT_OR_HUMAN,
        ReviewStatus.REJECTED: _AGENT_OR_HUMAN,
        ReviewStatus.SUPERSEDED: HUMAN_OR_SYSTEM,
    },
    ReviewStatus.ACCEPTED: {},
    ReviewStatus.REJECTED: {},
    ReviewStatus.SUPERSEDED: {},
}
"""REV-1. A newer review by the same reviewer supersedes the older one by itself."""
