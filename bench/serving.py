"""How the contenders of this package are served: by uvicorn with the gateway's own settings, on a free port."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uvicorn

from app.http.server import server_config

_BACKLOG = 2048


@dataclass(frozen=True)
class Surroundings:
    """What a contender is given in its environment."""

    database_url: str
    tenant_id: UUID
    pool_size: int


def surroundings() -> Surroundings:
    """Reads the environment; `bench.contenders` fills it."""
    return Surroundings(
        os.environ["BENCH_DATABASE_URL"], UUID(os.environ["BENCH_TENANT_ID"]), int(os.environ["BENCH_POOL_SIZE"])
    )


class _Announcing(uvicorn.Server):
    ready: Callable[[], None] = staticmethod(lambda: None)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            print(f"Serves http://127.0.0.1:{sockets[0].getsockname()[1]}/graphql", flush=True)
            self.ready()


def serve(application: Any, ready: Callable[[], None] = lambda: None) -> None:
    """Serves the ASGI application until it is told to stop; `ready` is called once it takes requests."""
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        server = _Announcing(server_config(application))
        server.ready = ready
        server.run(sockets=[listener])
