"""Following one tenant: one task that looks at the database when the bell rings, for all who listen here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

import structlog

from app.auth.actor import system_actor
from app.live.tails import LOGS, PAGE, Changed, LogTail, RowTail
from app.outages import is_outage
from db.bell import Feed
from db.session import Database

if TYPE_CHECKING:
    from app.live.group import Group

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.live")

RowsChanged: TypeAlias = Callable[[Sequence[Changed]], None]

_PAUSE_SECONDS: Final = 0.25
BLIND_SECONDS: Final = 240.0
"""Notes of changed rows are kept for a little longer; who did not look for so long may have missed some."""


class Follower:
    """The tails of one tenant, and who hears of what is new."""

    def __init__(self, database: Database, tenant_id: UUID) -> None:
        self.database = database
        self.tenant_id = tenant_id
        self.logs = {feed: LogTail(database, tenant_id, log_) for feed, log_ in LOGS.items()}
        self.rows = RowTail(database, tenant_id)
        self.idle_since = time.monotonic()
        self._groups: dict[Feed, set[Group]] = {feed: set() for feed in LOGS}
        self._wanted_at = dict.fromkeys(LOGS, self.idle_since)
        self._watching: dict[RowsChanged, Callable[[], None]] = {}
        self._wanted = asyncio.Event()
        self._looked_at = time.monotonic()

    def ring(self, feed: Feed, seq: int | None) -> None:
        """Something may be new."""
        tail = self.logs.get(feed)
        if tail is not None and (tail.position is None or (seq is not None and seq <= tail.position)):
            return
        self._wanted.set()

    def watch(self, changed: RowsChanged, missed: Callable[[], None]) -> None:
        """Be told of changed rows; `missed` is called where some may have gone by unseen."""
        self._watching[changed] = missed

    def unwatch(self, changed: RowsChanged) -> None:
        """Be told no more."""
        self._watching.pop(changed, None)

    async def add(self, feed: Feed, group: Group) -> int:
        """Wake a group whenever a log has something new; returns where the log is now."""
        self._groups[feed].add(group)
        return await self.logs[feed].start()

    def remove(self, feed: Feed, group: Group) -> None:
        """Wake it no more. The log goes on for a while, for clients that come back."""
        self._groups[feed].discard(group)

    def stop_idle_logs(self, seconds: float) -> None:
        """Read no log that nobody has wanted for so long."""
        now = time.monotonic()
        for feed, groups in self._groups.items():
            if groups:
                self._wanted_at[feed] = now
            elif self.logs[feed].position is not None and now - self._wanted_at[feed] > seconds:
                self.logs[feed].stop()

    async def run(self) -> None:
        """Look whenever it rings, until cancelled. An outage of the database is waited for."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._look()
            except Exception as error:
                # Whatever it is, those who listen depend on this going on.
                log.warning("live_look_failed", error=type(error).__name__, exc_info=not is_outage(error))
                self._wanted.set()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _look(self) -> None:
        async with self.database.read(system_actor(self.tenant_id), primary=True) as reading:
            for feed, tail in self.logs.items():
                before = tail.position
                if await tail.advance(reading):
                    for group in self._groups[feed]:
                        group.wake()
                    if tail.position is not None and before is not None and tail.position - before >= PAGE:
                        self._wanted.set()
            changed = await self.rows.advance(reading)
            # At once: these rows are not found a second time, and the end of the reading may fail.
            self._tell(changed)

    def _tell(self, changed: Sequence[Changed]) -> None:
        now = time.monotonic()
        missed, self._looked_at = now - self._looked_at > BLIND_SECONDS, now
        for tell, tell_missed in list(self._watching.items()):
            if missed:
                tell_missed()
            elif changed:
                tell(changed)
