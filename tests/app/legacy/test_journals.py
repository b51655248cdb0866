"""Activities, transitions, change records and telemetry (MIG-4, MIG-5, MIG-6, MIG-8, MIG-9, AUD-2)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from db import models
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, fleet, land, rejected, run, task
from tests.app.legacy.zips import row


def activity(legacy_id: str, action: str, at: float = NOW, **fields: Any) -> dict[str, Any]:
    given = {
        "tenantId": "tenant",
        "projectId": "project",
        "action": action,
        "actorType": "SYSTEM",
        "description": action,
    }
    return row(legacy_id, at, **given | fields)


def transition(legacy_id: str, at: float = NOW, **fields: Any) -> dict[str, Any]:
    given = {
        "tenantId": "tenant",
        "taskId": "task",
        "fromStatus": "INBOX",
        "toStatus": "ASSIGNED",
        "actorType": "AGENT",
    }
    return row(legacy_id, at, **given | {"actorAgentId": "atlas"} | fields)


def change(legacy_id: str, kind: str, at: float = NOW, **fields: Any) -> dict[str, Any]:
    return row(legacy_id, at, tenantId="tenant", type=kind, timestamp=at, **fields)


async def test_activities_become_change_records(database: Database, tmp_path: Path) -> None:
    """MIG-4: actor, target, states and time of each."""
    at: dict[str, Any] = {"targetType": "AGENT", "targetId": "atlas"}
    landed = await land(
        database,
        tmp_path,
        fleet(
            operators=[row("op", NOW, tenantId="tenant", name="Jo", email="jo@acme.example", active=True)],
            activities=[
                activity("a1", "PROJECT_CREATED", targetType="PROJECT", targetId="project"),
                activity("a2", "AGENT_PAUSED", actorType="HUMAN", actorId="op", **at, beforeState={"status": "ACTIVE"},
                         afterState={"status": "PAUSED"}),
                activity("a3", "AGENT_QUARANTINED", actorType="HUMAN", actorId="stranger", **at),
                activity("a4", "TASK_CREATED", actorType="AGENT", actorId="atlas", taskId="task"),
                activity("a5", "AUTO_ASSIGNED", taskId="task"),
                activity("a6", "WORKFLOW_STARTED"),
                activity("a7", "OPERATOR_MODE_UPDATED", afterState={"mode": "PAUSED"}),
                activity("a8", "OPERATOR_MODE_UPDATED", metadata={"mode": "QUARANTINED"}),
                activity("a9", "APPROVAL_DENIED", taskId="task"),
                activity("b1", "TASK_CREATED", targetType="TASK", targetId="nothing"),
            ],
        ),
    )  # fmt: skip
    found = {one["metadata"].get("legacyId"): one for one in await landed.rows(models.ChangeRecord)}
    kinds = {
        legacy_id: found[legacy_id]["type"] for legacy_id in ("a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9")
    }
    assert kinds == {
        "a1": "PROJECT_CREATED",
        "a2": "INSTANCE_TRANSITIONED",
        "a3": "EMERGENCY_QUARANTINE",
        "a4": "TASK_CREATED",
        "a5": "TASK_ASSIGNED",
        "a6": "WORKFLOW_STARTED",
        "a7": "EMERGENCY_PAUSE",
        "a8": "EMERGENCY_QUARANTINE",
        "a9": "APPROVAL_DECIDED",
    }
    instance, operator = await landed.row(models.AgentInstance), await landed.row(models.Operator, name="Jo")
    paused = found["a2"]
    assert (paused["actor_type"], paused["actor_id"]) == ("HUMAN", operator["id"])
    assert (paused["target_entity"], paused["target_id"]) == ("AgentInstance", instance["id"])
    assert (paused["before_state"], paused["after_state"]) == ({"status": "ACTIVE"}, {"status": "PAUSED"})
    assert int(paused["timestamp"].timestamp() * 1000) == NOW
    assert (found["a3"]["actor_id"], found["a3"]["metadata"]["actorText"]) == (None, "stranger")
    assert (found["a4"]["actor_id"], found["a4"]["target_entity"]) == (instance["id"], "Task")
    assert found["a6"]["target_entity"] == "Project"
    assert found["a9"]["after_state"] == {"status": "DENIED"}
    assert rejected(landed.report, "activities") == [("b1", "targetId", False)]


async def test_activities_become_events_and_audit_logs(database: Database, tmp_path: Path) -> None:
    """MIG-4: what is no change of the system of record; an action that no rule maps is counted in the report."""
    message = row("m1", NOW, tenantId="tenant", taskId="task", authorType="SYSTEM", type="SYSTEM", content="x")
    landed = await land(
        database,
        tmp_path,
        fleet(
            messages=[message],
            activities=[
                activity("a1", "PROJECT_UPDATED", targetType="PROJECT", targetId="project"),
                activity("a2", "SAVED_VIEW_CREATED"),
                activity("a3", "ERROR_LOGGED"),
                activity("a4", "OPERATOR_MODE_UPDATED", afterState={"mode": "NORMAL"}),
                activity("a5", "MESSAGE_POSTED", targetId="m1", taskId="task", agentId="atlas"),
                activity("a6", "MESSAGE_POSTED", targetId="m9", taskId="task"),
                activity("a7", "EXECUTION_STARTED", taskId="task", actorType="AGENT", actorId="atlas"),
                activity("a8", "DANCED", metadata={"how": "well"}),
                activity("a9", "TASK_ROUTED", NOW - 40 * DAY),
            ],
        ),
    )
    audit = {one["metadata"]["legacyId"]: one for one in await landed.rows(models.AuditLog)}
    assert {name: (one["severity"], one["action"]) for name, one in audit.items()} == {
        "a1": ("INFO", "PROJECT_UPDATED"),
        "a2": ("INFO", "SAVED_VIEW_CREATED"),
        "a3": ("ERROR", "ERROR_LOGGED"),
        "a4": ("INFO", "OPERATOR_MODE_UPDATED"),
    }
    assert audit["a1"]["resource_id"] == str((await landed.row(models.Project))["id"])
    events = {one["event_id"]: one for one in await landed.rows(models.OpEvent)}
    assert {name: one["type"] for name, one in events.items()} == {
        "a5": "MESSAGE_SENT",
        "a7": "DECISION_MADE",
        "a8": "DECISION_MADE",
    }
    instance = await landed.row(models.AgentInstance)
    assert events["a5"]["payload"]["messageId"] == str((await landed.row(models.Message))["id"])
    assert events["a5"]["version_id"] == instance["version_id"]
    assert events["a7"]["instance_id"] == instance["id"]
    assert events["a7"]["payload"]["stage"] == "EXECUTION_STARTED"
    assert events["a8"]["payload"]["metadata"] == {"how": "well"}
    assert any("'DANCED'" in note for note in landed.report.notes)
    assert landed.report.tables["activities"].skipped == {
        "of a message that is not there": 1,
        "op event older than 30 days": 1,
    }


async def test_a_transition_is_recorded_once(database: Database, tmp_path: Path) -> None:
    """MIG-4, MIG-5, MIG-0f: an activity or a mirrored record of the same task, states and two seconds is the same."""
    states = {"beforeState": {"status": "INBOX"}, "afterState": {"status": "ASSIGNED"}}
    on_task = {"targetType": "TASK", "targetId": "task"}
    landed = await land(
        database,
        tmp_path,
        fleet(
            taskTransitions=[
                transition("t1", reason="go", idempotencyKey="k1", sessionKey="s", validationResult={"valid": True}),
                transition(
                    "t2",
                    NOW + 60_000,
                    fromStatus="ASSIGNED",
                    toStatus="INBOX",
                    actorType="HUMAN",
                    actorAgentId=None,
                    actorUserId="jo",
                ),
                transition("t3", NOW + 90_000, idempotencyKey="k1"),
                transition("t4", taskId="nothing"),
            ],
            activities=[
                activity("a1", "TASK_TRANSITION", NOW + 1_999, **on_task, **states),
                activity("a2", "TASK_TRANSITION", NOW + 2_001, **on_task, **states),
                activity("a3", "TASK_TRANSITION", NOW + 60_000, **on_task, **states),
            ],
            changeRecords=[
                change(
                    "c1",
                    "TASK_TRANSITIONED",
                    NOW + 500,
                    relatedTable="tasks",
                    relatedId="task",
                    payload={"status": "ASSIGNED"},
                ),
                change("c2", "TASK_TRANSITIONED", NOW + 500, targetEntity="Task", targetId="task", **states),
            ],
        ),
    )
    rows = [one for one in await landed.rows(models.ChangeRecord) if one["type"] == "TASK_TRANSITIONED"]
    found = {one["metadata"]["legacyId"]: one for one in rows}
    assert set(found) == {"t1", "t2", "t3", "a2", "a3"}
    first = found["t1"]
    assert (first["reason"], first["idempotency_key"]) == ("go", "k1")
    assert (first["before_state"], first["after_state"]) == ({"status": "INBOX"}, {"status": "ASSIGNED"})
    assert first["actor_id"] == (await landed.row(models.AgentInstance))["id"]
    assert (first["metadata"]["sessionKey"], first["metadata"]["validationResult"]) == ("s", {"valid": True})
    assert (found["t2"]["actor_id"], found["t2"]["metadata"]["actorText"]) == (None, "jo")
    assert (found["t3"]["idempotency_key"], found["t3"]["metadata"]["idempotencyKey"]) == (None, "k1")
    assert rejected(landed.report, "taskTransitions") == [("t4", "taskId", False)]
    assert landed.report.tables["activities"].merged == 1
    assert landed.report.tables["changeRecords"].merged == 2
    assert not (await landed.again()).changed


async def test_an_agent_is_recorded_as_made_once(database: Database, tmp_path: Path) -> None:
    """MIG-1, MIG-4: the import records that it made the instance; the activity of its registration says the same."""
    at: dict[str, Any] = {"targetType": "AGENT", "targetId": "atlas"}
    activities = [activity("a1", "AGENT_REGISTERED", NOW - DAY + 900, **at), activity("a2", "AGENT_DEPLOYED", **at)]
    landed = await land(database, tmp_path, fleet(activities=activities))
    made = [one for one in await landed.rows(models.ChangeRecord) if one["type"] == "INSTANCE_CREATED"]
    assert {one["metadata"]["legacyId"] for one in made} == {"atlas", "a2"}
    assert landed.report.tables["activities"].merged == 1


async def test_change_records_that_were_written_alongside(database: Database, tmp_path: Path) -> None:
    """MIG-8, AUD-2: Mission Control's shape, ARM's types, and what is no change record here."""
    about: dict[str, Any] = {"relatedTable": "agents", "relatedId": "atlas"}
    landed = await land(
        database,
        tmp_path,
        fleet(
            changeRecords=[
                change(
                    "c1",
                    "INSTANCE_TRANSITIONED",
                    **about,
                    summary="It paused",
                    payload={"status": "PAUSED"},
                    instanceId="atlas",
                ),
                change("c2", "POLICY_DENIED", **about, payload="no"),
                change(
                    "c3", "POLICY_UPDATED", targetEntity="Project", targetId="project", before={"a": 1}, after={"a": 2}
                ),
                change("c4", "APPROVAL_CANCELLED", relatedTable="tasks", relatedId="task"),
                change("c5", "AGENT_RENAMED", **about),
                change("c6", "DEPLOYMENT_UPDATED", **about, payload={"status": "ROLLING_BACK"}),
                change("c7", "QC_RUN_CREATED", relatedTable="qcRuns", relatedId="q"),
                change("c8", "ROLE_CREATED", relatedTable="roles", relatedId="r"),
                change("c9", "EVAL_RUN_COMPLETED", payload={"passRate": 1}),
                change("d1", "INSTANCE_HEARTBEAT", **about),
                change("d2", "TEMPLATE_CREATED", relatedTable="agentTemplates", relatedId="nothing"),
                change("d3", "TENANT_BOOTSTRAPPED", actorType="HUMAN", actorId="x", evidenceLinks=["http://e"]),
            ]
        ),
    )
    found = {one["metadata"].get("legacyId"): one for one in await landed.rows(models.ChangeRecord)}
    kinds = {
        legacy_id: one["type"]
        for legacy_id, one in found.items()
        if legacy_id in {"c1", "c2", "c3", "c4", "c5", "c6", "d3"}
    }
    assert kinds == {
        "c1": "INSTANCE_TRANSITIONED",
        "c2": "POLICY_EVALUATED",
        "c3": "POLICY_ATTACHED",
        "c4": "APPROVAL_DECIDED",
        "c5": "INSTANCE_TRANSITIONED",
        "c6": "DEPLOYMENT_ROLLED_BACK",
        "d3": "TENANT_BOOTSTRAPPED",
    }
    first = found["c1"]
    assert (first["summary"], first["reason"], first["after_state"]) == ("It paused", "It paused", {"status": "PAUSED"})
    assert first["instance_id"] == first["target_id"] == (await landed.row(models.AgentInstance))["id"]
    assert found["c2"]["after_state"] == {"value": "no"}
    assert (found["c3"]["before_state"], found["c3"]["after_state"]) == ({"a": 1}, {"a": 2})
    assert found["c4"]["after_state"] == {"status": "CANCELED"}
    assert found["c5"]["metadata"]["legacyType"] == "AGENT_RENAMED"
    assert (found["d3"]["target_entity"], found["d3"]["target_id"]) == ("Tenant", await landed.tenant_id())
    assert found["d3"]["evidence_links"] == ["http://e"]
    assert (await landed.row(models.AuditLog))["action"] == "ROLE_CREATED"
    events = {one["event_id"]: one for one in await landed.rows(models.OpEvent)}
    assert {name: one["type"] for name, one in events.items()} == {"c9": "DECISION_MADE", "d1": "HEARTBEAT"}
    assert events["c9"]["payload"]["stage"] == "EVALUATION"
    assert events["d1"]["instance_id"] == first["instance_id"]
    assert landed.report.tables["changeRecords"].skipped.total() == 1
    assert rejected(landed.report, "changeRecords") == [("d2", "targetId", False)]


async def test_telemetry_that_was_written_alongside(database: Database, tmp_path: Path) -> None:
    """MIG-8, OPE-1, COST-1: version and project come from the instance, cost and model are columns; other types are
    counted."""

    def event(legacy_id: str, kind: str, **fields: Any) -> dict[str, Any]:
        return row(legacy_id, NOW, tenantId="tenant", type=kind, timestamp=NOW - 1, **fields)

    landed = await land(
        database,
        tmp_path,
        fleet(
            runs=[run("r1")],
            changeRecords=[change("c1", "BUDGET_EXCEEDED", relatedTable="agents", relatedId="atlas")],
            opEvents=[
                event("e1", "RUN_FAILED", agentId="atlas", runId="r1", taskId="task", payload={"status": "TIMEOUT"}),
                event(
                    "e2",
                    "COST_TICK",
                    instanceId="atlas",
                    payload={"deltaUsd": 0.25, "model": "gpt-5"},
                    changeRecordId="c1",
                ),
                event("e3", "QC_RUN_STARTED"),
                event("e4", "HEARTBEAT", agentId="ghost"),
                event("e5", "MESSAGE_SENT", extra=1, payload=None),
            ],
        ),
    )
    found = {one["event_id"]: one for one in await landed.rows(models.OpEvent)}
    instance = await landed.row(models.AgentInstance)
    assert set(found) == {"e1", "e2", "e5"}
    assert (found["e1"]["type"], found["e1"]["payload"]) == ("RUN_FAILED", {"status": "TIMEOUT"})
    assert found["e1"]["run_id"] == (await landed.row(models.Run))["id"]
    assert (found["e1"]["version_id"], found["e1"]["project_id"]) == (instance["version_id"], instance["project_id"])
    assert (found["e2"]["delta_usd"], found["e2"]["model"]) == (Decimal("0.25"), "gpt-5")
    change_id = next(one["id"] for one in await landed.rows(models.ChangeRecord) if one["type"] == "BUDGET_EXCEEDED")
    assert found["e2"]["change_record_id"] == change_id
    assert found["e5"]["payload"] == {"legacy": {"extra": 1}}
    assert landed.report.tables["opEvents"].skipped == {"QC_RUN_STARTED is no type of op event here": 1}
    assert rejected(landed.report, "opEvents") == [("e4", "instanceId", False)]
    for one in found.values():
        assert one["id"].int >> 80 == NOW - 1, "decision 5: the id carries the event's own time"


async def test_task_events(database: Database, tmp_path: Path) -> None:
    """MIG-6: linked to the record of the same task within two seconds; not doubled where an op event was written."""

    def event(legacy_id: str, kind: str, at: float = NOW, **fields: Any) -> dict[str, Any]:
        given = {"tenantId": "tenant", "taskId": "task", "eventType": kind, "actorType": "SYSTEM", "timestamp": at}
        return row(legacy_id, NOW, **given | fields)

    call = {"tenantId": "tenant", "runId": "r1", "toolName": "read", "riskLevel": "GREEN", "status": "SUCCESS"}
    landed = await land(
        database,
        tmp_path,
        fleet(
            runs=[run("r1")],
            toolCalls=[row("tc", NOW, **call, startedAt=NOW, retryCount=0)],
            taskTransitions=[transition("t1")],
            opEvents=[row("e1", NOW, tenantId="tenant", type="RUN_STARTED", timestamp=NOW, runId="r1")],
            taskEvents=[
                event("x1", "RUN_STARTED", relatedId="r1"),
                event("x2", "RUN_COMPLETED", relatedId="r1"),
                event("x3", "TOOL_CALL", relatedId="tc", actorType="AGENT", actorId="atlas"),
                event("x4", "TASK_TRANSITION", NOW - 1_500, beforeState={"status": "INBOX"}, metadata={"a": 1}),
                event("x5", "TASK_TRANSITION", NOW - 2_500),
                event("x6", "OPERATOR_CONTROL", actorType="HUMAN", actorId="jo"),
                event("x7", "TASK_CREATED", NOW - 31 * DAY),
            ],
        ),
    )
    found = {one["event_id"]: one for one in await landed.rows(models.OpEvent)}
    assert {name: one["type"] for name, one in found.items() if name.startswith("x")} == {
        "x2": "RUN_COMPLETED",
        "x3": "TOOL_CALL_COMPLETED",
        "x4": "DECISION_MADE",
        "x5": "DECISION_MADE",
        "x6": "DECISION_MADE",
    }
    record = next(one["id"] for one in await landed.rows(models.ChangeRecord) if one["type"] == "TASK_TRANSITIONED")
    assert (found["x4"]["change_record_id"], found["x5"]["change_record_id"]) == (record, None)
    assert found["x4"]["payload"] == {"stage": "TASK_TRANSITION", "before": {"status": "INBOX"}, "metadata": {"a": 1}}
    assert found["x2"]["run_id"] == (await landed.row(models.Run))["id"]
    assert found["x2"]["instance_id"] == (await landed.row(models.AgentInstance))["id"]
    assert found["x3"]["tool_call_id"] == (await landed.row(models.ToolCall))["id"]
    assert found["x6"]["payload"] == {"stage": "OPERATOR_CONTROL", "actor": "jo"}
    assert landed.report.tables["taskEvents"].skipped == {
        "written alongside as an op event": 1,
        "op event older than 30 days": 1,
    }


async def test_what_a_task_hides_is_taken_out_of_its_journals(database: Database, tmp_path: Path) -> None:
    """PII-4: values under the names that it lists, at any depth; states stay, and so do other tasks' journals."""
    snapshot = {"deliverable": {"summary": "owlery"}, "reviewChecklist": {"items": ["kept"]}}
    states: dict[str, Any] = {
        "beforeState": {"status": "INBOX", "title": "owlery"},
        "afterState": {"status": "ASSIGNED"},
    }
    hiding = {**task("task"), "redactedFields": ["deliverable", "title", "status"]}
    landed = await land(
        database,
        tmp_path,
        fleet(
            tasks=[hiding, task("open")],
            taskTransitions=[
                transition("t1", artifactsSnapshot=snapshot),
                transition("t2", taskId="open", artifactsSnapshot=snapshot),
            ],
            activities=[activity("a1", "TASK_UPDATED", targetType="TASK", targetId="task", taskId="task", **states)],
            changeRecords=[change("c1", "TASK_CREATED", targetEntity="Task", targetId="task", **states)],
        ),
    )
    records = {(one["metadata"] or {}).get("legacyId"): one for one in await landed.rows(models.ChangeRecord)}
    hidden = {**snapshot, "deliverable": "[REDACTED]"}
    assert records["t1"]["metadata"]["artifactsSnapshot"] == hidden
    assert records["t1"]["after_state"] == {"status": "ASSIGNED"}
    assert records["t2"]["metadata"]["artifactsSnapshot"] == snapshot
    assert records["c1"]["before_state"] == {"status": "INBOX", "title": "[REDACTED]"}
    events = [one for one in await landed.rows(models.OpEvent) if one["task_id"] == records["t1"]["target_id"]]
    assert events
    assert "owlery" not in str(events)
    assert "[REDACTED]" in str(events)


async def test_the_cost_ledger(database: Database, tmp_path: Path) -> None:
    """C1, MIG-9: entries become cost ticks within retention; the report has the sum of all."""

    def entry(legacy_id: str, cost: float, at: float) -> dict[str, Any]:
        given = {"tenantId": "tenant", "instanceId": "atlas", "cost": cost, "tokensUsed": 12, "source": "inference"}
        return row(legacy_id, NOW, **given, timestamp=at)

    entries = [entry("l1", 0.1, NOW), entry("l2", 0.2, NOW - 1), entry("l3", 5, NOW - 60 * DAY)]
    landed = await land(database, tmp_path, fleet(costLedger=entries))
    ticks = [one for one in await landed.rows(models.OpEvent) if one["type"] == "COST_TICK"]
    assert sum(one["delta_usd"] for one in ticks) == Decimal("0.3")
    assert ticks[0]["payload"]["tokensUsed"] == 12
    assert "The cost ledger came to $5.30 in all, of any age" in landed.report.notes


async def test_audit_logs(database: Database, tmp_path: Path) -> None:
    """MIG-9, PII-3: addresses and programs are cut before they are stored."""
    given = {
        "tenantId": "tenant",
        "severity": "warning",
        "action": "ACCESS_DENIED",
        "actorType": "HUMAN",
        "actorId": "x",
    }
    visitor = {"ipAddress": "203.0.113.77", "userAgent": "Mozilla/5.0 (X11; Linux) Firefox/128.0"}
    landed = await land(database, tmp_path, fleet(auditLogs=[row("l1", NOW, **given, **visitor, timestamp=NOW)]))
    found = await landed.row(models.AuditLog)
    assert (found["severity"], found["ip_address"], found["user_agent"]) == (
        "WARNING",
        "203.0.113.0",
        "Mozilla Firefox",
    )
    assert (found["actor_id"], found["metadata"]["actorText"]) == (None, "x")
