"""A name for each request: taken from ``X-Request-Id`` or made here, in every log line and in the answer."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ACCEPTABLE: Final = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_KEY: Final = "fleetgraph.request_id"

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.http")


def request_id(scope: Scope) -> str:
    """The id of this request, or of this socket's connection."""
    found = scope.get(_KEY)
    if isinstance(found, str):
        return found
    made = secrets.token_hex(16)
    scope[_KEY] = made
    return made


class RequestId:
    """An ASGI wrapper, the outermost: gives the request its id and logs it when it is over.

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
        if scope["type"] == "websocket":  # its operations are logged each with an id that begins so
            with structlog.contextvars.bound_contextvars(request_id=identity):
                await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identity.encode("ascii"))]
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=identity)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            if scope["type"] == "http" and self._worth_a_line(scope["path"], status):
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or None,
                    milliseconds=round((time.perf_counter() - started) * 1000, 2),
                )
            structlog.contextvars.reset_contextvars(**bound)

    def _worth_a_line(self, path: str, status: int) -> bool:
        return status >= 500 or (path not in self._quiet and (path != "/graphql" or status >= 400))
