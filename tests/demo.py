"""The small demo fleet as it stood at one moment, for tests that read: the same ids and values in every run."""

import asyncio
import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from app.auth.actor import Actor, ActorKind
from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
from app.auth.scope import Grants
from db import roles
from db.connections import Connections, embedded_connections
from db.demo import Size, Vocabulary, seed
from db.embedded import SUPERUSER, EmbeddedPostgres
from db.ids import new_id
from db.migrate import upgrade

DATABASE = "demo"
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
"""The moment: golden answers would change with any other."""
VOCABULARY = Vocabulary(
    permissions=list(PERMISSIONS.values()), roles=[role for role in SYSTEM_ROLES.values() if role.assignable]
)


def demo_connections(server: EmbeddedPostgres, lock: Path) -> Connections:
    """The database of the demo fleet on this server; the first worker that asks makes it."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        asyncio.run(_create(server))
        upgrade(server.url(DATABASE, roles.OWNER))
        made = embedded_connections(lambda role: server.url(DATABASE, role))
        asyncio.run(seed(made, Size.SMALL, VOCABULARY, lambda text: text[::-1], now=NOW))
    return made


async def _create(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.url("postgres", SUPERUSER))
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(roles.database_statement(DATABASE))
    finally:
        await connection.close()


def admin_of(tenant_id: UUID, slug: str) -> Actor:
    """An operator with every permission of an admin."""
    return Actor(
        kind=ActorKind.OPERATOR,
        tenant_id=tenant_id,
        tenant_slug=slug,
        id=new_id(),
        name="Ada",
        permissions=Grants.everywhere(SYSTEM_ROLES["Admin"].permissions),
        token_expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
