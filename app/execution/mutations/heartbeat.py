"""The mutation of the heartbeat. Its answer is plain values, not rows: a QUARANTINED agent may read nothing and gets
its answer all the same, and a thousand agents that beat cost no look-ups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import strawberry

from app.execution.answering import MOST_APPROVALS, MOST_NOTIFICATIONS, MOST_TASKS
from app.execution.commands import heartbeat as commands
from app.execution.commands.heartbeat import LONGEST_ERROR, MOST_HEALTH
from app.graph.context import Info
from app.graph.fields import described_enum, list_of
from app.graph.ids import global_id
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation
from app.graph.registry import ENTITIES
from app.graph.scalars import JSON
from app.registry.types import AgentInstance
from db.enums import (
    ApprovalDecision,
    InstanceState,
    NotificationSeverity,
    NotificationType,
    OperatorMode,
    TaskStatus,
    TaskType,
)

for _enumeration in (TaskStatus, TaskType, ApprovalDecision, NotificationType, NotificationSeverity):
    described_enum(_enumeration)


@input_type
class AgentHeartbeatInput:
    """What an agent says of itself."""

    instance_id: str = given("The agent; with a token of its own it speaks for itself alone.", id_of="AgentInstance")
    current_task_id: str | None = given("The task of its project that it works on; none if it does not.", id_of="Task")
    session_key: str | None = given("Its own name for the session that it is in.", longest=200)
    error_message: str | None = given(
        "What went wrong since the last heartbeat; left out if nothing did, which ends its streak of errors.",
        longest=LONGEST_ERROR,
    )
    soul_hash: str | None = given("SHA-256 in hex of the soul that it runs with.", longest=64)
    health: JSON | None = given(f"How its process is, in its own terms; {MOST_HEALTH} bytes at most.")


@strawberry.type(description="A task, as a heartbeat tells of it; `task(id:)` has all of it.")
class HeartbeatTask:
    """A task of the answer."""

    id: strawberry.ID = strawberry.field(description="The task.")
    title: str = strawberry.field(description="What is to be done.")
    type: TaskType = strawberry.field(description="Kind of work.")
    status: TaskStatus = strawberry.field(description="Where the task stands.")
    priority: int = strawberry.field(description="1 critical, 2 high, 3 normal, 4 low.")
    due_at: datetime | None = strawberry.field(description="When the result is wanted.")


@strawberry.type(description="A request of the agent's that is not decided yet; `approvalRecord(id:)` has all of it.")
class HeartbeatApproval:
    """A request of the answer."""

    id: strawberry.ID = strawberry.field(description="The request.")
    request_type: str = strawberry.field(description="What it asks for, such as `TOOL_EXECUTION`.")
    status: ApprovalDecision = strawberry.field(description="How it stands.")
    summary: str = strawberry.field(description="What it asks for, in a sentence.")
    task_id: strawberry.ID | None = strawberry.field(description="The task that waits for it.")
    expires_at: datetime | None = strawberry.field(description="When it ends without a decision (APR-7).")


@strawberry.type(description="A message to the agent, told once; with the answer it counts as read (NOT-1).")
class HeartbeatNotification:
    """A message of the answer."""

    id: strawberry.ID = strawberry.field(description="The notification.")
    type: NotificationType = strawberry.field(description="What it is about.")
    title: str = strawberry.field(description="The message in a line.")
    body: str | None = strawberry.field(description="The message in full.")
    severity: NotificationSeverity | None = strawberry.field(description="How urgent it is.")
    task_id: strawberry.ID | None = strawberry.field(description="The task that it is about.")
    approval_id: strawberry.ID | None = strawberry.field(description="The request for approval that it is about.")
    created_at: datetime = strawberry.field(description="When it was sent.")


def _id(entity: str, value: str) -> strawberry.ID:
    return strawberry.ID(global_id(ENTITIES[entity].prefix, UUID(value)))


def _id_if(entity: str, value: str | None) -> strawberry.ID | None:
    return None if value is None else _id(entity, value)


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _task(of: Mapping[str, Any]) -> HeartbeatTask:
    return HeartbeatTask(
        id=_id("Task", of["id"]),
        title=of["title"],
        type=TaskType(of["type"]),
        status=TaskStatus(of["status"]),
        priority=of["priority"],
        due_at=_time(of["dueAt"]),
    )


def _approval(of: Mapping[str, Any]) -> HeartbeatApproval:
    return HeartbeatApproval(
        id=_id("ApprovalRecord", of["id"]),
        request_type=of["type"],
        status=ApprovalDecision(of["status"]),
        summary=of["summary"],
        task_id=_id_if("Task", of["taskId"]),
        expires_at=_time(of["expiresAt"]),
    )


def _notification(of: Mapping[str, Any]) -> HeartbeatNotification:
    return HeartbeatNotification(
        id=_id("Notification", of["id"]),
        type=NotificationType(of["type"]),
        title=of["title"],
        body=of["body"],
        severity=None if of["severity"] is None else NotificationSeverity(of["severity"]),
        task_id=_id_if("Task", of["taskId"]),
        approval_id=_id_if("ApprovalRecord", of["approvalId"]),
        created_at=datetime.fromisoformat(of["createdAt"]),
    )


def _list(name: str, kind: type, of: Callable[[Mapping[str, Any]], Any], description: str) -> Shown:
    def make(extras: Mapping[str, Any], _info: Info) -> list[Any]:
        return [of(one) for one in extras[name]]

    return Shown(name, list_of(kind), description, make=make)


_ANSWER: Final = (
    Shown("state", described_enum(InstanceState), "The agent's state, after this heartbeat (INS-4)."),
    Shown("mode", described_enum(OperatorMode), "The emergency mode in force for its project (EMG-1)."),
    Shown(
        "budget_remaining_usd",
        float,
        "US dollars that it may still spend today, or this month if that is less; null without a limit.",
    ),
    Shown("budget_exceeded", bool, "Whether a limit is used up."),
    Shown("error_streak", int, "Heartbeats with an error in a row (HB-3)."),
    Shown("error_quarantine_warning", bool, "Whether a few more errors quarantine it (HB-3)."),
    Shown("stale_after_ms", int, "Milliseconds of silence after which it is quarantined (HB-4)."),
    Shown("soul_is_current", bool, "Whether `soulHash` is that of the governed soul; null if either is unknown."),
    _list("pending_tasks", HeartbeatTask, _task, f"Tasks that are assigned to it and not begun, {MOST_TASKS} at most."),
    _list(
        "claimable_tasks",
        HeartbeatTask,
        _task,
        f"Tasks of its project that it may claim with `taskClaim` and begin, the most urgent {MOST_TASKS}; none while "
        "it is not ACTIVE, has no budget left, or an emergency is in force.",
    ),
    _list(
        "pending_approvals",
        HeartbeatApproval,
        _approval,
        f"Its requests that wait for a decision, {MOST_APPROVALS} at most.",
    ),
    _list(
        "pending_notifications",
        HeartbeatNotification,
        _notification,
        f"Messages that it has not had yet, the oldest {MOST_NOTIFICATIONS}.",
    ),
)

FIELDS = (mutation("agent_heartbeat", commands.beat, AgentHeartbeatInput, AgentInstance, shows=_ANSWER),)
