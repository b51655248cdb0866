"""Whose word the server takes for where a request comes from: that of the proxies in the settings, nobody else's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import httpx
import pytest

from app.cli.serving import configured
from app.http.server import DrainingServer
from app.main import Application
from app.settings import Settings


async def _tell(scope: Any, _receive: Any, send: Any) -> None:
    """Answer with who called, and over which scheme."""
    told = f"{scope['scheme']} {scope['client'][0]}".encode()
    headers = [(b"content-length", str(len(told)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


async def _nothing(_seconds: float) -> None:
    """There is nothing to drain."""


@pytest.mark.parametrize(
    ("trusted", "told"),
    [
        ("127.0.0.1", "https 203.0.113.7"),
        ("127.0.0.0/8,10.0.0.1", "https 203.0.113.7"),
        ("10.0.0.1", "http 127.0.0.1"),
        ("", "http 127.0.0.1"),
    ],
)
async def test_forwarded_headers_are_believed_of_trusted_proxies_alone(trusted: str, told: str) -> None:
    """What the client itself put in front of the proxy's word is not believed either: 198.51.100.9 is made up."""
    settings = Settings(trusted_proxies=trusted)
    config = configured(cast("Application", _tell), settings, loop="asyncio", lifespan="off")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = DrainingServer(config, _nothing, seconds=1)
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    headers = {"X-Forwarded-For": "198.51.100.9, 203.0.113.7", "X-Forwarded-Proto": "https"}
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.01)
        answer = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/", headers=headers)
        server.should_exit = True
        await serving
    assert answer.text == told
