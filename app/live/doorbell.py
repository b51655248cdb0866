"""The doorbell: who commits rings, and every gateway that follows the tenant looks at the database.

A ring carries the tenant, the feed and a number, never a row: the database is the truth. This process hears it at
once; the others by way of a line (Postgres' NOTIFY, or NATS), at most once every few milliseconds. A ring that is
lost costs a second, since whoever follows a tenant also looks by itself.

Every gateway says from time to time that it is there, and whoever has heard nobody for a while keeps its rings to
itself: each costs a transaction. When it hears of somebody again, it says that it was silent, and who hears that takes
it as a line that was restored.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from app.http.tasks import cancelled
from db.bell import Feed
from db.connections import Connection
from db.pool import OF_THE_DRIVER

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.live")

Heard: TypeAlias = Callable[[UUID, Feed, int | None], None]
"""(tenant, feed, number of the newest row, where the feed has numbers)"""

GAP_SECONDS: Final = 0.005
"""Least time from one message to the others to the next."""
PRESENCE_SECONDS: Final = 5.0
"""How often a gateway says that it is there."""
MISSED_PRESENCES: Final = 3
"""Who was not heard for so many times as long is gone."""
_CHANNEL: Final = "fleetgraph_doorbell"
RETRY_SECONDS: Final = 0.5
"""Pause before a line that broke is tried again; it grows."""
_LONGEST_RETRY_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 20.0
"""How long the line to Postgres may be idle before it is asked whether it is still there."""
_PER_NOTIFY: Final = 60
"""Rings of one NOTIFY, which takes 8,000 bytes (trap 29): each is 33 to 80 characters."""
_NOTIFY: Final = "SELECT pg_notify($1, one) FROM unnest($2::text[]) AS one"
_WAS_SILENT: Final = "silent"
"""Says among the rings that there may have been others until now."""

Rings: TypeAlias = Mapping[tuple[UUID, Feed], int | None]


class Line(Protocol):
    """Carries texts to the other gateways, and theirs here."""

    async def run(self, hear: Callable[[str], None], restored: Callable[[], None]) -> None:
        """Keep the line up until cancelled. `restored` is called whenever something may have been missed."""
        ...

    async def send(self, texts: list[str]) -> None:
        """Send; raises whatever it likes where the line is down."""
        ...


class Doorbell:
    """This process's bell, and its end of the line to the others; the line may be missing."""

    def __init__(
        self,
        line: Line | None = None,
        gap_seconds: float = GAP_SECONDS,
        presence_seconds: float = PRESENCE_SECONDS,
    ) -> None:
        self._line = line
        self._gap = gap_seconds
        self._presence = presence_seconds
        self._others_until = math.inf
        """When the others are gone, unless they are heard (`time.monotonic`); not before the line was up."""
        self._was_silent = False
        self._own = secrets.token_hex(6)
        self._hear: list[Heard] = []
        self._restored: list[Callable[[], None]] = []
        self._pending: dict[tuple[UUID, Feed], int | None] = {}
        self._wanted = asyncio.Event()
        self.sent = 0
        """Messages to the other gateways so far."""

    def listen(self, hear: Heard, restored: Callable[[], None] = lambda: None) -> None:
        """Be told of every ring from now on; `restored` of every time that some may have been lost."""
        self._hear.append(hear)
        self._restored.append(restored)

    def ring(self, tenant_id: UUID, feed: Feed, seq: int | None = None) -> None:
        """Something new is in a feed of the tenant, and committed. Never blocks, never fails."""
        self._tell(tenant_id, feed, seq)
        if self._line is not None and self._has_others():
            self._pending[tenant_id, feed] = _newer(self._pending.get((tenant_id, feed)), seq)
            self._wanted.set()

    async def run(self) -> None:
        """Carry rings to the others and theirs here, until cancelled."""
        if self._line is None:
            return
        line = asyncio.create_task(self._line.run(self._arrived, self._was_restored), name="doorbell-line")
        presence = asyncio.create_task(self._stay(), name="doorbell-presence")
        try:
            await self._carry(self._line)
        finally:
            await cancelled(line, presence)

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(self._presence)
            self._wanted.set()

    async def _carry(self, line: Line) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            texts = _texts(self._own, self._pending, was_silent=self._was_silent)
            self._pending, self._was_silent = {}, False
            try:
                await line.send(texts)
                self.sent += 1
            except Exception as error:
                # Those who were not told look by themselves, within a second.
                log.debug("doorbell_not_carried", error=type(error).__name__)
            await asyncio.sleep(self._gap)

    def _arrived(self, text: str) -> None:
        origin, _, rest = text.partition(" ")
        if origin == self._own:
            return
        if not self._has_others():
            self._was_silent = True
            self._wanted.set()
        self._expect_others()
        said = rest.split()
        if _WAS_SILENT in said:
            said.remove(_WAS_SILENT)
            self._tell_restored()
        try:
            rings = [_read(one) for one in said]
        except ValueError:
            log.warning("doorbell_not_understood", length=len(text))
            return
        for tenant_id, feed, seq in rings:
            self._tell(tenant_id, feed, seq)

    def _tell(self, tenant_id: UUID, feed: Feed, seq: int | None) -> None:
        for hear in self._hear:
            hear(tenant_id, feed, seq)

    def _was_restored(self) -> None:
        self._expect_others()
        self._wanted.set()
        self._tell_restored()

    def _tell_restored(self) -> None:
        for restored in self._restored:
            restored()

    def _has_others(self) -> bool:
        return time.monotonic() < self._others_until

    def _expect_others(self) -> None:
        self._others_until = time.monotonic() + MISSED_PRESENCES * self._presence


_LETTERS: Final = {
    Feed.EVENTS: "e",
    Feed.CHANGES: "c",
    Feed.ROWS: "r",
    Feed.PEOPLE: "p",
    Feed.AGENTS: "a",
}
_FEEDS: Final = {letter: feed for feed, letter in _LETTERS.items()}


def _newer(one: int | None, other: int | None) -> int | None:
    return other if one is None or (other is not None and other > one) else one


def _texts(origin: str, rings: Rings, *, was_silent: bool = False) -> list[str]:
    """At least one, which says that this gateway is there."""
    written = [f"{tenant.hex}{_LETTERS[feed]}{'' if seq is None else seq}" for (tenant, feed), seq in rings.items()]
    if was_silent:
        written.append(_WAS_SILENT)
    parts = range(0, max(len(written), 1), _PER_NOTIFY)
    return [" ".join([origin, *written[first : first + _PER_NOTIFY]]) for first in parts]


def _read(text: str) -> tuple[UUID, Feed, int | None]:
    """Raises ValueError for what no gateway wrote."""
    feed = _FEEDS.get(text[32:33])
    if feed is None:
        raise ValueError(text)
    return UUID(hex=text[:32]), feed, int(text[33:]) if text[33:] else None


class PostgresLine:
    """NOTIFY and LISTEN on one connection of its own, outside of any transaction (trap 29)."""

    def __init__(self, gateway: Connection) -> None:
        self._gateway = gateway
        self._connection: asyncpg.Connection | None = None
        self._ended = asyncio.Event()
        """Of the connection."""
        self._speaking = asyncio.Lock()

    async def run(self, hear: Callable[[str], None], restored: Callable[[], None]) -> None:
        """Listen, again and again, until cancelled."""
        await again_and_again(lambda: self._listen(hear, restored))

    async def send(self, texts: list[str]) -> None:
        """One statement, however many texts. Raises ConnectionError where the line is down."""
        async with self._speaking:
            if self._connection is None:
                raise ConnectionError("the line to Postgres is down")
            try:
                await self._connection.execute(_NOTIFY, _CHANNEL, texts)
            except Exception:
                # Where the server ends a connection in the middle of a statement, its listeners are not told.
                self._ended.set()
                raise

    async def _listen(self, hear: Callable[[str], None], restored: Callable[[], None]) -> None:
        connection = await asyncpg.connect(
            self._gateway.url,
            timeout=_ANSWER_SECONDS,
            command_timeout=_ANSWER_SECONDS,
            server_settings={
                "application_name": "fleetgraph-doorbell",
                **self._gateway.server_settings,
                # A NOTIFY is a transaction with a number of its own: its flush would be one more for each ring, and
                # the next command's would wait for it. A ring need not outlive a crash: nobody is left to hear it.
                "synchronous_commit": "off",
            },
        )
        ended = self._ended = asyncio.Event()
        connection.add_termination_listener(lambda _connection: ended.set())
        try:
            await connection.add_listener(_CHANNEL, lambda _connection, _pid, _channel, text: hear(text))
            self._connection = connection
            restored()
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SILENCE_SECONDS):
                        await ended.wait()
                        return
                await self.send([])  # raises where the line fell silent, and nobody says so
        finally:
            self._connection = None
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)


async def again_and_again(attempt: Callable[[], Awaitable[Any]]) -> None:
    """Attempt for ever: what returns, or fails as lines do (OSError, or asyncpg's errors), is tried again after a
    pause."""
    pause = RETRY_SECONDS
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await attempt()
            log.warning("doorbell_line_lost")
        except OF_THE_DRIVER as error:
            log.warning("doorbell_line_down", error=type(error).__name__)
        if asyncio.get_running_loop().time() - began > _LONGEST_RETRY_SECONDS:
            pause = RETRY_SECONDS
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
