"""`/graphql`: queries and mutations over HTTP as the GraphQL over HTTP specification has them, and the way to the rest.

POST with JSON, GET for queries, GraphiQL for a browser that asks for HTML; for subscriptions WebSocket, server-sent
events and multipart. One place reads requests and one writes answers, so that each status, each media type and each
refusal is decided once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
import msgspec.structs
from graphql import OperationType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from app.graph.documents import Operation, Refused
from app.graph.errors import (
    BadUserInput,
    GraphError,
    OperationTooComplex,
    RateLimited,
    Unauthenticated,
    Unavailable,
    ValidationFailed,
    masked,
)
from app.graph.execution import Executor, Later, Outcome, at_once
from app.graph.request import GraphQLRequest, Question
from app.http.body import (
    ClientGone,
    HttpRefusal,
    Requests,
    decode_query,
    decode_request,
    encode,
    read_body,
    require_json,
)
from app.http.caller import TENANT_HEADER, Authenticate, Caller, OpenContextFor, Renew
from app.http.connections import Connections
from app.http.encoding import compressed, preferred
from app.http.headers import RequestHeaders, request_headers
from app.http.limits import EdgeLimits
from app.http.negotiation import RESPONSES, STATUS, Media, negotiate, negotiate_stream, retry_after, status_of
from app.http.repeated import Repeated
from app.http.request_id import LATER, WHOLE, Answer, request_id
from app.http.sockets import Sockets
from app.http.streaming import stream, until_gone
from app.http.streams import Message, Outbox, SourceStreams, Stream, Streams
from app.http.tasks import cancelled
from app.http.watching import GONE, unless_gone

Page: TypeAlias = Callable[[Request], Awaitable[Response]]

_TENANT: Final = TENANT_HEADER.lower().encode()


class Reply(msgspec.Struct, frozen=True):
    """An answer, ready but for the headers that all have."""

    status: int
    media: Media
    body: bytes
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Streamed:
    """An answer that is a stream: of a subscription, or of one result."""

    media: Media
    request: GraphQLRequest
    caller: Caller
    operation: Operation | None
    refused: Refused | None = None


class _Asked(msgspec.Struct, frozen=True):
    """How a request came, and from whom."""

    method: str
    caller: Caller
    identity: str
    later: Later
    body: bytes
    """What it came as, where it was a POST."""


class GraphQLEndpoint:
    """The ASGI application of `/graphql`."""

    def __init__(
        self,
        executor: Executor,
        authenticate: Authenticate,
        context_factory: OpenContextFor,
        limits: EdgeLimits | None = None,
        page: Page | None = None,
        streams: Streams | None = None,
        renew: Renew | None = None,
    ) -> None:
        """`streams` fills subscriptions; without it the schema's own async generators do. `renew` looks at the caller
        of a socket again, before each operation."""
        self._executor = executor
        self._authenticate = authenticate
        self._open_context = context_factory
        self._limits = limits or EdgeLimits()
        self._page = page
        self._page_offers = RESPONSES if page is None else (*RESPONSES, Media.HTML)
        self._streams = streams or SourceStreams(executor, context_factory)
        self._open: set[asyncio.Task[Any]] = set()
        self.repeated: Final = Repeated(executor.keeps)
        self._connections = Connections(self._limits.connections_per_caller)
        self.sockets = Sockets(
            executor, authenticate, context_factory, self._streams, self._connections, self._limits, renew
        )

    def routes(self, path: str = "/graphql") -> list[BaseRoute]:
        """The one path, for HTTP and for sockets."""
        return [Route(path, self), WebSocketRoute(path, self)]

    @property
    def streams(self) -> int:
        """Streams over HTTP that are open."""
        return len(self._open)

    async def drain(self, seconds: float) -> None:
        """Come to an end with what is open, before the server closes it: see `Sockets.drain`. Streams over HTTP end
        by themselves, once whoever fills them has ended them."""
        until = time.monotonic() + seconds
        await self.sockets.drain(seconds)
        if self._open:
            await asyncio.wait(self._open, timeout=max(0.0, until - time.monotonic()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.sockets(scope, receive, send)
            return
        headers = request_headers(scope)
        media = negotiate(headers.get(b"accept"), self._page_offers if scope["method"] == "GET" else RESPONSES)
        if media is Media.HTML and self._page is not None:
            response = await self._page(Request(scope, receive))
            await response(scope, receive, send)
            return
        identity = request_id(scope)
        try:
            reply = await self._answer(scope, headers, receive, media, identity)
            if isinstance(reply, _Streamed):
                await self._stream(reply, receive, send, identity)
                return
        except ClientGone:
            return
        except HttpRefusal as refusal:
            reply = _refusal(refusal, media or Media.JSON)
        except Exception as error:
            reply = _fault(error, media or Media.JSON, identity)
        if len(reply.body) > self._limits.compress_over_bytes > 0:
            encoding = preferred(headers.get(b"accept-encoding"))
            if encoding is not None:
                packed = await compressed(reply.body, encoding)
                reply = msgspec.structs.replace(
                    reply, body=packed, headers={**reply.headers, "Content-Encoding": encoding}
                )
        sent = _headers(reply)
        if not (isinstance(send, Answer) and send.whole(reply.status, sent, reply.body)):
            await _send(reply, sent, send, whole=WHOLE in scope)

    async def _answer(
        self, scope: Scope, headers: RequestHeaders, receive: Receive, media: Media | None, identity: str
    ) -> Reply | _Streamed:
        if scope["method"] not in ("GET", "POST"):
            error = BadUserInput("Send the operation with POST, or a query with GET.")
            raise HttpRefusal(405, error, {"Allow": "GET, POST"})
        streaming, streams_first = negotiate_stream(headers.get(b"accept"))
        if media is None and streaming is None:
            types = " or ".join(RESPONSES)
            raise HttpRefusal(406, BadUserInput(f"Answers are {types}. Accept one of them.", "Accept"))
        if scope["method"] == "POST":
            require_json(headers)
        caller = await self._caller(headers)
        body = b""
        request: Requests | Question
        if scope["method"] == "GET":
            request = decode_query(scope["query_string"])
        else:
            body = await read_body(headers, receive, self._limits.max_body_bytes)
            request = (self.repeated.get(body) if streaming is None else None) or decode_request(body)
        if streaming is not None and isinstance(request, GraphQLRequest):
            streamed = self._streamed(request, streaming, streams_first or media is None, scope["method"], caller)
            if streamed is not None:
                return streamed
        extensions = scope.get("extensions", {})
        asked = _Asked(scope["method"], caller, identity, extensions.get(LATER, at_once), body)
        return await unless_gone(self._respond(request, media or Media.JSON, asked), extensions.get(GONE))

    async def _caller(self, headers: RequestHeaders) -> Caller:
        authorization = headers.get(b"authorization")
        try:
            return await self._authenticate(authorization, headers.get(_TENANT))
        except Unauthenticated as error:
            # RFC 6750, 3.1: an error is named only where a token was sent.
            challenge = 'Bearer error="invalid_token"' if authorization else "Bearer"
            raise HttpRefusal(401, error, {"WWW-Authenticate": challenge}) from None
        except RateLimited as error:
            after = retry_after(Outcome([masked(error, "")]))
            raise HttpRefusal(429, error, {"Retry-After": str(after)}) from None
        except Unavailable as error:
            raise HttpRefusal(503, error, {"Retry-After": str(error.retry_after)}) from None
        except GraphError as error:
            raise HttpRefusal(STATUS[error.code], error) from None

    async def _respond(self, request: Requests | Question, media: Media, asked: _Asked) -> Reply:
        if not isinstance(request, list):
            if isinstance(request, Question):
                outcome = await self._run(request, asked, asked.identity)
            else:
                outcome = await self._execute(request, asked, asked.identity, asked.body)
            after = retry_after(outcome)
            headers = {} if after is None else {"Retry-After": str(after)}
            return Reply(status_of(outcome, media), media, encode(outcome.payload()), headers)
        self._check_batch(len(request))
        # One after the other: a batch is one caller's, and must not take more than one caller's share at once.
        outcomes = [
            await self._execute(member, asked, f"{asked.identity}.{number}") for number, member in enumerate(request, 1)
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

    def _streamed(
        self, request: GraphQLRequest, media: Media, wanted: bool, method: str, caller: Caller
    ) -> _Streamed | None:
        """The stream that answers a request; None where JSON does: what is no subscription needs no stream, unless
        the client likes one better (`wanted`)."""
        try:
            operation = self._executor.prepare(request)
        except Refused as refused:
            if not wanted or refused.malformed:
                return None
            return _Streamed(media, request, caller, None, refused)
        if operation.kind is OperationType.MUTATION and method != "POST":
            return None
        if operation.kind is OperationType.SUBSCRIPTION or (wanted and media is Media.EVENTS):
            return _Streamed(media, request, caller, operation)
        return None

    async def _stream(self, streamed: _Streamed, receive: Receive, send: Send, identity: str) -> None:
        """Answer with a stream, for as long as the client listens."""
        outbox = Outbox(self._limits.queue_messages, self._limits.queue_bytes)
        with self._connections.counted(streamed.caller.principal):
            filling = asyncio.create_task(self._fill(streamed, outbox, identity))
            gone = asyncio.create_task(until_gone(receive))
            sending = asyncio.create_task(stream(streamed.media, outbox, send, self._limits.heartbeat_seconds))
            self._open.add(sending)
            running: Stream | None = None
            try:
                await asyncio.wait((filling, gone), return_when=asyncio.FIRST_COMPLETED)
                if filling.done():
                    running = filling.result()
                    await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._open.discard(sending)
                await cancelled(filling, gone, sending)
                if running is not None:
                    running.close()

    async def _fill(self, streamed: _Streamed, outbox: Outbox, identity: str) -> Stream | None:
        operation, request, caller = streamed.operation, streamed.request, streamed.caller
        try:
            if operation is None:
                raise streamed.refused or ValueError("a stream of nothing")
            if operation.kind is OperationType.SUBSCRIPTION:
                return await self._streams.subscribe(operation, request.variables, caller, identity, outbox)
            async with self._open_context(caller, identity) as context:
                outcome = await self._executor.run(Question(operation, request.variables), context, identity)
            outbox.send(Message(encode(outcome.payload())))
            outbox.finish(())
        except Refused as refused:
            outbox.finish(self._executor.refusal(refused, identity).errors)
        except Exception as error:
            outbox.finish([masked(error, identity)])
        return None

    async def _execute(self, request: GraphQLRequest, asked: _Asked, identity: str, body: bytes = b"") -> Outcome:
        """Answer a request; `body` is what it came as by itself, to know it again."""
        try:
            operation = self._executor.prepare(request)
        except Refused as refused:
            outcome = self._executor.refusal(refused, identity)
            if refused.malformed and isinstance(refused.errors[0], GraphError):
                raise HttpRefusal(400, refused.errors[0]) from None
            return outcome
        if operation.kind is OperationType.SUBSCRIPTION:
            message = (
                "Subscriptions need a transport that streams, on this same path: a WebSocket with the protocol "
                "graphql-transport-ws, or Accept: text/event-stream."
            )
            raise HttpRefusal(406, ValidationFailed(message, nodes=operation.node))
        if operation.kind is OperationType.MUTATION and asked.method != "POST":
            error = ValidationFailed("Send mutations with POST; GET is for queries.", nodes=operation.node)
            raise HttpRefusal(405, error, {"Allow": "POST"})
        question = Question(operation, request.variables)
        outcome = await self._run(question, asked, identity)
        if body:
            self.repeated.put(body, question, outcome)
        return outcome

    async def _run(self, question: Question, asked: _Asked, identity: str) -> Outcome:
        async with self._open_context(asked.caller, identity) as context:
            return await self._executor.run(question, context, identity, asked.later)


def _refusal(refusal: HttpRefusal, media: Media) -> Reply:
    body = encode({"errors": [masked(refusal.error, "")]})
    return Reply(refusal.status, media, body, refusal.headers)


def _fault(error: Exception, media: Media, identity: str) -> Reply:
    formatted = masked(error, identity)
    return Reply(STATUS[formatted["extensions"]["code"]], media, encode({"errors": [formatted]}))


_USUAL: Final[Mapping[Media, tuple[tuple[bytes, bytes], ...]]] = {
    media: (
        (b"content-type", f"{media.value}; charset=utf-8".encode()),
        # The same address answers in several types, and to each caller differently.
        (b"vary", b"Accept, Accept-Encoding, Authorization"),
    )
    for media in Media
}
"""Headers of every answer of a media type."""


def _headers(reply: Reply) -> tuple[tuple[bytes, bytes], ...]:
    if not reply.headers:
        return _USUAL[reply.media]
    own = ((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items())
    return (*_USUAL[reply.media], *own)


async def _send(reply: Reply, headers: tuple[tuple[bytes, bytes], ...], send: Send, *, whole: bool) -> None:
    if whole:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers, WHOLE: reply.body})
        return
    length = (b"content-length", b"%d" % len(reply.body))
    await send({"type": "http.response.start", "status": reply.status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": reply.body})
