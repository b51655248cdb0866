"""`/healthz` and `/readyz`: whether the process lives, and whether it can serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[None]]
"""Returns where all is well, raises where it is not."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.http")


class Health:
    """The two questions that an orchestrator asks, without a token: their answers name checks and nothing else."""

    def __init__(self, checks: Mapping[str, Check], seconds: float = 2.0) -> None:
        self._checks = dict(checks)
        self._seconds = seconds
        self._stopping = False

    def stop(self) -> None:
        """Say from now on that the process is not ready, so that no new work is sent its way."""
        self._stopping = True

    def routes(self) -> list[Route]:
        """`/healthz` and `/readyz`."""
        return [Route("/healthz", self.healthz, methods=["GET"]), Route("/readyz", self.readyz, methods=["GET"])]

    async def healthz(self, _request: Request) -> Response:
        """200 as long as the event loop turns."""
        return JSONResponse({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """200 if every check passes within its time, else 503; which check failed is told, why is in the log."""
        names = list(self._checks)
        passed = await asyncio.gather(*(self._passes(name) for name in names))
        checks = {name: "ok" if good else "failed" for name, good in zip(names, passed, strict=True)}
        if self._stopping:
            return JSONResponse({"status": "stopping", "checks": checks}, status_code=503)
        ready = all(passed)
        return JSONResponse({"status": "ok" if ready else "failed", "checks": checks}, 200 if ready else 503)

    async def _passes(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                await self._checks[name]()
        except Exception:
            log.warning("not_ready", check=name, exc_info=True)
            return False
        return True
