"""`/graphql`: queries and mutations over HTTP as the GraphQL over HTTP specification has them, and the way to the rest.

POST with JSON, GET for queries, GraphiQL for a browser that asks for HTML, WebSocket for subscriptions. One place reads
requests and one writes answers, so that each status, each media type and each refusal is decided once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import OperationType
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from app.graph.documents import Refused
from app.graph.errors import (
    BadUserInput,
    GraphError,
    OperationTooComplex,
    RateLimited,
    Unauthenticated,
    ValidationFailed,
    masked,
)
from app.graph.execution import Executor, GraphQLRequest, Outcome
from app.http.body import (
    ClientGone,
    HttpRefusal,
    decode_query,
    decode_request,
    encode,
    read_body,
    require_json,
)
from app.http.caller import TENANT_HEADER, Authenticate, Caller, OpenContextFor
from app.http.limits import EdgeLimits
from app.http.negotiation import RESPONSES, STATUS, Media, negotiate, retry_after, status_of
from app.http.request_id import request_id
from app.http.tasks import cancelled
from app.http.websocket import Sockets

Page: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, ready but for the headers that all have."""

    status: int
    media: Media
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class GraphQLEndpoint:
    """The ASGI application of `/graphql`."""

    def __init__(
        self,
        executor: Executor,
        authenticate: Authenticate,
        context_factory: OpenContextFor,
        limits: EdgeLimits | None = None,
        page: Page | None = None,
    ) -> None:
        self._executor = executor
        self._authenticate = authenticate
        self._open_context = context_factory
        self._limits = limits or EdgeLimits()
        self._page = page
        self.sockets = Sockets(executor, authenticate, context_factory, self._limits)

    def routes(self, path: str = "/graphql") -> list[BaseRoute]:
        """The one path, for HTTP and for sockets."""
        return [Route(path, self), WebSocketRoute(path, self)]

    async def drain(self, seconds: float) -> None:
        """Come to an end with what is open, before the server closes it: see `Sockets.drain`."""
        await self.sockets.drain(seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.sockets(scope, receive, send)
            return
        headers = Headers(scope=scope)
        media = negotiate(headers.get("accept"), self._offers(scope["method"]))
        if media is Media.HTML and self._page is not None:
            response = await self._page(Request(scope, receive))
            await response(scope, receive, send)
            return
        identity = request_id(scope)
        try:
            reply = await self._answer(scope, headers, receive, media)
        except ClientGone:
            return
        except HttpRefusal as refusal:
            reply = _refusal(refusal, media or Media.JSON)
        except Exception as error:
            reply = _fault(error, media or Media.JSON, identity)
        await _send(reply, send)

    def _offers(self, method: str) -> Sequence[Media]:
        return (*RESPONSES, Media.HTML) if method == "GET" and self._page is not None else RESPONSES

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, media: Media | None) -> Reply:
        if scope["method"] not in ("GET", "POST"):
            error = BadUserInput("Send the operation with POST, or a query with GET.")
            raise HttpRefusal(405, error, {"Allow": "GET, POST"})
        if media is None:
            types = " or ".join(RESPONSES)
            raise HttpRefusal(406, BadUserInput(f"Answers are {types}. Accept one of them.", "Accept"))
        if scope["method"] == "POST":
            require_json(headers)
        caller = await self._caller(headers)
        if scope["method"] == "GET":
            request: GraphQLRequest | list[GraphQLRequest] = decode_query(scope["query_string"])
        else:
            request = decode_request(await read_body(headers, receive, self._limits.max_body_bytes))
        working = self._respond(request, scope["method"], media, caller, request_id(scope))
        return await _unless_gone(working, receive)

    async def _caller(self, headers: Headers) -> Caller:
        authorization = headers.get("authorization")
        try:
            return await self._authenticate(authorization, headers.get(TENANT_HEADER))
        except Unauthenticated as error:
            # RFC 6750, 3.1: an error is named only where a token was sent.
            challenge = 'Bearer error="invalid_token"' if authorization else "Bearer"
            raise HttpRefusal(401, error, {"WWW-Authenticate": challenge}) from None
        except RateLimited as error:
            after = retry_after(Outcome([masked(error, "")]))
            raise HttpRefusal(429, error, {"Retry-After": str(after)}) from None
        except GraphError as error:
            raise HttpRefusal(STATUS[error.code], error) from None

    async def _respond(
        self,
        request: GraphQLRequest | list[GraphQLRequest],
        method: str,
        media: Media,
        caller: Caller,
        identity: str,
    ) -> Reply:
        if isinstance(request, GraphQLRequest):
            outcome = await self._execute(request, method, caller, identity)
            after = retry_after(outcome)
            headers = {} if after is None else {"Retry-After": str(after)}
            return Reply(status_of(outcome, media), media, encode(outcome.payload()), headers)
        self._check_batch(len(request))
        # One after the other: a batch is one caller's, and must not take more than one caller's share at once.
        outcomes = [
            await self._execute(member, method, caller, f"{identity}.{number}")
            for number, member in enumerate(request, 1)
        ]
        return Reply(200, media, encode([outcome.payload() for outcome in outcomes]))

    def _check_batch(self, count: int) -> None:
        limit = self._limits.max_batch
        if limit <= 1:
            raise HttpRefusal(400, BadUserInput("Send one operation, as a JSON object: batches are off here."))
        if count == 0:
            raise HttpRefusal(400, BadUserInput("The batch is empty."))
        if count > limit:
            message = f"The batch has {count} operations; at most {limit} are allowed."
            raise HttpRefusal(400, OperationTooComplex(count, limit, "batch", message))

    async def _execute(self, request: GraphQLRequest, method: str, caller: Caller, identity: str) -> Outcome:
        try:
            operation = self._executor.prepare(request)
        except Refused as refused:
            outcome = self._executor.refusal(refused, identity)
            if refused.malformed and isinstance(refused.errors[0], GraphError):
                raise HttpRefusal(400, refused.errors[0]) from None
            return outcome
        if operation.kind is OperationType.SUBSCRIPTION:
            message = "Subscriptions run over a WebSocket to this same path, with the protocol graphql-transport-ws."
            raise HttpRefusal(406, ValidationFailed(message, nodes=operation.node))
        if operation.kind is OperationType.MUTATION and method != "POST":
            error = ValidationFailed("Send mutations with POST; GET is for queries.", nodes=operation.node)
            raise HttpRefusal(405, error, {"Allow": "POST"})
        async with self._open_context(caller, identity) as context:
            return await self._executor.run(operation, request.variables, context, identity)


async def _unless_gone(working: Coroutine[Any, Any, Reply], receive: Receive) -> Reply:
    """Await the work; if the client hangs up first, cancel it and raise `ClientGone`."""
    work = asyncio.create_task(working)
    gone = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientGone
        return work.result()
    finally:
        await cancelled(work, gone)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refusal(refusal: HttpRefusal, media: Media) -> Reply:
    body = encode({"errors": [masked(refusal.error, "")]})
    return Reply(refusal.status, media, body, refusal.headers)


def _fault(error: Exception, media: Media, identity: str) -> Reply:
    formatted = masked(error, identity)
    return Reply(STATUS[formatted["extensions"]["code"]], media, encode({"errors": [formatted]}))


async def _send(reply: Reply, send: Send) -> None:
    headers = {
        "Content-Type": f"{reply.media.value}; charset=utf-8",
        "Content-Length": str(len(reply.body)),
        # The same address answers in several types, and to each caller differently.
        "Vary": "Accept, Authorization",
        **reply.headers,
    }
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.body})
