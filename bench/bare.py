"""The floor: an ASGI handler that answers each query with one statement written by hand, and nothing around it.

No GraphQL, no token, no tenant but the one that it is given. What a gateway adds to this is what it costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from bench.serving import serve, surroundings

Message = MutableMapping[str, Any]


def _id(prefix: str, column: str) -> str:
    return f"'{prefix}_' || replace({column}::text, '-', '')"


def _time(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def _one(row: str, key: str) -> str:
    """A to-one relation: null where the join found nothing."""
    return f"CASE WHEN {key} IS NULL THEN NULL ELSE {row} END"


def _list(name: str, rows: str) -> str:
    """A root connection over rows `(n, id, node)`, of which there is one more than the page has."""
    return f"""
        WITH page AS MATERIALIZED ({rows})
        SELECT json_build_object('data', json_build_object('{name}', json_build_object(
            'edges', coalesce(json_agg(json_build_object('node', node) ORDER BY n) FILTER (WHERE n <= size), '[]'),
            'pageInfo', json_build_object(
                'hasNextPage', count(*) > min(size),
                'endCursor', (array_agg(id ORDER BY n DESC) FILTER (WHERE n <= size))[1]))))::text
        FROM page
    """


_INSTANCE: Final = f"""
    SELECT json_build_object('data', json_build_object('agentInstance', (
        SELECT json_build_object(
            'id', {_id("ins", "id")}, 'name', name, 'state', state, 'heartbeatAt', {_time("heartbeat_at")},
            'spendToday', spend_today::float8, 'createdAt', {_time("created_at")}, 'updatedAt', {_time("updated_at")})
        FROM agent_instances WHERE tenant_id = $1 AND id = $2)))::text
"""

# Ids begin with the time of creation, and have the index: a time is given as the first id of it.
_INSTANCES: Final = _list(
    "agentInstances",
    f"""
    SELECT row_number() OVER (ORDER BY i.id) AS n, 50 AS size, i.id, json_build_object(
        'id', {_id("ins", "i.id")}, 'name', i.name, 'state', i.state, 'heartbeatAt', {_time("i.heartbeat_at")},
        'version', json_build_object(
            'id', {_id("ver", "v.id")}, 'versionLabel', v.version_label, 'lifecycleState', v.lifecycle_state,
            'genomeHash', v.genome_hash, 'template', json_build_object(
                'id', {_id("tpl", "t.id")}, 'name', t.name, 'defaultRole', t.default_role))) AS node
    FROM (SELECT * FROM agent_instances WHERE tenant_id = $1 AND id >= $2 ORDER BY id LIMIT 51) i
    JOIN agent_versions v ON v.tenant_id = $1 AND v.id = i.version_id
    JOIN agent_templates t ON t.tenant_id = $1 AND t.id = v.template_id
    """,
)

_WORK: Final = _list(
    "agentInstances",
    f"""
    SELECT row_number() OVER (ORDER BY i.id) AS n, 20 AS size, i.id, json_build_object(
        'id', {_id("ins", "i.id")}, 'name', i.name, 'state', i.state,
        'tasks', json_build_object('edges', coalesce(tasks.edges, '[]'))) AS node
    FROM (SELECT * FROM agent_instances WHERE tenant_id = $1 AND id >= $2 ORDER BY id LIMIT 21) i
    LEFT JOIN LATERAL (
        SELECT json_agg(json_build_object('node', json_build_object(
            'id', {_id("tsk", "k.id")}, 'title', k.title, 'status', k.status,
            'runs', json_build_object('edges', coalesce(runs.edges, '[]')))) ORDER BY k.id) AS edges
        FROM (
            SELECT t.id, t.title, t.status FROM task_assignees a
            JOIN tasks t ON t.tenant_id = $1 AND t.id = a.task_id
            WHERE a.tenant_id = $1 AND a.instance_id = i.id ORDER BY t.id LIMIT 5
        ) k
        LEFT JOIN LATERAL (
            SELECT json_agg(json_build_object('node', json_build_object(
                'id', {_id("run", "r.id")}, 'status', r.status, 'model', r.model,
                'startedAt', {_time("r.started_at")}, 'endedAt', {_time("r.ended_at")},
                'inputTokens', r.input_tokens, 'outputTokens', r.output_tokens, 'costUsd', r.cost_usd::float8,
                'version', json_build_object(
                    'id', {_id("ver", "v.id")}, 'versionLabel', v.version_label, 'genomeHash', v.genome_hash,
                    'template', json_build_object('id', {_id("tpl", "p.id")}, 'name', p.name))
                )) ORDER BY r.id) AS edges
            FROM (SELECT * FROM runs WHERE tenant_id = $1 AND task_id = k.id ORDER BY id LIMIT 5) r
            JOIN agent_versions v ON v.tenant_id = $1 AND v.id = r.version_id
            JOIN agent_templates p ON p.tenant_id = $1 AND p.id = v.template_id
        ) runs ON true
    ) tasks ON true
    """,
)

# As above, an id carries a time, and the partitions are ranges of ids: the bounds are given as ids.
_EVENTS: Final = _list(
    "opEvents",
    f"""
    SELECT row_number() OVER (ORDER BY e.id) AS n, 100 AS size, e.id, json_build_object(
        'id', {_id("evt", "e.id")}, 'seq', e.seq::text, 'type', e.type, 'timestamp', {_time("e.timestamp")},
        'instance', {_one(f"json_build_object('id', {_id('ins', 'i.id')}, 'name', i.name, 'state', i.state)", "i.id")},
        'changeRecord', {
        _one(
            f"json_build_object('id', {_id('chg', 'c.id')}, 'type', c.type, 'summary', c.summary, "
            f"'timestamp', {_time('c.timestamp')})",
            "c.id",
        )
    }) AS node
    FROM (SELECT * FROM op_events WHERE tenant_id = $1 AND id >= $2 AND id < $3 ORDER BY id LIMIT 101) e
    LEFT JOIN agent_instances i ON i.tenant_id = $1 AND i.id = e.instance_id
    LEFT JOIN change_records c ON c.tenant_id = $1 AND c.id = e.change_record_id
    """,
)

_APPROVALS: Final = _list(
    "approvalRecords",
    f"""
    SELECT row_number() OVER (ORDER BY a.id) AS n, 50 AS size, a.id, json_build_object(
        'id', {_id("apr", "a.id")}, 'requestType', a.request_type, 'riskLevel', a.risk_level, 'status', a.status,
        'actionSummary', a.action_summary, 'createdAt', {_time("a.created_at")}, 'expiresAt', {_time("a.expires_at")},
        'requester', {_one(f"json_build_object('id', {_id('opr', 'o.id')}, 'name', o.name)", "o.id")},
        'requesterInstance', {
        _one(f"json_build_object('id', {_id('ins', 'i.id')}, 'name', i.name, 'state', i.state)", "i.id")
    },
        'version', {
        _one(
            f"json_build_object('id', {_id('ver', 'v.id')}, 'versionLabel', v.version_label, 'template', "
            f"json_build_object('id', {_id('tpl', 't.id')}, 'name', t.name))",
            "v.id",
        )
    },
        'policyEnvelope', {
        _one(
            f"json_build_object('id', {_id('pol', 'p.id')}, 'name', p.name, 'autonomyTier', p.autonomy_tier)",
            "p.id",
        )
    }) AS node
    FROM (
        SELECT * FROM approval_records WHERE tenant_id = $1 AND status = 'PENDING' ORDER BY id LIMIT 51
    ) a
    LEFT JOIN operators o ON o.tenant_id = $1 AND o.id = a.requester_id
    LEFT JOIN agent_instances i ON i.tenant_id = $1 AND i.id = a.requester_instance_id
    LEFT JOIN agent_versions v ON v.tenant_id = $1 AND v.id = a.version_id
    LEFT JOIN agent_templates t ON t.tenant_id = $1 AND t.id = v.template_id
    LEFT JOIN policy_envelopes p ON p.tenant_id = $1 AND p.id = a.policy_envelope_id
    """,
)


def _no_arguments(_variables: dict[str, Any]) -> tuple[Any, ...]:
    return ()


def _instance_arguments(variables: dict[str, Any]) -> tuple[Any, ...]:
    return (UUID(variables["id"].removeprefix("ins_")),)


def _page_arguments(variables: dict[str, Any]) -> tuple[Any, ...]:
    return (_first_id(datetime.fromisoformat(variables["from"])),)


def _range_arguments(variables: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(_first_id(datetime.fromisoformat(variables[name])) for name in ("from", "to"))


def _first_id(at: datetime) -> UUID:
    return UUID(int=round(at.timestamp() * 1000) << 80)


_STATEMENTS: Final[dict[str, tuple[str, Callable[[dict[str, Any]], tuple[Any, ...]]]]] = {
    "Instance": (_INSTANCE, _instance_arguments),
    "Instances": (_INSTANCES, _page_arguments),
    "Work": (_WORK, _page_arguments),
    "Events": (_EVENTS, _range_arguments),
    "Approvals": (_APPROVALS, _no_arguments),
}
"""The statement of each operation by its name, and its arguments behind the tenant."""

_Fetch = Callable[..., Awaitable[str]]


@dataclass(frozen=True)
class _Prepared:
    """One connection with every statement prepared."""

    connection: asyncpg.Connection
    fetch: dict[str, _Fetch]


class Handler:
    """The ASGI application."""

    def __init__(self) -> None:
        self._surroundings = surroundings()
        self._all: list[_Prepared] = []
        # First come, first served, and nothing is reset in between: asyncpg's pool does both otherwise.
        self._free: asyncio.Queue[_Prepared] = asyncio.Queue()

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = orjson.loads(body)
        operation = request["operationName"]
        arguments = _STATEMENTS[operation][1](request["variables"])
        prepared = await self._free.get()
        try:
            answer = (await prepared.fetch[operation](self._surroundings.tenant_id, *arguments)).encode()
        finally:
            self._free.put_nowait(prepared)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _live(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        await receive()
        for _ in range(self._surroundings.pool_size):
            connection = await asyncpg.connect(self._surroundings.database_url)
            fetch = {name: (await connection.prepare(sql)).fetchval for name, (sql, _) in _STATEMENTS.items()}
            self._all.append(_Prepared(connection, fetch))
            self._free.put_nowait(self._all[-1])
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for prepared in self._all:
            await prepared.connection.close()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    serve(Handler())
