"""What sends op events for bench/ingest.py, in a process of its own: over HTTP, and by COPY."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from bench.contenders import ContenderFailed

Send = tuple[list[float], float]
"""Seconds that each request took, and CPU seconds of the client."""


async def over_http(port: int, requests: Sequence[bytes], writers: int) -> list[float]:
    """Each writer has a connection and sends the next request when it has its answer; how many seconds each took."""
    waiting, times = deque(requests), []

    async def writer() -> None:
        reader, out = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        while waiting:
            request = waiting.popleft()
            began = time.perf_counter()
            out.write(request)
            await out.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            body = await reader.readexactly(length)
            times.append(time.perf_counter() - began)
            if b" 200 " not in head[:20] or b'"REFUSED"' in body or b'"message"' in body or b'"errors"' in body:
                raise ContenderFailed(f"It was answered: {body[:300]!r}")
        out.close()

    await asyncio.gather(*(writer() for _ in range(writers)))
    return times


async def by_copy(url: str, columns: Sequence[str], parts: Sequence[bytes], writers: int) -> list[float]:
    """Each writer has a connection and copies the next part, in a transaction of its own."""
    waiting, times = deque(parts), []

    async def writer() -> None:
        connection = await asyncpg.connect(url)
        while waiting:
            part = waiting.popleft()
            began = time.perf_counter()
            await connection.copy_to_table("op_events", source=io.BytesIO(part), columns=columns)
            times.append(time.perf_counter() - began)
        await connection.close()

    await asyncio.gather(*(writer() for _ in range(writers)))
    return times


def _client(send: Callable[[], Any], answers: Any) -> None:
    try:
        before = time.process_time()
        times = asyncio.run(send())
        answers.send((times, time.process_time() - before))
    except Exception as error:
        answers.send(error)


def send_by(send: Callable[[], Any]) -> tuple[float, Send]:
    """Run the client; how long it took in all, as it saw it itself."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_client, args=(send, there))
    began = time.perf_counter()
    process.start()
    answer = here.recv()
    seconds = time.perf_counter() - began
    process.join()
    if isinstance(answer, Exception):
        raise ContenderFailed(f"The client failed: {answer!r}")
    return seconds, answer
