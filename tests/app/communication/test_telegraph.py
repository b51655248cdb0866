"""Conversations, what is said in them, and how far it got (TEL-1 to TEL-4, RBAC-11)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from app.auth.actor import Actor
from app.auth.scope import Assignment, Grants
from app.commands import Done, Refusal, Refused
from app.communication.machines import TELEGRAPH_MESSAGE
from app.graph.ids import global_id
from app.idempotency import Key
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ActorType,
    InstanceState,
    OperatorMode,
    OpEventType,
    TelegraphChannel,
    TelegraphMessageStatus,
)
from db.ids import new_id
from tests.app.governance.scene import Scene, gid, make_scene
from tests.asking import ask, data_of
from tests.conftest import TenantUnderTest

S = TelegraphMessageStatus
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


async def open_thread(scene: Scene, channel: TelegraphChannel = TelegraphChannel.INTERNAL, **given: Any) -> Any:
    """A conversation of the scene's project."""
    values = {"title": "Release", "channel": channel, "project_id": scene.tenant.project.id, **given}
    return await done(scene, "create_telegraph_thread", **values)


async def thread_now(scene: Scene, thread: Any) -> Any:
    """The conversation as it is now."""
    (found,) = await scene.rows(models.TelegraphThread, id=thread.id)
    return found


# --- TEL-1 ------------------------------------------------------------------------------------------------------------

_AGENT, _PERSON, _SYSTEM = ActorType.AGENT, ActorType.HUMAN, ActorType.SYSTEM
STEPS = {
    (S.DRAFT, S.SENT): {_PERSON, _SYSTEM},
    (S.SENT, S.DELIVERED): {_PERSON, _SYSTEM},
    (S.SENT, S.FAILED): {_PERSON, _SYSTEM},
    (S.SENT, S.READ): {_AGENT, _PERSON, _SYSTEM},
    (S.DELIVERED, S.READ): {_AGENT, _PERSON, _SYSTEM},
    (S.FAILED, S.SENT): {_PERSON, _SYSTEM},
}
COMMANDS: dict[S, tuple[str, dict[str, Any]]] = {
    S.SENT: ("resend_telegraph_message", {}),
    S.DELIVERED: ("mark_telegraph_message_delivered", {"external_ref": "tg-1"}),
    S.READ: ("mark_telegraph_message_read", {}),
    S.FAILED: ("mark_telegraph_message_failed", {"reason": "no such chat"}),
}


@pytest.mark.parametrize("to", list(S))
@pytest.mark.parametrize("state", list(S))
def test_tel_1_the_table(state: S, to: S) -> None:
    assert set(TELEGRAPH_MESSAGE[state].get(to, ())) == STEPS.get((state, to), set())


@pytest.mark.parametrize("to", list(COMMANDS))
@pytest.mark.parametrize("state", list(S))
async def test_tel_1_every_step_that_there_is_and_no_other(scene: Scene, state: S, to: S) -> None:
    thread = await open_thread(scene)
    made = await done(scene, "send_telegraph_message", scene.agent, thread_id=thread.id, content="hello")
    assert made.status is S.SENT
    await scene.set(made, status=state)
    name, given = COMMANDS[to]
    outcome = await do(scene, name, message_id=made.id, **given)
    (row,) = await scene.rows(models.TelegraphMessage)
    if (state, to) in STEPS:
        assert isinstance(outcome, Done)
        assert row.status is to
    else:
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.field, row.status) == (
            Refusal.INVALID_STATE_TRANSITION,
            "message_id",
            state,
        )
        assert set(outcome.allowed or ()) == {b.value for a, b in STEPS if a is state}


async def test_tel_1_what_the_channel_says_is_kept_without_its_secrets(scene: Scene) -> None:
    thread = await open_thread(scene)
    made = await done(scene, "send_telegraph_message", thread_id=thread.id, content="hello")
    blank = await refused(scene, "mark_telegraph_message_failed", message_id=made.id, reason=" ")
    assert blank.field == "reason"
    failed = await done(scene, "mark_telegraph_message_failed", message_id=made.id, reason=f"401 for {SECRET}")
    assert failed.metadata_ == {"failureReason": "401 for [REDACTED]"}
    again = await done(scene, "resend_telegraph_message", message_id=made.id, expected_status=S.FAILED)
    assert again.status is S.SENT
    there = await done(scene, "mark_telegraph_message_delivered", message_id=made.id, external_ref="tg-1")
    assert (there.status, there.external_ref) == (S.DELIVERED, "tg-1")
    stale = await refused(scene, "mark_telegraph_message_read", scene.agent, message_id=made.id, expected_status=S.SENT)
    assert (stale.code, stale.field) == (Refusal.CONFLICT, "expected_status")


async def test_tel_1_a_draft_counts_once_it_is_sent(scene: Scene) -> None:
    thread = await open_thread(scene, TelegraphChannel.TELEGRAM)
    draft = models.TelegraphMessage(
        id=new_id(),
        project_id=thread.project_id,
        thread_id=thread.id,
        sender_type=ActorType.HUMAN,
        sender_operator_id=scene.operator.id,
        content="the answer [PARTIAL]",
        channel=thread.channel,
        status=S.DRAFT,
    )
    await scene.tenant.add(draft)
    unfinished = await refused(scene, "resend_telegraph_message", message_id=draft.id)
    assert (unfinished.code, unfinished.field) == (Refusal.VALIDATION_ERROR, "message_id")
    await scene.set(draft, content="the answer")
    await done(scene, "resend_telegraph_message", message_id=draft.id)
    assert (await thread_now(scene, thread)).message_count == 1
    await scene.set(draft, status=S.FAILED)
    await done(scene, "resend_telegraph_message", message_id=draft.id)
    assert (await thread_now(scene, thread)).message_count == 1  # it had been counted


async def test_tel_1_two_readers_at_once(scene: Scene) -> None:
    thread = await open_thread(scene, participant_ids=[("AgentInstance", scene.instance.id)])
    made = await done(scene, "send_telegraph_message", thread_id=thread.id, content="hello")
    outcomes = await asyncio.gather(
        *(do(scene, "mark_telegraph_message_read", scene.agent, message_id=made.id) for _ in range(4))
    )
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    events = await scene.rows(models.OpEvent, type=OpEventType.DECISION_MADE)
    assert [one.payload["stage"] for one in events] == ["TELEGRAPH_MESSAGE_READ"]


async def test_tel_1_others_read_and_those_alone_who_take_part(scene: Scene) -> None:
    thread = await open_thread(scene)
    theirs = await done(scene, "send_telegraph_message", thread_id=thread.id, content="hello")
    own = await refused(scene, "mark_telegraph_message_read", message_id=theirs.id)
    outside = await refused(scene, "mark_telegraph_message_read", scene.agent, message_id=theirs.id)
    assert (own.code, outside.code) == (Refusal.DEPENDENCY_NOT_MET, Refusal.DEPENDENCY_NOT_MET)
    mine = await done(scene, "send_telegraph_message", scene.agent, thread_id=thread.id, content="hi")
    own = await refused(scene, "mark_telegraph_message_read", scene.agent, message_id=mine.id)
    assert own.code is Refusal.DEPENDENCY_NOT_MET
    await done(scene, "mark_telegraph_message_read", scene.agent, message_id=theirs.id)
    await done(scene, "mark_telegraph_message_read", message_id=mine.id)


# --- TEL-2, TEL-3 -----------------------------------------------------------------------------------------------------


async def test_tel_2_no_secret_goes_out_nor_is_kept(scene: Scene) -> None:
    outside, inside = await open_thread(scene, TelegraphChannel.TELEGRAM), await open_thread(scene)
    for text in ("  ", "wait...", f"take {SECRET}", "so far [STREAMING]"):
        found = await refused(scene, "send_telegraph_message", thread_id=outside.id, content=text)
        assert (found.code, found.field) == (Refusal.VALIDATION_ERROR, "content")
    assert await scene.rows(models.TelegraphMessage) == []
    assert (await thread_now(scene, outside)).message_count == 0
    made = await done(scene, "send_telegraph_message", thread_id=inside.id, content=f" take\x07 {SECRET}, the token\n")
    assert made.content == "take [REDACTED], the token"


async def test_tel_3_sending_counts_and_the_sender_takes_part(scene: Scene) -> None:
    thread = await open_thread(
        scene,
        participant_ids=[("Operator", scene.operator.id), ("Operator", scene.operator.id)],
        participant_names=["Grace", " ", "Grace"],
        linked_task_id=scene.task.id,
    )
    assert thread.participants == [str(scene.operator.id), "Grace"]
    assert (thread.message_count, thread.last_message_at) == (0, None)
    await asyncio.gather(
        *(
            done(scene, "send_telegraph_message", actor, thread_id=thread.id, content="hello")
            for actor in (scene.agent, scene.person) * 3
        )
    )
    now = await thread_now(scene, thread)
    assert (now.message_count, now.participants) == (
        6,
        [str(scene.operator.id), "Grace", str(scene.instance.id)],
    )
    rows = await scene.rows(models.TelegraphMessage)
    assert now.last_message_at >= max(one.created_at for one in rows)
    senders = {(one.sender_type, one.sender_instance_id, one.sender_operator_id) for one in rows}
    assert senders == {(_AGENT, scene.instance.id, None), (_PERSON, None, scene.operator.id)}
    events = await scene.rows(models.OpEvent)
    assert {one.type for one in events} == {OpEventType.MESSAGE_SENT}
    assert {one.payload["telegraphMessageId"] for one in events} == {str(one.id) for one in rows}
    assert {one.task_id for one in events} == {scene.task.id}
    assert "hello" not in str([one.payload for one in events])


async def test_tel_3_the_same_key_sends_once(scene: Scene) -> None:
    thread = await open_thread(scene)
    given = {"thread_id": thread.id, "content": "once"}
    key = Key.of("telegraphMessageSend", "k", {"content": "once"})
    outcomes = await asyncio.gather(
        *(run(scene.tenant.database, scene.person, "send_telegraph_message", given, key) for _ in range(4))
    )
    assert all(isinstance(one, Done) for one in outcomes)
    assert len(await scene.rows(models.TelegraphMessage)) == 1
    assert (await thread_now(scene, thread)).message_count == 1


async def test_tel_3_an_answer_stays_in_its_conversation(scene: Scene) -> None:
    here, there = await open_thread(scene), await open_thread(scene)
    asked = await done(scene, "send_telegraph_message", thread_id=here.id, content="who?")
    found = await refused(scene, "send_telegraph_message", thread_id=there.id, content="me", reply_to_id=asked.id)
    assert (found.code, found.field) == (Refusal.NOT_FOUND, "reply_to_id")
    await done(scene, "send_telegraph_message", thread_id=here.id, content="me", reply_to_id=asked.id)


async def test_tel_3_unread_messages_of_many_conversations_take_one_statement(scene: Scene) -> None:
    first, second = await open_thread(scene), await open_thread(scene)
    await done(scene, "send_telegraph_message", thread_id=first.id, content="mine")
    for text, status in (("a", S.SENT), ("b", S.DELIVERED), ("c", S.READ), ("d", S.FAILED)):
        made = await done(scene, "send_telegraph_message", scene.agent, thread_id=first.id, content=text)
        await scene.set(made, status=status)
    query = "{ telegraphThreads { edges { node { id unreadCount } } } }"
    answer = await ask(scene.tenant.database, scene.person, query)
    assert answer.errors == []
    assert len(answer.statements) == 2
    found = {edge["node"]["id"]: edge["node"]["unreadCount"] for edge in answer.data["telegraphThreads"]["edges"]}
    assert found == {gid(first): 2, gid(second): 0}


# --- TEL-4 ------------------------------------------------------------------------------------------------------------


async def test_tel_4_what_a_conversation_is_about(scene: Scene) -> None:
    request = models.ApprovalRecord(
        id=new_id(),
        project_id=scene.tenant.project.id,
        request_type="OTHER",
        target_entity="Task",
        target_id=scene.task.id,
        action_summary="do it",
        justification="because",
    )
    await scene.tenant.add(request)
    thread = await open_thread(scene, linked_incident_id="inc-1")
    await done(scene, "link_telegraph_thread", thread_id=thread.id, linked_approval_id=request.id)
    await done(
        scene, "link_telegraph_thread", thread_id=thread.id, linked_task_id=scene.task.id, linked_incident_id=None
    )
    now = await thread_now(scene, thread)
    assert (now.linked_approval_id, now.linked_task_id, now.linked_incident_id) == (request.id, scene.task.id, None)


async def test_tel_4_nobody_links_what_they_cannot_read(scene: Scene) -> None:
    """Decision 29: a relation from a row that may be read may be read, so linking would show it."""
    far = models.Project(id=new_id(), name="Far", slug="far")
    elsewhere = models.Task(id=new_id(), project_id=far.id, title="Far", type="DOCS")
    general = models.ApprovalRecord(
        id=new_id(),
        request_type="OTHER",
        target_entity="Project",
        target_id=far.id,
        action_summary="do it",
        justification="because",
    )
    await scene.tenant.add(far, elsewhere, general)
    thread = await open_thread(scene)
    found = await refused(scene, "link_telegraph_thread", thread_id=thread.id, linked_task_id=elsewhere.id)
    assert (found.code, found.field) == (Refusal.NOT_FOUND, "linked_task_id")
    here = Assignment(frozenset({"write:telegraph", "read:approvals"}), project_id=scene.tenant.project.id)
    scoped = scene.tenant.actor(grants=Grants.union([here], datetime.now(UTC)), operator_id=scene.operator.id)
    found = await refused(scene, "link_telegraph_thread", scoped, thread_id=thread.id, linked_approval_id=general.id)
    assert (found.code, found.field) == (Refusal.NOT_FOUND, "linked_approval_id")
    await done(scene, "link_telegraph_thread", thread_id=thread.id, linked_approval_id=general.id)


@pytest.mark.parametrize("kind", ["AgentInstance", "Operator", "Task"])
async def test_tel_3_only_who_is_here_takes_part(scene: Scene, other_tenant: TenantUnderTest, kind: str) -> None:
    theirs = await make_scene(other_tenant)
    row_id = {"AgentInstance": theirs.instance.id, "Operator": theirs.operator.id, "Task": scene.task.id}[kind]
    found = await refused(
        scene,
        "create_telegraph_thread",
        title="x",
        channel=TelegraphChannel.INTERNAL,
        participant_ids=[("Operator", scene.operator.id), (kind, row_id)],
    )
    assert (found.code, found.field) == (Refusal.NOT_FOUND, "participant_ids[1]")
    assert await scene.rows(models.TelegraphThread) == []


# --- Agents -----------------------------------------------------------------------------------------------------------


async def test_rbac_11_an_agent_writes_in_its_own_project_alone(scene: Scene, other_tenant: TenantUnderTest) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    await scene.tenant.add(far)
    general = await done(scene, "create_telegraph_thread", title="all", channel=TelegraphChannel.INTERNAL)
    distant = await open_thread(scene, project_id=far.id)
    theirs = await make_scene(other_tenant)
    foreign = await open_thread(theirs)
    for thread in (general, distant, foreign):
        found = await refused(scene, "send_telegraph_message", scene.agent, thread_id=thread.id, content="hello")
        assert (found.code, found.field) == (Refusal.NOT_FOUND, "thread_id")
    said = await done(theirs, "send_telegraph_message", thread_id=foreign.id, content="hello")
    for name, given in COMMANDS.values():
        found = await refused(scene, name, message_id=said.id, **given)
        assert (found.code, found.field) == (Refusal.NOT_FOUND, "message_id")


@pytest.mark.parametrize("name", ["create_telegraph_thread", "link_telegraph_thread", "resend_telegraph_message"])
async def test_rbac_11_an_agent_sends_and_reads_and_does_nothing_else(scene: Scene, name: str) -> None:
    thread = await open_thread(scene)
    made = await done(scene, "send_telegraph_message", scene.agent, thread_id=thread.id, content="hello")
    given: dict[str, dict[str, Any]] = {
        "create_telegraph_thread": {"title": "x", "channel": TelegraphChannel.INTERNAL},
        "link_telegraph_thread": {"thread_id": thread.id},
        "resend_telegraph_message": {"message_id": made.id},
    }
    with pytest.raises(PermissionDenied):
        await do(scene, name, scene.agent, **given[name])


async def test_rbac_11_an_agent_sends_over_the_graph_without_reading(scene: Scene) -> None:
    """Decision 31: the telegraph's types are not an agent's to read; it gets the id of what it sent."""
    thread = await open_thread(scene)
    send = (
        "mutation($input: TelegraphMessageSendInput!)"
        " { telegraphMessageSend(input: $input) { %s userErrors { code } } }"
    )
    given = {"threadId": gid(thread), "content": "hello"}
    data = await data_of(scene.tenant, scene.agent, send % "messageId", input=given)
    (row,) = await scene.rows(models.TelegraphMessage)
    assert data["telegraphMessageSend"] == {"messageId": global_id("tgm", row.id), "userErrors": []}
    answer = await ask(scene.tenant.database, scene.agent, send % "telegraphMessage { content }", input=given)
    assert answer.errors[0]["extensions"]["code"] == "FORBIDDEN"
    assert len(await scene.rows(models.TelegraphMessage)) == 1


@pytest.mark.parametrize("state", [InstanceState.PAUSED, InstanceState.PROVISIONING])
async def test_ins_4_an_agent_that_is_stopped_is_silent(scene: Scene, state: InstanceState) -> None:
    thread = await open_thread(scene)
    scene.instance.state = state
    found = await refused(scene, "send_telegraph_message", scene.agent, thread_id=thread.id, content="hello")
    assert found.code is Refusal.DEPENDENCY_NOT_MET


async def test_emg_2_agents_are_silent_in_an_emergency_and_people_are_not(scene: Scene) -> None:
    thread = await open_thread(scene)
    await scene.tenant.add(
        models.OperatorControl(mode=OperatorMode.PAUSED, reason="test", updated_at=datetime.now(UTC))
    )
    found = await refused(scene, "send_telegraph_message", scene.agent, thread_id=thread.id, content="hello")
    assert found.code is Refusal.DEPENDENCY_NOT_MET
    await done(scene, "send_telegraph_message", thread_id=thread.id, content="hello")
