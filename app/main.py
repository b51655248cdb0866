"""The ASGI application: what hangs on which path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.audit.export import Exports
from app.auth.authenticate import TENANT_HEADER
from app.gateway import Gateway, open_gateway
from app.http import graphiql
from app.http.health import Health
from app.http.metrics import Metrics
from app.http.request_id import RequestId
from app.jobs.all import JOBS
from app.jobs.loop import Jobs
from app.settings import Settings, load_settings
from app.telemetry.endpoint import OpEvents
from app.telemetry.otlp.endpoint import Traces

if TYPE_CHECKING:
    from app.http.tracing import Tracing

GRAPHQL = "/graphql"


class Application:
    """The whole gateway as one ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._tracing = _tracing(settings.otel_endpoint) if settings.otel_endpoint else None
        self._gateway: Gateway | None = None
        self.health = Health({"database": self._answers, "migrations": self._is_migrated})
        self.exports = Exports(lambda: self.gateway)
        routes = [
            *graphiql.routes(),
            *self.health.routes(),
            *self._metrics.routes(),
            *self.exports.routes(),
            *OpEvents(lambda: self.gateway).routes(),
            *Traces(lambda: self.gateway).routes(),
        ]
        self._others = Starlette(routes=routes, lifespan=self._lifespan)
        app: ASGIApp = self._route
        if self._tracing is not None:
            app = self._tracing.requests(app)
        if settings.allowed_origins:
            app = CORSMiddleware(
                app,
                allow_origins=settings.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", TENANT_HEADER, "X-Request-Id"],
                expose_headers=["Retry-After", "X-Request-Id"],
            )
        self._app = RequestId(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @property
    def gateway(self) -> Gateway:
        """The open gateway; RuntimeError before the application started."""
        if self._gateway is None:
            raise RuntimeError("The application has not started: its lifespan opens the gateway.")
        return self._gateway

    async def drain(self, seconds: float) -> None:
        """Bring streams and sockets to an end, each stream with where it can go on, and say that no new work is
        wanted."""
        self.health.stop()
        if self._gateway is not None:
            self._gateway.live.drain()
            await self._gateway.endpoint.drain(seconds)

    def _route(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Everything goes to one path, so no router stands before it.
        if scope["type"] == "lifespan" or scope["path"].rstrip("/") != GRAPHQL:
            return self._others(scope, receive, send)
        if scope["type"] == "websocket":
            return self.gateway.sockets(scope, receive, send)
        return self.gateway.endpoint(scope, receive, send)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The application open for as long as the block lasts: what a server's lifespan does."""
        async with self._lifespan(self._others):
            yield

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with open_gateway(self._settings, self._metrics, self._tracing) as gateway:
            self._gateway = gateway
            self._metrics.gauge("pool_connections", "Connections to the database.", "state", gateway.pool)
            jobs = Jobs(gateway.database, JOBS) if self._settings.jobs else None
            working = None if jobs is None else asyncio.create_task(jobs.run(), name="jobs")
            figures = gateway.event_writer.figures
            self._metrics.gauge("op_events", "Op events over HTTP: waiting, stored, repeated.", "what", figures)
            notes = gateway.security_notes.figures
            self._metrics.gauge("security_notes", "Refusals for the journal: waiting, written, lost.", "what", notes)
            self._metrics.gauge("sockets", "Open sockets and what runs on them.", "what", self._open_sockets)
            self._metrics.gauge("live", "Subscribers, and what they share.", "what", gateway.live.figures)
            try:
                yield
            finally:
                if working is not None:
                    working.cancel()
                    await asyncio.wait([working])
        self._gateway = None
        if self._tracing is not None:
            self._tracing.close()

    def _open_sockets(self) -> dict[str, float]:
        sockets = self.gateway.sockets
        streams = self.gateway.endpoint.streams
        return {"connections": sockets.connections, "operations": sockets.operations, "http_streams": streams}

    async def _answers(self) -> None:
        await self.gateway.database_answers()

    async def _is_migrated(self) -> None:
        await self.gateway.database_is_migrated()


def _tracing(endpoint: str) -> Tracing:
    """Only who sends traces needs OpenTelemetry, which takes megabytes of each worker."""
    from app.http.tracing import Tracing

    return Tracing.to(endpoint)


def create_app() -> Application:
    """The application of the settings in the environment: what uvicorn runs."""
    return Application(load_settings())
