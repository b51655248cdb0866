"""What an export of a person's data has and has not (GDPR-1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from app.identity.commands import privacy
from app.identity.held import naming
from db.base import Model
from db.enums import (
    ActorType,
    AuditSeverity,
    MessageType,
    NotificationChannel,
    NotificationType,
    OperatorMode,
    ReviewTargetType,
    ReviewType,
    SavedViewScope,
    TaskStatus,
    TelegraphChannel,
    VoiceProvider,
    WatchEntityType,
)
from db.ids import new_id
from db.models import (
    AgentTemplate,
    AgentTemplateOwner,
    ApprovalRecord,
    AuditLog,
    Experiment,
    ExperimentAssignment,
    ExperimentEvent,
    Message,
    Notification,
    NotificationPreference,
    Operator,
    OperatorControl,
    OrgMember,
    Review,
    SavedView,
    Task,
    TelegraphMessage,
    TelegraphThread,
    VoiceArtifact,
    WatchSubscription,
    Webhook,
)
from tests.app.identity.stage import Stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = (
    "roleAssignments",
    "notifications",
    "notificationPreferences",
    "savedViews",
    "watchSubscriptions",
    "ownedTemplates",
    "messages",
    "telegraphMessages",
    "telegraphThreads",
    "voiceArtifacts",
    "tasks",
    "reviews",
    "approvalsRequested",
    "approvalsDecided",
    "orgMembers",
    "experimentAssignments",
    "experimentEvents",
    "changeRecords",
    "auditLogs",
)
SECRET = "a secret of the organisation's"


async def export(stage: Stage, operator_id: UUID) -> dict[str, Any]:
    """The bundle, as a client gets it."""
    outcome = await stage.do("export_operator", operator_id=operator_id)
    found: dict[str, Any] = orjson.loads(orjson.dumps(outcome.unkept["export"]))
    return found


def new_task(stage: Stage, **columns: Any) -> Task:
    return Task(
        id=new_id(), project_id=stage.project_id, type="ENGINEERING", status=TaskStatus.INBOX, priority=2, **columns
    )


async def live(stage: Stage, operator_id: UUID, word: str) -> None:
    """One row of every kind that is the person's, with the word in it where it has words."""
    email = (await stage.one(Operator, operator_id)).email
    task = new_task(stage, title=word, description=word, creator_operator_id=operator_id, deliverable={"by": SECRET})
    thread = TelegraphThread(
        id=new_id(), title=word, channel=TelegraphChannel.INTERNAL, participants=[str(operator_id), SECRET]
    )
    said = TelegraphMessage(
        id=new_id(),
        thread_id=thread.id,
        sender_type=ActorType.HUMAN,
        sender_operator_id=operator_id,
        content=word,
        channel=TelegraphChannel.INTERNAL,
    )
    template = AgentTemplate(id=new_id(), name=word, description=SECRET)
    experiment = Experiment(id=new_id(), name="E", variants=[])
    subject = {"experiment_id": experiment.id, "variant_id": word, "entity_type": "Operator", "entity_id": operator_id}
    await stage.add(
        task,
        thread,
        said,
        template,
        experiment,
        AgentTemplateOwner(template_id=template.id, operator_id=operator_id),
        VoiceArtifact(text=word, provider=VoiceProvider.OTHER, linked_message_id=said.id),
        Review(
            project_id=stage.project_id,
            task_id=task.id,
            type=ReviewType.PRAISE,
            reviewer_operator_id=operator_id,
            target_type=ReviewTargetType.TASK,
            summary=word,
        ),
        Message(
            task_id=task.id,
            author_type=ActorType.HUMAN,
            author_operator_id=operator_id,
            type=MessageType.COMMENT,
            content=word,
        ),
        Notification(operator_id=operator_id, type=NotificationType.ALERT, title=word),
        NotificationPreference(operator_id=operator_id, channel=NotificationChannel.EMAIL, enabled=True),
        SavedView(
            name=word,
            scope=SavedViewScope.KANBAN,
            project_id=stage.project_id,
            owner_operator_id=operator_id,
            filters={},
        ),
        WatchSubscription(operator_id=operator_id, entity_type=WatchEntityType.TASK, entity_id=task.id),
        ApprovalRecord(
            request_type="TOOL_EXECUTION",
            requester_id=operator_id,
            decided_by_operator_id=operator_id,
            action_summary=word,
            justification=word,
        ),
        OrgMember(name=word, role="Clerk", level=0, email=email.upper()),
        ExperimentAssignment(assigned_at=NOW, **subject),
        ExperimentEvent(event_type="conversion", timestamp=NOW, **subject),
        AuditLog(
            severity=AuditSeverity.INFO,
            action="LOGIN",
            actor_type=ActorType.HUMAN,
            actor_id=operator_id,
            description=word,
            timestamp=NOW,
        ),
    )
    await stage.done("create_project", by=operator_id, name=word, slug=word)


async def test_gdpr_1_every_kind_is_the_persons_alone(stage: Stage) -> None:
    """GDPR-1. What they wrote, what they were given, what is known of them; and of nobody else."""
    person, neighbour = await stage.newcomer("Nia", "Admin"), await stage.newcomer("Ned", "Admin")
    await live(stage, person, "mine")
    await live(stage, neighbour, "theirs")
    held = await export(stage, person)
    counts = {name: len(rows) for name, rows in held.items() if isinstance(rows, list) and rows}
    assert counts == dict.fromkeys(KINDS, 1)
    assert "theirs" not in str(held)
    assert str(neighbour) not in str(held)
    wordless = {"roleAssignments", "notificationPreferences", "watchSubscriptions"}
    assert {name for name in KINDS if "mine" not in str(held[name])} == wordless


async def test_gdpr_1_of_shared_rows_the_persons_part_is_told(stage: Stage) -> None:
    """GDPR-1. An export is no way around what a person may read: what others put into the row is not in it."""
    person = await stage.newcomer()
    await live(stage, await stage.newcomer("Ned", "Admin"), "other")
    admin = stage.people[0]
    await live(stage, admin, "mine")
    held = await export(stage, admin)
    assert SECRET not in str(held)
    assert held["tasks"][0].keys() == {"id", "projectId", "title", "description", "type", "labels", "createdAt"}
    assert held["telegraphThreads"][0].keys() == {"id", "projectId", "title", "channel", "createdAt"}
    assert held["ownedTemplates"][0].keys() == {"id", "name"}
    empty = await export(stage, person)
    assert [name for name, rows in empty.items() if rows and name != "operator"] == []


async def test_pii_4_what_is_hidden_stays_hidden_in_an_export(stage: Stage) -> None:
    """PII-4. A field that its task names as hidden is not shown to who made the task either."""
    person = await stage.newcomer()
    await stage.add(
        new_task(
            stage,
            title="T",
            description=SECRET,
            creator_operator_id=person,
            redacted_fields=["description", "workPlan"],
        )
    )
    (told,) = (await export(stage, person))["tasks"]
    assert (told["title"], told["description"]) == ("T", "[REDACTED]")


async def test_gdpr_1_the_organisations_rows_are_told_as_places(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDPR-1. Where a person is named as maker, approver or sender, without the rows, whose secrets are not theirs."""
    person = await stage.newcomer()
    hook = Webhook(
        id=new_id(), name="H", url="https://x.example", secret=SECRET, events=["*"], created_by_operator_id=person
    )
    modes = [
        OperatorControl(id=new_id(), mode=OperatorMode.NORMAL, updated_by_operator_id=person, updated_at=NOW)
        for _ in range(2)
    ]
    await stage.add(hook, *modes)
    held = await export(stage, person)
    controls = [{"type": "OperatorControl", "id": str(one.id), "as": "updatedByOperatorId"} for one in modes[::-1]]
    assert held["references"] == [*controls, {"type": "Webhook", "id": str(hook.id), "as": "createdByOperatorId"}]
    assert SECRET not in str(held)
    (note,) = await stage.audits("GDPR_EXPORT")
    assert note.metadata_ is not None
    assert note.metadata_["rows"]["references"] == 3
    monkeypatch.setattr(privacy, "MOST_ROWS", 1)
    held = await export(stage, person)
    assert (len(held["references"]), held["incomplete"]) == (2, ["references"])


def test_gdpr_1_no_column_that_names_an_operator_is_forgotten() -> None:
    """GDPR-1. Each is told of as the person's own or as a place; one that is added to the models too."""
    places = {(model.__tablename__, column.key) for model, column in naming()}
    own = {
        ("agent_template_owners", "operator_id"),
        ("approval_records", "decided_by_operator_id"),
        ("approval_records", "requester_id"),
        ("messages", "author_operator_id"),
        ("notification_preferences", "operator_id"),
        ("notifications", "operator_id"),
        ("reviews", "response_by_operator_id"),
        ("reviews", "reviewer_operator_id"),
        ("role_assignments", "operator_id"),
        ("saved_views", "owner_operator_id"),
        ("tasks", "creator_operator_id"),
        ("telegraph_messages", "sender_operator_id"),
        ("watch_subscriptions", "operator_id"),
    }
    naming_one = {
        (table.name, column.name)
        for table in Model.metadata.tables.values()
        for column in table.columns
        if column.info.get("references") == "operators"
    }
    assert places.isdisjoint(own)
    assert places | own == naming_one
    assert ("webhooks", "created_by_operator_id") in places
