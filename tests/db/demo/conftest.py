"""A database of their own for the tests of the demo fleet: its two tenants have fixed names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import orjson
import pytest

from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
from db import roles
from db.base import Model
from db.connections import Connections, embedded_connections
from db.demo import Size, Vocabulary, seed, seeding
from db.demo.bulk import enlarge
from db.embedded import EmbeddedPostgres
from db.migrate import upgrade
from tests.conftest import TEST_SETTINGS

VOCABULARY = Vocabulary(
    permissions=list(PERMISSIONS.values()), roles=[role for role in SYSTEM_ROLES.values() if role.assignable]
)
NOW = datetime.now(UTC)
"""The moment at which the story of these tests stands."""


SCALE = {"agent_instances": 66, "tasks": 400, "runs": 2_000, "tool_calls": 6_000, "op_events": 21_000}
"""What northwind has in the end when the tests make it large."""
TABLES = sorted(name for name in Model.metadata.tables if not name.startswith("gateway."))
"""The 55 tables and their key lists."""


def reversed_text(text: str) -> str:
    """Stands for the encryption, which makes another text each time."""
    return text[::-1]


async def seed_small(connections: Connections, now: datetime = NOW) -> int:
    """The small demo fleet."""
    return await seed(connections, Size.SMALL, VOCABULARY, reversed_text, now=now)


@pytest.fixture(scope="session")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connections]:
    """A migrated database besides that of the demo fleet."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("empty") / "pg", settings=TEST_SETTINGS) as server:
        upgrade(server.url(user=roles.OWNER))
        yield embedded_connections(lambda role: server.url(user=role))


@pytest.fixture
async def empty(second_server: Connections) -> AsyncIterator[Connections]:
    """A database without a row; what a test writes is taken out again, which only the owner can do."""
    yield second_server
    owner = await asyncpg.connect(second_server.owner.url)
    try:
        await owner.execute("ALTER TABLE change_records DISABLE TRIGGER append_only")
        await owner.execute(f"TRUNCATE {', '.join(TABLES)}, gateway.tenant_counters CASCADE")
        await owner.execute("ALTER TABLE change_records ENABLE TRIGGER append_only")
    finally:
        await owner.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connections]:
    """A database with the small demo fleet; read only."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("demo") / "pg", settings=TEST_SETTINGS) as server:
        upgrade(server.url(user=roles.OWNER))
        connections = embedded_connections(lambda role: server.url(user=role))
        asyncio.run(seed_small(connections))
        yield connections


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connections]:
    """A database with the large demo fleet, made on top of the small one, on a smaller scale; read only."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("large") / "pg", settings=TEST_SETTINGS) as server:
        upgrade(server.url(user=roles.OWNER))
        connections = embedded_connections(lambda role: server.url(user=role))
        asyncio.run(seed_small(connections))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seeding, "enlarge", partial(enlarge, targets=SCALE))
            asyncio.run(seed(connections, Size.LARGE, VOCABULARY, reversed_text, now=NOW))
        yield connections


async def connect(connections: Connections) -> asyncpg.Connection:
    """A connection that passes row-level security, with JSON as Python values."""
    opened = await asyncpg.connect(connections.platform.url)
    await opened.set_type_codec("jsonb", encoder=orjson.dumps, decoder=orjson.loads, schema="pg_catalog")
    return opened


@pytest.fixture(params=["demo", "large"])
def seeded(request: pytest.FixtureRequest) -> Connections:
    """The small demo fleet, and the large one."""
    found: Connections = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def fleet(seeded: Connections) -> AsyncIterator[Any]:
    """A connection to the demo fleet of each size."""
    opened = await connect(seeded)
    try:
        yield opened
    finally:
        await opened.close()
