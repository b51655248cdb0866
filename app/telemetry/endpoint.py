"""`POST /v1/op-events`: op events by the ten thousand, as lines of JSON or as one array (OPE-1).

    POST /v1/op-events
    Content-Type: application/x-ndjson          (or application/json, for an array)
    Content-Encoding: gzip                      (if you like)

    {"eventId": "a1", "type": "RUN_STEP", "timestamp": "2026-11-28T12:00:00Z", "runId": "run_…", "payload": {}}

Events go on to the database in batches while the body still comes in; each batch is checked with one statement and is
in one transaction. The answer says of each event what became of it. Whatever ends a request early, the answer says what
had been done by then; where none arrives, send the same again: events with an `eventId` are stored once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.auth.actor import Actor
from app.graph.errors import BadUserInput, GraphError, OperationTooComplex, RateLimited, Unavailable
from app.http.body import HttpRefusal
from app.http.refusals import status_of
from app.http.request_id import request_id
from app.telemetry import judging
from app.telemetry.facts import find_facts
from app.telemetry.http import AT_ONCE, House, caller_of, discard, note_denial, pieces
from app.telemetry.judging import Judged, judge
from app.telemetry.signs import note_signs
from app.telemetry.wire import (
    LARGEST_EVENT,
    MOST_EVENTS,
    Declined,
    SentEvent,
    decode_array,
    decode_event,
    decode_lines,
    too_large,
)
from db.logs import AppendedColumns
from db.pool import OF_THE_DATABASE, PoolExhausted

BATCH: Final = 1_000
"""Events that are checked and handed on together."""
AHEAD: Final = 2
"""Batches of one request that may be on their way to the database: one is stored as the next is read."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of a body, inflated."""
_LINES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_ARRAY: Final = "application/json"
_RETRY_SECONDS: Final = 1

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.telemetry")

Batch = list[SentEvent | Declined]


class OpEvents:
    """The way in for op events, of one process."""

    def __init__(self, house: Callable[[], House]) -> None:
        self._house = house
        self._running = 0

    def routes(self) -> list[Route]:
        """`/v1/op-events`."""
        return [Route("/v1/op-events", self.receive, methods=["POST"])]

    async def receive(self, request: Request) -> Response:
        """Take the events of one request."""
        house = self._house()
        taken = None
        self._running += 1
        try:
            if self._running > AT_ONCE:
                raise RateLimited(_RETRY_SECONDS, f"{AT_ONCE} requests are being read already.")
            actor = await caller_of(house, request)
            taken = _Taken(house, actor, "return=minimal" in request.headers.get("prefer", ""))
            batches = _batches(request)
            async for batch in batches:
                await taken.add(batch)
            await taken.settle()
        except ClientDisconnect:
            log.info("op_events_cut_off")
            return Response(status_code=499)  # nobody reads it
        except (GraphError, HttpRefusal) as error:
            if taken is not None:
                await taken.settle()
            await discard(request)
            return _refused(error, taken)
        except PoolExhausted:
            return _refused(RateLimited(_RETRY_SECONDS, "The database has no connection to spare."), taken)
        except OF_THE_DATABASE:
            log.error("op_events_failed", exc_info=True)
            if taken is not None:
                await taken.settle()
            return _failed(request, taken)
        finally:
            self._running -= 1
        if taken.failed:
            return _failed(request, taken)
        return Response(taken.answer(), media_type=_ARRAY, headers={"Cache-Control": "no-store"})


class _Taken:
    """What became of the events of one request, so far."""

    def __init__(self, house: House, actor: Actor, is_minimal: bool) -> None:
        self._house = house
        self._actor = actor
        self._is_minimal = is_minimal
        self._pending: deque[tuple[Judged, Any]] = deque()
        self._results: list[str] = []
        self._counts = [0, 0, 0]
        self._position = 0
        self._denied = 0
        self._last_seq: int | None = None
        self.failed = 0
        """Events of which it is not known that they are stored."""

    async def add(self, batch: Batch) -> None:
        """Check a batch and hand it on."""
        facts = await find_facts(self._house.database, self._actor, batch)
        judged = judge(batch, facts, self._actor, datetime.now(UTC))
        self._pending.append((judged, self._house.event_writer.submit(self._actor.tenant_id, judged.columns)))
        while len(self._pending) >= AHEAD:
            await self._settle_first()

    async def settle(self) -> None:
        """Wait for what is on its way."""
        while self._pending:
            await self._settle_first()
        if self._denied:
            denied, self._denied = self._denied, 0
            with self._told("denial_not_noted"):
                await note_denial(self._house.database, self._actor, denied)

    async def _settle_first(self) -> None:
        judged, outcome = self._pending.popleft()
        try:
            appended: AppendedColumns = await outcome
        except OF_THE_DATABASE:
            self.failed += judged.count(judging.ACCEPTED)
            self._note(judged, is_known=False)
            return
        judged.settle(appended.repeated)
        self._last_seq = appended.last_seq or self._last_seq
        self._note(judged, is_known=True)
        if judged.signs:
            with self._told("signs_of_life_not_noted"):
                async with self._house.database.transaction(self._actor) as session:
                    await note_signs(await session.connection(), self._actor.tenant_id, judged.signs)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What comes after the events are stored does not take that back where it fails."""
        try:
            yield
        except OF_THE_DATABASE:
            log.error(what, tenant=str(self._actor.tenant_id), exc_info=True)

    def _note(self, judged: Judged, *, is_known: bool) -> None:
        self._denied += judged.denied
        for outcome in range(3):
            self._counts[outcome] += judged.count(outcome)
        self._results += _lines_of(judged, self._position, self._is_minimal, is_known)
        self._position += len(judged.ids)

    def answer(self, **more: Any) -> bytes:
        """The answer's JSON; `more` are further members."""
        accepted, duplicates, refused = self._counts
        head = {
            **more,
            "accepted": accepted - self.failed,
            "duplicates": duplicates,
            "refused": refused,
            **({"failed": self.failed} if self.failed else {}),
            "lastSeq": None if self._last_seq is None else str(self._last_seq),
        }
        return orjson.dumps(head)[:-1] + b',"results":[' + ",".join(self._results).encode() + b"]}"


def _lines_of(judged: Judged, first: int, is_minimal: bool, is_known: bool) -> Iterator[str]:
    """What became of each event, as JSON, in order; only what is not simply accepted where that is enough."""
    taken = "ACCEPTED" if is_known else "FAILED"
    for position, (row_id, outcome) in enumerate(zip(judged.ids, judged.outcomes, strict=True)):
        if outcome == judging.REFUSED:
            declined = judged.declined[position]
            told = {
                "index": first + position,
                "status": "REFUSED",
                "code": declined.why,
                "message": declined.message,
                "field": declined.field,
            }
            yield orjson.dumps(told).decode()
        elif outcome == judging.DUPLICATE or not is_known:
            status = "DUPLICATE" if outcome == judging.DUPLICATE else taken
            yield f'{{"index":{first + position},"status":"{status}","id":"evt_{row_id.hex}"}}'  # type: ignore[union-attr]
        elif not is_minimal:
            yield f'{{"status":"ACCEPTED","id":"evt_{row_id.hex}"}}'  # type: ignore[union-attr]


async def _batches(request: Request) -> AsyncIterator[Batch]:
    """The events of a body, some at a time. Raises HttpRefusal where it is no body of events."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type in _LINES:
        async for batch in _of_lines(request):
            yield batch
    elif media_type == _ARRAY:
        async for batch in _of_array(request):
            yield batch
    else:
        message = "Send events as lines (Content-Type: application/x-ndjson) or as an array (application/json)."
        raise HttpRefusal(415, BadUserInput(message, "Content-Type"), {"Accept-Post": "application/x-ndjson"})


async def _of_array(request: Request) -> AsyncIterator[Batch]:
    body = bytearray()
    async for piece in pieces(request, MOST_BYTES):
        body += piece
    try:
        texts: list[msgspec.Raw] = decode_array(bytes(body))
    except Declined as declined:
        raise HttpRefusal(400, BadUserInput(declined.message, "body")) from None
    if len(texts) > MOST_EVENTS:
        raise _too_many()
    for first in range(0, len(texts), BATCH):
        yield [decode_event(text) for text in texts[first : first + BATCH]]


async def _of_lines(request: Request) -> AsyncIterator[Batch]:
    lines = _Lines()
    count = 0
    async for piece in pieces(request, MOST_BYTES):
        lines.feed(piece)
        while len(lines) >= BATCH:
            batch = lines.take()
            count += len(batch)
            if count > MOST_EVENTS:
                if rest := batch[: MOST_EVENTS - count]:
                    yield rest
                raise _too_many()
            yield batch
    lines.end()
    while batch := lines.take():
        count += len(batch)
        if count > MOST_EVENTS:
            if rest := batch[: MOST_EVENTS - count]:
                yield rest
            raise _too_many()
        yield batch


class _Lines:
    """Lines as they become complete; of one that is too long nothing is kept."""

    def __init__(self) -> None:
        self._whole: deque[bytes | None] = deque()
        self._rest = b""
        self._is_skipping = False

    def __len__(self) -> int:
        return len(self._whole)

    def feed(self, piece: bytes) -> None:
        """More of the body."""
        *whole, rest = (self._rest + piece).split(b"\n")
        if whole and self._is_skipping:
            self._is_skipping = False
            whole = whole[1:]
        self._whole += [line for line in whole if line and not line.isspace()]
        if len(rest) > LARGEST_EVENT:
            if not self._is_skipping:
                self._whole.append(None)
            self._is_skipping, rest = True, b""
        self._rest = b"" if self._is_skipping else rest

    def end(self) -> None:
        """The body is over; a last line need not have an end."""
        if self._rest and not self._rest.isspace():
            self._whole.append(self._rest)
        self._rest = b""

    def take(self) -> Batch:
        """The next events, at most `BATCH`."""
        lines = [self._whole.popleft() for _ in range(min(BATCH, len(self._whole)))]
        if None not in lines:
            return decode_lines(lines) if lines else []  # type: ignore[arg-type]
        return [too_large() if line is None else decode_event(line) for line in lines]


def _too_many() -> HttpRefusal:
    message = f"A request takes {MOST_EVENTS} events; send the others in another one."
    return HttpRefusal(413, OperationTooComplex(MOST_EVENTS + 1, MOST_EVENTS, "events", message))


def _refused(error: GraphError | HttpRefusal, taken: _Taken | None) -> Response:
    status, told, headers = status_of(error)
    return _answer(status, {"message": told.message, "extensions": told.extensions}, headers, taken)


def _failed(request: Request, taken: _Taken | None) -> Response:
    message = "The database failed. Send the same again: events with an `eventId` are stored once."
    return _refused(Unavailable(message, _RETRY_SECONDS, requestId=request_id(request.scope)), taken)


def _answer(status: int, error: dict[str, Any], headers: Any, taken: _Taken | None) -> Response:
    headers = {"Cache-Control": "no-store", **headers}
    if taken is None:
        return JSONResponse({"errors": [error]}, status, headers)
    return Response(taken.answer(errors=[error]), status, headers, _ARRAY)
