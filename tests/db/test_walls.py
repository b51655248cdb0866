"""The database's wall between tenants, and what each role may do (decision 10, architecture section 7)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from db import migrate, models, roles
from db.base import Model
from db.connections import Connections
from db.functions import logs, walls
from db.ids import new_id
from db.models.gateway import SCHEMA
from tests.conftest import TenantUnderTest

TABLES = [table for table in Model.metadata.tables.values() if "tenant_id" in table.columns or table.name == "tenants"]


@asynccontextmanager
async def connected(url: str, tenant_id: UUID | str | None = None) -> AsyncIterator[asyncpg.Connection]:
    """A connection, with the tenant set where one is given."""
    connection = await asyncpg.connect(url)
    try:
        if tenant_id is not None:
            await connection.execute("SELECT set_config('app.tenant_id', $1, false)", str(tenant_id))
        yield connection
    finally:
        await connection.close()


async def test_every_table_of_tenants_has_its_wall(connections: Connections) -> None:
    """Every table with a tenant, partitions and the gateway's own included: row-level security on and forced, one
    policy, for every command, for reading and writing alike."""
    async with connected(connections.owner.url) as owner:
        found = await owner.fetch(
            """
            SELECT nspname AS schema, relname AS name, relrowsecurity AND relforcerowsecurity AS forced,
                (SELECT array_agg(polcmd::text || polpermissive::text || (polroles = '{0}')::text) FROM pg_policy
                 WHERE polrelid = c.oid) AS policies,
                (SELECT pg_get_expr(coalesce(polwithcheck, polqual), polrelid) FROM pg_policy WHERE polrelid = c.oid)
                    AS condition
            FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
            WHERE relkind IN ('r', 'p') AND nspname IN ('public', 'gateway')
            """
        )
    walls = {(row["schema"], row["name"]): row for row in found}
    expected = {(table.schema or "public", table.name) for table in TABLES}
    partitions = {key for key in walls if key[1].startswith("op_events_")}
    assert len(expected) > 55
    assert partitions
    for key in expected | partitions:
        column = "id" if key[1] == "tenants" else "tenant_id"
        assert walls[key]["forced"], key
        assert walls[key]["policies"] == ["*truetrue"], key
        assert walls[key]["condition"] == (
            f"({column} = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"
        ), key
    assert walls.keys() - expected - partitions == {(SCHEMA, "jobs"), (SCHEMA, "alembic_version")}


@pytest.mark.parametrize("tenant_id", [None, "", "the other"])
async def test_no_tenant_or_another_means_no_rows(
    tenant_id: str | None, tenant: TenantUnderTest, other_tenant: TenantUnderTest, connections: Connections
) -> None:
    """Decision 10: the gateway and the owner see a tenant's rows only under its own id; the platform passes."""
    chosen = str(other_tenant.id) if tenant_id == "the other" else tenant_id
    for login in (connections.gateway, connections.owner):
        async with connected(login.url, chosen) as connection:
            assert await connection.fetchval("SELECT count(*) FROM tenants WHERE id = $1", tenant.id) == 0
            for name in ("projects", "environments", "gateway.tenant_counters"):
                count = f"SELECT count(*) FROM {name} WHERE tenant_id = $1"
                assert await connection.fetchval(count, tenant.id) == 0, name
    async with connected(connections.gateway.url, tenant.id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM projects") == 1
        assert await connection.fetchval("SELECT slug FROM tenants") == tenant.slug
    async with connected(connections.platform.url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM projects WHERE tenant_id = $1", tenant.id) == 1


async def test_rows_are_neither_written_nor_moved_to_another_tenant(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, connections: Connections
) -> None:
    insert = "INSERT INTO org_members (tenant_id, id, name, role, level, active, created_at, updated_at) VALUES "
    values = "($1, $2, 'x', 'x', 0, true, now(), now())"
    async with connected(connections.gateway.url, tenant.id) as gateway:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await gateway.execute(insert + values, other_tenant.id, new_id())
        await gateway.execute(insert + values, tenant.id, new_id())
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await gateway.execute("UPDATE org_members SET tenant_id = $1", other_tenant.id)
        assert (
            await gateway.execute("UPDATE projects SET name = 'x' WHERE id = $1", other_tenant.project.id) == "UPDATE 0"
        )


async def test_a_row_cannot_point_into_another_tenant(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Composite foreign keys: the foreign row does not exist for this tenant."""
    member = models.OrgMember(id=new_id(), name="x", role="x", level=0, project_id=other_tenant.project.id)
    with pytest.raises(Exception, match="fk_org_members_tenant_id_project_id"):
        await tenant.add(member)


GATEWAY_RIGHTS = {
    "tenants": "SELECT UPDATE",
    "change_records": "INSERT SELECT",
    "op_events": "INSERT SELECT",
    "audit_logs": "INSERT SELECT",
    "tasks": "INSERT SELECT UPDATE",
    "agent_versions": "INSERT SELECT UPDATE",
    "saved_views": "DELETE INSERT SELECT UPDATE",
    "task_assignees": "DELETE INSERT SELECT UPDATE",
    "gateway.tenant_counters": "SELECT UPDATE",
    "gateway.idempotency_keys": "DELETE INSERT SELECT UPDATE",
    "gateway.retention_marks": "SELECT",
    "gateway.jobs": "",
    "gateway.alembic_version": "SELECT",
    "op_events_*": "",
}
PLATFORM_RIGHTS = {
    "tenants": "DELETE INSERT SELECT UPDATE",
    "change_records": "INSERT SELECT",
    "op_events": "DELETE INSERT SELECT",
    "audit_logs": "DELETE INSERT SELECT",
    "gateway.tenant_counters": "DELETE INSERT SELECT UPDATE",
    "gateway.jobs": "DELETE INSERT SELECT UPDATE",
    "gateway.alembic_version": "SELECT",
    "op_events_*": "",
}


@pytest.mark.parametrize(
    ("role", "table", "rights"),
    [(roles.GATEWAY, *one) for one in GATEWAY_RIGHTS.items()]
    + [(roles.PLATFORM, *one) for one in PLATFORM_RIGHTS.items()],
)
async def test_a_role_may_do_this_and_no_more(role: str, table: str, rights: str, connections: Connections) -> None:
    """AUD-3: nobody has UPDATE or DELETE on the change log; decision 19: deleting is the exception."""
    async with connected(connections.owner.url) as owner:
        name = table
        if table.endswith("_*"):
            name = await owner.fetchval(
                "SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = $1::regclass", table[:-2]
            )
        held = await owner.fetch(
            """SELECT one FROM unnest('{DELETE,INSERT,REFERENCES,SELECT,TRIGGER,TRUNCATE,UPDATE}'::text[]) AS one
               WHERE has_table_privilege($1, $2, one)""",
            role,
            name,
        )
        assert " ".join(row["one"] for row in held) == rights
        assert await owner.fetchval(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = $1::regclass", name
        ) not in (
            roles.GATEWAY,
            roles.PLATFORM,
        )


async def test_every_table_can_be_read_by_the_gateway(connections: Connections) -> None:
    """A table that a later migration adds gets its grants like the others."""
    async with connected(connections.gateway.url) as gateway:
        for table in TABLES:
            assert await gateway.fetchval(f"SELECT count(*) FROM {table.fullname}") == 0, table.fullname


async def test_nothing_is_granted_to_everybody(connections: Connections) -> None:
    """Tables, columns, schemas and functions of both schemas are closed to PUBLIC."""
    async with connected(connections.owner.url) as owner:
        open_to_all = await owner.fetch(
            """
            SELECT relname AS name FROM pg_class, aclexplode(relacl) WHERE grantee = 0
                AND relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace)
            UNION ALL SELECT nspname FROM pg_namespace, aclexplode(nspacl) WHERE grantee = 0
                AND nspname IN ('public', 'gateway')
            UNION ALL SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
            WHERE grantee = 0 AND pronamespace IN ('public'::regnamespace, 'gateway'::regnamespace)
            """
        )
    assert [row["name"] for row in open_to_all] == []


async def test_neither_role_is_above_the_wall_by_accident(connections: Connections) -> None:
    """Architecture section 7: never a superuser, never the owner; the platform alone passes."""
    async with connected(connections.owner.url) as owner:
        found = await owner.fetch(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = ANY($1)",
            [roles.OWNER, roles.GATEWAY, roles.PLATFORM],
        )
    assert {row["rolname"]: (row["rolsuper"], row["rolbypassrls"]) for row in found} == {
        roles.OWNER: (False, False),
        roles.GATEWAY: (False, False),
        roles.PLATFORM: (False, True),
    }


async def test_the_owner_makes_a_tenant_under_its_own_id(connections: Connections) -> None:
    """The counters come with the tenant whoever inserts it, the owner behind the wall included."""
    tenant_id = new_id()
    async with connected(connections.owner.url, tenant_id) as owner:
        await owner.execute(
            "INSERT INTO tenants (id, name, slug, created_at, updated_at) VALUES ($1, $2, $2, now(), now())",
            tenant_id,
            f"owner-{tenant_id.hex}",
        )
        assert await owner.fetchval("SELECT event_seq FROM gateway.tenant_counters") == 0


async def test_putting_it_all_in_place_again_disturbs_nobody(connections: Connections) -> None:
    """db.migrate runs the statements at every start: where nothing is missing, no table is locked against its users."""
    async with connected(connections.owner.url) as owner:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("SELECT pg_advisory_xact_lock($1)", migrate._LOCK)
        for statement in (*logs.CREATE, *walls.CREATE):
            await owner.execute(statement)
        locked = await owner.fetch(
            """SELECT relation::regclass::text AS name, mode FROM pg_locks
               WHERE pid = pg_backend_pid() AND mode LIKE '%Exclusive%' AND relation IN (
                   SELECT oid FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace))"""
        )
        await transaction.rollback()
    assert [tuple(row) for row in locked] == []


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE {0} DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE {0} NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own_tenant ON {0}",
        "ALTER POLICY own_tenant ON {0} USING (true)",
        "ALTER POLICY own_tenant ON {0} WITH CHECK (true)",
    ],
)
async def test_a_damaged_wall_is_mended(damage: str, connections: Connections) -> None:
    """The next start puts back what somebody took away. Tried on a table that nobody else uses here."""
    table = "gateway.walled_for_a_test"
    state = """SELECT relrowsecurity, relforcerowsecurity, polname, pg_get_expr(polqual, polrelid), polwithcheck
               FROM pg_class LEFT JOIN pg_policy ON polrelid = pg_class.oid WHERE pg_class.oid = $1::regclass"""
    async with connected(connections.owner.url) as owner:
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute(f"CREATE TABLE {table} (tenant_id uuid)")
        await owner.execute("SELECT gateway.raise_wall($1::text::regclass)", table)
        standing = await owner.fetchrow(state, table)
        await owner.execute(damage.format(table))
        assert await owner.fetchrow(state, table) != standing
        await owner.execute("SELECT gateway.raise_wall($1::text::regclass)", table)
        mended = await owner.fetchrow(state, table)
        await transaction.rollback()
    assert mended == standing
