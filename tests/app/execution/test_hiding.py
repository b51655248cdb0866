"""What `redactedFields` of a task or a message names is hidden from others, whichever way they ask (PII-4)."""

from __future__ import annotations

from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done
from app.graph.registry import ENTITIES
from app.running import run
from db import models
from db.base import JsonObject
from db.enums import ActorType, MessageType, ReviewType, TaskStatus, TaskType
from db.ids import new_id
from tests.app.governance.scene import Scene, gid
from tests.app.query.both_ways import BothWays
from tests.asking import ask

SECRET = "owlery"
VALUES: JsonObject = {
    "title": f"Feed the {SECRET}",
    "description": f"It is the {SECRET} at the gate.",
    "labels": [SECRET],
    "source_ref": f"acme/{SECRET}#1",
    "created_by_ref": f"meeting:{SECRET}",
    "blocked_reason": f"The {SECRET} is shut.",
    "work_plan": {"bullets": [SECRET]},
    "deliverable": {"summary": f"The {SECRET} is fed."},
    "review_checklist": {"type": SECRET},
    "thread_ref": {"chatId": SECRET},
    "recurrence": {"frequency": "DAILY", "interval": 1, "note": SECRET},
    "metadata": {"note": SECRET},
}
SHOWN = """title description labels sourceRef createdByRef blockedReason workPlan { bullets raw }
    deliverable { summary } reviewChecklist { type } threadRef { chatId } recurrence { interval raw } metadata"""
MASKED = {
    **dict.fromkeys(("title", "description", "sourceRef", "createdByRef", "blockedReason"), "[REDACTED]"),
    "labels": ["[REDACTED]"],
    **dict.fromkeys(("workPlan", "deliverable", "reviewChecklist", "threadRef", "recurrence", "metadata")),
}


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(map(str.capitalize, tail))


async def secretive(scene: Scene, *fields: str, **values: Any) -> models.Task:
    """The scene's task with a secret in every text, and these fields named; all of them if none is given."""
    names = list(fields) or [camel(one) for one in VALUES]
    columns = {("metadata_" if name == "metadata" else name): value for name, value in VALUES.items()}
    await scene.set(scene.task, **columns, redacted_fields=names, **values)
    return scene.task


def viewer(scene: Scene, *more: str) -> Actor:
    return scene.tenant.actor("read:tasks", "read:messages", "read:runs", "read:instances", *more)


async def seen(scene: Scene, actor: Actor, query: str, **variables: Any) -> Any:
    """The answer, the same by resolvers and by plan."""
    answer = await BothWays(scene.tenant.database).compare(actor, query, variables)
    assert not answer.errors, answer.errors
    return answer.data


# --- reading ----------------------------------------------------------------------------------------------------------


def test_every_text_of_a_task_is_tried_here() -> None:
    assert ENTITIES["Task"].hideable == set(VALUES)


@pytest.mark.parametrize("who", ["a viewer", "another agent"])
@pytest.mark.parametrize("name", list(VALUES))
async def test_others_see_none_of_a_field_that_is_named(scene: Scene, who: str, name: str) -> None:
    """And all of the others."""
    task = await secretive(scene, camel(name))
    actor = viewer(scene) if who == "a viewer" else scene.agent_of(await scene.peer())
    query = f"query($id: ID!) {{ task(id: $id) {{ {SHOWN} }} }}"
    found = (await seen(scene, actor, query, id=gid(task)))["task"]
    whole = (await seen(scene, scene.person, query, id=gid(task)))["task"]
    assert SECRET in str(whole[camel(name)])
    assert found == {**whole, camel(name): MASKED[camel(name)]}


ALONG = {
    "by id": f"query($id: ID!) {{ task(id: $id) {{ {SHOWN} }} }}",
    "as a node": f"query($id: ID!) {{ node(id: $id) {{ ... on Task {{ {SHOWN} }} }} }}",
    "in a list": f"{{ tasks {{ edges {{ node {{ {SHOWN} }} }} }} }}",
    "from its run": f"{{ runs {{ edges {{ node {{ task {{ {SHOWN} }} }} }} }} }}",
    "joined": "{ runs { edges { node { task { title labels } } } } }",
    "from its agent": f"{{ agentInstances {{ edges {{ node {{ tasks {{ edges {{ node {{ {SHOWN} }} }} }} }} }} }} }}",
}


@pytest.mark.parametrize("along", list(ALONG))
@pytest.mark.parametrize(
    ("who", "sees"),
    [("a viewer", False), ("another", False), ("a writer", True), ("its agent", True), ("its maker", True)],
)
async def test_who_sees_what_is_hidden(scene: Scene, along: str, who: str, sees: bool) -> None:
    """Holders of `write:tasks`, its agents and the agent that made it; along every way that leads to the task."""
    other = await scene.peer()
    task = await secretive(scene, **({"creator_instance_id": other.id} if who == "its maker" else {}))
    actors = {"a viewer": viewer(scene), "a writer": viewer(scene, "write:tasks"), "its agent": scene.agent}
    actor = actors.get(who) or scene.agent_of(other)
    found = str(await seen(scene, actor, ALONG[along], **({"id": gid(task)} if "$id" in ALONG[along] else {})))
    assert (SECRET in found, "[REDACTED]" in found) == (sees, not sees)


async def test_what_is_not_there_is_not_hidden(scene: Scene) -> None:
    """Null stays null; a name that is no field's, or a key's, hides nothing."""
    await scene.set(scene.task, redacted_fields=["description", "labels", "status", "idempotencyKey", "nonsense"])
    query = "query($id: ID!) { task(id: $id) { title description labels status redactedFields } }"
    found = (await seen(scene, viewer(scene), query, id=gid(scene.task)))["task"]
    assert (found["title"], found["description"], found["labels"], found["status"]) == (
        scene.task.title,
        None,
        None,
        "IN_PROGRESS",
    )


@pytest.mark.parametrize(
    ("condition", "meets"),
    [
        ('labels: {contains: "owlery"}', False),
        ("labels: {isNull: true}", True),
        ("labels: {isNull: false}", False),
        ('sourceRef: {eq: "acme/owlery#1"}', False),
        ('sourceRef: {startsWith: "acme/"}', False),
        ('sourceRef: {in: ["acme/owlery#1"]}', False),
        ('sourceRef: {notIn: ["acme/owlery#1"]}', True),
        ('sourceRef: {ne: "acme/owlery#1"}', True),
        ('not: {sourceRef: {eq: "acme/owlery#1"}}', True),
        ('sourceRef: {ne: "acme/owlery#1", isNull: false}', False),
        ('sourceRef: {gt: "a"}', False),
    ],
)
async def test_nobody_finds_by_asking_what_is_hidden(scene: Scene, condition: str, meets: bool) -> None:
    """A hidden value meets what null meets."""
    query = f"{{ tasks(filter: {{{condition}}}) {{ totalCount edges {{ node {{ id }} }} }} }}"
    await secretive(scene)
    assert (await seen(scene, viewer(scene), query))["tasks"]["totalCount"] == meets
    counts = (await seen(scene, scene.person, query))["tasks"]["totalCount"]
    await scene.set(scene.task, redacted_fields=["title"])
    assert (await seen(scene, viewer(scene), query))["tasks"]["totalCount"] == counts


async def test_an_order_that_would_tell_it_needs_the_permission(scene: Scene) -> None:
    query = "{ tasks(orderBy: [{field: SOURCE_REF}]) { edges { cursor node { id } } } }"
    answer = await ask(scene.tenant.database, viewer(scene), query)
    assert answer.code == "FORBIDDEN"
    assert "write:tasks" in str(answer.errors)
    assert not (await ask(scene.tenant.database, scene.person, query)).errors


@pytest.mark.parametrize("word", ["feed", "gate", "amber"])
@pytest.mark.parametrize("fields", [["title"], ["description"], ["labels"], ["title", "description", "labels"]])
async def test_a_search_looks_at_what_the_caller_sees(scene: Scene, fields: list[str], word: str) -> None:
    """Of a task that hides something, at the rest of it."""
    texts = {"title": "Feed it", "description": "At the gate", "labels": ["amber"]}
    await scene.set(scene.task, **texts, redacted_fields=fields)
    stands_in = next(name for name, text in texts.items() if word in str(text).lower())
    one = "taskSearch(text: $text) { total tasks { id } }"
    both = f"query($text: String!) {{ {one} search(text: $text) {{ tasks {{ id }} }} }}"
    for actor, sees in ((scene.person, True), (viewer(scene), stands_in not in fields)):
        answer = await ask(scene.tenant.database, actor, both, text=word)
        assert not answer.errors
        assert (answer.data["taskSearch"]["total"], len(answer.data["search"]["tasks"])) == (sees, sees)
    answer = await ask(scene.tenant.database, scene.agent, f"query($text: String!) {{ {one} }}", text=word)
    assert answer.data["taskSearch"]["total"] == 1


async def test_a_hidden_title_does_not_come_first(scene: Scene) -> None:
    """Where the word stands in its description as well, that is what it is found by."""
    await scene.set(scene.task, title=SECRET, description=SECRET, redacted_fields=["title"])
    newer = models.Task(
        id=new_id(), project_id=scene.tenant.project.id, title="Other", description=SECRET, type=TaskType.DOCS
    )
    await scene.tenant.add(newer)
    query = f'{{ taskSearch(text: "{SECRET}") {{ tasks {{ id }} }} }}'
    for actor, expected in ((scene.person, [scene.task, newer]), (viewer(scene), [newer, scene.task])):
        answer = await ask(scene.tenant.database, actor, query)
        assert [row["id"] for row in answer.data["taskSearch"]["tasks"]] == [gid(one) for one in expected]


async def test_a_report_has_none_of_it(scene: Scene) -> None:
    await secretive(scene, status=TaskStatus.BLOCKED)
    query = "query($id: ID!) { task(id: $id) { incidentReport } }"
    for actor, sees in ((viewer(scene), False), (scene.person, True), (scene.agent, True)):
        answer = await ask(scene.tenant.database, actor, query, id=gid(scene.task))
        assert not answer.errors
        assert (SECRET in answer.data["task"]["incidentReport"]) is sees


# --- messages ---------------------------------------------------------------------------------------------------------


async def message(scene: Scene, **values: Any) -> models.Message:
    made = models.Message(
        id=new_id(),
        task_id=scene.task.id,
        project_id=scene.tenant.project.id,
        author_type=ActorType.SYSTEM,
        type=MessageType.COMMENT,
        content=f"the {SECRET} word",
        artifacts=[{"name": SECRET, "type": "note"}],
        mentions=[SECRET],
        **values,
    )
    await scene.tenant.add(made)
    return made


@pytest.mark.parametrize(("safe", "shown"), [("the safe word", "the safe word"), (None, "[REDACTED]")])
async def test_a_message_hides_what_it_names(scene: Scene, safe: str | None, shown: str) -> None:
    """Its text also where it has no safe version; those whose task it is see it."""
    made = await message(scene, content_redacted=safe, redacted_fields=["content", "artifacts", "mentions"])
    query = "query($id: ID!) { message(id: $id) { content artifacts { name } mentions } }"
    other = scene.agent_of(await scene.peer())
    for actor in (viewer(scene), other):
        found = (await seen(scene, actor, query, id=gid(made)))["message"]
        assert found == {"content": shown, "artifacts": None, "mentions": ["[REDACTED]"]}
    for actor in (scene.person, scene.agent):
        found = (await seen(scene, actor, query, id=gid(made)))["message"]
        assert found["content"] == f"the {SECRET} word"
        assert found["mentions"] == [SECRET]
    timeline = "query($id: ID!) { task(id: $id) { timeline { summary } } }"
    answer = await ask(scene.tenant.database, scene.person, timeline, id=gid(scene.task))
    assert f"COMMENT: {shown}" in [one["summary"] for one in answer.data["task"]["timeline"]]
    found = await ask(scene.tenant.database, viewer(scene), f'{{ search(text: "{SECRET}") {{ messages {{ id }} }} }}')
    assert found.data["search"]["messages"] == []


# --- what is told of it -----------------------------------------------------------------------------------------------


async def test_what_is_told_of_a_task_leaves_out_what_it_hides(scene: Scene) -> None:
    """Records, events, requests and notifications of what is done with it, and the parts that quote it."""
    await secretive(scene, "title", "deliverable", status=TaskStatus.REVIEW)
    kept = {"description": "d", "review_checklist": None, "blocked_reason": None}
    await scene.set(scene.task, **kept)
    database = scene.tenant.database
    task_id = scene.task.id
    judge = scene.agent_of(await scene.peer())
    steps: list[tuple[str, Actor, dict[str, Any]]] = [
        ("create_review", judge, {"task_id": task_id, "type": ReviewType.APPROVE, "summary": "good"}),
        ("update_task", scene.person, {"task_id": task_id, "title": f"The {SECRET}, again"}),
        ("transition_task", scene.person, {"task_id": task_id, "to": TaskStatus.DONE}),
    ]
    for name, actor, given in steps:
        outcome = await run(database, actor, name, given)
        assert not hasattr(outcome, "code"), outcome
    told = [
        *(str([one.before_state, one.after_state, one.metadata_]) for one in await scene.rows(models.ChangeRecord)),
        *(str(one.payload) for one in await scene.rows(models.OpEvent)),
        *(one.action_summary for one in await scene.rows(models.ApprovalRecord)),
        *(str(one.payload) for one in await scene.rows(models.NotificationEvent)),
    ]
    assert len(told) > 4
    assert not [one for one in told if SECRET in one]
    assert any("[REDACTED]" in one for one in told)


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [(["title"], ["title", "description"]), (["description"], ["description"]), (["labels"], None), (None, None)],
)
async def test_parts_of_a_task_hide_what_they_quote(
    scene: Scene, hidden: list[str] | None, expected: list[str] | None
) -> None:
    made = models.Task(
        id=new_id(),
        project_id=scene.tenant.project.id,
        title=SECRET,
        description="d",
        type=TaskType.DOCS,
        redacted_fields=hidden,
    )
    await scene.tenant.add(made)
    assert isinstance(await run(scene.tenant.database, scene.person, "decompose_task", {"task_id": made.id}), Done)
    parts = await scene.rows(models.Task, parent_task_id=made.id)
    assert parts
    assert [one.redacted_fields for one in parts] == [expected] * len(parts)


async def test_what_an_agent_may_claim_has_no_hidden_title(scene: Scene) -> None:
    """Before it is the agent's, that is."""
    inbox = models.Task(
        id=new_id(), project_id=scene.tenant.project.id, title=SECRET, type=TaskType.DOCS, redacted_fields=["title"]
    )
    await scene.tenant.add(inbox)
    outcome = await run(scene.tenant.database, scene.agent, "beat", {"instance_id": scene.instance.id})
    assert isinstance(outcome, Done)
    (claimable,) = outcome.extras["claimable_tasks"]
    assert claimable["title"] == "[REDACTED]"
