"""Conversations beside the tasks, meetings of agents with what came of them, and speech."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson

from db.demo import tasks
from db.demo.stage import Stage, text_of
from db.demo.tasks import Piece
from db.enums import (
    ActorType,
    ApprovalDecision,
    InstanceState,
    MeetingProvider,
    MeetingStatus,
    OpEventType,
    TaskType,
    TelegraphChannel,
    TelegraphMessageStatus,
    VoiceProvider,
)
from db.models import (
    AgentInstance,
    ApprovalRecord,
    Meeting,
    Operator,
    Project,
    TelegraphMessage,
    TelegraphThread,
    VoiceArtifact,
)


def build(stage: Stage, pieces: list[Piece]) -> None:
    """Everything that was said elsewhere than in a task's thread."""
    _threads(stage, pieces)
    _meetings(stage)
    _voices(stage)


def _active(stage: Stage) -> list[AgentInstance]:
    return [one for one in stage.instances.values() if one.state is InstanceState.ACTIVE]


def _threads(stage: Stage, pieces: list[Piece]) -> None:
    waiting = next(
        one for one in stage.all(ApprovalRecord) if one.status is ApprovalDecision.PENDING and one.tool_call_id
    )
    asker = next(one for one in pieces if one.task.id == waiting.task_id)
    first, second = _active(stage)[:2]
    person = asker.boss
    if asker.agent is None:
        raise ValueError("content: the pending tool call belongs to nobody")
    _thread(
        stage,
        f"Before I go on: {asker.task.title}",
        0.012,
        asker.task.project_id,
        TelegraphChannel.INTERNAL,
        [
            (asker.agent, f"I wait for a decision: {waiting.action_summary}."),
            (person, "I saw it. Two of us should look before anything happens."),
            (asker.agent, "Understood. Everything else of the task is ready."),
        ],
        linked_approval_id=waiting.id,
        linked_task_id=asker.task.id,
    )
    _thread(
        stage,
        "Who takes the documents this week?",
        3.1,
        first.project_id,
        TelegraphChannel.INTERNAL,
        [
            (first, "I have two tasks in review and could take the documents on Thursday."),
            (second, "Then I take them today; my board is empty."),
            (first, "Agreed. The style guide is in the knowledge base."),
            (second, "Found it, thank you."),
        ],
    )
    _thread(
        stage,
        "Morning report",
        0.3,
        first.project_id,
        TelegraphChannel.TELEGRAM,
        [
            (first, "Good morning. Two tasks are in review, one waits for an approval, none is late."),
            (person, "Thank you. Please look at the blocked one first."),
        ],
        external_thread_ref=f"-100{stage.between(10**8, 10**9)}",
    )


def _thread(
    stage: Stage,
    title: str,
    days: float,
    project_id: Any,
    channel: TelegraphChannel,
    lines: list[tuple[Operator | AgentInstance, str]],
    **fields: Any,
) -> None:
    at = stage.ago(days)
    thread = stage.add(
        TelegraphThread(
            id=stage.id(at),
            project_id=project_id,
            title=title,
            participants=list(dict.fromkeys(str(author.id) for author, _ in lines)),
            channel=channel,
            message_count=len(lines),
            updated_at=at,
            **fields,
        )
    )
    for number, (author, text) in enumerate(lines):
        moment = at + timedelta(minutes=3 * number + 1)
        is_last = number == len(lines) - 1
        message = TelegraphMessage(
            id=stage.id(moment),
            project_id=project_id,
            thread_id=thread.id,
            sender_instance_id=author.id if isinstance(author, AgentInstance) else None,
            sender_operator_id=author.id if isinstance(author, Operator) else None,
            sender_type=ActorType.AGENT if isinstance(author, AgentInstance) else ActorType.HUMAN,
            content=text,
            channel=channel,
            status=TelegraphMessageStatus.SENT if is_last else TelegraphMessageStatus.READ,
            updated_at=moment,
        )
        stage.add(message)
        thread.last_message_at = thread.updated_at = moment
        stage.event(
            OpEventType.MESSAGE_SENT,
            moment,
            instance=author if isinstance(author, AgentInstance) else None,
            payload={"telegraphMessageId": str(message.id), "channel": channel.value},
            project_id=project_id,
        )


def _meetings(stage: Stage) -> None:
    """One that was held, with an action item that became a task; one that is to come; one that was called off."""
    plan = (
        ("What we learnt last week", 2.0, 30, MeetingStatus.COMPLETED),
        ("Plan of the week", -0.8, 45, MeetingStatus.SCHEDULED),
        ("Retrospective of the emergency", 4.5, 60, MeetingStatus.CANCELLED),
    )
    project = next(iter(stage.projects.values()))
    people = [one for one in _active(stage) if one.project_id == project.id][:3]
    host = people[0]
    for title, days, minutes, status in plan:
        begins = stage.ago(days)
        made = begins - timedelta(days=1.5)
        meeting = stage.add(
            Meeting(
                id=stage.id(made),
                project_id=project.id,
                title=title,
                agenda="1. Opening and status\n2. Discussion\n3. Blockers\n4. Actions",
                scheduled_at=begins,
                duration=minutes,
                status=status,
                host_instance_id=host.id,
                participants=[
                    {"agentId": str(one.id), "orgPosition": "LEAD" if one is host else "SPECIALIST", "role": "speaker"}
                    for one in people
                ],
                provider=MeetingProvider.MANUAL,
                calendar_payload=orjson.dumps(
                    {
                        "summary": title,
                        "dtstart": text_of(begins),
                        "dtend": text_of(begins + timedelta(minutes=minutes)),
                        "organizer": host.name,
                        "attendees": [one.name for one in people],
                        "uid": f"{stage.slug}-{stage.random.getrandbits(48):012x}",
                    }
                ).decode(),
                updated_at=begins + timedelta(minutes=minutes) if status is MeetingStatus.COMPLETED else made,
            )
        )
        if status is MeetingStatus.COMPLETED:
            _minutes(stage, meeting, project, host)


def _minutes(stage: Stage, meeting: Meeting, project: Project, host: AgentInstance) -> None:
    ended = meeting.updated_at
    due = ended + timedelta(days=9)
    task = tasks.new_task(
        stage,
        ended + timedelta(minutes=1),
        project,
        "Write down when to ask a person",
        TaskType.OPS,
        None,
        description="Agents asked too late twice last week; a page with examples would help.",
        priority=3,
        labels=["meeting"],
        due_at=due,
        created_by_ref=f"meeting:{meeting.id}",
    )
    meeting.notes = (
        "We asked too late twice; both times the answer took a minute.\n\n"
        f"## Action items\n- Write down when to ask a person. Owner: {host.name}. Due: {due:%Y-%m-%d}\n"
    )
    meeting.notes_doc_path = "meetings/last-week.md"
    meeting.action_items = [
        {
            "description": "Write down when to ask a person.",
            "assigneeAgentId": str(host.id),
            "taskId": str(task.id),
            "dueAt": text_of(due),
            "completed": False,
        },
        {"description": "Thank the person who answered.", "assigneeAgentId": str(host.id), "completed": True},
    ]


def _voices(stage: Stage) -> None:
    meeting = next(one for one in stage.all(Meeting) if one.status is MeetingStatus.COMPLETED)
    message = stage.all(TelegraphMessage)[0]
    speaker = _active(stage)[0]
    for text, linked in (
        ("Two tasks are in review, one waits for an approval, none is late.", {"linked_message_id": message.id}),
        ("We asked too late twice; both times the answer took a minute.", {"linked_meeting_id": meeting.id}),
    ):
        at = stage.ago(0.29) if "linked_message_id" in linked else meeting.updated_at + timedelta(minutes=5)
        stage.add(
            VoiceArtifact(
                id=stage.id(at),
                project_id=speaker.project_id,
                instance_id=speaker.id,
                text=text,
                transcript=text,
                audio_storage_id=f"voice/{stage.slug}/{stage.random.getrandbits(40):010x}.mp3",
                provider=VoiceProvider.ELEVENLABS,
                voice_id="calm-alto",
                duration_ms=62 * len(text),
                updated_at=at,
                **linked,
            )
        )
