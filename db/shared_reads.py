"""Rows that several commands ask for in the same turn of the event loop, by one statement.

Requests that arrive together ask together: what one of them reads for all costs Postgres and this process little more
than a row. Nobody gets a row as it was before it asked, since the statement is sent after the last of them has asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from db.pool import PoolExhausted
from db.rows import ByKey

Read: TypeAlias = Callable[[str, UUID, Any], Awaitable[Sequence[Any]]]
"""(sql, tenant, ids or the one id) -> the records of these rows."""


class _Asked:
    """Who asks with the same statement, and for which rows."""

    __slots__ = ("ids", "others")

    def __init__(self, row_id: UUID) -> None:
        self.ids = [row_id]
        self.others: list[asyncio.Future[Sequence[Any] | None]] = []


class SharedReads:
    """The look-ups of one process."""

    def __init__(self) -> None:
        self._asked: dict[tuple[ByKey, UUID], _Asked] = {}

    async def records(self, by_key: ByKey, tenant_id: UUID, row_id: UUID, id_place: int, read: Read) -> Sequence[Any]:
        """The records of a row, of which each has its id at `id_place`; `read` sends the statement for this caller.

        Raises what `read` raises: where it does for one who asks for all, the others ask by themselves, unless it is
        that no connection was to be had, for which they have waited as well.
        """
        key = by_key, tenant_id
        asked = self._asked.get(key)
        if asked is not None:
            found = await self._told(asked, row_id)
            return await read(by_key.one, tenant_id, row_id) if found is None else found
        asked = self._asked[key] = _Asked(row_id)
        records: Sequence[Any] | None = None
        exhausted: PoolExhausted | None = None
        try:
            try:
                await asyncio.sleep(0)
            finally:
                del self._asked[key]
            sql, ids = by_key.of(asked.ids)
            records = await read(sql, tenant_id, ids)  # one may be there twice, and is found once
        except PoolExhausted as error:
            exhausted = error
            raise
        finally:
            for one_id, one in zip(asked.ids[1:], asked.others, strict=True):
                if one.done():
                    continue
                if exhausted is not None:
                    one.set_exception(PoolExhausted(*exhausted.args))
                else:
                    one.set_result(None if records is None else _of(records, id_place, one_id))
        return _of(records, id_place, row_id)

    async def _told(self, asked: _Asked, row_id: UUID) -> Sequence[Any] | None:
        """The records; None where the one who asked for all failed, or went away."""
        told: asyncio.Future[Sequence[Any] | None] = asyncio.get_running_loop().create_future()
        asked.ids.append(row_id)
        asked.others.append(told)
        return await told


def _of(records: Sequence[Any], id_place: int, row_id: UUID) -> Sequence[Any]:
    return [record for record in records if record[id_place] == row_id]
