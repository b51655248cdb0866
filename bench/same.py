"""The same SQL without the gateway: a bare ASGI handler that runs the plan of each query for one fixed caller.

What the gateway adds to this is GraphQL, tokens, permissions, limits, metrics and the log: what it costs to be one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues, get_variable_values

from app.auth.actor import Actor, ActorKind
from app.auth.permissions import SYSTEM_ROLES
from app.auth.scope import Grants
from app.graph.documents import Documents, Operation
from app.graph.limits import Limits
from app.query.levels import Run
from app.query.plan import Plan
from app.query.selection import Planner
from app.schema import schema
from bench.queries import QUERIES
from bench.serving import serve, surroundings
from db.connections import Connection
from db.tenant_pool import TenantPool

Message = MutableMapping[str, Any]


class Handler:
    """The ASGI application."""

    def __init__(self) -> None:
        given = surroundings()
        self._schema = schema()._schema
        self._actor = Actor(
            kind=ActorKind.OPERATOR,
            tenant_id=given.tenant_id,
            tenant_slug="",
            id=given.tenant_id,
            name="bench",
            permissions=Grants.everywhere(SYSTEM_ROLES["Admin"].permissions),
            token_expires_at=datetime.now(UTC) + timedelta(days=1),
        )
        self._pool = TenantPool(Connection(given.database_url), size=given.pool_size, wait_seconds=60)
        documents = Documents(self._schema, Limits())
        self._plans: dict[str, tuple[Operation, Plan]] = {}
        for query in QUERIES:
            document = documents.find(query.text, None)
            operation = document.operation(query.operation)
            fragments = {name: FragmentDetails(node) for name, node in document.fragments.items()}
            planner = Planner(self._schema, fragments, operation.node, VariableValues({}, {}), self._actor)
            self._plans[query.operation] = operation, planner.plan()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._pool.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = orjson.loads(body)
        answer = orjson.dumps({"data": await self._data(request["operationName"], request["variables"])})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _data(self, name: str, variables: dict[str, Any]) -> Any:
        operation, plan = self._plans[name]
        values = get_variable_values(self._schema, operation.node.variable_definitions or (), variables)
        if isinstance(values, list):
            raise values[0]
        async with self._pool.connection(self._actor.tenant_id) as connection:

            def fetch(sql: str, arguments: Sequence[Any]) -> Awaitable[Sequence[Any]]:
                return connection.fetch(sql, arguments)

            run = Run(self._actor, values, fetch, lambda _name, _keys: None, lambda _statement: None)
            if not plan.needs_snapshot(run):
                return await plan.data(run)
            await connection.begin()
            data = await plan.data(run)
            await connection.end()
            return data


if __name__ == "__main__":
    serve(Handler())
