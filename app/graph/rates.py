"""How often one caller may ask: token buckets by principal, in this process (decision 34)."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from app.graph.errors import RateLimited

MOST_BUCKETS: Final = 50_000
"""Principals that are remembered; the one that asked longest ago is forgotten first, with a full bucket."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rate:
    """A number of operations a second, for each principal; as many again may come at once after a second of silence."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`per_second` 0 means no limit."""
        self._per_second = per_second
        self._burst = max(1.0, per_second)
        self._clock = clock
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def take(self, principal: Hashable) -> None:
        """Count one operation. Raises RateLimited, which says when to come back."""
        if not self._per_second:
            return
        now = self._clock()
        bucket = self._buckets.get(principal)
        if bucket is None:
            bucket = self._buckets[principal] = _Bucket(self._burst, now)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(principal)
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
            bucket.at = now
        if bucket.tokens < 1:
            raise RateLimited(round((1 - bucket.tokens) / self._per_second, 3))
        bucket.tokens -= 1
