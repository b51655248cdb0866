"""What several wait for."""

import asyncio
from typing import Any, TypeVar

V = TypeVar("V")


def shared(work: asyncio.Future[V]) -> asyncio.Future[V]:
    """The same outcome, for one of those who wait for it: who gives up takes it from nobody else.

    A failure that all of them have given up on is no news; asyncio would log it as one that nobody has looked at.
    """
    work.add_done_callback(_heard)
    return asyncio.shield(work)


def _heard(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()
