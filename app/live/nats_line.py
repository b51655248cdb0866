"""The doorbell's line by way of NATS: apart from the others, since only who uses it needs its client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import nats.errors
import structlog
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from app.live.doorbell import RETRY_SECONDS, again_and_again

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.live")

_SUBJECT: Final = "fleetgraph.doorbell"
_CLOSE_SECONDS: Final = 2.0


class NatsLine:
    """One subject of a NATS server; the client holds the connection and brings it back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: NatsClient | None = None

    async def run(self, hear: Callable[[str], None], restored: Callable[[], None]) -> None:
        """Listen until cancelled, whether or not the server is there to begin with."""
        await again_and_again(lambda: self._attempt(hear, restored))

    async def send(self, texts: list[str]) -> None:
        """Raises ConnectionError while the line is down: what is not sent now is of no use later."""
        if self._client is None or not self._client.is_connected:
            raise ConnectionError("the line to NATS is down")
        for text in texts:
            await self._client.publish(_SUBJECT, text.encode())
            _heed_cancellation()

    async def _attempt(self, hear: Callable[[str], None], restored: Callable[[], None]) -> None:
        try:
            await self._listen(hear, restored)
        except nats.errors.Error as error:
            raise ConnectionError(f"NATS: {type(error).__name__}") from error

    async def _listen(self, hear: Callable[[str], None], restored: Callable[[], None]) -> None:
        ended = asyncio.Event()

        async def arrived(message: Msg) -> None:
            hear(message.data.decode(errors="replace"))

        async def back() -> None:
            restored()

        async def over() -> None:
            ended.set()

        async def complain(error: Exception) -> None:
            log.debug("doorbell_nats", error=type(error).__name__)

        client = NatsClient()
        try:
            await client.connect(
                self._url,
                name="fleetgraph",
                no_echo=True,
                connect_timeout=5,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RETRY_SECONDS,  # type: ignore[arg-type]  # seconds, and parts of them do
                error_cb=complain,
                reconnected_cb=back,
                closed_cb=over,
            )
            _heed_cancellation()
            await client.subscribe(_SUBJECT, cb=arrived)
            self._client = client
            restored()
            await ended.wait()
        finally:
            self._client = None
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE_SECONDS):  # a server that stands still takes no good-bye
                    await client.close()


def _heed_cancellation() -> None:
    """The client keeps to itself a cancellation that comes while it waits for its server: it catches it where it
    flushes, and connects by way of `asyncio.wait_for`, which may lose it. Who cancelled would wait for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
