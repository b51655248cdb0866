"""The data of bench/growth.py: agents in generations, and a log of op events that is filled up step by step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from bench.fleet import Fleet
from bench.ingest_client import by_copy
from bench.write_fleet import Tenant
from db.ids import created_at, new_id

TALKERS: Final = 10
"""Agents that all events belong to, in turn."""
GENERATIONS: Final = 6
WIDTH: Final = 50
"""Agents of a generation; each has one parent in the one before, and one child in the next."""
APART: Final = timedelta(seconds=1)
"""Of two events: the log is as dense at every size, and a larger one goes on for longer."""

_PART: Final = 20_000
"""Rows of one COPY."""
_BEGAN_BEFORE: Final = timedelta(days=13)
_LINKED: Final = 10
"""Every so many events link a change record."""
_TYPES: Final = ("RUN_STEP", "TOOL_CALL_STARTED", "TOOL_CALL_COMPLETED", "DECISION_MADE")
_COLUMNS: Final = (
    *("tenant_id", "id", "type", "timestamp", "instance_id", "version_id", "project_id", "payload"),
    *("change_record_id", "seq"),
)


@dataclass(frozen=True)
class Log:
    """The op events of one tenant: the n-th happened `APART` after the one before it, and has the number n + 1."""

    tenant_id: UUID
    began: datetime
    talkers: Sequence[tuple[UUID, UUID, UUID]]
    """Instance, version and project."""
    change_records: Sequence[UUID]

    def moment(self, number: int) -> datetime:
        """When the event of this place happened."""
        return self.began + APART * number


async def open_log(fleet: Fleet, tenant: Tenant) -> Log:
    """An empty one."""
    connection = await asyncpg.connect(fleet.platform_url)
    try:
        agents = await connection.fetch(
            "SELECT id, version_id, project_id FROM agent_instances WHERE tenant_id = $1 AND id = ANY($2) ORDER BY id",
            *(tenant.id, list(tenant.instances[:TALKERS])),
        )
        changes = await connection.fetch("SELECT id FROM change_records WHERE tenant_id = $1 ORDER BY id", tenant.id)
    finally:
        await connection.close()
    began = datetime.now(UTC).replace(microsecond=0) - _BEGAN_BEFORE
    return Log(tenant.id, began, [(one[0], one[1], one[2]) for one in agents], [one[0] for one in changes])


def fill(fleet: Fleet, log: Log, first: int, last: int) -> None:
    """Adds the events of the places from `first` to before `last`, and settles statistics and visibility."""
    for begin in range(first, last, _PART):
        part = "".join(_lines(log, begin, min(begin + _PART, last))).encode()
        asyncio.run(by_copy(fleet.platform_url, _COLUMNS, [part], 1))
    asyncio.run(_settle(fleet))


def _lines(log: Log, first: int, last: int) -> Iterator[str]:
    chance = random.Random(first)
    for number in range(first, last):
        at = log.moment(number)
        payload = {
            "toolName": "search",
            "durationMs": chance.randrange(3_000),
            "inputTokens": chance.randrange(5_000),
            "summary": "looked for seasonal vegetables in autumn and read what was found",
        }
        linked = log.change_records and number % _LINKED == 0
        change = log.change_records[number // _LINKED % len(log.change_records)] if linked else r"\N"
        row = (
            *(log.tenant_id, new_id(at), _TYPES[number // TALKERS % len(_TYPES)], at.isoformat()),
            *log.talkers[number % len(log.talkers)],
            *(orjson.dumps(payload).decode(), change, number + 1),
        )
        yield "\t".join(map(str, row)) + "\n"


async def _settle(fleet: Fleet) -> None:
    connection = await asyncpg.connect(fleet.owner_url)
    try:
        await connection.execute("VACUUM (ANALYZE) op_events, agent_instances")
    finally:
        await connection.close()


async def ids_of(fleet: Fleet, log: Log, numbers: Sequence[int]) -> list[UUID]:
    """The ids of the events of these places, in no order."""
    connection = await asyncpg.connect(fleet.platform_url)
    try:
        rows = await connection.fetch(
            "SELECT id FROM op_events WHERE tenant_id = $1 AND seq = ANY($2::bigint[])",
            *(log.tenant_id, [number + 1 for number in numbers]),
        )
        return [row[0] for row in rows]
    finally:
        await connection.close()


async def add_generations(fleet: Fleet, tenant: Tenant) -> list[datetime]:
    """Agents that made agents, older than all others of the tenant; when each generation was made, oldest first."""
    first = created_at(tenant.instances[0]) - timedelta(days=GENERATIONS + 1)
    times = [first + timedelta(days=number) for number in range(GENERATIONS)]
    connection = await asyncpg.connect(fleet.platform_url)
    try:
        parents: list[UUID | None] = [None] * WIDTH
        for generation, began in enumerate(times):
            made: list[UUID | None] = []
            for number, parent in enumerate(parents):
                at = began + timedelta(milliseconds=number)
                row_id = new_id(at)
                changed = {
                    "id": row_id,
                    "name": f"agent-{generation}-{number}",
                    "parent_instance_id": parent,
                    "created_at": at,
                }
                await connection.execute(_LIKE_ANOTHER, tenant.id, tenant.instances[0], orjson.dumps(changed).decode())
                made.append(row_id)
            parents = made
    finally:
        await connection.close()
    return times


_LIKE_ANOTHER: Final = """
    INSERT INTO agent_instances
    SELECT made.* FROM agent_instances agent, jsonb_populate_record(agent, $3::jsonb) made
    WHERE agent.tenant_id = $1 AND agent.id = $2
"""
