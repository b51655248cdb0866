"""Groups: subscribers who ask the same and may see the same. What one of them gets, all get, and it is made once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import structlog
from graphql import GraphQLError

from app.auth.actor import Actor
from app.graph.context import OperationContext
from app.graph.errors import Internal, SlowConsumer, masked
from app.graph.execution import Outcome
from app.graph.selection import Selection
from app.http.body import encode
from app.http.streams import Message, Sink
from app.http.tasks import cancelled
from app.live.follower import Follower
from app.outages import is_outage

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.live")

_LONGEST_PAUSE_SECONDS: Final = 2.0

OpenContext: TypeAlias = Callable[[Actor, str], AbstractAsyncContextManager[OperationContext]]


@dataclass(frozen=True, slots=True)
class Asking:
    """What a group asks for, and as whom: any of its members, since all may see the same."""

    selection: Selection
    actor: Actor
    request_id: str
    open_context: OpenContext

    def context(self) -> AbstractAsyncContextManager[OperationContext]:
        """A context for one batch of events: loaders live no longer than that (trap 27)."""
        return self.open_context(self.actor, self.request_id)


class Source(Protocol):
    """What a subscription's arguments ask for, checked."""

    @property
    def after(self) -> int | None:
        """Where to go on from; None for now on."""
        ...

    @property
    def is_personal(self) -> bool:
        """Whether which rows it has depends on who asks, beside their permissions."""
        ...

    def group(self, asking: Asking, follower: Follower) -> Group:
        """A new group of those who ask for it."""
        ...


class Member:
    """One subscriber in a group."""

    __slots__ = ("_left", "actor", "ended", "group", "position", "replaying", "request_id", "sink")

    def __init__(self, group: Group, sink: Sink, actor: Actor, request_id: str, left: Callable[[Member], None]) -> None:
        self.group = group
        self.sink = sink
        self.actor = actor
        self.request_id = request_id
        self.position = 0
        """For logs: all that matters up to this number has been queued for the client."""
        self.replaying: asyncio.Task[None] | None = None
        self.ended = False
        self._left = left
        group.everybody[self] = None

    def push(self, message: Message) -> bool:
        """Queue an event. A client that does not keep up is told, and its stream ends: False."""
        if self.ended:
            return False
        if self.sink.send(message):
            return True
        log.info("slow_consumer", request_id=self.request_id)
        self.end(SlowConsumer(self.group.cursor(self)))
        return False

    def end(self, error: GraphQLError | BaseException, *, final: bool = False) -> None:
        """End the stream with an error, behind what is queued."""
        if not self.ended:
            self.close()
            self.sink.finish([masked(error, self.request_id)], final=final)

    def close(self) -> None:
        """Leave without a word: the client wants no more, or is gone."""
        if self.ended:
            return
        self.ended = True
        if self.replaying is not None:
            self.replaying.cancel()
        self.group.members.pop(self, None)
        self.group.everybody.pop(self, None)
        self._left(self)


class Group(ABC):
    """Subscribers of one document, variables, tenant and set of permissions."""

    def __init__(self, asking: Asking, follower: Follower) -> None:
        self.asking = asking
        self.follower = follower
        self.members: dict[Member, None] = {}
        """Those who get what comes from now on. Whoever is still catching up is not among them."""
        self.everybody: dict[Member, None] = {}
        """Those too who wait for their beginning, or are still catching up."""
        self.failed = False
        """Whether it came to its end by a mistake: nobody hears anything of it any more."""
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- what each kind of group does in its own way ---------------------------------------------------------------

    @abstractmethod
    async def join(self, member: Member, after: int | None) -> None:
        """Let a member in. Raises GraphError where it cannot be."""

    @abstractmethod
    async def step(self) -> None:
        """Do what there is to do. Called again whenever the group was woken, and after an outage."""

    def cursor(self, member: Member) -> str | None:
        """Where a member's stream can go on, if it can."""
        return None

    async def start(self) -> None:
        """Called once, before the first member joins."""
        self.work(self._run())

    # --- what all have in common -----------------------------------------------------------------------------------

    def work(self, working: Coroutine[Any, Any, None]) -> None:
        """Have a task as long as the group lives."""
        self._task = asyncio.create_task(self._guarded(working), name="live-group")

    def wake(self) -> None:
        """There may be something to do."""
        self._wanted.set()

    async def close(self) -> None:
        """Nobody is left."""
        if self._task is not None:
            await cancelled(self._task)

    def deliver(self, messages: Sequence[Message]) -> None:
        """The same bytes to every member, in order."""
        for member in list(self.members):
            for message in messages:
                if not member.push(message):
                    break

    async def messages(self, events: Sequence[Any], cursors: Sequence[str] | None = None) -> list[Message]:
        """The selection of each event, executed once and encoded once. Waits for a database that is away."""
        if not events:
            return []
        outcomes = await self.patiently(lambda: self._outcomes(events))
        return [
            Message(encode(_payload(one, None if cursors is None else cursors[at]))) for at, one in enumerate(outcomes)
        ]

    async def patiently(self, attempt: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Try again for as long as the database is away: who waits for events misses none of them."""
        pause = 0.05
        while True:
            try:
                return await attempt()
            except Exception as error:
                if not is_outage(error):
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _outcomes(self, events: Sequence[Any]) -> list[Outcome]:
        asking = self.asking
        async with asking.context() as context:
            outcomes = await asking.selection.of(events, context, asking.request_id)
        failure = next((one.failure for one in outcomes if is_outage(one.failure)), None)
        if failure is not None:
            raise failure
        return outcomes

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.patiently(self.step)

    async def _guarded(self, working: Coroutine[Any, Any, None]) -> None:
        """A mistake of ours ends the streams; it never leaves them open and silent."""
        try:
            await working
        except Exception:
            log.error("live_group_failed", request_id=self.asking.request_id, exc_info=True)
            self.failed = True
            for member in list(self.everybody):
                member.end(Internal(member.request_id))


def _payload(outcome: Outcome, cursor: str | None) -> dict[str, Any]:
    payload = outcome.payload()
    if cursor is not None:
        payload["extensions"] = {"cursor": cursor}
    return payload
