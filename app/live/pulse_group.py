"""Subscribers of the fleet's pulse: figures of the last so many seconds, computed once a window for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select

from app.graph.context import OperationContext
from app.graph.registry import ENTITIES
from app.http.streams import Message
from app.live.follower import Follower
from app.live.group import Asking, Group, Member
from db.enums import RunStatus
from db.ids import first_id_at

_LATE: Final = timedelta(minutes=5)
"""How far ahead of its time an event may be dated (decision 5)."""


@dataclass(frozen=True)
class Pulse:
    """The figures of one window."""

    since: datetime
    until: datetime
    events: Mapping[Any, int]
    cost_usd: float
    runs_open: int
    instances: Mapping[Any, int]

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.until - self.since).total_seconds()

    @property
    def total(self) -> int:
        """Events of all types."""
        return sum(self.events.values())


@dataclass(frozen=True)
class PulseSource:
    """How many seconds a window has."""

    seconds: int
    after: int | None = field(default=None)
    is_personal: bool = field(default=False)

    def group(self, asking: Asking, follower: Follower) -> PulseGroup:
        """A new group of those who ask for it."""
        return PulseGroup(asking, follower, self)


class PulseGroup(Group):
    """Subscribers who feel the same pulse."""

    def __init__(self, asking: Asking, follower: Follower, source: PulseSource) -> None:
        super().__init__(asking, follower)
        self._seconds = source.seconds
        self._latest: Message | None = None

    async def start(self) -> None:
        """The first figures, then new ones at each whole window of the clock."""
        await self.step()
        self.work(self._beat())

    async def join(self, member: Member, after: int | None) -> None:
        """With the latest figures at once."""
        if self._latest is None or member.push(self._latest):
            self.members[member] = None

    async def step(self) -> None:
        """Compute the figures and tell them."""
        pulse = await self.patiently(self._measure)
        (self._latest,) = await self.messages([pulse])
        self.deliver([self._latest])

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._seconds - time.time() % self._seconds)
            await self.step()

    async def _measure(self) -> Pulse:
        async with self.asking.context() as context:
            return await measured(context, self._seconds)


async def measured(context: OperationContext, seconds: int) -> Pulse:
    """The figures of the last so many seconds, of what the caller may list. Three statements."""
    until = datetime.now(UTC)
    since = until - timedelta(seconds=seconds)
    events, runs, instances = (ENTITIES[name] for name in ("OpEvent", "Run", "AgentInstance"))
    rows, visible = context.reading.rows, context.reader.visible
    e, r, i = events.table.c, runs.table.c, instances.table.c
    counted: Sequence[Any] = await rows(
        select(e.type, func.count(), func.sum(e.delta_usd))
        .where(*visible(events), e.id >= first_id_at(since), e.id < first_id_at(until + _LATE))
        .group_by(e.type)
    )
    ((running,),) = await rows(select(func.count()).where(*visible(runs), r.status == RunStatus.RUNNING))
    states: Sequence[Any] = await rows(
        select(i.state, func.count().label("many")).where(*visible(instances)).group_by(i.state)
    )
    return Pulse(
        since=since,
        until=until,
        events={kind: count for kind, count, _ in counted},
        cost_usd=float(sum(cost for _, _, cost in counted if cost is not None)),
        runs_open=running,
        instances={one.state: one.many for one in states},
    )
