"""The real application behind a real server, in the test's process, and clients that say exactly what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from app.auth.actor import ActorKind
from app.cli.serving import configured
from app.http.server import DrainingServer
from app.main import Application
from app.settings import Settings
from db import models
from db.connections import Connections
from tests.conftest import TenantUnderTest
from tests.serving import grant, new_person


@dataclass
class Gateway:
    """One gateway on a port, until it is stopped."""

    settings: Settings
    application: Application
    server: DrainingServer
    serving: asyncio.Task[None]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/graphql"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/graphql"

    def token_of(
        self, tenant: TenantUnderTest, subject: str, kind: ActorKind = ActorKind.OPERATOR, **given: Any
    ) -> str:
        tokens = self.application.gateway.authenticator.local
        assert tokens is not None
        return tokens.issue(kind, subject, tenant=tenant.slug, **given)

    async def token(self, tenant: TenantUnderTest, role: str = "Admin", **assignment: Any) -> str:
        """A token of a new operator who holds a system role."""
        return self.token_of(tenant, (await operator(tenant, role, **assignment)).auth_id)

    async def hears(self, streams: int) -> None:
        """Wait until so many streams get what comes from now on. Subscribing is not answered, so nothing tells."""
        async with asyncio.timeout(20):
            while self._listening() < streams:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def _listening(self) -> int:
        started = [slot.starting for slot in self.application.gateway.live._groups.values() if slot.starting.done()]
        return sum(len(one.result().members) for one in started)

    async def stop(self) -> None:
        """In good order, as for a new release."""
        self.server.should_exit = True
        await self.serving


async def operator(tenant: TenantUnderTest, role: str = "Admin", **assignment: Any) -> models.Operator:
    made = new_person(role)
    await tenant.add(made)
    await grant(tenant, made.id, role, **assignment)
    return made


async def start_gateway(connections: Connections, directory: Path, port: int = 0, **given: Any) -> Gateway:
    """A gateway without its jobs; `given` are further settings."""
    settings = Settings(
        database_url=connections.gateway.url,
        owner_database_url=connections.owner.url,
        platform_database_url=connections.platform.url,
        data_dir=directory,
        jobs=False,
        pool_size=8,
        **given,
    )
    application = Application(settings)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = configured(application, settings, loop="asyncio")
    server = DrainingServer(config, application.drain, seconds=5)
    serving = asyncio.create_task(server._serve(sockets=[listener]))  # as serve(), without taking over signals
    while not server.started:
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0.01)
    return Gateway(settings, application, server, serving, listener.getsockname()[1])


@asynccontextmanager
async def running(connections: Connections, directory: Path, **given: Any) -> AsyncIterator[Gateway]:
    """A gateway for as long as the block lasts."""
    gateway = await start_gateway(connections, directory, **given)
    try:
        yield gateway
    finally:
        await gateway.stop()


class Ended(Exception):
    """A subscription came to its end: with errors, or complete."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(str(list(errors)))
        self.errors = errors

    @property
    def extensions(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.errors[0]["extensions"]
        return found


@dataclass
class Subscription:
    """One subscription on a socket."""

    socket: Socket
    identifier: str
    heard: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def next(self, seconds: float = 10) -> dict[str, Any]:
        """The payload of the next event. Raises Ended."""
        async with asyncio.timeout(seconds):
            message = await self.heard.get()
        if message["type"] == "next":
            payload: dict[str, Any] = message["payload"]
            return payload
        raise Ended(message.get("payload", []))

    async def data(self, seconds: float = 10) -> Any:
        """What the next event's root field says, which must be without errors."""
        payload = await self.next(seconds)
        assert "errors" not in payload, payload["errors"]
        (value,) = payload["data"].values()
        return value

    async def quiet(self, seconds: float = 0.4) -> None:
        """Nothing comes."""
        with contextlib.suppress(TimeoutError):
            raise AssertionError(await self.next(seconds))

    async def ending(self, seconds: float = 10) -> Ended:
        """The end, whatever events come before it."""
        try:
            while True:
                await self.next(seconds)
        except Ended as ended:
            return ended

    async def complete(self) -> None:
        await self.socket.say({"type": "complete", "id": self.identifier})


class Socket:
    """A client of graphql-transport-ws."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.subscriptions: dict[str, Subscription] = {}
        self._count = 0
        self._reading = asyncio.create_task(self._read())

    async def say(self, message: Mapping[str, Any]) -> None:
        await self.connection.send(json.dumps(message))

    async def subscribe(self, query: str, **variables: Any) -> Subscription:
        self._count += 1
        made = Subscription(self, f"s{self._count}")
        self.subscriptions[made.identifier] = made
        await self.say(
            {"type": "subscribe", "id": made.identifier, "payload": {"query": query, "variables": variables}}
        )
        return made

    async def closed(self, seconds: float = 10) -> tuple[int, str]:
        """Code and reason of the server's close frame."""
        async with asyncio.timeout(seconds):
            await asyncio.wait([self._reading])
        closing = self.connection.protocol.close_rcvd
        assert closing is not None
        return closing.code, closing.reason

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.connection:
                message = json.loads(text)
                if message["type"] in ("next", "error", "complete"):
                    await self.subscriptions[message["id"]].heard.put(message)
        for one in self.subscriptions.values():
            await one.heard.put({"type": "closed"})

    async def end(self) -> None:
        self._reading.cancel()
        await self.connection.close()


@asynccontextmanager
async def socket_of(gateway: Gateway, token: str, **options: Any) -> AsyncIterator[Socket]:
    """A socket that has said connection_init."""
    async with connect(
        gateway.socket_url, subprotocols=[Subprotocol("graphql-transport-ws")], compression=None, **options
    ) as connection:
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
        await connection.send(json.dumps(init))
        assert json.loads(await connection.recv()) == {"type": "connection_ack"}
        made = Socket(connection)
        try:
            yield made
        finally:
            await made.end()


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait until something holds that the other side brings about."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the other side knows nothing of this test
            await asyncio.sleep(0.005)
