"""Subscribers of changed rows: each row as it is now, and changes that come close together told once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import or_

from app.auth.scope import TENANT_WIDE
from app.graph.errors import StreamInterrupted
from app.graph.registry import ENTITIES, EntityType
from app.live.follower import Follower
from app.live.group import Asking, Group, Member
from app.live.tails import Changed

BATCH: Final = 200
"""Most rows that are read and executed at once."""
COALESCE_SECONDS: Final = 0.05
"""Least time between two tellings: a row that changes more often is told as it is then."""


@dataclass(frozen=True)
class RowSource:
    """Which rows: of these types, of one project (or of none), of these ids; None for no such condition."""

    types: frozenset[str]
    project_id: UUID | None
    ids: frozenset[tuple[str, UUID]] | None
    after: int | None = None

    @property
    def is_personal(self) -> bool:
        """Whether some of the types are somebody's own: each then hears of their own rows (NOT-6)."""
        return any(ENTITIES[name].private is not None for name in self.types)

    def group(self, asking: Asking, follower: Follower) -> RowGroup:
        """A new group of those who ask for it."""
        return RowGroup(asking, follower, self)


@dataclass(frozen=True)
class RowEvent:
    """One row that changed."""

    entity: EntityType
    row_id: UUID
    row: Any
    """None where it was deleted."""


class RowGroup(Group):
    """Subscribers who want the same rows."""

    def __init__(self, asking: Asking, follower: Follower, source: RowSource) -> None:
        super().__init__(asking, follower)
        self._source = source
        self._tables = {ENTITIES[name].table.name: ENTITIES[name] for name in source.types}
        self._changed: dict[tuple[str, UUID], bool] = {}

    async def start(self) -> None:
        """Hear of changed rows from now on."""
        self.follower.watch(self._hear, self._missed)
        await super().start()

    async def close(self) -> None:
        """Nobody is left."""
        self.follower.unwatch(self._hear)
        await super().close()

    async def join(self, member: Member, after: int | None) -> None:
        """From now on."""
        self.members[member] = None

    async def step(self) -> None:
        """Tell what changed, type by type, each with one statement."""
        while self._changed:
            some = dict(list(self._changed.items())[:BATCH])
            for key in some:  # before the reading: whoever changes meanwhile is told again
                del self._changed[key]
            try:
                events = await self._read(some)
            except Exception:
                self._changed = {**some, **self._changed}
                raise
            self.deliver(await self.messages(events))
            await asyncio.sleep(COALESCE_SECONDS)

    def _hear(self, changed: Sequence[Changed]) -> None:
        wanted = self._source.ids
        for one in changed:
            entity = self._tables.get(one.table)
            if entity is not None and (wanted is None or (entity.name, one.row_id) in wanted):
                self._changed[entity.name, one.row_id] = one.gone
        if self._changed:
            self.wake()

    def _missed(self) -> None:
        """Changes went by unseen; nobody can say which, so those who show rows must read them anew."""
        self._changed.clear()
        for member in list(self.members):
            member.end(StreamInterrupted("The gateway could not see the database for minutes.", None))

    async def _read(self, changed: dict[tuple[str, UUID], bool]) -> list[RowEvent]:
        events: list[RowEvent] = []
        async with self.asking.context() as context:
            for name in sorted({name for name, _ in changed}):
                entity = ENTITIES[name]
                ids = [row_id for one, row_id in changed if one == name]
                statement = context.reader.rows(entity, entity.table.c.id, ids, scoped=True)
                if self._source.project_id is not None and entity.project is not None:
                    project = entity.table.c[entity.project]
                    statement = statement.where(or_(project == self._source.project_id, project.is_(None)))
                rows = [entity.row(*row) for row in await context.reading.rows(statement)]
                events += [RowEvent(entity, row.id, row) for row in rows]
                if self._tells_of_deletions(entity):
                    there = {row.id for row in rows}
                    gone = [one for one in ids if changed[name, one] and one not in there]
                    events += [RowEvent(entity, row_id, None) for row_id in gone]
        return events

    def _tells_of_deletions(self, entity: EntityType) -> bool:
        """Of a row that is gone nobody can say whose it was, so it is told to those who see them all."""
        return (
            (self._source.project_id is None or entity.project is None)
            and entity.private is None
            and self.asking.actor.read_scope(entity.name) is TENANT_WIDE
        )
