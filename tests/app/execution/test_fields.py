"""What is asked about tasks: steps, simulation, graphs, recommendations, the verdict behind a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.auth.scope import Grants, Scope
from app.graph.ids import global_id
from db import models
from db.enums import (
    ActorType,
    InstanceState,
    OrgPosition,
    OrgScope,
    TaskStatus,
)
from db.ids import new_id
from tests.app.execution.desk import CHECKED, DELIVERABLE, PLAN, Desk, desk, registry
from tests.app.execution.test_machines import STEPS
from tests.asking import ask, data_of
from tests.fingerprint import fingerprint

__all__ = ["desk", "registry"]

T = TaskStatus


def tsk(task: models.Task) -> str:
    return global_id("tsk", task.id)


async def one(desk: Desk, query: str, actor: Any = None, **variables: Any) -> Any:
    return await data_of(desk.tenant, actor or desk.human, query, **variables)


# --- Steps and simulation ---------------------------------------------------------------------------------------------

STEPS_OF = "query ($id: ID!) { task(id: $id) { allowedTransitions } }"


@pytest.mark.parametrize("status", list(TaskStatus))
async def test_sm_2_the_steps_that_the_caller_may_take(desk: Desk, status: TaskStatus) -> None:
    """A person's and an agent's differ."""
    agent = await desk.agent()
    task = await desk.task(status, agent)
    for kind, actor in ((ActorType.HUMAN, desk.human), (ActorType.AGENT, desk.as_agent(agent))):
        found = (await one(desk, STEPS_OF, actor, id=tsk(task)))["task"]["allowedTransitions"]
        assert set(found) == {to.value for (start, to), who in STEPS.items() if start is status and kind in who}


async def test_tsk_9_the_menu_of_a_board(desk: Desk) -> None:
    """A static map of what a person may do."""
    rows = (await one(desk, "{ allowedTransitionsForHuman { from to } }"))["allowedTransitionsForHuman"]
    expected: dict[str, set[str]] = {status.value: set() for status in TaskStatus}
    for (start, to), who in STEPS.items():
        if ActorType.HUMAN in who:
            expected[start.value].add(to.value)
    assert {row["from"]: set(row["to"]) for row in rows} == expected


SIMULATE = """query ($id: ID!, $to: TaskStatus!) { taskTransitionSimulate(taskId: $id, to: $to) {
    valid from to actor errors { field message } allowedTransitions
    requirements { requiresWorkPlan requiresDeliverable requiresChecklist humanOnly } } }"""


async def simulated(desk: Desk, task: models.Task, to: TaskStatus, actor: Any = None) -> Any:
    return (await one(desk, SIMULATE, actor, id=tsk(task), to=to.value))["taskTransitionSimulate"]


async def test_tsk_9_a_simulation_says_what_the_step_would_and_writes_nothing(desk: Desk) -> None:
    """The same guards as the step itself; a step that policy denies leaves no record either."""
    agent = await desk.agent()
    bare, ready = await desk.task(T.ASSIGNED, agent), await desk.task(T.ASSIGNED, agent, work_plan=PLAN)
    barred = await desk.agent(state=InstanceState.PAUSED)
    stuck = await desk.task(T.IN_PROGRESS, barred, deliverable=DELIVERABLE, review_checklist=CHECKED)
    before = await fingerprint(desk.tenant.database, desk.tenant.id)
    wrong = await simulated(desk, bare, T.IN_PROGRESS)
    assert (wrong["valid"], wrong["errors"][0]["field"], wrong["actor"]) == (False, "work_plan", "HUMAN")
    assert wrong["requirements"]["requiresWorkPlan"] is True
    good = await simulated(desk, ready, T.IN_PROGRESS, desk.as_agent(agent))
    assert (good["valid"], good["errors"], good["actor"]) == (True, [], "AGENT")
    assert (good["from"], good["to"]) == ("ASSIGNED", "IN_PROGRESS")
    done = await simulated(desk, ready, T.DONE)
    assert done["valid"] is False
    assert set(done["allowedTransitions"]) == {"INBOX", "IN_PROGRESS", "BLOCKED", "CANCELED"}
    denied = await simulated(desk, stuck, T.REVIEW, desk.as_agent(barred))
    assert denied["valid"] is False
    assert denied["requirements"] == {
        "requiresWorkPlan": False,
        "requiresDeliverable": True,
        "requiresChecklist": True,
        "humanOnly": False,
    }
    assert await fingerprint(desk.tenant.database, desk.tenant.id) == before
    assert (await simulated(desk, stuck, T.CANCELED))["requirements"]["humanOnly"] is True


async def test_tsk_9_who_may_not_move_tasks_learns_that(desk: Desk) -> None:
    """A viewer may ask; another tenant's task is not there."""
    task = await desk.task()
    answer = await simulated(desk, task, T.CANCELED, desk.tenant.actor("read:tasks"))
    assert answer["valid"] is False
    assert "transition:tasks" in answer["errors"][0]["message"]
    nothing = await one(desk, SIMULATE, id=global_id("tsk", new_id()), to="DONE")
    assert nothing["taskTransitionSimulate"] is None
    barred = await ask(desk.tenant.database, desk.tenant.actor("read:runs"), SIMULATE, id=tsk(task), to="CANCELED")
    assert barred.errors[0]["extensions"]["code"] == "FORBIDDEN"


# --- Graphs -----------------------------------------------------------------------------------------------------------

GRAPH = """query ($id: ID!) { taskGraph(taskId: $id) {
    nodes { title isReady } edges { task { title } dependsOnTask { title } } ready { title }
    topologicalOrder { title } cycles { tasks { title } } criticalPath { title } criticalPathMinutes isTruncated } }"""


def titles(rows: list[Any]) -> list[str]:
    return [row["title"] for row in rows]


async def graph(desk: Desk, edges: dict[str, list[str]], **minutes: float) -> models.Task:
    """A task whose parts have one letter each, in their order."""
    parent = await desk.task()
    parts = {}
    for letter in edges:
        notes = {"estimatedMinutes": minutes[letter]} if letter in minutes else None
        parts[letter] = await desk.task(title=letter, parent_task_id=parent.id, metadata_=notes)
    await desk.tenant.add(
        *(
            models.TaskDependency(
                parent_task_id=parent.id, task_id=parts[letter].id, depends_on_task_id=parts[other].id
            )
            for letter, others in edges.items()
            for other in others
        )
    )
    return parent


async def test_dag_2_order_readiness_and_critical_path(desk: Desk) -> None:
    """Of a diamond, whose longer side is the path; the cost stands in where no minutes are given."""
    parent = await graph(desk, {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}, a=10, b=5, c=20, d=1)
    answer = await ask(desk.tenant.database, desk.human, GRAPH, id=tsk(parent))
    assert not answer.errors, answer.errors
    found = answer.data["taskGraph"]
    order = titles(found["topologicalOrder"])
    assert (order[0], order[-1], sorted(order)) == ("a", "d", ["a", "b", "c", "d"])
    assert titles(found["ready"]) == ["a"]
    assert [node["isReady"] for node in sorted(found["nodes"], key=lambda node: node["title"])] == [
        True,
        False,
        False,
        False,
    ]
    assert titles(found["criticalPath"]) == ["a", "c", "d"]
    assert (found["criticalPathMinutes"], found["cycles"], found["isTruncated"]) == (31.0, [], False)
    assert len(found["edges"]) == 4
    # The task, its parts, its edges, the rows of both, and what the parts wait for.
    assert len(answer.statements) <= 6


async def test_dag_2_a_part_that_waits_for_the_whole_is_not_ready(desk: Desk) -> None:
    """The task itself is none of the parts that are shown, and counts all the same; the two ways to ask agree."""
    parent = await graph(desk, {"a": [], "b": []})
    (part,) = [one for one in await desk.rows(models.Task) if one.title == "b"]
    await desk.tenant.add(
        models.TaskDependency(parent_task_id=parent.id, task_id=part.id, depends_on_task_id=parent.id)
    )
    found = (await ask(desk.tenant.database, desk.human, GRAPH, id=tsk(parent))).data["taskGraph"]
    assert titles(found["ready"]) == ["a"]
    assert {node["title"]: node["isReady"] for node in found["nodes"]} == {"a": True, "b": False}


async def test_dag_2_a_circle_is_named(desk: Desk) -> None:
    """As an import may have one; then there is no critical path."""
    parent = await graph(desk, {"a": ["b"], "b": ["a"], "c": []})
    found = (await one(desk, GRAPH, id=tsk(parent)))["taskGraph"]
    assert sorted(titles(found["cycles"][0]["tasks"])) == ["a", "b"]
    assert (titles(found["topologicalOrder"]), found["criticalPath"], found["criticalPathMinutes"]) == (["c"], [], None)


@pytest.mark.parametrize(
    ("reason", "ready"), [("waits for its dependencies", True), ("emergency pause", False), (None, False)]
)
async def test_dag_2_blocked_is_ready_where_only_dependencies_blocked_it(
    desk: Desk, reason: str | None, ready: bool
) -> None:
    """Section 0b."""
    task = await desk.task(T.BLOCKED, blocked_reason=reason)
    assert (await one(desk, "query ($id: ID!) { task(id: $id) { isReady } }", id=tsk(task)))["task"] == {
        "isReady": ready
    }


async def test_dag_2_readiness_of_a_board_is_one_statement(desk: Desk) -> None:
    """However many tasks."""
    for _ in range(20):
        await desk.task()
    query = "{ tasks(first: 50) { edges { node { id isReady allowedTransitions } } } }"
    answer = await ask(desk.tenant.database, desk.human, query)
    assert not answer.errors
    assert len(answer.data["tasks"]["edges"]) == 20
    assert len(answer.statements) == 2


# --- Recommendations --------------------------------------------------------------------------------------------------

RECOMMEND = """query ($id: ID!, $capabilities: [String!]) {
    taskRecommendations(taskId: $id, requiredCapabilities: $capabilities) {
        instance { name } score reasoning load budgetLeftUsd delegationScore parts { name share } } }"""


async def test_rte_2_the_five_best_with_their_reasons(desk: Desk) -> None:
    """Sorted by the score, in few statements; nobody who has the task, is paused or broke."""
    lead = await desk.agent("lead")
    await desk.tenant.add(
        models.OrgAssignment(
            instance_id=lead.id,
            project_id=desk.tenant.project.id,
            org_position=OrgPosition.LEAD,
            scope=OrgScope.PROJECT,
            assigned_at=datetime.now(UTC),
        )
    )
    for at in range(5):
        busy = await desk.agent(f"busy {at}")
        for _ in range(at + 1):
            await desk.task(T.ASSIGNED, busy)
    await desk.agent("paused", InstanceState.PAUSED)
    await desk.agent("broke", cost_caps={"dailyUsd": 2}, spend_today=2)
    mine = await desk.agent("mine")
    task = await desk.task(T.ASSIGNED, mine)
    answer = await ask(desk.tenant.database, desk.human, RECOMMEND, id=tsk(task), capabilities=None)
    assert not answer.errors, answer.errors
    rows = answer.data["taskRecommendations"]
    assert [row["instance"]["name"] for row in rows] == ["lead", "busy 0", "busy 1", "busy 2", "busy 3"]
    assert [row["load"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[0]["score"] == pytest.approx(0.3 + 0.2 + 0.2 + 0.1 + 0.1)
    assert sum(part["share"] for part in rows[0]["parts"]) == pytest.approx(rows[0]["score"])
    assert "skill 0.30" in rows[0]["reasoning"]
    assert rows[0]["delegationScore"] == pytest.approx(20 + 12.5 + 15 + 10)
    assert len(answer.statements) <= 3


# --- Why --------------------------------------------------------------------------------------------------------------

EXPLAIN = """query ($id: ID!, $to: TaskStatus, $tool: String) { taskExplain(taskId: $id, to: $to, toolName: $tool) {
    decision reason triggeredRules remediationHints requiredApprovals { type } source } }"""


async def explained(desk: Desk, task: models.Task, actor: Any = None, **given: Any) -> Any:
    return (await one(desk, EXPLAIN, actor, id=tsk(task), **given))["taskExplain"]


async def test_view_4_nobodys_task_and_an_agent_that_is_not_active(desk: Desk) -> None:
    """NEEDS_APPROVAL and DENY, with hints; the strictest wins over an approval that is needed as well."""
    free = await explained(desk, await desk.task())
    assert (free["decision"], free["triggeredRules"]) == ("NEEDS_APPROVAL", ["task_unassigned"])
    assert free["remediationHints"]
    for state in (InstanceState.PAUSED, InstanceState.READONLY):
        task = await desk.task(T.IN_PROGRESS, await desk.agent(state=state))
        found = await explained(desk, task)
        assert found["decision"] == "DENY"
        assert any(rule.startswith("assignee_not_active") for rule in found["triggeredRules"])


async def test_view_4_the_verdict_of_policy_for_the_first_agent(desk: Desk) -> None:
    """Of the next step, of a named one, of a tool; nothing is written."""
    agent = await desk.agent()
    await desk.tenant.add(
        models.PolicyEnvelope(
            name="v",
            version=1,
            active=True,
            approval_triggers=["transition:DONE"],
            denied_tools=["shell"],
            attached_to_version_id=desk.version.id,
        )
    )
    task = await desk.task(T.IN_PROGRESS, agent)
    before = await fingerprint(desk.tenant.database, desk.tenant.id)
    assert (await explained(desk, task))["decision"] == "ALLOW"
    asked = await explained(desk, task, to="DONE")
    assert (asked["decision"], asked["requiredApprovals"]) == ("NEEDS_APPROVAL", [{"type": "COMPLETE_TASK"}])
    assert (await explained(desk, task, tool="shell"))["decision"] == "DENY"
    assert (await explained(desk, task, desk.as_agent(agent)))["decision"] == "ALLOW"
    assert await fingerprint(desk.tenant.database, desk.tenant.id) == before
    other = await desk.agent()
    barred = await ask(desk.tenant.database, desk.as_agent(other), EXPLAIN, id=tsk(task))
    assert barred.errors[0]["extensions"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("query", [GRAPH, RECOMMEND, EXPLAIN])
async def test_a_task_outside_of_the_grant_is_not_there(desk: Desk, query: str) -> None:
    """Decision 29: null, as for an unknown one."""
    project = models.Project(id=new_id(), name="Far", slug="far")
    await desk.tenant.add(project)
    task = await desk.task(project_id=project.id)
    scope = Scope(projects=frozenset({desk.tenant.project.id}))
    names = ("tasks", "instances", "intelligence", "policies", "approvals", "tool-calls", "change-records", "op-events")
    near = desk.tenant.actor(grants=Grants({f"read:{name}": scope for name in names}))
    for actor, key in ((near, tsk(task)), (desk.human, global_id("tsk", new_id()))):
        assert list((await one(desk, query, actor, id=key)).values()) == [None]
