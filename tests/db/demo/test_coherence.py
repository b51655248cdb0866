"""The demo fleet makes sense: what one row says, the others bear out (issue 2, point 5)."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any, Final

from app.governance.rules import base_risk
from app.registry.rules import genome_hash
from db.enums import LifecycleState, TaskStatus
from tests.db.demo.conftest import NOW

_LIFE: Final = {
    (None, "DRAFT"),
    *(("DRAFT", "TESTING"), ("TESTING", "CANDIDATE"), ("TESTING", "DRAFT"), ("CANDIDATE", "APPROVED")),
    *(("APPROVED", "DEPRECATED"), ("DEPRECATED", "RETIRED")),
}
"""Moves of VER-1 that the story takes."""
_BOARD: Final = {
    *(("INBOX", "ASSIGNED"), ("INBOX", "CANCELED"), ("ASSIGNED", "IN_PROGRESS"), ("ASSIGNED", "BLOCKED")),
    *(("IN_PROGRESS", "REVIEW"), ("IN_PROGRESS", "NEEDS_APPROVAL"), ("IN_PROGRESS", "BLOCKED")),
    *(("IN_PROGRESS", "FAILED"), ("REVIEW", "IN_PROGRESS"), ("REVIEW", "DONE"), ("REVIEW", "BLOCKED")),
    *(("IN_PROGRESS", "CANCELED"), ("NEEDS_APPROVAL", "DONE"), ("REVIEW", "NEEDS_APPROVAL")),
    *(("NEEDS_APPROVAL", "IN_PROGRESS"), ("NEEDS_APPROVAL", "BLOCKED"), ("NEEDS_APPROVAL", "FAILED")),
    *(("BLOCKED", "ASSIGNED"), ("BLOCKED", "IN_PROGRESS"), ("BLOCKED", "REVIEW"), ("BLOCKED", "NEEDS_APPROVAL")),
}
"""Moves of TSK-1 that the story takes."""
_MACHINE: Final = {
    *(("PROVISIONING", "ACTIVE"), ("ACTIVE", "PAUSED"), ("ACTIVE", "READONLY"), ("ACTIVE", "DRAINING")),
    *(("ACTIVE", "QUARANTINED"), ("PAUSED", "ACTIVE"), ("DRAINING", "RETIRED")),
}
"""Moves of INS-1 that the story takes."""


async def _moves(fleet: Any, kind: str, key: str) -> dict[Any, list[tuple[str, str, Any]]]:
    """(before, after, when) of each row's transitions, in the order of the log."""
    moves: dict[Any, list[tuple[str, str, Any]]] = defaultdict(list)
    for row in await fleet.fetch("SELECT * FROM change_records WHERE type = $1 ORDER BY tenant_id, seq", kind):
        moves[row["target_id"]].append((row["before_state"][key], row["after_state"][key], row["timestamp"]))
    return moves


async def _follows(fleet: Any, kind: str, key: str, table: str, column: str, first: str) -> set[tuple[str, str]]:
    """That each row's records lead from `first` to where the row stands, without a gap; gives back the moves taken."""
    moves = await _moves(fleet, kind, key)
    rows = await fleet.fetch(f"SELECT id, {column} AS state FROM {table}")
    for row in rows:
        state = first
        for before, after, _ in moves.get(row["id"], []):
            assert before == state, (table, row["id"])
            state = after
        assert state == row["state"], (table, row["id"])
    return {(before, after) for steps in moves.values() for before, after, _ in steps}


async def test_genomes_have_their_hashes(fleet: Any) -> None:
    """GEN-3."""
    rows = await fleet.fetch("SELECT genome, genome_hash FROM agent_versions")
    assert len(rows) >= 15
    assert all(genome_hash(row["genome"]) == row["genome_hash"] for row in rows)


async def test_records_lead_to_every_state(fleet: Any) -> None:
    """VER-1, INS-1, TSK-1: the journal tells how each row came to where it stands, by moves that are allowed."""
    versions = await _follows(
        fleet, "VERSION_TRANSITIONED", "lifecycleState", "agent_versions", "lifecycle_state", "DRAFT"
    )
    instances = await _follows(fleet, "INSTANCE_TRANSITIONED", "state", "agent_instances", "state", "PROVISIONING")
    tasks = await _follows(fleet, "TASK_TRANSITIONED", "status", "tasks", "status", "INBOX")
    assert versions <= _LIFE
    assert instances <= _MACHINE
    assert tasks <= _BOARD
    assert {row["s"] for row in await fleet.fetch("SELECT DISTINCT status s FROM tasks")} == {*TaskStatus}
    found = await fleet.fetch("SELECT DISTINCT lifecycle_state s FROM agent_versions")
    assert {row["s"] for row in found} == {*LifecycleState}


async def test_runs_are_of_their_instances_version(fleet: Any) -> None:
    """RUN-3, and so every run leads to its template and release."""
    assert (
        await fleet.fetchval(
            """
            SELECT count(*) FROM runs r
            JOIN agent_instances i ON (i.tenant_id, i.id) = (r.tenant_id, r.instance_id)
            JOIN agent_versions v ON (v.tenant_id, v.id) = (i.tenant_id, i.version_id)
            JOIN deployments d ON (d.tenant_id, d.id) = (i.tenant_id, i.deployment_id)
            JOIN tool_calls c ON (c.tenant_id, c.run_id) = (r.tenant_id, r.id)
            WHERE (r.version_id, r.template_id, r.project_id)
                    IS DISTINCT FROM (i.version_id, v.template_id, i.project_id)
               OR d.target_version_id <> i.version_id OR d.environment_id <> i.environment_id
               OR (c.version_id, c.instance_id) IS DISTINCT FROM (r.version_id, r.instance_id)
            """
        )
        == 0
    )
    assert await fleet.fetchval("SELECT count(*) FROM runs WHERE status = 'FAILED'") >= 5
    assert await fleet.fetchval("SELECT count(*) FROM runs WHERE status = 'RUNNING'") >= 2


async def test_runs_happen_while_their_agents_may_run(fleet: Any) -> None:
    """INS-4, EMG-4: no run begins in a state that starts none, and none during the emergency."""
    moves = await _moves(fleet, "INSTANCE_TRANSITIONED", "state")
    for run in await fleet.fetch("SELECT instance_id, started_at FROM runs"):
        state = "PROVISIONING"
        for _, after, at in moves[run["instance_id"]]:
            if at <= run["started_at"]:
                state = after
        assert state in {"ACTIVE", "READONLY"}, run


async def test_runs_lie_within_the_work_on_their_tasks(fleet: Any) -> None:
    moves = await _moves(fleet, "TASK_TRANSITIONED", "status")
    for run in await fleet.fetch("SELECT task_id, started_at FROM runs"):
        status = "INBOX"
        for _, after, at in moves[run["task_id"]]:
            if at <= run["started_at"]:
                status = after
        assert status == "IN_PROGRESS", run


async def test_costs_add_up(fleet: Any) -> None:
    """COST-1, RUN-4: ticks make runs, runs make tasks, and ticks make what an instance spent today and this month."""
    runs = await fleet.fetch(
        """
        SELECT r.cost_usd, r.status, coalesce(sum(e.delta_usd), 0) AS ticks
        FROM runs r LEFT JOIN op_events e ON (e.tenant_id, e.run_id) = (r.tenant_id, r.id)
        GROUP BY r.tenant_id, r.id
        """
    )
    assert all(run["cost_usd"] == run["ticks"] for run in runs)
    assert all(run["cost_usd"] > 0 for run in runs if run["status"] != "RUNNING")
    tasks = await fleet.fetch(
        """
        SELECT t.actual_cost, t.budget_allocated - t.budget_remaining AS used, coalesce(sum(r.cost_usd), 0) AS runs
        FROM tasks t LEFT JOIN runs r ON (r.tenant_id, r.task_id) = (t.tenant_id, t.id)
        GROUP BY t.tenant_id, t.id
        """
    )
    assert all(task["actual_cost"] == task["used"] == task["runs"] for task in tasks)
    spent = await fleet.fetch(
        """
        SELECT i.spend_today, i.spend_month, i.state, i.paused_by, i.cost_caps,
            coalesce(sum(e.delta_usd) FILTER (WHERE e.timestamp >= date_trunc('day', $1, 'UTC')), 0) AS today,
            coalesce(sum(e.delta_usd) FILTER (WHERE e.timestamp >= date_trunc('month', $1, 'UTC')), 0) AS month
        FROM agent_instances i LEFT JOIN op_events e ON (e.tenant_id, e.instance_id) = (i.tenant_id, i.id)
        GROUP BY i.tenant_id, i.id
        """,
        NOW,
    )
    assert all((one["spend_today"], one["spend_month"]) == (one["today"], one["month"]) for one in spent)
    broke = [one for one in spent if one["paused_by"] == "BUDGET"]
    assert len(broke) == 2
    assert all(one["state"] == "PAUSED" for one in broke)
    assert all(one["today"] >= Decimal(str(one["cost_caps"]["dailyUsd"])) for one in broke)


async def test_tool_calls_have_the_risk_and_the_manifest_of_the_rules(fleet: Any) -> None:
    """RSK-2, POL-2: what a genome does not name was denied; RED always asked."""
    calls = await fleet.fetch(
        """
        SELECT c.*, v.genome FROM tool_calls c
        JOIN agent_versions v ON (v.tenant_id, v.id) = (c.tenant_id, c.version_id)
        """
    )
    for call in calls:
        assert call["risk_level"] == base_risk(call["tool_name"]), call["tool_name"]
        named = call["tool_name"] in {tool["toolId"] for tool in call["genome"]["toolManifest"]}
        verdict = call["policy_result"]["decision"]
        assert (
            (verdict == "DENY")
            == (not named)
            == (call["status"] == "DENIED" and "approvalId" not in call["policy_result"])
        )
        if call["risk_level"] == "RED" and named:
            assert verdict == "NEEDS_APPROVAL"
    assert {call["status"] for call in calls} == {"PENDING", "SUCCESS", "FAILED", "DENIED"}


async def test_what_was_denied_stands_in_both_logs(fleet: Any) -> None:
    """POL-10."""
    rows = await fleet.fetch(
        """
        SELECT r.type, r.target_id, e.tool_call_id FROM op_events e
        JOIN change_records r ON (r.tenant_id, r.id) = (e.tenant_id, e.change_record_id)
        WHERE e.type = 'TOOL_CALL_BLOCKED'
        """
    )
    assert len(rows) >= 2
    assert all(row["type"] == "POLICY_EVALUATED" and row["target_id"] == row["tool_call_id"] for row in rows)


async def test_events_name_rows_that_exist(fleet: Any) -> None:
    """No foreign key watches over the links of telemetry (decision 5)."""
    for column, table in {
        "instance_id": "agent_instances",
        "version_id": "agent_versions",
        "project_id": "projects",
        "task_id": "tasks",
        "run_id": "runs",
        "tool_call_id": "tool_calls",
        "workflow_run_id": "workflow_runs",
        "change_record_id": "change_records",
    }.items():
        lost = await fleet.fetchval(
            f"""
            SELECT count(*) FROM op_events e WHERE e.{column} IS NOT NULL
            AND NOT EXISTS (SELECT FROM {table} t WHERE (t.tenant_id, t.id) = (e.tenant_id, e.{column}))
            """
        )
        assert lost == 0, column


async def test_the_emergency_stopped_its_project_and_let_it_go_on(fleet: Any) -> None:
    """EMG-4, EMG-6: everything in scope stopped, in one record with its effects, and nothing was left behind."""
    for pause in await fleet.fetch("SELECT * FROM change_records WHERE type = 'EMERGENCY_PAUSE'"):
        effects = await fleet.fetch("SELECT * FROM change_records WHERE caused_by_id = $1", pause["id"])
        stated = pause["after_state"]
        stopped = {str(one["target_id"]) for one in effects if one["target_entity"] == "AgentInstance"}
        blocked = {str(one["target_id"]) for one in effects if one["target_entity"] == "Task"}
        assert stopped == set(stated["instanceIds"])
        assert len(stopped) == stated["counts"]["instances"] >= 2
        assert blocked == set(stated["taskIds"])
        assert len(blocked) == stated["counts"]["tasks"] >= 1
        modes = await fleet.fetch(
            "SELECT mode, updated_at FROM operator_controls WHERE project_id = $1 ORDER BY id", pause["project_id"]
        )
        assert [row["mode"] for row in modes] == ["PAUSED", "NORMAL"]
        quiet = await fleet.fetchval(
            """
            SELECT count(*) FROM op_events
            WHERE project_id = $1 AND instance_id IS NOT NULL AND timestamp > $2 AND timestamp < $3
            """,
            pause["project_id"],
            *(row["updated_at"] for row in modes),
        )
        assert quiet == 0
    assert (
        await fleet.fetchval("SELECT count(*) FROM alerts WHERE type = 'OPERATOR_CONTROL_MODE' AND status = 'RESOLVED'")
        == 2
    )


async def test_all_change_types_but_tampering_occur(fleet: Any) -> None:
    """AUD-2: the journal of a demo shows what a journal can hold; nobody tampered with a genome."""
    from db.enums import ChangeRecordType

    for tenant in await fleet.fetch("SELECT id FROM tenants"):
        found = await fleet.fetch("SELECT DISTINCT type FROM change_records WHERE tenant_id = $1", tenant["id"])
        missing = {*ChangeRecordType} - {row["type"] for row in found}
        assert missing == {ChangeRecordType.VERSION_INTEGRITY_FAILED}


async def test_every_instance_state_is_shown(fleet: Any) -> None:
    found = await fleet.fetch(
        "SELECT DISTINCT state FROM agent_instances i JOIN tenants t ON t.id = i.tenant_id WHERE slug = 'northwind'"
    )
    states = {row["state"] for row in found}
    assert states == {"PROVISIONING", "ACTIVE", "PAUSED", "READONLY", "DRAINING", "QUARANTINED", "RETIRED"}
