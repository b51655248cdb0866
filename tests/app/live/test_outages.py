"""What breaks under a stream: the database, the way to it, or the gateway's own group. It goes on, or says why not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from app.http.tasks import cancelled
from app.live.queue_group import QueueGroup
from db import roles
from db.connections import Connections
from db.embedded import EmbeddedPostgres
from tests.app.live.events import write
from tests.app.live.gateway import Gateway, running, socket_of
from tests.conftest import TenantUnderTest
from tests.db.relay import relayed

TAIL = "subscription ($after: Seq) { opEvents(after: $after) { seq } }"


@pytest.fixture
def rung(tenant: TenantUnderTest, gateway: Gateway) -> TenantUnderTest:
    tenant.database.bell = gateway.application.gateway.database.bell
    return tenant


async def test_a_group_that_fails_ends_those_too_who_wait_for_their_beginning(
    rung: TenantUnderTest, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours is told, and nobody comes into a group that is over."""
    queue = "subscription { approvalQueue { step } }"
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(QueueGroup, "_snapshot", lambda _group: 1 / 0)
            ended = await (await socket.subscribe(queue)).ending()
            assert ended.extensions["code"] == "INTERNAL"
        assert await (await socket.subscribe(queue)).data() == {"step": "SNAPSHOT"}


async def test_who_subscribes_while_the_database_goes_away_is_told_to_come_back_with_the_cursor(
    rung: TenantUnderTest, gateway: Gateway, connections: Connections
) -> None:
    """No mistake of theirs or ours: STREAM_INTERRUPTED."""
    await write(rung, 3)
    url = connections.owner.url.replace(roles.OWNER, "postgres", 1)
    holding, ending = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with socket_of(gateway, await gateway.token(rung)) as socket:
            async with holding.transaction():
                await holding.execute("LOCK TABLE gateway.tenant_counters")
                stream = await socket.subscribe(TAIL, after="1")
                told = asyncio.create_task(stream.ending())
                while not told.done():  # the gateway's own looks wait for the lock too, and may be the first to end
                    await ending.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                    )
                    await asyncio.sleep(0.02)
                assert (await told).extensions == {"code": "STREAM_INTERRUPTED", "cursor": "1"}
            again = await socket.subscribe(TAIL, after="1")
            assert [(await again.data())["seq"] for _ in range(2)] == ["2", "3"]
    finally:
        await holding.close()
        await ending.close()


async def test_a_stream_goes_on_after_the_way_to_the_database_fell_silent(
    postgres: EmbeddedPostgres, tenant: TenantUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows the tenant waits for an answer as long as one may take, and then asks on another connection."""
    monkeypatch.setattr("db.pool.CONNECT_SECONDS", 1)
    monkeypatch.setattr("db.session.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("db.pool.CLOSE_SECONDS", 1)
    monkeypatch.setattr("app.live.doorbell._ANSWER_SECONDS", 1.0)
    ways: list[asyncio.Task[None]] = []
    async with (
        relayed(postgres, tmp_path, ways) as through,
        running(through, tmp_path, statement_timeout_ms=1_000) as gateway,
        socket_of(gateway, await gateway.token(tenant)) as socket,
    ):
        stream = await socket.subscribe(TAIL, after="0")
        await write(tenant)
        assert (await stream.data())["seq"] == "1"
        await cancelled(*ways)
        await write(tenant)
        assert (await stream.data(30))["seq"] == "2"
