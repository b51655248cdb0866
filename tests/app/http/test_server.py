"""What requests leave to be done once they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from app.graph.execution import Report
from app.http import server
from app.http.endpoint import GraphQLEndpoint
from app.http.server import Afterwards
from db.connections import Connections
from db.tenant_pool import TenantConnection
from tests.app.live.gateway import running
from tests.conftest import TenantUnderTest


async def test_what_is_left_is_done_together_in_its_order_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails is logged, and keeps nobody else's from being done."""
    monkeypatch.setattr(server, "AFTERWARDS_SECONDS", 0.05)
    done: list[int] = []

    def do(number: int) -> None:
        if number == 2:
            raise RuntimeError("out of order")
        done.append(number)

    afterwards = Afterwards(())
    with structlog.testing.capture_logs() as lines:
        for number in range(4):
            afterwards.add(do, number)
        await asyncio.sleep(0)
        assert done == []
        await asyncio.sleep(0.2)
        assert done == [0, 1, 3]
        assert [line["event"] for line in lines] == ["left_undone"]
        afterwards.add(do, 4)
        await asyncio.sleep(0.2)
    assert done == [0, 1, 3, 4]


async def test_what_one_alone_leaves_is_done_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind that one's first step, which may have sent a statement by then."""
    monkeypatch.setattr(server, "AFTERWARDS_SECONDS", 60)
    done: list[str] = []
    under_way = {"it"}
    afterwards = Afterwards(under_way)
    afterwards.add(done.append, "left")
    await asyncio.sleep(0.01)
    assert done == []
    asyncio.get_running_loop().call_soon(done.append, "first step")
    afterwards.begun()
    await asyncio.sleep(0.01)
    assert done == ["first step", "left"]
    under_way.add("another")
    afterwards.add(done.append, "of two")
    afterwards.begun()
    await asyncio.sleep(0.01)
    assert done == ["first step", "left"]
    afterwards.run()
    assert done == ["first step", "left", "of two"]


async def test_an_operation_is_reported_while_the_next_one_waits(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its statement is sent, and before its answer is."""
    monkeypatch.setattr(server, "AFTERWARDS_SECONDS", 60)
    happened: list[str] = []
    fetch, whole = TenantConnection.fetch, server._send_whole

    def sent(self: TenantConnection, sql: str, arguments: Sequence[Any]) -> Awaitable[Sequence[Any]]:
        happened.append("statement")
        return fetch(self, sql, arguments)

    def answered(cycle: Any, status: int, head: bytes, body: bytes) -> bool:
        happened.append("answer")
        return whole(cycle, status, head, body)

    async with running(connections, tmp_path) as gateway, httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {await gateway.token(tenant)}"}
        question = {"query": "query Q { projects { totalCount } }"}
        await client.post(gateway.url, json=question, headers=headers)
        monkeypatch.setattr(TenantConnection, "fetch", sent)
        monkeypatch.setattr(server, "_send_whole", answered)
        gateway.application.gateway.executor.observe = lambda _: happened.append("report")  # type: ignore[misc]
        await client.post(gateway.url, json=question, headers=headers)
        assert happened == ["statement", "report", "answer"]


async def test_an_operation_is_reported_after_its_answer_and_before_the_server_is_gone(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon it stops."""
    monkeypatch.setattr(server, "AFTERWARDS_SECONDS", 60)
    reports: list[Report] = []
    async with running(connections, tmp_path) as gateway:
        gateway.application.gateway.executor.observe = reports.append  # type: ignore[misc]
        token = await gateway.token(tenant)
        headers = {"Authorization": f"Bearer {token}"}
        _, other = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"Host: h\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 9"
        other.write(f"POST /graphql HTTP/1.1\r\n{head}\r\n\r\n".encode())  # and its body does not come
        async with asyncio.timeout(10):
            while not gateway.server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with httpx.AsyncClient() as client:
            found = await client.post(gateway.url, json={"query": "{ projects { totalCount } }"}, headers=headers)
        assert found.json()["data"] == {"projects": {"totalCount": 1}}
        await asyncio.sleep(0.05)
        assert not reports
        other.close()
    assert [report.outcome.code for report in reports] == ["OK"]


@pytest.mark.parametrize("forwarded", [None, "203.0.113.7"])
async def test_the_client_behind_a_proxy_is_the_client(
    forwarded: str | None, connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy on this machine is trusted; requests without its headers take a shorter way."""
    clients: list[str] = []
    original = GraphQLEndpoint.__call__

    async def seen(self: GraphQLEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        clients.append(scope["client"][0])
        await original(self, scope, receive, send)

    monkeypatch.setattr(GraphQLEndpoint, "__call__", seen)
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    async with running(connections, tmp_path) as gateway, httpx.AsyncClient() as client:
        await client.post(gateway.url, json={"query": "{ __typename }"}, headers=headers)
    assert clients == [forwarded or "127.0.0.1"]


async def test_a_page_of_an_allowed_origin_is_answered(connections: Connections, tmp_path: Path) -> None:
    """Its headers are added on the way to the client, which the whole answer takes with one write."""
    origin = "https://console.example"
    async with (
        running(connections, tmp_path, allowed_origins=(origin,)) as gateway,
        httpx.AsyncClient() as client,
    ):
        answer = await client.post(gateway.url, json={"query": "{ __typename }"}, headers={"Origin": origin})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["x-request-id"]
        assert int(answer.headers["content-length"]) == len(answer.content)
