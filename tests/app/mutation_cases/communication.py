"""What the mutations of the telegraph, meetings, speech and captures need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from db import models
from db.enums import (
    ActorType,
    CaptureType,
    MeetingProvider,
    MeetingStatus,
    TelegraphChannel,
    TelegraphMessageStatus,
)
from tests.app.mutation_cases.case import Case

_STATUS = TelegraphMessageStatus

INPUTS: Final[Mapping[str, Case]] = {
    "telegraphThreadCreate": Case({"title": "Release", "channel": "INTERNAL"}, {"projectId": "project"}),
    "telegraphThreadLink": Case({"linkedIncidentId": "inc-1"}),
    "telegraphMessageSend": Case({"content": "hello"}),
    "telegraphMessageMarkRead": Case(rows={"messageId": "telegram"}),
    "telegraphMessageMarkDelivered": Case(rows={"messageId": "telegram"}),
    "telegraphMessageMarkFailed": Case({"reason": "no such chat"}, {"messageId": "telegram"}),
    "telegraphMessageResend": Case(rows={"messageId": "unsent telegram"}),
    "meetingSchedule": Case(
        {"title": "Plan", "scheduledAt": "2026-12-01T09:00:00Z", "duration": 30}, {"projectId": "project"}
    ),
    "meetingStart": Case(rows={"meetingId": "meeting"}),
    "meetingComplete": Case({"notes": "nothing"}, {"meetingId": "meeting"}),
    "meetingCancel": Case(rows={"meetingId": "meeting"}),
    "meetingActionItemsConvert": Case(rows={"meetingId": "meeting"}),
    "voiceArtifactCreate": Case({"text": "Good morning."}, {"projectId": "project"}),
    "captureCreate": Case(
        {"title": "The board", "type": "SCREENSHOT", "url": "https://files.example/board.png"},
        {"projectId": "project"},
    ),
    "captureUpdate": Case({"title": "The new board"}),
    "captureDelete": Case(),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A conversation with a message on its way and one that was never sent, a meeting to come, and a picture."""
    project = rows["project"].id
    thread = put(
        "thread", models.TelegraphThread(project_id=project, title="Release", channel=TelegraphChannel.INTERNAL)
    )
    for name, status in (("telegram", _STATUS.SENT), ("unsent telegram", _STATUS.DRAFT)):
        put(
            name,
            models.TelegraphMessage(
                project_id=project,
                thread_id=thread.id,
                sender_type=ActorType.HUMAN,
                sender_operator_id=rows["grace"].id,
                content="hello",
                channel=thread.channel,
                status=status,
            ),
        )
    put(
        "meeting",
        models.Meeting(
            project_id=project,
            title="Plan",
            scheduled_at=datetime(2026, 12, 1, 9, tzinfo=UTC),
            duration=30,
            status=MeetingStatus.SCHEDULED,
            participants=[],
            provider=MeetingProvider.MANUAL,
            action_items=[{"description": "Write it down", "completed": False}],
        ),
    )
    put(
        "capture",
        models.Capture(
            project_id=project,
            title="The board",
            type=CaptureType.SCREENSHOT,
            url="https://files.example/board.png",
            captured_at=datetime(2026, 11, 1, tzinfo=UTC),
        ),
    )
