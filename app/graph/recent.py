"""What this process has done for each tenant in the last minutes: how much, how fast, how well."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Final
from uuid import UUID

from graphql import OperationType

if TYPE_CHECKING:
    from app.graph.execution import Report

SPAN_SECONDS: Final = 300.0
"""How far back the figures go."""
_SLOT_SECONDS: Final = 10.0
_MOST_TENANTS: Final = 1_000
"""Tenants that are remembered; the one that asked longest ago is forgotten first."""
_BOUNDS: Final = tuple(0.0005 * 1.25**step for step in range(64))
"""Upper ends of the latencies' bins in seconds, a quarter apart: a percentile is right to that."""
_FAULTS: Final = frozenset({"INTERNAL", "TIMEOUT"})
"""Outcomes that are the gateway's own failing; what a client did wrong is none."""


@dataclass
class Tally:
    """Counts of one span of time."""

    operations: int = 0
    faults: int = 0
    mutations: int = 0
    mutation_faults: int = 0
    seconds: float = 0.0
    bins: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))

    def add(self, kind: OperationType, code: str, seconds: float) -> None:
        """Count one operation."""
        fault = code in _FAULTS
        self.operations += 1
        self.faults += fault
        if kind is OperationType.MUTATION:
            self.mutations += 1
            self.mutation_faults += fault
        self.seconds += seconds
        self.bins[_bin(seconds)] += 1

    @classmethod
    def total(cls, parts: Iterable[Tally]) -> Tally:
        """All of them in one."""
        whole = cls()
        for part in parts:
            whole.operations += part.operations
            whole.faults += part.faults
            whole.mutations += part.mutations
            whole.mutation_faults += part.mutation_faults
            whole.seconds += part.seconds
            whole.bins = [a + b for a, b in zip(whole.bins, part.bins, strict=True)]
        return whole

    def percentile_ms(self, share: float) -> float | None:
        """The latency in milliseconds that `share` (0 to 1) of the operations did not pass; None without any."""
        for position, reached in enumerate(accumulate(self.bins)):
            if reached and reached >= share * self.operations:
                return 1000 * _BOUNDS[min(position, len(_BOUNDS) - 1)]
        return None


def _bin(seconds: float) -> int:
    return bisect_left(_BOUNDS, seconds)


class Recent:
    """The tallies of one process, by tenant; its `observe` is a hook of the executor's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tenants: OrderedDict[UUID, OrderedDict[int, Tally]] = OrderedDict()

    def observe(self, report: Report) -> None:
        """Count an operation for its caller's tenant."""
        actor = getattr(report.context, "actor", None)
        if actor is not None:
            slot = int(self._clock() // _SLOT_SECONDS)
            self._slot(actor.tenant_id, slot).add(report.operation.kind, report.outcome.code, report.seconds)

    def of(self, tenant_id: UUID) -> Tally:
        """What was done for a tenant in the last `SPAN_SECONDS`."""
        return Tally.total(self._current(tenant_id))

    def _current(self, tenant_id: UUID) -> Iterator[Tally]:
        oldest = (self._clock() - SPAN_SECONDS) // _SLOT_SECONDS
        return (tally for slot, tally in self._tenants.get(tenant_id, {}).items() if slot > oldest)

    def _slot(self, tenant_id: UUID, slot: int) -> Tally:
        slots = self._tenants.get(tenant_id)
        known = None if slots is None else slots.get(slot)
        if slots is not None and known is not None:
            return known
        if slots is None:
            slots = self._tenants[tenant_id] = OrderedDict()
        self._tenants.move_to_end(tenant_id)
        if len(self._tenants) > _MOST_TENANTS:
            self._tenants.popitem(last=False)
        made = slots[slot] = Tally()
        while len(slots) > SPAN_SECONDS // _SLOT_SECONDS + 1:
            slots.popitem(last=False)
        return made
