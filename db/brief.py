"""Commands that write with one statement, which commits itself.

A transaction of several statements keeps its locks while answers travel and while this process has other things to do,
the lock of the tenant's log among them, for which all of the tenant's writers wait. A command that changes one row and
records that, or only looks and reports, needs no such thing: it reads without a lock, and its statement stores nothing
where the row is no longer what was read. Of those in one process who want the same row, each waits for the one before
it, since otherwise all but the first would have read for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final, TypeAlias, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.base import Model
from db.bell import Feed
from db.callers import touched
from db.pool import OF_THE_DRIVER, CommitUnanswered, is_gone
from db.rows import keyed
from db.tenant_pool import TenantConnection
from db.work import Change, Work

M = TypeVar("M", bound=Model)

_UNANSWERED: Final = (OSError, asyncpg.ConnectionDoesNotExistError)
"""What is raised where the connection ended, or fell silent, instead of an answer. Whatever the server says is said of
a statement that did nothing."""


TURN_SECONDS: Final = 1.0
"""How long a turn is waited for. By then somebody holds the row by a transaction: who waits for the row itself waits
beside the others instead of behind them, and no longer than a statement may take."""


class NeedsTransaction(Exception):
    """What was begun takes a transaction: it is more than one statement may do, or somebody else was quicker. Nothing
    was written; do it again from the start."""


Turns: TypeAlias = WeakValueDictionary[tuple[type[Model], UUID, UUID], asyncio.Lock]
"""Whose turn it is with a row, by its model, tenant and id."""


class Brief(Work):
    """Reads, and then one statement that writes, within a block that has the connection from its first statement on.

    What is decided rests on one row that was asked for by `lock`, or on what was read besides, never on both: to hold a
    row is to keep others from changing what hangs on it, and here nobody is kept from anything.
    """

    writes_once: ClassVar[bool] = True

    def __init__(self, taking: AbstractAsyncContextManager[TenantConnection], turns: Turns) -> None:
        """`taking` gives a connection in the tenant, and in no transaction."""
        super().__init__()
        self._taking = taking
        self._own: TenantConnection | None = None
        self._turns = turns
        self._turn: asyncio.Lock | None = None
        self._version: int | None = None
        self._is_guarded = self._has_read = self._has_sent = False
        self.feeds: Iterable[Feed] | None = None
        """Who is to be told of what was written, or may have been; None where nothing was."""

    async def __aenter__(self) -> Brief:
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, NeedsTransaction) and error.__cause__ is not None:
            error = error.__cause__  # by which it is seen whether the connection is still good
        try:
            if self._own is not None:
                await self._taking.__aexit__(kind, error, traceback)
        finally:
            if self._turn is not None:
                self._turn.release()

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
        found = await self.read(rows.versioned, tenant_id, row_ids)
        if not found:
            return []
        *record, self._version = found[0]
        return [self._keep(rows.make(record), is_held=True)]

    async def get(self, model: type[M], tenant_id: UUID, row_id: UUID) -> M | None:
        """A row by id, to be looked at."""
        rows = keyed(model)
        found = await self.read(rows.read, tenant_id, [row_id])
        return self._keep(rows.make(found[0]), is_held=False) if found else None

    async def read(self, sql: str, *arguments: Any) -> list[Any]:
        """The driver's rows of a statement that only reads. Raises asyncpg's errors."""
        if self._version is not None:
            raise NeedsTransaction("reading beside a row that is held")
        self._has_read = True
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
        if self._has_sent:
            raise AssertionError("a brief command writes once")
        if self._version is not None and not self._is_guarded:
            raise NeedsTransaction("a record of a row that stays as it is")
        connection = await self._connected()
        self._has_sent, self.feeds = True, touched(sql)
        try:
            found = list(await connection.fetch(sql, arguments))
        except _UNANSWERED as error:
            raise CommitUnanswered("No answer came to a statement that commits itself.") from error
        except OF_THE_DRIVER:
            self.feeds = None
            raise
        if self._is_guarded and not found:
            self.feeds = None
            raise NeedsTransaction("somebody else was quicker")
        return found

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
        if turn.locked():
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await turn.acquire()
            except TimeoutError:
                raise NeedsTransaction("others want the row, and take long") from None
        else:
            await turn.acquire()
        self._turn = turn


def _refuse_dead(error: BaseException) -> None:
    """Raises NeedsTransaction where the connection was dead and nothing was written: a transaction finds another."""
    if is_gone(error):
        raise NeedsTransaction("the connection was dead") from error
