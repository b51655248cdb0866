"""Callers that are remembered: on most requests neither a signature is checked nor the database asked.

What is remembered of a caller is at most a second old, and gone at once when something of it changes: whoever commits
a change of an operator, a role, an assignment, a tenant or an agent's state rings the doorbell, which every gateway
hears within milliseconds. The second stands behind that, for rings that are lost and for what is changed past the
gateways.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from app.auth.actor import Actor, ActorKind
from app.auth.authenticate import Authenticator
from app.auth.claims import Token
from app.graph.errors import Unavailable
from app.outages import AWAY, is_outage
from db.bell import EVERYWHERE, Feed
from db.pool import OF_THE_DATABASE

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.auth")

ACTOR_SECONDS: Final = 1.0
"""How long a caller is remembered: so long may a right outlive its end where no ring tells of it."""
TOKEN_SECONDS: Final = 60.0
"""How long a signature is remembered as good: so long may a key outlive its withdrawal by the issuer."""
MOST: Final = 20_000
"""Callers that are remembered; who has not called for the longest time is forgotten first."""

_NOW: Final = partial(datetime.now, UTC)


@dataclass(slots=True)
class _Known:
    token: Token
    token_until: float
    actor: Actor | None = None
    actor_until: float = 0.0
    drops: int = 0
    """How many rings had been heard when the actor was looked up."""
    looking: asyncio.Future[None] | None = None
    """Done when whoever looks the actor up again has found them, or has failed."""


class Callers:
    """An authenticator with a memory. Refusals are not remembered."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _NOW,
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._now = now
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._dropped: dict[tuple[UUID, Feed], int] = {}
        self._drops = 0

    def __len__(self) -> int:
        return len(self._known)

    async def authenticate(self, authorization: str | None, tenant: str | None) -> Actor:
        """The actor of a request, as `Authenticator.authenticate` finds it. Raises Unauthenticated, and Unavailable
        while the database is away."""
        # A token is a secret: what lies about in memory is its hash.
        key = hashlib.blake2b(f"{authorization}\0{tenant}".encode(errors="surrogatepass"), digest_size=32).digest()
        known, clock = self._known.get(key), self._clock()
        if known is not None and known.token.expires_at <= self._now():
            del self._known[key]
            known = None
        if known is not None:
            actor = self._fresh(known, clock)
            if actor is None and known.looking is not None:
                # All of a caller's requests find the same second over; one of them is enough to ask.
                await asyncio.wait((known.looking,))
                actor = self._fresh(known, clock)
            if actor is not None:
                self._known.move_to_end(key)
                return actor
        if known is None or clock >= known.token_until:
            known = _Known(await self._authenticator.verify(authorization, tenant), clock + TOKEN_SECONDS)
        actor = await self._look(known, clock, tenant)
        self._keep(key, known)
        return actor

    async def _look(self, known: _Known, clock: float, tenant: str | None) -> Actor:
        drops = self._drops  # a ring while the database is asked may be about what it just said
        looking = known.looking = asyncio.get_running_loop().create_future()
        try:
            actor = await self._authenticator.actor_of(known.token, tenant)
            known.actor, known.actor_until, known.drops = actor, clock + ACTOR_SECONDS, drops
            return actor
        except OF_THE_DATABASE as error:
            if isinstance(error, TimeoutError) or not is_outage(error):
                raise
            log.warning("caller_not_looked_up", error=type(error).__name__)
            raise Unavailable(AWAY) from error
        finally:
            known.looking = None
            looking.set_result(None)

    def hear(self, tenant_id: UUID, feed: Feed, _seq: int | None = None) -> None:
        """Forget whom a ring is about."""
        if feed is Feed.PEOPLE or feed is Feed.AGENTS:
            self._drops += 1
            self._dropped[tenant_id, feed] = self._drops

    def forget(self) -> None:
        """Forget everybody: rings may have been lost."""
        self.hear(EVERYWHERE, Feed.PEOPLE)

    def _fresh(self, known: _Known, clock: float) -> Actor | None:
        """The actor, where it is remembered and nothing of it changed."""
        actor = known.actor
        return actor if actor is not None and clock < known.actor_until and self._holds(known, actor) else None

    def _holds(self, known: _Known, actor: Actor) -> bool:
        """Whether no ring was about the actor since it was looked up. A tenant's end is told with its people's."""
        if known.drops == self._drops:  # nobody rang at all
            return True
        feeds = (Feed.PEOPLE, Feed.AGENTS) if actor.kind is ActorKind.INSTANCE else (Feed.PEOPLE,)
        places = (actor.tenant_id, EVERYWHERE)
        return all(self._dropped.get((place, feed), 0) <= known.drops for place in places for feed in feeds)

    def _keep(self, key: bytes, known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
