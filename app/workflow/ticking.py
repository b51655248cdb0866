"""The tick of the workflows: finds the runs whose step at hand is due, and gives a command for each (WF-3)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text

from app.auth.actor import system_actor
from app.running import run_as_system
from db.session import Database

BATCH: Final = 200
"""Runs of one look; those that are left come with the next tick."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.workflow")

_DUE: Final = text(
    """
WITH at_hand AS (
    SELECT run.tenant_id, run.id, run.status, run.project_id, run.steps -> run.current_step_index AS step
    FROM workflow_runs run
    WHERE run.tenant_id = :tenant AND run.status IN ('RUNNING', 'PENDING')
), modes AS (
    SELECT DISTINCT ON (project_id) project_id, mode
    FROM operator_controls WHERE tenant_id = :tenant ORDER BY project_id, id DESC
)
SELECT at_hand.id, at_hand.step ->> 'status' = 'PENDING' AS begins
FROM at_hand
LEFT JOIN tasks task ON task.tenant_id = at_hand.tenant_id AND task.id::text = at_hand.step ->> 'taskId'
WHERE CASE at_hand.step ->> 'status'
    WHEN 'PENDING' THEN (
        at_hand.step ->> 'nextTryAt' IS NULL OR CAST(at_hand.step ->> 'nextTryAt' AS timestamptz) <= :now
    ) AND NOT EXISTS (
        SELECT FROM modes
        WHERE modes.mode <> 'NORMAL' AND (modes.project_id IS NULL OR modes.project_id = at_hand.project_id)
    )
    WHEN 'RUNNING' THEN at_hand.status = 'RUNNING' AND (
        task.id IS NULL OR task.status IN ('DONE', 'FAILED', 'CANCELED')
        OR CAST(at_hand.step ->> 'timeoutAt' AS timestamptz) < :now
    )
    ELSE false
END
ORDER BY at_hand.status = 'PENDING', at_hand.id
LIMIT :batch
"""
)


async def tick(database: Database, tenant_id: UUID) -> None:
    """Bring every run forward that can go: those that run first, then those that wait for their first step.

    One that fails by a mistake of ours is told in the log and does not stop the others; the last such error is raised
    in the end, for the job's row. May be run by two at once.
    """
    failure: Exception | None = None
    for run_id, begins in await due_runs(database, tenant_id):
        name = "begin_workflow_step" if begins else "judge_workflow_step"
        try:
            await run_as_system(database, tenant_id, name, {"run_id": run_id})
            if not begins:
                await run_as_system(database, tenant_id, "begin_workflow_step", {"run_id": run_id})
        except Exception as error:
            failure = error
            log.exception("a workflow run could not be brought forward", run_id=str(run_id))
    if failure is not None:
        raise failure


async def due_runs(database: Database, tenant_id: UUID) -> list[tuple[UUID, bool]]:
    """Runs whose step at hand begins (true) or is to be judged (false), in their order: one statement."""
    async with database.transaction(system_actor(tenant_id)) as session:
        found = await session.execute(_DUE, {"tenant": tenant_id, "now": datetime.now(UTC), "batch": BATCH})
        return [(row.id, row.begins) for row in found]
