"""Tasks made, changed and worked on; graphs of them; issues kept as tasks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.commands import Done, Refusal, Refused
from app.graph.ids import global_id
from app.idempotency import Key
from app.running import run
from app.unit_of_work import PermissionDenied
from db import models
from db.connections import Connections
from db.enums import InstanceState, OperatorMode, TaskSource, TaskStatus, TaskType
from db.ids import new_id
from db.session import Database
from tests.app.execution.desk import CHECKED, DELIVERABLE, PLAN, Desk, desk, registry
from tests.asking import data_of

__all__ = ["desk", "registry"]

T = TaskStatus


async def create(desk: Desk, **given: Any) -> Done | Refused:
    values = {"project_id": desk.tenant.project.id, "title": "Mend the roof", "type": TaskType.OPS, **given}
    return await desk.do("create_task", **values)


async def created(desk: Desk, **given: Any) -> Any:
    outcome = await create(desk, **given)
    assert isinstance(outcome, Done), outcome
    return outcome.row


# --- Making -----------------------------------------------------------------------------------------------------------


async def test_tsk_2_a_task_begins_in_inbox_even_with_assignees(desk: Desk) -> None:
    """Who made it, what it may cost, who is meant to do it; one record, and nobody is told yet."""
    agent = await desk.agent()
    task = await created(desk, assignee_ids=[agent.id])
    assert (task.status, task.priority, task.source) == (T.INBOX, 3, TaskSource.DASHBOARD)
    assert (task.created_by, task.creator_operator_id) == ("HUMAN", desk.registry.operator.id)
    assert (task.budget_allocated, task.budget_remaining) == (Decimal(3), Decimal(3))
    assert await desk.assignees(task) == [agent.id]
    (record,) = await desk.registry.journal()
    assert record["type"] == "TASK_CREATED"
    assert record["afterState"]["assigneeIds"] == [str(agent.id)]
    assert await desk.rows(models.NotificationEvent) == []


async def test_task_1_an_agent_makes_a_task_in_its_own_project(desk: Desk) -> None:
    """As itself; it is nobody's, and costs what its type may. Parts it adds to its own tasks."""
    agent = await desk.agent()
    mine = await desk.task(T.ASSIGNED, agent)
    task = await created(desk, actor=desk.as_agent(agent), parent_task_id=mine.id)
    assert (task.status, task.source, task.parent_task_id) == (T.INBOX, TaskSource.AGENT, mine.id)
    assert (task.created_by, task.creator_instance_id, task.creator_operator_id) == ("AGENT", agent.id, None)
    assert task.budget_allocated == Decimal(3)
    assert await desk.assignees(task) == []


async def test_rbac_11_what_an_agent_may_not_make(desk: Desk) -> None:
    agent, other = await desk.agents(2)
    far = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(far)
    theirs = await desk.task(T.ASSIGNED, other)
    cases: dict[str, tuple[dict[str, Any], Refusal]] = {
        "project_id": ({"project_id": far.id}, Refusal.NOT_FOUND),
        "parent_task_id": ({"parent_task_id": theirs.id}, Refusal.NOT_FOUND),
        "assignee_ids": ({"assignee_ids": [agent.id]}, Refusal.VALIDATION_ERROR),
        "budget_allocated": ({"budget_allocated": 1000.0}, Refusal.VALIDATION_ERROR),
        "recurrence": ({"recurrence": {"frequency": "DAILY", "interval": 1}}, Refusal.VALIDATION_ERROR),
        "source": ({"source": TaskSource.DASHBOARD}, Refusal.VALIDATION_ERROR),
    }
    before = len(await desk.rows(models.Task))
    for field, (given, code) in cases.items():
        outcome = await create(desk, actor=desk.as_agent(agent), **given)
        assert isinstance(outcome, Refused), field
        assert (outcome.code, outcome.field) == (code, field)
    assert len(await desk.rows(models.Task)) == before


@pytest.mark.parametrize("state", [one for one in InstanceState if one is not InstanceState.ACTIVE])
async def test_ins_4_only_an_active_agent_makes_tasks(desk: Desk, state: InstanceState) -> None:
    agent = await desk.agent(state=state)
    agent.state = InstanceState.ACTIVE  # as its token was read: it may be otherwise by now
    outcome = await create(desk, actor=desk.as_agent(agent))
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET


@pytest.mark.parametrize("mode", [one for one in OperatorMode if one is not OperatorMode.NORMAL])
async def test_emg_4_in_an_emergency_agents_make_no_tasks(desk: Desk, mode: OperatorMode) -> None:
    agent = await desk.agent()
    await desk.mode(mode)
    outcome = await create(desk, actor=desk.as_agent(agent))
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET


async def test_tsk_8_an_agent_that_observes_makes_no_tasks(desk: Desk) -> None:
    agent = await desk.agent()
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="z", attached_to_project_id=agent.project_id, autonomy_tier=0, version=1, active=True
        )
    )
    outcome = await create(desk, actor=desk.as_agent(agent))
    assert isinstance(outcome, Refused)
    assert "tier 0" in outcome.message


@pytest.mark.parametrize("budget", [None, 0])
async def test_bud_5_no_budget_is_said_with_null_or_0(desk: Desk, budget: float | None) -> None:
    """Where nothing is said, the type's holds (BUD-1)."""
    assert (await created(desk, budget_allocated=budget)).budget_allocated is None
    assert (await created(desk, type=TaskType.ENGINEERING)).budget_allocated == Decimal(8)


async def keyed(desk: Desk, key: str, **given: Any) -> Done | Refused:
    await desk.tenant.forget_keys()
    arguments = {"project_id": desk.tenant.project.id, "title": "A", "type": TaskType.OPS, **given}
    return await run(desk.tenant.database, desk.human, "create_task", arguments, Key.of("taskCreate", key, {}))


async def test_task_1_a_key_makes_one_task_for_ever(desk: Desk) -> None:
    """Also once the gateway has forgotten it, and in a project that the caller may see."""
    first = await keyed(desk, "k")
    again = await keyed(desk, "k", title="B")
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    one, other = first.row, again.row
    assert one is not None
    assert other is not None
    assert (one.id, first.is_replay, again.is_replay) == (other.id, False, True)  # type: ignore[attr-defined]
    assert await desk.registry.types() == ["TASK_CREATED"]


async def test_task_1_over_the_api_a_replay_says_that_nothing_was_created(desk: Desk) -> None:
    """`created` is true once."""
    query = (
        "mutation($input: TaskCreateInput!) { taskCreate(input: $input) { created task { id } userErrors { code } } }"
    )
    given = {
        "projectId": global_id("prj", desk.tenant.project.id),
        "title": "A",
        "type": "OPS",
        "idempotencyKey": "k",
    }
    answers = [(await data_of(desk.tenant, desk.human, query, input=given))["taskCreate"] for _ in range(2)]
    assert [answer["created"] for answer in answers] == [True, False]
    assert answers[0]["task"] == answers[1]["task"]


@pytest.mark.parametrize("source", list(TaskSource))
async def test_task_1_texts_from_outside_are_made_harmless(desk: Desk, source: TaskSource) -> None:
    """What our own people type stays as it is, but trimmed."""
    chat = {"chatId": "c"} if source is TaskSource.TELEGRAM else None
    task = await created(
        desk, title=" a\x1bb ", description="x\x07\ny", labels=["l\x1b"], source=source, thread_ref=chat
    )
    is_outside = source.value in ("TELEGRAM", "GITHUB", "API", "TRELLO", "PRD_IMPORT")
    expected = ("ab", "x\ny", ["l"]) if is_outside else ("a\x1bb", "x\x07\ny", ["l\x1b"])
    assert (task.title, task.description, task.labels) == expected


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": "   "}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"priority": 0}, "priority"),
        ({"priority": 5}, "priority"),
        ({"estimated_cost": -1.0}, "estimated_cost"),
        ({"estimated_cost": float("nan")}, "estimated_cost"),
        ({"budget_allocated": float("inf")}, "budget_allocated"),
        ({"recurrence": {"frequency": "DAILY"}}, "recurrence"),
        ({"labels": [f"{at}" for at in range(51)]}, "labels"),
        ({"source": TaskSource.TELEGRAM}, "thread_ref"),
    ],
)
async def test_task_1_values_have_limits(desk: Desk, given: dict[str, Any], field: str) -> None:
    """And a refusal leaves nothing."""
    outcome = await create(desk, **given)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (Refusal.VALIDATION_ERROR, field)
    assert await desk.rows(models.Task) == []


async def test_task_1_a_title_of_500_characters_fits_once_it_is_trimmed(desk: Desk) -> None:
    """Code points count."""
    assert len((await created(desk, title=f"  {'ß' * 500}  ")).title) == 500


async def test_task_1_a_chat_makes_thirty_tasks_a_minute(desk: Desk, connections: Connections) -> None:
    """Forty at once: thirty are made; another chat is not touched."""
    database = Database(connections, pool_size=16, pool_timeout_seconds=120)
    values = {
        "project_id": desk.tenant.project.id,
        "title": "A",
        "type": TaskType.OPS,
        "source": TaskSource.TELEGRAM,
        "thread_ref": {"chatId": "c"},
    }
    try:
        outcomes = await asyncio.gather(*(run(database, desk.human, "create_task", values) for _ in range(40)))
    finally:
        await database.close()
    assert sum(isinstance(one, Done) for one in outcomes) == 30
    await created(desk, source=TaskSource.TELEGRAM, thread_ref={"chatId": "d"})


async def test_task_1_parents_and_reviewers_are_of_the_same_project(desk: Desk) -> None:
    """And a parent is not over."""
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    far, stranger = await desk.task(project_id=project.id), await desk.agent(project_id=project.id)
    over = await desk.task(T.DONE)
    for given, code in (
        ({"parent_task_id": far.id}, Refusal.VALIDATION_ERROR),
        ({"parent_task_id": over.id}, Refusal.DEPENDENCY_NOT_MET),
        ({"reviewer_instance_id": stranger.id}, Refusal.VALIDATION_ERROR),
        ({"assignee_ids": [stranger.id]}, Refusal.VALIDATION_ERROR),
        ({"assignee_ids": [(await desk.agent(state=InstanceState.PAUSED)).id]}, Refusal.DEPENDENCY_NOT_MET),
    ):
        outcome = await create(desk, **given)
        assert isinstance(outcome, Refused)
        assert outcome.code is code


async def test_ten_3_a_deleted_project_takes_no_task(desk: Desk) -> None:
    """Its row is there for the journals alone."""
    project = models.Project(id=new_id(), name="Gone", slug="gone", deleted_at=datetime.now(UTC))
    await desk.tenant.add(project)
    outcome = await create(desk, project_id=project.id)
    assert isinstance(outcome, Refused)
    assert outcome.code is Refusal.DEPENDENCY_NOT_MET


# --- Changing ---------------------------------------------------------------------------------------------------------


async def test_task_2_a_change_is_an_event_with_the_fields(desk: Desk) -> None:
    """And no status; what is left out stays."""
    task = await desk.task(T.REVIEW, description="long")
    due = datetime(2026, 12, 24, tzinfo=UTC)
    outcome = await desk.do(
        "update_task", task_id=task.id, title=" Paint it ", due_at=due, labels=[" a ", "a"], estimated_minutes=30
    )
    assert isinstance(outcome, Done), outcome
    now = await desk.get(models.Task, task.id)
    assert (now.title, now.due_at, now.labels, now.description) == ("Paint it", due, ["a"], "long")
    assert (now.status, now.metadata_) == (T.REVIEW, {"estimatedMinutes": 30})
    (event,) = await desk.rows(models.OpEvent)
    assert (event.payload["stage"], event.payload["fields"]) == (
        "TASK_UPDATED",
        ["dueAt", "labels", "metadata", "title"],
    )
    assert event.payload["changes"]["title"] == ["Mend the roof", "Paint it"]
    assert await desk.rows(models.ChangeRecord) == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": None}, "title"),
        ({"type": None}, "type"),
        ({"priority": 9}, "priority"),
        ({"recurrence": {"frequency": "DAILY", "interval": -1}}, "recurrence"),
    ],
)
async def test_task_2_a_change_is_checked_as_a_creation_is(desk: Desk, given: dict[str, Any], field: str) -> None:
    """Nothing of a refused change is kept."""
    task = await desk.task()
    outcome = await desk.do("update_task", task_id=task.id, description="new", **given)
    assert isinstance(outcome, Refused)
    assert outcome.field == field
    assert (await desk.get(models.Task, task.id)).description is None


async def test_task_2_what_is_over_keeps_its_words(desk: Desk) -> None:
    """Labels and notes may still be put on it."""
    task = await desk.task(T.DONE)
    assert isinstance(await desk.do("update_task", task_id=task.id, title="X"), Refused)
    assert isinstance(await desk.do("update_task", task_id=task.id, labels=["old"]), Done)


async def test_task_2_the_budget_takes_its_own_permission(desk: Desk) -> None:
    """`write:budgets`; what is left follows."""
    task = await desk.task(actual_cost=Decimal(2))
    writer = desk.tenant.actor("write:tasks")
    with pytest.raises(PermissionDenied, match="write:budgets"):
        await desk.do("update_task", writer, task_id=task.id, budget_allocated=9.0)
    await desk.do("update_task", task_id=task.id, budget_allocated=9.0)
    now = await desk.get(models.Task, task.id)
    assert (now.budget_allocated, now.budget_remaining) == (Decimal(9), Decimal(7))
    await desk.do("update_task", task_id=task.id, budget_allocated=1.0)
    assert (await desk.get(models.Task, task.id)).budget_remaining == 0  # RUN-4: never less than nothing


async def test_task_3_the_type_stays_one_that_its_agents_may_do(desk: Desk) -> None:
    """Else a policy would be got round by renaming the work."""
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="p", version=1, active=True, allowed_task_types=["OPS"], attached_to_version_id=desk.version.id
        )
    )
    task = await desk.task(T.ASSIGNED, await desk.agent())
    outcome = await desk.do("update_task", task_id=task.id, type=TaskType.CONTENT)
    assert isinstance(outcome, Refused)
    assert outcome.field == "type"
    free = await desk.task()
    assert isinstance(await desk.do("update_task", task_id=free.id, type=TaskType.CONTENT), Done)


async def test_an_agent_puts_down_its_plan_and_its_work(desk: Desk) -> None:
    """On its own tasks alone, and not on what is over."""
    agent, other = await desk.agents(2)
    task = await desk.task(T.ASSIGNED, agent)
    for given in ({"work_plan": PLAN}, {"deliverable": DELIVERABLE, "review_checklist": CHECKED}):
        assert isinstance(await desk.do("set_task_work", desk.as_agent(agent), task_id=task.id, **given), Done)
    now = await desk.get(models.Task, task.id)
    assert (now.work_plan, now.deliverable, now.review_checklist) == (PLAN, DELIVERABLE, CHECKED)
    assert (await desk.rows(models.OpEvent))[0].instance_id == agent.id
    stranger = await desk.do("set_task_work", desk.as_agent(other), task_id=task.id, work_plan=PLAN)
    nothing = await desk.do("set_task_work", desk.as_agent(agent), task_id=task.id)
    wrong = await desk.do("set_task_work", desk.as_agent(agent), task_id=task.id, work_plan={"bullets": []})
    over = await desk.do("set_task_work", task_id=(await desk.task(T.CANCELED)).id, work_plan=PLAN)
    assert all(isinstance(one, Refused) for one in (stranger, nothing, wrong, over))


# --- Graphs -----------------------------------------------------------------------------------------------------------


async def test_dag_3_a_task_is_taken_apart(desk: Desk) -> None:
    """Phases in INBOX with the parent's priority, their minutes, their edges, and one record each."""
    task = await desk.task(title="Shop", type=TaskType.ENGINEERING, priority=1, description="a shop")
    outcome = await desk.do("decompose_task", task_id=task.id)
    assert isinstance(outcome, Done), outcome
    parts = [one for one in await desk.rows(models.Task) if one.parent_task_id == task.id]
    assert [str(one.id) for one in parts] == outcome.extras["subtasks"]
    assert [(one.title, one.type.value, one.status, one.priority) for one in parts] == [
        ("Research — Shop", "CUSTOMER_RESEARCH", T.INBOX, 1),
        ("Implement — Shop", "ENGINEERING", T.INBOX, 1),
        ("Test — Shop", "ENGINEERING", T.INBOX, 1),
        ("Document — Shop", "DOCS", T.INBOX, 1),
    ]
    assert parts[0].description == "Research for: a shop"
    assert [int(one.budget_allocated or 0) for one in parts] == [5, 8, 8, 3]  # BUD-1: those of their types
    assert [one.budget_remaining for one in parts] == [one.budget_allocated for one in parts]
    assert (parts[1].estimated_cost, parts[1].labels) == (Decimal("0.6"), ["phase:1", "strategy:engineering"])
    assert (parts[1].source, parts[1].metadata_) == (TaskSource.AGENT, {"estimatedMinutes": 60})
    edges = {(one.task_id, one.depends_on_task_id) for one in await desk.rows(models.TaskDependency)}
    ids = [one.id for one in parts]
    assert edges == {(ids[1], ids[0]), (ids[2], ids[1]), (ids[3], ids[1])}
    assert await desk.registry.types() == ["TASK_CREATED"] * 4
    again = await desk.do("decompose_task", task_id=task.id)
    assert isinstance(again, Refused)


async def test_dag_3_only_out_of_inbox_and_at_most_seven(desk: Desk) -> None:
    """And fewer if so asked."""
    begun = await desk.do("decompose_task", task_id=(await desk.task(T.ASSIGNED)).id)
    many = await desk.do("decompose_task", task_id=(await desk.task()).id, max_phases=8)
    assert isinstance(begun, Refused)
    assert isinstance(many, Refused)
    assert many.field == "max_phases"
    few = await desk.do("decompose_task", task_id=(await desk.task()).id, max_phases=2)
    assert isinstance(few, Done)
    assert len(few.extras["subtasks"]) == 2


async def depend(desk: Desk, task: models.Task, other: models.Task) -> Done | Refused:
    return await desk.do("add_dependency", task_id=task.id, depends_on_task_id=other.id)


async def test_dag_1_edges_are_between_parts_of_one_task_or_with_it(desk: Desk) -> None:
    """Not with oneself, not twice, not in a circle, not across."""
    parent, alone = await desk.task(), await desk.task()
    one, two, three = [await desk.task(parent_task_id=parent.id) for _ in range(3)]
    assert isinstance(await depend(desk, two, one), Done)
    assert isinstance(await depend(desk, three, two), Done)
    assert isinstance(await depend(desk, parent, three), Done)
    for task, other, code in (
        (two, one, Refusal.DUPLICATE_RESOURCE),
        (one, one, Refusal.VALIDATION_ERROR),
        (one, three, Refusal.VALIDATION_ERROR),
        (one, parent, Refusal.VALIDATION_ERROR),
        (one, alone, Refusal.VALIDATION_ERROR),
    ):
        outcome = await depend(desk, task, other)
        assert isinstance(outcome, Refused)
        assert outcome.code is code
    edges = await desk.rows(models.TaskDependency)
    assert {edge.parent_task_id for edge in edges} == {parent.id}
    assert [event.payload["stage"] for event in await desk.rows(models.OpEvent)] == ["TASK_DEPENDENCY_ADDED"] * 3
    removed = await desk.do("remove_dependency", dependency_id=edges[0].id)
    assert isinstance(removed, Done)
    assert len(await desk.rows(models.TaskDependency)) == 2


async def test_dag_1_edges_that_close_a_circle_together_are_not_both_made(desk: Desk, connections: Connections) -> None:
    """Six parts, every edge of a ring at once, many times: one edge at least is refused."""
    database = Database(connections, pool_size=12, pool_timeout_seconds=120)
    try:
        for _ in range(5):
            parent = await desk.task()
            parts = [await desk.task(parent_task_id=parent.id) for _ in range(6)]
            ring = [(parts[at].id, parts[(at + 1) % 6].id) for at in range(6)]
            outcomes = await asyncio.gather(
                *(
                    run(database, desk.human, "add_dependency", {"task_id": one, "depends_on_task_id": other})
                    for one, other in ring
                )
            )
            assert sum(isinstance(one, Done) for one in outcomes) == 5
    finally:
        await database.close()


async def test_dag_2_a_task_begins_once_all_that_it_waits_for_is_done(desk: Desk) -> None:
    """CANCELED does not satisfy (C37), save where a person forces the start."""
    agent = await desk.agent()
    parent = await desk.task()
    first, second = await desk.task(T.REVIEW, parent_task_id=parent.id), await desk.task(parent_task_id=parent.id)
    task = await desk.task(T.ASSIGNED, agent, parent_task_id=parent.id, work_plan=PLAN)
    for other in (first, second):
        await depend(desk, task, other)
    assert "Mend the roof" in (await desk.refused(task, T.IN_PROGRESS, force_start=True)).message
    await desk.moved(first, T.DONE)
    await desk.moved(second, T.CANCELED)
    refused = await desk.refused(task, T.IN_PROGRESS)
    assert "forceStart" in refused.message
    await desk.refused(task, T.IN_PROGRESS, desk.as_agent(agent), force_start=True)
    await desk.moved(task, T.IN_PROGRESS, force_start=True)


# --- Issues -----------------------------------------------------------------------------------------------------------


async def upsert(desk: Desk, **given: Any) -> Done | Refused:
    values = {"project_id": desk.tenant.project.id, "repository": "acme/Shop", "number": 7, "title": "Fails"}
    return await desk.do("upsert_issue", **values | given)


async def test_task_5_a_new_issue_is_a_task_in_inbox_and_a_known_one_changes_its_texts(desk: Desk) -> None:
    """Never the status, and of the labels only the labels."""
    first = await upsert(desk, body="a\x1bb", labels=["docs", "P1"], state="open", url="https://example.com/7")
    assert isinstance(first, Done)
    (task,) = await desk.rows(models.Task)
    assert (task.title, task.description, task.type, task.priority) == ("[GH-7] Fails", "ab", TaskType.DOCS, 2)
    assert (task.source, task.source_ref, task.status) == (TaskSource.GITHUB, "acme/shop#7", T.INBOX)
    await desk.moved(task, T.BLOCKED, reason="wait")
    second = await upsert(desk, title="Fails again", labels=["bug"], state="closed")
    assert isinstance(second, Done)
    (now,) = await desk.rows(models.Task)
    assert (now.title, now.labels, now.type, now.status) == (
        "[GH-7] Fails again",
        ["bug"],
        TaskType.DOCS,
        T.BLOCKED,
    )
    assert now.metadata_ == {"githubState": "closed", "githubUrl": "https://example.com/7"}
    assert [first.extras, second.extras] == [{"created": True}, {"created": False}]
    assert [event.payload["stage"] for event in await desk.rows(models.OpEvent)] == ["TASK_SYNCED"] * 2


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"repository": "acme"}, "repository"),
        ({"number": 0}, "number"),
        ({"title": " "}, "title"),
        ({"title": "x" * 494}, "title"),
    ],
)
async def test_task_5_an_issue_has_a_form(desk: Desk, given: dict[str, Any], field: str) -> None:
    """The title with its mark has 500 characters at most."""
    outcome = await upsert(desk, **given)
    assert isinstance(outcome, Refused)
    assert outcome.field == field
