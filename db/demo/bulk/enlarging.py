"""From the small to the large demo fleet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text, Uuid

from db.demo.bulk import telemetry, work
from db.demo.bulk.agents import FIRST_DAY, Region, find_region, make_agents
from db.demo.bulk.records import records_of_work
from db.demo.content import load
from db.logs import CHUNK, append_change_records, in_chunks

SLUG: Final = "northwind"
TARGETS: Final = MappingProxyType(
    {
        "agent_instances": 1_000,
        "tasks": 20_000,
        "runs": 100_000,
        "tool_calls": 300_000,
        "op_events": 1_000_000,
    }
)
"""Rows that northwind has in the end."""
_FOR_BULK: Final = (
    "work_mem = '128MB'",
    # Nothing is known of rows that this very transaction makes, and the planner then takes them for few.
    "enable_nestloop = off",
    "jit = off",
)
"""How the database is to go about so many rows."""
_LAST: Final = timedelta(hours=4)
"""How long ago the last regional task was made: all of its runs have ended."""

Progress = Callable[[str, int, int], None]


async def enlarge(
    connection: AsyncConnection, now: datetime, tell: Progress, targets: Mapping[str, int] = TARGETS
) -> int:
    """Add the regional work up to `now`, in the caller's transaction, so that northwind has `targets`; gives back the
    rows written. Raises RuntimeError where the targets do not fit each other."""
    region = await find_region(connection, SLUG, now)
    missing = {table: goal - await _count(connection, region, table) for table, goal in targets.items()}
    total, done = sum(missing.values()), 0
    for setting in _FOR_BULK:
        await connection.execute(text(f"SET LOCAL {setting}"))

    async def say(table: str, rows: int) -> None:
        nonlocal done, total
        done += rows
        total += 0 if table in TARGETS else rows  # how many of these there are, nobody knows before
        tell(table, done, total)

    written, drafts = await make_agents(connection, region, now, missing["agent_instances"])
    await say("projects", written - missing["agent_instances"])
    await say("agent_instances", missing["agent_instances"])
    parameters = await _parameters(connection, region, now, missing)
    for table, statement in (
        ("tasks", work.TASKS),
        ("task_assignees", work.ASSIGNEES),
        ("runs", work.RUNS),
        ("tool_calls", work.TOOL_CALLS),
        ("approval_records", work.APPROVALS),
    ):
        await say(table, await _run(connection, statement, parameters))
    for statement in (work.TASK_COSTS, work.SPENDING):
        await _run(connection, statement, parameters)
    drafts += await records_of_work(connection, region.tenant_id)
    drafts.sort(key=lambda one: one.timestamp)
    for chunk in in_chunks(drafts, CHUNK):
        await append_change_records(connection, region.tenant_id, chunk)
        await say("change_records", len(chunk))
    await _events(connection, region, now, missing["op_events"], parameters, say)
    return done


async def _events(
    connection: AsyncConnection,
    region: Region,
    now: datetime,
    missing: int,
    parameters: dict[str, Any],
    say: Callable[[str, int], Awaitable[None]],
) -> None:
    """The telemetry, day by day, and heartbeats so that the number comes out right."""
    tenant = {"tenant": region.tenant_id}
    counted = (await connection.execute(text(telemetry.COUNT), tenant)).scalar_one()
    beats, written = missing - counted, 0
    if beats < 0:
        raise RuntimeError(f"So many runs and tool calls make {counted} op events, and only {missing} are to be added.")
    first = (await connection.execute(text(_EVENT_SEQ), tenant)).scalar_one()
    for day in range(FIRST_DAY):
        since = now - timedelta(days=FIRST_DAY - day)
        share = beats * (day + 1) // FIRST_DAY - beats * day // FIRST_DAY
        more = {"since": since, "until": since + timedelta(days=1), "day": day, "beats": share, "base": first + written}
        rows = await _run(connection, telemetry.EVENTS, {**parameters, **more})
        written += rows
        await say("op_events", rows)
    await connection.execute(text(_SET_EVENT_SEQ), {**tenant, "seq": first + written})
    if written != missing:
        raise RuntimeError(f"The large demo fleet should have {missing} more op events, and got {written}.")


_EVENT_SEQ: Final = "SELECT event_seq FROM gateway.tenant_counters WHERE tenant_id = :tenant FOR UPDATE"
_SET_EVENT_SEQ: Final = "UPDATE gateway.tenant_counters SET event_seq = :seq WHERE tenant_id = :tenant"


async def _count(connection: AsyncConnection, region: Region, table: str) -> int:
    found = await connection.execute(
        text(f"SELECT count(*) FROM {table} WHERE tenant_id = :tenant"), {"tenant": region.tenant_id}
    )
    return int(found.scalar_one())


async def _run(connection: AsyncConnection, statement: str, parameters: dict[str, Any]) -> int:
    prepared = text(statement)
    names = set(prepared.compile().params)
    typed = [
        bindparam(name, type_=kind)
        for name, kind in (
            ("tenant", Uuid()),
            ("operator", Uuid()),
            ("places", ARRAY(Text())),
            ("things", ARRAY(Text())),
            ("voters", ARRAY(Uuid())),
        )
        if name in names
    ]
    result = await connection.execute(
        prepared.bindparams(*typed), {name: value for name, value in parameters.items() if name in names}
    )
    return int(result.rowcount)


async def _parameters(
    connection: AsyncConnection, region: Region, now: datetime, missing: dict[str, int]
) -> dict[str, Any]:
    words, kinds = load("bulk"), load("kinds")
    voters = await connection.execute(text(_VOTERS), {"tenant": region.tenant_id})
    crews = [
        {
            **{key: str(value) if key.endswith("_id") else value for key, value in crew._asdict().items()},
            "rate_in": kinds["models"][crew.model]["input"],
            "rate_out": kinds["models"][crew.model]["output"],
        }
        for crew in region.crews
    ]
    titles = [{"kind": kind, "title": title} for kind, texts in words["titles"].items() for title in texts]
    first = now - timedelta(days=FIRST_DAY)
    return {
        "tenant": region.tenant_id,
        "operator": region.operator_id,
        "now": now,
        "first": first,
        "span": now - _LAST - first,
        "agents": missing["agent_instances"],
        "tasks": missing["tasks"],
        "runs": missing["runs"],
        "calls": missing["tool_calls"],
        "crews": orjson.dumps(crews).decode(),
        "titles": orjson.dumps(titles).decode(),
        "risks": orjson.dumps({name: tool["risk"] for name, tool in kinds["tools"].items()}).decode(),
        "places": words["places"],
        "things": words["things"],
        "voters": list(voters.scalars()),
    }


_VOTERS: Final = """
    SELECT DISTINCT o.id FROM operators o
    JOIN role_assignments a ON a.tenant_id = o.tenant_id AND a.operator_id = o.id
    JOIN roles r ON r.tenant_id = a.tenant_id AND r.id = a.role_id
    WHERE o.tenant_id = :tenant AND o.status = 'ACTIVE' AND r.permissions @> ARRAY['approve:approvals']
        AND a.expires_at IS NULL AND a.project_id IS NULL AND a.environment_id IS NULL
    ORDER BY o.id
"""
