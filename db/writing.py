"""One transaction of a writer: rows by their keys without the ORM's session, and the session for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.base import Model
from db.callers import note
from db.pool import commit, driver_of, has_lost
from db.rows import keyed
from db.work import Work

M = TypeVar("M", bound=Model)


@cache
def _locking(model: type[Model]) -> Any:
    """Rows of a model by `of_tenant` and `ids`, locked. Made once: building it takes longer than sending it."""
    table: Any = model
    return (
        select(model)
        .where(table.tenant_id == bindparam("of_tenant"), table.id == func.any(bindparam("ids", type_=ARRAY(Uuid()))))
        .order_by(table.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


class Writing(Work):
    """A transaction that has begun on a connection, of which this is the only user.

    Rows that are asked for by their keys are read and stored by text of our own as long as that is all that happens:
    the session would take several times longer for the same statements. With the first use of `session` it takes over
    what has been read so far, and from then on does everything.
    """

    def __init__(self, connection: AsyncConnection, session: AsyncSession | None = None) -> None:
        super().__init__()
        self._connection = connection
        self._session = session

    @classmethod
    def within(cls, session: AsyncSession) -> Writing:
        """The transaction of a session on a connection of its own."""
        return cls(cast("AsyncConnection", session.bind), session)

    async def __aenter__(self) -> Writing:
        return self

    async def __aexit__(self, kind: object, _error: object, _traceback: object) -> None:
        """Commit; whatever was raised rolls back, with the connection's end at the latest.

        Raises CommitUnanswered where nobody knows whether it did.
        """
        if self._session is not None:
            async with self._session as session:  # whose end is not cancelled halfway
                await (session.commit() if kind is None else session.rollback())
        elif kind is None:
            await commit(self.connection)

    @property
    def connection(self) -> AsyncConnection:
        """The connection that the transaction has begun on."""
        return self._connection

    @property
    def session(self) -> AsyncSession:
        """The ORM's session of this transaction."""
        if self._session is None:
            self._session = AsyncSession(self.connection, expire_on_commit=False, join_transaction_mode="control_fully")
            self._session.add_all(self._rows.values())
            self._rows.clear()
        return self._session

    @property
    def opened_session(self) -> AsyncSession | None:
        """The session, where somebody has asked for it."""
        return self._session

    async def lock(self, model: type[M], tenant_id: UUID, row_ids: Sequence[UUID]) -> list[M]:
        """Rows by id as they are now, locked in the order of their ids."""
        if self._session is None and not any((model, one) in self._rows for one in row_ids) and keyed(model).is_plain:
            return await self._read(model, tenant_id, row_ids, is_held=True)
        given = {"of_tenant": tenant_id, "ids": list(row_ids)}
        return list(await self.session.scalars(_locking(model), given))

    async def get(self, model: type[M], tenant_id: UUID, row_id: UUID) -> M | None:
        """A row by id, without a lock; one that was read before is given as it is."""
        if self._session is not None or not keyed(model).is_plain:
            return await self.session.get(model, (tenant_id, row_id))
        known: Any = self._rows.get((model, row_id))
        found = [known] if known is not None else await self._read(model, tenant_id, [row_id], is_held=False)
        return found[0] if found else None

    async def flush(self, tenant_id: UUID) -> None:
        """Store what was changed."""
        if self._session is not None:
            await self._session.flush()
            return
        for key, changes in self._changed():
            rows, row = keyed(key[0]), self._rows[key]
            text = f"{rows.update(tuple(changes), 2)} RETURNING 1"
            if not await self.fetch(text, tenant_id, *rows.arguments(row, changes)):
                raise LookupError(f"a row of {key[0].__name__} that was to change is gone")
        self._rows.clear()

    async def read(self, sql: str, *arguments: Any) -> list[Any]:
        """The driver's rows of a statement, which sees what was written so far."""
        return await self.fetch(sql, *arguments)

    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The driver's rows of a statement. Raises asyncpg's errors, and TimeoutError where the network fell silent."""
        note(self.connection, sql)
        try:
            found: list[Any] = await driver_of(self.connection).fetch(sql, *arguments)
            return found
        except Exception as error:
            if has_lost(error):
                await self.connection.invalidate(error)
            raise

    async def _read(self, model: type[M], tenant_id: UUID, row_ids: Sequence[UUID], *, is_held: bool) -> list[M]:
        rows = keyed(model)
        sql, ids = (rows.lock if is_held else rows.read).of(row_ids)
        found = await self.read(sql, tenant_id, ids)
        return [self._keep(rows.make(record), is_held=is_held) for record in found]
