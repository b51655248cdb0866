"""Who may decide in the demo fleet, and that what was decided was decided by the rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
from tests.db.demo.conftest import NOW

BOTH = pytest.mark.parametrize("slug", ["northwind", "globex"])

_GRANTS = """
    SELECT o.id, o.name, o.status, r.name AS role, r.permissions, a.project_id, a.environment_id, a.expires_at
    FROM role_assignments a
    JOIN operators o ON (o.tenant_id, o.id) = (a.tenant_id, a.operator_id)
    JOIN roles r ON (r.tenant_id, r.id) = (a.tenant_id, a.role_id)
    JOIN tenants t ON t.id = a.tenant_id
    WHERE t.slug = $1
"""


def _in_force(grant: Any) -> bool:
    expired = grant["expires_at"] is not None and grant["expires_at"] <= NOW
    return grant["status"] == "ACTIVE" and not expired and grant["project_id"] is grant["environment_id"] is None


async def _approvers(fleet: Any, slug: str) -> set[Any]:
    return {
        grant["id"]
        for grant in await fleet.fetch(_GRANTS, slug)
        if _in_force(grant) and "approve:approvals" in grant["permissions"]
    }


@BOTH
async def test_roles_have_the_permissions_of_the_vocabulary(fleet: Any, slug: str) -> None:
    """RBAC-1, RBAC-4."""
    tenant_id = await fleet.fetchval("SELECT id FROM tenants WHERE slug = $1", slug)
    rows = await fleet.fetch(
        "SELECT action || ':' || resource AS name FROM permissions WHERE tenant_id = $1", tenant_id
    )
    assert {row["name"] for row in rows} == set(PERMISSIONS)
    roles = await fleet.fetch("SELECT * FROM roles WHERE tenant_id = $1 AND is_system", tenant_id)
    assert {row["name"]: set(row["permissions"]) for row in roles} == {
        role.name: set(role.permissions) for role in SYSTEM_ROLES.values() if role.assignable
    }
    own = await fleet.fetch("SELECT permissions FROM roles WHERE tenant_id = $1 AND NOT is_system", tenant_id)
    assert own
    assert all(set(row["permissions"]) <= set(PERMISSIONS) for row in own)


@BOTH
async def test_people_of_every_kind(fleet: Any, slug: str) -> None:
    """RED needs a requester and two voters (decision 25); and there is somebody to show every rule of grants on."""
    grants = await fleet.fetch(_GRANTS, slug)
    assert len(await _approvers(fleet, slug)) >= 3
    assert {"Admin", "Operator", "Viewer", "Approver"} <= {grant["role"] for grant in grants if _in_force(grant)}
    assert any(grant["project_id"] for grant in grants if grant["role"] == "Operator")
    assert any(grant["expires_at"] and grant["expires_at"] < NOW for grant in grants)
    assert any(grant["status"] == "SUSPENDED" for grant in grants)


@BOTH
async def test_votes_are_cast_by_those_who_may(fleet: Any, slug: str) -> None:
    """APR-2, APR-4, APR-5."""
    approvers = {str(one) for one in await _approvers(fleet, slug)}
    rows = await fleet.fetch(
        "SELECT a.* FROM approval_records a JOIN tenants t ON t.id = a.tenant_id WHERE slug = $1", slug
    )
    for row in rows:
        votes = row["decisions"] or []
        voters = [vote["operatorId"] for vote in votes]
        assert len(set(voters)) == len(voters)
        assert set(voters) <= approvers - {str(row["requester_id"])}
        assert (row["requester_id"] is None) != (row["requester_instance_id"] is None)
        assert row["required_decision_count"] == (2 if row["risk_level"] == "RED" else 1)
        assert row["decision_count"] == sum(vote["decision"] == "APPROVED" for vote in votes)
        decided = row["status"] not in {"PENDING", "ESCALATED"}
        assert (row["decided_at"] is not None) == decided
        assert row["expires_at"] > (row["decided_at"] if decided and row["status"] != "EXPIRED" else row["created_at"])
        if row["status"] == "APPROVED":
            assert row["decision_count"] == row["required_decision_count"]
            assert str(row["decided_by_operator_id"]) == voters[-1]
        elif not decided:
            assert row["expires_at"] > NOW
            assert row["decision_count"] < row["required_decision_count"]
        if row["risk_level"] == "RED" or row["request_type"] in {"DEPLOYMENT", "VERSION_PROMOTION"}:
            assert row["rollback_plan"]
        assert row["version_id"] is not None
        assert row["policy_envelope_id"] is not None or row["request_type"] in {"DEPLOYMENT", "VERSION_PROMOTION"}


@BOTH
async def test_something_waits_of_each_risk_and_ended_in_each_way(fleet: Any, slug: str) -> None:
    rows = await fleet.fetch(
        "SELECT status, risk_level FROM approval_records a JOIN tenants t ON t.id = a.tenant_id WHERE slug = $1", slug
    )
    assert {row["risk_level"] for row in rows if row["status"] == "PENDING"} == {"GREEN", "YELLOW", "RED"}
    everywhere = {row["status"] for row in await fleet.fetch("SELECT DISTINCT status FROM approval_records")}
    assert everywhere == {"PENDING", "ESCALATED", "APPROVED", "DENIED", "EXPIRED", "CANCELED"}


async def test_what_is_approved_has_its_approval(fleet: Any) -> None:
    """VER-1: each version that ever was approved names the requests that carried it."""
    rows = await fleet.fetch(
        """
        SELECT v.lifecycle_state, v.eval_status, v.created_by_operator_id, a.status, a.target_id,
            a.decided_by_operator_id, v.id
        FROM agent_versions v
        LEFT JOIN agent_version_approvals va ON (va.tenant_id, va.version_id) = (v.tenant_id, v.id)
        LEFT JOIN approval_records a ON (a.tenant_id, a.id) = (va.tenant_id, va.approval_id)
        """
    )
    for row in rows:
        if row["lifecycle_state"] in {"APPROVED", "DEPRECATED", "RETIRED"}:
            assert (row["status"], row["target_id"], row["eval_status"]) == ("APPROVED", row["id"], "PASS")
            assert row["decided_by_operator_id"] != row["created_by_operator_id"]
        elif row["lifecycle_state"] == "TESTING":
            assert row["eval_status"] == "RUNNING"


async def test_releases_keep_to_the_rules(fleet: Any) -> None:
    """DEP-1 to DEP-3: one in force a place, approved by somebody else, and a rollback that points both ways."""
    rows = await fleet.fetch(
        """
        SELECT d.*, e.is_production, v.template_id AS version_template, v.lifecycle_state, EXISTS (
            SELECT FROM approval_records a WHERE (a.tenant_id, a.target_id) = (d.tenant_id, d.id)
            AND a.request_type = 'DEPLOYMENT' AND a.status = 'APPROVED') AS approved
        FROM deployments d
        JOIN environments e ON (e.tenant_id, e.id) = (d.tenant_id, d.environment_id)
        JOIN agent_versions v ON (v.tenant_id, v.id) = (d.tenant_id, d.target_version_id)
        """
    )
    by_id = {row["id"]: row for row in rows}
    backs = [row for row in rows if "rollbackOf" in row["metadata"]]
    assert len(backs) == 2
    for row in rows:
        assert row["template_id"] == row["version_template"]
        assert row["lifecycle_state"] in {"APPROVED", "DEPRECATED", "RETIRED"}
        if row["is_production"] and row["activated_at"] and row not in backs:
            assert row["approved"]
            assert row["approved_by_operator_id"] != row["created_by_operator_id"]
    for back in backs:
        bad = next(row for row_id, row in by_id.items() if str(row_id) == back["metadata"]["rollbackOf"])
        assert (bad["status"], back["status"]) == ("RETIRED", "ACTIVE")
        assert back["target_version_id"] == bad["previous_version_id"]
        assert back["previous_version_id"] == bad["target_version_id"]
        draining = await fleet.fetch("SELECT state FROM agent_instances WHERE deployment_id = $1", bad["id"])
        assert {row["state"] for row in draining} == {"DRAINING"}


@BOTH
async def test_a_demo_token_finds_each_role(demo: Any, slug: str) -> None:
    """Decision 25: whoever holds the role can be had, and the first admin is the same person each time."""
    from app.auth.issue import issue_demo_token
    from app.auth.keys import derive_key
    from app.auth.tokens import LocalTokens
    from db.session import Database

    tokens = LocalTokens(derive_key("x" * 40), operators=True)
    database = Database(demo)
    try:
        for role in ("admin", "operator", "viewer", "approver", "release manager"):
            found = tokens.verify(await issue_demo_token(database, tokens, slug, role))
            assert found.subject.startswith(f"demo-{slug}-")
            assert found.expires_at > datetime.now(UTC)
    finally:
        await database.close()
