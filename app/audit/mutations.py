"""Mutations of the journals: telemetry that comes in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import strawberry

from app.audit import commands
from app.graph.fields import described_enum, list_of, optional, source_field
from app.graph.inputs import given, input_type
from app.graph.making import create_type
from app.graph.mutation import Shown, mutation
from app.graph.registry import TYPES, Named
from app.graph.scalars import JSON
from app.telemetry.wire import LONGEST_EVENT_ID, MEANINGS, Why
from db.enums import OpEventType


class OpEventOutcome(StrEnum):
    """What became of an op event that was sent."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    REFUSED = "REFUSED"


@input_type
class OpEventInput:
    """One op event. Version and project are filled in from the agent (OPE-1)."""

    type: OpEventType = given("What the event reports; money is reported by `runCostRecord` instead (COST-1).")
    timestamp: datetime | None = given(
        "When it happened: at most 5 minutes ahead, and no longer ago than the tenant keeps events. Now, if it is left"
        " out; required with `eventId`."
    )
    event_id: str | None = given(
        "Your own id of the event: the same one of the same agent and time is stored once.", longest=LONGEST_EVENT_ID
    )
    instance_id: str | None = given(
        "The agent that it is about; for an agent's own token, itself.", id_of="AgentInstance"
    )
    run_id: str | None = given("The run that it belongs to; agent and task come from there.", id_of="Run")
    task_id: str | None = given("The task that was worked on.", id_of="Task")
    tool_call_id: str | None = given("The tool call that it reports; agent and run come from there.", id_of="ToolCall")
    workflow_run_id: str | None = given("The workflow run whose step it reports.", id_of="WorkflowRun")
    project_id: str | None = given("The project, of an event that no agent caused.", id_of="Project")
    payload: JSON | None = given("Details by type, an object of at most 32,768 bytes as JSON.")


@input_type
class OpEventsRecordInput:
    """Op events to take in."""

    events: list[OpEventInput] = given("At most 1,000, in the order in which they get their numbers.", most=1_000)


_OUTCOME = described_enum(OpEventOutcome)
for _value, _meaning in zip(
    _OUTCOME.__strawberry_definition__.values,  # type: ignore[attr-defined]
    (
        "It is stored.",
        "It was stored before, by its `eventId`, or stands in this very batch further up.",
        "It is not stored; `code` and `message` say why.",
    ),
    strict=True,
):
    _value.description = _meaning
Why.__doc__ = "Why an op event was refused."
_WHY = described_enum(Why)
_WHY.__strawberry_definition__.name = "OpEventRefusal"  # type: ignore[attr-defined]
for _value in _WHY.__strawberry_definition__.values:  # type: ignore[attr-defined]
    _value.description = MEANINGS[Why[_value.name]]


def _id(result: Mapping[str, Any], _info: Any) -> str | None:
    return None if result["id"] is None else f"evt_{result['id']}"


TYPES["OpEventResult"] = create_type(
    "OpEventResult",
    [
        source_field("index", int, "Place of the event in the input, from 0.", lambda r, _i: r["index"]),
        source_field("status", _OUTCOME, "What became of it.", lambda r, _i: r["status"]),
        source_field("id", optional(strawberry.ID), "The event's id; null if refused.", _id),
        source_field("code", optional(_WHY), "Why it was refused.", lambda r, _i: r.get("code")),
        source_field(
            "message",
            optional(str),
            "What is wrong and what would be right, for a person; null unless refused.",
            lambda r, _i: r.get("message"),
        ),
        source_field("field", optional(str), "The field of the event to blame.", lambda r, _i: r.get("field")),
    ],
    description="What became of one op event of a batch.",
)

FIELDS = (
    mutation(
        "op_events_record",
        commands.record_op_events,
        OpEventsRecordInput,
        None,
        shows=(
            Shown("results", list_of(Named("OpEventResult")), "What became of each event, in the order of the input."),
            Shown("accepted", int, "How many are stored."),
            Shown("duplicates", int, "How many were stored before."),
            Shown("refused", int, "How many were refused; each is in `userErrors` too."),
        ),
    ),
)
