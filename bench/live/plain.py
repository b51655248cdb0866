"""Plain Strawberry, as its documentation has subscriptions: one async generator and one execution for each subscriber.

It is given what it needs to do well otherwise: one reader of new rows for all, a queue for each of them, and the same
server. It knows no tenants, no permissions and no limits. `python -m bench.live.plain`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from bench.serving import serve, surroundings

_CHANNEL = "fleetgraph_doorbell"
_NEW = """SELECT seq, type, timestamp, payload, instance_id FROM op_events
    WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT 1000"""


@strawberry.type
class OpEvent:
    """The same fields as the benchmark asks the gateway for."""

    seq: str
    type: str
    timestamp: datetime
    payload: strawberry.scalars.JSON


_queues: set[asyncio.Queue[OpEvent]] = set()


@strawberry.type
class Query:
    """A schema needs one."""

    hello: str = "world"


@strawberry.type
class Subscription:
    """The one field."""

    @strawberry.subscription
    async def op_events(self) -> AsyncGenerator[OpEvent, None]:
        """Every event from now on."""
        queue: asyncio.Queue[OpEvent] = asyncio.Queue()
        _queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            _queues.discard(queue)


@asynccontextmanager
async def _reading(_app: Any) -> AsyncIterator[None]:
    around = surroundings()
    connection = await asyncpg.connect(around.database_url)
    rung = asyncio.Event()
    listening = await asyncpg.connect(around.database_url)
    await listening.add_listener(_CHANNEL, lambda *_: rung.set())
    last = await connection.fetchval(
        "SELECT coalesce(max(seq), 0) FROM op_events WHERE tenant_id = $1", around.tenant_id
    )

    async def read(last: int) -> None:
        while True:
            await rung.wait()
            rung.clear()
            while rows := await connection.fetch(_NEW, around.tenant_id, last):
                last = rows[-1]["seq"]
                for row in rows:
                    event = OpEvent(
                        seq=str(row["seq"]),
                        type=row["type"],
                        timestamp=row["timestamp"],
                        payload=strawberry.scalars.JSON(json.loads(row["payload"])),
                    )
                    for queue in _queues:
                        queue.put_nowait(event)

    task = asyncio.create_task(read(last))
    yield
    task.cancel()
    await connection.close()
    await listening.close()


schema = strawberry.Schema(Query, subscription=Subscription)
application = GraphQL[None, None](schema, subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL])

if __name__ == "__main__":
    serve(
        Starlette(routes=[Route("/graphql", application), WebSocketRoute("/graphql", application)], lifespan=_reading)
    )
