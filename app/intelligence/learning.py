"""What a finished task teaches about its agents, in the transaction that finishes it (LRN-1 to LRN-3)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, cast, func, select
from sqlalchemy.dialects.postgresql import insert

from app.intelligence.rules import MOST_EVIDENCE, Record, Trait, confidence_in, trait_of
from app.unit_of_work import UnitOfWork
from db.enums import TaskStatus
from db.ids import new_id
from db.models import AgentInstance, AgentPattern, AgentPerformance, Task, TaskAssignee


async def learn(uow: UnitOfWork, task: Task) -> None:
    """LRN-1. Count a task that is DONE or FAILED for each of its agents, at the version that each runs.

    Two statements, or three where something is learnt of it; rows are taken in the order of the agents.
    """
    done = task.status is TaskStatus.DONE
    statement = (
        select(AgentInstance.id, AgentInstance.version_id, AgentInstance.project_id)
        .join(
            TaskAssignee,
            (TaskAssignee.tenant_id == AgentInstance.tenant_id) & (TaskAssignee.instance_id == AgentInstance.id),
        )
        .where(TaskAssignee.tenant_id == uow.tenant_id, TaskAssignee.task_id == task.id)
        .order_by(AgentInstance.id)
    )
    agents = (await uow.session.execute(statement)).all()
    if not agents:
        return
    cost = task.actual_cost / len(agents) if task.actual_cost else None
    has_time = task.started_at is not None and task.completed_at is not None
    ms = (task.completed_at - task.started_at).total_seconds() * 1000 if has_time else None  # type: ignore[operator]
    found = await _count(uow, task, agents, done=done, cost=cost, ms=ms)
    await _note_patterns(uow, task, found)


async def _count(
    uow: UnitOfWork, task: Task, agents: Any, *, done: bool, cost: Decimal | None, ms: float | None
) -> list[Any]:
    """LRN-1. Counts, and running means of what is known: (old · n + new) / (n + 1)."""
    table = AgentPerformance
    fresh = insert(table).values(
        [
            {
                **_made(uow),
                "instance_id": one.id,
                "version_id": one.version_id,
                "project_id": one.project_id,
                "task_type": task.type.value,
                "success_count": int(done),
                "failure_count": int(not done),
                "avg_completion_time_ms": ms or 0.0,
                "avg_cost_usd": cost or Decimal(0),
                "total_tasks_completed": 1,
                "last_updated_at": uow.now,
            }
            for one in agents
        ]
    )
    count = table.total_tasks_completed
    changes: dict[str, Any] = {
        "success_count": table.success_count + int(done),
        "failure_count": table.failure_count + int(not done),
        "total_tasks_completed": count + 1,
        "last_updated_at": uow.now,
        "updated_at": uow.now,
    }
    if ms is not None:
        changes["avg_completion_time_ms"] = (table.avg_completion_time_ms * count + ms) / (count + 1)
    if cost is not None:
        changes["avg_cost_usd"] = (table.avg_cost_usd * count + cost) / (count + 1)
    statement = fresh.on_conflict_do_update(
        index_elements=["tenant_id", "instance_id", "version_id", "task_type"], set_=changes
    ).returning(table.instance_id, table.version_id, table.project_id, table.success_count, table.failure_count)
    return list((await uow.session.execute(statement)).all())


def _made(uow: UnitOfWork) -> dict[str, Any]:
    return {"tenant_id": uow.tenant_id, "id": new_id(uow.now), "created_at": uow.now, "updated_at": uow.now}


async def _note_patterns(uow: UnitOfWork, task: Task, found: list[Any]) -> None:
    """LRN-2, LRN-3. Strengths and weaknesses that the new counts show; what was known is surer or less sure now."""
    shown: list[tuple[Any, Trait, float]] = []
    for row in found:
        record = Record(row.success_count, row.failure_count, 0.0, 0.0)
        if (trait := trait_of(record)) is not None:
            shown.append((row, trait, confidence_in(trait, record)))
    if not shown:
        return
    rows = [
        pattern_row(
            uow,
            instance_id=row.instance_id,
            version_id=row.version_id,
            project_id=row.project_id,
            pattern=trait.named(task.type.value),
            confidence=confidence,
            evidence=[str(task.id)],
        )
        for row, trait, confidence in shown
    ]
    await see_patterns(uow, rows)


def pattern_row(
    uow: UnitOfWork,
    *,
    instance_id: UUID,
    version_id: UUID,
    project_id: UUID | None,
    pattern: str,
    confidence: float,
    evidence: list[str],
) -> dict[str, Any]:
    """A pattern as it is seen now, for `see_patterns`."""
    return {
        **_made(uow),
        "instance_id": instance_id,
        "version_id": version_id,
        "project_id": project_id,
        "pattern": pattern,
        "confidence": confidence,
        "evidence": evidence,
        "discovered_at": uow.now,
        "last_seen_at": uow.now,
    }


async def see_patterns(uow: UnitOfWork, rows: list[dict[str, Any]]) -> list[UUID]:
    """LRN-2. Note patterns, new ones and those that are seen again; one statement. Returns their ids."""
    table = AgentPattern
    fresh = insert(table).values(rows)
    old, new = table.evidence, fresh.excluded.evidence
    # Both in their order, each entry once; of too many the newest stay.
    entries = (
        func.unnest(func.array_cat(old, new)).table_valued("entry", with_ordinality="at", name="told").render_derived()
    )
    once = (
        select(entries.c.entry, func.max(entries.c.at).label("at"))
        .group_by(entries.c.entry)
        .order_by(func.max(entries.c.at).desc())
        .limit(MOST_EVIDENCE)
        .subquery()
    )
    statement = fresh.on_conflict_do_update(
        index_elements=["tenant_id", "instance_id", "version_id", "pattern"],
        set_={
            "confidence": func.least(func.greatest(0.4 * table.confidence + 0.6 * fresh.excluded.confidence, 0), 1),
            "evidence": select(func.coalesce(func.array_agg(once.c.entry), cast([], ARRAY(Text)))).scalar_subquery(),
            "last_seen_at": fresh.excluded.last_seen_at,
            "updated_at": uow.now,
        },
    ).returning(table.id)
    return list(await uow.session.scalars(statement))
