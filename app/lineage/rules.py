"""Which rows a picture of lineage shows, and which relations it follows: pure data and pure functions, no I/O.

A relation is written down once, on the type whose rows *came from* the rows that it leads to. Upstream the picture
follows it as it stands, downstream it follows it back. No two of them are the same key, so no picture says one thing
twice.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

DEFAULT_DEPTH: Final = 3
MAX_DEPTH: Final = 6
"""Most steps from the row that was asked for."""
MAX_NODES: Final = 300
"""Most rows of one picture; nobody can read a larger one."""
MAX_BRANCHES: Final = 25
"""Most rows that one relation adds to the picture for one row, the newest first."""
MAX_ANCESTORS: Final = 100
"""Most steps along a chain of one type, such as from version to parent version (VER-7)."""
LONGEST_LABEL: Final = 120
"""Characters of a label; the field that it shows has the rest."""


@dataclass(frozen=True)
class Kind:
    """How the rows of one type stand in a picture. Names are those of fields and columns in Python."""

    came_from: tuple[str, ...] = ()
    """Relations to what a row came from."""
    label: tuple[str, ...] = ()
    """Columns that name a row; the first that holds something does. A row without one is named by its time."""
    state: str | None = None
    """Column that says how a row stands."""
    clock: str = "created_at"
    """Column of the time that names a row without a label."""
    chain: str | None = None
    """Of the relations, one to the same type that is followed to its first row, however deep the picture is (VER-7)."""
    is_drawn_below: bool = True
    """False for logs: a row of one leads to what it tells of, but is drawn below nothing, since it made nothing."""


KINDS: Final[Mapping[str, Kind]] = {
    "Project": Kind(label=("name",), came_from=("policy_envelopes",)),
    "Environment": Kind(label=("name",)),
    "Operator": Kind(label=("name",), state="status"),
    "Provider": Kind(label=("name",), state="status"),
    "AgentTemplate": Kind(label=("name",), came_from=("policy_envelopes",)),
    "AgentVersion": Kind(
        label=("version_label", "version_number"),
        state="lifecycle_state",
        came_from=("template", "parent_version", "approvals", "approval_requests", "policy_envelopes", "created_by"),
        chain="parent_version",
    ),
    "AgentInstance": Kind(
        label=("name",),
        state="state",
        came_from=(
            "version",
            "deployment",
            "policy_envelope",
            "environment",
            "project",
            "provider",
            "parent_instance",
            "approval_records",
        ),
    ),
    "AgentIdentity": Kind(label=("name",), state="compliance_status", came_from=("template", "instance")),
    "PolicyEnvelope": Kind(label=("name",), state="active", came_from=("created_by", "approval_records")),
    "ApprovalRecord": Kind(
        label=("action_summary",),
        state="status",
        came_from=("requester", "requester_instance", "task", "tool_call", "policy_envelope", "decided_by"),
    ),
    "Deployment": Kind(
        state="status",
        came_from=(
            "target_version",
            "previous_version",
            "environment",
            "approval_records",
            "created_by",
            "approved_by",
        ),
    ),
    "ChangeRecord": Kind(
        label=("summary", "type"), clock="timestamp", came_from=("target", "actor", "caused_by"), is_drawn_below=False
    ),
    "OpEvent": Kind(
        label=("type",),
        clock="timestamp",
        came_from=("run", "tool_call", "task", "instance", "version", "workflow_run", "change_record"),
        is_drawn_below=False,
    ),
    "Task": Kind(
        label=("title",),
        state="status",
        came_from=("project", "parent_task", "creator_instance", "creator_operator"),
    ),
    "Message": Kind(came_from=("task", "author_instance", "author_operator", "reply_to"), is_drawn_below=False),
    "Run": Kind(clock="started_at", state="status", came_from=("instance", "version", "task")),
    "ToolCall": Kind(label=("tool_name",), state="status", came_from=("run", "policy_envelope")),
    "ExecutionRequest": Kind(clock="requested_at", state="status", came_from=("task", "requested_by")),
    "Review": Kind(label=("summary",), state="status", came_from=("task", "reviewer_instance", "reviewer_operator")),
    "Workflow": Kind(label=("name",), state="active", came_from=("created_by",)),
    "WorkflowRun": Kind(
        label=("run_key",), clock="started_at", state="status", came_from=("workflow", "parent_task", "project")
    ),
    "EvaluationSuite": Kind(label=("name",), state="active", came_from=("template", "created_by")),
    "EvaluationRun": Kind(state="status", came_from=("version", "suite", "triggered_by_operator")),
    "EvaluationMetric": Kind(label=("metric_name",), clock="timestamp", came_from=("evaluation_run",)),
    "Alert": Kind(label=("title",), state="status", came_from=("run", "task", "instance")),
    "Capture": Kind(label=("title",), clock="captured_at", came_from=("task", "instance")),
}
"""Every type that a picture can show, in the order of the tables."""


def label_of(type_name: str, row: Any) -> str:
    """A few words that tell a row from its like: its name, or what it is and of when (UTC)."""
    kind = KINDS[type_name]
    for column in kind.label:
        value = _plain(getattr(row, column))
        text = " ".join(f"#{value}".split()) if isinstance(value, int) else " ".join(str(value or "").split())
        if text:
            return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
    at: datetime = getattr(row, kind.clock)
    return f"{in_words(type_name)} of {at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def state_of(type_name: str, row: Any) -> str | None:
    """How a row stands, in the word of its own enum; None for a type without states, and for a row without one."""
    column = KINDS[type_name].state
    if column is None:
        return None
    value = _plain(getattr(row, column))
    if isinstance(value, bool):
        return "ACTIVE" if value else "INACTIVE"
    return None if value is None else str(value)


def in_words(type_name: str) -> str:
    """`ToolCall` -> `Tool call`."""
    return re.sub(r"(?<!^)([A-Z])", r" \1", type_name).capitalize()


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
