"""The views of section 20: each is one document, and costs one statement for each type it touches, however many rows.

`tests/golden/views.json` keeps the number of statements of each beside the number of types, so that an N+1 is a diff.
After a change that is meant: `FLEETGRAPH_GOLDEN=write pytest tests/docs/test_views.py`, and read the diff.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    FieldNode,
    GraphQLObjectType,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    get_named_type,
    parse,
    validate,
    visit,
)

from app.auth.actor import Actor
from app.graph.ids import global_id
from app.graph.registry import ENTITIES
from app.schema import schema
from db.ids import new_id
from tests import asking
from tests.asking import ask, compiling
from tests.conftest import Demo
from tests.demo import NOW

ROOT = Path(__file__).resolve().parents[2]
VIEWS = sorted((ROOT / "docs" / "views").glob("*.graphql"))
QUERIES = {path.stem: path.read_text(encoding="utf-8") for path in VIEWS}
GOLDEN = ROOT / "tests" / "golden" / "views.json"
IS_WRITING = os.environ.get("FLEETGRAPH_GOLDEN") == "write"

SUBJECTS = {
    "agent": "SELECT instance_id AS id FROM runs WHERE tenant_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
    "peer-review": "SELECT task_id AS id FROM reviews WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "policies": "SELECT id FROM agent_instances WHERE tenant_id = $1 AND state = 'ACTIVE' ORDER BY id LIMIT 1",
    "policy-simulation": "SELECT id FROM agent_instances WHERE tenant_id = $1 AND state = 'ACTIVE' ORDER BY id LIMIT 1",
    "task": "SELECT task_id AS id FROM messages WHERE tenant_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
    "task-comments": "SELECT task_id AS id FROM messages WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "task-timeline": "SELECT task_id AS id FROM messages WHERE tenant_id = $1 ORDER BY id LIMIT 1",
    "task-why": "SELECT task_id AS id FROM task_assignees WHERE tenant_id = $1 ORDER BY task_id LIMIT 1",
    "task-graph": "SELECT parent_task_id AS id FROM task_dependencies WHERE tenant_id = $1 LIMIT 1",
    "version": "SELECT version_id AS id FROM runs WHERE tenant_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
}
"""A row with much about it, for the views of one row."""
PREFIXES = {"agent": "ins", "policies": "ins", "policy-simulation": "ins", "version": "ver"}


@pytest.fixture(params=VIEWS, ids=lambda path: path.stem)
def view(request: pytest.FixtureRequest) -> Path:
    """Each document."""
    path: Path = request.param
    return path


def test_a_view_says_what_it_is_and_is_valid(view: Path) -> None:
    text = QUERIES[view.stem]
    title, description, *_ = text.splitlines()
    assert title.startswith("# ")
    assert description.startswith("# ")
    (operation,) = parse(text).definitions
    assert isinstance(operation, OperationDefinitionNode)
    assert operation.name is not None
    assert validate(schema()._schema, parse(text)) == []


async def test_a_view_answers_and_takes_a_statement_for_each_type(demo_fleet: Demo, view: Path) -> None:
    """VIEW-2."""
    query = QUERIES[view.stem]
    variables = await variables_of(demo_fleet, view.stem)
    answer = await ask(demo_fleet.database, await viewer_of(demo_fleet, view.stem), query, **variables)
    assert answer.errors == []
    assert rows(answer.data) > 0, "nothing to see"
    found = {"statements": len(answer.statements), "types": touched(query, answer.data)}
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    if IS_WRITING:
        golden[view.stem] = found
        GOLDEN.write_text(json.dumps(dict(sorted(golden.items())), indent=2) + "\n")
    assert golden[view.stem] == found
    assert found["statements"] <= found["types"], "\n\n".join(answer.statements)


SHOWN = {
    "agent": "currentTask runs performance budget",
    "agents": "template versionLabel policyEnvelope orgAssignments taskStats",
    "analytics": "agentInstances leftUsd byInstance byModel byTaskType byDay successRate",
    "approvals": "requester decidedBy email decisions approvalStats",
    "audit": "changeRecords approvalRecords auditLogs auditLogStats operators",
    "calendar": "dueAt scheduledFor meetings",
    "captures": "captureStats captures task instance",
    "chat": "tasks messages agentInstances",
    "code-pipeline": "tasks workflowRuns",
    "command": "agentInstances approvalRecords",
    "cost": "costStats opEvents policyEnvelopes costLimits",
    "council": "approvalRecords changeRecords agentInstances",
    "crm": "agentInstances",
    "dashboard": "state defaultRole emoji spendToday currentTask taskStats approvalRecords changeRecords settings",
    "deployments": "template environment targetVersion previousVersion createdBy approvedBy",
    "directory": "tenants agentTemplates agentVersions agentInstances agentIdentities environments operators roles"
    " migrationHealth",
    "emergency": "emergencyModes operatorControls",
    "evaluation-analytics": "total trend versions",
    "evaluations": "suite version evaluationSuites passRate evaluationRunStats",
    "experiments": "results",
    "feature-flags": "featureFlags",
    "federation": "providers status",
    "health": "systemHealth requests incidents runStats auditLogs",
    "identities": "agentIdentities agentIdentityStats validationErrors",
    "incidents": "alert auditLog",
    "live-feed": "changeRecords messages name agentName",
    "loops": "alerts task",
    "meetings": "upcoming meetings participants",
    "memory": "agentDocuments agentPatterns agentInstances",
    "notifications": "notifications unreadNotifications notificationPreferences",
    "office": "agentInstances currentTask tasks",
    "org": "orgHierarchy settings",
    "peer-review": "reviews reviewStats agentInstances",
    "people": "orgMembers projects roleAssignments",
    "policies": "attachedToVersion attachedToTemplate attachedToProject attachedToTenant costLimits effectivePolicy"
    " policySimulate",
    "policy-simulation": "effectivePolicy policySimulate",
    "projects": "projects taskStats agentInstanceStats approvalStats",
    "roles": "roles permissions category roleAssignments operators",
    "scoring-functions": "customScoringFunctions examples",
    "search": "tasks approvals instances messages",
    "session": "tenants operator permissions",
    "standup": "tasksByStatus spentUsd waitingApprovals",
    "task": "timeline changeRecords messages runs toolCalls approvalRecords opEvents reviews reviewStats watches"
    " taskExplain taskTransitionSimulate deliverable actualCost",
    "task-board": "assignees priority riskLevel actualCost labels agentInstances allowedTransitionsForHuman savedViews",
    "task-board-filters": "agentInstances type priority savedViews",
    "task-comments": "messages authorInstance authorOperator agentInstances",
    "task-create": "agentInstances settings",
    "task-graph": "subtasks subtaskDependencies taskGraph",
    "task-timeline": "timeline reviewStats",
    "task-why": "taskExplain taskTransitionSimulate",
    "telegraph": "lastMessageAt messages unreadCount linkedTask linkedApproval",
    "telemetry": "opEvents telemetryStats agentInstances",
    "top-bar": "agentInstances approvalStats settings emergencyModes unreadNotifications",
    "version": "integrityStatus parentVersion childVersions changeRecords",
    "voice": "voiceArtifacts agentInstances",
    "workflows": "workflows workflowRuns steps workflowMetrics workflowRunStats",
}
"""The data that section 20 lists for each view, by the names of fields (or of their aliases)."""


def test_a_view_shows_what_section_20_lists_for_it(view: Path) -> None:
    names: set[str] = set()

    class Seen(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            names.update({node.name.value, (node.alias or node.name).value})

    visit(parse(QUERIES[view.stem]), Seen())
    assert set(SHOWN[view.stem].split()) <= names


async def test_what_is_unread_is_counted_in_the_conversations_own_statement(
    demo_fleet: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the gateway compiles a query; each person's own is what others have written."""
    made = compiling()
    monkeypatch.setattr(asking, "executor", lambda: made)
    query, counts = QUERIES["telegraph"], "node { id unreadCount }"
    answer = await ask(demo_fleet.database, demo_fleet.northwind, query)
    plain = await ask(demo_fleet.database, demo_fleet.northwind, query.replace("unreadCount", ""))
    assert len(answer.statements) == len(plain.statements) <= 6, "threads, messages, senders of two kinds, two links"
    writer = """SELECT sender_operator_id AS id FROM telegraph_messages
        WHERE tenant_id = $1 AND sender_operator_id IS NOT NULL AND status IN ('SENT', 'DELIVERED') LIMIT 1"""
    expected = """SELECT t.id, count(m.id) FROM telegraph_threads t LEFT JOIN telegraph_messages m
        ON m.tenant_id = t.tenant_id AND m.thread_id = t.id AND m.status IN ('SENT', 'DELIVERED')
            AND m.sender_operator_id IS DISTINCT FROM $2
        WHERE t.tenant_id = $1 GROUP BY 1"""
    tenant_id = demo_fleet.northwind.tenant_id
    async with demo_fleet.database.platform() as connection:
        person = (await connection.exec_driver_sql(writer, (tenant_id,))).one().id
        found = {row.id: row.count for row in await connection.exec_driver_sql(expected, (tenant_id, person))}
        all_of_it = {row.id: row.count for row in await connection.exec_driver_sql(expected, (tenant_id, new_id()))}
    assert found != all_of_it, "the person has written something that nobody has read"
    actor = dataclasses.replace(demo_fleet.northwind, id=person)
    threads = await ask(demo_fleet.database, actor, f"{{ telegraphThreads(first: 200) {{ edges {{ {counts} }} }} }}")
    shown = {edge["node"]["id"]: edge["node"]["unreadCount"] for edge in threads.data["telegraphThreads"]["edges"]}
    assert shown == {global_id("thr", row_id): number for row_id, number in found.items()}
    assert len(threads.statements) == 1


def test_the_golden_file_has_every_view_and_no_other() -> None:
    assert set(json.loads(GOLDEN.read_text())) == {path.stem for path in VIEWS}


async def viewer_of(demo: Demo, name: str) -> Actor:
    """Who opens a view: of what is somebody's own (NOT-6), a person who has some."""
    if name != "notifications":
        return demo.northwind
    found = """SELECT operator_id AS id FROM notification_preferences JOIN notifications USING (tenant_id, operator_id)
        WHERE tenant_id = $1 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"""
    async with demo.database.platform() as connection:
        row = (await connection.exec_driver_sql(found, (demo.northwind.tenant_id,))).one()
    return dataclasses.replace(demo.northwind, id=row.id)


async def variables_of(demo: Demo, name: str) -> dict[str, Any]:
    """What a view is opened with."""
    variables: dict[str, Any] = {}
    if name in SUBJECTS:
        async with demo.database.platform() as connection:
            row = (await connection.exec_driver_sql(SUBJECTS[name], (demo.northwind.tenant_id,))).one()
        key = "instance" if name.startswith("polic") else "id"
        variables[key] = global_id(PREFIXES.get(name, "tsk"), row.id)
    month = {"gte": (NOW - timedelta(days=31)).isoformat()}
    match name:
        case "policies":
            variables |= {"simulate": True, "tools": ["search", "shell"]}
        case "policy-simulation":
            variables["tools"] = ["search", "deploy_prod", "shell"]
        case "meetings":
            variables["now"] = (NOW - timedelta(days=60)).isoformat()
        case "search":
            variables["text"] = "re"
        case "calendar":
            variables |= {"from": (NOW - timedelta(days=60)).isoformat(), "to": (NOW + timedelta(days=60)).isoformat()}
        case "telemetry":
            variables["events"] = {"timestamp": month}
        case "cost" | "analytics":
            variables["costs"] = {"timestamp": month}
        case "workflows":
            variables["asOf"] = NOW.isoformat()
        case "standup":
            variables["hours"] = 744
    return variables


COMPUTED = {
    "allowedTransitions": 2,
    "effectivePolicy": 1,
    "emergencyMode": 1,
    "emergencyModes": 2,
    "incidents": 3,
    "orgHierarchy": 2,
    "results": 1,
    "reviewStats": 1,
    "systemHealth": 2,
    "taskExplain": 3,
    "timeline": 6,
    "unreadCount": 1,
    "totalCount": 1,
    "unreadNotifications": 1,
    "workflowMetrics": 2,
} | dict.fromkeys(("tasksByStatus", "instancesByState", "runs", "spentUsd"), 1)
"""Fields that are no rows of a type, with the statements that they take: a total is counted by one of its own, and
what is unread of conversations too where resolvers read it,
`incidents` reads two tables by an order that both share, `emergencyModes` settings and projects, `systemHealth` times
the database apart, `orgHierarchy` reads people and agents, `workflowMetrics` runs and their steps, `timeline` six kinds
of rows, `allowedTransitions` and `taskExplain` the task and its policy."""
POLYMORPHIC = {"target", "actor", "entity"}
"""Fields with a row of any type: one statement for each type that is there."""


def touched(query: str, data: Any) -> int:
    """How many types a document touches: those that stand for tables, and figures.

    A type that is shown in two roles, such as the task's runs and an agent's, counts for each field that leads to it
    from another type.
    """
    info = TypeInfo(schema()._schema)
    found: dict[tuple[str, ...], int] = {}

    class Seen(Visitor):
        def enter_field(self, node: FieldNode, *_: Any) -> None:
            kind, parent, name = get_named_type(info.get_type()), info.get_parent_type(), node.name.value
            if parent is None:
                return
            place = (parent.name, (node.alias or node.name).value if parent.name == "Query" else name)
            entity = kind.name.removesuffix("Connection") if isinstance(kind, GraphQLObjectType) else ""
            if name in COMPUTED and not (name == "runs" and parent.name != "Standup"):
                found[place] = COMPUTED[name]
            elif entity and name not in ("node", "edges") and (entity in ENTITIES or parent.name == "Query"):
                found[place] = 1

    visit(parse(query), TypeInfoVisitor(info, Seen()))
    return sum(found.values()) + len(set(pointed_to(data)))


def pointed_to(answer: Any, field: str = "", place: str = "") -> Iterator[tuple[str, str, str]]:
    """The types of the rows that stand where any type may, for each list or row that leads to them."""
    match answer:
        case dict():
            if field in POLYMORPHIC and "__typename" in answer:
                yield place, field, answer["__typename"]
            for name, value in answer.items():
                yield from pointed_to(value, name, place if field in ("edges", "node") else field)
        case list():
            for value in answer:
                yield from pointed_to(value, field, place)


def rows(answer: Any) -> int:
    """How many objects an answer holds."""
    match answer:
        case dict():
            return 1 + sum(map(rows, answer.values())) if answer else 0
        case list():
            return sum(map(rows, answer))
    return 0
