"""Look-ups by key that many requests make at the same moment, as one statement.

A dataloader makes one statement of what one operation looks up. Here the same is done for all operations of the
process: who asks while the same statement is under way waits for its end, and then one of those who wait asks for all
of them. Who is alone waits for nobody, and nobody gets rows as they were before the question, since the statement is
sent after the last of them has asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final, TypeAlias
from uuid import UUID

from app.query.statements import Statement

PATIENCE_SECONDS: Final = 0.025
"""Who finds a statement under way for longer asks beside it, for it may take long. Not much shorter: while many ask, it
is this process that has not yet come back to the statement, and each who asks beside it adds to what it has to do."""
MOST_KEYS: Final = 1_000
"""Keys that one statement may ask for on behalf of several."""

Fetch: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
"""Sends a statement with the values of $1, $2 …"""


class _Told(Enum):
    """What one who waits may hear instead of what was found."""

    YOUR_TURN = auto()
    """To ask for all who wait."""
    ALONE = auto()
    """To ask for itself: who asked for all failed, or went away."""


_Found: TypeAlias = Mapping[bytes, Any] | _Told
"""Records by key."""


class _Batch:
    """Those who wait for the same statement, and what they want to know."""

    __slots__ = ("keys", "members")

    def __init__(self, keys: list[Any]) -> None:
        self.keys = keys
        """As the statement takes them."""
        self.members: list[asyncio.Future[_Found]] = []


class _UnderWay:
    """A statement that is under way, and who waits for its end."""

    __slots__ = ("since", "waiting")

    def __init__(self) -> None:
        self.since = 0.0
        """When it was sent, or its turn came to be (`time.monotonic`)."""
        self.waiting: _Batch | None = None


class Sharing:
    """The look-ups of one process."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _UnderWay] = {}

    async def records(
        self,
        tenant_id: UUID,
        statement: Statement,
        arguments: list[Any],
        place: int,
        keys: Collection[bytes],
        fetch: Fetch,
    ) -> Sequence[Any]:
        """The records of these keys, which each has at `place`; `arguments` are the statement's, with the keys among
        them. Raises what `fetch` raises.

        They are asked for together with those of callers of the same tenant for whom every other value is the same:
        whatever the statement is narrowed by.
        """
        at = statement.keys_at
        own = arguments[at]
        arguments[at] = None
        others = [tuple(one) if isinstance(one, list) else one for one in arguments]
        name = (tenant_id, statement.text, place, *others)
        under_way = self._under_way.get(name)
        if under_way is None:
            under_way = self._under_way[name] = _UnderWay()
            batch = _Batch(own)
        elif time.monotonic() - under_way.since > PATIENCE_SECONDS or _is_full(under_way.waiting):
            arguments[at] = own
            return await fetch(statement.suit(arguments), arguments)
        else:
            batch = under_way.waiting = under_way.waiting or _Batch([])
            told = await self._told(name, under_way, batch, own)
            if told is _Told.ALONE:
                arguments[at] = own
                return await fetch(statement.suit(arguments), arguments)
            if told is not _Told.YOUR_TURN:
                return _of(told, keys)
        arguments[at] = batch.keys
        records = await self._ask(name, under_way, batch, statement.suit(arguments), arguments, place, fetch)
        return records if batch.keys is own else _of(_by_key(records, place), keys)

    async def _told(self, name: Hashable, under_way: _UnderWay, batch: _Batch, own: list[Any]) -> _Found:
        turn: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        batch.keys += own
        batch.members.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is _Told.YOUR_TURN:
                self._hand_on(name, under_way)
            raise

    async def _ask(
        self,
        name: Hashable,
        under_way: _UnderWay,
        batch: _Batch,
        sql: str,
        arguments: Sequence[Any],
        place: int,
        fetch: Fetch,
    ) -> Sequence[Any]:
        under_way.since, under_way.waiting = time.monotonic(), None
        told: _Found = _Told.ALONE
        try:
            records = await fetch(sql, arguments)
            if batch.members:
                told = _by_key(records, place)
            return records
        finally:
            for one in batch.members:
                if not one.done():
                    one.set_result(told)
            self._hand_on(name, under_way)

    def _hand_on(self, name: Hashable, under_way: _UnderWay) -> None:
        """The statement is over: whoever waits longest is next."""
        if under_way.waiting is not None:
            under_way.since = time.monotonic()
            for one in under_way.waiting.members:
                if not one.done():
                    one.set_result(_Told.YOUR_TURN)
                    return
        del self._under_way[name]


def _is_full(waiting: _Batch | None) -> bool:
    return waiting is not None and len(waiting.keys) >= MOST_KEYS


def _by_key(records: Sequence[Any], place: int) -> Mapping[bytes, Any]:
    return {record[place]: record for record in records}


def _of(found: Mapping[bytes, Any], keys: Collection[bytes]) -> list[Any]:
    return [found[key] for key in keys if key in found]
