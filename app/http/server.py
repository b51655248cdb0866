"""The server around the application: uvicorn, told not to undo what the edges take care of."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Drain = Callable[[float], Awaitable[None]]
"""Brings what is open to an end, within so many seconds."""


def server_config(app: Any, **settings: Any) -> uvicorn.Config:
    """Uvicorn's configuration with our defaults; `settings` are its own names, and win.

    No ``Server`` header (trap 22); sockets with a bounded message size (trap 4) and without per-message deflate, which
    would hold some 50 KB for each idle socket; no access log, since requests are logged by the application.
    """
    ours: dict[str, Any] = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "websockets-sansio",
        "ws_max_size": 1_048_576,
        "ws_per_message_deflate": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_graceful_shutdown": 10,
    }
    return uvicorn.Config(app, **{**ours, **settings})


class DrainingServer(uvicorn.Server):
    """Uvicorn that lets the application finish its sockets first.

    Uvicorn itself closes every socket the moment it is told to stop, before the application hears of it; clients
    would lose what a subscription still had to say.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, seconds: float = 5.0) -> None:
        super().__init__(config)
        self._drain = drain
        self._seconds = seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, drain, then shut down as uvicorn does. A second Ctrl-C cuts the draining short."""
        for server in self.servers:
            server.close()
        draining = asyncio.ensure_future(self._drain(self._seconds))
        while not draining.done() and not self.force_exit:
            await asyncio.wait((draining,), timeout=0.1)
        draining.cancel()
        await super().shutdown(sockets)
