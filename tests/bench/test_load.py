"""The load generator counts right answers, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bench.load import Job, Outcome, run_job

_BODY = b'{"data":{"x":1}}'
Answer = Callable[[int], bytes | None]
"""The bytes of the n-th answer; None closes the connection instead."""


def _response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nX: y\r\n\r\n%s" % (status, len(body), body)


@asynccontextmanager
async def _server(answer: Answer) -> AsyncIterator[int]:
    served = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                found = answer(served)
                served += 1
                if found is None:
                    break
                # In two parts, the first of which ends within the head.
                writer.write(found[:10])
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(found[10:])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _run(answer: Answer, connections: int = 3) -> Outcome:
    async with _server(answer) as port:
        request = b"GET / HTTP/1.1\r\n\r\n"
        return await run_job(Job("127.0.0.1", port, connections, 0.2, (request, request), (_BODY, _BODY)))


async def test_right_answers_are_timed() -> None:
    outcome = await _run(lambda _: _response(_BODY))
    assert outcome.failures == 0
    assert len(outcome.latencies) > 10
    assert all(0 < latency <= outcome.seconds for latency in outcome.latencies)
    assert outcome.seconds >= 0.2


@pytest.mark.parametrize(
    "wrong",
    [
        _response(_BODY, b"500 Internal Server Error"),
        _response(b'{"data":{"x":2}}'),
        _response(b'{"errors":[]}'),
        _response(_BODY + b" "),
    ],
    ids=["status", "body", "errors", "longer"],
)
async def test_every_wrong_answer_is_counted(wrong: bytes) -> None:
    outcome = await _run(lambda number: wrong if number % 5 == 3 else _response(_BODY), connections=1)
    answered = len(outcome.latencies) + outcome.failures
    assert outcome.failures == sum(number % 5 == 3 for number in range(answered)) > 0
    assert outcome.failure is not None


async def test_a_closed_connection_ends_its_client() -> None:
    outcome = await _run(lambda number: None if number == 4 else _response(_BODY))
    assert outcome.failures == 1
    assert "closed" in (outcome.failure or "")
    assert len(outcome.latencies) > 10  # the other two went on


async def test_an_answer_without_a_length_is_told() -> None:
    outcome = await _run(lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert outcome.failures == 3
    assert "Content-Length" in (outcome.failure or "")


async def test_a_lane_belongs_to_one_connection() -> None:
    """Whoever pauses an agent resumes it: a connection sends the requests of its lane in turn, from the first on."""
    sent: dict[object, list[bytes]] = {}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                sent.setdefault(writer, []).append(head.split()[1])
                writer.write(_response(_BODY))
        writer.close()

    requests = tuple(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(6))
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await run_job(Job("127.0.0.1", port, 3, 0.1, requests, (_BODY,) * 6, lane=2))
    assert outcome.failures == 0
    paths = sorted(sent.values())
    assert [one[0] for one in paths] == [b"/0", b"/2", b"/4"]
    for one in paths:
        first = int(one[0][1:])
        assert len(one) > 2
        assert one == [b"/%d" % (first + number % 2) for number in range(len(one))]
