"""Clients that hang up: nobody works on for them, and who is nearly done is let finish."""

from __future__ import annotations

import asyncio
import logging

import orjson
import pytest

from app.http import watching
from app.http.body import ClientGone
from app.http.limits import EdgeLimits
from tests.app.http.conftest import Running, running
from tests.app.http.fleet import fleet
from tests.app.live.gateway import until


def _post(query: str, padding: int = 0) -> bytes:
    body = orjson.dumps({"query": query}) + b" " * padding
    lines = ["POST /graphql HTTP/1.1", "Host: x", "Authorization: Bearer good", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def _hang_up_on(live: Running, sent: bytes) -> None:
    """Send this, and go away when the work on it has begun."""
    _, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(sent)
    await asyncio.wait_for(live.fleet.house.started.wait(), 5)
    writer.close()
    await writer.wait_closed()


async def test_a_client_that_hangs_up_stops_the_work(live: Running) -> None:
    """The edges: nobody waits for the answer, so nobody works on it."""
    await _hang_up_on(live, _post("{ slow }"))
    house = live.fleet.house
    await until(lambda: house.closed == 1)
    assert (house.cancelled, house.opened) == (1, 1)


async def test_it_is_heard_behind_a_large_body() -> None:
    """Uvicorn reads no further behind 64 KB, and who does not read sees no end."""
    async with running(fleet(edges=EdgeLimits(max_body_bytes=1_000_000))) as live:
        await _hang_up_on(live, _post("{ slow(seconds: 8) }", padding=200_000))
        await until(lambda: live.fleet.house.closed == 1, 5)
        assert live.fleet.house.cancelled == 1


async def test_it_is_heard_by_the_request_that_is_worked_on(live: Running, caplog: pytest.LogCaptureFixture) -> None:
    """And not by the one behind it, whose turn has not come: that one is not begun at all. Nothing is said of it."""
    await _hang_up_on(live, _post("{ slow }") + _post("{ hello }"))
    house = live.fleet.house
    await until(lambda: house.cancelled == 1)
    await asyncio.sleep(0.05)
    assert (house.opened, house.closed) == (1, 1)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_answer_that_is_nearly_ready_is_let_finish(live: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """To end it costs a connection to Postgres."""
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", 5.0)
    await _hang_up_on(live, _post("{ slow(seconds: 0.2) }"))
    house = live.fleet.house
    await until(lambda: house.closed == 1)
    assert house.cancelled == 0


async def test_who_has_gone_before_the_work_began_is_told_at_once() -> None:
    """A connection's end may come between a request and the first step of its task."""

    async def work() -> None:
        await asyncio.sleep(5)

    hang_up = watching.HangUp()
    hang_up.tell()
    with pytest.raises(ClientGone):
        await asyncio.wait_for(watching.unless_gone(work(), hang_up), 2)


async def test_another_cancellation_is_not_taken_for_it() -> None:
    """What cancels the task from outside comes out as it is."""
    hang_up = watching.HangUp()
    task = asyncio.create_task(watching.unless_gone(asyncio.sleep(5), hang_up))
    await asyncio.sleep(0)
    hang_up.tell()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
