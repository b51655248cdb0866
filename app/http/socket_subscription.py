"""A subscription on a socket: what of it waits in the socket's queue, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.graph.errors import FormattedError
from app.http.streams import Message, Stream

if TYPE_CHECKING:
    from app.http.websocket import Socket


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a subscription, in the queue behind its events."""

    errors: Sequence[FormattedError]
    final: bool


class SocketSubscription:
    """A subscription on a socket: a sink, and with no task of its own."""

    __slots__ = ("_bytes", "_room", "_socket", "_waiting", "ending", "identifier", "over", "prefix", "stream")

    def __init__(self, socket: Socket, identifier: str) -> None:
        self._socket = socket
        self.identifier = identifier
        self.prefix = b'{"type":"next","id":' + json.dumps(identifier).encode() + b',"payload":'
        self.stream: Stream | None = None
        self.over = False
        self.ending = False
        self._waiting = 0
        self._bytes = 0
        self._room: asyncio.Future[None] | None = None

    def send(self, message: Message) -> bool:
        """Queue an event, unless as much waits as may wait."""
        if self.over or self.ending:
            return True  # nobody is there to be slow
        limits, size = self._socket.limits, len(message.payload)
        if self._waiting >= limits.queue_messages or (self._waiting and self._bytes + size > limits.queue_bytes):
            return False
        self._waiting += 1
        self._bytes += size
        self._socket.put(self, message)
        return True

    def sent(self, message: Message) -> None:
        """An event left the queue."""
        self._waiting -= 1
        self._bytes -= len(message.payload)
        if self._room is not None and self._has_room():
            self._room.set_result(None)
            self._room = None

    async def room(self) -> None:
        """Return once at most half of what may wait does."""
        if not self._has_room() and not self.over:
            if self._room is None:
                self._room = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._room)

    def _has_room(self) -> bool:
        limits = self._socket.limits
        return 2 * self._waiting <= limits.queue_messages and 2 * self._bytes <= limits.queue_bytes

    def finish(self, errors: Sequence[FormattedError], *, final: bool = False) -> None:
        """End behind what is queued."""
        if not self.ending and not self.over:
            self.ending = True
            self._socket.put(self, Ending(errors, final))

    def close(self) -> None:
        """The client wants no more, or has been told everything."""
        if self.over:
            return
        self.over = True
        self._socket.left(self)
        if self._room is not None:
            self._room.cancel()
        if self.stream is not None:
            self.stream.close()
