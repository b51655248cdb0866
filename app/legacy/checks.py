"""Whether an import holds: the checks of MIG-11, on what the database has now."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.engine import Engine
from app.legacy.keys import any_of
from app.legacy.mapping import Row, table_of
from app.legacy.report import Check, Report
from db.models import AgentTemplate, AgentVersion, Run, Task

_CHUNK: Final = 5_000
T = TypeVar("T")


async def check(engine: Engine) -> list[Check]:
    """All checks, in the order of MIG-11."""
    runs = engine.written.get("runs", [])
    tasks = engine.written.get("tasks", [])
    return [
        _counts(engine.world.report),
        await _lineage(engine.connection, engine.world.tenant_id, runs),
        await _costs(engine.connection, engine.world.tenant_id, runs),
        await _statuses(engine.connection, engine.world.tenant_id, tasks),
        await _sampled(engine.connection, engine.world.tenant_id, engine.sample),
    ]


def _counts(report: Report) -> Check:
    """What came in is what was written, merged, rejected and skipped."""
    off = [name for name, table in report.tables.items() if not table.balanced]
    read = sum(table.read for table in report.tables.values())
    detail = f"{read:,} documents, each accounted for" if not off else f"unbalanced: {', '.join(sorted(off))}"
    return Check("documents in = written + merged + rejected + skipped", not off, detail)


async def _lineage(connection: AsyncConnection, tenant_id: UUID, runs: Sequence[Row]) -> Check:
    """Every run leads to a version and its template."""
    run, version, template = table_of(Run), table_of(AgentVersion), table_of(AgentTemplate)
    joined = run.join(version, (version.c.tenant_id == run.c.tenant_id) & (version.c.id == run.c.version_id)).join(
        template, (template.c.tenant_id == version.c.tenant_id) & (template.c.id == version.c.template_id)
    )
    found = 0
    for ids in _chunks([row["id"] for row in runs]):
        counted = select(func.count()).select_from(joined).where(run.c.tenant_id == tenant_id, run.c.id == any_of(ids))
        found += await connection.scalar(counted) or 0
    detail = f"{found:,} of {len(runs):,} runs"
    return Check("every run leads to its version and template", found == len(runs), detail)


async def _costs(connection: AsyncConnection, tenant_id: UUID, runs: Sequence[Row]) -> Check:
    """The runs cost as much as in the snapshot, to the cent and beyond."""
    run = table_of(Run)
    expected = sum((row["cost_usd"] for row in runs), Decimal(0))
    stored = Decimal(0)
    for ids in _chunks([row["id"] for row in runs]):
        total = select(func.sum(run.c.cost_usd)).where(run.c.tenant_id == tenant_id, run.c.id == any_of(ids))
        stored += await connection.scalar(total) or Decimal(0)
    detail = f"${stored:,.2f}" if stored == expected else f"${stored} here, ${expected} in the snapshot"
    return Check("costs of runs add up", stored == expected, detail)


async def _statuses(connection: AsyncConnection, tenant_id: UUID, tasks: Sequence[Row]) -> Check:
    """Every task has the status that it had."""
    task = table_of(Task)
    wanted = {row["id"]: row["status"] for row in tasks}
    equal = 0
    for ids in _chunks(wanted):
        rows = await connection.execute(
            select(task.c.id, task.c.status).where(task.c.tenant_id == tenant_id, task.c.id == any_of(ids))
        )
        equal += sum(wanted[row_id] == status for row_id, status in rows)
    return Check("every task has its status", equal == len(wanted), f"{equal:,} of {len(wanted):,} tasks")


async def _sampled(connection: AsyncConnection, tenant_id: UUID, sample: Sequence[tuple[Table, Row]]) -> Check:
    """Rows drawn at random have in every column what the import meant them to have."""
    wrong: list[str] = []
    by_table: dict[Table, list[Row]] = {}
    for table, row in sample:
        by_table.setdefault(table, []).append(row)
    for table, rows in by_table.items():
        wanted = select(table).where(table.c.tenant_id == tenant_id, table.c.id == any_of([row["id"] for row in rows]))
        stored = {one["id"]: one for one in (await connection.execute(wanted)).mappings()}
        for row in rows:
            found = stored.get(row["id"])
            if found is None:
                wrong.append(f"{table.name} {row['id']} is missing")
                continue
            wrong += [
                f"{table.name} {row['id']}.{name} is {found[name]!r} and not {value!r}"
                for name, value in row.items()
                if found[name] != value
            ]
    detail = f"{len(sample):,} rows" if not wrong else "; ".join(wrong[:5])
    return Check("rows drawn at random are as they should be", not wrong, detail)


def _chunks(items: Iterable[T]) -> Iterable[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
