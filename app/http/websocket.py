"""One socket: graphql-transport-ws, with none of the traps 14 to 17.

A socket is read by one task; a query or mutation is another, and a subscription none: its events come into the
socket's queue, which a task empties while there is something in it. Whichever side ends the socket, all of that is over
before the handler returns, and every subscription is closed: a client that vanishes leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from graphql import OperationType
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from app.graph.documents import Operation, Refused
from app.graph.errors import GraphError, RateLimited, StreamInterrupted, Timeout, Unauthenticated, Unavailable, masked
from app.graph.execution import Outcome
from app.graph.request import Question
from app.http.body import encode
from app.http.caller import TENANT_HEADER, Caller
from app.http.limits import EdgeLimits
from app.http.messages import (
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
from app.http.server import TEXTS
from app.http.socket_subscription import Ending, SocketSubscription
from app.http.streams import Message
from app.http.tasks import cancelled
from app.outages import AWAY

if TYPE_CHECKING:
    from app.http.sockets import Sockets

_LAST_WORDS_SECONDS: Final = 2.0
"""How long a socket that is about to close may take for what is still to be said."""
_EXPIRED: Final = "The token has expired"
_ONE_WRITE: Final = 65_536
"""Bytes of events after which a write is large enough."""

_LONGEST_TIMER: Final = 86_400.0
"""Seconds; a token may outlive what the event loop's clock takes, so its end is looked at once a day."""


class Socket:
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
        self._streams: dict[str, SocketSubscription] = {}
        self._queue: deque[tuple[SocketSubscription, Message | Ending]] = deque()
        self._emptying: asyncio.Task[None] | None = None
        self._takes_several = TEXTS in scope.get("extensions", {})
        self._ending: asyncio.Future[tuple[Close, str] | None] = asyncio.get_running_loop().create_future()
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limits(self) -> EdgeLimits:
        """What one subscriber may have waiting."""
        return self._house.limits

    @property
    def running(self) -> int:
        """Operations that run on it, subscriptions counted."""
        return len(self._operations) + len(self._streams)

    async def run(self) -> None:
        """Serve the socket until either side ends it."""
        self._end_after(
            self._house.limits.ws_init_timeout_seconds, Close.INIT_TIMEOUT, "connection_init did not come in time"
        )
        reader = asyncio.create_task(self._read())
        try:
            ending = await self._ending
            if ending is not None and not self._gone:
                await self._emptied(_LAST_WORDS_SECONDS)
                self._gone = True
                await close_socket(self._send_event, *ending)
        finally:
            self._gone = True
            self._stop_timer()
            for subscription in list(self._streams.values()):
                subscription.close()
            if self._caller is not None:
                self._house.counted.give(self._caller.principal)
            await cancelled(reader, *self._tasks, *([self._emptying] if self._emptying is not None else []))

    async def drain(self, seconds: float) -> None:
        """Complete the subscriptions, wait for the rest, close: all of it in so many seconds."""
        until = time.monotonic() + seconds
        for subscription in list(self._streams.values()):
            subscription.finish(())
        rest = list(self._operations.values())
        if rest:
            await asyncio.wait(rest, timeout=seconds)
        await self._emptied(max(0.0, until - time.monotonic()))
        self._end(Close.SERVICE_RESTART, "The gateway is stopping")

    async def _emptied(self, seconds: float) -> None:
        if self._emptying is not None:
            await asyncio.wait([self._emptying], timeout=seconds)

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
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.0), self._expire)
        else:
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(_LONGEST_TIMER, self._watch_expiry)

    def _expire(self) -> None:
        # Whoever fills the streams ends them, each with its cursor, and so the socket; if not, it ends all the same.
        seconds = _LAST_WORDS_SECONDS if self._streams else 0.0
        self._end_after(seconds, Close.FORBIDDEN, _EXPIRED)

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
            subscription = self._streams.get(message.id)
            if subscription is not None:
                subscription.close()
            task = self._operations.pop(message.id, None)
            if task is not None:
                task.cancel()

    async def _initialise(self, message: ConnectionInit) -> None:
        if self._initialised:
            self._end(Close.TOO_MANY_INITS, "connection_init came twice")
            return
        self._initialised = True
        payload = message.payload or {}
        try:
            caller = await self._house.authenticate(
                _text(payload, "authorization") or self._headers.get("authorization"),
                _text(payload, "tenant") or self._headers.get(TENANT_HEADER),
            )
            self._house.counted.take(caller.principal)
            self._caller = caller
        except (RateLimited, Timeout, Unavailable) as error:
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
        elif self._caller.token_expires_at <= datetime.now(UTC):
            self._end(Close.FORBIDDEN, _EXPIRED)
        elif message.id in self._operations or message.id in self._streams:
            self._end(Close.DUPLICATE_ID, f"There is an operation {message.id[:40]} already")
        elif self.running >= self._house.limits.ws_max_operations:
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
        """Run one operation to its end, or begin a subscription. What goes wrong is its own affair (trap 17)."""
        task = asyncio.current_task()
        try:
            final = await self._outcome(message, caller, identity)
        except Unauthenticated as error:
            self._end(Close.UNAUTHORIZED, error.message)
            return
        except Exception as error:
            final = Outcome([masked(error, identity)])
        if self._operations.get(message.id) is not task:
            return  # completed by the client meanwhile, who may have used the id again
        # Before the client hears of it, since it may use the id again at once.
        del self._operations[message.id]
        if final is None:
            return
        if final.executed:
            await self._send({"type": "next", "id": message.id, "payload": final.payload()})
            await self._send({"type": "complete", "id": message.id})
        else:
            await self._send({"type": "error", "id": message.id, "payload": list(final.errors)})

    async def _outcome(self, message: Subscribe, caller: Caller, identity: str) -> Outcome | None:
        """What the operation came to; None where it is a subscription, which goes on."""
        executor, request = self._house.executor, message.payload
        try:
            operation = executor.prepare(request)
            caller = await self._renewed(caller, operation)
            if operation.kind is OperationType.SUBSCRIPTION:
                await self._begin(message.id, operation, request.variables, caller, identity)
                return None
        except Refused as refused:
            return executor.refusal(refused, identity)
        async with self._house.open_context(caller, identity) as context:
            return await executor.run(Question(operation, request.variables), context, identity)

    async def _renewed(self, caller: Caller, operation: Operation) -> Caller:
        try:
            return caller if self._house.renew is None else await self._house.renew(caller)
        except Unavailable as error:
            if operation.kind is OperationType.SUBSCRIPTION:
                raise StreamInterrupted(AWAY, None) from error
            raise

    async def _begin(
        self,
        identifier: str,
        operation: Operation,
        variables: Mapping[str, Any] | None,
        caller: Caller,
        identity: str,
    ) -> None:
        subscription = SocketSubscription(self, identifier)
        try:
            stream = await self._house.streams.subscribe(operation, variables, caller, identity, subscription)
        except BaseException:
            subscription.close()
            raise
        if subscription.over or self._gone:
            stream.close()
        elif not subscription.ending:
            subscription.stream = stream
            self._streams[identifier] = subscription

    # Subscriptions

    def put(self, subscription: SocketSubscription, what: Message | Ending) -> None:
        """Queue something of a subscription."""
        self._queue.append((subscription, what))
        if self._emptying is None:
            self._emptying = asyncio.create_task(self._empty(), name="socket-queue")

    def left(self, subscription: SocketSubscription) -> None:
        """A subscription has come to its end."""
        if self._streams.get(subscription.identifier) is subscription:
            del self._streams[subscription.identifier]

    async def _empty(self) -> None:
        """Send what is queued, as fast as the client takes it."""
        try:
            while self._queue and not self._gone:
                subscription, what = self._queue.popleft()
                if subscription.over:
                    continue
                if isinstance(what, Message):
                    await self._send_events(subscription, what)
                    continue
                # Before the client hears of it, since it may use the id again at once.
                subscription.close()
                if not what.errors:
                    await self._send({"type": "complete", "id": subscription.identifier})
                else:
                    await self._send({"type": "error", "id": subscription.identifier, "payload": list(what.errors)})
                if what.final:
                    self._end(*self._farewell())
        finally:
            self._emptying = None
            if self._gone:
                self._queue.clear()

    async def _send_events(self, subscription: SocketSubscription, first: Message) -> None:
        """Send an event, and with it those behind it, as many as go well into one write."""
        subscription.sent(first)
        if not self._takes_several:
            await self._send_text(subscription.prefix.decode() + first.text + "}")
            return
        texts = [(subscription.prefix, first.payload, b"}")]
        size = len(first.payload)
        while self._queue and size < _ONE_WRITE:
            following, what = self._queue[0]
            if not isinstance(what, Message):
                break
            self._queue.popleft()
            if not following.over:
                following.sent(what)
                texts.append((following.prefix, what.payload, b"}"))
                size += len(what.payload)
        await self._send_as_is({"type": "websocket.send", "texts": texts})

    def _farewell(self) -> tuple[Close, str]:
        if self._caller is not None and self._caller.token_expires_at <= datetime.now(UTC):
            return Close.FORBIDDEN, _EXPIRED
        return Close.UNAUTHORIZED, "This caller may not come in any more."

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(encode(message).decode())

    async def _send_text(self, text: str) -> None:
        await self._send_as_is({"type": "websocket.send", "text": text})

    async def _send_as_is(self, event: dict[str, Any]) -> None:
        if self._gone:
            return
        try:
            await self._send_event(event)
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


async def close_socket(send: Send, code: Close, reason: str) -> None:
    """Close a socket that was accepted; of the reason, what a close frame has room for."""
    await send({"type": "websocket.close", "code": int(code), "reason": close_reason(reason)})
