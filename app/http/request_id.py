"""A name for each request: taken from ``X-Request-Id`` or made here, in every log line and in the answer."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.headers import safe, safe_lines
from app.log import REQUEST_ID
from app.origin import ORIGIN

_ACCEPTABLE: Final = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_KEY: Final = "fleetgraph.request_id"
WHOLE: Final = "fleetgraph.whole"
"""Key in a scope whose `send` takes an answer's body in the message that begins it, under this key, and writes its
length; and in ``scope["extensions"]`` what sends a whole answer at once: `(status, header lines, body)` to whether it
did."""

LATER: Final = "fleetgraph.later"
"""Key in ``scope["extensions"]`` of what calls a function with a value once what was sent is on its way."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.http")


def request_id(scope: Scope) -> str:
    """The id of this request, or of this socket's connection."""
    found = scope.get(_KEY)
    if isinstance(found, str):
        return found
    made = f"{random.getrandbits(128):032x}"  # a name and no secret, so it need not cost a call of the system
    scope[_KEY] = made
    return made


class Answer:
    """`send` of one request: the answer gets its id and the headers that all have."""

    __slots__ = ("_at_once", "_identity", "_send", "status")

    def __init__(self, send: Send, at_once: Callable[[int, bytes, bytes], bool] | None, identity: str) -> None:
        self._send = send
        self._at_once = at_once
        self._identity = identity
        self.status = 0
        """0 while there is no answer."""

    async def __call__(self, message: Message) -> None:
        """As ASGI has it, and as `WHOLE` says."""
        if message["type"] != "http.response.start":
            await self._send(message)
            return
        usual = message["headers"]
        body: bytes | None = message.pop(WHOLE, None)
        if body is not None and self.whole(message["status"], tuple(usual), body):
            return
        self.status = message["status"]
        own = [] if body is None else [(b"content-length", b"%d" % len(body))]
        message["headers"] = [*safe(usual), *own, (b"x-request-id", self._identity.encode("ascii"))]
        await self._send(message)
        if body is not None:
            await self._send({"type": "http.response.body", "body": body})

    def whole(self, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> bool:
        """Send the whole answer now; whether that could be done. For who has this very object, and no wrapper of it."""
        if self._at_once is None:
            return False
        own = b"content-length: %d\r\nx-request-id: %b\r\n" % (len(body), self._identity.encode("ascii"))
        if not self._at_once(status, safe_lines(headers) + own, body):
            return False
        self.status = status
        return True


class RequestId:
    """An ASGI wrapper, the outermost: gives the request its id and its answer the headers that all have, and logs it
    when it is over.

    An id from outside is kept if it is short and plain, so that it can neither forge nor break log lines. Operations
    are logged by the executor, with their names; so of `/graphql` only what never became an operation is logged here.
    """

    def __init__(self, app: ASGIApp, quiet: frozenset[str] = frozenset({"/healthz", "/readyz", "/metrics"})) -> None:
        self._app = app
        self._quiet = quiet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _ACCEPTABLE.fullmatch(value):
                scope[_KEY] = value.decode("ascii")
        identity = request_id(scope)
        bound = REQUEST_ID.set(identity)
        placed = ORIGIN.set((scope.get("client"), scope["headers"]))
        if scope["type"] == "websocket":  # its operations are logged each with an id that begins so
            try:
                await self._app(scope, receive, send)
            finally:
                ORIGIN.reset(placed)
                REQUEST_ID.reset(bound)
            return
        started = time.perf_counter()
        # Taken out: it refers to the request, which would then refer to itself and be left to the garbage collector.
        answer = Answer(send, scope.get("extensions", {}).pop(WHOLE, None), identity)
        scope[WHOLE] = True
        try:
            await self._app(scope, receive, answer)
        finally:
            if self._worth_a_line(scope["path"], answer.status):
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=answer.status or None,
                    milliseconds=round((time.perf_counter() - started) * 1000, 2),
                )
            ORIGIN.reset(placed)
            REQUEST_ID.reset(bound)

    def _worth_a_line(self, path: str, status: int) -> bool:
        return status >= 500 or (path not in self._quiet and (path != "/graphql" or status >= 400))
