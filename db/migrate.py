"""Bringing a database to the newest version: the versions of db/migrations, then functions, triggers and walls."""

import asyncio
from pathlib import Path
from typing import Final

import alembic.command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db.connections import Connection, open_connection
from db.functions import auth, changes, logs, search, walls
from db.partitions import make_partitions
from db.roles import GATEWAY
from db.version import SCHEMA, current_version, head_version

_LOCK: Final = 7_305_110_426_197_364_001
"""Advisory lock of whoever migrates: two gateways that start at once take turns."""


def pending(owner_url: str) -> list[str]:
    """The versions that a database lacks, oldest first. Not for use inside an event loop."""
    return asyncio.run(_pending(owner_url))


def upgrade(owner_url: str) -> None:
    """`migrate` for the command line. Not for use inside an event loop."""
    asyncio.run(migrate(Connection(owner_url)))


async def _pending(owner_url: str) -> list[str]:
    connection = await open_connection(owner_url)
    try:
        current = await current_version(connection.fetchrow)
    finally:
        await connection.close()
    script = ScriptDirectory.from_config(_config())
    return [one.revision for one in script.iterate_revisions("head", current or "base")][::-1]


async def migrate(owner: Connection) -> tuple[str | None, str]:
    """Bring the database to the newest version in one transaction; returns the version before and after.

    `owner` is the role that owns the tables. A failure leaves the database as it was.
    """
    engine = create_async_engine(
        owner.sqlalchemy_url,
        poolclass=NullPool,
        connect_args={"server_settings": {"application_name": "fleetgraph-migrate", **owner.server_settings}},
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            before = await connection.run_sync(_upgrade)
            for statement in (*logs.CREATE, *changes.CREATE, *auth.CREATE, *search.CREATE, *walls.CREATE):
                await connection.exec_driver_sql(statement)
            # Readiness asks for the version, as the gateway's role.
            await connection.exec_driver_sql(f"GRANT SELECT ON {SCHEMA}.alembic_version TO {GATEWAY}")
            await make_partitions(connection)
    finally:
        await engine.dispose()
    return before, head_version()


def _upgrade(connection: SyncConnection) -> str | None:
    before = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
    config = _config()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
    return before


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
