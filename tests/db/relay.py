"""Between the gateway and its Postgres: a way that does not say when it has come to an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.http.tasks import cancelled
from db import roles
from db.cluster import PORT
from db.connections import Connections, embedded_connections
from db.embedded import EmbeddedPostgres


@asynccontextmanager
async def relayed(
    server: EmbeddedPostgres, directory: Path, ways: list[asyncio.Task[None]] | None = None
) -> AsyncIterator[Connections]:
    """Addresses of the server by way of a relay in `directory` that passes on every byte, and the end of neither side:
    what a busy machine does for a while, made to last.

    With `ways` it passes on the ends too, and fills them with the tasks that do all this: who cancels these makes the
    connections that are open fall silent, as a machine that is gone does."""
    lines = (server.directory / "postgres" / "postmaster.pid").read_text().splitlines()
    behind = Path(lines[4]) / f".s.PGSQL.{PORT}"
    writers: list[asyncio.StreamWriter] = []
    carrying: list[asyncio.Task[None]] = [] if ways is None else ways

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
        if ways is not None:
            target.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_unix_connection(behind)
        writers.extend((writer, to_server[1]))
        carrying.append(asyncio.create_task(carry(reader, to_server[1])))
        carrying.append(asyncio.create_task(carry(to_server[0], writer)))

    listening = await asyncio.start_unix_server(relay, directory / f".s.PGSQL.{PORT}")
    try:
        yield embedded_connections(lambda role: f"postgresql://{role}@/{roles.DATABASE}?host={directory}&port={PORT}")
    finally:
        listening.close()
        await cancelled(*carrying)
        for writer in writers:
            writer.close()
