"""Tasks and what is done for them, approvals and notifications (MIG-3, MIG-7, MIG-8)."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, agent, fleet, land, rejected, run, task
from tests.app.legacy.zips import row


def of(legacy_id: str, **fields: Any) -> dict[str, Any]:
    """A document of the tenant and project."""
    given = {"tenantId": "tenant", "projectId": "project", **fields}
    return row(legacy_id, NOW, **{name: value for name, value in given.items() if value is not None})


async def test_tasks(database: Database, tmp_path: Path) -> None:
    """MIG-8, BUD-5, decision 16: references renamed, budgets of 0 are none, sources that only Mission Control had."""
    agents = [agent("atlas"), agent("orbit")]
    tasks = [
        task("task", assigneeIds=["orbit", "atlas", "orbit"], creatorAgentId="atlas", reviewerId="orbit"),
        task(
            "sub",
            parentTaskId="task",
            budgetAllocated=0,
            source="MISSION_PROMPT",
            idempotencyKey=" ",
            recurrence={"frequency": "weekly", "interval": 1.0, "daysOfWeek": [1, 3], "endDate": NOW},
        ),
        task("paid", budgetAllocated=2.5, budgetRemaining=2, projectId=None),
    ]
    edges = [
        of("d1", parentTaskId="task", taskId="sub", dependsOnTaskId="paid"),
        of("d2", parentTaskId="task", taskId="sub", dependsOnTaskId="sub"),
    ]
    landed = await land(database, tmp_path, fleet(agents=agents, tasks=tasks, taskDependencies=edges))
    instances = {one["legacy_agent_id"]: one["id"] for one in await landed.rows(models.AgentInstance)}
    first, sub, paid = [await landed.of(models.Task, name) for name in ("task", "sub", "paid")]
    assigned = sorted(await landed.rows(models.TaskAssignee), key=lambda one: one["position"])
    assert [one["instance_id"] for one in assigned] == [instances["orbit"], instances["atlas"]]
    assert (first["creator_instance_id"], first["reviewer_instance_id"]) == (instances["atlas"], instances["orbit"])
    assert (sub["parent_task_id"], sub["budget_allocated"], sub["source"]) == (first["id"], None, "MISSION_PROMPT")
    assert sub["idempotency_key"] is None
    assert sub["recurrence"] == {
        "frequency": "WEEKLY",
        "interval": 1,
        "daysOfWeek": [1, 3],
        "endDate": "2026-11-23T01:22:02.000Z",
    }
    assert (paid["budget_allocated"], paid["project_id"]) == (Decimal("2.5"), first["project_id"])
    assert (await landed.row(models.TaskDependency))["depends_on_task_id"] == paid["id"]
    assert rejected(landed.report, "taskDependencies") == [("d2", "_id", False)]


async def test_instances_are_preferred_to_agents_where_both_lists_agree(database: Database, tmp_path: Path) -> None:
    """MIG-8: instance ids where present and of the same length, else the agents are resolved."""
    ids = {one: f"ins-{one}" for one in ("atlas", "orbit")}
    genome = {"modelConfig": {"modelId": "m"}, "promptBundleHash": "p"}
    place = {
        "tenantId": "tenant",
        "projectId": "project",
        "environmentId": "prod",
        "versionId": "v",
        "status": "ACTIVE",
    }
    tables = fleet(
        agentTemplates=[of("tpl", name="T")],
        agentVersions=[of("v", templateId="tpl", version=1, status="APPROVED", genome=genome)],
        agentInstances=[row(ids[one], NOW, **place, legacyAgentId=one) for one in ids],
        agents=[agent("atlas"), agent("orbit")],
        tasks=[
            task("same", assigneeIds=["atlas"], assigneeInstanceIds=["ins-orbit"]),
            task("fewer", assigneeIds=["atlas", "orbit"], assigneeInstanceIds=["ins-orbit"]),
        ],
    )
    landed = await land(database, tmp_path, tables)
    instances = {one["id"]: one["legacy_agent_id"] for one in await landed.rows(models.AgentInstance)}
    tasks = {one["id"]: one["metadata"]["legacyId"] for one in await landed.rows(models.Task)}
    found: dict[str, list[str]] = {}
    for one in sorted(await landed.rows(models.TaskAssignee), key=lambda row: row["position"]):
        found.setdefault(tasks[one["task_id"]], []).append(instances[one["instance_id"]])
    assert found == {"same": ["orbit"], "fewer": ["atlas", "orbit"]}


async def test_messages_runs_and_tool_calls(database: Database, tmp_path: Path) -> None:
    """MIG-8: authors, versions from the instance, the caller of a tool from its run, the project from the task."""
    tables = fleet(
        operators=[of("op", name="Jo", email="jo@acme.example", active=True)],
        messages=[
            of(
                "m1",
                taskId="task",
                authorType="AGENT",
                authorAgentId="atlas",
                type="COMMENT",
                content="hi",
                projectId=None,
            ),
            of(
                "m2",
                taskId="task",
                authorType="HUMAN",
                authorUserId="JO@acme.example",
                type="COMMENT",
                content="hi",
                replyToId="m1",
            ),
            of(
                "m3",
                taskId="task",
                authorType="HUMAN",
                authorUserId="stranger",
                type="COMMENT",
                content="hi",
                artifacts=[{"name": "a", "type": "b", "url": "c"}],
            ),
        ],
        runs=[run("r1", idempotencyKey=None, budgetAllocated=0, cacheReadTokens=5.0)],
        toolCalls=[
            of(
                "c1",
                runId="r1",
                toolName="read",
                riskLevel="GREEN",
                status="SUCCESS",
                startedAt=NOW,
                retryCount=0,
                taskId="task",
                policyResult={"decision": "NEEDS_APPROVAL", "reason": "r", "approvalId": "ap"},
            ),
            of("c2", runId="r9", toolName="read", riskLevel="GREEN", status="SUCCESS", startedAt=NOW, retryCount=0),
        ],
        approvals=[
            of(
                "ap",
                actionType="TOOL_EXECUTION",
                actionSummary="s",
                justification="j",
                status="PENDING",
                toolCallId="c1",
            )
        ],
    )
    landed = await land(database, tmp_path, tables)
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    first, second, third = [await landed.of(models.Message, name) for name in ("m1", "m2", "m3")]
    assert (first["author_instance_id"], first["project_id"]) == (instance["id"], instance["project_id"])
    assert (second["author_operator_id"], second["reply_to_id"]) == (operator["id"], first["id"])
    assert third["author_operator_id"] is None
    assert third["metadata"]["legacy"] == {"authorUserId": "stranger"}
    one = await landed.row(models.Run)
    assert (one["version_id"], one["instance_id"]) == (instance["version_id"], instance["id"])
    assert one["template_id"] == (await landed.row(models.AgentTemplate))["id"]
    assert (one["idempotency_key"], one["budget_allocated"], one["cache_read_tokens"]) == ("legacy:r1", None, 5)
    call = await landed.row(models.ToolCall)
    assert (call["instance_id"], call["version_id"]) == (instance["id"], instance["version_id"])
    assert call["policy_result"]["approvalId"] == str((await landed.row(models.ApprovalRecord))["id"])
    assert rejected(landed.report, "toolCalls") == [("c2", "runId", False)]
    assert not (await landed.again()).changed


def approval(legacy_id: str, **fields: Any) -> dict[str, Any]:
    given = {"actionType": "TOOL_EXECUTION", "actionSummary": "Do it", "justification": "Because", "status": "PENDING"}
    return of(legacy_id, **given | {"requestorAgentId": "atlas", "riskLevel": "YELLOW", "taskId": "task"} | fields)


async def test_approvals(database: Database, tmp_path: Path) -> None:
    """MIG-3, APR-2, decision 39: every field, expiry, votes, and what names no operator here."""
    tables = fleet(
        operators=[of("op", name="Jo", email="jo@acme.example", active=True)],
        approvals=[
            approval(
                "a1",
                justification="  ",
                expiresAt=NOW - 1,
                idempotencyKey="k1",
                estimatedCost=1.5,
                actionPayload={"a": 1},
            ),
            approval(
                "a2",
                status="APPROVED",
                riskLevel="RED",
                decidedByUserId="op",
                decidedAt=NOW,
                decisionReason="ok",
                firstDecisionByUserId="someone",
                firstDecisionAt=NOW - 5,
                firstDecisionReason="first",
                requiredDecisionCount=2,
                decisionCount=2,
                rollbackPlan="back",
            ),
            approval("a3", status="DENIED", decidedByAgentId="atlas", decidedAt=NOW, decisionCount=1),
            approval(
                "a4",
                status="ESCALATED",
                expiresAt=NOW,
                escalationLevel=1,
                escalatedAt=NOW,
                escalatedBy="system",
                escalationReason="late",
            ),
            approval("a5", actionType="DEPLOY", taskId=None),
            approval("a6", actionType="DANCE", requestorAgentId="ghost"),
            approval("a7", actionType="DANCE"),
        ],
    )
    landed = await land(database, tmp_path, tables)
    found = {one["legacy_approval_id"]: one for one in await landed.rows(models.ApprovalRecord)}
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    first = found["a1"]
    assert (first["justification"], first["status"]) == ("(none recorded)", "EXPIRED")
    assert (first["requester_instance_id"], first["version_id"]) == (instance["id"], instance["version_id"])
    assert (first["target_entity"], first["target_id"], first["task_id"]) == (
        "Task",
        first["task_id"],
        first["target_id"],
    )
    assert (first["estimated_cost"], first["action_payload"], first["idempotency_key"]) == (
        Decimal("1.5"),
        {"a": 1},
        "k1",
    )
    approved = found["a2"]
    assert (approved["decided_by_operator_id"], approved["decision_count"]) == (operator["id"], 2)
    assert approved["decisions"] == [
        {"text": "someone", "decision": "APPROVED", "reason": "first", "at": "2026-11-23T01:22:01.995Z"},
        {"operatorId": str(operator["id"]), "decision": "APPROVED", "reason": "ok", "at": "2026-11-23T01:22:02.000Z"},
    ]
    denied = found["a3"]
    assert (denied["decision_count"], denied["decided_by_operator_id"]) == (0, None)
    assert denied["metadata"]["decidedByInstanceId"] == str(instance["id"])
    escalated = found["a4"]
    assert (escalated["status"], escalated["escalation_level"]) == ("ESCALATED", 1), "expiry is strictly after"
    assert escalated["metadata"]["legacy"]["escalatedBy"] == "system"
    assert (found["a5"]["request_type"], found["a5"]["target_entity"]) == ("DEPLOYMENT", None)
    assert (found["a7"]["request_type"], found["a7"]["metadata"]["legacy"]["actionType"]) == ("TOOL_EXECUTION", "DANCE")
    assert rejected(landed.report, "approvals") == [("a6", "requestorAgentId", False)]
    assert any("'DANCE'" in note for note in landed.report.notes)


async def test_a_stale_mirror_of_an_approval(database: Database, tmp_path: Path) -> None:
    """MIG-3, C16: the record's id and lineage, the approval's content and decisions."""
    record = {
        "actionType": "DEPLOY",
        "justification": "mirror",
        "riskLevel": "RED",
        "requestedBy": "op",
        "requestedAt": NOW - DAY,
    }
    landed = await land(
        database,
        tmp_path,
        fleet(
            operators=[of("op", name="Jo", email="jo@acme.example", active=True)],
            approvals=[
                approval("a1", status="APPROVED", decidedAt=NOW, decidedByUserId="op"),
                approval("a2", status="BROKEN"),
            ],
            approvalRecords=[
                of("x1", **record, status="PENDING", legacyApprovalId="a1"),
                of("x2", **record, status="CANCELLED", legacyApprovalId="a2"),
                of("x3", **record, status="PENDING", decidedBy="stranger"),
            ],
        ),
    )
    operator = await landed.row(models.Operator, name="Jo")
    joined, alone, other = [await landed.of(models.ApprovalRecord, name) for name in ("x1", "x3", "x2")]
    assert (joined["status"], joined["legacy_approval_id"], joined["justification"]) == ("APPROVED", "a1", "Because")
    assert joined["decided_by_operator_id"] == operator["id"]
    assert joined["requested_at"] == datetime.fromtimestamp((NOW - DAY) / 1000, UTC)
    assert (joined["requester_id"], joined["requester_instance_id"] is None) == (None, False)
    assert (alone["requester_id"], alone["required_decision_count"]) == (operator["id"], 2)
    assert alone["metadata"]["decidedByText"] == "stranger"
    assert other["status"] == "CANCELED"
    assert landed.report.tables["approvals"].merged == 1
    assert rejected(landed.report, "approvals") == [("a2", "status", False)]
    assert not (await landed.again()).changed


async def test_reviews_and_execution_requests(database: Database, tmp_path: Path) -> None:
    """MIG-8, REV-3: former types of review; who asked and who answered."""
    review = {"taskId": "task", "status": "PENDING", "targetType": "TASK", "summary": "s"}
    tables = fleet(
        operators=[of("op", name="Jo", email="jo@acme.example", active=True)],
        reviews=[
            of("v1", **review, type="REQUEST_CHANGES", reviewerAgentId="atlas", responseBy="atlas", targetId="task"),
            of("v2", **review, type="REJECT", reviewerUserId="op", responseBy="op", changeset={"files": "x"}),
            of("v3", **review, type="LOVE"),
        ],
        executionRequests=[
            of(
                "q1",
                requestedBy="atlas",
                type="CODE_CHANGE",
                executor="CURSOR",
                status="PENDING",
                payload={"a": 1},
                taskId="task",
            ),
            of("q2", requestedBy="ghost", type="CODE_CHANGE", executor="CURSOR", status="PENDING", payload={}),
        ],
    )
    landed = await land(database, tmp_path, tables)
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    first, second = await landed.of(models.Review, "v1"), await landed.of(models.Review, "v2")
    assert (first["type"], first["reviewer_instance_id"]) == ("CHANGESET", instance["id"])
    assert (first["response_by_instance_id"], first["response_by_operator_id"]) == (instance["id"], None)
    assert first["target_id"] == str((await landed.row(models.Task))["id"])
    assert (second["type"], second["reviewer_operator_id"]) == ("REFUTE", operator["id"])
    assert (second["response_by_instance_id"], second["response_by_operator_id"]) == (None, operator["id"])
    assert second["metadata"]["legacy"]["changeset"] == {"files": "x"}
    assert ("v3", "type", False) in rejected(landed.report, "reviews")
    request = await landed.row(models.ExecutionRequest)
    assert (request["requested_by_instance_id"], request["requested_at"]) == (instance["id"], request["created_at"])


async def test_notifications(database: Database, tmp_path: Path) -> None:
    """MIG-7, MIG-9, C24: recipients, senders and types; history is not told again."""
    given = {"title": "T", "agentId": "atlas", "body": "B"}
    tables = fleet(
        operators=[of("op", name="Jo", email="jo@acme.example", active=True)],
        approvals=[approval("ap")],
        notifications=[
            of("n1", **given, type="MENTION", taskId="task", approvalId="ap", fromAgentId="atlas", readAt=NOW),
            of("n2", **given, type="SYSTEM", fromUserId="stranger"),
            of("n3", title="T", message="M", operatorId="op", type="EVAL_COMPLETED", severity="success", read=True),
            of("n4", title="T", operatorId="op", type="APPROVAL_REQUIRED", read=False),
            of("n5", title="T", type="SYSTEM"),
            of("n6", title="T", operatorId="op", type="CUSTOM_FUNCTION_ERROR"),
        ],
        notificationEvents=[of("e1", type="TASK_ASSIGNED", resourceType="task", resourceId="task", timestamp=NOW)],
    )
    landed = await land(database, tmp_path, tables)
    found = {one["metadata"]["legacyId"]: one for one in await landed.rows(models.Notification)}
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    first = found["n1"]
    assert (first["instance_id"], first["operator_id"], first["channel"]) == (instance["id"], None, "IN_APP")
    assert first["approval_record_id"] == (await landed.row(models.ApprovalRecord))["id"]
    assert (first["from_instance_id"], first["read_at"] is None) == (instance["id"], False)
    assert found["n2"]["metadata"]["legacy"]["fromUserId"] == "stranger"
    arm = found["n3"]
    assert (arm["type"], arm["operator_id"], arm["body"]) == ("EVALUATION_COMPLETED", operator["id"], "M")
    assert (arm["severity"], arm["read_at"]) == ("SUCCESS", arm["created_at"])
    assert (found["n4"]["type"], found["n4"]["read_at"]) == ("APPROVAL_REQUESTED", None)
    assert (found["n6"]["type"], found["n6"]["metadata"]["legacy"]["type"]) == ("SYSTEM", "CUSTOM_FUNCTION_ERROR")
    assert [one[0] for one in rejected(landed.report, "notifications")] == ["n5"]
    event = await landed.row(models.NotificationEvent)
    assert (event["event_type"], event["source_entity"]) == ("TASK_ASSIGNED", "Task")
    assert event["processed_at"] is not None
