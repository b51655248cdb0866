"""Evaluation, preferences and the platform (MIG-8, MIG-9, EVL-3, EVL-8, C25, C27, WHK-5)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.sealing import Seal
from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, agent, fleet, land, rejected, run
from tests.app.legacy.zips import row


def of(legacy_id: str, **fields: Any) -> dict[str, Any]:
    """A document of the tenant and project."""
    given = {"tenantId": "tenant", "projectId": "project", **fields}
    return row(legacy_id, NOW, **{name: value for name, value in given.items() if value is not None})


OPERATORS = [row("op", NOW, tenantId="tenant", name="Jo", email="jo@acme.example", active=True)]


@pytest.mark.parametrize(
    ("fields", "status", "rate"),
    [
        ({"status": "COMPLETED", "passRate": 0.8}, "PASSED", 0.8),
        ({"status": "COMPLETED", "passRate": 79}, "FAILED", 0.79),
        ({"status": "COMPLETED"}, "FAILED", None),
        ({"status": "FAILED"}, "ERROR", None),
        ({"status": "FAILED", "passRate": 0.5}, "FAILED", 0.5),
        ({"status": "CANCELLED"}, "CANCELED", None),
        ({"status": "PASSED", "passRate": 1}, "PASSED", 1.0),
    ],
)
async def test_statuses_of_evaluation_runs(
    database: Database, tmp_path: Path, fields: dict[str, Any], status: str, rate: float | None
) -> None:
    """C26, EVL-3: a threshold of 0.8 that is met passes; ARM's FAILED is an error; per cent become shares."""
    landed = await land(
        database, tmp_path, evaluation(evaluationRuns=[of("er", suiteId="su", versionId="ver", **fields)])
    )
    found = await landed.row(models.EvaluationRun)
    assert (found["status"], found["pass_rate"]) == (status, rate)


def evaluation(**tables: Any) -> dict[str, Any]:
    """A version and a suite to judge it by."""
    genome = {"modelConfig": {"model": "m"}, "promptBundleHash": "p"}
    case = {"id": "c", "name": "n", "input": {"q": 1}}
    return fleet(
        operators=OPERATORS,
        agentTemplates=[of("tpl", name="T", owners=["jo@acme.example", "gone@acme.example"])],
        agentVersions=[
            of(
                "ver",
                templateId="tpl",
                lifecycleState="TESTING",
                versionLabel="v1.2.0",
                genome=genome,
                evalStatus="RUNNING",
            )
        ],
        evaluationSuites=[of("su", templateId="tpl", name="S", testCases=[case], isActive=True, version=1)],
        **tables,
    )


async def test_evaluations_of_arm(database: Database, tmp_path: Path) -> None:
    """MIG-9, EVL-8: a document of several numbers becomes several rows; owners that are operators are owners."""
    body = {"type": "threshold", "code": "{}", "isActive": True}
    tables = evaluation(
        evaluationRuns=[
            of("er", suiteId="su", versionId="ver", status="COMPLETED", passRate=1, triggeredBy="op", completedAt=NOW)
        ],
        evaluationMetrics=[
            of(
                "em",
                runId="er",
                versionId="ver",
                suiteId="su",
                period="daily-2026-11-23",
                metrics={"overallScore": 0.9, "passRate": 1},
            ),
            of("en", runId="er", versionId="ver", metricName="p95DurationMs", metricValue=12, unit="ms", timestamp=NOW),
            of("eo", runId="er", versionId="ver", metrics={}),
        ],
        customScoringFunctions=[of("cf", name="F", **body)],
    )
    landed = await land(database, tmp_path, tables)
    operator = await landed.row(models.Operator, name="Jo")
    owner = await landed.row(models.AgentTemplateOwner, operator_id=operator["id"])
    template = await landed.of(models.AgentTemplate, "tpl")
    assert owner["template_id"] == template["id"]
    assert template["metadata"]["legacy"]["owners"] == ["jo@acme.example", "gone@acme.example"]
    version = await landed.of(models.AgentVersion, "ver")
    assert (version["lifecycle_state"], version["version_label"], version["eval_status"]) == (
        "TESTING",
        "v1.2.0",
        "RUNNING",
    )
    judged = await landed.row(models.EvaluationRun)
    assert (judged["triggered_by"], judged["triggered_by_operator_id"]) == (None, operator["id"])
    numbers = {
        one["metric_name"]: (one["metric_value"], one["period"]) for one in await landed.rows(models.EvaluationMetric)
    }
    assert numbers == {
        "overallScore": (0.9, "daily-2026-11-23"),
        "passRate": (1.0, "daily-2026-11-23"),
        "p95DurationMs": (12.0, None),
    }
    assert rejected(landed.report, "evaluationMetrics") == [("eo", "metrics", False)]
    assert (await landed.row(models.CustomScoringFunction))["function_type"] == "THRESHOLD"
    assert not (await landed.again()).changed


async def test_preferences_by_event_become_preferences_by_channel(database: Database, tmp_path: Path) -> None:
    """C25, NOT-4: one row for each channel, with the events that are wanted."""

    def preference(legacy_id: str, **fields: Any) -> dict[str, Any]:
        return row(legacy_id, NOW, tenantId="tenant", operatorId="op", **fields)

    preferences = [
        preference("f1", eventType="TASK_ASSIGNED", channels=["email", "in-app"], enabled=True, frequency="daily"),
        preference("f2", eventType="MENTION", channels=["email"], enabled=True),
        preference("f3", eventType="ALERT", channels=["in-app"], enabled=False),
        preference("f4", channel="SLACK", enabled=False, filters={"minSeverity": "ERROR"}),
        preference("f5", eventType="ALERT", slack=True, frequency="hourly-ish"),
    ]
    landed = await land(database, tmp_path, fleet(operators=OPERATORS, notificationPreferences=preferences))
    found = {one["channel"]: one for one in await landed.rows(models.NotificationPreference)}
    assert set(found) == {"EMAIL", "IN_APP", "SLACK"}
    assert (found["EMAIL"]["filters"], found["EMAIL"]["frequency"]) == (
        {"eventTypes": ["TASK_ASSIGNED", "MENTION"]},
        "daily",
    )
    assert found["IN_APP"]["filters"] == {"eventTypes": ["TASK_ASSIGNED"]}
    assert (found["SLACK"]["enabled"], found["SLACK"]["filters"]) == (False, {"minSeverity": "ERROR"})
    report = landed.report.tables["notificationPreferences"]
    assert (report.written, report.merged, report.rejected) == (2, 2, 1)
    assert not (await landed.again()).changed


async def test_flags_and_experiments(database: Database, tmp_path: Path) -> None:
    """C27, MIG-9: conditions out of columns, former statuses, operators as entities."""
    variants = [{"id": "a", "name": "A", "weight": 50}, {"id": "b", "name": "B", "weight": 50}]
    tables = fleet(
        operators=OPERATORS,
        featureFlags=[
            of(
                "ff",
                key="new-ui",
                enabled=True,
                rolloutPercentage=20,
                targetOperators=["op"],
                targetEnvironments=["prod"],
            )
        ],
        experiments=[
            of("x1", name="X", key="x", variants=variants, status="RUNNING", startDate=NOW - DAY),
            of("x2", name="Y", key="y", variants=variants, status="PAUSED"),
            of("x3", name="Z", variants=[{"id": "a"}], status="DRAFT"),
        ],
        experimentAssignments=[of("xa", experimentId="x1", operatorId="op", variantId="a", assignedAt=NOW)],
        experimentEvents=[
            of(
                "xe",
                experimentId="x1",
                variantId="a",
                eventType="conversion",
                entityType="OPERATOR",
                entityId="op",
                value=2,
            )
        ],
    )
    landed = await land(database, tmp_path, tables)
    operator = await landed.row(models.Operator, name="Jo")
    assert (await landed.row(models.FeatureFlag))["conditions"] == {
        "rolloutPercentage": 20,
        "targetOperators": [str(operator["id"])],
        "targetEnvironments": ["prod"],
    }
    running, paused = await landed.of(models.Experiment, "x1"), await landed.of(models.Experiment, "x2")
    assert (running["status"], running["started_at"]) == ("ACTIVE", datetime.fromtimestamp((NOW - DAY) / 1000, UTC))
    assert (paused["status"], paused["metadata"]["paused"]) == ("ACTIVE", True)
    assert rejected(landed.report, "experiments") == [("x3", "variants.name", False)]
    assigned, event = await landed.row(models.ExperimentAssignment), await landed.row(models.ExperimentEvent)
    assert (assigned["entity_type"], assigned["entity_id"]) == ("Operator", operator["id"])
    assert (event["entity_type"], event["entity_id"], event["value"]) == ("Operator", operator["id"], 2.0)


async def test_views_watches_and_webhooks(database: Database, tmp_path: Path) -> None:
    """MIG-8, WHK-5, decision 13: owners must be known, watched things too; every try of a delivery counts."""
    seal = Seal("a secret of more than thirty-two characters")
    view = {"name": "V", "scope": "KANBAN", "filters": {"agents": ["atlas"]}, "isShared": True}
    hook = {"name": "H", "url": "https://x.example", "secret": "s" * 16, "events": ["task.created"], "active": True}
    counters = {"deliveryCount": 1, "failureCount": 0}
    delivery = {"webhookId": "wh", "event": "task.created", "payload": {}, "url": "https://x.example", "maxAttempts": 3}
    tables = fleet(
        operators=OPERATORS,
        savedViews=[
            of("s1", ownerUserId="op", createdAt=NOW - DAY, updatedAt=NOW - 5, **view),
            of("s2", ownerUserId="stranger", **view),
        ],
        watchSubscriptions=[
            of("w1", userId="op", entityType="AGENT", entityId="atlas"),
            of("w2", userId="op", entityType="TASK", entityId="nothing"),
        ],
        webhooks=[of("wh", filters={"agentIds": ["atlas"], "statuses": ["DONE"]}, **hook, **counters)],
        webhookDeliveries=[
            of("d1", status="DELIVERED", attempts=0, deliveredAt=NOW, **delivery),
            of("d2", status="FAILED", attempts=3, extra="x", **delivery),
        ],
    )
    landed = await land(database, tmp_path, tables, seal=seal.seal)
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    saved = await landed.row(models.SavedView)
    assert (saved["owner_operator_id"], saved["filters"]) == (operator["id"], {"agents": [str(instance["id"])]})
    assert saved["created_at"] == datetime.fromtimestamp((NOW - DAY) / 1000, UTC)
    assert rejected(landed.report, "savedViews") == [("s2", "owner", False)]
    watch = await landed.row(models.WatchSubscription)
    assert (watch["entity_type"], watch["entity_id"], watch["operator_id"]) == (
        "INSTANCE",
        instance["id"],
        operator["id"],
    )
    assert rejected(landed.report, "watchSubscriptions") == [("w2", "entityId", False)]
    assert (await landed.row(models.Webhook))["filters"] == {"statuses": ["DONE"], "instanceIds": [str(instance["id"])]}
    assert sorted(one["attempts"] for one in await landed.rows(models.WebhookDelivery)) == [1, 3]
    assert landed.report.tables["webhookDeliveries"].lost == {"extra": 1}, "a table without metadata says what it lost"


async def test_alerts_controls_positions_and_captures(database: Database, tmp_path: Path) -> None:
    """MIG-8: agents renamed, people resolved or kept, what belongs to quality control in the metadata."""
    alert = {"severity": "ERROR", "type": "X", "title": "t", "description": "d", "status": "ACKNOWLEDGED"}
    tables = fleet(
        operators=OPERATORS,
        agents=[agent("atlas"), agent("orbit")],
        runs=[run("r1")],
        alerts=[of("a1", agentId="atlas", runId="r1", acknowledgedBy="op", qcRunId="q", **alert)],
        operatorControls=[
            row("c1", NOW, tenantId="tenant", mode="PAUSED", reason="r", updatedBy="op", updatedAt=NOW - DAY)
        ],
        orgAssignments=[
            of("o1", agentId="atlas", orgPosition="CEO", scope="PROJECT", assignedAt=NOW, assignedBy="seed"),
            of("o2", agentId="orbit", orgPosition="CEO", scope="PROJECT", assignedAt=NOW),
        ],
        captures=[
            of("p1", agentId="atlas", taskId="task", title="t", type="CHART", url="u", capturedAt=NOW, width=10.0)
        ],
        threadSubscriptions=[of("ts", agentId="atlas", taskId="task", subscribedAt=NOW, projectId=None)],
    )
    landed = await land(database, tmp_path, tables)
    instance = await landed.row(models.AgentInstance, legacy_agent_id="atlas")
    operator = await landed.row(models.Operator, name="Jo")
    found = await landed.row(models.Alert)
    assert (found["instance_id"], found["acknowledged_by_operator_id"]) == (instance["id"], operator["id"])
    assert found["metadata"]["legacy"] == {"qcRunId": "q"}
    control = await landed.row(models.OperatorControl)
    assert (control["project_id"], control["updated_by_operator_id"]) == (None, operator["id"])
    assert control["updated_at"] == datetime.fromtimestamp((NOW - DAY) / 1000, UTC)
    position = await landed.row(models.OrgAssignment)
    assert (position["instance_id"], position["metadata"]["legacy"]) == (instance["id"], {"assignedBy": "seed"})
    assert rejected(landed.report, "orgAssignments") == [("o2", "_id", False)]
    assert (await landed.row(models.Capture))["width"] == 10
    assert (await landed.row(models.ThreadSubscription))["project_id"] == instance["project_id"]
