"""The snapshot that Mission Control's own seed script wrote, brought over whole (MIG-0 to MIG-11)."""

import zipfile
from decimal import Decimal
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from app.legacy.importer import import_snapshot
from db import models
from db.enums import ApprovalDecision, DeploymentStatus, InstanceState
from db.logs import ChainHead, verify_chain
from db.session import Database
from tests.app.legacy.importing import DEMO, Landed, some_slug


def documents(table: str) -> list[dict[str, Any]]:
    """The snapshot's documents of a table, read without the code under test."""
    with zipfile.ZipFile(DEMO) as archive:
        return [orjson.loads(line) for line in archive.read(f"{table}/documents.jsonl").splitlines()]


@pytest.fixture
async def demo(database: Database) -> Landed:
    """The snapshot in a tenant of its own."""
    slug = some_slug()
    return Landed(database, slug, DEMO, await import_snapshot(database, DEMO, slug))


async def test_everything_is_accounted_for_and_the_checks_hold(demo: Landed) -> None:
    """MIG-11, and CVX-6: what has no place is counted and named."""
    report = demo.report
    assert report.committed
    assert report.tenant_created
    assert [check.passed for check in report.checks] == [True] * 5
    assert report.rejects == []
    for name, table in report.tables.items():
        assert table.balanced, name
    with zipfile.ZipFile(DEMO) as archive:
        folders = {name.split("/")[0] for name in archive.namelist() if name.count("/") == 1}
    lines = {name: len(documents(name)) for name in folders if not name.startswith("_")}
    read = {name: table.read for name, table in report.tables.items() if table.read}
    assert read | report.unknown_tables == lines
    assert set(report.unknown_tables) == {"qcArtifacts", "qcFindings", "qcRulesets", "qcRuns"}
    assert report.tables["changeRecords"].skipped.total() == 11
    assert report.tables["opEvents"].skipped.total() == 12
    assert "A CEO becomes tier 2, which loosens what Mission Control's runtime allowed it" in report.notes


async def test_every_run_leads_to_version_template_and_deployment(demo: Landed) -> None:
    """MIG-1, MIG-11: all 52 runs, by SQL written by hand; the cost is the snapshot's to the last digit."""
    async with demo.database.platform() as connection:
        lineage = await connection.execute(
            text(
                "SELECT r.metadata ->> 'legacyId' AS run, v.metadata ->> 'legacyId' AS version,"
                " t.metadata ->> 'legacyId' AS template, i.legacy_agent_id AS agent, d.status, p.name AS policy,"
                " d.target_version_id = v.id AS fits, r.cost_usd"
                " FROM runs r"
                " JOIN agent_versions v ON (v.tenant_id, v.id) = (r.tenant_id, r.version_id)"
                " JOIN agent_templates t ON (t.tenant_id, t.id) = (v.tenant_id, v.template_id)"
                " JOIN agent_instances i ON (i.tenant_id, i.id) = (r.tenant_id, r.instance_id)"
                " JOIN deployments d ON (d.tenant_id, d.id) = (i.tenant_id, i.deployment_id)"
                " JOIN policy_envelopes p ON (p.tenant_id, p.id) = (i.tenant_id, i.policy_envelope_id)"
                " WHERE r.tenant_id = :tenant"
            ),
            {"tenant": await demo.tenant_id()},
        )
        found = {row.run: row for row in lineage}
    originals = {run["_id"]: run for run in documents("runs")}
    assert found.keys() == originals.keys()
    assert len(found) == 52
    for legacy_id, run in originals.items():
        row = found[legacy_id]
        assert (row.version, row.template, row.agent) == (run["versionId"], run["templateId"], run["agentId"])
        assert row.status == DeploymentStatus.ACTIVE
        assert row.fits
        assert row.policy.startswith("Legacy ")
        assert row.cost_usd == Decimal(repr(run["costUsd"])).quantize(Decimal("1E-10"))
    assert sum(row.cost_usd for row in found.values()) == Decimal("11.60")


async def test_a_second_import_changes_nothing(demo: Landed) -> None:
    """MIG-0a: rows, columns and counters of every table are the same, bit for bit."""
    before = await demo.fingerprint()
    assert before["runs"][0] == 52
    again = await demo.again()
    assert again.committed
    assert not again.changed
    assert again.written == 0
    assert again.rejects == []
    assert all(check.passed for check in again.checks)
    assert not again.created
    assert await demo.fingerprint() == before


async def test_two_tenants_take_the_same_snapshot_and_share_nothing(demo: Landed) -> None:
    """Decision 20: the same document has another id in another tenant."""
    slug = some_slug()
    other = Landed(demo.database, slug, DEMO, await import_snapshot(demo.database, DEMO, slug))
    mine, theirs = await demo.fingerprint(), await other.fingerprint()
    assert {name: count for name, (count, _) in mine.items()} == {name: count for name, (count, _) in theirs.items()}
    for model in (models.Task, models.Run, models.AgentInstance, models.OpEvent, models.ChangeRecord):
        ids = [{one["id"] for one in await landed.rows(model)} for landed in (demo, other)]
        assert not ids[0] & ids[1]


async def test_tasks_are_as_they_were(demo: Landed) -> None:
    """MIG-8, MIG-11: status, cost, priority, assignees in order, parent and title of all 57."""
    rows = {one["metadata"]["legacyId"]: one for one in await demo.rows(models.Task)}
    agents = {one["id"]: one["legacy_agent_id"] for one in await demo.rows(models.AgentInstance)}
    assignees: dict[Any, list[str]] = {}
    for one in sorted(await demo.rows(models.TaskAssignee), key=lambda row: row["position"]):
        assignees.setdefault(one["task_id"], []).append(agents[one["instance_id"]])
    legacy_ids = {one["id"]: legacy_id for legacy_id, one in rows.items()}
    originals = documents("tasks")
    assert len(rows) == len(originals) == 57
    for task in originals:
        row = rows[task["_id"]]
        assert (row["status"], row["priority"], row["title"]) == (task["status"], task["priority"], task["title"])
        assert row["actual_cost"] == Decimal(repr(task["actualCost"])).quantize(Decimal("1E-10"))
        assert assignees.get(row["id"], []) == task["assigneeIds"]
        assert legacy_ids.get(row["parent_task_id"]) == task.get("parentTaskId")
        assert int(row["created_at"].timestamp() * 1000) == int(task["_creationTime"])
        if "recurrence" in task:
            assert row["recurrence"]["endDate"].endswith("Z")


async def test_agents_and_instances_became_one(demo: Landed) -> None:
    """MIG-0f, C32: the instance's ids and lineage, the agent's name, state, spend and heartbeat."""
    agents = {one["_id"]: one for one in documents("agents")}
    partners = {one["legacyAgentId"]: one for one in documents("agentInstances")}
    rows = {one["legacy_agent_id"]: one for one in await demo.rows(models.AgentInstance)}
    assert rows.keys() == agents.keys()
    states = {"ACTIVE": "ACTIVE", "PAUSED": "PAUSED", "QUARANTINED": "QUARANTINED", "OFFLINE": "PAUSED"}
    ids = {row["id"]: legacy_id for legacy_id, row in rows.items()}
    for legacy_id, agent in agents.items():
        row = rows[legacy_id]
        assert row["metadata"]["legacyId"] == partners[legacy_id]["_id"]
        assert row["name"] == agent["name"]
        assert row["state"] == states[agent["status"]]
        assert row["metadata"]["legacyStatus"] == agent["status"]
        assert row["spend_today"] == Decimal(str(agent["spendToday"]))
        assert int(row["heartbeat_at"].timestamp() * 1000) == agent["lastHeartbeatAt"]
        assert ids.get(row["parent_instance_id"]) == agent.get("parentAgentId")
    offline = next(one for one in rows.values() if one["metadata"]["legacyStatus"] == "OFFLINE")
    assert (offline["state"], offline["paused_by"]) == (InstanceState.PAUSED, "STALE")


async def test_an_agents_settings_became_its_envelope(demo: Landed) -> None:
    """MIG-1, POL-4: its own limits, with the policy of the version in them that it takes the place of."""
    agents = {one["_id"]: one for one in documents("agents")}
    envelopes = {one["id"]: one for one in await demo.rows(models.PolicyEnvelope)}
    for instance in await demo.rows(models.AgentInstance):
        envelope, agent = envelopes[instance["policy_envelope_id"]], agents[instance["legacy_agent_id"]]
        assert envelope["cost_limits"] == {"dailyUsd": agent["budgetDaily"], "perRunUsd": agent["budgetPerRun"]}
        assert envelope["autonomy_tier"] == (1 if agent["role"] == "INTERN" else 2)
        assert envelope["allowed_tools"] == agent["allowedTools"]
        assert envelope["allowed_task_types"] == agent["allowedTaskTypes"]
        assert envelope["attached_to_version_id"] == instance["version_id"]
    restricted = {one["name"]: one["tool_policies"] for one in envelopes.values()}
    assert restricted["Legacy \N{EN DASH} MC Forge"] == restricted["Execution Engine v2 Restrictions"]
    assert restricted["Legacy \N{EN DASH} MC Forge"]["message_external"] == "DENY"


async def test_approvals_and_their_records_became_one(demo: Landed) -> None:
    """MIG-3, C16: the stale mirror said PENDING where the approval was escalated; a denial is no vote to approve."""
    approvals = {one["_id"]: one for one in documents("approvals")}
    records = {one["legacyApprovalId"]: one for one in documents("approvalRecords")}
    rows = {one["legacy_approval_id"]: one for one in await demo.rows(models.ApprovalRecord)}
    assert rows.keys() == approvals.keys()
    assert {records[one]["status"] for one, approval in approvals.items() if approval["status"] == "ESCALATED"} == {
        "PENDING"
    }
    for legacy_id, approval in approvals.items():
        row = rows[legacy_id]
        assert row["status"] == approval["status"]
        assert row["metadata"]["legacyId"] == records[legacy_id]["_id"]
        assert row["justification"] == approval["justification"]
        assert row["target_entity"] == "ToolCall"
        assert (row["requester_id"], row["requester_instance_id"] is None) == (None, False)
        denied = row["status"] is ApprovalDecision.DENIED
        assert row["decision_count"] == approval["decisionCount"] - denied
        if "decidedByAgentId" in approval:
            assert row["decided_by_operator_id"] is None
            assert "decidedByInstanceId" in row["metadata"]


async def test_the_change_log_is_in_order_and_its_chain_holds(demo: Landed) -> None:
    """MIG-5, AUD-3: every transition is there, whatever its age; the records are numbered by time and vouched for."""
    rows = sorted(await demo.rows(models.ChangeRecord), key=lambda one: one["seq"])
    counters = await demo.row(models.gateway.TenantCounters)
    head = ChainHead(counters["change_seq"], counters["change_hash"])
    assert verify_chain(rows, head=head) == []
    times = [one["timestamp"] for one in rows]
    assert times == sorted(times)
    transitions = [one for one in rows if one["metadata"].get("legacyTable") == "taskTransitions"]
    assert len(transitions) == 48
    assert {one["idempotency_key"] for one in transitions} == {
        one["idempotencyKey"] for one in documents("taskTransitions")
    }


async def test_events_follow_each_other_and_name_rows_that_are_there(demo: Landed) -> None:
    """MIG-4, MIG-6, decision 5: telemetry has numbers by time, an id of its time, and links that lead somewhere."""
    events = sorted(await demo.rows(models.OpEvent), key=lambda one: one["seq"])
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))
    assert len(events) == 420 + 180 + 48
    assert [one["timestamp"] for one in events] == sorted(one["timestamp"] for one in events)
    changes = {one["id"] for one in await demo.rows(models.ChangeRecord)}
    runs = {one["id"] for one in await demo.rows(models.Run)}
    assert {one["change_record_id"] for one in events} - {None} <= changes
    assert {one["run_id"] for one in events} - {None} <= runs
    assert sum(one["change_record_id"] is not None for one in events) >= 70


async def test_people_hold_the_roles_they_had(demo: Landed) -> None:
    """RBAC-10, decision 27: five operators and one member who becomes one; nobody can sign in as the import."""
    operators = {one["name"]: one for one in await demo.rows(models.Operator)}
    assert len(operators) == 7
    assert operators["Nora Bell"]["auth_id"] == f"invite:{operators['Nora Bell']['id']}"
    assert operators["Snapshot import"]["status"] == "DEACTIVATED"
    roles = {one["id"]: one["name"] for one in await demo.rows(models.Role)}
    held: dict[str, set[str]] = {name: set() for name in operators}
    names = {one["id"]: name for name, one in operators.items()}
    for grant in await demo.rows(models.RoleAssignment):
        if grant["project_id"] is None and grant["environment_id"] is None:
            held[names[grant["operator_id"]]].add(roles[grant["role_id"]])
    assert held["Jo West"] == {"Admin", "Owner", "Imported \N{EN DASH} Jo West"}
    assert held["Iris Shaw"] == {"Operator", "Approver", "Imported \N{EN DASH} Iris Shaw"}
    assert held["Nora Bell"] == {"Operator", "Imported \N{EN DASH} Nora Bell"}
