"""The cheapest server there is, to see how much the load generator can do: a constant answer to whatever arrives.

It does not parse; one read is one request, which holds for the small requests of a closed loop.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from bench.load import Job, LoadGenerator

ENOUGH = 15_000
"""Requests a second that the load generator must reach, or figures of fast servers are its own."""

_BODY = b'{"data":{"agentInstance":{"id":"ins_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"}}}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_REQUEST = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-length: 300\r\n\r\n" + b" " * 300


class _Constant(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER)


def _serve(pipe: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(_Constant, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def reach(load: LoadGenerator, seconds: float, connections: int = 16) -> float:
    """Requests a second that the load generator gets out of the trivial server."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), name="bench-trivial", daemon=True)
    process.start()
    try:
        port = ours.recv()
        outcome = load.run(Job("127.0.0.1", port, connections, seconds, (_REQUEST,), (_BODY,)))
    finally:
        process.kill()
        process.join()
    if outcome.failure is not None:
        raise RuntimeError(f"the trivial server failed: {outcome.failure}")
    return len(outcome.latencies) / outcome.seconds
