"""Ending tasks and knowing that they have ended."""

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 10.0
"""Longer than any task needs to clean up behind itself."""


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until each is over, whatever it says on its way out.

    Their outcome is the caller's to look at before this: errors that come up while a task is being cancelled, such as
    a connection that breaks, are of no more interest to anybody. A task that is still there after `AGAIN_SECONDS` is
    cancelled again: `asyncio.wait_for`, which clients of brokers use, loses a cancellation that comes in the moment in
    which its own waiting ends (python/cpython#86296), and then they would wait for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()
