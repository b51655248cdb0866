"""How many connections a caller holds open, sockets and streams over HTTP together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from app.graph.errors import RateLimited


class Connections:
    """Counts open connections by caller, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[Hashable] = Counter()

    def take(self, principal: Hashable) -> None:
        """Count one more. Raises RateLimited where the caller has as many as may be."""
        if self._open[principal] >= self._limit:
            raise RateLimited(1, f"{self._limit} connections of this caller are open; close one of them first.")
        self._open[principal] += 1

    def give(self, principal: Hashable) -> None:
        """Count one less."""
        self._open[principal] -= 1
        if not self._open[principal]:
            del self._open[principal]

    @contextmanager
    def counted(self, principal: Hashable) -> Iterator[None]:
        """One more for as long as the block lasts."""
        self.take(principal)
        try:
            yield
        finally:
            self.give(principal)
