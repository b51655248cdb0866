"""What is said in threads, who hears of it, and what stays hidden (MSG-1 to MSG-3, SUB-1, PII-4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.execution.rules.threads import LONGEST_MESSAGE, mentions_in, plan_text, progress_text
from app.idempotency import Key
from app.notification.fanout import fan_out
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import InstanceState, MessageType, NotificationType, OperatorMode, OpEventType
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.asking import data_of
from tests.conftest import TenantUnderTest

SECRET = "ghp_" + "a" * 36


async def do(
    scene: Scene, name: str, actor: Actor | None = None, key: str | None = None, **given: Any
) -> Done | Refused:
    """Run a command as the agent."""
    used = None if key is None else Key.of(name, key, {one: str(value) for one, value in given.items()})
    return await run(scene.tenant.database, actor or scene.agent, name, given, used)


async def post(scene: Scene, content: str | None = "hello", actor: Actor | None = None, **given: Any) -> Any:
    """Post to the scene's task; the row."""
    outcome = await do(scene, "post_message", actor, task_id=scene.task.id, content=content, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def told(scene: Scene) -> list[tuple[Any, NotificationType, str | None]]:
    """Who was told what, once everything waiting is fanned out."""
    await fan_out(scene.tenant.database, scene.tenant.id)
    rows = await scene.rows(models.Notification)
    return [(one.instance_id or one.operator_id, one.type, one.body) for one in rows]


async def test_msg_1_a_message_has_its_author_by_token_and_its_event(scene: Scene) -> None:
    mine = await post(scene, "  hel\x07lo\n ")
    assert (mine.content, mine.author_instance_id, mine.author_operator_id) == ("hello", scene.instance.id, None)
    theirs = await post(scene, actor=scene.person)
    assert (theirs.author_instance_id, theirs.author_operator_id) == (None, scene.operator.id)
    events = await scene.rows(models.OpEvent)
    assert [one.type for one in events] == [OpEventType.MESSAGE_SENT] * 2
    assert events[0].payload == {"messageId": str(mine.id), "messageType": "COMMENT"}
    assert (events[0].instance_id, events[1].instance_id) == (scene.instance.id, None)


@pytest.mark.parametrize("content", [None, "", " \n\t", "\x00\x01", "x" * (LONGEST_MESSAGE + 1)])
async def test_msg_1_what_is_no_message(scene: Scene, content: str | None) -> None:
    outcome = await do(scene, "post_message", task_id=scene.task.id, content=content)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, "content")
    assert await scene.rows(models.Message) == []


async def test_msg_1_the_same_key_posts_once(scene: Scene) -> None:
    outcomes = await asyncio.gather(
        *(do(scene, "post_message", None, "k", task_id=scene.task.id, content="once") for _ in range(4))
    )
    assert all(isinstance(one, Done) for one in outcomes)
    assert len(await scene.rows(models.Message)) == 1
    await scene.tenant.forget_keys()
    late = await do(scene, "post_message", None, "k", task_id=scene.task.id, content="once")
    assert isinstance(late, Done)
    assert late.is_replay
    assert isinstance(await do(scene, "post_message", scene.person, "k", task_id=scene.task.id, content="other"), Done)
    assert len(await scene.rows(models.Message)) == 2  # a key is its author's own


@pytest.mark.parametrize(
    ("state", "may"),
    [
        (InstanceState.ACTIVE, True),
        (InstanceState.READONLY, True),
        (InstanceState.DRAINING, True),
        (InstanceState.PROVISIONING, False),
        (InstanceState.PAUSED, False),
    ],
)
async def test_ins_4_who_may_speak(scene: Scene, state: InstanceState, may: bool) -> None:
    scene.instance.state = state
    await scene.set(scene.instance, state=state)
    outcome = await do(scene, "post_message", task_id=scene.task.id, content="hello")
    assert isinstance(outcome, Done) is may
    assert isinstance(await do(scene, "post_message", scene.person, task_id=scene.task.id, content="hello"), Done)


@pytest.mark.parametrize(
    ("mode", "may"), [(OperatorMode.DRAINING, True), (OperatorMode.PAUSED, False), (OperatorMode.QUARANTINED, False)]
)
async def test_emg_2_agents_are_silent_in_an_emergency(scene: Scene, mode: OperatorMode, may: bool) -> None:
    await scene.tenant.add(models.OperatorControl(mode=mode, reason="test", updated_at=datetime.now(UTC)))
    outcome = await do(scene, "post_message", task_id=scene.task.id, content="hello")
    assert isinstance(outcome, Done) is may


# --- who is called ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "named", "expected"),
    [
        ("@Quill look", [], ["Quill"]),
        ("ask @Quill, @Ada and @Quill", [], ["Quill", "Ada"]),
        ("mail ada@example.com", [], []),
        ("@@Quill", [], []),
        ("nobody", ["Ada Lovelace", "@Quill"], ["Ada Lovelace", "Quill"]),
        ("@Ada", ["Ada"], ["Ada"]),
        ("(@Ada) [@Bo]", [" ", ""], ["Ada", "Bo"]),
    ],
)
def test_msg_2_who_is_called(said: str, named: list[str], expected: list[str]) -> None:
    assert mentions_in(said, named) == expected


async def test_msg_2_who_is_called_is_told_once_and_the_author_never(scene: Scene) -> None:
    await scene.set(scene.instance, name="Scout")
    quill = await scene.peer(name="Quill")
    await scene.peer(name="quill")  # another name
    await scene.peer(name="Gone", state=InstanceState.RETIRED)
    far = models.Project(id=new_id(), name="Far", slug="far")
    await scene.tenant.add(far)
    await scene.peer(name="Away", project_id=far.id)
    long = "@Quill @Ada @Scout @Gone @Away " + "x" * 300
    made = await post(scene, long, mentions=["Quill"])
    assert made.mentions == ["Quill", "Ada", "Scout", "Gone", "Away"]
    calls = [one for one in await told(scene) if one[1] is NotificationType.MENTION]
    assert {one[0] for one in calls} == {quill.id, scene.operator.id}
    assert len(calls) == 2
    assert all(one[2] is not None and len(one[2]) == 200 for one in calls)
    rows = await scene.rows(models.Notification, type=NotificationType.MENTION)
    assert {(one.message_id, one.task_id, one.from_instance_id) for one in rows} == {
        (made.id, scene.task.id, scene.instance.id)
    }


async def test_sub_1_those_who_follow_hear_of_news_and_those_who_are_called_only_of_that(scene: Scene) -> None:
    quill, reader = await scene.peer(name="Quill"), await scene.peer(name="Reader")
    await do(scene, "subscribe_thread", scene.person, task_id=scene.task.id, instance_id=reader.id)
    await post(scene, "@Quill hello")
    found = await told(scene)
    assert [one[1] for one in found if one[0] == quill.id] == [NotificationType.MENTION]
    assert [one[1] for one in found if one[0] == reader.id] == [NotificationType.SYSTEM]
    assert [one for one in found if one[0] == scene.instance.id] == []  # the author
    followers = {one.instance_id for one in await scene.rows(models.ThreadSubscription)}
    assert followers == {quill.id, reader.id, scene.instance.id}  # called, by hand, assigned


async def test_sub_1_following_twice_is_following_once(scene: Scene) -> None:
    quill = await scene.peer(name="Quill")
    given: dict[str, Any] = {"task_id": scene.task.id, "instance_id": quill.id}
    outcomes = await asyncio.gather(*(do(scene, "subscribe_thread", scene.person, **given) for _ in range(4)))
    assert all(isinstance(one, Done) for one in outcomes)
    assert len(await scene.rows(models.ThreadSubscription)) == 1
    assert len(await scene.rows(models.AuditLog, action="THREAD_FOLLOWED")) == 1
    for _ in range(2):
        assert isinstance(await do(scene, "unsubscribe_thread", scene.person, **given), Done)
    assert await scene.rows(models.ThreadSubscription) == []
    assert len(await scene.rows(models.AuditLog, action="THREAD_LEFT")) == 1
    other = await do(scene, "subscribe_thread", **given)
    assert isinstance(other, Refused)
    assert (other.code, other.field) == (Refusal.NOT_FOUND, "instance_id")  # an agent follows for itself alone


# --- plans, progress, artifacts, answers ------------------------------------------------------------------------------


async def test_msg_3_a_plan_and_progress_have_their_form(scene: Scene) -> None:
    plan = {"bullets": ["read", "write", "check"], "estimatedCost": 1.5, "estimatedDuration": "2 hours"}
    await scene.set(scene.task, work_plan=plan)
    expected = "1. read\n2. write\n3. check\nEstimated cost: $1.5\nEstimated duration: 2 hours"
    assert plan_text(plan) == expected
    assert (await post(scene, None, type=MessageType.WORK_PLAN)).content == expected
    assert (await post(scene, "my own", type=MessageType.WORK_PLAN)).content == "my own"
    assert (await post(scene, None, type=MessageType.PROGRESS, progress_percent=40)).content == "Progress: 40%"
    assert progress_text(40, "half") == "Progress: 40%\nhalf"


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        ({"type": MessageType.SYSTEM}, "type"),
        ({"type": MessageType.PROGRESS}, "progress_percent"),
        ({"progress_percent": 4}, "progress_percent"),
        ({"type": MessageType.PROGRESS, "progress_percent": 101}, "progress_percent"),
        ({"type": MessageType.ARTIFACT}, "artifacts"),
        ({"artifacts": [{"name": "a", "type": "text/plain"}]}, "artifacts[0]"),
    ],
)
async def test_msg_3_what_does_not_go_together(scene: Scene, given: dict[str, Any], blamed: str) -> None:
    outcome = await do(scene, "post_message", task_id=scene.task.id, content="x", **given)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, blamed)


async def test_an_answer_stays_in_its_thread(scene: Scene) -> None:
    other = models.Task(id=new_id(), project_id=scene.tenant.project.id, title="Other", type="DOCS")
    await scene.tenant.add(other)
    first = await post(scene)
    assert (await post(scene, "yes", reply_to_id=first.id)).reply_to_id == first.id
    outcome = await do(scene, "post_message", task_id=other.id, content="yes", reply_to_id=first.id)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "reply_to_id")


# --- what stays hidden ------------------------------------------------------------------------------------------------


async def test_pii_4_a_secret_leaks_nowhere(scene: Scene) -> None:
    quill = await scene.peer(name="Quill")
    made = await post(scene, f"@Quill the token is {SECRET}")
    await told(scene)
    for model in (models.OpEvent, models.Notification, models.NotificationEvent, models.AuditLog, models.ChangeRecord):
        for row in await scene.rows(model):
            assert SECRET not in str(vars(row)), model.__name__
    query = "{ messages { edges { node { content contentRedacted redactedFields } } } }"
    seen = {}
    for name, actor in {
        "author": scene.agent,
        "worker": scene.tenant.actor("read:messages", "write:tasks"),
        "reader": scene.tenant.actor("read:messages"),
        "peer": scene.agent_of(quill),
    }.items():
        (edge,) = (await data_of(scene.tenant, actor, query))["messages"]["edges"]
        seen[name] = SECRET in edge["node"]["content"]
        assert SECRET not in edge["node"]["contentRedacted"]
    assert seen == {"author": True, "worker": True, "reader": False, "peer": False}
    assert made.redacted_fields == ["content"]


async def test_pii_4_a_message_is_redacted_by_its_author_or_by_who_works_on_tasks(scene: Scene) -> None:
    quill = await scene.peer(name="Quill")
    made = await post(scene, "call Grace at home")
    given: dict[str, Any] = {"message_id": made.id, "content_redacted": "call somebody"}
    with pytest.raises(PermissionDenied):
        await do(scene, "redact_message", scene.agent_of(quill), **given)
    with pytest.raises(PermissionDenied):
        await do(scene, "redact_message", scene.tenant.actor("write:messages"), **given)
    outcome = await do(scene, "redact_message", message_id=made.id)
    assert isinstance(outcome, Refused)  # nothing in it looks like a secret
    assert isinstance(await do(scene, "redact_message", **given), Done)
    (row,) = await scene.rows(models.Message)
    assert (row.content, row.content_redacted, row.redacted_fields) == (
        "call Grace at home",
        "call somebody",
        ["content"],
    )


async def test_rbac_11_no_word_in_another_project_or_tenant(scene: Scene, other_tenant: TenantUnderTest) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    other = models.Task(id=new_id(), project_id=far.id, title="Far", type="DOCS")
    await scene.tenant.add(far, other)
    made = await post(scene)
    theirs = await make_scene(other_tenant)
    for asking, actor, task_id in (
        (scene, scene.agent, other.id),
        (theirs, theirs.agent, scene.task.id),
        (theirs, theirs.person, scene.task.id),
    ):
        outcome = await do(asking, "post_message", actor, task_id=task_id, content="hello")
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field) == (Refusal.NOT_FOUND, "task_id")
    outcome = await do(theirs, "redact_message", theirs.person, message_id=made.id, content_redacted="x")
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.NOT_FOUND
