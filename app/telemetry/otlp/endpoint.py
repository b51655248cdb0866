"""`POST /v1/traces`: OTLP over HTTP, protobuf and JSON.

https://opentelemetry.io/docs/specs/otlp/#otlphttp: the answer has the request's content type; spans that are not taken
are a partial success, which no sender tries again; 429 and 503 are tried again, other errors are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from app.commands import Done
from app.graph.errors import BadUserInput, GraphError, OperationTooComplex, RateLimited
from app.http.body import HttpRefusal
from app.http.refusals import status_of
from app.running import run
from app.telemetry.http import AT_ONCE, House, caller_of, discard, pieces
from app.telemetry.otlp.spans import NotTraces, Span, decode_json, decode_protobuf, in_whole_traces
from db.pool import OF_THE_DATABASE

MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a body, inflated."""
MOST_SPANS: Final = 10_000
BATCH: Final = 500
"""Spans of one transaction, those of one trace together."""
_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"
_DECODERS: Final[Mapping[str, Callable[[bytes], tuple[list[Span], int]]]] = {
    _PROTOBUF: decode_protobuf,
    _JSON: decode_json,
}
_RETRY_SECONDS: Final = 1
_GRPC: Final = {400: 3, 401: 16, 403: 7, 408: 3, 413: 3, 415: 3, 429: 8, 503: 14}
"""Codes of google.rpc.Code by HTTP status."""
_UNKNOWN: Final = 2

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.telemetry")


class Traces:
    """The way in for traces, of one process."""

    def __init__(self, house: Callable[[], House]) -> None:
        self._house = house
        self._running = 0

    def routes(self) -> list[Route]:
        """`/v1/traces`."""
        return [Route("/v1/traces", self.receive, methods=["POST"])]

    async def receive(self, request: Request) -> Response:
        """Take the spans of one request."""
        media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
        self._running += 1
        try:
            return await self._take(request, media_type)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it
        except (GraphError, HttpRefusal) as error:
            await discard(request)
            status, told, headers = status_of(error)
            return _failure(media_type, status, told.message, headers)
        except OF_THE_DATABASE:
            log.error("traces_failed", exc_info=True)
            return _failure(media_type, 503, "The database failed. Send the same again.", {"Retry-After": "1"})
        finally:
            self._running -= 1

    async def _take(self, request: Request, media_type: str) -> Response:
        house = self._house()
        if self._running > AT_ONCE:
            raise RateLimited(_RETRY_SECONDS, f"{AT_ONCE} requests are being read already.")
        actor = await caller_of(house, request)
        decode = _DECODERS.get(media_type)
        if decode is None:
            message = f"Send traces as {_PROTOBUF} or as {_JSON}."
            raise HttpRefusal(415, BadUserInput(message, "Content-Type"), {"Accept-Post": f"{_PROTOBUF}, {_JSON}"})
        body = bytearray()
        async for piece in pieces(request, MOST_BYTES):
            body += piece
        try:
            spans, rejected = decode(bytes(body))
        except NotTraces as error:
            raise HttpRefusal(400, BadUserInput(str(error), "body")) from None
        if len(spans) > MOST_SPANS:
            message = f"A request takes {MOST_SPANS} spans. Send them in smaller batches."
            raise HttpRefusal(413, OperationTooComplex(len(spans), MOST_SPANS, "spans", message))
        reasons = {"A span has no ids of 16 and 8 bytes, or no times."} if rejected else set()
        for batch in in_whole_traces(spans, BATCH):
            outcome = await run(house.database, actor, "record_spans", {"spans": batch})
            if isinstance(outcome, Done):
                rejected += outcome.extras["rejected"]
                reasons.update(outcome.extras["reasons"])
        return _success(media_type, rejected, " ".join(sorted(reasons)))


def _success(media_type: str, rejected: int, message: str) -> Response:
    if media_type == _JSON:
        told: dict[str, Any] = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}}
        return Response(orjson.dumps(told if rejected else {}), media_type=_JSON)
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    return Response(answer.SerializeToString(), media_type=_PROTOBUF)


def _failure(media_type: str, status: int, message: str, headers: Mapping[str, str]) -> Response:
    code = _GRPC.get(status, _UNKNOWN)
    if media_type == _PROTOBUF:
        from google.rpc.status_pb2 import Status

        content = Status(code=code, message=message).SerializeToString()
        return Response(content, status, dict(headers), _PROTOBUF)
    return Response(orjson.dumps({"code": code, "message": message}), status, dict(headers), _JSON)
