"""What both ways in have in common: who calls, the body piece by piece, and refusals as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from starlette.requests import ClientDisconnect, Request

from app import running
from app.auth.actor import Actor
from app.auth.authenticate import TENANT_HEADER
from app.graph.errors import (
    BadUserInput,
    Forbidden,
    OperationTooComplex,
)
from app.http.body import HttpRefusal
from app.telemetry.judging import PERMISSION
from app.telemetry.writing import EventWriter
from db.session import Database

PIECE: Final = 262_144
"""Bytes of one inflated piece of a body: as far as a gzip bomb gets before it is noticed."""
AT_ONCE: Final = 256
"""Requests that a process reads at the same time; another one is told to come back."""
SILENCE_SECONDS: Final = 30
"""How long a sender may pause inside a body."""
_PATIENCE_SECONDS: Final = 5


class House(Protocol):
    """What the ways in need of the gateway."""

    database: Database
    event_writer: EventWriter

    @property
    def authenticate(self) -> Callable[[str | None, str | None], Any]:
        """The caller of a request; raises Unauthenticated."""
        ...


async def caller_of(house: House, request: Request) -> Actor:
    """Who calls, if they may write events anywhere. Raises Unauthenticated, Forbidden and RateLimited."""
    headers = request.headers
    actor: Actor = await house.authenticate(headers.get("authorization"), headers.get(TENANT_HEADER))
    if not actor.can(PERMISSION):
        await note_denial(house.database, actor, 0)
        raise Forbidden(PERMISSION)
    house.event_writer.admit()
    return actor


async def note_denial(database: Database, actor: Actor, events: int) -> None:
    """AUD-1. Events that the caller may not write, in the security journal; one row a request."""
    description = f"{events or 'No'} events were refused for want of {PERMISSION}."
    await running.note_denial(database, actor, PERMISSION, description, {"events": events})


async def pieces(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes in, inflated if it is gzip, in pieces of at most 256 KiB where it is.

    Raises HttpRefusal with 400 (no gzip), 408 (a sender that fell silent), 413 (more than `limit` bytes, inflated) and
    415 (another encoding), and starlette's ClientDisconnect.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        message = f"The content encoding '{encoding[:40]}' is not known here. Send gzip, or none."
        raise HttpRefusal(415, BadUserInput(message, "Content-Encoding"), {"Accept-Encoding": "gzip"})
    inflate = None if encoding == "identity" else zlib.decompressobj(wbits=31)
    total = 0
    async for chunk in _chunks(request):
        for piece in (chunk,) if inflate is None else _inflated(inflate, chunk):
            total += len(piece)
            if total > limit:
                raise too_large(limit)
            yield piece
    if inflate is not None and not inflate.eof:
        raise HttpRefusal(400, BadUserInput("The gzip body is cut off."))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                chunk = await anext(stream, None)
        except TimeoutError:
            error = BadUserInput(f"Nothing came for {SILENCE_SECONDS} seconds.")
            raise HttpRefusal(408, error, {"Connection": "close"}) from None
        if chunk is None:
            return
        if chunk:
            yield chunk


def _inflated(inflate: zlib._Decompress, chunk: bytes) -> Any:
    while True:
        try:
            piece = inflate.decompress(chunk, PIECE)
        except zlib.error:
            raise HttpRefusal(400, BadUserInput("The body is not the gzip that Content-Encoding says it is.")) from None
        yield piece
        if inflate.unused_data:
            raise HttpRefusal(400, BadUserInput("The gzip body goes on behind its end."))
        chunk = inflate.unconsumed_tail
        if not chunk and len(piece) < PIECE:
            return


async def discard(request: Request) -> None:
    """Take the rest of a body that is refused, for a while: a client that is still writing when the connection closes
    gets a reset, and never reads why."""
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            async for _ in request.stream():
                pass


def too_large(limit: int) -> HttpRefusal:
    """The body is larger than it may be."""
    error = OperationTooComplex(limit + 1, limit, "body", f"The body is larger than {limit} bytes. Send less at once.")
    return HttpRefusal(413, error, {"Connection": "close"})
