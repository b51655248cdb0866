"""The listeners: many sockets of graphql-transport-ws in a process of their own, far cheaper than any server.

Each is a bare protocol on a raw connection. It counts the frames that come in; those of a sample look for `seq` in them
and note when it came. Pings are answered.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

import uvloop

from bench.processes import helper_process

SAMPLE: Final = 10
"""At most so many listeners note when each event came."""
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_SEQ: Final = b'"seq":"'


@dataclass(frozen=True)
class Listening:
    """Who is to listen: so many sockets, with these operations in turn."""

    port: int
    token: str
    sockets: int
    queries: Sequence[str]


@dataclass
class Heard:
    """What all of them heard since the last report."""

    frames: int = 0
    open: int = 0
    closed: int = 0
    arrivals: list[tuple[int, float]] = field(default_factory=list)
    """(number, when) of each event that one of the sample got."""
    cpu_seconds: float = 0.0
    complaint: str | None = None


class Listeners:
    """Hands orders to the listeners' process. `listeners` makes it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def open(self, listening: Listening) -> None:
        """Open the sockets and subscribe. Raises RuntimeError where not all come to stand."""
        self._ask(listening)

    def heard(self) -> Heard:
        """What was heard since the last time."""
        found: Heard = self._ask("heard")
        return found

    def close(self) -> None:
        """Close the sockets."""
        self._ask("close")

    def _ask(self, order: Any) -> Any:
        self._pipe.send(order)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise RuntimeError(f"The listeners failed: {answer}")
        return answer


@contextmanager
def listeners() -> Iterator[Listeners]:
    """The listeners' process, for as long as the block lasts."""
    with helper_process(_serve, "bench-listeners") as pipe:
        yield Listeners(pipe)


def _serve(pipe: Connection) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_House(pipe).run())


class _House:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.heard = Heard()
        self._sockets: list[_Listener] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            arrived = asyncio.Event()
            loop.add_reader(self._pipe.fileno(), arrived.set)
            await arrived.wait()
            loop.remove_reader(self._pipe.fileno())
            os.set_blocking(self._pipe.fileno(), True)  # uvloop's reader left it otherwise, and a long answer fails
            try:
                order = self._pipe.recv()
            except (EOFError, OSError):
                return
            try:
                self._pipe.send(await self._obey(order))
            except Exception as error:
                self._pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))

    async def _obey(self, order: Any) -> Any:
        if isinstance(order, Listening):
            await self._open(order)
            return None
        if order == "close":
            for one in self._sockets:
                one.leave()
            self._sockets.clear()
            return None
        heard, self.heard = self.heard, Heard()
        heard.open = sum(one.subscribed and not one.gone for one in self._sockets)
        heard.cpu_seconds = time.process_time()
        for one in self._sockets:
            one.heard = self.heard
        return heard

    async def _open(self, listening: Listening) -> None:
        loop = asyncio.get_running_loop()
        for number in range(listening.sockets):
            query = listening.queries[number % len(listening.queries)]

            def make(number: int = number, query: str = query) -> _Listener:
                return _Listener(self.heard, listening.token, query, number < SAMPLE)

            _, made = await loop.create_connection(make, "127.0.0.1", listening.port)
            self._sockets.append(made)
            if number % 100 == 99:
                await asyncio.sleep(0.02)  # a server's backlog is not what is measured
        async with asyncio.timeout(120):
            await asyncio.gather(*(one.ready.wait() for one in self._sockets))


class _Listener(asyncio.Protocol):
    """One socket with one subscription."""

    def __init__(self, heard: Heard, token: str, query: str, in_sample: bool) -> None:
        self.heard = heard
        self.subscribed = False
        self.gone = False
        self.ready = asyncio.Event()
        self._token, self._query, self._in_sample = token, query, in_sample
        self._rest = b""
        self._shaken = False
        self._leaving = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            (
                "GET /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
            ).encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if not self._leaving:
            self.heard.closed += 1

    def leave(self) -> None:
        self._leaving = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        buffer = self._rest + data if self._rest else data
        at = 0
        if not self._shaken:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._rest = buffer
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self.heard.complaint = buffer[:200].decode(errors="replace")
            self._shaken, at = True, end + 4
            self._say({"type": "connection_init", "payload": {"authorization": f"Bearer {self._token}"}})
        while True:
            frame = self._frame(buffer, at)
            if frame is None:
                break
            at = frame
        self._rest = buffer[at:]

    def _frame(self, buffer: bytes, at: int) -> int | None:
        """Take the frame that begins there, if it is whole; where the next one begins."""
        if len(buffer) < at + 2:
            return None
        opcode, size, start = buffer[at] & 15, buffer[at + 1], at + 2
        if size == 126:
            if len(buffer) < at + 4:
                return None
            (size,), start = struct.unpack_from("!H", buffer, at + 2), at + 4
        elif size == 127:
            if len(buffer) < at + 10:
                return None
            (size,), start = struct.unpack_from("!Q", buffer, at + 2), at + 10
        end = start + size
        if len(buffer) < end:
            return None
        if opcode == _TEXT:
            self._text(buffer, start, end)
        elif opcode == _PING:
            self._send(_PONG, buffer[start:end])
        elif opcode == _CLOSE:
            self.heard.complaint = buffer[start + 2 : end].decode(errors="replace")
        return end

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        if self.subscribed:
            self.heard.frames += 1
            if self._in_sample:
                found = buffer.find(_SEQ, start, end)
                if found >= 0:
                    found += len(_SEQ)
                    self.heard.arrivals.append((int(buffer[found : buffer.index(b'"', found)]), time.time()))
                else:
                    self.heard.complaint = buffer[start:end].decode()
            return
        self.subscribed = True  # what came is the acknowledgement
        self._say({"type": "subscribe", "id": "1", "payload": {"query": self._query}})
        self.ready.set()

    def _say(self, message: dict[str, Any]) -> None:
        self._send(_TEXT, json.dumps(message).encode())

    def _send(self, opcode: int, payload: bytes) -> None:
        """Client frames are masked; with zeros, which change nothing."""
        size = len(payload)
        head = (
            bytes([0x80 | opcode, 0x80 | size])
            if size < 126
            else bytes([0x80 | opcode, 0xFE]) + struct.pack("!H", size)
        )
        self._transport.write(head + b"\0\0\0\0" + payload)
