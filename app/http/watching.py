"""Clients that hang up before they are answered: nobody works on for them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from starlette.types import Receive

from app.graph.deadlines import Delays
from app.http.body import ClientGone
from app.http.streaming import until_gone
from app.http.tasks import cancelled

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 0.02
"""How long an answer may take before anybody looks whether its client is still there."""


class Watches:
    """Looks after the clients of one endpoint."""

    def __init__(self) -> None:
        self._delays = Delays(_PATIENCE_SECONDS)

    async def unless_gone(self, working: Coroutine[Any, Any, T], receive: Receive) -> T:
        """Await the work; if the client hangs up meanwhile, cancel it and raise `ClientGone`.

        Most answers are ready before a watch would be worth its two tasks.
        """
        watch = _Watch(receive)
        here = asyncio.current_task(self._delays.add(watch))
        assert here is not None  # noqa: S101 - coroutines run in tasks
        watch.working = here
        try:
            return await working
        except asyncio.CancelledError:
            if watch.is_gone and here.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            self._delays.drop(watch)
            if watch.task is not None and not watch.is_gone:
                await cancelled(watch.task)
                # Its cancellation holds the frame that ran it, and so the watch: a circle with the whole request in it,
                # which would stay until the collector comes by.
                watch.task = None


class _Watch:
    """Cancels a task when the client of its request hangs up."""

    __slots__ = ("_receive", "is_gone", "task", "working")

    working: asyncio.Task[Any]

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.task: asyncio.Task[None] | None = None
        self.is_gone = False

    def due(self) -> None:
        """From now on."""
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await until_gone(self._receive)
        self.is_gone = True
        self.working.cancel()
