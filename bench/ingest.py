"""Op events coming in, against raw COPY into the same table in the same run (a part of bench/live).

    python -m bench.ingest                                   # bench/results/ingest.md and ingest.json
    python -m bench.ingest --rounds 1 --events 10000 --name ingest-quick

All events are one tenant's, of its agents' runs, with ids of their own and a payload of some 150 bytes; every way
writes the same columns, and ids of the same times, so that the table's indexes have the same work. `copy` is what
Postgres alone can do: finished rows, a role that passes row-level security, no check of anything, no number taken from
a counter, a transaction for each 2,000. `ndjson` is `POST /v1/op-events` with 5,000 events a request, `graphql` is
`opEventsRecord` with 1,000.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import asyncpg
import orjson
import typer

from app.auth.actor import ActorKind
from app.cli.showing import console
from bench import report
from bench.contenders import POOL, ContenderFailed, Request, Server
from bench.fleet import Fleet, FleetUnusable
from bench.ingest_client import by_copy, over_http, send_by
from bench.processes import cpu_seconds
from bench.write_fleet import Tenant, WritingGateway, open_empty_fleet, populate, post
from db.embedded import EmbeddedPostgresError
from db.ids import new_id

WRITERS: Final = (1, 8)
COPY_ROWS: Final = 2_000
NDJSON_EVENTS: Final = 5_000
GRAPHQL_EVENTS: Final = 1_000
RUNS: Final = 256
A_MILLISECOND: Final = 20
"""Events of one millisecond: an id begins with its time, so this is how scattered they go into the indexes."""
AIM: Final = 0.5
AIM_CELL: Final = ("ndjson", 8)
"""What part of raw COPY it is to reach, and which way with how many writers (issue 5)."""
_RECORD: Final = """
mutation Record($input: OpEventsRecordInput!) {
  opEventsRecord(input: $input) { accepted results { status id } userErrors { message } }
}
"""
_COLUMNS: Final = (
    *("tenant_id", "id", "type", "timestamp", "instance_id", "version_id", "project_id", "task_id", "run_id"),
    *("payload", "event_id", "seq"),
)
_TYPES: Final = ("RUN_STEP", "TOOL_CALL_STARTED", "TOOL_CALL_COMPLETED", "DECISION_MADE")


@dataclass(frozen=True)
class Work:
    """A run that events belong to, with what goes into its rows."""

    tenant_id: UUID
    run_id: UUID
    instance_id: UUID
    version_id: UUID
    project_id: UUID
    task_id: UUID


@dataclass(frozen=True)
class Measured:
    """One cell in one round."""

    events: int
    seconds: float
    per_second: float
    slowest_ms: float
    """The slowest request or COPY."""
    server_cpu_us: float
    """CPU time of the gateway for each event, in microseconds."""
    database_cpu_us: float
    client_busy: float
    """Which part of the time the client used its CPU."""


# --- What is sent -----------------------------------------------------------------------------------------------------


def _events(work: Sequence[Work], count: int) -> list[tuple[Work, dict[str, Any]]]:
    """Events up to this moment, as many a millisecond as a busy tenant has, each with an id of its own."""
    first = datetime.now(UTC) - timedelta(milliseconds=count // A_MILLISECOND)
    chance = random.Random(count)
    return [
        (
            one := chance.choice(work),
            {
                "type": chance.choice(_TYPES),
                "eventId": new_id().hex,
                "timestamp": _time(first + timedelta(milliseconds=number // A_MILLISECOND)),
                "runId": f"run_{one.run_id.hex}",
                "payload": {
                    "toolName": "search",
                    "durationMs": chance.randrange(3_000),
                    "status": "SUCCESS",
                    "inputTokens": chance.randrange(5_000),
                    "summary": "looked for seasonal vegetables in autumn and read what was found",
                },
            },
        )
        for number in range(count)
    ]


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parts(events: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [events[first : first + size] for first in range(0, len(events), size)]


def _ndjson(token: str, port: int, events: Sequence[tuple[Work, dict[str, Any]]]) -> list[bytes]:
    headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {token}"}
    return [
        Request("/v1/op-events", b"\n".join(orjson.dumps(event) for _, event in part), headers).raw(port)
        for part in _parts(events, NDJSON_EVENTS)
    ]


def _graphql(token: str, port: int, events: Sequence[tuple[Work, dict[str, Any]]]) -> list[bytes]:
    return [
        post(token, _RECORD, {"events": [event for _, event in part]}).raw(port)
        for part in _parts(events, GRAPHQL_EVENTS)
    ]


def _copy(first_seq: int, events: Sequence[tuple[Work, dict[str, Any]]]) -> list[bytes]:
    parts = []
    for number, part in enumerate(_parts(events, COPY_ROWS)):
        lines = []
        for place, (work, event) in enumerate(part):
            row = (
                *(work.tenant_id, new_id(datetime.fromisoformat(event["timestamp"])), event["type"]),
                *(event["timestamp"], work.instance_id, work.version_id),
                *(work.project_id, work.task_id, work.run_id, orjson.dumps(event["payload"]).decode()),
                *(event["eventId"], first_seq + number * COPY_ROWS + place),
            )
            lines.append("\t".join(map(str, row)))
        parts.append(("\n".join(lines) + "\n").encode())
    return parts


async def _add_work(fleet: Fleet, tenant: Tenant) -> list[Work]:
    """Tasks and runs of the tenant's agents."""
    connection = await asyncpg.connect(fleet.platform_url)
    try:
        agents = await connection.fetch(
            "SELECT tenant_id, id, version_id, project_id FROM agent_instances WHERE id = ANY($1) ORDER BY id",
            list(tenant.instances),
        )
        work = []
        for number in range(RUNS):
            agent = agents[number % len(agents)]
            one = Work(
                agent["tenant_id"], new_id(), agent["id"], agent["version_id"], agent["project_id"], task_id=new_id()
            )
            await connection.execute(
                "INSERT INTO tasks (tenant_id, id, project_id, title, type, status, priority, review_cycles, "
                "actual_cost, created_at, updated_at) "
                "VALUES ($1, $2, $3, 'Work', 'DOCS', 'INBOX', 3, 0, 0, now(), now())",
                *(one.tenant_id, one.task_id, one.project_id),
            )
            await connection.execute(
                "INSERT INTO runs (tenant_id, id, project_id, idempotency_key, instance_id, version_id, task_id, "
                "session_key, started_at, model, input_tokens, output_tokens, cost_usd, status, created_at, updated_at)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, 's', now(), 'm', 0, 0, 0, 'RUNNING', now(), now())",
                *(one.tenant_id, one.run_id, one.project_id, one.run_id.hex, one.instance_id, one.version_id),
                one.task_id,
            )
            work.append(one)
        return work
    finally:
        await connection.close()


async def _count(fleet: Fleet, tenant_id: UUID) -> tuple[int, int]:
    """Rows of the log, and the newest number that the counter gave."""
    connection = await asyncpg.connect(fleet.platform_url)
    try:
        rows = await connection.fetchval("SELECT count(*) FROM op_events WHERE tenant_id = $1", tenant_id)
        last = await connection.fetchval(
            "SELECT event_seq FROM gateway.tenant_counters WHERE tenant_id = $1", tenant_id
        )
        return rows, last
    finally:
        await connection.close()


# --- Measuring --------------------------------------------------------------------------------------------------------

Cell = tuple[str, int]
"""Way, writers."""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each cell is measured.")] = 5,
    events: Annotated[int, typer.Option(min=10_000, help="Events of a cell, a fourth of them for graphql.")] = 80_000,
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "ingest",
) -> None:
    """Measure both ways in and raw COPY with one and with eight writers, and write bench/results/NAME.md and .json."""
    for path in run(rounds=rounds, events=events, name=name):
        console.print(f"Written: {path}")


def run(quick: bool = False, *, rounds: int = 5, events: int = 80_000, name: str = "ingest") -> Sequence[Path]:
    """The whole benchmark; returns the two files that it wrote. `quick` is one short round, to see that all works.

    Raises ContenderFailed, FleetUnusable and EmbeddedPostgresError.
    """
    if quick:
        rounds, events, name = 1, 10_000, f"{name}-quick"
    began, load_before = report.now(), os.getloadavg()[0]
    gateway = WritingGateway()
    cells: dict[Cell, list[Measured]] = {}
    with open_empty_fleet() as fleet, gateway.running(fleet) as server:
        tokens = gateway.tokens(fleet)
        with console.status("Making a tenant with agents, tasks and runs"):
            tenant = populate(fleet, server, tokens)[0]
            work = asyncio.run(_add_work(fleet, tenant))
        token = tokens.issue(ActorKind.OPERATOR, tenant.operator, tenant=tenant.slug)
        ways = ("copy", "ndjson", "graphql")
        for turn in range(rounds + 1):  # the first warms up
            for writers in WRITERS:
                for way in (*ways[turn % 3 :], *ways[: turn % 3]):
                    count = (events if turn else 10_000) // (4 if way == "graphql" else 1)
                    count = max(count // NDJSON_EVENTS, 1) * NDJSON_EVENTS
                    console.print(f"{way}, {writers} writers", style="dim")
                    one = _measure(way, writers, count, fleet, server, token, work)
                    if turn:
                        cells.setdefault((way, writers), []).append(one)
        page = {
            **report.circumstances(began, load_before),
            "postgres": fleet.postgres_version,
            "rounds": rounds,
            "pool": POOL,
        }
    figures = [{"cell": cell, "rounds": [asdict(one) for one in found]} for cell, found in cells.items()]
    text = markdown(page, cells)
    console.print(text, markup=False)
    return report.save(name, text, {**page, "cells": figures})


def _measure(
    way: str, writers: int, count: int, fleet: Fleet, server: Server, token: str, work: Sequence[Work]
) -> Measured:
    """One cell. Raises ContenderFailed where the log has not grown by exactly what was sent, in numbers too."""
    tenant_id = work[0].tenant_id
    rows, last = asyncio.run(_count(fleet, tenant_id))
    made = _events(work, count)
    if way == "copy":
        send: Callable[[], Any] = partial(by_copy, fleet.platform_url, _COLUMNS, _copy(10**12 + rows, made), writers)
    else:
        build = _ndjson if way == "ndjson" else _graphql
        send = partial(over_http, server.port, build(token, server.port, made), writers)
    cpu = cpu_seconds([server.pid]), cpu_seconds([fleet.postgres_pid])
    seconds, (times, busy) = send_by(send)
    used = cpu_seconds([server.pid]) - cpu[0], cpu_seconds([fleet.postgres_pid]) - cpu[1]
    after, given = asyncio.run(_count(fleet, tenant_id))
    if after - rows != count or (given - last) != (0 if way == "copy" else count):
        raise ContenderFailed(f"{way}: {count} events were sent, the log grew by {after - rows} ({given - last}).")
    return Measured(
        events=count,
        seconds=seconds,
        per_second=count / seconds,
        slowest_ms=1000 * max(times),
        server_cpu_us=1e6 * used[0] / count,
        database_cpu_us=1e6 * used[1] / count,
        client_busy=busy / seconds,
    )


def share(cells: Mapping[Cell, Sequence[Measured]], cell: Cell) -> float:
    """Events a second as a part of raw COPY's with as many writers: the median of the rounds' ratios."""
    pairs = zip(cells[cell], cells["copy", cell[1]], strict=True)
    return statistics.median(one.per_second / raw.per_second for one, raw in pairs)


def table(cells: Mapping[Cell, Sequence[Measured]]) -> list[str]:
    """The medians, as lines."""

    def middle(cell: Cell, value: Callable[[Measured], float]) -> float:
        return statistics.median(map(value, cells[cell]))

    lines = [
        "| Way | Writers | Events/s | of raw COPY | slowest ms | gateway CPU µs | Postgres CPU µs | client busy |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for way, writers in sorted(cells):
        cell = (way, writers)
        lines.append(
            f"| {way} | {writers} | {middle(cell, lambda one: one.per_second):,.0f} | {share(cells, cell):.2f} "
            f"| {middle(cell, lambda one: one.slowest_ms):,.0f} | {middle(cell, lambda one: one.server_cpu_us):.1f} "
            f"| {middle(cell, lambda one: one.database_cpu_us):.1f} | {middle(cell, lambda one: one.client_busy):.0%} |"
        )
    return lines


def markdown(page: Mapping[str, Any], cells: Mapping[Cell, Sequence[Measured]]) -> str:
    """The page of results."""
    spreads = [
        (max(values) - min(values)) / statistics.median(values)
        for found in cells.values()
        for values in [[one.per_second for one in found]]
    ]
    reached = share(cells, AIM_CELL)
    lines = [
        "# Op events coming in",
        "",
        report.told(page),
        "",
        f"Medians of {page['rounds']} rounds. One tenant, one gateway process, {page['pool']} database connections, "
        "durable commits; gateway, Postgres and client share the machine, and so do others: compare within this table. "
        "The share is of raw COPY with as many writers in the same round. CPU is an event's. After each measurement "
        "the log had grown by exactly what was sent, and the tenant's counter too.",
        "",
        *table(cells),
        "",
        f"The aim is {AIM:.0%} of raw COPY for ndjson with 8 writers: {reached:.0%}, "
        f"{'reached' if reached >= AIM else 'not reached'}. Between the rounds, a cell varied by up to "
        f"{max(spreads):.0%} (highest less lowest, over the median).",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ContenderFailed, FleetUnusable, EmbeddedPostgresError) as error:
        typer.secho(str(error), fg="red", err=True)
        sys.exit(1)
