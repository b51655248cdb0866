"""Commands of one tenant that are ready to write at the same moment, as one statement.

A tenant's log admits one writer at a time: such commands would wait for each other in Postgres, each with a connection,
a statement and a flush of its own. Those of one process go together instead, as Postgres flushes several commits at
once: who is ready waits for the tenant's statement that is under way, and for those who have begun. Whoever is alone
waits for nobody, and nobody who was waited for in vain is waited for again. What cannot be told apart any more, such as
which of them a constraint refused, each then finds out by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from enum import Enum, auto
from typing import Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from db.logs.sending import Fetch
from db.pool import CommitUnanswered, PoolExhausted
from db.tenant_pool import TenantPool

GATHERING_SECONDS: Final = 0.02
"""How long one who is ready waits for those who have begun, most of whom are ready as soon as one row is read."""
PATIENCE_SECONDS: Final = 0.02
"""Those who find the tenant's last statement under way for longer are sent beside it, for it may take long."""
MOST: Final = 100
"""Writes that go together at most."""
UNANSWERED: Final = (OSError, asyncpg.ConnectionDoesNotExistError)
"""What is raised where the connection ended, or fell silent, instead of an answer. Whatever the server says is said of
a statement that did nothing."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.db")

Send: TypeAlias = Callable[[Fetch, UUID, Sequence[Any]], Awaitable[Sequence[Any]]]
"""(how to send, tenant, writes) -> what came of each of them, by one statement."""


class Told(Enum):
    """What one may hear instead of what came of its write."""

    ALONE = auto()
    """To write by itself: nobody else was ready, or all of them were refused."""


class _Write:
    """One who waits."""

    __slots__ = ("kind", "late", "send", "told", "what")

    def __init__(self, kind: Hashable, what: Any, send: Send, late: Callable[[], None]) -> None:
        self.kind = kind
        self.what = what
        self.send = send
        self.late = late
        self.told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class _Group:
    """The commands of one tenant."""

    __slots__ = ("coming", "late", "sending", "since", "timer", "waiting")

    def __init__(self) -> None:
        self.coming: set[Hashable] = set()
        """Commands that may get ready yet."""
        self.late: set[Hashable] = set()
        """Those of which the same is true, but which were waited for in vain."""
        self.waiting: list[_Write] = []
        """Those who are ready."""
        self.sending = 0
        """Statements that are under way."""
        self.since = 0.0
        """When the last of them was sent."""
        self.timer: asyncio.TimerHandle | None = None

    def forget(self, who: Hashable) -> None:
        """A command is ready, or will not be."""
        self.coming.discard(who)
        self.late.discard(who)

    def give_up_waiting(self) -> None:
        """Nobody waits any longer for those who have begun."""
        self.late |= self.coming
        self.coming.clear()


class GroupCommit:
    """The brief commands of one process."""

    def __init__(self, pool: TenantPool) -> None:
        """`pool` has the connections that write."""
        self._pool = pool
        self._groups: dict[UUID, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether no command at all is under way."""
        return not self._groups

    def expect(self, tenant_id: UUID, who: Hashable) -> None:
        """A command is under way that may write: others wait for it, until it writes or `leave` is called."""
        group = self._groups.get(tenant_id)
        if group is None:
            group = self._groups[tenant_id] = _Group()
        group.coming.add(who)

    def leave(self, tenant_id: UUID, who: Hashable) -> None:
        """It will not write, or by itself."""
        group = self._groups[tenant_id]
        group.forget(who)
        self._look(tenant_id, group)

    def is_alone(self, tenant_id: UUID) -> bool:
        """Whether nobody but the one command that asks is under way."""
        group = self._groups[tenant_id]
        return len(group.coming) + len(group.late) == 1 and not group.waiting and not group.sending

    async def write(
        self, tenant_id: UUID, who: Hashable, kind: Hashable, what: Any, send: Send, late: Callable[[], None]
    ) -> Any:
        """What `send` tells of `what`, which it is given along with others of the same kind; or `Told.ALONE`.

        Of one that is `expect`ed, which has left with this, however it ends. Whoever is cancelled here may have written
        all the same, and later than that: once the statement is over, `late` is called. Raises CommitUnanswered, and
        PoolExhausted where no connection was to be had for all of them.
        """
        group = self._groups[tenant_id]
        one = _Write(kind, what, send, late)
        group.forget(who)
        group.waiting.append(one)
        self._look(tenant_id, group)
        try:
            return await one.told
        finally:
            if one in group.waiting:  # cancelled before it was sent
                group.waiting.remove(one)
                self._look(tenant_id, group)

    async def close(self) -> None:
        """Wait for what is under way, and for what has waited for that."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _look(self, tenant_id: UUID, group: _Group) -> None:
        """Send, unless there is somebody to wait for."""
        if not group.waiting:
            self._stop_timer(group)  # else the end of a wait that is none would be taken for one in vain
            if not (group.coming or group.late or group.sending):
                del self._groups[tenant_id]
            return
        if len(group.waiting) >= MOST or not (group.coming or group.sending):
            self._send(tenant_id, group)
        elif group.timer is None:
            seconds = PATIENCE_SECONDS if group.sending else GATHERING_SECONDS
            group.timer = asyncio.get_running_loop().call_later(seconds, self._no_longer, tenant_id, group)

    def _no_longer(self, tenant_id: UUID, group: _Group) -> None:
        """Those who wait have waited for long enough, but for a statement that was sent meanwhile."""
        group.timer = None
        if group.sending and time.monotonic() - group.since < PATIENCE_SECONDS:
            self._look(tenant_id, group)
            return
        if not group.sending:
            group.give_up_waiting()
        self._send(tenant_id, group)

    def _stop_timer(self, group: _Group) -> None:
        if group.timer is not None:
            group.timer.cancel()
            group.timer = None

    def _send(self, tenant_id: UUID, group: _Group) -> None:
        kinds: dict[Hashable, list[_Write]] = {}
        for one in group.waiting:
            if not one.told.done():  # else it was cancelled, and hears of it in this very turn
                kinds.setdefault(one.kind, []).append(one)
        group.waiting.clear()
        self._stop_timer(group)
        for writes in kinds.values():
            if len(writes) == 1:
                writes[0].told.set_result(Told.ALONE)
                continue
            group.sending += 1
            group.since = time.monotonic()
            task = asyncio.get_running_loop().create_task(self._together(tenant_id, group, writes))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._look(tenant_id, group)

    async def _together(self, tenant_id: UUID, group: _Group, writes: Sequence[_Write]) -> None:
        """One statement, and what is told to each."""
        told: Sequence[Any] = [Told.ALONE] * len(writes)
        unanswered: BaseException | None = None
        exhausted: PoolExhausted | None = None
        try:
            async with self._pool.connection(tenant_id) as connection:

                async def fetch(sql: str, *arguments: Any) -> Sequence[Any]:
                    nonlocal unanswered
                    try:
                        return await connection.fetch(sql, arguments)
                    except (*UNANSWERED, asyncio.CancelledError) as error:
                        unanswered = error
                        raise

                told = await writes[0].send(fetch, tenant_id, [one.what for one in writes])
        except PoolExhausted as error:
            exhausted = error  # for which each has waited as long as a request may
        except Exception as error:
            # Each of those who wait meets it again, by itself, and tells of it. Its text may quote what they write.
            log.info("written_apart", commands=len(writes), reason=type(error).__name__)
        finally:
            group.sending -= 1
            for one, answer in zip(writes, told, strict=True):
                if one.told.done():
                    one.late()
                    continue
                if unanswered is not None:
                    one.told.set_exception(not_answered(unanswered))
                elif exhausted is not None:
                    one.told.set_exception(PoolExhausted(*exhausted.args))
                else:
                    one.told.set_result(answer)
            if not group.sending:
                self._stop_timer(group)  # which was for those who waited for this
                self._look(tenant_id, group)


def not_answered(cause: BaseException) -> CommitUnanswered:
    """What is raised where a statement that commits itself got no answer."""
    error = CommitUnanswered("No answer came to a statement that commits itself.")
    error.__cause__ = cause
    return error
