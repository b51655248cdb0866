"""Exports of the change log and of the security journal: streamed, audited, and never in anybody's way (AUD-4, AUD-5).

    GET /v1/exports/change-records?format=ndjson
    GET /v1/exports/audit-logs?format=csv
    GET /v1/exports/audit-trail?from=2026-11-01T00:00:00Z

An export reads short pages with short statements and sends each before it reads the next, so a slow client holds no
connection and no snapshot. A process runs two at a time. What is written after an export began is not in it.
A change record's line has everything that `fleetgraph verify-log` needs to recompute the chain offline.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.audit.exported import EXPORTED, PlainRow
from app.auth.actor import Actor
from app.graph.errors import BadUserInput, Forbidden, GraphError, RateLimited, refusal_of
from app.http.refusals import status_of
from app.http.request_id import request_id
from app.running import audit
from db.session import Database

AT_ONCE: Final = 2
"""Exports that a process runs at the same time; a third is told to come back."""
_RETRY_SECONDS: Final = 5
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class House(Protocol):
    """What exports need of the gateway."""

    database: Database

    @property
    def authenticate(self) -> Callable[[str | None, str | None], Any]:
        """The caller of a request; raises Unauthenticated."""
        ...


class Exports:
    """The exports of a process."""

    def __init__(self, house: Callable[[], House]) -> None:
        self._house = house
        self._running = 0

    def routes(self) -> list[Route]:
        """`/v1/exports/…`."""
        return [Route("/v1/exports/{log}", self.export, methods=["GET"])]

    async def export(self, request: Request) -> Response:
        """Stream what the address names."""
        try:
            return await self._begin(request)
        except GraphError as error:
            return _refused(error)
        except Exception as error:
            return _refused(refusal_of(error, request_id(request.scope)))

    async def _begin(self, request: Request) -> Response:
        house = self._house()
        headers = request.headers
        actor: Actor = await house.authenticate(headers.get("authorization"), headers.get("fleetgraph-tenant"))
        exported = EXPORTED.get(request.path_params["log"])
        if exported is None:
            raise BadUserInput(f"There is no such log. Export one of {', '.join(EXPORTED)}.", "log")
        for permission in exported.permissions:
            if not actor.scope(permission).covers():
                raise Forbidden(permission)
        kind = request.query_params.get("format", "ndjson")
        if kind not in _FORMATS:
            raise BadUserInput(f"`format` is one of {', '.join(_FORMATS)}.", "format")
        if self._running >= AT_ONCE:
            raise RateLimited(_RETRY_SECONDS, f"{AT_ONCE} exports run already. Come back in {_RETRY_SECONDS} seconds.")
        pages = await exported.begin(house.database, actor, request.query_params)
        await audit(house.database, actor, exported.action, resource=exported.resource, metadata={"format": kind})
        media, encode = _FORMATS[kind]
        name = f"{request.path_params['log']}-{actor.tenant_slug}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{kind}"
        body = self._stream(exported.names, pages, encode)
        disposition = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingResponse(body, media_type=media, headers=disposition)

    async def _stream(
        self, names: Sequence[str], pages: AsyncIterator[list[PlainRow]], encode: Encoder
    ) -> AsyncIterator[bytes]:
        # Counted from the first byte: a stream that nobody reads never comes to its end either.
        self._running += 1
        try:
            yield encode([], names, True)
            async for rows in pages:
                yield await asyncio.to_thread(encode, rows, names, False)
        finally:
            self._running -= 1


def _refused(error: GraphError) -> Response:
    status, _, headers = status_of(error)
    body = {"errors": [{"message": error.message, "extensions": error.extensions}]}
    return JSONResponse(body, status, {"Cache-Control": "no-store", **headers})


Encoder = Callable[[Sequence[PlainRow], Sequence[str], bool], bytes]


def _ndjson(rows: Sequence[PlainRow], _names: Sequence[str], _is_head: bool) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def _csv(rows: Sequence[PlainRow], names: Sequence[str], is_head: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if is_head:
        writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, dict | list):
        value = orjson.dumps(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_FORMATS: Final[Mapping[str, tuple[str, Encoder]]] = {
    "ndjson": ("application/x-ndjson", _ndjson),
    "csv": ("text/csv; charset=utf-8", _csv),
}
