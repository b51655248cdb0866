"""Peer reviews, and what they do to their task (REV-1 to REV-4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.execution.machines import REVIEW
from app.graph.ids import global_id
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import (
    ActorType,
    ApprovalDecision,
    OpEventType,
    ReviewStatus,
    ReviewType,
    RiskLevel,
    TaskStatus,
)
from db.ids import new_id
from tests.app.governance.scene import Scene, make_scene
from tests.asking import ask
from tests.conftest import TenantUnderTest

T, R = ReviewType, ReviewStatus
CHANGES = {"description": "Shorter.", "files": [{"path": "a.md", "action": "MODIFY", "diff": "-x"}]}


async def do(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Done | Refused:
    """Run a command as a person."""
    return await run(scene.tenant.database, actor or scene.person, name, given)


async def judge(scene: Scene, kind: ReviewType, actor: Actor | None = None, **given: Any) -> Any:
    """Judge the scene's task; the row."""
    more = {"changeset": CHANGES} if kind is T.CHANGESET else {}
    values = {"task_id": scene.task.id, "type": kind, "summary": "found", **more, **given}
    outcome = await do(scene, "create_review", actor, **values)
    assert isinstance(outcome, Done), outcome
    return outcome.row


async def refused(scene: Scene, name: str, actor: Actor | None = None, **given: Any) -> Refused:
    """A command that must be refused."""
    outcome = await do(scene, name, actor, **given)
    assert isinstance(outcome, Refused), outcome
    return outcome


async def task(scene: Scene) -> models.Task:
    """The task as it is now."""
    (found,) = await scene.rows(models.Task, id=scene.task.id)
    row: models.Task = found
    return row


async def stages(scene: Scene) -> list[str]:
    """What the events of decisions tell."""
    events = await scene.rows(models.OpEvent, type=OpEventType.DECISION_MADE)
    return [one.payload["stage"] for one in events]


# --- form -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given", "blamed"),
    [
        (T.PRAISE, {"summary": "  "}, "summary"),
        (T.REFUTE, {"score": 3.0}, "score"),
        (T.PRAISE, {"score": 0.5}, "score"),
        (T.PRAISE, {"score": 5.5}, "score"),
        (T.PRAISE, {"severity": "MAJOR"}, "severity"),
        (T.APPROVE, {"severity": "MAJOR"}, "severity"),
        (T.CHANGESET, {"changeset": None}, "changeset"),
        (T.REFUTE, {"changeset": CHANGES}, "changeset"),
        (T.CHANGESET, {"changeset": {**CHANGES, "files": []}}, "changeset"),
        (T.CHANGESET, {"changeset": {**CHANGES, "description": " "}}, "changeset"),
        (T.CHANGESET, {"changeset": {**CHANGES, "files": [{"path": "a", "action": "EAT"}]}}, "changeset"),
        (T.CHANGESET, {"changeset": {**CHANGES, "files": [{"action": "ADD"}]}}, "changeset"),
        (T.CHANGESET, {"changeset": {**CHANGES, "files": [{"path": "a", "action": "ADD", "diff": 1}]}}, "changeset"),
        (T.REFUTE, {"complete_task": True}, "complete_task"),
    ],
)
async def test_rev_2_what_goes_with_which_judgement(
    scene: Scene, kind: ReviewType, given: dict[str, Any], blamed: str
) -> None:
    more = {"changeset": CHANGES} if kind is T.CHANGESET else {}
    values = {"task_id": scene.task.id, "type": kind, "summary": "found", **more, **given}
    found = await refused(scene, "create_review", **values)
    assert (found.code, found.field) == (Refusal.VALIDATION_ERROR, blamed)
    assert await scene.rows(models.Review) == []


async def test_rev_2_nobody_judges_their_own_work(scene: Scene) -> None:
    found = await refused(
        scene, "create_review", scene.agent, task_id=scene.task.id, type=T.PRAISE, summary="I am good"
    )
    assert (found.code, found.field) == (Refusal.DEPENDENCY_NOT_MET, "task_id")


# --- effects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [TaskStatus.REVIEW, TaskStatus.IN_PROGRESS, TaskStatus.DONE])
@pytest.mark.parametrize("kind", list(T))
@pytest.mark.parametrize("by_agent", [True, False])
async def test_rev_3_what_a_judgement_does(scene: Scene, status: TaskStatus, kind: ReviewType, by_agent: bool) -> None:
    """On a task in REVIEW; on another nothing at all."""
    await scene.set(scene.task, status=status)
    actor = scene.agent_of(await scene.peer()) if by_agent else scene.person
    made = await judge(scene, kind, actor)
    now = await task(scene)
    acts = status is TaskStatus.REVIEW
    assert now.status is (TaskStatus.IN_PROGRESS if acts and kind is T.CHANGESET else status)
    assert now.review_cycles == (1 if acts and kind in (T.CHANGESET, T.REFUTE) else 0)
    requests = await scene.rows(models.ApprovalRecord)
    if acts and kind is T.APPROVE and by_agent:
        (request,) = requests
        assert (request.request_type, request.risk_level, request.status) == (
            "COMPLETE_TASK",
            RiskLevel.YELLOW,
            ApprovalDecision.PENDING,
        )
        assert (request.requester_instance_id, request.target_id) == (actor.id, scene.task.id)
        assert (request.expires_at - request.requested_at).total_seconds() == 24 * 3600
    else:
        assert requests == []
    if acts and kind is T.CHANGESET:
        (record,) = await scene.rows(models.ChangeRecord)
        assert record.after_state == {"status": "IN_PROGRESS", "feedback": "found", "reviewId": str(made.id)}
    assert (await stages(scene))[0] == "REVIEW_CREATED"


async def test_tsk_1_a_task_that_is_nobodys_is_not_sent_back(scene: Scene) -> None:
    """As an import may have it: IN_PROGRESS takes an assignee, whoever the step is by. Out of REVIEW it is no step."""
    lone = models.Task(
        id=new_id(), project_id=scene.tenant.project.id, title="Lone", type="DOCS", status=TaskStatus.REVIEW
    )
    await scene.tenant.add(lone)
    values: dict[str, Any] = {"task_id": lone.id, "summary": "found"}
    for actor in (scene.person, scene.agent):
        found = await refused(scene, "create_review", actor, type=T.CHANGESET, changeset=CHANGES, **values)
        assert (found.code, found.field) == (Refusal.DEPENDENCY_NOT_MET, "task_id")
        assert "`taskAssign`" in found.message
    assert await scene.rows(models.Review) == await scene.rows(models.ChangeRecord) == []
    (row,) = await scene.rows(models.Task, id=lone.id)
    assert (row.status, row.review_cycles) == (TaskStatus.REVIEW, 0)
    assert isinstance(await do(scene, "create_review", type=T.REFUTE, **values), Done)
    await scene.set(lone, status=TaskStatus.BLOCKED)
    assert isinstance(await do(scene, "create_review", type=T.CHANGESET, changeset=CHANGES, **values), Done)
    (row,) = await scene.rows(models.Task, id=lone.id)
    assert (row.status, row.review_cycles) == (TaskStatus.BLOCKED, 1)


async def test_rev_3_a_persons_approval_may_carry_the_step_to_done(scene: Scene) -> None:
    await scene.set(scene.task, status=TaskStatus.REVIEW)
    await judge(scene, T.APPROVE, complete_task=True)
    assert (await task(scene)).status is TaskStatus.DONE


async def test_rev_3_what_refuses_the_step_refuses_the_review(scene: Scene) -> None:
    await scene.set(scene.envelopes[0], approval_triggers=["transition:DONE"])
    await scene.set(scene.task, status=TaskStatus.REVIEW)
    values: dict[str, Any] = {"task_id": scene.task.id, "type": T.APPROVE, "summary": "good", "complete_task": True}
    found = await refused(scene, "create_review", **values)
    assert found.code is Refusal.DEPENDENCY_NOT_MET
    assert await scene.rows(models.Review) == []
    assert (await task(scene)).status is TaskStatus.REVIEW
    with pytest.raises(PermissionDenied):
        await do(scene, "create_review", scene.tenant.actor("write:reviews"), **values)


# --- the life of a review ---------------------------------------------------------------------------------------------

AGENT, HUMAN, SYSTEM = ActorType.AGENT, ActorType.HUMAN, ActorType.SYSTEM


@pytest.mark.parametrize("state", list(R))
@pytest.mark.parametrize("to", list(R))
def test_rev_1_the_table(state: ReviewStatus, to: ReviewStatus) -> None:
    steps = {R.ACCEPTED: {AGENT, HUMAN}, R.REJECTED: {AGENT, HUMAN}, R.SUPERSEDED: {HUMAN, SYSTEM}}
    assert set(REVIEW[state].get(to, ())) == (steps.get(to, set()) if state is R.PENDING else set())


@pytest.mark.parametrize("to", [R.ACCEPTED, R.REJECTED])
async def test_rev_1_whose_work_it_is_answers_once(scene: Scene, to: ReviewStatus) -> None:
    made = await judge(scene, T.REFUTE)
    given = {"review_id": made.id, "to": to, "text": "because"}
    other = await refused(scene, "respond_review", scene.agent_of(await scene.peer()), **given)
    assert other.code is Refusal.DEPENDENCY_NOT_MET
    blank = await refused(scene, "respond_review", scene.agent, **{**given, "text": " "})
    assert blank.field == "text"
    outcomes = await asyncio.gather(*(do(scene, "respond_review", scene.agent, **given) for _ in range(3)))
    assert sum(isinstance(one, Done) for one in outcomes) == 1
    (row,) = await scene.rows(models.Review)
    assert (row.status, row.response_text, row.response_by_instance_id) == (to, "because", scene.instance.id)
    assert row.resolved_at is not None
    assert (await stages(scene))[-1] == f"REVIEW_{to.value}"
    again = await refused(scene, "supersede_review", review_id=made.id, reason="late")
    assert (again.code, again.allowed) == (Refusal.INVALID_STATE_TRANSITION, ())


async def test_rev_1_a_person_may_answer_and_withdraw(scene: Scene) -> None:
    first, second = await judge(scene, T.REFUTE), await judge(scene, T.REFUTE, target_id="part 2")
    answered = await do(scene, "respond_review", review_id=first.id, to=R.REJECTED, text="no")
    assert isinstance(answered, Done)
    withdrawn = await do(scene, "supersede_review", review_id=second.id, reason="mistaken")
    assert isinstance(withdrawn, Done)
    rows = {one.id: one for one in await scene.rows(models.Review)}
    assert rows[first.id].response_by_operator_id == scene.operator.id
    assert (rows[second.id].status, rows[second.id].response_text) == (R.SUPERSEDED, "mistaken")
    found = await refused(scene, "respond_review", review_id=first.id, to=R.SUPERSEDED, text="x")
    assert found.field == "to"


async def test_rev_1_a_newer_judgement_takes_the_older_ones_place(scene: Scene) -> None:
    """Of the same reviewer, on the same thing, and unanswered."""
    quill = scene.agent_of(await scene.peer())
    first = await judge(scene, T.REFUTE)
    elsewhere = await judge(scene, T.REFUTE, target_id="part 2")
    theirs = await judge(scene, T.PRAISE, quill)
    newer = await judge(scene, T.PRAISE)
    rows = {one.id: one.status for one in await scene.rows(models.Review)}
    assert rows == {
        first.id: R.SUPERSEDED,
        elsewhere.id: R.PENDING,
        theirs.id: R.PENDING,
        newer.id: R.PENDING,
    }


async def test_rev_3_the_numbers_of_many_tasks_take_one_statement(scene: Scene) -> None:
    await judge(scene, T.PRAISE, score=4.0)
    await judge(scene, T.PRAISE, scene.agent_of(await scene.peer()), score=5.0)
    await judge(scene, T.REFUTE, target_id="part 2")
    quiet = models.Task(id=new_id(), project_id=scene.tenant.project.id, title="Quiet", type="DOCS")
    await scene.tenant.add(quiet)
    query = "{ tasks { edges { node { id reviewStats { total pending praise refute averageScore } } } } }"
    answer = await ask(scene.tenant.database, scene.person, query)
    assert answer.errors == []
    assert len(answer.statements) == 2
    found = {edge["node"]["id"]: edge["node"]["reviewStats"] for edge in answer.data["tasks"]["edges"]}
    assert found[global_id("tsk", scene.task.id)] == {
        "total": 3,
        "pending": 3,
        "praise": 2,
        "refute": 1,
        "averageScore": 4.5,
    }
    assert found[global_id("tsk", quiet.id)]["total"] == 0


async def test_rbac_11_no_judgement_in_another_project_or_tenant(scene: Scene, other_tenant: TenantUnderTest) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    other = models.Task(id=new_id(), project_id=far.id, title="Far", type="DOCS")
    await scene.tenant.add(far, other)
    made = await judge(scene, T.REFUTE)
    theirs = await make_scene(other_tenant)
    for asking, actor, task_id in ((scene, scene.agent, other.id), (theirs, theirs.person, scene.task.id)):
        values = {"task_id": task_id, "type": T.PRAISE, "summary": "x"}
        found = await refused(asking, "create_review", actor, **values)
        assert (found.code, found.field) == (Refusal.NOT_FOUND, "task_id")
    for name, more in (("respond_review", {"to": R.ACCEPTED, "text": "x"}), ("supersede_review", {"reason": "x"})):
        found = await refused(theirs, name, theirs.person, review_id=made.id, **more)
        assert (found.code, found.field) == (Refusal.NOT_FOUND, "review_id")
