"""Mutations of communication: the telegraph, meetings, and speech."""

from __future__ import annotations

from datetime import datetime

from app.communication.commands import meetings, telegraph, voice
from app.communication.commands.telegraph import MOST_PARTICIPANTS
from app.communication.rules.meetings import LONGEST_MEETING, MOST_ITEMS
from app.communication.types import Meeting, TelegraphMessage, TelegraphThread, VoiceArtifact
from app.execution.rules.threads import LONGEST_MESSAGE
from app.graph.fields import list_of
from app.graph.inputs import EXPECTED_STATUS, given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.registry import Named
from app.graph.scalars import JSON
from db.enums import (
    MeetingProvider,
    MeetingStatus,
    OrgPosition,
    TelegraphChannel,
    TelegraphMessageStatus,
    VoiceProvider,
)

_LONGEST_SENT = 2 * LONGEST_MESSAGE
"""More than a message may have once it is made ready."""
_LONGEST_NOTES = 100_000
_NOTES = "Open notes."
_PROJECT = "The project; none for the whole tenant."


# --- Telegraph --------------------------------------------------------------------------------------------------------


@input_type
class TelegraphThreadCreateInput:
    """A conversation to open."""

    title: str = given("The subject.", longest=500)
    channel: TelegraphChannel = given("Where it takes place.")
    project_id: str | None = given(_PROJECT, id_of="Project")
    participant_ids: list[str] | None = given(
        "Agents of the project and operators that take part.", id_of="Node", most=MOST_PARTICIPANTS
    )
    participant_names: list[str] | None = given(
        "Who takes part from outside, by name.", longest=200, most=MOST_PARTICIPANTS
    )
    external_thread_ref: str | None = given("The thread's name at the outside channel.", longest=500)
    linked_task_id: str | None = given("Task that it is about, of the same project.", id_of="Task")
    linked_approval_id: str | None = given("Approval that it is about (TEL-4).", id_of="ApprovalRecord")
    linked_incident_id: str | None = given("Incident that it is about, as its own system names it.", longest=500)
    metadata: JSON | None = given(_NOTES)


@input_type
class TelegraphThreadLinkInput:
    """What a conversation is about. What is left out stays, null takes it away."""

    thread_id: str = given("The conversation.", id_of="TelegraphThread")
    linked_task_id: str | None = given("The task, of the conversation's project.", id_of="Task")
    linked_approval_id: str | None = given("The approval (TEL-4).", id_of="ApprovalRecord")
    linked_incident_id: str | None = given("The incident, as its own system names it.", longest=500)
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class TelegraphMessageSendInput:
    """Something to say in a conversation."""

    thread_id: str = given("The conversation.", id_of="TelegraphThread")
    content: str = given(
        f"The text, 1 to {LONGEST_MESSAGE:,} characters; one for Telegram is complete and free of secrets (TEL-2).",
        longest=_LONGEST_SENT,
    )
    reply_to_id: str | None = given("The message of the same conversation that it answers.", id_of="TelegraphMessage")
    external_ref: str | None = given("The message's name at the outside channel.", longest=500)
    metadata: JSON | None = given(_NOTES)


@input_type
class TelegraphMessageMarkReadInput:
    """A message that was read."""

    message_id: str = given("The message, which is SENT or DELIVERED.", id_of="TelegraphMessage")
    expected_status: TelegraphMessageStatus | None = given(EXPECTED_STATUS)


@input_type
class TelegraphMessageMarkDeliveredInput:
    """A message that its channel has confirmed."""

    message_id: str = given("The message, which is SENT.", id_of="TelegraphMessage")
    external_ref: str | None = given("What the channel calls it.", longest=500)
    expected_status: TelegraphMessageStatus | None = given(EXPECTED_STATUS)


@input_type
class TelegraphMessageMarkFailedInput:
    """A message that its channel has refused."""

    message_id: str = given("The message, which is SENT.", id_of="TelegraphMessage")
    reason: str = given("Why, as the channel says; kept as `failureReason` in its metadata.", longest=2_000)
    expected_status: TelegraphMessageStatus | None = given(EXPECTED_STATUS)


@input_type
class TelegraphMessageResendInput:
    """A message to send again."""

    message_id: str = given("The message, which is FAILED or a DRAFT.", id_of="TelegraphMessage")
    expected_status: TelegraphMessageStatus | None = given(EXPECTED_STATUS)


# --- Meetings ---------------------------------------------------------------------------------------------------------


@input_type
class MeetingParticipantInput:
    """Agent that takes part in a meeting."""

    instance_id: str = given("The agent.", id_of="AgentInstance")
    org_position: OrgPosition | None = given("Its rank in the project's organisation.")
    role: str | None = given("Its part in the meeting, in words.", longest=200)


@input_type
class MeetingScheduleInput:
    """A meeting to plan."""

    title: str = given("The subject.", longest=500)
    scheduled_at: datetime = given("When it begins.")
    duration: int = given(f"Planned length in minutes, 1 to {LONGEST_MEETING}.")
    project_id: str | None = given(_PROJECT, id_of="Project")
    host_instance_id: str | None = given("Agent that leads the meeting.", id_of="AgentInstance")
    participants: list[MeetingParticipantInput] | None = given("Who takes part.", most=100)
    topics: list[str] | None = given(
        "The agenda in its order; four usual topics if none is named.", longest=500, most=50
    )
    provider: MeetingProvider | None = given("Where it is held; MANUAL if nothing is said.")
    external_meeting_ref: str | None = given("The meeting's name at its provider.", longest=500)
    metadata: JSON | None = given(_NOTES)


@input_type
class MeetingStartInput:
    """A meeting that begins."""

    meeting_id: str = given("The meeting, which is SCHEDULED.", id_of="Meeting")
    expected_status: MeetingStatus | None = given(EXPECTED_STATUS)


@input_type
class MeetingActionItemInput:
    """Something that a meeting found is to be done."""

    description: str = given("What is to be done.", longest=2_000)
    assignee_id: str | None = given("Agent that is to do it.", id_of="AgentInstance")
    due_at: datetime | None = given("When it is wanted.")


@input_type
class MeetingCompleteInput:
    """A meeting that has ended."""

    meeting_id: str = given("The meeting, which is IN_PROGRESS; a MANUAL one may be SCHEDULED.", id_of="Meeting")
    notes: str | None = given(
        "What was said, Markdown. List lines under a heading «Action items» become items; `Owner: X` and"
        " `Due: YYYY-MM-DD` in them say who and until when (MTG-4).",
        longest=_LONGEST_NOTES,
    )
    notes_doc_path: str | None = given("Path of the notes in the project's files.", longest=1_000)
    action_items: list[MeetingActionItemInput] | None = given(
        "What is to be done, besides what the notes say.", most=MOST_ITEMS
    )
    expected_status: MeetingStatus | None = given(EXPECTED_STATUS)


@input_type
class MeetingCancelInput:
    """A meeting to call off."""

    meeting_id: str = given("The meeting, which has not ended.", id_of="Meeting")
    reason: str | None = given("Why, for the audit log.", longest=2_000)
    expected_status: MeetingStatus | None = given(EXPECTED_STATUS)


@input_type
class MeetingActionItemsConvertInput:
    """A meeting whose action items are to become tasks."""

    meeting_id: str = given("The meeting, which belongs to a project.", id_of="Meeting")


# --- Speech -----------------------------------------------------------------------------------------------------------


@input_type
class VoiceArtifactCreateInput:
    """A piece of speech to keep."""

    text: str = given("What was to be said.")
    project_id: str | None = given(_PROJECT, id_of="Project")
    instance_id: str | None = given("Agent that speaks.", id_of="AgentInstance")
    transcript: str | None = given("What the audio says, as heard.")
    audio_url: str | None = given("Address of the audio, of http or https.", longest=2_000)
    audio_storage_id: str | None = given("Name of the audio in the file store.", longest=500)
    provider: VoiceProvider | None = given("Who made the speech; ELEVENLABS if nothing is said.")
    voice_id: str | None = given("The voice, as its provider names it.", longest=200)
    duration_ms: int | None = given("Length of the audio in milliseconds.")
    linked_message_id: str | None = given("Telegraph message that is read out.", id_of="TelegraphMessage")
    linked_meeting_id: str | None = given("Meeting that it belongs to.", id_of="Meeting")
    metadata: JSON | None = given(_NOTES)


_MESSAGE_ID = shown_id("message_id", "TelegraphMessage", "Its id, for agents, which do not read the telegraph.")

FIELDS = (
    mutation("telegraph_thread_create", telegraph.create_telegraph_thread, TelegraphThreadCreateInput, TelegraphThread),
    mutation("telegraph_thread_link", telegraph.link_telegraph_thread, TelegraphThreadLinkInput, TelegraphThread),
    mutation(
        "telegraph_message_send",
        telegraph.send_telegraph_message,
        TelegraphMessageSendInput,
        TelegraphMessage,
        shows=(_MESSAGE_ID,),
    ),
    mutation(
        "telegraph_message_mark_read",
        telegraph.mark_telegraph_message_read,
        TelegraphMessageMarkReadInput,
        TelegraphMessage,
        shows=(_MESSAGE_ID,),
    ),
    mutation(
        "telegraph_message_mark_delivered",
        telegraph.mark_telegraph_message_delivered,
        TelegraphMessageMarkDeliveredInput,
        TelegraphMessage,
    ),
    mutation(
        "telegraph_message_mark_failed",
        telegraph.mark_telegraph_message_failed,
        TelegraphMessageMarkFailedInput,
        TelegraphMessage,
    ),
    mutation(
        "telegraph_message_resend", telegraph.resend_telegraph_message, TelegraphMessageResendInput, TelegraphMessage
    ),
    mutation("meeting_schedule", meetings.schedule_meeting, MeetingScheduleInput, Meeting),
    mutation("meeting_start", meetings.start_meeting, MeetingStartInput, Meeting),
    mutation("meeting_complete", meetings.complete_meeting, MeetingCompleteInput, Meeting),
    mutation("meeting_cancel", meetings.cancel_meeting, MeetingCancelInput, Meeting),
    mutation(
        "meeting_action_items_convert",
        meetings.convert_meeting_action_items,
        MeetingActionItemsConvertInput,
        Meeting,
        shows=(Shown("tasks", list_of(Named("Task")), "The tasks that were made, in the items' order.", of="Task"),),
    ),
    mutation("voice_artifact_create", voice.create_voice_artifact, VoiceArtifactCreateInput, VoiceArtifact),
)
