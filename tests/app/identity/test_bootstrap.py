"""A tenant begins (TEN-1 to TEN-3, RBAC-1 to RBAC-4)."""

from typing import Any

import pytest
from sqlalchemy import select

from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
from app.commands import Done, Refusal, Refused
from app.governance.defaults import default_envelope
from app.idempotency import Key
from app.running import run
from app.unit_of_work import PermissionDenied
from db.enums import ActorType, ChangeRecordType
from db.logs import verify_chain
from db.models import (
    ChangeRecord,
    Environment,
    Operator,
    Permission,
    PolicyEnvelope,
    Project,
    Role,
    RoleAssignment,
    Tenant,
)
from db.session import Database
from tests.app.identity.stage import Stage, bootstrap, platform
from tests.asking import ask
from tests.conftest import TenantUnderTest

MUTATION = """
mutation($input: TenantBootstrapInput!) { tenantBootstrap(input: $input) {
  tenantId slug projectId environmentIds operatorIds advice userErrors { code message field }
} }
"""
ADA = {"name": "Ada", "email": "ada@acme.example"}


async def test_ten_2_what_a_tenant_begins_with(stage: Stage) -> None:
    """TEN-2. Three environments, of which prod is production, a project, three Admins by invitation."""
    environments = await stage.rows(Environment)
    assert {one.slug: one.is_production for one in environments} == {"dev": False, "staging": False, "prod": True}
    (project,) = await stage.rows(Project)
    assert (project.slug, project.default_environment_id) == ("default", stage.environment_ids[0])
    operators = await stage.rows(Operator)
    assert len(operators) == 3
    assert all(one.auth_id.startswith("invite:") for one in operators)
    grants = await stage.rows(RoleAssignment)
    assert {one.operator_id for one in grants} == {one.id for one in operators}
    assert {one.role_id for one in grants} == {await stage.role("Admin")}
    assert len(await stage.audits("ROLE_ASSIGNED")) == 3


async def test_ten_2_the_journal_of_the_beginning(stage: Stage) -> None:
    """TEN-2. One record for each effect, all caused by the first, in an unbroken chain that begins with them."""
    records = await stage.rows(ChangeRecord)
    records = sorted(records, key=lambda one: one.seq)
    assert [one.type.value for one in records] == [
        "TENANT_BOOTSTRAPPED",
        *["ENVIRONMENT_CREATED"] * 3,
        "PROJECT_CREATED",
        *["OPERATOR_CREATED"] * 3,
        "POLICY_ATTACHED",
    ]
    first = records[0]
    assert (first.target_entity, first.target_id, first.actor_type) == ("Tenant", stage.tenant_id, ActorType.SYSTEM)
    assert {one.caused_by_id for one in records[1:]} == {first.id}
    rows = [
        {**{c.name: getattr(one, c.name) for c in ChangeRecord.__table__.c if c.name != "metadata"}, "metadata": None}
        for one in records
    ]
    assert verify_chain(rows) == []


async def test_pii_2_the_journal_names_no_person(stage: Stage) -> None:
    """PII-2. The change log is for ever, so it knows operators by pseudonym."""
    operators = await stage.rows(Operator)
    for record in await stage.changes(ChangeRecordType.OPERATOR_CREATED):
        assert record.after_state is not None
        assert record.after_state["pseudonymousId"].startswith("user_")
        assert not any(one.email in str(record.after_state) or one.name in str(record.after_state) for one in operators)


async def test_rbac_1_to_4_registry_and_built_in_roles(stage: Stage) -> None:
    """RBAC-1 to RBAC-4. The whole vocabulary, and the four roles that stand inside a tenant."""
    registry = {f"{one.action}:{one.resource}" for one in await stage.rows(Permission)}
    assert registry == set(PERMISSIONS)
    roles = {role.name: role for role in await stage.rows(Role)}
    assert set(roles) == {"Admin", "Operator", "Viewer", "Approver"}
    assert all(role.is_system for role in roles.values())
    assert {name: set(role.permissions) for name, role in roles.items()} == {
        name: set(SYSTEM_ROLES[name].permissions) for name in roles
    }


async def test_rsk_8_the_default_policy(stage: Stage) -> None:
    """TEN-2, RSK-8, LOOP-1. Tier 1, RED by approval, the lists and thresholds as data."""
    (envelope,) = await stage.rows(PolicyEnvelope)
    assert (envelope.attached_to_tenant, envelope.autonomy_tier, envelope.active) == (True, 1, True)
    assert envelope.approval_triggers == ["risk:RED"]
    for name, value in default_envelope().items():
        assert getattr(envelope, name) == value
    assert "git checkout -b" in envelope.shell_allowlist
    assert {"rm -rf", "wget | sh", "~/", "/usr/"} <= set(envelope.shell_blocklist)
    assert envelope.network_allowlist == [
        "github.com",
        "api.github.com",
        "gitlab.com",
        "api.openai.com",
        "api.anthropic.com",
    ]
    assert envelope.file_write_paths == ["!.env*", "!config/**", "!package-lock.json", "!node_modules/**"]
    assert envelope.loop_thresholds["maxCommentsPerWindow"] == 20


async def test_decision_25_the_payload_asks_for_a_third_operator(database: Database) -> None:
    """APR-2, APR-5. With fewer than three, the payload says how many are missing and why."""
    for count, expected in ((1, "Invite 2 more"), (2, "Invite 1 more"), (3, None)):
        people = [{"name": f"A{n}", "email": f"a{n}@acme.example"} for n in range(count)]
        slug = f"advice-{count}-{id(database)}"
        answer = await ask(database, platform(), MUTATION, input={"name": "Acme", "slug": slug, "operators": people})
        assert not answer.errors, answer.errors
        payload = answer.data["tenantBootstrap"]
        assert payload["userErrors"] == []
        assert payload["tenantId"].startswith("ten_")
        assert [one[:4] for one in payload["environmentIds"]] == ["env_"] * 3
        assert len(payload["operatorIds"]) == count
        advice = payload["advice"]
        assert advice == [] if expected is None else advice[0].startswith(expected)


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"slug": "Not A Slug"}, "slug", Refusal.VALIDATION_ERROR),
        ({"name": "  "}, "name", Refusal.VALIDATION_ERROR),
        ({"operators": []}, "operators", Refusal.VALIDATION_ERROR),
        ({"operators": [{"name": "Ada", "email": "nowhere"}]}, "operators[0].email", Refusal.VALIDATION_ERROR),
        ({"operators": [ADA, {"name": "B", "email": "ADA@acme.example"}]}, "operators[1]", Refusal.DUPLICATE_RESOURCE),
        ({"max_environments": 2}, "max_environments", Refusal.VALIDATION_ERROR),
        ({"max_operators": 0}, "max_operators", Refusal.VALIDATION_ERROR),
        ({"timezone": "Mars/Olympus"}, "timezone", Refusal.VALIDATION_ERROR),
        ({"project_slug": "NO"}, "project_slug", Refusal.VALIDATION_ERROR),
    ],
)
async def test_ten_2_what_cannot_begin(database: Database, given: dict[str, Any], field: str, code: Refusal) -> None:
    """TEN-2. The refusal names the field, and nothing is left."""
    slug = f"refused-{field.replace('[', '').replace(']', '').replace('.', '').replace('_', '-')}-{id(database)}"
    outcome = await run(
        database, platform(), "bootstrap_tenant", {"name": "A", "slug": slug, "operators": [ADA], **given}
    )
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.field) == (code, field)
    async with database.platform() as connection:
        assert (await connection.execute(select(Tenant.id).where(Tenant.slug == slug))).first() is None


async def test_ten_2_a_slug_is_one_tenants(stage: Stage) -> None:
    """TEN-2. The second tenant of a slug is refused."""
    again = await run(
        stage.database, platform(), "bootstrap_tenant", {"name": "A", "slug": stage.slug, "operators": [ADA]}
    )
    assert isinstance(again, Refused)
    assert again.code is Refusal.DUPLICATE_RESOURCE


async def test_only_the_platform_makes_tenants(stage: Stage) -> None:
    """Decision 24. An Admin may not, and the attempt is noted in their tenant."""
    with pytest.raises(PermissionDenied):
        await stage.do("bootstrap_tenant", name="A", slug="b", operators=[ADA])
    (denial,) = await stage.audits("ACCESS_DENIED")
    assert denial.resource == "manage:tenant"


async def test_an_idempotency_key_of_the_platform(database: Database) -> None:
    """Decision 33. The same key and input gives the first tenant again; another input is a conflict."""
    slug = f"keyed-{id(database)}"
    arguments = {"name": "A", "slug": slug, "operators": [ADA]}
    key = Key.of("tenantBootstrap", slug, {"slug": slug})
    first = await run(database, platform(), "bootstrap_tenant", arguments, key)
    again = await run(database, platform(), "bootstrap_tenant", arguments, key)
    assert isinstance(first, Done)
    assert isinstance(again, Done)
    assert first.extras == again.extras
    other = await run(database, platform(), "bootstrap_tenant", arguments, Key.of("tenantBootstrap", slug, {"x": 1}))
    assert isinstance(other, Refused)
    assert other.code is Refusal.CONFLICT


async def test_rbac_1_a_registry_is_brought_up_to_date(stage: Stage) -> None:
    """RBAC-1, RBAC-4. What a newer gateway knows is added, what a built-in role lost comes back; other tenants keep
    theirs."""
    other = await bootstrap(stage.database)
    async with stage.database.platform() as connection:
        await connection.exec_driver_sql(
            "DELETE FROM permissions WHERE tenant_id = $1 AND resource = 'voice'", (stage.tenant_id,)
        )
        await connection.exec_driver_sql(
            "UPDATE roles SET permissions = '{}' WHERE tenant_id = $1 AND name = 'Viewer'", (stage.tenant_id,)
        )
    outcome = await run(stage.database, platform(), "refresh_permissions", {"tenant_slug": stage.slug})
    assert isinstance(outcome, Done)
    assert outcome.extras == {"added_permissions": ["read:voice", "write:voice"], "changed_roles": ["Viewer"]}
    viewer = await stage.one(Role, await stage.role("Viewer"))
    assert set(viewer.permissions) == SYSTEM_ROLES["Viewer"].permissions
    assert len(await stage.audits("PERMISSION_CHANGED")) == 1
    assert await other.audits("PERMISSION_CHANGED") == []


async def test_ten_1_another_tenants_ids_are_not_found(stage: Stage, tenant: TenantUnderTest) -> None:
    """TEN-1. A key of another tenant answers NOT_FOUND."""
    refused = await stage.refused("update_project", project_id=tenant.project.id, name="Mine now")
    assert refused.code is Refusal.NOT_FOUND
