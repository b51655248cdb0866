"""Delivery: one execution a group, bounded queues, honest ends; over sockets, server-sent events and multipart."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from app.live.group import Member
from app.live.log_group import LogGroup
from db.connections import Connections
from db.enums import OpEventType
from tests.app.live.events import write
from tests.app.live.gateway import Gateway, running, socket_of, until
from tests.conftest import TenantUnderTest

TAIL = "subscription ($after: Seq) { opEvents(after: $after) { seq type } }"
DEEP = """subscription { opEvents { seq project { name slug instances(first: 1) { totalCount } } } }"""
WIDE = "subscription ($after: Seq) { opEvents(after: $after) { seq payload } }"


@pytest.fixture
def rung(tenant: TenantUnderTest, gateway: Gateway) -> TenantUnderTest:
    tenant.database.bell = gateway.application.gateway.database.bell
    return tenant


async def test_those_who_ask_the_same_cost_one_execution_and_a_batch_one_statement_a_level(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    """Traps 19 and 27: whatever the number of listeners; and the same bytes go to each of them."""
    tokens = [await gateway.token(rung) for _ in range(2)]
    live = gateway.application.gateway.live
    reports: list[Any] = []
    gateway.application.gateway.executor.observe = reports.append  # type: ignore[misc]
    async with socket_of(gateway, tokens[0]) as one, socket_of(gateway, tokens[1]) as two:
        streams = [await socket.subscribe(DEEP) for socket in (one, two) for _ in range(20)]
        await gateway.hears(40)
        assert live.figures()["groups"] == 1
        reports.clear()
        await write(rung, 50, bell=rung.database.bell, project_id=rung.project.id)
        for stream in streams:
            heard = [await stream.data() for _ in range(50)]
            assert [one["seq"] for one in heard] == [str(n) for n in range(1, 51)]
            assert heard[7]["project"] == {"name": "Core", "slug": "core", "instances": {"totalCount": 0}}
    batches = [report for report in reports if report.operation.kind.value == "subscription"]
    assert len(batches) == 1
    assert batches[0].context.statements == 2  # projects, counts


async def test_loaders_live_as_long_as_a_batch(rung: TenantUnderTest, gateway: Gateway) -> None:
    """Trap 27."""
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        stream = await socket.subscribe(DEEP)
        await gateway.hears(1)
        await write(rung, 1, bell=rung.database.bell, project_id=rung.project.id)
        assert (await stream.data())["project"]["name"] == "Core"
        async with rung.database.transaction(rung.actor()) as session:
            await session.execute(text("UPDATE projects SET name = 'Renamed'"))
        await write(rung, 1, bell=rung.database.bell, project_id=rung.project.id)
        assert (await stream.data())["project"]["name"] == "Renamed"


async def test_a_slow_consumer_is_told_its_cursor_and_misses_nothing_by_it(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest
) -> None:
    """hasura#10860: never a row in silence. What was queued arrives, then the end, and the cursor fits."""
    async with running(connections, tmp_path, stream_queue_messages=50) as gateway:
        bell = gateway.application.gateway.database.bell
        token = await gateway.token(tenant)
        async with (
            connect(
                gateway.socket_url,
                subprotocols=[Subprotocol("graphql-transport-ws")],
                compression=None,
                max_queue=1,
                ping_interval=None,
            ) as slow,
            socket_of(gateway, token) as other,
        ):
            await slow.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}))
            assert json.loads(await slow.recv()) == {"type": "connection_ack"}
            subscribe = {"type": "subscribe", "id": "slow", "payload": {"query": WIDE, "variables": {"after": "0"}}}
            await slow.send(json.dumps(subscribe))
            quick = await other.subscribe(TAIL, after="0")
            await until(lambda: gateway.application.gateway.live.figures()["subscribers"] == 2)
            total = 0
            while gateway.application.gateway.live.figures()["subscribers"] == 2:
                total = await write_large(tenant, 40, bell)
                # Before the next batch: two of them are more than may wait, for whomever.
                assert [int((await quick.data())["seq"]) for _ in range(40)] == list(range(total - 39, total + 1))
                assert total < 5_000
            numbers: list[int] = []
            while True:
                message = json.loads(await asyncio.wait_for(slow.recv(), 10))
                if message["type"] == "error":
                    break
                numbers.append(int(message["payload"]["data"]["opEvents"]["seq"]))
            extensions = message["payload"][0]["extensions"]
            assert extensions["code"] == "SLOW_CONSUMER"
            assert numbers == list(range(1, int(extensions["cursor"]) + 1))
            assert len(numbers) < total
            subscribe["payload"] = {"query": WIDE, "variables": {"after": extensions["cursor"]}}
            subscribe["id"] = "again"
            await slow.send(json.dumps(subscribe))
            while len(numbers) < total:  # replayed at the client's own pace
                message = json.loads(await asyncio.wait_for(slow.recv(), 10))
                numbers.append(int(message["payload"]["data"]["opEvents"]["seq"]))
            assert numbers == list(range(1, total + 1))


async def write_large(tenant: TenantUnderTest, count: int, bell: Any) -> int:
    """Events that fill the buffers of a connection soon."""
    return await write(tenant, count, OpEventType.RUN_STEP, bell, note="y" * 15_000)


async def test_a_client_that_vanishes_leaves_nothing_behind(rung: TenantUnderTest, gateway: Gateway) -> None:
    """strawberry#3777: no subscription leaks after an abrupt disconnect."""
    live, token = gateway.application.gateway.live, await gateway.token(rung)
    for _ in range(5):
        async with socket_of(gateway, token) as socket:
            await write(rung, 300)
            for _ in range(4):
                await socket.subscribe(TAIL, after="0")
            await socket.subscribe("subscription { approvalQueue { step } }")
            await until(lambda: live.figures()["subscribers"] == 5)
            socket.connection.transport.abort()
        await until(lambda: live.figures()["subscribers"] == 0)
    await until(lambda: live.figures()["groups"] == 0)
    await until(lambda: not live._closing and not live._callers)
    assert gateway.application.gateway.sockets.connections == 0

    def nothing_is_left() -> bool:
        gc.collect()
        return not any(isinstance(one, Member | LogGroup) for one in gc.get_objects())

    await until(nothing_is_left)


async def test_a_gateway_that_stops_ends_each_stream_with_its_cursor_within_five_seconds(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest
) -> None:
    async with running(connections, tmp_path) as gateway:
        bell = gateway.application.gateway.database.bell
        token = await gateway.token(tenant)
        async with socket_of(gateway, token) as socket, events(gateway, TAIL, token) as sse:
            tail = await socket.subscribe(TAIL)
            queue = await socket.subscribe("subscription { approvalQueue { step } }")
            await gateway.hears(3)
            await write(tenant, 3, bell=bell)
            assert [(await tail.data())["seq"] for _ in range(3)] == ["1", "2", "3"]
            began = asyncio.get_running_loop().time()
            await gateway.stop()
            assert asyncio.get_running_loop().time() - began < 5
            ended = await tail.ending()
            assert ended.extensions == {"code": "STREAM_INTERRUPTED", "cursor": "3"}
            assert (await queue.ending()).extensions == {"code": "STREAM_INTERRUPTED"}
            assert (await socket.closed())[0] == 1012
            heard = [event async for event in sse]
    assert [kind for kind, _ in heard] == ["next"] * 4 + ["complete"]
    assert heard[3][1]["errors"][0]["extensions"] == {"code": "STREAM_INTERRUPTED", "cursor": "3"}


async def test_a_gateway_stops_though_a_group_waits_for_the_database_to_begin(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest
) -> None:
    """The figures of a pulse's beginning are asked for as long as the database is away."""
    async with running(connections, tmp_path) as gateway:
        live = gateway.application.gateway.live
        async with socket_of(gateway, await gateway.token(tenant)) as socket, tenant.database.platform() as holding:
            await holding.execute(text("LOCK TABLE runs"))
            await socket.subscribe("subscription { fleetPulse(windowSeconds: 5) { until } }")
            await until(lambda: live.figures()["groups"] == 1)
            began = asyncio.get_running_loop().time()
            await gateway.stop()
            assert asyncio.get_running_loop().time() - began < 10


async def test_draining_takes_as_long_as_it_may_and_no_longer(rung: TenantUnderTest, gateway: Gateway) -> None:
    """A query that waits and a client that reads nothing do not add up."""
    sockets, bell = gateway.application.gateway.sockets, rung.database.bell
    token = await gateway.token(rung)
    async with (
        connect(
            gateway.socket_url,
            subprotocols=[Subprotocol("graphql-transport-ws")],
            compression=None,
            max_queue=1,
            ping_interval=None,
            close_timeout=0.1,
        ) as slow,
        rung.database.platform() as holding,
    ):
        await slow.send(json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}))
        await slow.send(json.dumps({"type": "subscribe", "id": "wide", "payload": {"query": WIDE}}))
        await gateway.hears(1)
        (socket,) = sockets._open
        async with socket_of(gateway, token) as other:
            quick = await other.subscribe(TAIL)
            await gateway.hears(2)
            while len(socket._queue) < 20:
                await write_large(rung, 40, bell)
                # Before the next batch: two of them are more than may wait, and a stream that was ended fills nothing.
                for _ in range(40):
                    await quick.data()
        # Last, and not for long: other tests need the table too.
        await holding.execute(text("LOCK TABLE runs"))
        query = {"query": "{ runs(first: 1) { edges { node { id } } } }"}
        await slow.send(json.dumps({"type": "subscribe", "id": "query", "payload": query}))
        await until(lambda: "query" in socket._operations)
        began = asyncio.get_running_loop().time()
        await gateway.application.gateway.endpoint.drain(2)
        assert asyncio.get_running_loop().time() - began < 3.5


@asynccontextmanager
async def events(
    gateway: Gateway, query: str, token: str, accept: str = "text/event-stream", **variables: Any
) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """Server-sent events, read as graphql-sse does: lines that end with LF."""
    async with httpx.AsyncClient(timeout=20) as client:
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        body = {"query": query, "variables": variables}
        async with client.stream("POST", gateway.url, json=body, headers=headers) as response:
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"

            async def read() -> AsyncIterator[tuple[str, Any]]:
                rest = ""
                async for chunk in response.aiter_text():
                    assert "\r" not in chunk
                    *blocks, rest = (rest + chunk).split("\n\n")
                    for block in blocks:
                        if block == ":":
                            continue
                        kind, data = block.split("\n")
                        value = data.removeprefix("data:").strip()
                        yield kind.removeprefix("event: "), json.loads(value) if value else None

            yield read()


async def test_server_sent_events_stream_with_their_cursors(rung: TenantUnderTest, gateway: Gateway) -> None:
    """graphql-sse, distinct connections; trap 12: lines end with LF alone."""
    await write(rung, 2)
    async with events(gateway, TAIL, await gateway.token(rung), after="0") as stream:
        heard = [await anext(stream), await anext(stream)]
        await write(rung, 1, bell=rung.database.bell)
        heard.append(await anext(stream))
    assert [kind for kind, _ in heard] == ["next"] * 3
    assert [said["extensions"]["cursor"] for _, said in heard] == ["1", "2", "3"]
    assert heard[0][1]["data"] == {"opEvents": {"seq": "1", "type": "COST_TICK"}}
    await until(lambda: gateway.application.gateway.live.figures()["subscribers"] == 0)


async def test_a_query_may_come_as_an_event_and_what_is_refused_too(rung: TenantUnderTest, gateway: Gateway) -> None:
    token = await gateway.token(rung)
    async with events(gateway, "{ viewer { name } }", token) as stream:
        assert [one async for one in stream] == [
            ("next", {"data": {"viewer": {"name": "Admin"}}, "extensions": {"cost": {"requested": 1, "limit": 50000}}}),
            ("complete", None),
        ]
    for query, code in (
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ('subscription { opEvents(after: "99") { seq } }', "BAD_USER_INPUT"),
    ):
        async with events(gateway, query, token) as stream:
            heard = [one async for one in stream]
        assert [kind for kind, _ in heard] == ["next", "complete"]
        assert heard[0][1]["errors"][0]["extensions"]["code"] == code


URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)


async def test_trap_12_who_likes_json_better_gets_json(rung: TenantUnderTest, gateway: Gateway) -> None:
    """urql mentions streams on every query; Apollo's @defer asks for multipart without the subscriptions' protocol."""
    headers = {"Authorization": f"Bearer {await gateway.token(rung)}"}
    async with httpx.AsyncClient(timeout=10) as client:
        for accept in (
            URQL,
            "multipart/mixed;deferSpec=20220824,application/json",
            "application/json,text/event-stream",
        ):
            response = await client.post(
                gateway.url, json={"query": "{ viewer { name } }"}, headers={**headers, "Accept": accept}
            )
            assert response.headers["content-type"].startswith("application/"), accept
            assert response.json()["data"] == {"viewer": {"name": "Admin"}}
        for accept in ("*/*", "application/json", "multipart/mixed, application/json"):
            refused = await client.post(
                gateway.url, json={"query": "subscription { opEvents { seq } }"}, headers={**headers, "Accept": accept}
            )
            assert refused.status_code == 406, accept
        assert (await client.post(gateway.url, json={"query": TAIL}, headers={"Accept": URQL})).status_code == 401


async def test_multipart_has_its_parts_and_ends_with_the_closing_boundary(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest
) -> None:
    """Trap 13, and Apollo's multipart subscription protocol: payloads, heartbeats, errors beside the payload."""
    async with running(connections, tmp_path, stream_heartbeat_seconds=0.2) as gateway:
        await write(tenant, 2)
        headers = {
            "Authorization": f"Bearer {await gateway.token(tenant)}",
            "Accept": "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json",
        }
        text_ = ""
        async with httpx.AsyncClient(timeout=10) as client:
            body = {"query": TAIL, "variables": {"after": "0"}}
            async with client.stream("POST", gateway.url, json=body, headers=headers) as response:
                kind = response.headers["content-type"]
                assert kind == 'multipart/mixed; boundary="graphql"; subscriptionSpec="1.0"'
                async for chunk in response.aiter_text():
                    text_ += chunk
                    if "payload" in text_ and text_.rpartition("payload")[2].count("{}") == 2:
                        gateway.application.gateway.live.drain()
        assert text_.startswith("--graphql\r\nContent-Type: application/json\r\n\r\n{")
        assert text_.endswith("\r\n--graphql--\r\n")
        parts = text_.removesuffix("--\r\n").split("--graphql")
        bodies = [json.loads(part.split("\r\n\r\n")[1]) for part in parts if part.strip()]
    told = [one for one in bodies if one]  # heartbeats may come before them, where the machine is slow
    assert [one["payload"]["data"]["opEvents"]["seq"] for one in told[:2]] == ["1", "2"]
    assert bodies.count({}) >= 2
    assert told[2:] == [bodies[-1]]
    assert bodies[-1]["payload"] is None
    assert bodies[-1]["errors"][0]["extensions"] == {"code": "STREAM_INTERRUPTED", "cursor": "2"}


async def test_a_caller_has_so_many_connections_and_so_many_streams(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest
) -> None:
    async with running(connections, tmp_path, connections_per_caller=2, streams_per_caller=3) as gateway:
        token, other = await gateway.token(tenant), await gateway.token(tenant)
        async with socket_of(gateway, token) as one, socket_of(gateway, token) as two:
            async with connect(gateway.socket_url, subprotocols=[Subprotocol("graphql-transport-ws")]) as third:
                init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
                await third.send(json.dumps(init))
                await third.wait_closed()
                assert third.close_code == 1013
            async with httpx.AsyncClient() as client:
                headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
                refused = await client.post(gateway.url, json={"query": TAIL}, headers=headers)
                assert refused.status_code == 429
            streams = [await one.subscribe(TAIL), await one.subscribe(TAIL), await two.subscribe(TAIL)]
            await until(lambda: gateway.application.gateway.live.figures()["subscribers"] == 3)
            ended = await (await two.subscribe(TAIL)).ending()
            assert ended.extensions["code"] == "RATE_LIMITED"
            await streams[0].complete()
            await until(lambda: gateway.application.gateway.live.figures()["subscribers"] == 2)
            await (await two.subscribe(TAIL)).quiet(0.2)
        async with socket_of(gateway, other) as socket:
            await (await socket.subscribe(TAIL)).quiet(0.2)
        async with socket_of(gateway, token):
            pass


async def test_decision_8_a_cursor_that_retention_has_overtaken_names_the_oldest_number(
    rung: TenantUnderTest, gateway: Gateway
) -> None:
    """CURSOR_EXPIRED: the client learns that something is missing, and from where on nothing is."""
    await write(rung, 10)
    async with rung.database.platform() as connection:
        await connection.execute(text("DELETE FROM op_events WHERE tenant_id = :t AND seq < 6"), {"t": rung.id})
        await connection.execute(
            text(
                "INSERT INTO gateway.retention_marks (tenant_id, log, first_seq, removed_before) "
                "VALUES (:t, 'op_events', 6, now())"
            ),
            {"t": rung.id},
        )
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        expired = await (await socket.subscribe(TAIL, after="3")).ending()
        assert expired.extensions == {"code": "CURSOR_EXPIRED", "oldest": "6"}
        tail = await socket.subscribe(TAIL, after="5")
        assert [(await tail.data())["seq"] for _ in range(5)] == ["6", "7", "8", "9", "10"]
        whole = await socket.subscribe(TAIL, after="0")
        assert (await whole.data())["seq"] == "6", "who has seen nothing gets what is kept"
