"""One timer for all that waits equally long: who is late is told, who is done is not."""

from __future__ import annotations

import asyncio

import pytest

from app.graph.deadlines import Delays, Limit


class Told:
    """Notes when its time came."""

    def __init__(self) -> None:
        self.at: float | None = None

    def due(self) -> None:
        self.at = asyncio.get_running_loop().time()


async def test_each_has_its_whole_time_and_what_is_called_off_never_comes() -> None:
    delays = Delays(0.05)
    first, second, off = Told(), Told(), Told()
    began = asyncio.get_running_loop().time()
    delays.add(first)
    delays.add(off)
    await asyncio.sleep(0.03)
    delays.add(second)
    delays.drop(off)
    await asyncio.sleep(0.12)
    assert first.at is not None
    assert second.at is not None
    assert off.at is None
    assert 0.049 <= first.at - began < 0.075
    assert 0.079 <= second.at - began < 0.12


def test_a_new_event_loop_begins_anew() -> None:
    delays, before, after = Delays(0.2), Told(), Told()

    async def add(one: Told, seconds: float) -> None:
        delays.add(one)
        await asyncio.sleep(seconds)

    asyncio.run(add(before, 0))
    asyncio.run(add(after, 0.4))
    assert before.at is None
    assert after.at is not None


async def test_a_block_that_takes_too_long_is_cancelled_and_times_out() -> None:
    with pytest.raises(TimeoutError), Limit(Delays(0.01)):
        await asyncio.sleep(5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nothing of it is left to hit what follows


async def test_who_cancels_the_task_is_not_taken_for_the_time() -> None:
    async def work() -> None:
        with Limit(Delays(5)):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_in_time_has_no_timer_left() -> None:
    delays = Delays(0.01)
    with Limit(delays):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


def test_two_event_loops_that_live_side_by_side_do_not_mix() -> None:
    delays = Delays(0.01)

    async def in_time() -> None:
        with Limit(delays):
            await asyncio.sleep(0)

    async def late() -> None:
        with pytest.raises(TimeoutError), Limit(delays):
            await asyncio.sleep(5)

    one, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        for loop in (one, other, one, other):
            loop.run_until_complete(in_time())
            loop.run_until_complete(late())
    finally:
        one.close()
        other.close()
