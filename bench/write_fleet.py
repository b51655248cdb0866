"""The data of the write benchmark: a database of its own, made anew for each run, with tenants that have agents."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.actor import ActorKind
from app.auth.setup import open_local_tokens
from app.auth.tokens import PLATFORM_SUBJECT, LocalTokens
from app.cli.preparing import migrate_database
from app.database import find_connections, open_database
from app.registry.rules import genome_hash
from app.settings import Secret, Settings
from bench.contenders import ContenderFailed, Gateway, Request, Server
from bench.fleet import Fleet, FleetUnusable, bench_directory
from bench.queries import Samples
from db import models, roles
from db.embedded import EmbeddedPostgres
from db.enums import InstanceState, LifecycleState
from db.ids import new_id

TENANTS: Final = 8
AGENTS: Final = 64
"""Of each tenant: as many as there are connections, so that each connection can have one to itself."""
TOOL: Final = "search"
"""A tool that the genome has, and that is GREEN."""

CHANGES: Final = """
CREATE TABLE bench_changes (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, type text NOT NULL, target_id uuid NOT NULL,
    before_state jsonb, after_state jsonb, created_at timestamptz NOT NULL
)
"""
"""Where a contender that is not the gateway records a change."""

_GENOME: Final[Mapping[str, Any]] = {
    "modelConfig": {"primaryModel": "m-1", "temperature": 0.2},
    "promptBundleHash": "p1",
    "toolManifest": [{"toolId": TOOL, "schemaVersion": "1.0", "requiredPermissions": []}],
    "provenance": {"builtAt": "2026-01-01T00:00:00Z", "builtBy": "ci"},
}
_BOOTSTRAP: Final = """
mutation Bootstrap($input: TenantBootstrapInput!) {
  tenantBootstrap(input: $input) { slug userErrors { code message } }
}
"""


class WritingGateway(Gateway):
    """The gateway as in the read benchmark, without limits of rate."""

    def environment(self, fleet: Fleet) -> Mapping[str, str]:
        unlimited = {"FLEETGRAPH_QUERIES_PER_SECOND": "0", "FLEETGRAPH_MUTATIONS_PER_SECOND": "0"}
        return {**super().environment(fleet), **unlimited, "FLEETGRAPH_JOBS": "false"}

    def tokens(self, fleet: Fleet) -> LocalTokens:
        """What signs tokens that this gateway takes."""
        found = open_local_tokens(fleet.settings(secret_key=Secret(self._secret)))
        if found is None:
            raise ContenderFailed("The gateway has no key to sign tokens with.")
        return found


@dataclass(frozen=True)
class Tenant:
    """A tenant with agents that are at work."""

    slug: str
    operator: str
    """Subject of an Admin."""
    instances: Sequence[UUID]
    id: UUID


@contextmanager
def open_empty_fleet() -> Iterator[Fleet]:
    """A migrated database with nobody in it, for as long as the block lasts; with the durability of production."""
    parent = bench_directory()
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="writes-", dir=parent) as name:
        directory = Path(name)
        with EmbeddedPostgres(directory) as server:
            owner, platform = server.url(user=roles.OWNER), server.url(user=roles.PLATFORM)
            gateway = server.url(user=roles.GATEWAY)
            settings = Settings(
                data_dir=directory / "keys",
                database_url=gateway,
                owner_database_url=owner,
                platform_database_url=platform,
            )
            migrate_database(settings, quiet=True)
            asyncio.run(_execute(owner, f"{CHANGES}; GRANT SELECT, INSERT ON bench_changes TO {roles.PLATFORM}"))
            yield Fleet(
                directory=directory,
                gateway_url=gateway,
                owner_url=owner,
                platform_url=platform,
                tenant_id=UUID(int=0),
                samples=Samples([], [], []),
                postgres_pid=int((directory / "postgres" / "postmaster.pid").read_text().split()[0]),
                postgres_version=asyncio.run(_version(platform)),
                rows={},
            )


def populate(fleet: Fleet, server: Server, tokens: LocalTokens) -> list[Tenant]:
    """Bootstraps the tenants through the gateway, and puts agents into them."""
    platform = tokens.issue(ActorKind.PLATFORM, PLATFORM_SUBJECT)
    tenants = []
    for number in range(TENANTS):
        slug = f"writes-{number}"
        people = [
            {"name": name, "email": f"{name}@{slug}.example", "authId": f"{slug}-{name}"} for name in ("a", "b", "c")
        ]
        given = {"name": slug, "slug": slug, "operators": people}
        answer = orjson.loads(server.ask(post(platform, _BOOTSTRAP, given)))
        if answer.get("errors") or answer["data"]["tenantBootstrap"]["userErrors"]:
            raise FleetUnusable(f"{slug} could not be made: {answer}")
        tenant_id, instances = asyncio.run(_add_agents(fleet, slug))
        tenants.append(Tenant(slug, people[0]["authId"], instances, tenant_id))
    return tenants


def post(token: str, text: str, given: Mapping[str, Any]) -> Request:
    """The request of a mutation with one argument `input`."""
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Authorization": f"Bearer {token}",
    }
    return Request("/graphql", orjson.dumps({"query": text, "variables": {"input": given}}), headers)


async def _add_agents(fleet: Fleet, slug: str) -> tuple[UUID, list[UUID]]:
    settings = fleet.settings()
    database = open_database(settings, await find_connections(settings))
    try:
        async with database.platform() as connection, AsyncSession(connection) as session:
            places = await connection.exec_driver_sql(
                "SELECT tenant.id, project.id AS project_id, environment.id AS environment_id FROM tenants tenant "
                "JOIN projects project ON project.tenant_id = tenant.id "
                "JOIN environments environment ON environment.tenant_id = tenant.id AND environment.is_production "
                "WHERE tenant.slug = $1",
                (slug,),
            )
            place = places.one()
            template = models.AgentTemplate(tenant_id=place.id, id=new_id(), name="Researcher")
            version = models.AgentVersion(
                tenant_id=place.id,
                id=new_id(),
                template_id=template.id,
                genome=dict(_GENOME),
                genome_hash=genome_hash(_GENOME),
                lifecycle_state=LifecycleState.APPROVED,
            )
            instances = [
                models.AgentInstance(
                    tenant_id=place.id,
                    id=new_id(),
                    name=f"agent-{number}",
                    version_id=version.id,
                    project_id=place.project_id,
                    environment_id=place.environment_id,
                    state=InstanceState.ACTIVE,
                )
                for number in range(AGENTS)
            ]
            for rows in ([template], [version], instances):
                session.add_all(rows)
                await session.flush()
            return place.id, [one.id for one in instances]
    finally:
        await database.close()


def wake_all(fleet: Fleet) -> None:
    """Puts every agent back to work, past the commands: the measurement before may have ended in a pause."""
    statement = (
        "UPDATE agent_instances SET state = 'ACTIVE', paused_by = NULL, pre_pause_state = NULL WHERE state <> 'ACTIVE'"
    )
    asyncio.run(_execute(fleet.platform_url, statement))


def journal_rows(fleet: Fleet) -> tuple[int, int]:
    """Change records and op events so far, of all tenants, by the numbers that were given out."""
    statement = "SELECT sum(change_seq)::bigint, sum(event_seq)::bigint FROM gateway.tenant_counters"
    row = asyncio.run(_fetch(fleet.platform_url, statement))
    return row[0], row[1]


async def _version(url: str) -> str:
    return str((await _fetch(url, "SHOW server_version"))[0])


async def _fetch(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchrow(statement)
    finally:
        await connection.close()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
