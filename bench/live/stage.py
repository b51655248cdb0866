"""What the benchmark of live data runs on: a Postgres of its own, a tenant, a publisher, and the two servers."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.actor import ActorKind, system_actor
from app.auth.permissions import SYSTEM_ROLES
from app.auth.setup import open_authenticator
from app.http.tasks import cancelled
from app.live.doorbell import Doorbell, PostgresLine
from app.settings import Settings
from db import models, roles
from db.bell import Feed
from db.connections import embedded_connections
from db.embedded import EmbeddedPostgres
from db.enums import OpEventType
from db.ids import new_id
from db.logs import EventDraft, append_op_events
from db.migrate import migrate
from db.session import Database

ROOT = Path(__file__).resolve().parents[2]
PAYLOAD = {"toolName": "search", "risk": "GREEN", "durationMs": 41, "inputTokens": 812, "note": "x" * 80}
"""An ordinary event's: some 150 bytes."""


@dataclass
class Publisher:
    """Writes events as ingestion does, and notes when it began to write each."""

    database: Database
    tenant_id: UUID
    bell: Doorbell
    began: dict[int, float] = field(default_factory=dict)
    last: int = 0

    async def publish(self, count: int) -> int:
        """So many events in one transaction, and a ring; the number of the last."""
        now = time.time()
        stamp = datetime.now(UTC)
        drafts = [
            EventDraft(type=OpEventType.TOOL_CALL_STARTED, timestamp=stamp, payload=PAYLOAD) for _ in range(count)
        ]
        async with self.database.transaction(system_actor(self.tenant_id)) as session:
            appended = await append_op_events(await session.connection(), self.tenant_id, drafts)
        if appended.last_seq is None:
            raise RuntimeError("nothing was stored")
        self.bell.ring(self.tenant_id, Feed.EVENTS, appended.last_seq)
        for number in range(appended.last_seq - count + 1, appended.last_seq + 1):
            self.began[number] = now
        self.last = appended.last_seq
        return self.last


@dataclass
class Stage:
    """Everything that a round needs."""

    postgres: EmbeddedPostgres
    directory: Path
    publisher: Publisher
    token: str

    @contextmanager
    def server(self, name: str) -> Iterator[Server]:
        """`gateway` or `plain`, for as long as the block lasts."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("FLEETGRAPH_", "BENCH_"))}
        given = {
            "FLEETGRAPH_DATABASE_URL": self.postgres.url(user=roles.GATEWAY),
            "FLEETGRAPH_OWNER_DATABASE_URL": self.postgres.url(user=roles.OWNER),
            "FLEETGRAPH_PLATFORM_DATABASE_URL": self.postgres.url(user=roles.PLATFORM),
            "FLEETGRAPH_DATA_DIR": str(self.directory),
            "FLEETGRAPH_JOBS": "false",
            "FLEETGRAPH_LOG_LEVEL": "warning",
            "FLEETGRAPH_WS_MAX_CONNECTIONS": "20000",
            "FLEETGRAPH_CONNECTIONS_PER_CALLER": "20000",
            "FLEETGRAPH_STREAMS_PER_CALLER": "20000",
            "BENCH_DATABASE_URL": self.postgres.url(user=roles.PLATFORM),
            "BENCH_TENANT_ID": str(self.publisher.tenant_id),
            "BENCH_POOL_SIZE": "4",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", f"bench.live.{name}"],
            cwd=ROOT,
            env={**inherited, **given},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            if process.stdout is None:
                raise RuntimeError("no output to read")
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            if found is None:
                raise RuntimeError(f"{name} did not start")
            yield Server(name, process.pid, int(found[1]))
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    pid: int
    port: int


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """A fresh database in a directory that is thrown away, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="fleetgraph-live-") as place:
        directory = Path(place)
        with EmbeddedPostgres(directory / "pg", settings={"synchronous_commit": "off"}) as postgres:
            connections = embedded_connections(lambda role: postgres.url(user=role))
            await migrate(connections.owner)
            database = Database(connections, pool_size=4)
            tenant_id, subject = await _tenant(database)
            settings = Settings(data_dir=directory)
            authenticator = open_authenticator(settings, database)
            if authenticator.local is None:
                raise RuntimeError("the gateway has no key")
            token = authenticator.local.issue(ActorKind.OPERATOR, subject, tenant="bench")
            await authenticator.close()
            bell = Doorbell(PostgresLine(connections.gateway))
            ringing = asyncio.create_task(bell.run())
            try:
                yield Stage(postgres, directory, Publisher(database, tenant_id, bell), token)
            finally:
                await cancelled(ringing)
                await database.close()


async def _tenant(database: Database) -> tuple[UUID, str]:
    tenant_id = new_id()
    async with database.platform() as connection:
        session = AsyncSession(connection, expire_on_commit=False)
        session.add(models.Tenant(id=tenant_id, name="bench", slug="bench"))
        await session.flush()
    person = models.Operator(id=new_id(), auth_id=f"sub-{new_id().hex}", name="Ada", email="ada@example.com")
    role = models.Role(id=new_id(), name="Viewer", permissions=sorted(SYSTEM_ROLES["Viewer"].permissions))
    grant = models.RoleAssignment(id=new_id(), role_id=role.id, operator_id=person.id, assigned_at=datetime.now(UTC))
    async with database.transaction(system_actor(tenant_id)) as session:
        for row in (person, role, grant):
            made: Any = row
            made.tenant_id = tenant_id
            session.add(made)
            await session.flush()
    return tenant_id, person.auth_id
