"""What all tests share: one Postgres for the whole run, and a tenant of its own for each test."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import structlog
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.actor import Actor, ActorKind
from app.auth.permissions import SYSTEM_ROLES
from app.auth.scope import Grants
from db import models, roles
from db.base import Model
from db.connections import Connections, embedded_connections
from db.embedded import EmbeddedPostgres
from db.ids import new_id
from db.migrate import upgrade
from db.models.gateway import IdempotencyKey
from db.session import Database
from tests.demo import admin_of, demo_connections

if TYPE_CHECKING:
    from tests.serving import Served

TEST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}


@pytest.fixture(autouse=True)
def plain_tracebacks() -> None:
    """structlog's own default draws every variable of every frame of a traceback, which takes seconds."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A Postgres shared by all workers of the run, and stopped with the last of them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with EmbeddedPostgres(Path(shared) / "pg", settings=TEST_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def connections(postgres: EmbeddedPostgres) -> Connections:
    """The migrated database of the shared Postgres."""
    upgrade(postgres.url(user=roles.OWNER))
    return embedded_connections(lambda role: postgres.url(user=role))


@pytest.fixture
async def database(connections: Connections) -> AsyncIterator[Database]:
    """The door to the shared database."""
    opened = Database(connections, pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def demo_database(postgres: EmbeddedPostgres) -> Connections:
    """The small demo fleet at a fixed moment, in a database of its own; for tests that read."""
    return demo_connections(postgres, postgres.directory / "demo.lock")


@dataclass(frozen=True)
class Demo:
    """The demo fleet, and an admin of each of its tenants."""

    database: Database
    northwind: Actor
    globex: Actor


@pytest.fixture
async def demo_fleet(demo_database: Connections) -> AsyncIterator[Demo]:
    """The door to the demo fleet."""
    opened = Database(demo_database, pool_size=4)
    found = {}
    for slug in ("northwind", "globex"):
        async with opened.platform() as connection:
            row = (await connection.exec_driver_sql("SELECT id FROM tenants WHERE slug = $1", (slug,))).one()
            found[slug] = admin_of(row.id, slug)
    yield Demo(opened, found["northwind"], found["globex"])
    await opened.close()


@dataclass
class TenantUnderTest:
    """A tenant that one test has to itself."""

    database: Database
    id: UUID
    slug: str
    project: models.Project
    environment: models.Environment
    made: list[Any] = field(default_factory=list)

    def actor(self, *permissions: str, grants: Grants | None = None, operator_id: UUID | None = None) -> Actor:
        """An operator of the tenant; an admin where no permission is named."""
        held = grants or Grants.everywhere(permissions or SYSTEM_ROLES["Admin"].permissions)
        return Actor(
            kind=ActorKind.OPERATOR,
            tenant_id=self.id,
            tenant_slug=self.slug,
            id=operator_id or new_id(),
            name="Ada",
            permissions=held,
            token_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )

    async def add(self, *rows: Model) -> None:
        """Insert rows as the gateway's role, all in one transaction and in this order."""
        async with self.database.transaction(self.actor()) as session:
            await self.add_in(session, *rows)

    async def add_in(self, session: AsyncSession, *rows: Model) -> None:
        """Insert rows in a transaction of the caller's."""
        for row in rows:
            if isinstance(row, models.Tenant):
                raise TypeError("a tenant is made by `make_tenant`")
            row.tenant_id = self.id  # type: ignore[attr-defined]
            session.add(row)
            await session.flush()

    async def forget_keys(self) -> None:
        """What a day does to the tenant's idempotency keys; those of other tenants are other tests'."""
        async with self.database.transaction(self.actor()) as session:
            await session.execute(delete(IdempotencyKey).where(IdempotencyKey.tenant_id == self.id))


async def make_tenant(database: Database, slug: str | None = None) -> TenantUnderTest:
    """A new tenant with one project and one environment."""
    tenant_id = new_id()
    slug = slug or f"t-{tenant_id.hex[-12:]}"
    async with database.platform() as connection:
        tenant = models.Tenant(id=tenant_id, name=slug, slug=slug)
        session = AsyncSession(connection, expire_on_commit=False)
        session.add(tenant)
        await session.flush()
    environment = models.Environment(id=new_id(), name="Production", slug="prod", is_production=True)
    project = models.Project(id=new_id(), name="Core", slug="core", default_environment_id=environment.id)
    made = TenantUnderTest(database, tenant_id, slug, project, environment)
    await made.add(environment, project)
    return made


@pytest.fixture
async def tenant(database: Database) -> TenantUnderTest:
    """A tenant of the test's own."""
    return await make_tenant(database)


@pytest.fixture
async def other_tenant(database: Database) -> TenantUnderTest:
    """A second tenant, for what must not be seen."""
    return await make_tenant(database)


@pytest.fixture
async def served(connections: Connections, tenant: TenantUnderTest, tmp_path: Path) -> AsyncIterator["Served"]:
    """The real application, with a client, a tenant and its admin's token."""
    from tests.serving import serve

    async with serve(connections, tenant, tmp_path) as running:
        yield running
