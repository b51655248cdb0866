"""The sockets of a process: who may come in, how many there are, and how all of them end."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from app.graph.execution import Executor
from app.http.caller import Authenticate, OpenContextFor, Renew
from app.http.connections import Connections
from app.http.limits import EdgeLimits
from app.http.messages import SUBPROTOCOL, Close
from app.http.streams import Streams
from app.http.websocket import Socket, close_socket


class Sockets:
    """The open sockets of this process, and the ASGI application for new ones."""

    def __init__(
        self,
        executor: Executor,
        authenticate: Authenticate,
        context_factory: OpenContextFor,
        streams: Streams,
        counted: Connections,
        limits: EdgeLimits,
        renew: Renew | None = None,
    ) -> None:
        """`streams` fills subscriptions; `counted` knows how many connections each caller has; `renew` looks at a
        caller again before each operation, since a socket may be older than what its caller may do."""
        self.executor = executor
        self.authenticate = authenticate
        self.open_context = context_factory
        self.streams = streams
        self.counted = counted
        self.limits = limits
        self.renew = renew
        self._open: set[Socket] = set()
        self._draining = False

    @property
    def connections(self) -> int:
        """Open sockets."""
        return len(self._open)

    @property
    def operations(self) -> int:
        """Operations that run on them."""
        return sum(socket.running for socket in self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await close_socket(send, Close.NOT_ACCEPTABLE, f"Use the subprotocol {SUBPROTOCOL}")
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        if self._draining:
            await close_socket(send, Close.SERVICE_RESTART, "The gateway is stopping")
            return
        if len(self._open) >= self.limits.ws_max_connections:
            await close_socket(send, Close.TRY_AGAIN_LATER, "Too many open sockets")
            return
        socket = Socket(self, scope, receive, send)
        self._open.add(socket)
        try:
            await socket.run()
        finally:
            self._open.discard(socket)

    async def drain(self, seconds: float) -> None:
        """Let every socket come to its end: subscriptions complete, queries and mutations get `seconds` to finish."""
        self._draining = True
        await asyncio.gather(*(socket.drain(seconds) for socket in list(self._open)))
