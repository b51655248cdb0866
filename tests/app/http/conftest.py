"""A gateway of the tests' own schema: in the process for HTTP, and behind a real server where sockets matter."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from app.http.limits import EdgeLimits
from app.http.server import DrainingServer, server_config
from tests.app.http.fleet import Fleet, fleet

TOKEN = {"Authorization": "Bearer good"}


def client_of(made: Fleet, **options: object) -> httpx.AsyncClient:
    """An HTTP client of the application, without a server between."""
    transport = httpx.ASGITransport(app=made.app)
    headers = {"Authorization": "Bearer good", "Accept": "application/graphql-response+json"}
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@pytest.fixture
def gateway() -> Fleet:
    return fleet()


@pytest_asyncio.fixture
async def client(gateway: Fleet) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gateway) as made:
        yield made


@dataclass
class Running:
    """A gateway behind uvicorn, on a port of its own."""

    fleet: Fleet
    server: DrainingServer
    port: int
    serving: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"

    async def stop(self) -> None:
        self.server.should_exit = True
        await self.serving


@asynccontextmanager
async def running(made: Fleet) -> AsyncIterator[Running]:
    """Serve for as long as the block lasts."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = server_config(made.app, loop="asyncio", lifespan="off")
    server = DrainingServer(config, made.endpoint.drain, seconds=2.0)
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # as serve(), without taking over signals
    while not server.started:
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0.01)
    served = Running(made, server, listener.getsockname()[1], serving)
    try:
        yield served
    finally:
        await served.stop()


@pytest_asyncio.fixture
async def live() -> AsyncIterator[Running]:
    edges = EdgeLimits(ws_init_timeout_seconds=0.5, ws_max_operations=5, max_body_bytes=100_000)
    async with running(fleet(edges=edges)) as served:
        yield served
