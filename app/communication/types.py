"""Types of communication."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from app.communication.unread import unread_count
from app.graph.entity import Connection, Entity, belongs_to, entity, has_many, json_type, key, key_of
from app.graph.scalars import JSON
from db import models
from db.enums import (
    ActorType,
    MeetingProvider,
    MeetingStatus,
    TelegraphChannel,
    TelegraphMessageStatus,
    VoiceProvider,
)

if TYPE_CHECKING:
    from app.execution.types import Task
    from app.governance.types import ApprovalRecord
    from app.identity.types import Operator, Project
    from app.registry.types import AgentInstance


@entity(models.TelegraphThread, prefix="thr")
class TelegraphThread(Entity):
    """Asynchronous conversation of agents and people, perhaps about a task, an approval or an incident."""

    project: Project | None = belongs_to("project_id")
    title: str
    participants: list[str]
    channel: TelegraphChannel
    external_thread_ref: str | None
    linked_task: Task | None = belongs_to("linked_task_id")
    linked_approval: ApprovalRecord | None = belongs_to("linked_approval_id")
    linked_incident_id: str | None
    last_message_at: datetime | None
    message_count: int
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    messages: Connection[TelegraphMessage] = has_many(models.TelegraphMessage.thread_id, "What was said in it.")
    unread_count: int = unread_count("Messages SENT or DELIVERED that nobody has read, the caller's own left out.")


@entity(models.TelegraphMessage, prefix="tgm")
class TelegraphMessage(Entity):
    """Single message in a telegraph thread, with its delivery."""

    project: Project | None = belongs_to("project_id")
    thread: TelegraphThread = belongs_to("thread_id")
    sender_instance: AgentInstance | None = belongs_to("sender_instance_id")
    sender_operator: Operator | None = belongs_to("sender_operator_id")
    sender_type: ActorType
    content: str
    reply_to: TelegraphMessage | None = belongs_to("reply_to_id")
    channel: TelegraphChannel
    external_ref: str | None
    status: TelegraphMessageStatus
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    replies: Connection[TelegraphMessage] = has_many(models.TelegraphMessage.reply_to_id, "Messages that answer it.")
    voice_artifacts: Connection[VoiceArtifact] = has_many(
        models.VoiceArtifact.linked_message_id, "Speech that reads it out."
    )


@json_type
class MeetingParticipant:
    """Agent that takes part in a meeting (MTG-2)."""

    instance: AgentInstance | None = key_of(
        "AgentInstance", "The agent; absent for a name from an import that no agent has.", name="agentId"
    )
    org_position: str | None = key("Rank in the project's organisation.")
    role: str | None = key("Part in the meeting, in words.")


@json_type
class MeetingActionItem:
    """Something that a meeting found is to be done; it can become a task (MTG-3)."""

    description: str = key("What is to be done.")
    assignee: AgentInstance | None = key_of("AgentInstance", "Agent that is to do it.", name="assigneeAgentId")
    task: Task | None = key_of("Task", "Task that was made of it.")
    due_at: datetime | None = key("When it is wanted.")
    completed: bool = key("Whether it is done.")


@entity(models.Meeting, prefix="mtg")
class Meeting(Entity):
    """Scheduled meeting of agents, with agenda, notes and action items that can become tasks."""

    project: Project | None = belongs_to("project_id")
    title: str
    agenda: str | None
    scheduled_at: datetime
    duration: int
    status: MeetingStatus
    host_instance: AgentInstance | None = belongs_to("host_instance_id")
    participants: list[MeetingParticipant]
    provider: MeetingProvider
    external_meeting_ref: str | None
    notes_doc_path: str | None
    notes: str | None
    action_items: list[MeetingActionItem] | None
    calendar_payload: str | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    voice_artifacts: Connection[VoiceArtifact] = has_many(
        models.VoiceArtifact.linked_meeting_id, "Speech that belongs to it."
    )


@entity(models.VoiceArtifact, prefix="voi")
class VoiceArtifact(Entity):
    """Piece of generated speech: source text, transcript, and where the audio is (VOI-1)."""

    project: Project | None = belongs_to("project_id")
    instance: AgentInstance | None = belongs_to("instance_id")
    text: str
    transcript: str | None
    audio_url: str | None
    audio_storage_id: str | None
    provider: VoiceProvider
    voice_id: str | None
    duration_ms: int | None
    linked_message: TelegraphMessage | None = belongs_to("linked_message_id")
    linked_meeting: Meeting | None = belongs_to("linked_meeting_id")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
