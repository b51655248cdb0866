"""`fleetgraph retention`: remove what tenants keep no longer now, or say what would go."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

import app.audit.commands  # noqa: F401 - declares what is run here by name
from app.audit.retention import KEPT, Policy, count_expired
from app.auth.actor import NO_TENANT, system_actor
from app.cli.failing import CommandError
from app.commands import Done
from app.database import find_connections, open_database
from app.running import run
from app.settings import Settings
from db.models import Tenant
from db.session import Database

console = Console()


def retain(settings: Settings, *, dry_run: bool) -> None:
    """Remove what has expired in every tenant (RET) and print the counts; with `dry_run` only print them.

    Raises CommandError where a tenant's purge was refused.
    """
    counts = asyncio.run(_retain(settings, dry_run))
    table = Table(title="Would be removed" if dry_run else "Removed")
    table.add_column("tenant")
    for kept in KEPT:
        table.add_column(kept.name, justify="right")
    for slug, found in sorted(counts.items()):
        table.add_row(slug, *(f"{found.get(kept.name, 0):,}" for kept in KEPT))
    console.print(table)


async def _retain(settings: Settings, dry_run: bool) -> dict[str, Counter[str]]:
    database = open_database(settings, await find_connections(settings))
    try:
        async with database.platform() as connection, AsyncSession(connection) as session:
            tenants = list(await session.scalars(select(Tenant).order_by(Tenant.id)))
            policies = {tenant.id: (tenant.slug, Policy.of(tenant)) for tenant in tenants}
            if dry_run:
                now = datetime.now(UTC)
                return {
                    slug: Counter(await count_expired(connection, tenant_id, policy, now))
                    for tenant_id, (slug, policy) in policies.items()
                }
        counts = {}
        for tenant_id, (slug, _policy) in policies.items():
            counts[slug] = await _purge(database, tenant_id)
        await run(database, system_actor(NO_TENANT), "turn_partitions", {})
        return counts
    finally:
        await database.close()


async def _purge(database: Database, tenant_id: object) -> Counter[str]:
    removed: Counter[str] = Counter()
    while True:
        outcome = await run(database, system_actor(NO_TENANT), "purge_expired", {"tenant_id": tenant_id})
        if not isinstance(outcome, Done):
            raise CommandError(outcome.message)
        removed.update(outcome.extras["counts"])
        if not outcome.extras["more"]:
            return removed
