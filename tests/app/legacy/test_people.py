"""People, roles and grants (RBAC-1, RBAC-4, RBAC-10, MIG-8, MIG-9, decision 27)."""

from pathlib import Path
from typing import Any

from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
from app.sealing import Seal
from db import models
from db.enums import ProviderType
from db.session import Database
from tests.app.legacy.importing import DAY, NOW, Landed, fleet, land, rejected
from tests.app.legacy.zips import row

SEAL = Seal("a secret of more than thirty-two characters")


async def grants(landed: Landed, name: str) -> set[tuple[str, bool, bool]]:
    """The roles of a person: name, whether for a project alone, whether for an environment alone."""
    roles = {one["id"]: one["name"] for one in await landed.rows(models.Role)}
    operator = await landed.row(models.Operator, name=name)
    found = await landed.rows(models.RoleAssignment, operator_id=operator["id"])
    return {(roles[one["role_id"]], one["project_id"] is not None, one["environment_id"] is not None) for one in found}


def member(legacy_id: str, **fields: Any) -> dict[str, Any]:
    given = {"tenantId": "tenant", "name": legacy_id.title(), "role": "Ops", "level": 0, "active": True, **fields}
    return row(legacy_id, NOW, **given)


async def test_a_new_tenant_has_the_built_in_roles_and_the_registry(database: Database, tmp_path: Path) -> None:
    """RBAC-1, RBAC-4: whole, and never the role above tenants."""
    landed = await land(database, tmp_path, fleet())
    roles = {one["name"]: one for one in await landed.rows(models.Role)}
    assert set(roles) == {name for name, role in SYSTEM_ROLES.items() if role.assignable}
    assert all(one["is_system"] for one in roles.values())
    assert set(roles["Admin"]["permissions"]) == SYSTEM_ROLES["Admin"].permissions
    entries = {f"{one['action']}:{one['resource']}" for one in await landed.rows(models.Permission)}
    assert entries == set(PERMISSIONS)


async def test_members_with_an_address_become_operators(database: Database, tmp_path: Path) -> None:
    """RBAC-10, decision 27: joined by address, else invited; without an address only in the directory."""
    access = [{"projectId": "project", "accessLevel": "EDIT"}, {"projectId": "project", "accessLevel": "PEEK"}]
    landed = await land(
        database,
        tmp_path,
        fleet(
            operators=[row("op", NOW, tenantId="tenant", name="Jo", email="Jo@Acme.example", active=True)],
            orgMembers=[
                member("jo", email="jo@acme.example", systemRole="OWNER", invitedAt=NOW - DAY),
                member(
                    "mo",
                    email="mo@acme.example",
                    systemRole="MANAGER",
                    projectAccess=access,
                    parentMemberId="jo",
                    level=1,
                ),
                member(
                    "lee", email="lee@acme.example", systemRole="EMPEROR", permissions=["tasks.create", "magic.cast"]
                ),
                member("kim", systemRole="ADMIN"),
                member("ana", email="ana@acme.example", active=False, systemRole="VIEWER"),
            ],
        ),
    )
    operators = {one["name"]: one for one in await landed.rows(models.Operator)}
    assert set(operators) == {"Jo", "Mo", "Lee", "Ana", "Snapshot import"}
    assert operators["Mo"]["auth_id"] == f"invite:{operators['Mo']['id']}"
    assert {name: one["status"] for name, one in operators.items()} == {
        "Jo": "ACTIVE",
        "Mo": "ACTIVE",
        "Lee": "ACTIVE",
        "Ana": "SUSPENDED",
        "Snapshot import": "DEACTIVATED",
    }
    assert await grants(landed, "Jo") == {("Admin", False, False)}
    assert await grants(landed, "Mo") == {
        ("Operator", False, False),
        ("Approver", False, False),
        ("Operator", True, False),
        ("Viewer", True, False),
    }
    custom = "Imported \N{EN DASH} Lee"
    assert await grants(landed, "Lee") == {("Viewer", False, False), (custom, False, False)}
    assert (await landed.row(models.Role, name=custom))["permissions"] == ["write:tasks"]
    assert {one["name"] for one in await landed.rows(models.OrgMember)} == {"Jo", "Mo", "Lee", "Kim", "Ana"}
    mo, jo = await landed.of(models.OrgMember, "mo"), await landed.of(models.OrgMember, "jo")
    assert mo["parent_member_id"] == jo["id"]
    notes = " ".join(landed.report.notes)
    for said in ("'EMPEROR'", "'PEEK'", "'magic.cast'"):
        assert said in notes
    created = [one for one in await landed.rows(models.ChangeRecord) if one["type"] == "OPERATOR_CREATED"]
    assert {one["target_id"] for one in created} == {operators[name]["id"] for name in ("Mo", "Lee", "Ana")}
    assert not (await landed.again()).changed


async def test_access_to_a_project_that_is_not_there_is_reported(database: Database, tmp_path: Path) -> None:
    bad = member(
        "mo", email="mo@acme.example", systemRole="MEMBER", projectAccess=[{"projectId": "x", "accessLevel": "ADMIN"}]
    )
    landed = await land(database, tmp_path, fleet(orgMembers=[bad]))
    assert rejected(landed.report, "orgMembers") == [("mo", "projectAccess", True)]
    assert await grants(landed, "Mo") == {("Operator", False, False)}


async def test_roles_grants_and_permissions_of_the_snapshot(database: Database, tmp_path: Path) -> None:
    """RBAC-10, MIG-8: permissions are translated, a name that is taken gives way, scopes become columns."""

    def grant(legacy_id: str, role: str, scope: dict[str, str] | None = None) -> dict[str, Any]:
        return row(legacy_id, NOW, operatorId="op", roleId=role, assignedAt=NOW, scope=scope, assignedBy="system")

    landed = await land(
        database,
        tmp_path,
        fleet(
            operators=[row("op", NOW, tenantId="tenant", name="Jo", email="jo@acme.example", active=True)],
            permissions=[
                row("pm1", NOW, resource="tasks", action="create"),
                row("pm2", NOW, resource="magic", action="cast"),
            ],
            roles=[
                row(
                    "r1", NOW, tenantId="tenant", name="Operator", permissions=["tasks.read", "approvals.decide", "x.y"]
                ),
                row("r2", NOW, tenantId="tenant", name="Admin", permissions=["read:tasks"], isSystem=True),
                row("r3", NOW, tenantId="tenant", name="Scribe", permissions=["messages.create"]),
            ],
            roleAssignments=[
                grant("g1", "r1", {"type": "tenant", "id": "tenant"}),
                grant("g2", "r3", {"type": "project", "id": "project"}),
                grant("g3", "r3", {"type": "environment", "id": "prod"}),
                grant("g4", "r2"),
                grant("g5", "r3", {"type": "galaxy", "id": "x"}),
                grant("g6", "r3", {"type": "project", "id": "nowhere"}),
                grant("g7", "r3", {"type": "project", "id": "project"}),
            ],
        ),
    )
    assert await grants(landed, "Jo") == {
        ("Imported \N{EN DASH} Operator", False, False),
        ("Scribe", True, False),
        ("Scribe", False, True),
        ("Admin", False, False),
    }
    imported = await landed.row(models.Role, name="Imported \N{EN DASH} Operator")
    assert imported["permissions"] == ["approve:approvals", "read:tasks", "reject:approvals"]
    assert imported["metadata"]["legacyPermissions"] == ["tasks.read", "approvals.decide", "x.y"]
    assert [(one[0], one[1]) for one in rejected(landed.report, "roleAssignments")] == [
        ("g5", "scope"),
        ("g6", "scope.id"),
        ("g7", "_id"),
    ]
    assert landed.report.tables["permissions"].merged == 1
    assert landed.report.tables["permissions"].skipped == {"unknown here": 1}
    assert not (await landed.again()).changed


async def test_operators_of_arm(database: Database, tmp_path: Path) -> None:
    """MIG-9: identity, consent and role; the role is given once, and not again after somebody took it away."""
    operators = [
        row("o1", NOW, tenantId="tenant", name="Ada", email="ada@acme.example", authIdentity="idp|1", role="admin",
            consentGiven=True, consentTimestamp=NOW - DAY, dataRetentionDays=30, status="active"),
        row("o2", NOW, tenantId="tenant", name="Bo", email="bo@acme.example", consentGiven=False, consentTimestamp=NOW),
    ]  # fmt: skip
    landed = await land(database, tmp_path, fleet(operators=operators))
    ada, bo = await landed.row(models.Operator, name="Ada"), await landed.row(models.Operator, name="Bo")
    assert (ada["auth_id"], ada["status"], ada["metadata"]["legacy"]["dataRetentionDays"]) == ("idp|1", "ACTIVE", 30)
    assert ada["gdpr_consent_at"] is not None
    assert bo["gdpr_consent_at"] is None
    assert await grants(landed, "Ada") == {("Admin", False, False)}
    assert await grants(landed, "Bo") == set()
    assert not (await landed.again()).changed


async def test_environments_projects_and_providers(database: Database, tmp_path: Path) -> None:
    """MIG-8, MIG-9, decision 20: types become slugs, secrets are sealed, local and federated providers are known."""
    tables = fleet(
        environments=[
            row("prod", NOW, tenantId="tenant", name="Live", type="prod"),
            row("e2", NOW, tenantId="tenant", name="Old prod", slug="production", config={"a": 1}),
            row("e3", NOW, tenantId="tenant", name="My Lab!", description="x"),
        ],
        projects=[row("project", NOW, tenantId="tenant", name="Core", slug="core", githubWebhookSecret="hush-hush",
                      swarmConfig={"maxAgents": 5, "autoScale": False}, policyDefaults=7)],
        providers=[
            row("v1", NOW, tenantId="tenant", name="L", type="local",
                config={"apiKey": "sk-1", "url": "http://x", "nested": [{"token": "t"}]}),
            row("v2", NOW, tenantId="tenant", name="F", type="federated", federation={"peer": "p"}),
        ],
    )  # fmt: skip
    landed = await land(database, tmp_path, tables, seal=SEAL.seal)
    places = {one["name"]: (one["slug"], one["is_production"]) for one in await landed.rows(models.Environment)}
    assert places == {"Live": ("prod", True), "Old prod": ("production", True), "My Lab!": ("my-lab", False)}
    project = await landed.row(models.Project)
    assert SEAL.unseal(project["github_webhook_secret"]) == "hush-hush"
    assert project["swarm_config"] == {"maxAgents": 5, "autoScale": False}
    assert rejected(landed.report, "projects") == [("project", "policyDefaults", True)]
    local, federated = [await landed.row(models.Provider, name=name) for name in "LF"]
    assert (local["type"], federated["type"]) == (ProviderType.LOCAL, ProviderType.CUSTOM)
    assert SEAL.unseal(local["config"]["apiKey"]) == "sk-1"
    assert SEAL.unseal(local["config"]["nested"][0]["token"]) == "t"
    assert local["config"]["url"] == "http://x"
    assert federated["config"] == {"federation": {"peer": "p"}}
    assert not (await landed.again(seal=SEAL.seal)).changed


async def test_secrets_are_not_stored_without_a_key(database: Database, tmp_path: Path) -> None:
    """PII-4, decision 20: nor do they show in the report."""
    hook = {
        "tenantId": "tenant",
        "name": "H",
        "url": "https://x.example",
        "secret": "hush-hush-hush-hush",
        "events": ["*"],
    }
    counts = {"active": True, "deliveryCount": 0, "failureCount": 0}
    landed = await land(database, tmp_path, fleet(webhooks=[row("w", NOW, **hook, **counts)]))
    assert rejected(landed.report, "webhooks") == [("w", "secret", False)]
    assert "hush" not in str(landed.report.as_json())
    sealed = await land(database, tmp_path, fleet(webhooks=[row("w", NOW, **hook, **counts)]), seal=SEAL.seal)
    assert SEAL.unseal((await sealed.row(models.Webhook))["secret"]) == "hush-hush-hush-hush"
