"""The data: a Postgres of the benchmark's own with the demo fleet, seeded once and kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from app.cli.preparing import migrate_database, seed_demo
from app.cli.showing import console
from app.graph.ids import global_id
from app.settings import Environment, Settings
from bench.queries import Samples
from db import roles
from db.embedded import EmbeddedPostgres

TENANT: Final = "northwind"
"""The tenant that all requests are for."""

_DIRECTORY_VARIABLE: Final = "FLEETGRAPH_BENCH_DIR"
# Nothing changes while it is measured, so nothing is to be cleaned up in the background.
_POSTGRES: Final = {"autovacuum": "off"}
_INSTANCES: Final = 200
_BIRTHS: Final = 10
_MOMENTS: Final = 20


class FleetUnusable(Exception):
    """The data cannot be measured; the message says why and what to do."""


@dataclass(frozen=True)
class Fleet:
    """The running database, and what requests are made of."""

    directory: Path
    gateway_url: str
    owner_url: str
    platform_url: str
    """Of the role that row-level security does not bind, for contenders that know no tenants."""
    tenant_id: UUID
    samples: Samples
    postgres_pid: int
    postgres_version: str
    rows: dict[str, int]
    """Table -> rows of all tenants, of the tables that the queries read."""

    def settings(self, **others: Any) -> Settings:
        """The gateway's settings for this database, as in production: its address given, its keys too."""
        return Settings(
            environment=Environment.PRODUCTION,
            data_dir=self.directory / "keys",
            database_url=self.gateway_url,
            owner_database_url=self.owner_url,
            platform_database_url=self.platform_url,
            **others,
        )


def bench_directory() -> Path:
    """Where the data is kept: $FLEETGRAPH_BENCH_DIR, else .fleetgraph-bench in the current directory."""
    return Path(os.environ.get(_DIRECTORY_VARIABLE) or ".fleetgraph-bench").absolute()


@contextmanager
def open_fleet(size: str) -> Iterator[Fleet]:
    """The demo fleet of this size ("small" or "large"), seeded where that has not been done, for as long as the block
    lasts.

    Raises FleetUnusable where it lacks what the queries ask for, EmbeddedPostgresError where Postgres does not start.
    """
    directory = bench_directory() / size
    with EmbeddedPostgres(directory, settings=_POSTGRES) as server:
        owner = server.url(user=roles.OWNER)
        platform = server.url(user=roles.PLATFORM)
        gateway = server.url(user=roles.GATEWAY)
        settings = Settings(
            data_dir=directory / "keys",
            database_url=gateway,
            owner_database_url=owner,
            platform_database_url=platform,
        )
        migrate_database(settings, quiet=True)
        _seed_once(settings, size, directory, owner)
        pid = int((directory / "postgres" / "postmaster.pid").read_text().split()[0])
        yield asyncio.run(_look(directory, gateway, owner, platform, pid))


def _seed_once(settings: Settings, size: str, directory: Path, owner: str) -> None:
    seeded = directory / "seeded"
    if seeded.exists():
        return
    console.print(f"Seeding the {size} fleet into {directory}, once.")
    seed_demo(settings, size)
    # Plans must not change between rounds: statistics and visibility are settled now, and nothing is written later.
    with console.status("Vacuuming"):
        asyncio.run(_vacuum(owner))
    seeded.touch()


async def _vacuum(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("VACUUM (ANALYZE)")
    finally:
        await connection.close()


async def _look(directory: Path, gateway: str, owner: str, platform: str, pid: int) -> Fleet:
    connection = await asyncpg.connect(platform)
    try:
        tenant_id = await connection.fetchval("SELECT id FROM tenants WHERE slug = $1", TENANT)
        instances = await connection.fetch(
            "SELECT id FROM agent_instances WHERE tenant_id = $1 ORDER BY md5(id::text) LIMIT $2", tenant_id, _INSTANCES
        )
        births = await connection.fetch(_BIRTHS_SQL, tenant_id, _BIRTHS)
        moments = await connection.fetch(_MOMENTS_SQL, tenant_id, _MOMENTS)
        tables = ("agent_instances", "agent_versions", "tasks", "runs", "tool_calls", "op_events", "approval_records")
        rows = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
        version = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    if not instances or not moments:
        missing = "events that link a change record" if instances else "instances"
        raise FleetUnusable(f"The fleet in {directory} has no {missing}. Remove it, to have it seeded afresh.")
    return Fleet(
        directory=directory,
        gateway_url=gateway,
        owner_url=owner,
        platform_url=platform,
        tenant_id=tenant_id,
        samples=Samples(
            [global_id("ins", row["id"]) for row in instances],
            [row["created_at"] for row in births],
            [row["timestamp"] for row in moments],
        ),
        postgres_pid=pid,
        postgres_version=version,
        rows=rows,
    )


# Spread evenly over the middle of the instances, by age: the first few are those of the small fleet, which have little
# work, and behind the last ones no whole page follows.
_BIRTHS_SQL: Final = """
    WITH aged AS (
        SELECT created_at, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS total
        FROM agent_instances WHERE tenant_id = $1
    )
    SELECT created_at FROM aged
    WHERE place > total * 0.05 AND place <= total * 0.9 AND place % greatest(1, total * 85 / 100 / $2) = 0
    ORDER BY created_at LIMIT $2
"""

# Times spread evenly over the events that link a change record, without the last day, so that a day follows each.
_MOMENTS_SQL: Final = """
    WITH linked AS (
        SELECT timestamp, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS total
        FROM op_events
        WHERE tenant_id = $1 AND change_record_id IS NOT NULL
          AND timestamp < (SELECT max(timestamp) FROM op_events WHERE tenant_id = $1) - interval '1 day'
    )
    SELECT timestamp FROM linked
    WHERE place % greatest(1, total / $2) = 0 ORDER BY timestamp LIMIT $2
"""
