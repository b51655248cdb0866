"""The agents that a task might be given to, with all that their scores rest on: one statement (RTE-1 to RTE-3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Row, TextClause, text

from app.execution.rules.routing import Candidate
from app.execution.standing import allows
from app.governance.loading import policy_in
from app.governance.policy.budget import budget_extra, money_left, spent
from app.governance.question import ENVELOPES
from db.enums import InstanceState, TaskType

_CANDIDATES: Final = text(
    f"""
WITH subject AS (
    SELECT instance.tenant_id, instance.id AS instance_id, instance.version_id, instance.project_id,
        instance.policy_envelope_id, instance.state, instance.spend_today, instance.spend_month,
        instance.spend_reset_at, instance.cost_caps, instance.metadata, version.template_id, template.default_role,
        template.tags
    FROM agent_instances instance
    JOIN agent_versions version ON version.tenant_id = instance.tenant_id AND version.id = instance.version_id
    JOIN agent_templates template ON template.tenant_id = version.tenant_id AND template.id = version.template_id
    WHERE instance.tenant_id = :tenant AND instance.project_id = :project AND instance.state <> 'RETIRED'
        AND NOT EXISTS (SELECT FROM task_assignees given WHERE given.tenant_id = instance.tenant_id
            AND given.instance_id = instance.id AND given.task_id = :task)
), work AS (
    SELECT assignee.instance_id, count(*) AS load
    FROM task_assignees assignee
    JOIN tasks task ON task.tenant_id = assignee.tenant_id AND task.id = assignee.task_id
    WHERE assignee.tenant_id = :tenant AND task.project_id = :project AND task.status IN ('ASSIGNED', 'IN_PROGRESS')
    GROUP BY assignee.instance_id
), done AS (
    SELECT performance.instance_id, sum(success_count) AS successes, sum(failure_count) AS failures
    FROM agent_performance performance JOIN subject ON subject.instance_id = performance.instance_id
    WHERE performance.tenant_id = :tenant AND performance.task_type = :type
    GROUP BY performance.instance_id
), placed AS (
    SELECT DISTINCT ON (instance_id) instance_id, org_position FROM org_assignments
    WHERE tenant_id = :tenant AND project_id = :project
    ORDER BY instance_id, array_position(ARRAY['CEO', 'LEAD', 'SPECIALIST', 'INTERN'], org_position::text)
)
SELECT subject.instance_id, subject.state, subject.spend_today, subject.spend_month,
    subject.spend_reset_at, tenant.timezone, subject.cost_caps::text AS cost_caps,
    (subject.metadata -> 'budgetExtra')::text AS budget_extra,
    subject.policy_envelope_id, {ENVELOPES}::text AS envelopes,
    tenant.settings -> 'safetyFloor' ->> 'maxTier' AS max_tier,
    coalesce(work.load, 0) AS load, coalesce(done.successes, 0) AS successes, coalesce(done.failures, 0) AS failures,
    upper(coalesce(placed.org_position::text, subject.default_role)) AS role, subject.tags
FROM subject
JOIN tenants tenant ON tenant.id = subject.tenant_id
LEFT JOIN work ON work.instance_id = subject.instance_id
LEFT JOIN done ON done.instance_id = subject.instance_id
LEFT JOIN placed ON placed.instance_id = subject.instance_id
"""
)


def candidates_statement(tenant_id: UUID, project_id: UUID, task_id: UUID, task_type: TaskType) -> TextClause:
    """Finds the agents of the project that a task is not assigned to, for `candidates_in`."""
    return _CANDIDATES.bindparams(tenant=tenant_id, project=project_id, task=task_id, type=task_type.value)


def candidates_in(rows: Iterable[Row[Any]], task_type: TaskType, now: datetime) -> list[Candidate]:
    """The candidates that the statement found."""
    return [_candidate(row, task_type, now) for row in rows]


def _candidate(row: Row[Any], task_type: TaskType, now: datetime) -> Candidate:
    policy = policy_in(row)
    return Candidate(
        id=row.instance_id,
        is_active=row.state == InstanceState.ACTIVE,
        may_do=allows(policy, task_type),
        load=row.load,
        role=row.role,
        successes=int(row.successes),
        failures=int(row.failures),
        budget_left=_left(row, policy.cost_limits, now),
        capabilities=frozenset(tag.casefold() for tag in row.tags or ()),
    )


def _left(row: Row[Any], limits: Mapping[str, Decimal], now: datetime) -> Decimal | None:
    """US dollars that an agent has left; a reset that is due counts as done (BUD-1, BUD-2)."""
    caps = orjson.loads(row.cost_caps) if row.cost_caps else None
    today, month = spent(row.spend_today, row.spend_month, row.spend_reset_at, now, ZoneInfo(row.timezone))
    extra = budget_extra(orjson.loads(row.budget_extra) if row.budget_extra else None, now)
    return money_left(limits, caps, today=today, month=month, extra=extra)
