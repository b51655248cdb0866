"""Subscribers of a log: replay from a number, then live, without a gap and without a double at the seam.

A group has a position: all rows up to it have been queued for its members. A member that comes with a number gets the
rows behind it at its own pace, page by page, and joins the moment that its own position is not behind the group's;
from then on it gets each row whose number is above its own position. Between the comparison and the joining nothing
else runs, so no row falls between them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from graphql import GraphQLError

from app.graph.filtering import Condition
from app.http.streams import Message
from app.http.tasks import cancelled
from app.live.follower import Follower
from app.live.group import Asking, Group, Member
from app.live.tails import LogTail
from db.bell import Feed

BATCH: Final = 200
"""Most rows that are executed at once."""
_PAGE_SECONDS: Final = 2.0
"""How long a page of the past is kept for others who come back to the same place."""


@dataclass(frozen=True)
class LogSource:
    """A log, which of its rows, and from where on."""

    feed: Feed
    after: int | None
    matches: Callable[[Any], bool]
    conditions: Sequence[Condition]
    """The same as `matches`, for the database: a replay need not fetch what is not asked for."""
    is_personal: bool = field(default=False)

    def group(self, asking: Asking, follower: Follower) -> LogGroup:
        """A new group of those who ask for it."""
        return LogGroup(asking, follower, self)


class _Page(NamedTuple):
    messages: Sequence[tuple[int, Message]]
    reached: int


class LogGroup(Group):
    """Subscribers who want the same rows of a log."""

    def __init__(self, asking: Asking, follower: Follower, source: LogSource) -> None:
        super().__init__(asking, follower)
        self._source = source
        self._tail: LogTail = follower.logs[source.feed]
        self._pages: dict[int, asyncio.Task[_Page]] = {}
        self.position = 0

    async def start(self) -> None:
        """From where the log is now."""
        self.position = await self.follower.add(self._source.feed, self)
        await super().start()
        self.wake()

    async def close(self) -> None:
        """Nobody is left."""
        self.follower.remove(self._source.feed, self)
        await super().close()
        await cancelled(*self._pages.values())

    def cursor(self, member: Member) -> str | None:
        """Behind what was queued for the member last."""
        return str(max(member.position, self.position) if member in self.members else member.position)

    async def join(self, member: Member, after: int | None) -> None:
        """From now on, or behind `after`. Raises CursorExpired and BadUserInput."""
        if after is None:
            member.position = self.position if self._tail.position is None else self._tail.position
            self.members[member] = None
            return
        member.position = after
        page = await self._page(after)
        if member.ended:
            return
        if not page.messages and page.reached >= self.position:
            member.position = max(after, page.reached)
            self.members[member] = None
            return
        member.replaying = asyncio.create_task(self._replay(member), name="live-replay")

    async def step(self) -> None:
        """Bring the group to where the tail is. An outage in the midst of it leaves the position where it was."""
        while self._tail.position is not None and self.position < self._tail.position:
            rows = await self._tail.after(self.position, BATCH)
            if not rows:
                return
            messages = await self._messages(rows)
            for member in list(self.members):
                for number, message in messages:
                    if number > member.position:
                        if not member.push(message):
                            break
                        member.position = number
            self.position = rows[-1].seq
            await asyncio.sleep(0)  # others want to run between two batches

    async def _messages(self, rows: Sequence[Any]) -> list[tuple[int, Message]]:
        matching = [row for row in rows if self._source.matches(row)]
        messages = await self.messages(matching, [str(row.seq) for row in matching])
        return [(row.seq, message) for row, message in zip(matching, messages, strict=True)]

    async def _replay(self, member: Member) -> None:
        try:
            while member.position < self.position:
                page = await self._page(member.position)
                for number, message in page.messages:
                    await member.sink.room()
                    if not member.push(message):
                        return
                    member.position = number
                member.position = max(member.position, page.reached)
                await asyncio.sleep(0)  # pages that are there already need no wait, and others want to run
            if not member.ended:
                member.replaying = None
                self.members[member] = None
        except GraphQLError as error:
            member.end(error)
        except Exception as error:
            member.end(error)

    async def _page(self, position: int) -> _Page:
        """The rows behind a position, with those who ask for the same page at the same time or soon after. A page that
        was the log's end is of no use once the log has gone on: whoever took it would stay where they are."""
        page = self._pages.get(position)
        if page is None or self._is_outrun(page, position):
            page = asyncio.create_task(self.patiently(lambda: self._make_page(position)), name="live-page")
            self._pages[position] = page
            page.add_done_callback(partial(self._forget_later, position))
        return await asyncio.shield(page)

    def _is_outrun(self, page: asyncio.Task[_Page], position: int) -> bool:
        if not page.done() or page.cancelled() or page.exception() is not None:
            return False
        return page.result().reached <= position < self.position

    def _forget_later(self, position: int, page: asyncio.Task[_Page]) -> None:
        seconds = 0.0 if page.cancelled() or page.exception() is not None else _PAGE_SECONDS
        asyncio.get_running_loop().call_later(seconds, self._forget, position, page)

    def _forget(self, position: int, page: asyncio.Task[_Page]) -> None:
        if self._pages.get(position) is page:
            del self._pages[position]

    async def _make_page(self, position: int) -> _Page:
        found = await self._tail.replay(position, self._source.conditions, BATCH)
        return _Page(await self._messages(found.rows), found.reached)
