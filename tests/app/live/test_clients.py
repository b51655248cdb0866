"""Real clients against the running gateway: subscribe, receive, lose the connection, resume (issue 5)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gql import Client, GraphQLRequest
from gql.transport.exceptions import TransportError
from gql.transport.websockets import WebsocketsTransport

from app.http.tasks import cancelled
from db.connections import Connections
from tests.app.live.events import write
from tests.app.live.gateway import Gateway, operator, start_gateway, until
from tests.conftest import TenantUnderTest
from tests.npm.packages import HERE, installed

Heard = list[dict[str, Any]]


@asynccontextmanager
async def from_npm(kind: str, gateway: Gateway, token: str) -> AsyncIterator[Heard]:
    """A client of npm in a Node, and what it prints."""
    node = await asyncio.to_thread(installed)
    process = await asyncio.create_subprocess_exec(
        *(str(node.program), str(HERE / "subscribe.mjs"), kind, gateway.url, token, "0"),
        env=node.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    heard: Heard = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            heard.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        yield heard
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await cancelled(reading)
        assert process.stderr is not None
        said = await process.stderr.read()
        assert not said, said.decode()


@asynccontextmanager
async def from_python(_kind: str, gateway: Gateway, token: str) -> AsyncIterator[Heard]:
    """The package gql, which comes back with its cursor too."""
    heard: Heard = []
    query = "subscription Tail($after: Seq) { opEvents(after: $after) { seq type project { name } } }"

    async def follow() -> None:
        cursor = "0"
        while True:
            transport = WebsocketsTransport(
                url=gateway.socket_url,
                init_payload={"authorization": f"Bearer {token}"},
                subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
                connect_timeout=5,
            )
            with contextlib.suppress(TransportError, OSError, TimeoutError):
                async with Client(transport=transport) as session:
                    request = GraphQLRequest(query, variable_values={"after": cursor})
                    async for result in session.subscribe(request):
                        cursor = result["opEvents"]["seq"]
                        heard.append({"seq": int(cursor), "type": result["opEvents"]["type"]})
            await asyncio.sleep(0.1)

    following = asyncio.create_task(follow())
    try:
        yield heard
    finally:
        await cancelled(following)


KINDS = {
    "graphql-ws": from_npm,
    "graphql-sse": from_npm,
    "apollo-ws": from_npm,
    "apollo-multipart": from_npm,
    "urql-ws": from_npm,
    "urql-sse": from_npm,
    "gql": from_python,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_subscribes_loses_its_connection_and_resumes(
    kind: str, connections: Connections, tmp_path: Path, tenant: TenantUnderTest
) -> None:
    """Cut off, and the gateway restarted, while events come in: in the end it has heard each once, in order."""
    gateway = await start_gateway(connections, tmp_path)
    try:
        token = gateway.token_of(tenant, (await operator(tenant)).auth_id)
        await write(tenant, 3, project_id=tenant.project.id)
        async with KINDS[kind](kind, gateway, token) as heard:

            def numbers() -> list[int]:
                return [one["seq"] for one in heard if "seq" in one]

            async def up_to(last: int) -> None:
                try:
                    await until(lambda: len(numbers()) >= last, 30)
                except TimeoutError:
                    raise AssertionError(heard) from None

            await up_to(3)
            bell = gateway.application.gateway.database.bell
            await write(tenant, 3, bell=bell)
            await up_to(6)
            for connection in list(gateway.server.server_state.connections):
                connection.transport.abort()
            await write(tenant, 4, bell=bell)
            await up_to(10)
            await gateway.stop()
            await write(tenant, 2)
            gateway = await reopened(lambda: start_gateway(connections, tmp_path, gateway.port))
            await write(tenant, 3, bell=gateway.application.gateway.database.bell)
            await up_to(15)
            await asyncio.sleep(0.2)
            assert numbers() == list(range(1, 16))
            if kind != "gql":  # which shows no extensions, and so no codes
                assert {"ended": "STREAM_INTERRUPTED"} in heard
            if kind in ("apollo-multipart", "urql-ws", "urql-sse"):
                assert {"viewer": "Admin"} in heard, "a plain query in between is answered with JSON"
    finally:
        await gateway.stop()


async def reopened(start: Callable[[], Awaitable[Gateway]]) -> Gateway:
    """The gateway on its old port, as soon as that is free."""
    for _ in range(100):
        try:
            return await start()
        except OSError:
            await asyncio.sleep(0.05)
    raise AssertionError("the port stays taken")
