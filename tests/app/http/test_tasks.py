"""Ending tasks that do not want to."""

from __future__ import annotations

import asyncio

import pytest

from app.http import tasks
from app.http.tasks import cancelled


async def test_a_task_that_loses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asyncio.wait_for does when its own waiting ends in the same moment; a gateway could not stop."""
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.05)
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancelled(task)
    assert task.cancelled()
    assert lost == 2


async def test_all_are_over_whatever_they_say_on_their_way_out() -> None:
    async def loud() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("broken")

    running = [asyncio.create_task(loud()) for _ in range(3)]
    await asyncio.sleep(0)
    await cancelled(*running)
    assert all(isinstance(one.exception(), ConnectionError) for one in running)
    await cancelled()
