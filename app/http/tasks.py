"""Ending tasks and knowing that they have ended."""

import asyncio
from typing import Any


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and wait until each is over, whatever it says on its way out.

    Their outcome is the caller's to look at before this: errors that come up while a task is being cancelled, such as
    a connection that breaks, are of no more interest to anybody.
    """
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
