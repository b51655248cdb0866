"""Meetings: planned, held, called off, and what came of them (MTG-1 to MTG-4); speech (VOI-1)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, select

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.communication.machines import MEETING
from app.communication.rules.meetings import MOST_ITEMS
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ActorType,
    InstanceState,
    MeetingProvider,
    MeetingStatus,
    OperatorMode,
    OrgPosition,
    TaskCreator,
    TaskStatus,
    TaskType,
    VoiceProvider,
)
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest

M = MeetingStatus
NINE = datetime(2026, 12, 1, 9, tzinfo=UTC)
SECRET = "ghp_" + "a" * 36


async def do(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Done | Refused:
    """Run a command as a person."""
    return await run(scene.tenant.database, actor or scene.person, name, given)


async def done(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Any:
    """A command that must succeed; the row."""
    outcome = await do(scene, name, actor, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def refused(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Refused:
    """A command that must be refused."""
    outcome = await do(scene, name, actor, **given)
    assert isinstance(outcome, Refused), outcome
    return outcome


async def plan(scene: Scene, **given: Any) -> Any:
    """A meeting of the scene's project."""
    values = {"title": "Plan", "scheduled_at": NINE, "duration": 30, "project_id": scene.tenant.project.id, **given}
    return await done(scene, "schedule_meeting", **values)


async def now(scene: Scene) -> Any:
    """The only meeting as it is now."""
    (found,) = await scene.rows(models.Meeting)
    return found


async def actions(scene: Scene) -> list[str]:
    """What the audit log has, in order."""
    return [one.action for one in await scene.rows(models.AuditLog)]


# --- MTG-1 ------------------------------------------------------------------------------------------------------------

STEPS = {
    (M.SCHEDULED, M.IN_PROGRESS),
    (M.SCHEDULED, M.COMPLETED),
    (M.SCHEDULED, M.CANCELLED),
    (M.IN_PROGRESS, M.COMPLETED),
    (M.IN_PROGRESS, M.CANCELLED),
}
COMMANDS = {M.IN_PROGRESS: "start_meeting", M.COMPLETED: "complete_meeting", M.CANCELLED: "cancel_meeting"}


@pytest.mark.parametrize("to", list(M))
@pytest.mark.parametrize("state", list(M))
def test_mtg_1_the_table(state: M, to: M) -> None:
    who = {ActorType.HUMAN, ActorType.SYSTEM}
    assert set(MEETING[state].get(to, ())) == (who if (state, to) in STEPS else set())


@pytest.mark.parametrize("provider", list(MeetingProvider))
@pytest.mark.parametrize("to", list(COMMANDS))
@pytest.mark.parametrize("state", list(M))
async def test_mtg_1_every_step_that_there_is_and_no_other(
    scene: Scene, state: M, to: M, provider: MeetingProvider
) -> None:
    """Only a MANUAL meeting is completed without having been started."""
    made = await plan(scene, provider=provider)
    await scene.set(made, status=state)
    outcome = await do(scene, COMMANDS[to], meeting_id=made.id)
    is_unstarted = (state, to, provider) == (M.SCHEDULED, M.COMPLETED, MeetingProvider.ZOOM)
    if (state, to) in STEPS and not is_unstarted:
        assert isinstance(outcome, Done)
        assert (await now(scene)).status is to
    else:
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field) == (Refusal.INVALID_STATE_TRANSITION, "meeting_id")
        assert (await now(scene)).status is state


async def test_mtg_1_two_at_once_and_a_stale_status(scene: Scene) -> None:
    made = await plan(scene)
    outcomes = await asyncio.gather(*(do(scene, "start_meeting", meeting_id=made.id) for _ in range(4)))
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    stale = await refused(scene, "cancel_meeting", meeting_id=made.id, expected_status=M.SCHEDULED)
    assert (stale.code, stale.field) == (Refusal.CONFLICT, "expected_status")
    await done(scene, "cancel_meeting", meeting_id=made.id, reason=f"lost {SECRET}")
    assert await actions(scene) == ["MEETING_SCHEDULED", "MEETING_STARTED", "MEETING_CANCELLED"]
    assert SECRET not in str([one.description for one in await scene.rows(models.AuditLog)])


# --- MTG-2 ------------------------------------------------------------------------------------------------------------


async def test_mtg_2_a_planned_meeting(scene: Scene) -> None:
    host = await scene.peer(name="Quill")
    participants = [{"instance_id": scene.instance.id, "org_position": OrgPosition.LEAD, "role": "speaker"}]
    made = await plan(scene, host_instance_id=host.id, participants=participants * 2, topics=["Costs"])
    assert (made.status, made.provider, made.agenda) == (M.SCHEDULED, MeetingProvider.MANUAL, "1. Costs")
    assert made.participants == [
        {"agentId": str(host.id), "orgPosition": None, "role": "host"},
        {"agentId": str(scene.instance.id), "orgPosition": "LEAD", "role": "speaker"},
    ]
    entry = json.loads(made.calendar_payload)
    assert (entry["organizer"], entry["attendees"]) == ("Quill", ["Quill", str(scene.instance.id)])
    assert (entry["uid"], entry["dtend"]) == (str(made.id), "2026-12-01T09:30:00.000Z")


@pytest.mark.parametrize(
    ("given", "field"),
    [({"title": " "}, "title"), ({"duration": 0}, "duration"), ({"duration": 1441}, "duration")],
)
async def test_mtg_2_what_is_no_meeting(scene: Scene, given: dict[str, Any], field: str) -> None:
    found = await refused(scene, "schedule_meeting", **{"title": "Plan", "scheduled_at": NINE, "duration": 30, **given})
    assert (found.code, found.field) == (Refusal.VALIDATION_ERROR, field)
    assert await scene.rows(models.Meeting) == []


async def test_mtg_2_only_agents_who_are_here_take_part(scene: Scene, other_tenant: TenantUnderTest) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    await scene.tenant.add(far)
    theirs = await make_scene(other_tenant)
    distant = await scene.peer(name="Far", project_id=far.id)
    gone = await scene.peer(name="Gone", state=InstanceState.RETIRED)
    project_id = scene.tenant.project.id
    values: dict[str, Any] = {"title": "Plan", "scheduled_at": NINE, "duration": 30, "project_id": project_id}
    for agent, code in (
        (theirs.instance, Refusal.NOT_FOUND),
        (distant, Refusal.NOT_FOUND),
        (gone, Refusal.DEPENDENCY_NOT_MET),
    ):
        found = await refused(scene, "schedule_meeting", **values, host_instance_id=agent.id)
        assert (found.code, found.field) == (code, "host_instance_id")
        participants = [{"instance_id": scene.instance.id}, {"instance_id": agent.id}]
        found = await refused(scene, "schedule_meeting", **values, participants=participants)
        assert (found.code, found.field) == (code, "participants[1].instance_id")
    with pytest.raises(PermissionDenied):
        await do(scene, "schedule_meeting", scene.agent, **values)


# --- MTG-4 ------------------------------------------------------------------------------------------------------------


async def test_mtg_4_notes_become_action_items(scene: Scene) -> None:
    quill = await scene.peer(name="Quill")
    await scene.peer(name="Twin")
    await scene.peer(name="Twin")
    made = await plan(scene)
    notes = f"""We lost {SECRET}.
## Action items
- Write it down. Owner: Quill. Due: 2026-12-24
- [x] Say thanks. Owner: Ada
- Count them. Owner: Twin
"""
    given = [{"description": "Ask", "assignee_id": scene.instance.id, "due_at": NINE}, {"description": "Wait"}]
    await done(scene, "complete_meeting", meeting_id=made.id, notes=notes, action_items=given)
    row = await now(scene)
    assert SECRET not in row.notes
    assert row.action_items == [
        {
            "description": "Ask",
            "completed": False,
            "assigneeAgentId": str(scene.instance.id),
            "dueAt": "2026-12-01T09:00:00.000Z",
        },
        {"description": "Wait", "completed": False},
        {
            "description": "Write it down.",
            "completed": False,
            "assigneeAgentId": str(quill.id),
            "dueAt": "2026-12-24T00:00:00.000Z",
        },
        {"description": "Say thanks.", "completed": True, "owner": "Ada"},
        {"description": "Count them.", "completed": False, "owner": "Twin"},
    ]


async def test_mtg_4_what_cannot_be_read_changes_nothing(scene: Scene, other_tenant: TenantUnderTest) -> None:
    theirs = await make_scene(other_tenant)
    made = await plan(scene)
    item = {"description": "Ask"}
    cases: list[tuple[dict[str, Any], Refusal, str]] = [
        ({"notes": "# Action items\n- x Due: 2026-02-30"}, Refusal.VALIDATION_ERROR, "notes"),
        ({"notes": "# Action items\n" + "- x\n" * (MOST_ITEMS + 1)}, Refusal.VALIDATION_ERROR, "notes"),
        ({"action_items": [item, {"description": " "}]}, Refusal.VALIDATION_ERROR, "action_items[1].description"),
        (
            {"action_items": [item, {**item, "assignee_id": theirs.instance.id}]},
            Refusal.NOT_FOUND,
            "action_items[1].assignee_id",
        ),
    ]
    for given, code, field in cases:
        found = await refused(scene, "complete_meeting", meeting_id=made.id, **given)
        assert (found.code, found.field) == (code, field)
    row = await now(scene)
    assert (row.status, row.notes, row.action_items) == (M.SCHEDULED, None, None)


# --- MTG-3 ------------------------------------------------------------------------------------------------------------


async def held(scene: Scene, *items: dict[str, Any], **columns: Any) -> Any:
    """A meeting that has ended with these action items."""
    made = await plan(scene)
    await scene.set(made, status=M.COMPLETED, action_items=list(items), **columns)
    return made


async def test_mtg_3_open_items_become_tasks_once(scene: Scene) -> None:
    """Also where two convert at once."""
    known = {"description": "Known", "taskId": str(scene.task.id)}
    finished = {"description": "Finished", "completed": True}
    wanted = {
        "description": "Write it down",
        "assigneeAgentId": str(scene.instance.id),
        "dueAt": "2026-12-24T00:00:00.000Z",
    }
    long = {"description": "y" * 600, "assigneeAgentId": "Bob", "note": "kept"}
    meeting = await held(scene, known, wanted, finished, long)
    outcomes = await asyncio.gather(
        *(do(scene, "convert_meeting_action_items", meeting_id=meeting.id) for _ in range(3))
    )
    assert sorted(len(one.extras["tasks"]) for one in outcomes if isinstance(one, Done)) == [0, 0, 2]
    made = await scene.rows(models.Task, created_by_ref=f"meeting:{meeting.id}")
    first, second = sorted(made, key=lambda task: task.due_at is None)
    for task in (first, second):
        assert (task.type, task.status, task.priority) == (TaskType.OPS, TaskStatus.INBOX, 3)
        assert (task.created_by, task.creator_operator_id) == (TaskCreator.SYSTEM, None)
        assert task.project_id == scene.tenant.project.id
    assert (first.title, first.due_at) == ("Write it down", datetime(2026, 12, 24, tzinfo=UTC))
    assert (len(second.title), second.description) == (500, "y" * 600)
    row = await now(scene)
    assert row.action_items == [
        known,
        {**wanted, "taskId": str(first.id)},
        finished,
        {**long, "taskId": str(second.id)},
    ]
    records = await scene.rows(models.ChangeRecord)
    assert [(one.type.value, one.target_id) for one in records] == [
        ("TASK_CREATED", first.id),
        ("TASK_CREATED", second.id),
    ]
    assert records[0].after_state["assigneeIds"] == [str(scene.instance.id)]
    assert "assigneeIds" not in records[1].after_state
    await done(scene, "convert_meeting_action_items", meeting_id=meeting.id)
    assert len(await scene.rows(models.Task)) == 3


@pytest.mark.parametrize("why", ["fit", "emergency", "paused", "policy", "far"])
async def test_mtg_3_whose_the_task_is(scene: Scene, why: str) -> None:
    """TASK-3, EMG-4: whoever may not be given the work now is not given it; the task is made all the same."""
    if why == "emergency":
        await scene.tenant.add(models.OperatorControl(mode=OperatorMode.DRAINING, reason="t", updated_at=NINE))
    if why == "paused":
        await scene.set(scene.instance, state=InstanceState.PAUSED)
    if why == "policy":
        await scene.set(scene.envelopes[0], allowed_task_types=["DOCS"])
    if why == "far":
        far = models.Project(id=new_id(), name="Far", slug="far")
        await scene.tenant.add(far)
        await scene.set(scene.instance, project_id=far.id)
    meeting = await held(scene, {"description": "Ask", "assigneeAgentId": str(scene.instance.id)})
    await done(scene, "convert_meeting_action_items", meeting_id=meeting.id)
    (task,) = await scene.rows(models.Task, created_by_ref=f"meeting:{meeting.id}")
    async with scene.tenant.database.transaction(scene.person) as session:
        found = await session.scalars(
            select(models.TaskAssignee.instance_id).where(
                models.TaskAssignee.tenant_id == scene.tenant.id, models.TaskAssignee.task_id == task.id
            )
        )
        assert list(found) == ([scene.instance.id] if why == "fit" else [])
    assert task.status is TaskStatus.INBOX


async def test_mtg_3_who_may_and_where(scene: Scene) -> None:
    meeting = await held(scene, {"description": "Ask"})
    with pytest.raises(PermissionDenied):
        await do(scene, "convert_meeting_action_items", scene.tenant.actor("write:meetings"), meeting_id=meeting.id)
    await scene.set(meeting, project_id=None)
    found = await refused(scene, "convert_meeting_action_items", meeting_id=meeting.id)
    assert (found.code, found.field) == (Refusal.DEPENDENCY_NOT_MET, "meeting_id")
    assert len(await scene.rows(models.Task)) == 1


async def test_mtg_3_many_items_take_as_many_statements_as_one(scene: Scene) -> None:
    """Statements do not grow with the items, apart from the driver's own batches."""
    counts = []
    for number in (1, 40):
        meeting = await held(
            scene, *({"description": "Ask", "assigneeAgentId": str(scene.instance.id)} for _ in range(number))
        )
        seen: list[str] = []

        def note(_conn: Any, _cursor: Any, statement: str, *_: Any, seen: list[str] = seen) -> None:
            seen.append(statement)

        engine = scene.tenant.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", note)
        await done(scene, "convert_meeting_action_items", meeting_id=meeting.id)
        event.remove(engine, "before_cursor_execute", note)
        counts.append(len(seen))
    assert counts[1] <= counts[0] + 2


# --- VOI-1 ------------------------------------------------------------------------------------------------------------


async def test_voi_1_a_piece_of_speech(scene: Scene) -> None:
    meeting = await plan(scene)
    made = await done(
        scene,
        "create_voice_artifact",
        text=f"take {SECRET}",
        transcript="take it",
        project_id=scene.tenant.project.id,
        instance_id=scene.instance.id,
        linked_meeting_id=meeting.id,
        audio_url="https://files.example/a.mp3",
        duration_ms=1200,
    )
    assert (made.text, made.provider, made.duration_ms) == ("take [REDACTED]", VoiceProvider.ELEVENLABS, 1200)
    assert (made.instance_id, made.linked_meeting_id) == (scene.instance.id, meeting.id)


@pytest.mark.parametrize(
    ("given", "field"),
    [({"text": " "}, "text"), ({"audio_url": "javascript:x"}, "audio_url"), ({"duration_ms": -1}, "duration_ms")],
)
async def test_voi_1_what_is_no_speech(scene: Scene, given: dict[str, Any], field: str) -> None:
    found = await refused(scene, "create_voice_artifact", **{"text": "hello", **given})
    assert (found.code, found.field) == (Refusal.VALIDATION_ERROR, field)
    with pytest.raises(PermissionDenied):
        await do(scene, "create_voice_artifact", scene.agent, text="hello")
    assert await scene.rows(models.VoiceArtifact) == []
