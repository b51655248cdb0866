"""What a request leaves behind in the process once it is answered: nothing, without the garbage collector's help."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from app.http.watching import GONE, HangUp
from tests.app.http.fleet import Fleet


class _Client:
    """Asks one thing, and waits for its answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.sent: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is None:
            await asyncio.Event().wait()  # it stays
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        self.sent.append(message)


async def _ask(gateway: Fleet, client: _Client, connection: HangUp) -> None:
    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer good")]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
    await gateway.endpoint({**scope, "extensions": {GONE: connection}}, client.receive, client.send)


async def test_an_answer_that_took_a_while_leaves_nothing_for_the_collector(gateway: Fleet) -> None:
    """The connection, which stays, tells of its end; if it kept hold of whom it was to tell, or a circle did until the
    collector comes by, which is seldom (`settle_collector`), whole requests would stay: megabytes of them."""
    connection = HangUp()
    client = _Client(b'{"query": "{ slow(seconds: 0.1) }"}')
    gc.collect()
    gc.disable()
    try:
        await asyncio.create_task(_ask(gateway, client, connection))
        assert client.sent[0]["status"] == 200
        kept = weakref.ref(client)
        del client
        await asyncio.sleep(0)
        assert kept() is None
    finally:
        gc.enable()
