"""What is to happen after a while unless it is called off before, which it nearly always is.

A timer of the event loop costs a request more than looking at it would; so all that waits equally long shares one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Due(Protocol):
    """Something that waits."""

    def due(self) -> None:
        """Its time has come."""
        ...


class Delays:
    """What is to happen `seconds` after it was added."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[Due, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add(self, one: Due) -> asyncio.AbstractEventLoop:
        """From now on it waits, in the event loop that runs, which is returned: to ask for it is a call of the system
        each time."""
        loop = self._loop
        if loop is None or not loop.is_running():  # what waited on another one is over with it
            loop = self._loop = asyncio.get_running_loop()
            self._timer = None
            self._waiting.clear()
        self._waiting[one] = at = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(at, self._look)
        return loop

    def drop(self, one: Due) -> None:
        """Call it off; nothing happens where its time has come already."""
        self._waiting.pop(one, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            return
        now = loop.time()
        self._timer = None
        for one, at in list(self._waiting.items()):  # in the order of their times, since all wait equally long
            if at > now:
                self._timer = loop.call_at(at, self._look)
                break
            del self._waiting[one]
            one.due()


class Limit:
    """A block that may take only so long: `asyncio.timeout`, for times that are all the same.

    Raises TimeoutError in place of the block's CancelledError where the time was over.
    """

    __slots__ = ("_before", "_delays", "_over", "_task")

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._over = False

    def __enter__(self) -> None:
        task = asyncio.current_task(self._delays.add(self))
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task = task
        self._before = task.cancelling()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: object) -> None:
        self._delays.drop(self)
        if self._over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def due(self) -> None:
        """Cancel the block."""
        self._over = True
        self._task.cancel()
