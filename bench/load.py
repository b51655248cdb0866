"""The load generator: keeps a number of connections busy and checks every answer, in a process of its own.

A closed loop over HTTP/1.1 with keep-alive: each connection sends its next request when the answer to the last one is
complete. It has to be much cheaper than any server, so it speaks to raw sockets, builds its requests beforehand and
compares each body with the one that is expected, byte for byte, where it lies.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

from bench.processes import helper_process

_PATIENCE_SECONDS: Final = 60.0
"""How long after the end of its time a job waits for answers that are under way."""
_HEAD_ROOM: Final = 64 * 1024
_SHOWN_BYTES: Final = 300
"""How much of a wrong answer is told."""


@dataclass(frozen=True)
class Job:
    """One measurement."""

    host: str
    port: int
    connections: int
    seconds: float
    """For how long new requests are sent; those under way are then waited for."""
    requests: tuple[bytes, ...]
    """Whole HTTP requests; the connections go through them in turn, each from another start."""
    bodies: tuple[bytes, ...]
    """The body that each request must be answered with, under status 200."""
    lane: int = 0
    """Where it matters who sends what: so many consecutive requests belong to one connection, the first to the first,
    and each begins with its own first one. 0: all connections go through all requests."""


@dataclass
class Outcome:
    """What came of a job."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from request to complete answer, of the right answers alone."""
    failures: int = 0
    failure: str | None = None
    """The first wrong answer, in words."""
    cpu_seconds: float = 0.0
    """CPU time of this client; close to `seconds`, it is the client that was measured."""

    def fail(self, what: str) -> None:
        """Count a wrong answer."""
        self.failures += 1
        self.failure = self.failure or what


class LoadGenerator:
    """Hands jobs to the client's process. `load_generator` makes it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def run(self, job: Job) -> Outcome:
        """Run one job to its end. Raises EOFError when the client's process has died."""
        self._pipe.send(job)
        outcome = self._pipe.recv()
        assert isinstance(outcome, Outcome)
        return outcome


@contextmanager
def load_generator() -> Iterator[LoadGenerator]:
    """A client's process, for as long as the block lasts."""
    with helper_process(_serve, "bench-load") as pipe:
        yield LoadGenerator(pipe)


def _serve(pipe: Connection) -> None:
    while True:
        try:
            job = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(uvloop.run(run_job(job)))


async def run_job(job: Job) -> Outcome:
    """Run one job in this process; for the largest load, use `load_generator`."""
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    done = asyncio.Event()
    race = _Race(job, outcome, done)
    clients: list[_Client] = []
    gc.collect()
    gc.disable()
    try:
        for number in range(job.connections):
            _, client = await loop.create_connection(partial(_Client, race, number), job.host, job.port)
            clients.append(client)
        cpu = time.process_time()
        race.begin(clients)
        try:
            await asyncio.wait_for(done.wait(), job.seconds + _PATIENCE_SECONDS)
        except TimeoutError:
            for _ in range(race.running):
                outcome.fail(f"no answer {_PATIENCE_SECONDS:.0f} s after the end")
            race.last = time.perf_counter()
        outcome.seconds = race.last - race.first
        outcome.cpu_seconds = time.process_time() - cpu
    finally:
        gc.enable()
        for client in clients:
            client.close()
    return outcome


class _Race:
    """What the connections of a job have in common."""

    def __init__(self, job: Job, outcome: Outcome, done: asyncio.Event) -> None:
        self.requests = job.requests
        self.bodies = job.bodies
        self.outcome = outcome
        self.lane = job.lane
        self.size = max(map(len, job.bodies)) + _HEAD_ROOM
        self.running = 0
        self.first = self.last = self.deadline = 0.0
        self._seconds = job.seconds
        self._done = done

    def begin(self, clients: list[_Client]) -> None:
        self.running = len(clients)
        self.first = time.perf_counter()
        self.deadline = self.first + self._seconds
        for client in clients:
            client.send()

    def end_one(self) -> None:
        self.running -= 1
        if self.running == 0:
            self.last = time.perf_counter()
            self._done.set()


class _Client(asyncio.BufferedProtocol):
    """One connection; reads into one buffer for as long as it lives."""

    def __init__(self, race: _Race, number: int) -> None:
        self._race = race
        self._lane = race.lane or len(race.requests)
        self._first = number * race.lane
        # Far apart, so that they do not march in step.
        self._variant = self._first if race.lane else number * 7919 % len(race.requests)
        self._buffer = bytearray(race.size)
        self._view = memoryview(self._buffer)
        self._end = 0
        self._body = 0
        """Where the body begins; 0 until the head is complete."""
        self._total = 0
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def send(self) -> None:
        """Send the next request."""
        assert self._transport is not None
        self._end = self._body = 0
        self._sent = time.perf_counter()
        self._transport.write(self._race.requests[self._variant])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self._end += nbytes
        if self._body == 0 and not self._read_head():
            return
        if self._end >= self._total:
            self._take()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sent:
            self._stop(f"the connection was closed ({exc or 'by the server'})")

    def _read_head(self) -> bool:
        """Whether the head is complete, and can be read."""
        end = self._buffer.find(b"\r\n\r\n", 0, self._end)
        if end < 0:
            return False
        head = bytes(self._view[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:
            self._stop(f"the answer has no Content-Length: {head[:_SHOWN_BYTES]!r}")
            return False
        line = head.find(b"\r\n", at + 2)
        self._body = end + 4
        self._total = self._body + int(head[at + 17 : len(head) if line < 0 else line])
        if self._total > len(self._buffer):
            self._stop(f"an answer of {self._total - self._body} bytes, where fewer were expected")
            return False
        return True

    def _take(self) -> None:
        """A complete answer."""
        now = time.perf_counter()
        race, buffer = self._race, self._buffer
        expected = race.bodies[self._variant]
        is_right = (
            self._end == self._total
            and self._total - self._body == len(expected)
            and buffer.startswith(b"HTTP/1.1 200 ")
            and buffer.startswith(expected, self._body)
        )
        if is_right:
            race.outcome.latencies.append(now - self._sent)
        else:
            shown = bytes(self._view[self._body : min(self._end, self._body + _SHOWN_BYTES)])
            race.outcome.fail(f"{bytes(self._view[:12]).decode(errors='replace')}, another body: {shown!r}")
        self._variant = self._first + (self._variant + 1 - self._first) % self._lane
        if now < race.deadline:
            self.send()
        else:
            self._stop()

    def _stop(self, failure: str | None = None) -> None:
        if failure is not None:
            self._race.outcome.fail(failure)
        self._sent = 0.0
        self._race.end_one()
        self.close()
