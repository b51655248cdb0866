"""A request that is alone: the database's answer is looked for instead of slept through.

Who sleeps until a socket has something to read has to be woken, on a processor that has gone to sleep as well and whose
caches have gone cold; for a row by its key all this takes about as long as Postgres does. To look, again and again and
not for long, costs hardly more CPU than that. Whether it pays depends on how far away the database is and what is
asked, so where the answer was not there in time, the next requests sleep: one, two, four …
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sized
from typing import Final

MOST_ASLEEP: Final = 256
"""After how many requests at the latest it is tried again."""


def processors() -> int:
    """How many this process may run on. On a single one, looking would keep Postgres itself from its work."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


class BusyPoll:
    """Keeps the event loop from sleeping for at most `seconds` behind the first step of a request that is alone."""

    def __init__(self, under_way: Sized, seconds: float) -> None:
        """`under_way` are the requests that are, the one that begins among them."""
        self._under_way = under_way
        self._seconds = seconds if processors() > 1 else 0.0
        self._until = 0.0
        self._looks = False
        self._asleep = 0
        """How many requests sleep after one whose answer was not there in time."""
        self._left = 0
        """How many of them are still to come."""

    def begun(self) -> None:
        """A request has its task, whose first step comes next."""
        if not self._seconds or self._looks or len(self._under_way) != 1:
            return
        if self._left:
            self._left -= 1
            return
        self._looks = True
        asyncio.get_running_loop().call_soon(self._first)

    def _first(self) -> None:
        self._until = time.perf_counter() + self._seconds
        self._look()

    def _look(self) -> None:
        if len(self._under_way) == 1:
            if time.perf_counter() < self._until:
                asyncio.get_running_loop().call_soon(self._look)  # which has the loop look at its sockets in between
                return
            self._asleep = self._left = min(2 * self._asleep or 1, MOST_ASLEEP)
        elif not self._under_way:
            self._asleep = 0
        self._looks = False
