"""Every subscriber's sequence is exactly the log: in order, without a gap, without a double.

Several writers at once; two gateways with a doorbell between them; subscribers that are cut off at random and come back
with their cursor, to either gateway; and meanwhile the database, the doorbell's server and the gateways are stopped,
killed and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.exc import SQLAlchemyError
from websockets.exceptions import WebSocketException

from app.http.tasks import cancelled
from app.live.doorbell import Doorbell, PostgresLine
from app.live.nats_line import NatsLine
from db import roles
from db.connections import Connections, embedded_connections
from db.embedded import EmbeddedPostgres
from db.enums import OpEventType
from db.migrate import upgrade
from db.pool import OF_THE_DRIVER
from db.session import Database, PoolExhausted
from tests.app.live.events import write
from tests.app.live.gateway import Ended, Gateway, operator, socket_of, start_gateway
from tests.app.live.nats import NatsServer, nats_server
from tests.conftest import TEST_SETTINGS, TenantUnderTest, make_tenant

TAIL = """subscription ($after: Seq, $filter: OpEventStreamFilter) {
    opEvents(after: $after, filter: $filter) { seq type project { slug } } }"""
KINDS = (OpEventType.HEARTBEAT, OpEventType.COST_TICK, OpEventType.RUN_STEP)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A Postgres of this module's own, to be killed."""
    settings = {**TEST_SETTINGS, "synchronous_commit": "on", "max_connections": "60", "shared_buffers": "32MB"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("live"), settings=settings) as started:
        upgrade(started.url(user=roles.OWNER))
        yield started


@pytest.fixture
def connections(server: EmbeddedPostgres) -> Connections:
    return embedded_connections(lambda role: server.url(user=role))


@pytest.fixture
async def tenant(connections: Connections) -> AsyncIterator[TenantUnderTest]:
    opened = Database(connections, pool_size=6)
    yield await make_tenant(opened)
    await opened.close()


@dataclass
class House:
    """Two gateways on ports that stay theirs, and the writers' own bell."""

    connections: Connections
    directory: Path
    given: dict[str, Any]
    ports: list[int] = field(default_factory=list)
    gateways: list[Gateway] = field(default_factory=list)

    async def open(self) -> None:
        for _ in range(2):
            self.gateways.append(await start_gateway(self.connections, self.directory, **self.given))
            self.ports.append(self.gateways[-1].port)

    async def restart(self, which: int) -> None:
        """For a new release: drained, closed, and started again on its port."""
        await self.gateways[which].stop()
        for _ in range(100):
            try:
                self.gateways[which] = await start_gateway(
                    self.connections, self.directory, self.ports[which], **self.given
                )
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise AssertionError("the port stays taken")

    async def close(self) -> None:
        for gateway in self.gateways:
            await gateway.stop()


@dataclass
class Follower:
    """A client that does what docs/live.md says: it keeps the cursor of the last message, and comes back with it."""

    house: House
    token: str
    kinds: list[str] | None
    chance: random.Random
    cursor: str = "0"
    heard: list[int] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    times: int = 0

    async def run(self) -> None:
        while True:
            gateway = self.house.gateways[self.chance.randrange(2)]
            with contextlib.suppress(
                OSError, WebSocketException, AssertionError, TimeoutError, asyncio.IncompleteReadError
            ):
                await self._listen(gateway)
            await asyncio.sleep(self.chance.uniform(0, 0.1))

    async def _listen(self, gateway: Gateway) -> None:
        async with asyncio.timeout(60), socket_of(gateway, self.token) as socket:
            self.times += 1
            filter_ = None if self.kinds is None else {"types": self.kinds}
            stream = await socket.subscribe(TAIL, after=self.cursor, filter=filter_)
            left = self.chance.randrange(5, 400)
            try:
                while left > 0:
                    payload = await stream.next(30)
                    assert "errors" not in payload, payload
                    event = payload["data"]["opEvents"]
                    assert event["project"] in (None, {"slug": "core"})
                    self.heard.append(int(event["seq"]))
                    assert payload["extensions"]["cursor"] == event["seq"]
                    self.cursor = event["seq"]
                    left -= 1
            except Ended as ended:
                if ended.errors:
                    self.endings.append(ended.extensions["code"])
                    self.cursor = ended.extensions.get("cursor") or self.cursor
                return
            socket.connection.transport.abort()


async def writer(tenant: TenantUnderTest, bell: Doorbell, chance: random.Random, batches: int) -> None:
    """Batches of random size; a batch that an outage leaves in doubt is what the log says it is."""
    for _ in range(batches):
        project = chance.choice([None, tenant.project.id])
        with contextlib.suppress(SQLAlchemyError, PoolExhausted, *OF_THE_DRIVER):
            await write(tenant, chance.randrange(1, 30), chance.choice(KINDS), bell, project_id=project)
        await asyncio.sleep(chance.uniform(0, 0.05))


async def crash(server: EmbeddedPostgres) -> None:
    data = server.directory / "postgres"
    os.kill(int((data / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def restart(server: EmbeddedPostgres) -> None:
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def end_doorbell(connections: Connections) -> None:
    owner = await asyncpg.connect(connections.owner.url.replace(roles.OWNER, "postgres", 1))
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fleetgraph-doorbell'"
    )
    await owner.close()


async def the_log(tenant: TenantUnderTest) -> list[tuple[int, str]]:
    async with tenant.database.platform() as connection:
        rows = await connection.exec_driver_sql(
            "SELECT seq, type FROM op_events WHERE tenant_id = $1 ORDER BY seq", (tenant.id,)
        )
        return [(row.seq, row.type) for row in rows]


async def play(
    server: EmbeddedPostgres,
    connections: Connections,
    tenant: TenantUnderTest,
    directory: Path,
    seed: int,
    batches: int,
    nats: NatsServer | None,
) -> list[Follower]:
    """One game; the seed decides what each of its players does, if not when."""
    given = {} if nats is None else {"doorbell": "nats", "nats_url": nats.url}
    house = House(connections, directory, given)
    await house.open()
    chance = random.Random(seed)
    person = await operator(tenant)
    token = house.gateways[0].token_of(tenant, person.auth_id)
    bell = Doorbell(PostgresLine(connections.gateway) if nats is None else NatsLine(nats.url))
    ringing = asyncio.create_task(bell.run())
    wanted = [None, None, ["HEARTBEAT"], ["COST_TICK", "RUN_STEP"], None, ["RUN_STEP"]]
    followers = [Follower(house, token, kinds, random.Random(chance.random())) for kinds in wanted]
    following = [asyncio.create_task(one.run()) for one in followers]
    writers = [asyncio.create_task(writer(tenant, bell, random.Random(chance.random()), batches)) for _ in range(4)]
    try:
        for disaster in chance.sample(["crash", "restart", "gateway", "gateway", "doorbell", "doorbell"], 6):
            await asyncio.sleep(chance.uniform(0.1, 0.6))
            if disaster == "crash":
                await crash(server)
            elif disaster == "restart":
                await restart(server)
            elif disaster == "gateway":
                await house.restart(chance.randrange(2))
            elif nats is None:
                await end_doorbell(connections)
            else:
                await nats.stop()
                await asyncio.sleep(0.2)
                await nats.start()
        await asyncio.gather(*writers)
        log = await the_log(tenant)
        expected = [[seq for seq, kind in log if one.kinds is None or kind in one.kinds] for one in followers]
        async with asyncio.timeout(60):
            while any(len(one.heard) < len(due) for one, due in zip(followers, expected, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # whatever comes too much comes now
        assert [seq for seq, _ in log] == list(range(1, len(log) + 1))
        for one, due in zip(followers, expected, strict=True):
            assert one.heard == due, (seed, one.kinds)
    finally:
        await cancelled(*following, *writers, ringing)
        await house.close()
    return followers


async def test_who_subscribes_while_the_database_is_away_is_told_to_come_back(
    server: EmbeddedPostgres, connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """And need not open another socket for it."""
    gateway = await start_gateway(connections, tmp_path)
    try:
        await write(tenant)
        async with socket_of(gateway, await gateway.token(tenant)) as socket:
            await asyncio.to_thread(server.stop)
            try:
                ended = await (await socket.subscribe(TAIL, after="0")).ending()
            finally:
                await asyncio.to_thread(server.start)
            assert ended.extensions["code"] == "STREAM_INTERRUPTED"
            assert (await (await socket.subscribe(TAIL, after="0")).data())["seq"] == "1"
    finally:
        await gateway.stop()


async def test_every_sequence_is_exactly_the_log_whatever_is_restarted(
    server: EmbeddedPostgres, connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """With NOTIFY as the doorbell."""
    followers = await play(server, connections, tenant, tmp_path, seed=5, batches=40, nats=None)
    assert sum(one.times for one in followers) > len(followers), "nobody was ever cut off"
    assert any(one.endings for one in followers), "no stream was ever ended by a gateway"


async def test_and_with_nats_as_the_doorbell(
    server: EmbeddedPostgres, connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    async with nats_server() as nats:
        await play(server, connections, tenant, tmp_path, seed=11, batches=40, nats=nats)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(100, 112))
async def test_many_games(
    server: EmbeddedPostgres, connections: Connections, tenant: TenantUnderTest, tmp_path: Path, seed: int
) -> None:
    async with nats_server() as nats:
        await play(server, connections, tenant, tmp_path, seed, batches=150, nats=nats if seed % 2 else None)
