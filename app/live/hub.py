"""The live data of one gateway: who listens to what, in which group, and whether they still may."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import orjson
import structlog
from graphql import GraphQLError

from app.auth.actor import Actor, ActorKind
from app.auth.claims import TokenRejected
from app.graph.context import OperationContext
from app.graph.documents import Operation, Refused
from app.graph.errors import ErrorCode, Forbidden, Internal, RateLimited, StreamInterrupted, Unauthenticated
from app.graph.execution import Executor
from app.graph.selection import Selection, select
from app.http.streams import Sink
from app.http.tasks import cancelled
from app.live.field import LiveField
from app.live.follower import Follower
from app.live.group import Asking, Group, Member, OpenContext
from app.live.keys import caller_key, group_key
from app.live.tails import Changed
from app.outages import AWAY, is_outage
from db.bell import Feed
from db.futures import shared
from db.models import AgentInstance, Operator, Role, RoleAssignment, Tenant
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.live")

LOOK_SECONDS: Final = 1.0
"""How often the gateway looks by itself, for rings that were lost and tokens that came to their end."""
IDLE_SECONDS: Final = 60.0
"""How long a tenant is followed after its last listener left: they come back."""

_HEADS: Final = """
    SELECT coalesce(jsonb_agg(jsonb_build_array(tenant_id, event_seq, change_seq, rows_changed)), '[]') AS found
    FROM gateway.heads($1, $2)
"""
_ACCESS_TABLES: Final = frozenset(model.__tablename__ for model in (Role, RoleAssignment, Tenant))
_PEOPLE_TABLES: Final = {
    Operator.__tablename__: ActorKind.OPERATOR,
    AgentInstance.__tablename__: ActorKind.INSTANCE,
}

Renew: TypeAlias = Callable[[Actor], Awaitable[Actor]]
"""The same caller as the database has them now. Raises TokenRejected or Unauthenticated."""
Refuse: TypeAlias = Callable[[Operation, OperationContext], Sequence[GraphQLError]]


@dataclass(eq=False)
class _Watched:
    """A caller with streams that are open: looked at again whenever their rights may have changed."""

    actor: Actor
    members: set[Member] = field(default_factory=set)
    doubtful: bool = False


@dataclass(eq=False)
class _Slot:
    """A group with how many use it, those counted too who wait for it to start. It is closed with the last."""

    starting: asyncio.Task[Group]
    users: int = 0


class Live:
    """Subscribers of this process."""

    def __init__(
        self,
        database: Database,
        executor: Executor,
        open_context: OpenContext,
        renew: Renew,
        refuse: Refuse,
        streams_per_caller: int = 1_000,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._database = database
        self._executor = executor
        self._open_context = open_context
        self._renew = renew
        self._refuse = refuse
        self._streams_per_caller = streams_per_caller
        self._look_seconds = look_seconds
        self._followers: dict[UUID, tuple[Follower, asyncio.Task[None]]] = {}
        self._opening: dict[UUID, asyncio.Task[Follower]] = {}
        self._groups: dict[Hashable, _Slot] = {}
        self._callers: dict[Hashable, _Watched] = {}
        self._streams: Counter[bytes] = Counter()
        self._closing: set[asyncio.Task[None]] = set()
        self._doubts = asyncio.Event()
        self._draining = False

    # --- listening to the bell -------------------------------------------------------------------------------------

    def ring(self, tenant_id: UUID, feed: Feed, seq: int | None) -> None:
        """The doorbell rang."""
        found = self._followers.get(tenant_id)
        if found is not None:
            found[0].ring(feed, seq)

    def restored(self) -> None:
        """The line to the other gateways is back; what they rang meanwhile is unknown."""
        for follower, _ in self._followers.values():
            for feed in Feed:
                follower.ring(feed, None)

    async def run(self) -> None:
        """Look by itself every second, until cancelled."""
        doubting = asyncio.create_task(self._settle_doubts(), name="live-doubts")
        try:
            while True:
                await asyncio.sleep(self._look_seconds)
                try:
                    self._end_expired()
                    self._let_go()
                    await self._compare()
                except Exception as error:
                    log.warning("live_poll_failed", error=type(error).__name__)
        finally:
            await cancelled(doubting)

    async def close(self) -> None:
        """Stop everything; streams that are open are not told (`drain` tells them)."""
        for key in list(self._groups):
            self._close(key)
        if self._closing:
            await asyncio.wait(self._closing)
        await cancelled(*self._closing, *self._opening.values(), *(task for _, task in self._followers.values()))
        self._followers.clear()

    def drain(self) -> None:
        """The gateway stops: every stream ends with where it can go on, and none begins."""
        self._draining = True
        for watched in list(self._callers.values()):
            for member in list(watched.members):
                member.end(self._stopping(member.group.cursor(member)))

    def figures(self) -> dict[str, float]:
        """For metrics."""
        return {
            "subscribers": sum(self._streams.values()),
            "groups": len(self._groups),
            "tenants": len(self._followers),
        }

    @staticmethod
    def _stopping(cursor: str | None) -> StreamInterrupted:
        return StreamInterrupted("The gateway is stopping.", cursor)

    # --- subscribing -----------------------------------------------------------------------------------------------

    async def subscribe(
        self, operation: Operation, variables: Mapping[str, Any] | None, caller: Actor, request_id: str, sink: Sink
    ) -> Member:
        """Begin a subscription. Raises Refused where it cannot begin."""
        try:
            return await self._subscribe(operation, variables, caller, request_id, sink)
        except GraphQLError as error:
            raise Refused([error], ErrorCode.BAD_USER_INPUT) from None

    async def _subscribe(
        self, operation: Operation, variables: Mapping[str, Any] | None, actor: Actor, request_id: str, sink: Sink
    ) -> Member:
        if self._draining:
            raise self._stopping(None)
        principal = actor.principal
        if self._streams[principal] >= self._streams_per_caller:
            limit = self._streams_per_caller
            raise RateLimited(1, f"{limit} streams of this caller are open; end one of them first.")
        self._streams[principal] += 1
        member: Member | None = None
        after: int | None = None
        try:
            async with self._open_context(actor, request_id) as context:
                selection = select(self._executor, operation, variables, context)
            source = _live_field(selection).open(actor, selection.arguments)
            after = source.after
            asking = Asking(selection, actor, request_id, self._open_context)
            follower = await self._follower(actor.tenant_id)
            key = group_key(selection, actor, source.is_personal)
            slot = self._slot(key, lambda: source.group(asking, follower))
            slot.users += 1
            try:
                group = await asyncio.shield(slot.starting)
            except BaseException:
                self._release(key, slot)
                raise
            member = Member(group, sink, actor, request_id, lambda left: self._left(left, key, slot))
            self._watch(member)
            if group.failed:  # between its start and now
                raise Internal(request_id)
            await group.join(member, after)
            return member
        except BaseException as error:
            if member is not None:
                member.close()  # which gives its place back
            else:
                self._give_back(principal)
            if isinstance(error, Exception) and not isinstance(error, GraphQLError) and is_outage(error):
                log.warning("live_subscribe_failed", request_id=request_id, error=type(error).__name__)
                raise StreamInterrupted(AWAY, None if after is None else str(after)) from error
            raise

    async def _follower(self, tenant_id: UUID) -> Follower:
        found = self._followers.get(tenant_id)
        if found is not None:
            return found[0]
        opening = self._opening.get(tenant_id)
        if opening is None:
            opening = self._opening[tenant_id] = asyncio.create_task(self._follow(tenant_id))
            opening.add_done_callback(lambda _done: self._opening.pop(tenant_id, None))
        return await shared(opening)

    async def _follow(self, tenant_id: UUID) -> Follower:
        follower = Follower(self._database, tenant_id)
        await follower.rows.start()
        follower.watch(lambda changed: self._doubt(tenant_id, changed), lambda: self._doubt(tenant_id, None))
        self._followers[tenant_id] = follower, asyncio.create_task(follower.run(), name="live-follower")
        follower.ring(Feed.ROWS, None)
        return follower

    def _slot(self, key: Hashable, make: Callable[[], Group]) -> _Slot:
        slot = self._groups.get(key)
        if slot is None:
            slot = self._groups[key] = _Slot(asyncio.create_task(self._start(make()), name="live-start"))
        return slot

    @staticmethod
    async def _start(group: Group) -> Group:
        try:
            await group.start()
        except BaseException:
            await group.close()
            raise
        return group

    def _release(self, key: Hashable, slot: _Slot) -> None:
        slot.users -= 1
        if not slot.users and self._groups.get(key) is slot:
            self._close(key)

    def _close(self, key: Hashable) -> None:
        closing = asyncio.create_task(_end_of(self._groups.pop(key)), name="live-close")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _left(self, member: Member, key: Hashable, slot: _Slot) -> None:
        self._give_back(member.actor.principal)
        caller = caller_key(member.actor)
        watched = self._callers.get(caller)
        if watched is not None:
            watched.members.discard(member)
            if not watched.members:
                del self._callers[caller]
        member.group.follower.idle_since = time.monotonic()
        self._release(key, slot)

    def _give_back(self, principal: bytes) -> None:
        self._streams[principal] -= 1
        if not self._streams[principal]:
            del self._streams[principal]

    # --- who still may ---------------------------------------------------------------------------------------------

    def _watch(self, member: Member) -> None:
        watched = self._callers.setdefault(caller_key(member.actor), _Watched(member.actor))
        watched.members.add(member)

    def _doubt(self, tenant_id: UUID, changed: Sequence[Changed] | None) -> None:
        """Rows changed that rights come from; None where they may have."""
        everybody = changed is None or any(one.table in _ACCESS_TABLES for one in changed)
        people = {(_PEOPLE_TABLES[one.table], one.row_id) for one in changed or () if one.table in _PEOPLE_TABLES}
        if not everybody and not people:
            return
        for watched in self._callers.values():
            actor = watched.actor
            if actor.tenant_id == tenant_id and (everybody or (actor.kind, actor.id) in people):
                watched.doubtful = True
                self._doubts.set()

    def _end_expired(self) -> None:
        now = datetime.now(UTC)
        for watched in list(self._callers.values()):
            actor = watched.actor
            if actor.token_expires_at <= now:
                _end(watched, lambda cursor: Unauthenticated("The token has expired.", cursor=cursor))
            elif actor.grants_change_at is not None and actor.grants_change_at <= now:
                watched.doubtful = True
                self._doubts.set()

    async def _settle_doubts(self) -> None:
        while True:
            await self._doubts.wait()
            self._doubts.clear()
            for watched in [one for one in self._callers.values() if one.doubtful]:
                watched.doubtful = False
                try:
                    await self._look_again(watched)
                except Exception as error:
                    log.warning("live_renewal_failed", error=type(error).__name__)
                    watched.doubtful = True
                    asyncio.get_running_loop().call_later(0.25, self._doubts.set)

    async def _look_again(self, watched: _Watched) -> None:
        before = watched.actor
        try:
            now = await self._renew(before)
        except (TokenRejected, Unauthenticated) as rejected:
            log.info("live_caller_rejected", reason=str(rejected))
            _end(watched, lambda cursor: Unauthenticated("This caller may not come in any more.", cursor=cursor))
            return
        watched.actor = now
        if now.permissions == before.permissions:
            return
        for member in list(watched.members):
            cursor = member.group.cursor(member)
            permission = await self._lacks(member, now)
            if permission is not None:
                member.end(Forbidden(permission, cursor=cursor))
            else:
                member.end(StreamInterrupted("What this caller may see has changed.", cursor))

    async def _lacks(self, member: Member, actor: Actor) -> str | None:
        """The permission that a caller lacks now for what a member asks for, or None."""
        selection = member.group.asking.selection
        try:
            async with self._open_context(actor, member.request_id) as context:
                for refusal in self._refuse(selection.operation, context):
                    raise refusal
            _live_field(selection).open(actor, selection.arguments)
        except Forbidden as error:
            return str((error.extensions or {})["permission"])
        return None

    # --- looking by itself -----------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        """Where the feeds of all tenants stand that are followed, against what has been read: one statement."""
        followers = {tenant_id: follower for tenant_id, (follower, _) in self._followers.items()}
        if not followers:
            return
        row = await self._database.fetch_one(
            _HEADS, list(followers), [follower.rows.snapshot for follower in followers.values()]
        )
        found = row["found"] if row is not None else "[]"
        for tenant, events, changes, rows_changed in orjson.loads(found) if isinstance(found, str) else found:
            follower = followers[UUID(tenant)]
            follower.ring(Feed.EVENTS, events)
            follower.ring(Feed.CHANGES, changes)
            if rows_changed:
                follower.ring(Feed.ROWS, None)

    def _let_go(self) -> None:
        """Follow no tenant, and no log, that nobody has listened to for a while."""
        busy = {watched.actor.tenant_id for watched in self._callers.values()}
        for tenant_id, (follower, task) in list(self._followers.items()):
            if tenant_id in busy:
                follower.idle_since = time.monotonic()
                follower.stop_idle_logs(IDLE_SECONDS)
            elif time.monotonic() - follower.idle_since > IDLE_SECONDS:
                del self._followers[tenant_id]
                task.cancel()
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)


def _end(watched: _Watched, error: Callable[[str | None], GraphQLError]) -> None:
    for member in list(watched.members):
        member.end(error(member.group.cursor(member)), final=True)


async def _end_of(slot: _Slot) -> None:
    # One that waits for a database that is away would wait for as long.
    await cancelled(slot.starting)
    if not slot.starting.cancelled() and slot.starting.exception() is None:
        await slot.starting.result().close()


def _live_field(selection: Selection) -> LiveField:
    field = selection.field.extensions["strawberry-definition"]
    if not isinstance(field, LiveField):
        raise TypeError(f"{selection.node.name.value} is no live field")
    return field
