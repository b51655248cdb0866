"""The server around the application: uvicorn, told not to undo what the edges take care of."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sized
from functools import partial
from typing import Any, Final

import structlog
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from app.http.polling import BusyPoll
from app.http.request_id import LATER, WHOLE
from app.http.watching import GONE, HangUp
from app.log import together

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.http")

AFTERWARDS_SECONDS: Final = 0.005
"""How long log lines and figures of a request may wait for something to be done beside."""
_OF_PROXIES: Final = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})
"""All that uvicorn's wrapper for proxies looks at."""
TEXTS: Final = "fleetgraph.texts"
"""Key in a socket's ``scope["extensions"]``: several texts may be sent at once."""


class HttpProtocol(HttpToolsProtocol):
    """Uvicorn's protocol of HTTP, with three things more: `scope["extensions"][WHOLE]` sends a whole answer with one
    write, where ASGI's two messages become two, and with them two packets; what is called by way of `[LATER]` holds up
    no answer; and `[GONE]` tells of a client that hangs up. Requests that no proxy has touched pass by the wrapper for
    those that one has.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """As uvicorn's."""
        super().__init__(*arguments, **settings)
        self._hang_up = HangUp()
        self._working: RequestResponseCycle | None = None
        """The request that is worked on; `cycle` is the last one that came, which may have to wait for it."""

    def on_message_complete(self) -> None:
        """A request is there as a whole. Behind a large body nothing more would be read, and so no end be seen; for
        requests that wait behind it, uvicorn stops reading on purpose."""
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or was sent away."""
        super().connection_lost(exc)
        working = self._working
        if working is not None and not working.response_complete:
            working.disconnected = True
            working.message_event.set()
        self._hang_up.tell()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._working = cycle
        scope: Any = cycle.scope
        scope["extensions"] = {WHOLE: partial(_send_whole, cycle), GONE: self._hang_up}
        afterwards: Afterwards | None = getattr(self.server_state, "afterwards", None)
        if afterwards is not None:
            scope["extensions"][LATER] = afterwards.add
        if isinstance(app, ProxyHeadersMiddleware) and _OF_PROXIES.isdisjoint([name for name, _ in scope["headers"]]):
            app = app.app
        super()._start_asgi_task(cycle, app)
        if afterwards is not None:
            afterwards.begun()
        polling: BusyPoll | None = getattr(self.server_state, "polling", None)
        if polling is not None:
            polling.begun()


class Afterwards:
    """What each request leaves to be done holds up no answer, neither its own nor the next one. Who is alone gets
    theirs done by the request that comes next, at the moment when that begins to wait for the database; those beside
    each other together, which takes half as long as one by one.
    """

    def __init__(self, under_way: Sized) -> None:
        """`under_way` are the requests that are, the one that leaves something, or begins, among them."""
        self._under_way = under_way
        self._left: list[tuple[Callable[[Any], None], Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        """Stays when a request was quicker than it: to call it off and set another would cost each request more."""

    def add(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call the function soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(AFTERWARDS_SECONDS, self._due)
        self._left.append((function, argument))

    def begun(self) -> None:
        """A request has its task, whose first step comes next."""
        if self._left and len(self._under_way) == 1:
            asyncio.get_running_loop().call_soon(self.run)

    def _due(self) -> None:
        self._timer = None
        self.run()

    def run(self) -> None:
        """Call all of them now."""
        left, self._left = self._left, []
        with together():
            for function, argument in left:
                try:
                    function(argument)
                except Exception:
                    log.exception("left_undone")


def _send_whole(cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> bool:
    """Send an answer with these header lines, which say how long it is; False where it must go the usual way, since the
    client is slow, or gone."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
        return False
    own = [b"%b: %b\r\n" % header for header in cycle.default_headers]
    if not cycle.keep_alive:
        own.append(b"connection: close\r\n")
    cycle.transport.write(b"".join((STATUS_LINE[status], *own, head, b"\r\n", body)))
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's protocol of sockets, with one thing more: ``{"type": "websocket.send", "texts": [...]}`` sends several
    text messages with one write. A fan-out sends the same few events to thousands of sockets, and what it costs is
    the frame and the write for each of them.
    """

    def handle_connect(self, event: Request) -> None:
        """Say that it can be done; the application has not been called yet."""
        super().handle_connect(event)
        scope: Any = getattr(self, "scope", None)
        if scope is not None:
            scope["extensions"][TEXTS] = {}

    async def send(self, message: Any) -> None:
        """As ASGI has it, and several texts at once."""
        texts = message.get("texts")
        if texts is None or not self.handshake_complete:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected:
            raise ClientDisconnected
        if not self.close_sent:
            self.transport.write(b"".join(_frames(texts)))


def _frames(texts: Iterable[tuple[bytes, ...]]) -> Iterator[bytes]:
    """Unmasked text frames (RFC 6455, 5.2), as servers send them; each text comes in parts."""
    for parts in texts:
        size = sum(map(len, parts))
        if size < 126:
            yield bytes((0x81, size))
        elif size < 1 << 16:
            yield b"\x81\x7e" + size.to_bytes(2)
        else:
            yield b"\x81\x7f" + size.to_bytes(8)
        yield from parts


Drain = Callable[[float], Awaitable[None]]
"""Brings what is open to an end, within so many seconds."""


def server_config(app: Any, **settings: Any) -> uvicorn.Config:
    """Uvicorn's configuration with our defaults; `settings` are its own names, and win.

    No ``Server`` header (trap 22); sockets with a bounded message size (trap 4) and without per-message deflate, which
    would hold some 50 KB for each idle socket; no access log, since requests are logged by the application.
    """
    ours: dict[str, Any] = {
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": SocketProtocol,
        "ws_max_size": 1_048_576,
        "ws_per_message_deflate": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_graceful_shutdown": 10,
    }
    return uvicorn.Config(app, **{**ours, **settings})


class DrainingServer(uvicorn.Server):
    """Uvicorn that lets the application finish its sockets first.

    Uvicorn itself closes every socket the moment it is told to stop, before the application hears of it; clients
    would lose what a subscription still had to say.
    """

    def __init__(
        self, config: uvicorn.Config, drain: Drain, seconds: float = 5.0, busy_poll_seconds: float = 0.0
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._seconds = seconds
        self._afterwards = Afterwards(self.server_state.tasks)
        state: Any = self.server_state  # which is what the protocols are given
        state.afterwards = self._afterwards
        state.polling = BusyPoll(self.server_state.tasks, busy_poll_seconds)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, drain, then shut down as uvicorn does. A second Ctrl-C cuts the draining short."""
        for server in self.servers:
            server.close()
        draining = asyncio.ensure_future(self._drain(self._seconds))
        while not draining.done() and not self.force_exit:
            await asyncio.wait((draining,), timeout=0.1)
        draining.cancel()
        await super().shutdown(sockets)
        self._afterwards.run()
