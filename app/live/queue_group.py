"""Subscribers of the approval queue: the queue as it is, then each thing that happens to a request of it.

A group keeps the open requests that it may see. What changed is read again and compared with what was known; so each
step is told once, whichever gateway took it, and a change that the snapshot has already is no step.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import or_, select

from app.graph.filtering import Condition
from app.graph.registry import ENTITIES
from app.live.follower import Follower
from app.live.group import Asking, Group, Member
from app.live.tails import Changed
from db.enums import ApprovalDecision, RiskLevel
from db.ids import first_id_at

MOST: Final = 500
"""Most requests of a snapshot."""
_BATCH: Final = 200
_OPEN: Final = (ApprovalDecision.PENDING, ApprovalDecision.ESCALATED)
_RECENT: Final = timedelta(minutes=5)
_URGENCY: Final = {RiskLevel.RED: 0, RiskLevel.YELLOW: 1, RiskLevel.GREEN: 2, None: 3}
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


class QueueStep(enum.Enum):
    """What happened to the approval queue."""

    SNAPSHOT = "SNAPSHOT"
    REQUESTED = "REQUESTED"
    VOTED = "VOTED"
    ESCALATED = "ESCALATED"
    DECIDED = "DECIDED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"


_ENDS: Final = {
    ApprovalDecision.APPROVED: QueueStep.DECIDED,
    ApprovalDecision.DENIED: QueueStep.DECIDED,
    ApprovalDecision.EXPIRED: QueueStep.EXPIRED,
    ApprovalDecision.CANCELED: QueueStep.CANCELED,
}


@dataclass(frozen=True)
class QueueEvent:
    """One step, with the queue's count after it."""

    step: QueueStep
    approval: Any
    count: int
    place: int | None
    queue: Sequence[Any] | None


def urgency(row: Any) -> tuple[int, datetime, UUID]:
    """The order of the queue: RED first, within a colour what is due soonest, then the oldest."""
    return _URGENCY[row.risk_level], row.expires_at or _NEVER, row.id


def steps(before: Any, after: Any) -> Iterator[QueueStep]:
    """What must have happened to a request between two looks at it; `before` is None for a new one."""
    if before is None:
        yield QueueStep.REQUESTED
    ended = after.status not in _OPEN
    votes = len(after.decisions or ()) - len((before.decisions if before is not None else None) or ())
    by_vote = ended and _ENDS[after.status] is QueueStep.DECIDED
    for _ in range(votes - (1 if by_vote else 0)):  # the vote that decides is the decision
        yield QueueStep.VOTED
    for _ in range(after.escalation_level - (0 if before is None else before.escalation_level)):
        yield QueueStep.ESCALATED
    if ended:
        yield _ENDS[after.status]


@dataclass(frozen=True)
class QueueSource:
    """Which requests."""

    matches: Callable[[Any], bool]
    conditions: Sequence[Condition]
    after: int | None = field(default=None)
    is_personal: bool = field(default=False)

    def group(self, asking: Asking, follower: Follower) -> QueueGroup:
        """A new group of those who ask for it."""
        return QueueGroup(asking, follower, self)


class QueueGroup(Group):
    """Subscribers who see the same queue."""

    def __init__(self, asking: Asking, follower: Follower, source: QueueSource) -> None:
        super().__init__(asking, follower)
        self._source = source
        self._entity = ENTITIES["ApprovalRecord"]
        self._open: dict[UUID, Any] = {}
        self._over: set[UUID] = set()
        """Requests that came to their end and are not told of again; older ones are known by their age."""
        self._since = datetime.now(UTC)
        self._changed: set[UUID] = set()
        self._new: list[Member] = []
        """Who waits for the queue as it is."""

    async def start(self) -> None:
        """The queue as it is, and every change from before that on."""
        self.follower.watch(self._hear, self._missed)
        await self._load()
        await super().start()

    async def close(self) -> None:
        """Nobody is left."""
        self.follower.unwatch(self._hear)
        await super().close()

    async def join(self, member: Member, after: int | None) -> None:
        """With the queue as it is. The group's own task says it, so that no step can be told twice or not at all."""
        self._new.append(member)
        self.wake()

    async def step(self) -> None:
        """Tell what happened, then the queue to those who are new."""
        while self._changed:
            some = set(list(self._changed)[:_BATCH])
            self._changed -= some
            try:
                rows = await self._read(some)
            except Exception:
                self._changed |= some
                raise
            self.deliver(await self.messages(list(self._events(rows))))
        new, self._new = [one for one in self._new if not one.ended], []
        if not new:
            return
        message = (await self.messages([self._snapshot()]))[0]
        for member in new:
            if member.push(message):
                self.members[member] = None

    def _events(self, rows: Sequence[Any]) -> Iterator[QueueEvent]:
        for row in sorted(rows, key=lambda one: (one.updated_at, one.id)):
            before = self._open.get(row.id)
            if before is None and (row.id in self._over or self._is_old(row)):
                continue
            found = list(steps(before, row))
            if row.status in _OPEN:
                self._open[row.id] = row
            else:
                self._open.pop(row.id, None)
                self._over.add(row.id)
            queue = sorted(self._open.values(), key=urgency)
            place = next((at for at, one in enumerate(queue) if one.id == row.id), None)
            for step in found:
                yield QueueEvent(step, row, len(queue), place, None)

    def _is_old(self, row: Any) -> bool:
        """Whether a request that is over, and never was in this queue, was over before: then it is no news."""
        return row.status not in _OPEN and row.id < first_id_at(self._since - _RECENT)

    def _snapshot(self) -> QueueEvent:
        queue = sorted(self._open.values(), key=urgency)
        return QueueEvent(QueueStep.SNAPSHOT, None, len(queue), None, queue[:MOST])

    def _hear(self, changed: Sequence[Changed]) -> None:
        ids = {one.row_id for one in changed if one.table == self._entity.table.name and not one.gone}
        if ids:
            self._changed |= ids
            self.wake()

    def _missed(self) -> None:
        """Changes went by unseen: everybody gets the queue as it is now."""
        self._new += list(self.members)
        self.members.clear()
        self._changed |= set(self._open)
        self.wake()

    async def _load(self) -> None:
        table = self._entity.table
        recent = table.c.id >= first_id_at(self._since - _RECENT)
        async with self.asking.context() as context:
            statement = select(*table.columns).where(
                *context.reader.visible(self._entity),
                *self._source.conditions,
                or_(table.c.status.in_(_OPEN), recent),
            )
            rows = [self._entity.row(*row) for row in await context.reading.rows(statement)]
        self._open = {row.id: row for row in rows if row.status in _OPEN}
        self._over = {row.id for row in rows if row.status not in _OPEN}

    async def _read(self, ids: set[UUID]) -> list[Any]:
        async with self.asking.context() as context:
            statement = context.reader.rows(self._entity, self._entity.table.c.id, list(ids), scoped=True)
            found = await context.reading.rows(statement.where(*self._source.conditions))
        return [row for row in (self._entity.row(*one) for one in found) if self._source.matches(row)]
