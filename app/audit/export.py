"""Exports of the change log and of the security journal: streamed, audited, and never in anybody's way (AUD-4).

    GET /v1/exports/change-records?format=ndjson
    GET /v1/exports/audit-logs?format=csv

An export reads short pages with short statements and sends each before it reads the next, so a slow client holds no
connection and no snapshot. A process runs two at a time. What is written after an export began is not in it.
A change record's line has everything that `fleetgraph verify-log` needs to recompute the chain offline.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, Protocol, cast
from uuid import UUID

import orjson
from sqlalchemy import Table, select
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.auth.actor import Actor
from app.graph.errors import BadUserInput, Forbidden, GraphError, RateLimited, refusal_of
from app.graph.scalars import format_datetime
from app.http.refusals import status_of
from app.http.request_id import request_id
from app.unit_of_work import UnitOfWork
from db import models
from db.session import Database, within_tenant

PAGE: Final = 1_000
"""Rows of one statement."""
AT_ONCE: Final = 2
"""Exports that a process runs at the same time; a third is told to come back."""
_RETRY_SECONDS: Final = 5
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Log:
    """A log that can be exported."""

    table: Table
    permission: str
    order: str
    """The column that counts up as rows are added."""
    action: str
    """What the security journal calls its export."""


LOGS: Final[Mapping[str, Log]] = {
    "change-records": Log(
        cast("Table", models.ChangeRecord.__table__), "export:change-records", "seq", "CHANGE_RECORDS_EXPORTED"
    ),
    "audit-logs": Log(cast("Table", models.AuditLog.__table__), "export:audit", "id", "AUDIT_LOGS_EXPORTED"),
}


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
        """Stream a log in the order in which it was written."""
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
        log = LOGS.get(request.path_params["log"])
        if log is None:
            raise BadUserInput(f"There is no such log. Export one of {', '.join(LOGS)}.", "log")
        if not actor.scope(log.permission).covers():
            raise Forbidden(log.permission)
        kind = request.query_params.get("format", "ndjson")
        if kind not in _FORMATS:
            raise BadUserInput(f"`format` is one of {', '.join(_FORMATS)}.", "format")
        if self._running >= AT_ONCE:
            raise RateLimited(_RETRY_SECONDS, f"{AT_ONCE} exports run already. Come back in {_RETRY_SECONDS} seconds.")
        last = await self._last(house.database, actor, log)
        await self._audit(house.database, actor, log, kind)
        media, encode = _FORMATS[kind]
        name = f"{request.path_params['log']}-{actor.tenant_slug}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{kind}"
        body = self._stream(house.database, actor, log, last, encode)
        disposition = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return StreamingResponse(body, media_type=media, headers=disposition)

    async def _last(self, database: Database, actor: Actor, log: Log) -> Any:
        column = log.table.c[log.order]
        async with database.read(actor) as reading:
            # An id has no max() of its own in Postgres before 18, so the last row is looked up.
            statement = select(column).where(within_tenant(log.table, actor)).order_by(column.desc()).limit(1)
            found = await reading.rows(statement)
        return found[0][0] if found else None

    async def _audit(self, database: Database, actor: Actor, log: Log, kind: str) -> None:
        async with database.transaction(actor) as session:
            uow = UnitOfWork(session, actor, log.permission)
            uow.audit(log.action, resource=log.table.name, metadata={"format": kind})
            await uow.write_journals()

    async def _stream(
        self, database: Database, actor: Actor, log: Log, last: Any, encode: Encoder
    ) -> AsyncIterator[bytes]:
        column, seen = log.table.c[log.order], None
        names = [str(one.name) for one in log.table.columns]
        # Counted from the first byte: a stream that nobody reads never comes to its end either.
        self._running += 1
        try:
            yield encode([], names, True)
            while last is not None:
                bounds = [column <= last] + ([] if seen is None else [column > seen])
                statement = select(*log.table.columns).where(within_tenant(log.table, actor), *bounds)
                async with database.read(actor) as reading:
                    rows = await reading.rows(statement.order_by(column).limit(PAGE))
                if not rows:
                    return
                seen = getattr(rows[-1], log.order)
                yield await asyncio.to_thread(encode, [_plain_row(row, names) for row in rows], names, False)
                if len(rows) < PAGE:
                    return
        finally:
            self._running -= 1


def _refused(error: GraphError) -> Response:
    status, _, headers = status_of(error)
    body = {"errors": [{"message": error.message, "extensions": error.extensions}]}
    return JSONResponse(body, status, {"Cache-Control": "no-store", **headers})


Encoder = Callable[[Sequence[Mapping[str, Any]], Sequence[str], bool], bytes]


def _plain_row(row: Sequence[Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in zip(names, row, strict=True)}


def _plain(value: Any) -> Any:
    """A value as the log's hashes have it: ids and times as text."""
    match value:
        case UUID():
            return str(value)
        case datetime():
            return format_datetime(value)
        case Enum():
            return value.value
    return value


def _ndjson(rows: Sequence[Mapping[str, Any]], _names: Sequence[str], _is_head: bool) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def _csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str], is_head: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    if is_head:
        writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
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
