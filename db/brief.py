"""Commands that write with one statement, which commits itself.

A transaction of several statements keeps its locks while answers travel and while this process has other things to do,
the lock of the tenant's log among them, for which all of the tenant's writers wait. A command that changes one row and
records that, or only looks and reports, needs no such thing: it reads without a lock, and its statement stores nothing
where the row is no longer what was read. Of those in one process who want the same row, each waits for the one before
it, since otherwise all but the first would have read for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final, TypeAlias, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.base import Model
from db.bell import Feed
from db.callers import touched
from db.group_commit import UNANSWERED, GroupCommit, Send, Told, not_answered
from db.logs import (
    AppendedChange,
    AppendedEvents,
    ChangeDraft,
    EventDraft,
    append_op_events_by,
    append_with_updates,
)
from db.logs.sending import Fetch
from db.pool import OF_THE_DRIVER, PoolExhausted, is_gone
from db.rows import KeyedRows, UpdateOfSeveral, keyed
from db.shared_reads import SharedReads
from db.tenant_pool import TenantConnection
from db.work import Change, Work

M = TypeVar("M", bound=Model)

TURN_SECONDS: Final = 1.0
"""How long a turn is waited for. By then somebody holds the row by a transaction: who waits for the row itself waits
beside the others instead of behind them, and no longer than a statement may take."""


class NeedsTransaction(Exception):
    """What was begun takes a transaction: it is more than one statement may do, or somebody else was quicker. Nothing
    was written; do it again from the start."""


Turns: TypeAlias = WeakValueDictionary[tuple[type[Model], UUID, UUID], asyncio.Lock]
"""Whose turn it is with a row, by its model, tenant and id."""


@dataclass(frozen=True)
class Company:
    """What the brief commands of one process do together."""

    commits: GroupCommit
    ring: Callable[[UUID, Iterable[Feed]], None]
    """Told of what was written in a tenant, or may have been: who may do what, and its rows in any case."""
    reads: SharedReads = field(default_factory=SharedReads)
    turns: Turns = field(default_factory=WeakValueDictionary)


class Brief(Work):
    """Reads, and then one statement that writes, within a block that has the connection from its first statement on.

    What is decided rests on one row that was asked for by `lock`, or on what was read besides, never on both: to hold a
    row is to keep others from changing what hangs on it, and here nobody is kept from anything.
    """

    writes_once: ClassVar[bool] = True

    def __init__(
        self,
        tenant_id: UUID,
        taking: AbstractAsyncContextManager[TenantConnection],
        company: Company,
    ) -> None:
        """`taking` gives a connection in the tenant, and in no transaction."""
        super().__init__()
        self._tenant_id = tenant_id
        self._taking = taking
        self._turns = company.turns
        self._others = company.commits
        self._reads = company.reads
        self._ring = company.ring
        self._is_expected = False
        self._own: TenantConnection | None = None
        self._turn: asyncio.Lock | None = None
        self._version: int | None = None
        self._is_guarded = self._has_read = self._has_sent = False
        self._feeds: Iterable[Feed] | None = None
        """Who is to be told of what was written, or may have been; None where nothing was."""

    async def __aenter__(self) -> Brief:
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, NeedsTransaction) and error.__cause__ is not None:
            error = error.__cause__  # by which it is seen whether the connection is still good
        try:
            self._leave()
            if self._own is not None:
                await self._taking.__aexit__(kind, error, traceback)
        finally:
            if self._turn is not None:
                self._turn.release()
            if self._feeds is not None:  # who was cancelled, or got no answer, may have written all the same
                self._ring(self._tenant_id, self._feeds)

    @property
    def connection(self) -> AsyncConnection:
        """Raises NeedsTransaction."""
        raise NeedsTransaction("another way to write")

    @property
    def session(self) -> AsyncSession:
        """Raises NeedsTransaction."""
        raise NeedsTransaction("the session")

    async def lock(self, model: type[M], tenant_id: UUID, row_ids: Sequence[UUID]) -> list[M]:
        """A row as it is now, which nobody is kept from changing: whether it still is so, is seen when it is stored."""
        rows = keyed(model)
        if self._has_read or len(row_ids) != 1 or not rows.is_plain:
            raise NeedsTransaction("more than one row")
        await self._take_turn(model, tenant_id, row_ids[0])
        found = await self._read_row(rows, tenant_id, row_ids[0])
        if not found:
            return []
        *record, self._version = found[0]
        return [self._keep(rows.make(record), is_held=True)]

    async def get(self, model: type[M], tenant_id: UUID, row_id: UUID) -> M | None:
        """A row by id, to be looked at."""
        rows = keyed(model)
        found = await self.read(rows.read.one, tenant_id, row_id)
        return self._keep(rows.make(found[0]), is_held=False) if found else None

    async def read(self, sql: str, *arguments: Any) -> list[Any]:
        """The driver's rows of a statement that only reads. Raises asyncpg's errors."""
        if self._version is not None:
            raise NeedsTransaction("reading beside a row that is held")
        self._expect()
        connection = await self._connected()
        try:
            return list(await connection.fetch(sql, arguments))
        except OF_THE_DRIVER as error:
            _refuse_dead(error)
            raise

    def take_only_change(self, first: int) -> Change | None:
        """As of a transaction, and where the row is still what was read."""
        found = super().take_only_change(first)
        if found is None:
            return None
        self._is_guarded = True
        # A change makes another version of a row, which has the number of the transaction that made it.
        text = f"{found.text} AND xmin = ${first + len(found.arguments)}::xid"
        return found._replace(text=text, arguments=[*found.arguments, self._version])

    async def flush(self, tenant_id: UUID) -> None:
        """Nothing, where nothing was changed."""
        if self.has_changed_rows:
            raise NeedsTransaction("a change beside the records")

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The driver's rows of the one statement that writes, and has committed with that.

        Raises asyncpg's errors, and CommitUnanswered where nobody knows whether it did.
        """
        self._check_once()
        connection = await self._connected()
        self._leave()
        self._has_sent, self._feeds = True, touched(sql)
        try:
            found = list(await connection.fetch(sql, arguments))
        except UNANSWERED as error:
            raise not_answered(error) from error
        except OF_THE_DRIVER:
            self._feeds = None
            raise
        if self._is_guarded and not found:
            self._feeds = None
            raise NeedsTransaction("somebody else was quicker")
        return found

    async def append(self, tenant_id: UUID, records: Sequence[ChangeDraft], change: Change) -> list[AppendedChange]:
        """As of a transaction, and together with other commands that are ready now."""
        several = keyed(type(change.row)).update_of_several(change.names) if len(records) == 1 else None
        if several is not None:
            told = await self._write_together(
                several, (records[0], change), partial(_append_changes, several), change.text
            )
            if told is None:
                raise NeedsTransaction("somebody else was quicker, or has the row")
            if told is not Told.ALONE:
                return [told]
        return await super().append(tenant_id, records, change)

    async def append_events(self, tenant_id: UUID, events: Sequence[EventDraft]) -> AppendedEvents:
        """As of a transaction, and together with other commands that are ready now."""
        told = Told.ALONE if len(events) > 1 else await self._write_together(EventDraft, events[0], _append_events, "")
        return await super().append_events(tenant_id, events) if told is Told.ALONE else told

    async def _write_together(self, kind: Hashable, what: Any, send: Send, sql: str) -> Any:
        """What came of it, or `Told.ALONE`; `sql` says what is written. Raises CommitUnanswered, PoolExhausted."""
        if not self._is_expected or self._others.is_alone(self._tenant_id):
            return Told.ALONE
        self._check_once()
        if self._own is not None:  # those who wait need none
            self._own = None
            await self._taking.__aexit__(None, None, None)
        feeds = touched(sql)
        self._is_expected, self._has_sent, self._feeds = False, True, feeds
        late = partial(self._ring, self._tenant_id, feeds)
        try:
            told = await self._others.write(self._tenant_id, self, kind, what, send, late)
        except PoolExhausted:
            self._feeds = None
            raise
        if told is None or told is Told.ALONE:
            self._has_sent, self._feeds = False, None
        return told

    def _check_once(self) -> None:
        if self._has_sent:
            raise AssertionError("a brief command writes once")
        if self._version is not None and not self._is_guarded:
            raise NeedsTransaction("a record of a row that stays as it is")

    async def _read_row(self, rows: KeyedRows[Any], tenant_id: UUID, row_id: UUID) -> Sequence[Any]:
        """A row with its version; where others are under way, along with those that they want."""
        if self._others.is_idle:
            return await self.read(rows.versioned.one, tenant_id, row_id)
        self._expect()
        return await self._reads.records(rows.versioned, tenant_id, row_id, rows.id_place, self.read)

    def _expect(self) -> None:
        """From the first statement on others may wait for this."""
        if not self._has_read:
            self._has_read = self._is_expected = True
            self._others.expect(self._tenant_id, self)

    def _leave(self) -> None:
        """Nobody need wait for this any more."""
        if self._is_expected:
            self._is_expected = False
            self._others.leave(self._tenant_id, self)

    async def _connected(self) -> TenantConnection:
        if self._own is None:
            try:
                self._own = await self._taking.__aenter__()
            except OF_THE_DRIVER as error:
                _refuse_dead(error)
                raise
        return self._own

    async def _take_turn(self, model: type[Model], tenant_id: UUID, row_id: UUID) -> None:
        key = (model, tenant_id, row_id)
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
            await turn.acquire()
        else:  # it may be free, and yet promised to those who have waited for it
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await turn.acquire()
            except TimeoutError:
                raise NeedsTransaction("others want the row, and take long") from None
        self._turn = turn


async def _append_changes(
    update: UpdateOfSeveral, fetch: Fetch, tenant_id: UUID, writes: Sequence[tuple[ChangeDraft, Change]]
) -> Sequence[AppendedChange | None]:
    """Records and the rows that they are of."""
    records, arguments = [record for record, _ in writes], [change.arguments for _, change in writes]
    return await append_with_updates(fetch, tenant_id, records, update, arguments)


async def _append_events(fetch: Fetch, tenant_id: UUID, events: Sequence[EventDraft]) -> Sequence[AppendedEvents]:
    """One event each; the bell need not know which number is whose."""
    appended = await append_op_events_by(fetch, tenant_id, events)
    return [AppendedEvents([row_id], 1, appended.last_seq) for row_id in appended.ids]


def _refuse_dead(error: BaseException) -> None:
    """Raises NeedsTransaction where the connection was dead and nothing was written: a transaction finds another."""
    if is_gone(error):
        raise NeedsTransaction("the connection was dead") from error
