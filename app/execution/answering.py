"""What a heartbeat is answered with: two statements, whatever there is to tell (HB-2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.governance.loading import policy_in
from app.governance.policy import EffectivePolicy
from app.governance.policy.budget import BUDGET_EXTRA, budget_extra, money_left, spent
from app.governance.question import ENVELOPES, NEWEST_MODE, SUBJECTS
from app.platform.rules import strictest
from app.redaction import REDACTED
from db.base import JsonObject
from db.enums import OperatorMode
from db.models import AgentInstance

MOST_NOTIFICATIONS: Final = 30
"""NOT-1. Messages of one answer, the oldest first; they count as read from then on."""
MOST_TASKS: Final = 20
"""Tasks of each of the two lists, the most urgent first."""
MOST_APPROVALS: Final = 30

_TASK: Final = """jsonb_build_object('id', task.id, 'title', task.title, 'type', task.type, 'status', task.status,
    'priority', task.priority, 'dueAt', task.due_at)"""

# The notifications are read and marked in one go; what another heartbeat of the same agent is about to tell is passed
# over, so that each is told once.
_ANSWER: Final = text(
    f"""
WITH subject AS ({SUBJECTS} AND instance.id = :instance
), waiting AS (
    SELECT id FROM notifications
    WHERE tenant_id = :tenant AND instance_id = :instance AND read_at IS NULL
        AND (expires_at IS NULL OR expires_at > :now)
    ORDER BY id LIMIT {MOST_NOTIFICATIONS} FOR UPDATE SKIP LOCKED
), told AS (
    UPDATE notifications SET read_at = :now, updated_at = :now
    FROM waiting WHERE notifications.tenant_id = :tenant AND notifications.id = waiting.id
    RETURNING notifications.*
)
SELECT subject.policy_envelope_id, {ENVELOPES}::text AS envelopes,
    tenant.settings -> 'safetyFloor' ->> 'maxTier' AS max_tier, tenant.timezone,
    (tenant.settings -> 'heartbeat')::text AS heartbeat,
    ARRAY[{NEWEST_MODE.format("IS NULL")}, {NEWEST_MODE.format("= subject.project_id")}] AS modes,
    (SELECT soul_hash FROM agent_identities identity
     WHERE identity.tenant_id = :tenant AND identity.template_id = subject.template_id
        AND (identity.instance_id IS NULL OR identity.instance_id = :instance)
     ORDER BY identity.instance_id NULLS LAST LIMIT 1) AS soul_hash,
    (SELECT jsonb_agg(jsonb_build_object('id', told.id, 'type', told.type, 'title', told.title, 'body', told.body,
        'severity', told.severity, 'taskId', told.task_id, 'approvalId', told.approval_record_id,
        'createdAt', told.created_at) ORDER BY told.id) FROM told)::text AS notifications,
    (SELECT jsonb_agg({_TASK} ORDER BY task.priority, task.id) FROM (
        SELECT task.* FROM task_assignees mine
        JOIN tasks task ON task.tenant_id = mine.tenant_id AND task.id = mine.task_id
        WHERE mine.tenant_id = :tenant AND mine.instance_id = :instance AND task.status = 'ASSIGNED'
        ORDER BY task.priority, task.id LIMIT {MOST_TASKS}) task)::text AS pending_tasks,
    (SELECT jsonb_agg(jsonb_build_object('id', asked.id, 'type', asked.request_type, 'status', asked.status,
        'summary', asked.action_summary, 'taskId', asked.task_id, 'expiresAt', asked.expires_at) ORDER BY asked.id)
     FROM (SELECT * FROM approval_records
        WHERE tenant_id = :tenant AND requester_instance_id = :instance AND status IN ('PENDING', 'ESCALATED')
        ORDER BY id LIMIT {MOST_APPROVALS}) asked)::text AS approvals
FROM subject JOIN tenants tenant ON tenant.id = subject.tenant_id
"""
)

# As text, not as parameters: that is how a prepared statement finds the queue's own index.
_CLAIMABLE: Final = text(
    f"""
SELECT task.id, CASE WHEN 'title' = ANY(task.redacted_fields) AND task.creator_instance_id IS DISTINCT FROM :instance
    AND NOT EXISTS (SELECT FROM task_assignees mine WHERE mine.tenant_id = task.tenant_id AND mine.task_id = task.id)
    THEN '{REDACTED}' ELSE task.title END AS title, task.type, task.status, task.priority, task.due_at AS "dueAt"
FROM tasks task
WHERE task.tenant_id = :tenant AND task.project_id = :project AND task.status = 'INBOX'
    AND (CAST(:types AS text[]) IS NULL OR task.type = ANY(CAST(:types AS text[])))
    AND NOT EXISTS (SELECT FROM task_assignees other
        WHERE other.tenant_id = task.tenant_id AND other.task_id = task.id AND other.instance_id <> :instance)
    AND NOT EXISTS (SELECT FROM task_dependencies edge
        JOIN tasks first ON first.tenant_id = edge.tenant_id AND first.id = edge.depends_on_task_id
        WHERE edge.tenant_id = task.tenant_id AND edge.task_id = task.id AND first.status <> 'DONE')
ORDER BY task.priority, task.id LIMIT {MOST_TASKS}
"""
)


@dataclass(frozen=True)
class Facts:
    """What holds for an agent at this moment."""

    policy: EffectivePolicy
    mode: OperatorMode
    zone: ZoneInfo
    heartbeat: Any
    """The tenant's setting `heartbeat`."""
    soul_hash: str | None
    """SHA-256 of the governed soul; None where it has none."""
    notifications: list[JsonObject]
    pending_tasks: list[JsonObject]
    approvals: list[JsonObject]


async def facts_for(session: AsyncSession, instance: AgentInstance, now: datetime) -> Facts:
    """The facts of a locked agent; its unread notifications are read with it (NOT-1)."""
    row = (await session.execute(_ANSWER.bindparams(tenant=instance.tenant_id, instance=instance.id, now=now))).one()
    return Facts(
        policy=policy_in(row),
        mode=strictest(OperatorMode(mode) for mode in row.modes if mode is not None),
        zone=ZoneInfo(row.timezone),
        heartbeat=None if row.heartbeat is None else orjson.loads(row.heartbeat),
        soul_hash=row.soul_hash,
        notifications=_list(row.notifications),
        pending_tasks=_list(row.pending_tasks),
        approvals=_list(row.approvals),
    )


def _list(found: str | None) -> list[JsonObject]:
    return [] if found is None else orjson.loads(found)


async def claimable_tasks(session: AsyncSession, instance: AgentInstance, policy: EffectivePolicy) -> list[JsonObject]:
    """The most urgent tasks of the project that the agent could claim and begin: what `taskClaim` would give it."""
    types = None if policy.task_types is None else sorted(policy.task_types)
    statement = _CLAIMABLE.bindparams(
        tenant=instance.tenant_id, project=instance.project_id, instance=instance.id, types=types
    )
    return [_task(row) for row in await session.execute(statement)]


def _task(row: Row[Any]) -> JsonObject:
    due: datetime | None = row.dueAt
    return {**row._mapping, "id": str(row.id), "dueAt": None if due is None else due.isoformat()}


@dataclass(frozen=True)
class Budget:
    """What an agent may still spend, in US dollars."""

    remaining: Decimal | None
    """The least of what is left of today's and of this month's limit, never below 0; None without a limit."""

    @property
    def is_exceeded(self) -> bool:
        """Whether a limit is used up."""
        return self.remaining is not None and self.remaining <= 0


def budget_of(instance: AgentInstance, limits: Mapping[str, Decimal], now: datetime, zone: ZoneInfo) -> Budget:
    """BUD-1 to BUD-3. What is left; a reset that is due counts as done."""
    today, month = spent(instance.spend_today, instance.spend_month, instance.spend_reset_at, now, zone)
    extra = budget_extra((instance.metadata_ or {}).get(BUDGET_EXTRA), now)
    left = money_left(limits, instance.cost_caps, today=today, month=month, extra=extra)
    return Budget(None if left is None else max(left, Decimal(0)))
