"""Mutations of agent memory."""

from __future__ import annotations

from app.graph.inputs import given, input_type
from app.graph.mutation import mutation
from app.graph.scalars import JSON
from app.intelligence import commands
from app.intelligence.memory import LONGEST_DOCUMENT
from app.intelligence.types import AgentDocument, AgentPattern
from db.enums import AgentDocumentType

_LONGEST_PATTERN_SENT = 300
"""More than a pattern may have once it is trimmed."""


@input_type
class AgentDocumentSetInput:
    """One memory file, whole."""

    instance_id: str = given("The agent; with a token of its own it writes its own alone.", id_of="AgentInstance")
    type: AgentDocumentType = given("Which file; there is one of each.")
    content: str = given(
        "The text, Markdown by custom; it takes the place of what was there.", longest=LONGEST_DOCUMENT
    )
    metadata: JSON | None = given("Open notes, all of them; what was there stays if nothing is said.")


@input_type
class AgentPatternRecordInput:
    """What was seen of an agent."""

    instance_id: str = given(
        "The agent, whose version is meant; with a token of its own it records of itself.", id_of="AgentInstance"
    )
    pattern: str = given("`strength:<x>` or `weakness:<x>`, such as `strength:DOCS`.", longest=_LONGEST_PATTERN_SENT)
    confidence: float = given("How sure it is, 0 to 1.")
    evidence: list[str] | None = given("What it rests on, such as ids of tasks.", longest=500)


FIELDS = (
    mutation("agent_document_set", commands.set_document, AgentDocumentSetInput, AgentDocument),
    mutation("agent_pattern_record", commands.record_pattern, AgentPatternRecordInput, AgentPattern),
)
