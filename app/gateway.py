"""What lives as long as the process: pools, keys, the executor, the open sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from graphql import GraphQLError, OperationType

from app.audit.noting import SecurityNotes
from app.auth.actor import Actor, ActorKind
from app.auth.callers import Callers
from app.auth.claims import TokenRejected
from app.auth.setup import open_authenticator
from app.database import find_connections, open_database
from app.graph.context import OperationContext
from app.graph.documents import Operation
from app.graph.errors import RateLimited, Unauthenticated, Unavailable
from app.graph.execution import Executor, Hooks, Report
from app.graph.limits import Limits
from app.graph.rates import Rate
from app.graph.reading import refuse_unreadable
from app.graph.recent import Recent
from app.graph.trusted import Trusted, TrustedUnusable, read_trusted
from app.http.endpoint import GraphQLEndpoint
from app.http.graphiql import page
from app.http.limits import EdgeLimits
from app.http.metrics import Metrics
from app.http.tasks import cancelled
from app.live.doorbell import Doorbell, PostgresLine
from app.live.hub import Live
from app.outages import AWAY, is_outage
from app.query.compiler import Compiler
from app.schema import schema
from app.sealing import open_seal
from app.settings import DoorbellKind, Settings, SettingsError
from app.telemetry.writing import EventWriter
from db.pool import OF_THE_DATABASE
from db.session import Database, Reading
from db.version import current_version, head_version

if TYPE_CHECKING:
    from app.http.tracing import Tracing


class NotMigrated(Exception):
    """The database lacks versions that this code needs."""


class Gateway:
    """The open gateway. `open_gateway` makes it."""

    def __init__(
        self, settings: Settings, database: Database, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self.database = database
        self.metrics = metrics
        self.event_writer = EventWriter(
            database, most_waiting=settings.most_waiting_events, at_once=max(1, settings.pool_size // 2)
        )
        self.security_notes = SecurityNotes(database)
        self.authenticator = open_authenticator(settings, database, self.security_notes)
        self.callers = Callers(self.authenticator)
        self._seal = open_seal(settings)
        self._rates = {
            OperationType.QUERY: Rate(settings.queries_per_second),
            OperationType.MUTATION: Rate(settings.mutations_per_second),
        }
        self._recent = Recent()
        hooks = Hooks(self._admit, self._observe, *([tracing.operation] if tracing else []))
        shortcut = Compiler(schema()._schema) if settings.compiled_queries else None
        self.executor = Executor(schema(), _operation_limits(settings), hooks, shortcut, _trusted(settings))
        self.live = Live(
            database,
            self.executor,
            self.live_operation,
            self.authenticator.renew,
            refuse_unreadable,
            settings.streams_per_caller,
        )
        self.endpoint = GraphQLEndpoint(
            self.executor,
            self.callers.authenticate,
            self.operation,
            _edge_limits(settings),
            page,
            self.live,
            self.renew,
        )
        self.sockets = self.endpoint.sockets

    def _admit(self, operation: Operation, context: OperationContext) -> Sequence[GraphQLError]:
        """Whether an operation may run: first how often its caller asks, then what it reads."""
        rate = self._rates.get(operation.kind)
        if rate is not None:
            try:
                rate.take(context.actor.principal)
            except RateLimited as limited:
                self.security_notes.limited(context.actor)
                return [limited]
        refusals = refuse_unreadable(operation, context)
        if refusals:
            self.security_notes.denied(context.actor, refusals)
        return refusals

    def _observe(self, report: Report) -> None:
        self.metrics.observe(report)
        self._recent.observe(report)

    @property
    def authenticate(self) -> Callable[[str | None, str | None], Awaitable[Actor]]:
        """From the Authorization header and the tenant's header to the caller."""
        return self.callers.authenticate

    def operation(self, actor: Actor, request_id: str) -> AbstractAsyncContextManager[OperationContext]:
        """The context of one operation: a snapshot of the caller's tenant, given back at the end."""
        return _Opened(
            OperationContext(
                actor,
                Reading(self.database, actor),
                request_id,
                self.metrics.loader_batch,
                self.instance_token,
                self._seal,
                self._recent,
            )
        )

    @asynccontextmanager
    async def live_operation(self, actor: Actor, request_id: str) -> AsyncIterator[OperationContext]:
        """The context of one batch of events: of the primary, since a replica may not have yet what they tell of."""
        async with self.database.read(actor, primary=True) as reading:
            yield OperationContext(actor, reading, request_id, self.metrics.loader_batch)

    async def renew(self, actor: Actor) -> Actor:
        """The caller of an open connection, as the database has them now. Raises Unauthenticated, and
        Unavailable while the database is away."""
        try:
            return await self.authenticator.renew(actor)
        except TokenRejected:
            raise Unauthenticated("This caller may not come in any more.") from None
        except OF_THE_DATABASE as error:
            if is_outage(error):
                raise Unavailable(AWAY) from error
            raise

    def instance_token(self, actor: Actor, instance_id: str, epoch: int) -> str | None:
        """A token for an agent of the caller's tenant; None where the gateway has no key to sign with."""
        tokens = self.authenticator.local
        if tokens is None:
            return None
        return tokens.issue(ActorKind.INSTANCE, instance_id, tenant=actor.tenant_slug, epoch=epoch)

    async def database_answers(self) -> None:
        """Raise unless the database does."""
        await self.database.fetch_one("SELECT 1")

    async def database_is_migrated(self) -> None:
        """Raise unless the database has the version that this code was written for."""
        found, needed = await current_version(self.database.fetch_one), head_version()
        if found != needed:
            raise NotMigrated(f"The database has version {found}, {needed} is needed. Run `fleetgraph migrate`.")

    def pool(self) -> dict[str, float]:
        """Connections of the pool for requests, by state."""
        pool, others = self.database.engine.pool, self.database.tenant_pools
        in_use, idle = pool.checkedout(), pool.checkedin()  # type: ignore[attr-defined]
        return {
            "in_use": in_use + sum(one.in_use for one in others),
            "idle": idle + sum(one.idle for one in others),
        }


class _Opened(AbstractAsyncContextManager[OperationContext]):
    """A context for as long as the block lasts; a generator would cost more than what it opens."""

    __slots__ = ("_context",)

    def __init__(self, context: OperationContext) -> None:
        self._context = context

    async def __aenter__(self) -> OperationContext:
        return self._context

    async def __aexit__(self, *_raised: object) -> None:
        await self._context.reading.close()


@asynccontextmanager
async def open_gateway(settings: Settings, metrics: Metrics, tracing: Tracing | None = None) -> AsyncIterator[Gateway]:
    """A gateway that is ready to answer; closed with everything it holds at the end.

    Raises DatabaseSetupError, SettingsError or KeyUnusable where the settings do not make one.
    """
    database = open_database(settings, await find_connections(settings))
    try:
        doorbell = open_doorbell(settings, database)
        database.bell = doorbell
        gateway = Gateway(settings, database, metrics, tracing)
        doorbell.listen(gateway.callers.hear, gateway.callers.forget)
        doorbell.listen(gateway.live.ring, gateway.live.restored)
        listening = asyncio.create_task(doorbell.run(), name="doorbell")
        looking = asyncio.create_task(gateway.live.run(), name="live")
        try:
            yield gateway
        finally:
            await gateway.event_writer.close()
            await cancelled(listening, looking)
            await gateway.live.close()
            await gateway.authenticator.close()
            await gateway.security_notes.close()
    finally:
        await database.close()


def open_doorbell(settings: Settings, database: Database) -> Doorbell:
    """The bell of this gateway, with the line to the others that the settings ask for."""
    if settings.doorbell is DoorbellKind.NATS and settings.nats_url is not None:
        from app.live.nats_line import NatsLine

        return Doorbell(NatsLine(settings.nats_url))
    return Doorbell(PostgresLine(database.connections.gateway))


def _trusted(settings: Settings) -> Trusted | None:
    """Raises SettingsError where the file cannot be used."""
    if settings.trusted_documents is None:
        return None
    try:
        return read_trusted(settings.trusted_documents, alone=settings.trusted_documents_only)
    except TrustedUnusable as error:
        raise SettingsError(f"FLEETGRAPH_TRUSTED_DOCUMENTS: {error}") from None


def _operation_limits(settings: Settings) -> Limits:
    return Limits(
        max_tokens=settings.max_tokens,
        max_depth=settings.max_depth,
        max_aliases=settings.max_aliases,
        max_directives=settings.max_directives,
        max_cost=settings.max_cost,
        timeout=settings.request_timeout_seconds,
    )


def _edge_limits(settings: Settings) -> EdgeLimits:
    return EdgeLimits(
        max_body_bytes=settings.max_body_bytes,
        compress_over_bytes=settings.compress_over_bytes,
        max_batch=settings.max_batch,
        ws_init_timeout_seconds=settings.ws_init_timeout_seconds,
        ws_max_message_bytes=settings.ws_max_message_bytes,
        ws_max_connections=settings.ws_max_connections,
        ws_max_operations=settings.ws_max_operations,
        connections_per_caller=settings.connections_per_caller,
        queue_messages=settings.stream_queue_messages,
        queue_bytes=settings.stream_queue_bytes,
        heartbeat_seconds=settings.stream_heartbeat_seconds,
    )
