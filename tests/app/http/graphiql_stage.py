"""A gateway in small for the tests of the page alone: the words of the real schema, a handful of rows, two tokens.

The page's tests against the whole gateway and the demo fleet are in `test_graphiql_demo.py`; what is here can be bent
to ask what the real one cannot be asked in a test (a token that dies while the page is open, a tenant by header).
"""

from __future__ import annotations

import asyncio
import enum
import socket
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import strawberry
import uvicorn
from graphql import GraphQLError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from strawberry.asgi import GraphQL
from strawberry.types.unset import UnsetType

from app.http import graphiql
from app.http.negotiation import RESPONSES, Media, negotiate
from app.http.request_id import RequestId

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
MANY_TENANTS_TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYW55In0.c2lnbmF0dXJl"
AGENT_TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJl"


@strawberry.enum
class ViewerKind(enum.Enum):
    OPERATOR = "operator"
    INSTANCE = "instance"


@strawberry.type
class Tenant:
    name: str


@strawberry.type
class Viewer:
    kind: ViewerKind
    name: str
    token_expires_at: datetime
    slug: strawberry.Private[str]
    emergency_mode: str

    @strawberry.field
    def tenant(self) -> Tenant:
        # The real gateway refuses the whole operation; null all the way up to `data` comes to the same for the page.
        if self.kind is ViewerKind.INSTANCE:
            raise GraphQLError("You need read:tenants.", extensions={"code": "FORBIDDEN"})
        return Tenant(name=self.slug.title())


@strawberry.type
class Run:
    id: strawberry.ID
    cost_usd: float


@strawberry.type
class Query:
    @strawberry.field
    def viewer(self, info: strawberry.Info) -> Viewer:
        request: Request = info.context["request"]
        agent = AGENT_TOKEN in request.headers["authorization"]
        slug = request.headers.get("fleetgraph-tenant", "northwind")
        return Viewer(
            kind=ViewerKind.INSTANCE if agent else ViewerKind.OPERATOR,
            name="scribe-01" if agent else "Ada Lovelace",
            token_expires_at=datetime.now(UTC) + timedelta(hours=1),
            slug=slug,
            emergency_mode="NORMAL" if slug == "northwind" else "DRAINING",
        )

    @strawberry.field
    def runs(
        self, first: Annotated[int, strawberry.argument(description="How many of the runs, newest first.")] = 50
    ) -> list[Run]:
        return [Run(id=strawberry.ID(f"run_{number:032x}"), cost_usd=number / 8) for number in range(first)]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def run_ended(self) -> AsyncGenerator[Run, None]:
        for number in range(3):
            await asyncio.sleep(0.01)
            yield Run(id=strawberry.ID(f"run_live_{number}"), cost_usd=1.0)
        await asyncio.sleep(3600)  # a stream that ends only when its reader goes


class Stage:
    """The ASGI application, and what a test may see of it and change about it."""

    def __init__(self) -> None:
        self.good_tokens = {TOKEN, MANY_TENANTS_TOKEN, AGENT_TOKEN}
        self.connection_params: list[object] = []
        self.subscriptions = 0
        self._graphql = _Api(self)
        routes: list[BaseRoute] = [*graphiql.routes(), Route("/graphql", _Door(self))]
        self.app = RequestId(Starlette(routes=routes))
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target: ASGIApp = self._graphql if scope["type"] == "websocket" else self.app
        await target(scope, receive, send)


class _Api(GraphQL[object, None]):
    def __init__(self, stage: Stage) -> None:
        super().__init__(strawberry.Schema(Query, subscription=Subscription), graphql_ide=None)
        self._stage = stage

    async def on_ws_connect(self, context: Any) -> UnsetType | dict[str, object] | None:
        self._stage.connection_params.append(context.get("connection_params"))
        return await super().on_ws_connect(context)


class _Door:
    """The HTTP side: the page for browsers, 401 without a good token, GraphQL else."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: Response
        if negotiate(request.headers.get("accept"), (*RESPONSES, Media.HTML)) is Media.HTML:
            response = await graphiql.page(request)
        elif request.headers.get("authorization", "").removeprefix("Bearer ") not in self._stage.good_tokens:
            error = {"message": "The token is not good any more.", "extensions": {"code": "UNAUTHENTICATED"}}
            response = JSONResponse({"errors": [error]}, 401)
        else:
            await self._stage._graphql(scope, receive, send)
            return
        await response(scope, receive, send)


@contextmanager
def serving(application: ASGIApp) -> Iterator[str]:
    """Serve an application by a real uvicorn on a free port of the loopback; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline, "uvicorn did not start within 30 seconds"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
