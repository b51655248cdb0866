"""What agents have learnt, how they talk, and the workflows they run (MIG-8)."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, fleet, land, rejected
from tests.app.legacy.zips import row


def of(legacy_id: str, **fields: Any) -> dict[str, Any]:
    """A document of the tenant and project."""
    given = {"tenantId": "tenant", "projectId": "project", **fields}
    return row(legacy_id, NOW, **{name: value for name, value in given.items() if value is not None})


OPERATORS = [row("op", NOW, tenantId="tenant", name="Jo", email="jo@acme.example", active=True)]


async def test_what_agents_have_learnt(database: Database, tmp_path: Path) -> None:
    """C5, MIG-8: instance and version in place of the agent."""
    counts = {"successCount": 3, "failureCount": 1, "totalTasksCompleted": 4}
    tables = fleet(
        agentPerformance=[
            of(
                "p1",
                agentId="atlas",
                taskType="OPS",
                avgCompletionTimeMs=10,
                avgCostUsd=0.2,
                lastUpdatedAt=NOW,
                **counts,
            )
        ],
        agentPatterns=[
            of(
                "q1",
                agentId="atlas",
                pattern="strength:x",
                confidence=0.7,
                evidence=["t1"],
                discoveredAt=NOW,
                lastSeenAt=NOW,
            ),
            of(
                "q2",
                agentId="atlas",
                pattern="strength:y",
                confidence=1.2,
                evidence=[],
                discoveredAt=NOW,
                lastSeenAt=NOW,
            ),
        ],
        agentDocuments=[
            of("d1", agentId="atlas", type="WORKING_MD", content="# x", updatedAt=NOW - DAY, projectId=None)
        ],
    )
    landed = await land(database, tmp_path, tables)
    instance = await landed.row(models.AgentInstance)
    measured = await landed.row(models.AgentPerformance)
    assert (measured["instance_id"], measured["version_id"]) == (instance["id"], instance["version_id"])
    assert (measured["avg_cost_usd"], measured["success_count"]) == (Decimal("0.2"), 3)
    assert (await landed.row(models.AgentPattern))["version_id"] == instance["version_id"]
    assert rejected(landed.report, "agentPatterns") == [("q2", "confidence", False)]
    document = await landed.row(models.AgentDocument)
    assert document["updated_at"] == datetime.fromtimestamp((NOW - DAY) / 1000, UTC)
    assert document["project_id"] == instance["project_id"]


async def test_telegraph_meetings_and_voice(database: Database, tmp_path: Path) -> None:
    """MIG-8, decision 13: texts that are ids of agents or people become those of their rows, others stay."""
    approval = {"actionType": "SPAWN", "actionSummary": "s", "justification": "j", "status": "PENDING"}
    tables = fleet(
        operators=OPERATORS,
        approvals=[of("ap", **approval)],
        telegraphThreads=[
            of(
                "th",
                title="T",
                participants=["atlas", "op", "OPERATOR"],
                channel="INTERNAL",
                messageCount=2,
                linkedApprovalId="ap",
            )
        ],
        telegraphMessages=[
            of(
                "t1",
                threadId="th",
                senderId="atlas",
                senderType="AGENT",
                content="x",
                channel="INTERNAL",
                status="SENT",
            ),
            of(
                "t2",
                threadId="th",
                senderId="op",
                senderType="HUMAN",
                content="x",
                channel="INTERNAL",
                status="READ",
                replyToId="t1",
            ),
            of(
                "t3",
                threadId="th",
                senderId="OPERATOR",
                senderType="HUMAN",
                content="x",
                channel="INTERNAL",
                status="SENT",
            ),
        ],
        meetings=[
            of(
                "me",
                title="M",
                scheduledAt=NOW,
                duration=30,
                status="CANCELLED",
                provider="ZOOM",
                hostAgentId="atlas",
                participants=[{"agentId": "atlas", "role": "host"}, {"agentId": "guest"}],
                actionItems=[
                    {"description": "d", "completed": False, "assigneeAgentId": "atlas", "taskId": "task", "dueAt": NOW}
                ],
            ),
            of(
                "mf",
                title="M",
                scheduledAt=NOW,
                duration=5,
                status="SCHEDULED",
                provider="MANUAL",
                hostAgentId="guest",
                participants=[],
            ),
        ],
        voiceArtifacts=[
            of("vo", agentId="atlas", text="x", provider="OTHER", linkedMessageId="t1", linkedMeetingId="me")
        ],
    )
    landed = await land(database, tmp_path, tables)
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    thread = await landed.row(models.TelegraphThread)
    assert thread["participants"] == [str(instance["id"]), str(operator["id"]), "OPERATOR"]
    assert thread["linked_approval_id"] == (await landed.row(models.ApprovalRecord))["id"]
    first, second, third = [await landed.of(models.TelegraphMessage, name) for name in ("t1", "t2", "t3")]
    assert (first["sender_instance_id"], first["sender_operator_id"]) == (instance["id"], None)
    assert (second["sender_operator_id"], second["reply_to_id"]) == (operator["id"], first["id"])
    assert (third["sender_instance_id"], third["sender_operator_id"]) == (None, None)
    assert third["metadata"]["legacy"] == {"senderId": "OPERATOR"}
    meeting, other = await landed.of(models.Meeting, "me"), await landed.of(models.Meeting, "mf")
    assert (meeting["status"], meeting["host_instance_id"]) == ("CANCELLED", instance["id"])
    assert meeting["participants"] == [{"agentId": str(instance["id"]), "role": "host"}, {"agentId": "guest"}]
    assert meeting["action_items"] == [
        {
            "description": "d",
            "completed": False,
            "assigneeAgentId": str(instance["id"]),
            "taskId": str((await landed.row(models.Task))["id"]),
            "dueAt": "2026-11-23T01:22:02.000Z",
        }
    ]
    assert (other["host_instance_id"], other["metadata"]["legacy"]) == (None, {"hostAgentId": "guest"})
    voice = await landed.row(models.VoiceArtifact)
    assert (voice["instance_id"], voice["linked_meeting_id"]) == (instance["id"], meeting["id"])


async def test_workflows_and_their_runs(database: Database, tmp_path: Path) -> None:
    """Decision 22: a run names its definition by key; its steps name instances."""
    step = {"id": "s", "agent": "a", "input": "i", "expects": "e", "retryLimit": 1, "timeoutMinutes": 5}
    definition = {
        "name": "F",
        "description": "d",
        "agents": [{"id": "a", "persona": "p"}],
        "steps": [step],
        "active": True,
        "version": 1,
    }
    state = {
        "stepId": "s",
        "status": "RUNNING",
        "retryCount": 0,
        "agentId": "atlas",
        "taskId": "task",
        "startedAt": NOW,
    }
    execution = {
        "status": "RUNNING",
        "currentStepIndex": 0,
        "totalSteps": 1,
        "context": {},
        "initialInput": "x",
        "startedAt": NOW,
    }
    tables = fleet(
        workflows=[
            of("w1", workflowId="feature", createdAt=NOW - DAY, updatedAt=NOW - 5, createdBy="nobody", **definition),
            of("w2", workflowId="bad", **definition | {"steps": [{"id": "s"}]}),
        ],
        workflowRuns=[
            of("x1", runId="abc", workflowId="feature", steps=[state], parentTaskId="task", **execution),
            of("x2", runId="abd", workflowId="unknown", steps=[], **execution),
        ],
    )
    landed = await land(database, tmp_path, tables)
    workflow, found = await landed.row(models.Workflow), await landed.row(models.WorkflowRun)
    assert workflow["workflow_key"] == "feature"
    assert workflow["created_at"] == datetime.fromtimestamp((NOW - DAY) / 1000, UTC)
    assert workflow["metadata"]["legacy"]["createdBy"] == "nobody"
    assert (found["workflow_id"], found["run_key"]) == (workflow["id"], "abc")
    assert found["steps"] == [
        {
            "stepId": "s",
            "status": "RUNNING",
            "retryCount": 0,
            "instanceId": str((await landed.row(models.AgentInstance))["id"]),
            "taskId": str((await landed.row(models.Task))["id"]),
            "startedAt": "2026-11-23T01:22:02.000Z",
        }
    ]
    assert rejected(landed.report, "workflows") == [("w2", "steps.agent", False)]
    assert rejected(landed.report, "workflowRuns") == [("x2", "workflowId", False)]
