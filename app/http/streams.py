"""Streams as the transports see them: messages that are encoded once, a sink that they go into, and who fills it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import Any, Protocol

from app.graph.documents import Operation
from app.graph.errors import FormattedError, masked
from app.graph.execution import Executor
from app.http.body import encode
from app.http.caller import OpenContextFor


class Message:
    """One event, ready to be sent to everybody who asked the same: JSON of the response map.

    What a transport puts around it is made when the first of them needs it, and then shared too.
    """

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    @cached_property
    def text(self) -> str:
        """For sockets."""
        return self.payload.decode()

    @cached_property
    def event(self) -> bytes:
        """For server-sent events."""
        return b"event: next\ndata: " + self.payload + b"\n\n"

    @cached_property
    def part(self) -> bytes:
        """For multipart answers."""
        return b'Content-Type: application/json\r\n\r\n{"payload":' + self.payload + b"}\r\n--graphql"


class Sink(Protocol):
    """Where one subscriber's events go. Nothing here blocks but `room`."""

    def send(self, message: Message) -> bool:
        """Queue it; False where the queue is full, and then it is not queued."""
        ...

    async def room(self) -> None:
        """Return once the queue has room again: for what is replayed at the client's own pace."""
        ...

    def finish(self, errors: Sequence[FormattedError], *, final: bool = False) -> None:
        """End the stream behind what is queued: complete without errors, else with them. `final` where the caller
        may not come back as they are, so that the connection ends too."""
        ...


class Stream(Protocol):
    """A subscription that is running."""

    def close(self) -> None:
        """The client wants no more of it, or is gone. Nothing is sent after that."""
        ...


class Streams(Protocol):
    """Who fills sinks."""

    async def subscribe(
        self, operation: Operation, variables: Mapping[str, Any] | None, caller: Any, request_id: str, sink: Sink
    ) -> Stream:
        """Begin a subscription. Raises `Refused` where it cannot begin."""
        ...


class Outbox:
    """A sink with one reader: the queue of a stream over HTTP."""

    def __init__(self, messages: int, size: int) -> None:
        """At most so many messages of at most so many bytes together."""
        self._most, self._size = messages, size
        self._queue: deque[Message] = deque()
        self._used = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.errors: Sequence[FormattedError] | None = None
        """Why the stream ended, empty where nothing is wrong; None while it goes on."""

    def send(self, message: Message) -> bool:
        """Queue it, unless the queue is full."""
        size = len(message.payload)
        if len(self._queue) >= self._most or (self._queue and self._used + size > self._size):
            return False
        self._queue.append(message)
        self._used += size
        self._filled.set()
        if 2 * len(self._queue) >= self._most or 2 * self._used >= self._size:
            self._room.clear()
        return True

    async def room(self) -> None:
        """Return once the queue is at most half full."""
        await self._room.wait()

    def finish(self, errors: Sequence[FormattedError], *, final: bool = False) -> None:
        """End the stream behind what is queued."""
        if self.errors is None:
            self.errors = errors
            self._filled.set()

    async def take(self, seconds: float) -> list[Message]:
        """What is queued, once there is something or the stream has ended; nothing after so many seconds."""
        if not self._filled.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._filled.wait()
        taken = list(self._queue)
        self._queue.clear()
        self._used = 0
        self._room.set()
        if self.errors is None:
            self._filled.clear()
        return taken


class SourceStreams:
    """Streams of a schema whose root fields are async generators, each run for its one subscriber."""

    def __init__(self, executor: Executor, open_context: OpenContextFor) -> None:
        self._executor, self._open_context = executor, open_context

    async def subscribe(
        self, operation: Operation, variables: Mapping[str, Any] | None, caller: Any, request_id: str, sink: Sink
    ) -> Stream:
        """Begin; what is wrong is told through the sink."""

        async def run() -> None:
            outcomes = self._executor.subscribe(
                operation, variables, lambda: self._open_context(caller, request_id), request_id
            )
            errors: Sequence[FormattedError] = ()
            try:
                async with aclosing(outcomes):
                    async for outcome in outcomes:
                        if not outcome.executed:
                            errors = outcome.errors
                            break
                        await sink.room()
                        sink.send(Message(encode(outcome.payload())))
            except Exception as error:
                errors = [masked(error, request_id)]
            sink.finish(errors)

        return _Running(asyncio.create_task(run(), name="stream"))


class _Running:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task

    def close(self) -> None:
        self.task.cancel()
