"""The six detectors of loops, as one statement for all tasks of a tenant (LOOP-1).

It starts from what happened lately, not from the tasks: what nothing happened to is not in a loop. What made a loop
before its task was last blocked for one does not count again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.execution.rules.work import RUN_CAP
from app.governance.defaults import LOOP_THRESHOLDS
from app.governance.question import APPLIES
from db.ids import first_id_at

LOOP_DETECTED: Final = "LOOP_DETECTED"
"""Type of the alert of a loop."""
LONGEST_WINDOW: Final = 24 * 60
"""Minutes that a window of an envelope reaches back at most."""
TOOL_WINDOW: Final = timedelta(minutes=10)
"""LOOP-1. Within which a tool fails again and again."""
_USUAL_RUN: Final = 2 * 60
"""Minutes. What began before is not looked at for what failed lately, unless an envelope lets runs go on for longer
(RUN-6)."""
DEFAULTS: Final[Mapping[str, int]] = {**LOOP_THRESHOLDS, "maxFailedRuns": 5, "failedRunWindow": 10}
"""LOOP-1. They always apply: an envelope replaces them key by key."""

_GIVEN: Final = text(
    "SELECT CASE jsonb_typeof(loop_thresholds) WHEN 'object' THEN loop_thresholds::text ELSE '{}' END AS thresholds,"
    f" CASE jsonb_typeof(caps -> '{RUN_CAP}') WHEN 'number' THEN (caps ->> '{RUN_CAP}')::numeric ELSE 0 END AS longest"
    " FROM policy_envelopes WHERE tenant_id = :tenant AND active"
    f" AND (jsonb_typeof(loop_thresholds) = 'object' OR jsonb_typeof(caps -> '{RUN_CAP}') = 'number')"
)

_LIMITS: Final = ", ".join(f"least((limits.found ->> '{key}')::numeric, 1000000)::int AS \"{key}\"" for key in DEFAULTS)


def _since_of(key: str) -> str:
    """When a task's window begins."""
    return f'CAST(:now AS timestamptz) - make_interval(mins => least(task."{key}", {LONGEST_WINDOW}))'


_DETECT: Final = text(
    f"""
WITH said AS MATERIALIZED (
    SELECT task_id, id, created_at, author_instance_id FROM messages
    WHERE tenant_id = :tenant AND id >= CAST(:said_since AS uuid)
), moved AS MATERIALIZED (
    SELECT target_id AS task_id, timestamp, before_state ->> 'status' AS origin, after_state ->> 'status' AS goal
    FROM change_records
    WHERE tenant_id = :tenant AND id >= CAST(:moved_since AS uuid)
        AND type = 'TASK_TRANSITIONED' AND target_entity = 'Task'
), failed AS MATERIALIZED (
    SELECT call.run_id, call.tool_name, coalesce(call.error, '') AS error, call.instance_id, call.ended_at,
        call.retry_count + 1 AS times, coalesce(call.task_id, run.task_id) AS task_id
    FROM tool_calls call JOIN runs run ON run.tenant_id = call.tenant_id AND run.id = call.run_id
    WHERE call.tenant_id = :tenant AND call.id >= CAST(:began_since AS uuid)
        AND call.status = 'FAILED' AND call.ended_at > CAST(:failed_since AS timestamptz)
), suspect AS (
    SELECT task_id AS id FROM said GROUP BY task_id HAVING count(*) > :least_said
    UNION SELECT id FROM tasks WHERE tenant_id = :tenant AND review_cycles > :least_cycles
        AND status IN ('INBOX', 'ASSIGNED', 'IN_PROGRESS', 'REVIEW', 'NEEDS_APPROVAL')
    UNION SELECT task_id FROM moved GROUP BY task_id HAVING count(*) >= :least_moved
    UNION SELECT task_id FROM runs
        WHERE tenant_id = :tenant AND id >= CAST(:began_since AS uuid) AND status = 'FAILED' AND task_id IS NOT NULL
    UNION SELECT task_id FROM failed WHERE task_id IS NOT NULL
), subject AS MATERIALIZED (
    SELECT task.tenant_id, task.id, task.project_id, task.review_cycles, agent.id AS instance_id, agent.version_id,
        agent.policy_envelope_id, version.template_id, past.at AS since, past.cycles
    FROM suspect
    JOIN tasks task ON task.tenant_id = :tenant AND task.id = suspect.id
    LEFT JOIN LATERAL (SELECT assignee.instance_id FROM task_assignees assignee
        WHERE assignee.tenant_id = task.tenant_id AND assignee.task_id = task.id
        ORDER BY assignee.position LIMIT 1) first ON true
    LEFT JOIN agent_instances agent ON agent.tenant_id = task.tenant_id AND agent.id = first.instance_id
    LEFT JOIN agent_versions version ON version.tenant_id = agent.tenant_id AND version.id = agent.version_id
    CROSS JOIN LATERAL (SELECT max(alert.created_at) AS at,
            max((alert.loop_data ->> 'reviewCycles')::numeric) AS cycles,
            coalesce(bool_or(alert.status = 'OPEN'), false) AS is_open
        FROM alerts alert
        WHERE alert.tenant_id = task.tenant_id AND alert.task_id = task.id AND alert.type = '{LOOP_DETECTED}') past
    WHERE task.status IN ('INBOX', 'ASSIGNED', 'IN_PROGRESS', 'REVIEW', 'NEEDS_APPROVAL') AND NOT past.is_open
), task AS MATERIALIZED (
    SELECT subject.*, {_LIMITS}
    FROM subject CROSS JOIN LATERAL (
        SELECT CAST(:defaults AS jsonb) || coalesce(jsonb_object_agg(entry.key, entry.value ORDER BY
            CASE WHEN envelope.id = subject.policy_envelope_id THEN 3 WHEN envelope.attached_to_version_id IS NOT NULL
                THEN 3 WHEN envelope.attached_to_template_id IS NOT NULL THEN 2
                WHEN envelope.attached_to_project_id IS NOT NULL THEN 1 ELSE 0 END,
            envelope.priority, envelope.id), '{{}}') AS found
        FROM policy_envelopes envelope
        CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(envelope.loop_thresholds) WHEN 'object'
            THEN envelope.loop_thresholds ELSE '{{}}' END) entry
        WHERE {APPLIES} AND jsonb_typeof(entry.value) = 'number'
            -- An agent's own envelope stands in the place of its version's (POL-4).
            AND NOT (envelope.attached_to_version_id IS NOT NULL AND envelope.id <> subject.policy_envelope_id
                AND EXISTS (SELECT FROM policy_envelopes own WHERE own.tenant_id = subject.tenant_id
                    AND own.id = subject.policy_envelope_id AND own.active))
    ) limits
), turn AS (
    SELECT said.task_id, said.id, said.author_instance_id AS author, task."maxPingPong" AS threshold,
        lag(said.author_instance_id) OVER thread AS last, lag(said.author_instance_id, 2) OVER thread AS last_but_one
    FROM task JOIN said ON said.task_id = task.id
    WHERE said.created_at > {_since_of("pingPongWindowMinutes")}
        AND (task.since IS NULL OR said.created_at > task.since)
    WINDOW thread AS (PARTITION BY said.task_id ORDER BY said.id)
), swing AS (
    SELECT turn.*, coalesce(author <> last AND author = last_but_one, false) AS goes_on,
        count(*) FILTER (WHERE NOT coalesce(author <> last AND author = last_but_one, false))
            OVER (PARTITION BY task_id ORDER BY id) AS stretch
    FROM turn
), hit AS (
    SELECT 1 AS rank, 'COMMENT_STORM' AS type, task.id, count(*) AS count, task."maxCommentsPerWindow" AS threshold,
        NULL AS tool, NULL::uuid AS culprit
    FROM task JOIN said ON said.task_id = task.id
    WHERE said.created_at > {_since_of("windowMinutes")}
        AND (task.since IS NULL OR said.created_at > task.since)
    GROUP BY task.id, task."maxCommentsPerWindow" HAVING count(*) > task."maxCommentsPerWindow"
    UNION ALL
    SELECT 2, 'REVIEW_PING_PONG', id, review_cycles, "maxReviewCycles", NULL, NULL FROM task
    WHERE review_cycles > "maxReviewCycles" AND review_cycles > coalesce(cycles, 0)
    UNION ALL
    SELECT 3, 'BACK_AND_FORTH', id, sum(times), threshold, NULL, NULL
    FROM (
        SELECT task.id, count(*) AS times, task."backAndForthLimit" AS threshold
        FROM task JOIN moved ON moved.task_id = task.id
        WHERE moved.timestamp > {_since_of("backAndForthWindowMinutes")}
            AND (task.since IS NULL OR moved.timestamp > task.since)
        GROUP BY task.id, task."backAndForthLimit", moved.origin, moved.goal
    ) pair
    GROUP BY id, threshold HAVING sum(times) >= threshold AND max(times) >= ceil(threshold / 2.0)
    UNION ALL
    SELECT 4, 'AGENT_PING_PONG', task_id, count(*) + 2, threshold, NULL, NULL FROM swing WHERE goes_on
    GROUP BY task_id, stretch, threshold HAVING count(*) + 2 > threshold
    UNION ALL
    SELECT 5, 'REPEATED_FAILURES', task.id, recent.failures, task."maxFailedRuns", NULL, NULL
    FROM task CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE last.status = 'FAILED') AS failures FROM (
            SELECT run.status FROM runs run
            WHERE run.tenant_id = :tenant AND run.task_id = task.id
                AND (task.since IS NULL OR run.started_at > task.since)
            ORDER BY run.id DESC LIMIT task."failedRunWindow") last
    ) recent
    WHERE recent.failures >= task."maxFailedRuns"
    UNION ALL
    SELECT 6, 'TOOL_RETRY', task.id, sum(failed.times), task."toolRetryLimit", failed.tool_name, failed.instance_id
    FROM task JOIN failed ON failed.task_id = task.id
    WHERE task.since IS NULL OR failed.ended_at > task.since
    GROUP BY task.id, failed.run_id, failed.tool_name, failed.error, failed.instance_id, task."toolRetryLimit"
    HAVING sum(failed.times) >= task."toolRetryLimit"
)
SELECT DISTINCT ON (hit.id) hit.id AS task_id, hit.type, hit.count::int AS count, hit.threshold, hit.tool, hit.culprit,
    subject.instance_id, subject.review_cycles
FROM hit JOIN subject ON subject.id = hit.id
ORDER BY hit.id, hit.rank, hit.count DESC, hit.tool
LIMIT :limit
"""
)


@dataclass(frozen=True)
class Loop:
    """A task that goes in circles."""

    task_id: UUID
    type: str
    """The detector that saw it; where several do, the first in the order of LOOP-1."""
    count: int
    threshold: int
    tool: str | None
    """For TOOL_RETRY: the tool that fails."""
    culprit: UUID | None
    """For TOOL_RETRY: the agent that calls it."""
    instance_id: UUID | None
    """The task's first agent."""
    review_cycles: int

    @property
    def text(self) -> str:
        """LOOP-2. What is said of it."""
        return f"Loop detected: {self.type} ({self.count} > {self.threshold})"


async def find_loops(session: AsyncSession, tenant_id: UUID, now: datetime, limit: int) -> list[Loop]:
    """Every task of the tenant that is in a loop: two statements, the thresholds that there are and the detectors."""
    envelopes = (await session.execute(_GIVEN, {"tenant": tenant_id})).all()
    given = [orjson.loads(row.thresholds) for row in envelopes]
    longest = int(min(max([_USUAL_RUN, *(row.longest for row in envelopes)]), LONGEST_WINDOW))
    found = await session.execute(
        _DETECT,
        {
            "tenant": tenant_id,
            "now": now,
            "limit": limit,
            "defaults": orjson.dumps(DEFAULTS).decode(),
            "said_since": _since(now, given, "windowMinutes", "pingPongWindowMinutes"),
            "moved_since": _since(now, given, "backAndForthWindowMinutes"),
            "began_since": first_id_at(now - timedelta(minutes=longest)),
            "failed_since": now - TOOL_WINDOW,
            "least_said": min(_values(given, "maxCommentsPerWindow", "maxPingPong")),
            "least_cycles": min(_values(given, "maxReviewCycles")),
            "least_moved": min(_values(given, "backAndForthLimit")),
        },
    )
    return [Loop(**row._mapping) for row in found]


def _values(given: Iterable[Mapping[str, Any]], *keys: str) -> list[int]:
    """What some envelope or the default says to these thresholds."""
    values = [one.get(key) for one in (DEFAULTS, *given) for key in keys]
    return [int(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]


def _since(now: datetime, given: Iterable[Mapping[str, Any]], *keys: str) -> UUID:
    """The first id of the longest of these windows."""
    return first_id_at(now - timedelta(minutes=min(max(_values(given, *keys)), LONGEST_WINDOW)))
