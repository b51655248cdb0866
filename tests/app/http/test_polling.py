"""A request that is alone has the event loop look for its answer, for a while, and where that pays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sized
from pathlib import Path

import httpx
import pytest

from app.cli.serving import _Announcing
from app.http import polling
from app.http.polling import MOST_ASLEEP, BusyPoll
from app.settings import Settings
from db.connections import Connections
from tests.app.live.gateway import running
from tests.conftest import TenantUnderTest


class Looks:
    """A clock that counts how often it is looked at, which each look for an answer does."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 0.0

    def perf_counter(self) -> float:
        """The time."""
        self.count += 1
        return self.now


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """The clock, on a machine with several processors."""
    clock = Looks()
    monkeypatch.setattr(polling, "time", clock)
    monkeypatch.setattr(polling, "processors", lambda: 2)
    return clock


async def turns(number: int) -> None:
    """Let the event loop go round."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_it_looks_until_the_answer_is_there(looks: Looks) -> None:
    under_way = {"it"}
    poll = BusyPoll(under_way, 1.0)
    poll.begun()
    assert looks.count == 0  # the request's own first step comes first
    await turns(10)
    assert looks.count > 8
    under_way.clear()
    await turns(2)
    seen = looks.count
    await turns(10)
    assert looks.count == seen


async def test_sockets_are_read_meanwhile(looks: Looks) -> None:
    """The event loop does all that it does otherwise."""
    poll = BusyPoll({"it"}, 1.0)
    reader, writer = os.pipe()
    read: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(reader, lambda: read.set_result(os.read(reader, 10)))
    try:
        poll.begun()
        os.write(writer, b"answer")
        async with asyncio.timeout(5):
            assert await read == b"answer"
        assert looks.count > 0
        looks.now = 2.0  # and it ends
        await turns(2)
    finally:
        asyncio.get_running_loop().remove_reader(reader)
        os.close(reader)
        os.close(writer)


async def test_where_it_does_not_pay_the_next_ones_sleep(looks: Looks) -> None:
    """One, two, four …, and as soon as it pays again, none."""
    under_way = {"it"}
    poll = BusyPoll(under_way, 1.0)

    async def tried(*, in_time: bool) -> bool:
        before = looks.count
        poll.begun()
        await turns(2)
        looked = looks.count > before
        if looked and in_time:
            under_way.clear()
        else:
            looks.now += 1.5
        await turns(2)
        under_way.add("it")
        return looked

    found = [await tried(in_time=False) for _ in range(17)]
    assert [number for number, looked in enumerate(found) if looked] == [0, 2, 5, 10]
    for _ in range(3 * MOST_ASLEEP):
        await tried(in_time=False)
    skipped = 0
    while not await tried(in_time=True):
        skipped += 1
        assert skipped <= MOST_ASLEEP
    assert await tried(in_time=True)


@pytest.mark.parametrize("under_way", [("it", "another"), ()])
async def test_who_is_not_alone_has_something_else_to_do(looks: Looks, under_way: Sized) -> None:
    BusyPoll(under_way, 1.0).begun()
    await turns(3)
    assert looks.count == 0


async def test_it_ends_when_another_request_comes(looks: Looks) -> None:
    """That is no sign of its not paying."""
    under_way = {"it"}
    poll = BusyPoll(under_way, 1.0)
    poll.begun()
    await turns(3)
    under_way.add("another")
    await turns(2)
    seen = looks.count
    await turns(5)
    assert looks.count == seen
    under_way.remove("it")
    poll.begun()
    await turns(3)
    assert looks.count > seen
    looks.now = 2.0
    await turns(2)


@pytest.mark.parametrize(("processors", "seconds"), [(1, 1.0), (2, 0.0)])
async def test_on_a_single_processor_or_when_told_so_it_sleeps(
    processors: int, seconds: float, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "processors", lambda: processors)
    BusyPoll({"it"}, seconds).begun()
    await turns(3)
    assert looks.count == 0


def test_the_server_is_told_for_how_long(looks: Looks, tmp_path: Path) -> None:
    settings = Settings(database_url="postgresql://h/d", data_dir=tmp_path, busy_poll_microseconds=400)
    server = _Announcing(settings, lambda: None)
    assert server.server_state.polling._seconds == 0.0004  # type: ignore[attr-defined]


async def test_a_request_over_http_is_looked_for(
    connections: Connections, tmp_path: Path, tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is answered."""
    async with running(connections, tmp_path) as gateway, httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {await gateway.token(tenant)}"}
        clock = Looks()
        monkeypatch.setattr(polling, "time", clock)
        monkeypatch.setattr(polling, "processors", lambda: 2)
        gateway.server.server_state.polling = BusyPoll(gateway.server.server_state.tasks, 1.0)  # type: ignore[attr-defined]
        found = await client.post(gateway.url, json={"query": "{ projects { totalCount } }"}, headers=headers)
        assert found.json()["data"] == {"projects": {"totalCount": 1}}
        assert clock.count > 1
