"""Migrations: they end where the models are, all or nothing, one at a time, and only forwards (issue point 2)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import alembic.command
import asyncpg
import pytest
from alembic.config import Config
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db import migrate
from db.connections import Connection
from db.embedded import EmbeddedPostgres
from db.migrate import pending
from db.version import current_version, head_version
from tests.db.catalog import Catalog, differences, read_catalog
from tests.db.databases import empty_database, make_from_models


@pytest.fixture
async def owner(postgres: EmbeddedPostgres) -> AsyncIterator[Connection]:
    """The owner of an empty database of the test's own."""
    async with empty_database(postgres) as made:
        yield made


async def catalog_of(owner: Connection) -> Catalog:
    connection = await asyncpg.connect(owner.url)
    try:
        return await read_catalog(connection)
    finally:
        await connection.close()


async def version_of(owner: Connection) -> str | None:
    connection = await asyncpg.connect(owner.url)
    try:
        return await current_version(connection.fetchrow)
    finally:
        await connection.close()


async def test_the_migrated_database_equals_the_models(owner: Connection, postgres: EmbeddedPostgres) -> None:
    """Tables, columns, keys, checks, indexes, partitioning, triggers, walls and grants are the same either way."""
    await migrate.migrate(owner)
    async with empty_database(postgres) as other:
        await make_from_models(other)
        expected = await catalog_of(other)
    assert len([name for name in expected if name.startswith("table ")]) == 64
    if told := differences(expected, await catalog_of(owner)):
        pytest.fail(told, pytrace=False)


DAMAGE = {
    "ALTER TABLE tasks ADD COLUMN colour text": "column tasks.colour\n    models:   nothing of the kind\n    mig",
    "ALTER TABLE tasks DROP COLUMN title": "column tasks.title\n    models:   text COLLATE default NOT NULL\n    mig",
    "ALTER TABLE tasks ALTER title DROP NOT NULL": "migrated: text COLLATE default\n",
    "ALTER TABLE tasks ALTER title SET DEFAULT 'x'": "migrated: text COLLATE default NOT NULL DEFAULT 'x'::text\n",
    "ALTER TABLE tasks ALTER priority TYPE bigint": "migrated: bigint NOT NULL DEFAULT 3\n",
    "ALTER TABLE runs ALTER cost_usd TYPE numeric(20, 2)": "migrated: numeric(20,2) NOT NULL DEFAULT 0\n",
    "ALTER TABLE runs ALTER started_at TYPE timestamptz": "column runs.started_at\n",
    'ALTER TABLE tasks ALTER idempotency_key TYPE text COLLATE "default"': "column tasks.idempotency_key\n",
    "ALTER TABLE tasks DROP CONSTRAINT ck_tasks_priority": "constraint tasks.ck_tasks_priority\n",
    "ALTER TABLE tasks DROP CONSTRAINT fk_tasks_tenant_id_project_id,"
    " ADD CONSTRAINT fk_tasks_tenant_id_project_id FOREIGN KEY (tenant_id, project_id)"
    " REFERENCES projects (tenant_id, id) ON DELETE CASCADE": "REFERENCES projects(tenant_id, id) ON DELETE CASCADE\n",
    "ALTER TABLE task_assignees DROP CONSTRAINT pk_task_assignees": "constraint task_assignees.pk_task_assignees\n",
    "DROP INDEX ix_tasks_tenant_id_status_id": "index tasks.ix_tasks_tenant_id_status_id\n",
    "CREATE INDEX more ON op_events (tenant_id, model)": "index op_events.more\n",
    "DROP INDEX ix_deployments_tenant_id_template_id_environment_id;"
    "CREATE UNIQUE INDEX ix_deployments_tenant_id_template_id_environment_id"
    " ON deployments (tenant_id, template_id, environment_id)": "index deployments.ix_deployments",
    "DROP TABLE captures CASCADE": "table captures\n",
    "CREATE TABLE gateway.more (id int)": "table gateway.more\n",
    "CREATE SEQUENCE more": "other relation more\n",
    "CREATE TYPE mood AS ENUM ('good')": "type mood\n",
    "ALTER DOMAIN gateway.sha256 DROP CONSTRAINT sha256": "type gateway.sha256\n",
    "DROP TRIGGER append_only ON change_records": "trigger change_records.append_only\n",
    "ALTER TABLE change_records DISABLE TRIGGER append_only": "enabled D\n",
    "DROP POLICY own_tenant ON tasks": "policy tasks.own_tenant\n",
    "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY": "table tasks\n",
    "GRANT DELETE ON tasks TO fleetgraph_gateway": "table tasks\n",
    "CREATE FUNCTION gateway.more() RETURNS int LANGUAGE sql RETURN 1": "function gateway.more()\n",
}


async def test_each_kind_of_difference_is_told(owner: Connection) -> None:
    """The comparison above sees what a forgotten or a careless version would leave behind, and names it."""
    await migrate.migrate(owner)
    connection = await asyncpg.connect(owner.url)
    try:
        before = await read_catalog(connection)
        for statement, told in DAMAGE.items():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(statement)
            report = differences(before, await read_catalog(connection))
            await transaction.rollback()
            assert told in report, statement
            assert "Add a version to db/migrations/versions" in report
        assert differences(before, await read_catalog(connection)) == ""
    finally:
        await connection.close()


async def test_migrating_twice_changes_nothing(owner: Connection) -> None:
    """Every start of the gateway migrates; a database that is up to date stays as it is."""
    assert await version_of(owner) is None
    assert await migrate.migrate(owner) == (None, head_version())
    assert await version_of(owner) == head_version()
    once = await catalog_of(owner)
    assert await migrate.migrate(owner) == (head_version(), head_version())
    assert differences(once, await catalog_of(owner)) == ""


async def test_what_is_pending_is_told(owner: Connection) -> None:
    """`fleetgraph migrate` and `doctor` say which versions a database lacks."""
    lacking = await asyncio.to_thread(pending, owner.url)
    assert lacking[0] == "0001"
    assert lacking[-1] == head_version()
    await migrate.migrate(owner)
    assert await asyncio.to_thread(pending, owner.url) == []


async def test_two_at_once_take_turns(owner: Connection) -> None:
    """Two gateways that start at the same time: one migrates, the other waits and finds it done."""
    before = await asyncio.gather(migrate.migrate(owner), migrate.migrate(owner))
    assert sorted(before, key=str) == [(head_version(), head_version()), (None, head_version())]


FAILING = """
from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE half_way (id int)")
    op.execute("ALTER TABLE tasks DROP COLUMN title")
    op.execute("SELECT 1 / 0")
"""


@pytest.fixture
def failing_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions that there are, and one more that fails half way."""
    place = tmp_path / "migrations"
    shutil.copytree(str(migrate._config().get_main_option("script_location")), place)
    (place / "versions" / "9999_failing.py").write_text(FAILING.format(head=head_version()))

    def config() -> Config:
        found = Config()
        found.set_main_option("script_location", str(place))
        return found

    monkeypatch.setattr(migrate, "_config", config)


@pytest.mark.usefixtures("failing_version")
async def test_a_failure_leaves_an_empty_database_empty(owner: Connection) -> None:
    """One transaction for all versions: not even the schema of the version table stays behind."""
    empty = await asyncpg.connect(owner.url)
    schemas = "SELECT array_agg(nspname::text ORDER BY 1) FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'"
    try:
        before = await empty.fetchval(schemas)
        with pytest.raises(Exception, match="division by zero"):
            await migrate.migrate(owner)
        assert await empty.fetchval(schemas) == before
        assert await empty.fetchval("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    finally:
        await empty.close()


async def test_a_failure_leaves_the_version_before(owner: Connection, request: pytest.FixtureRequest) -> None:
    """A version that fails half way leaves nothing of itself, and the database serves on."""
    head = head_version()
    await migrate.migrate(owner)
    before = await catalog_of(owner)
    request.getfixturevalue("failing_version")
    with pytest.raises(Exception, match="division by zero"):
        await migrate.migrate(owner)
    assert await version_of(owner) == head
    assert differences(before, await catalog_of(owner)) == ""


async def test_there_is_no_way_back(owner: Connection) -> None:
    """A journal is not thrown away by a migration: downgrading refuses, says so, and leaves everything."""
    await migrate.migrate(owner)
    before = await catalog_of(owner)

    def downgrade(connection: SyncConnection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        alembic.command.downgrade(config, "base")

    engine = create_async_engine(owner.sqlalchemy_url, poolclass=NullPool)
    async with engine.connect() as connection:
        with pytest.raises(NotImplementedError, match="drop the database instead"):
            await connection.run_sync(downgrade)
    await engine.dispose()
    assert await version_of(owner) == head_version()
    assert differences(before, await catalog_of(owner)) == ""


def test_alembic_alone_is_told_the_way() -> None:
    """Whoever runs Alembic by hand, without address and role, learns which command to use."""
    with pytest.raises(RuntimeError, match="fleetgraph migrate"):
        alembic.command.upgrade(migrate._config(), "head")


async def test_a_migrated_database_takes_events_at_once(owner: Connection) -> None:
    """Decision 5: the months that retention keeps and the next two have partitions, and none is the default one."""
    await migrate.migrate(owner)
    connection = await asyncpg.connect(owner.url)
    try:
        found = await connection.fetch(
            """SELECT right(relname, 7) AS month, pg_get_expr(relpartbound, oid) AS bound
               FROM pg_inherits JOIN pg_class ON oid = inhrelid
               WHERE inhparent = 'op_events'::regclass ORDER BY relname"""
        )
    finally:
        await connection.close()
    months = [row["month"] for row in found]
    now = datetime.now(UTC)
    assert months[0] == f"{now - timedelta(days=92):%Y_%m}"
    assert months[-1] == f"{now + timedelta(days=62):%Y_%m}"
    assert len(months) in (6, 7)
    assert not any("DEFAULT" in row["bound"] for row in found)
