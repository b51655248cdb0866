"""The server's own pings: they keep a socket through what stands in between, and find the client that is gone."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from db.connections import Connections
from tests.app.live.gateway import running

_PING = 0x89
_HANDSHAKE = (
    "GET /graphql HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


async def test_a_client_that_answers_no_ping_is_let_go_and_one_that_does_stays(
    connections: Connections, tmp_path: Path
) -> None:
    """Both have been greeted by nobody yet; only the time for that is longer than this test."""
    async with running(connections, tmp_path, ws_ping_seconds=1, ws_init_timeout_seconds=60) as gateway:
        protocols = [Subprotocol("graphql-transport-ws")]
        async with connect(gateway.socket_url, subprotocols=protocols, ping_interval=None) as lively:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(_HANDSHAKE.format(key=key).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101")
            async with asyncio.timeout(20):
                heard = await reader.read()  # to the end, which the server makes
            assert heard[0] == _PING
            writer.close()
            await asyncio.wait_for(await lively.ping(), 5)
