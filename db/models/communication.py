"""Communication: telegraph threads, meetings, and speech."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped

from db.base import (
    Changing,
    Model,
    Noted,
    TenantScoped,
    column,
    contains_index,
    index,
    json_list,
    name_text,
    reference,
)
from db.enums import (
    ActorType,
    MeetingProvider,
    MeetingStatus,
    TelegraphChannel,
    TelegraphMessageStatus,
    VoiceProvider,
)


class TelegraphThread(TenantScoped, Changing, Noted, Model):
    """Asynchronous conversation of agents and people, perhaps about a task, an approval or an incident."""

    __tablename__ = "telegraph_threads"
    __table_args__ = (
        index("last_message_at"),  # the inbox shows the latest activity first (TEL-3)
        index("channel"),
        index("external_thread_ref"),  # an incoming message finds its thread
        contains_index("participants"),  # the threads of one participant
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project the conversation belongs to.")
    title: Mapped[str] = column("Subject.")
    participants: Mapped[list[str]] = column(
        "Who takes part: UUIDs of instances and operators, or names from outside; senders are added (TEL-3).",
        default=list,
    )
    channel: Mapped[TelegraphChannel] = column("Where the conversation takes place.")
    external_thread_ref: Mapped[name_text | None] = column("The thread's name at the outside channel.")
    linked_task_id: Mapped[UUID | None] = reference("tasks", "Task that is talked about.")
    linked_approval_id: Mapped[UUID | None] = reference("approval_records", "Approval that is talked about (TEL-4).")
    linked_incident_id: Mapped[str | None] = column("Incident that is talked about, as its own system names it.")
    last_message_at: Mapped[datetime | None] = column("When the latest message was sent (TEL-3); absent while empty.")
    message_count: Mapped[int] = column("Messages sent so far (TEL-3).", default=0)


class TelegraphMessage(TenantScoped, Changing, Noted, Model):
    """Single message in a telegraph thread, with its delivery."""

    __tablename__ = "telegraph_messages"
    __table_args__ = (
        CheckConstraint("num_nonnulls(sender_instance_id, sender_operator_id) <= 1", name="sender"),
        index("status"),  # what failed, what is unread
        index("external_ref"),  # a delivery report finds its message
    )

    project_id: Mapped[UUID | None] = reference("projects", "The thread's project.")
    thread_id: Mapped[UUID] = reference("telegraph_threads", "Conversation it belongs to.")
    sender_instance_id: Mapped[UUID | None] = reference("agent_instances", "The sender, where it is an agent.")
    sender_operator_id: Mapped[UUID | None] = reference(
        "operators", "The sender, where it is an operator; a name from outside stays in the metadata."
    )
    sender_type: Mapped[ActorType] = column("Whether an agent, a person or the gateway sent it.")
    content: Mapped[str] = column("The text; one for Telegram is complete and free of secrets (TEL-2).")
    reply_to_id: Mapped[UUID | None] = reference("telegraph_messages", "Message that this one answers.")
    channel: Mapped[TelegraphChannel] = column("Where it was sent.")
    external_ref: Mapped[name_text | None] = column("The message's name at the outside channel.")
    status: Mapped[TelegraphMessageStatus] = column("How far it got.", default=TelegraphMessageStatus.SENT)


class Meeting(TenantScoped, Changing, Noted, Model):
    """Scheduled meeting of agents, with agenda, notes and action items that can become tasks."""

    __tablename__ = "meetings"
    __table_args__ = (
        index("status"),
        index("scheduled_at"),  # the calendar, and the next meeting
    )

    project_id: Mapped[UUID | None] = reference("projects", "Project the meeting is about.")
    title: Mapped[str] = column("Subject.")
    agenda: Mapped[str | None] = column("Numbered topics; four usual ones if none were given (MTG-2).")
    scheduled_at: Mapped[datetime] = column("When it begins.")
    duration: Mapped[int] = column("Planned length in minutes.")
    status: Mapped[MeetingStatus] = column("How the meeting stands.", default=MeetingStatus.SCHEDULED)
    host_instance_id: Mapped[UUID | None] = reference("agent_instances", "Agent that leads the meeting.")
    participants: Mapped[json_list] = column(
        "Who takes part, each `agentId` (UUID of an instance), `orgPosition`, `role`."
    )
    provider: Mapped[MeetingProvider] = column("Where it is held.")
    external_meeting_ref: Mapped[str | None] = column("The meeting's name at its provider.")
    notes_doc_path: Mapped[str | None] = column("Path of the notes in the project's files.")
    notes: Mapped[str | None] = column("What was said, Markdown; lists under «Action items» become items (MTG-4).")
    action_items: Mapped[json_list | None] = column(
        "What is to be done, each `description`, `assigneeAgentId`, `taskId`, `dueAt`, `completed` (MTG-3)."
    )
    calendar_payload: Mapped[str | None] = column("Calendar entry as JSON text, for invitations (MTG-2).")


class VoiceArtifact(TenantScoped, Changing, Noted, Model):
    """Piece of generated speech: source text, transcript, and where the audio is (VOI-1)."""

    __tablename__ = "voice_artifacts"
    __table_args__ = (index("provider"),)

    project_id: Mapped[UUID | None] = reference("projects", "Project it belongs to.")
    instance_id: Mapped[UUID | None] = reference("agent_instances", "Agent that speaks.")
    text: Mapped[str] = column("What was to be said.")
    transcript: Mapped[str | None] = column("What the audio says, as heard.")
    audio_url: Mapped[str | None] = column("Address of the audio.")
    audio_storage_id: Mapped[str | None] = column("Name of the audio in the file store.")
    provider: Mapped[VoiceProvider] = column("Who made the speech.")
    voice_id: Mapped[str | None] = column("The voice, as its provider names it.")
    duration_ms: Mapped[int | None] = column("Length of the audio in milliseconds.")
    linked_message_id: Mapped[UUID | None] = reference("telegraph_messages", "Telegraph message that is read out.")
    linked_meeting_id: Mapped[UUID | None] = reference("meetings", "Meeting that it belongs to.")
