"""What tests of the embedded Postgres share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

FAST = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}

OTHER_PROCESS = """
import sys, time
from pathlib import Path
from db.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off", "shared_buffers": "16MB"})
server.start()
print(server.url(), flush=True)
sys.stdin.readline()
server.stop()
print("stopped", flush=True)
"""


def ask(url: str, query: str) -> Any:
    """The one value that a query gives, over a connection of its own."""

    async def ask() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(ask())


def postmaster(directory: Path) -> int:
    """The number of the server's first process."""
    return int((directory / "postgres/postmaster.pid").read_text().split()[0])
