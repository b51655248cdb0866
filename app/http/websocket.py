"""Sockets: graphql-transport-ws, with none of the traps 14 to 17.

A socket is read by one task, and each of its operations is another. Whichever side ends it, all of them are over
before the handler returns, and every subscription's source is closed: a client that vanishes leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from graphql import OperationType
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from app.graph.documents import Refused
from app.graph.errors import GraphError, RateLimited, Timeout, masked
from app.graph.execution import Executor, Outcome
from app.http.body import encode
from app.http.caller import TENANT_HEADER, Authenticate, Caller, OpenContextFor
from app.http.limits import EdgeLimits
from app.http.messages import (
    SUBPROTOCOL,
    BadMessage,
    ClientMessage,
    Close,
    Complete,
    ConnectionInit,
    Ping,
    Subscribe,
    close_reason,
    decode_message,
)
from app.http.request_id import request_id
from app.http.tasks import cancelled

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.http")

_LONGEST_TIMER: Final = 86_400.0
"""Seconds; a token may outlive what the event loop's clock takes, so its end is looked at once a day."""


class Sockets:
    """The open sockets of this process, and the ASGI application for new ones."""

    def __init__(
        self,
        executor: Executor,
        authenticate: Authenticate,
        context_factory: OpenContextFor,
        limits: EdgeLimits | None = None,
    ) -> None:
        self.executor = executor
        self.authenticate = authenticate
        self.open_context = context_factory
        self.limits = limits or EdgeLimits()
        self._open: set[_Socket] = set()
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
            await _close(send, Close.NOT_ACCEPTABLE, f"Use the subprotocol {SUBPROTOCOL}")
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        if self._draining:
            await _close(send, Close.SERVICE_RESTART, "The gateway is stopping")
            return
        if len(self._open) >= self.limits.ws_max_connections:
            await _close(send, Close.TRY_AGAIN_LATER, "Too many open sockets")
            return
        socket = _Socket(self, scope, receive, send)
        self._open.add(socket)
        try:
            await socket.run()
        finally:
            self._open.discard(socket)

    async def drain(self, seconds: float) -> None:
        """Let every socket come to its end: subscriptions complete, queries and mutations get `seconds` to finish."""
        self._draining = True
        await asyncio.gather(*(socket.drain(seconds) for socket in list(self._open)))


class _Socket:
    """One connection."""

    def __init__(self, house: Sockets, scope: Scope, receive: Receive, send: Send) -> None:
        self._house = house
        self._headers = Headers(scope=scope)
        self._receive = receive
        self._send_event = send
        self._identity = request_id(scope)
        self._count = 0
        self._initialised = False
        self._caller: Caller | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # those too that were completed and are still on their way out
        self._streams: set[str] = set()
        self._ending: asyncio.Future[tuple[Close, str] | None] = asyncio.get_running_loop().create_future()
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        return len(self._operations)

    async def run(self) -> None:
        """Serve the socket until either side ends it."""
        self._end_after(
            self._house.limits.ws_init_timeout_seconds, Close.INIT_TIMEOUT, "connection_init did not come in time"
        )
        reader = asyncio.create_task(self._read())
        try:
            ending = await self._ending
            if ending is not None and not self._gone:
                self._gone = True
                await _close(self._send_event, *ending)
        finally:
            self._gone = True
            self._stop_timer()
            await cancelled(reader, *self._tasks)

    async def drain(self, seconds: float) -> None:
        """Complete the subscriptions, wait for the rest, close."""
        streams = {identifier: self._operations[identifier] for identifier in self._streams}
        for identifier in streams:
            self._forget(identifier)
        await cancelled(*streams.values())
        for identifier in streams:
            await self._send({"type": "complete", "id": identifier})
        rest = list(self._operations.values())
        if rest:
            await asyncio.wait(rest, timeout=seconds)
        self._end(Close.SERVICE_RESTART, "The gateway is stopping")

    # Ending

    def _end(self, code: Close | None, reason: str = "") -> None:
        if not self._ending.done():
            self._ending.set_result(None if code is None else (code, reason))

    def _end_after(self, seconds: float, code: Close, reason: str) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end, code, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch_expiry(self) -> None:
        """End the socket when the token ends; the client may come back with a new one at once."""
        assert self._caller is not None  # noqa: S101 - only called once there is one
        left = (self._caller.token_expires_at - datetime.now(UTC)).total_seconds()
        if left <= _LONGEST_TIMER:
            self._end_after(max(left, 0.0), Close.FORBIDDEN, "The token has expired")
        else:
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(_LONGEST_TIMER, self._watch_expiry)

    # Reading

    async def _read(self) -> None:
        try:
            while not self._ending.done():
                event = await self._receive()
                if event["type"] == "websocket.disconnect":
                    self._gone = True
                    self._end(None)
                    return
                text = event.get("text")
                if text is not None and len(text) > self._house.limits.ws_max_message_bytes:
                    raise BadMessage("the message is too large")
                await self._handle(decode_message(text))
        except BadMessage as error:
            self._end(Close.BAD_REQUEST, f"Bad message: {error}")
        except Exception as error:
            masked(error, self._identity)  # logs it
            self._end(Close.TRY_AGAIN_LATER, "Something went wrong on our side")

    async def _handle(self, message: ClientMessage) -> None:
        if isinstance(message, ConnectionInit):
            await self._initialise(message)
        elif isinstance(message, Ping):
            await self._send(
                {"type": "pong"} if message.payload is None else {"type": "pong", "payload": message.payload}
            )
        elif isinstance(message, Subscribe):
            await self._subscribe(message)
        elif isinstance(message, Complete):
            task = self._forget(message.id)
            if task is not None:
                task.cancel()

    async def _initialise(self, message: ConnectionInit) -> None:
        if self._initialised:
            self._end(Close.TOO_MANY_INITS, "connection_init came twice")
            return
        self._initialised = True
        payload = message.payload or {}
        try:
            self._caller = await self._house.authenticate(
                _text(payload, "authorization") or self._headers.get("authorization"),
                _text(payload, "tenant") or self._headers.get(TENANT_HEADER),
            )
        except (RateLimited, Timeout) as error:
            self._end(Close.TRY_AGAIN_LATER, error.message)
        except GraphError as error:
            self._end(Close.UNAUTHORIZED, error.message)
        else:
            await self._send({"type": "connection_ack"})
            self._watch_expiry()

    # Operations

    async def _subscribe(self, message: Subscribe) -> None:
        if self._caller is None:
            self._end(Close.UNAUTHORIZED, "connection_init comes first")
        elif message.id in self._operations:
            self._end(Close.DUPLICATE_ID, f"There is an operation {message.id[:40]} already")
        elif len(self._operations) >= self._house.limits.ws_max_operations:
            limit = self._house.limits.ws_max_operations
            full = RateLimited(1, f"{limit} operations run on this socket; complete one of them first.")
            await self._send({"type": "error", "id": message.id, "payload": [masked(full, "")]})
        else:
            self._count += 1
            identity = f"{self._identity}.{self._count}"
            task = asyncio.create_task(self._operate(message, self._caller, identity))
            self._operations[message.id] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _operate(self, message: Subscribe, caller: Caller, identity: str) -> None:
        """Run one operation to its end, and tell the client; what goes wrong is this operation's alone (trap 17)."""
        task = asyncio.current_task()
        try:
            final = await self._outcomes(message, caller, identity)
        except Exception as error:
            final = Outcome([masked(error, identity)])
        if self._operations.get(message.id) is not task:
            return  # completed by the client meanwhile, who may have used the id again
        # Before the client hears of it, since it may use the id again at once.
        self._forget(message.id)
        if final is None:
            await self._send({"type": "complete", "id": message.id})
        else:
            await self._send({"type": "error", "id": message.id, "payload": list(final.errors)})

    async def _outcomes(self, message: Subscribe, caller: Caller, identity: str) -> Outcome | None:
        """Send what was executed; return what could not be, or None."""
        executor, request = self._house.executor, message.payload
        try:
            operation = executor.prepare(request)
        except Refused as refused:
            return executor.refusal(refused, identity)

        def open_context() -> Any:
            return self._house.open_context(caller, identity)

        if operation.kind is not OperationType.SUBSCRIPTION:
            async with open_context() as context:
                outcome = await executor.run(operation, request.variables, context, identity)
            return None if await self._next(message.id, outcome) else outcome
        self._streams.add(message.id)
        async with aclosing(executor.subscribe(operation, request.variables, open_context, identity)) as outcomes:
            async for outcome in outcomes:
                if not await self._next(message.id, outcome):
                    return outcome
        return None

    async def _next(self, identifier: str, outcome: Outcome) -> bool:
        if outcome.executed:
            await self._send({"type": "next", "id": identifier, "payload": outcome.payload()})
        return outcome.executed

    def _forget(self, identifier: str) -> asyncio.Task[None] | None:
        self._streams.discard(identifier)
        return self._operations.pop(identifier, None)

    async def _send(self, message: dict[str, Any]) -> None:
        if self._gone:
            return
        text = encode(message).decode()
        try:
            await self._send_event({"type": "websocket.send", "text": text})
        except (OSError, RuntimeError):
            # The connection broke under us; the servers raise one or the other.
            self._gone = True
            self._end(None)


def _text(payload: dict[str, Any], name: str) -> str | None:
    """A text of the payload, under its name in small or with a capital. Raises `BadMessage` if it is no text."""
    value = payload.get(name, payload.get(name.capitalize()))
    if value is not None and not isinstance(value, str):
        raise BadMessage(f"payload.{name} is not text")
    return value


async def _close(send: Send, code: Close, reason: str) -> None:
    await send({"type": "websocket.close", "code": int(code), "reason": close_reason(reason)})
