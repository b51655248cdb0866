"""Clients that hang up before they are answered: nobody works on for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from app.http.body import ClientGone

T = TypeVar("T")

GONE: Final = "fleetgraph.gone"
"""Key in ``scope["extensions"]`` of the request's `HangUp`."""
PATIENCE_SECONDS: Final = 0.02
"""How much longer than its client an answer may be under way: to end it costs a connection to Postgres, and most are
ready by then."""


class HangUp:
    """The end of one client's connection, for whoever answers its requests, one after the other.

    To wait for `receive` to say so would take a task for each request.
    """

    __slots__ = ("_call", "_is_over")

    def __init__(self) -> None:
        self._call: Callable[[], None] | None = None
        self._is_over = False

    def watch(self, call: Callable[[], None]) -> None:
        """Call the function when the client hangs up, or now if it has."""
        self._call = call
        if self._is_over:
            call()

    def leave(self) -> None:
        """Call nobody any more."""
        self._call = None

    def tell(self) -> None:
        """The client has hung up."""
        self._is_over = True
        if self._call is not None:
            self._call()


async def unless_gone(working: Coroutine[Any, Any, T], hang_up: HangUp | None) -> T:
    """Await the work; if the client hangs up meanwhile, cancel it and raise `ClientGone`. Where the server tells
    of no such clients, their work is done."""
    if hang_up is None:
        return await working
    watch = _Watch()
    hang_up.watch(watch.begin)
    try:
        return await working
    except asyncio.CancelledError:
        if watch.is_over and watch.working.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        hang_up.leave()
        watch.end()


class _Watch:
    """Cancels a task soon after the client of its request has hung up."""

    __slots__ = ("_timer", "is_over", "working")

    def __init__(self) -> None:
        working = asyncio.current_task()
        assert working is not None  # noqa: S101 - coroutines run in tasks
        self.working: Final = working
        self.is_over = False
        """Whether the task was cancelled."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The client has hung up."""
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._cancel)

    def end(self) -> None:
        """The work is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _cancel(self) -> None:
        self.is_over = True
        self.working.cancel()
