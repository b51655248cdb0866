"""Objects inside the rows of execution whose keys the domain names (decision 18)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.graph.entity import json_type, key, key_of
from db.enums import ChangesetFileAction, RecurrenceFrequency

if TYPE_CHECKING:
    from app.governance.types import ApprovalRecord


@json_type
class ThreadRef:
    """Outside chat that a task belongs to."""

    chat_id: str = key("The chat's name at its channel.")
    thread_id: str = key("The thread's name within the chat.")


@json_type
class WorkPlan:
    """How the work is to be done; starting a task needs one (TSK-1)."""

    bullets: list[str] = key("Steps in words, 3 to 6.")
    estimated_cost: float | None = key("Expected cost in US dollars.")
    estimated_duration: str | None = key("Expected time in words, such as `2 hours`.")


@json_type
class Deliverable:
    """What was handed in; review needs one of its parts (TSK-1)."""

    summary: str | None = key("The result in a few sentences.")
    content: str | None = key("The result itself, where it is text.")
    artifact_ids: list[str] | None = key("Names of files or texts, each in its own system.")


@json_type
class ReviewChecklistItem:
    """One point of a self-review."""

    label: str = key("What was to be checked.")
    checked: bool = key("Whether it holds.")
    note: str | None = key("Why it does not hold, or what was found.")


@json_type
class ReviewChecklist:
    """Self-review before a task is submitted (TSK-1)."""

    type: str = key("Which checklist it is.")
    items: list[ReviewChecklistItem] = key("Its points, each checked or with a note before review.")


@json_type
class Recurrence:
    """How a task repeats (TASK-7)."""

    frequency: RecurrenceFrequency = key("Unit of the repetition.")
    interval: int = key("Every how many units.")
    days_of_week: list[int] | None = key("Days of a weekly task; 0 is Sunday.")
    end_date: datetime | None = key("After this moment no further task is made.")


@json_type
class MessageArtifact:
    """File or text that a message hands over."""

    name: str = key("Name of the file.")
    type: str = key("Kind of content, such as a media type.")
    url: str | None = key("Where it can be fetched.")
    content: str | None = key("The text itself, where it is short.")


@json_type
class ToolCallVerdict:
    """What policy said to a tool call at the time (TOL-3)."""

    decision: str = key("`ALLOW`, `NEEDS_APPROVAL` or `DENY`.")
    reason: str = key("Which rule decided, in a sentence.")
    approval: ApprovalRecord | None = key_of("ApprovalRecord", "Request that was made for the call.")


@json_type
class ChangesetFile:
    """One file of a changeset."""

    path: str = key("Path of the file in its repository.")
    action: ChangesetFileAction = key("What is to be done with the file.")
    diff: str | None = key("The change as a unified diff.")


@json_type
class Changeset:
    """Changes that a review asks for (REV-2)."""

    description: str = key("What is to change, and why.")
    files: list[ChangesetFile] = key("The files concerned.")
