"""What a verdict rests on, as a question to the database: one statement, which holds no more than was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import TextClause, text

from app.governance.policy.spawning import MOST_STARTED
from db.ids import first_id_at
from db.texts import DriverText

_LONGEST_DAY: Final = timedelta(hours=26)
"""No day of a time zone is longer; bounds the runs that are looked at for today's tokens."""

NEWEST_MODE: Final = """
    (SELECT mode FROM operator_controls control
     WHERE control.tenant_id = subject.tenant_id AND control.project_id {}
     ORDER BY control.id DESC LIMIT 1)
"""
"""The mode of a row `subject`'s tenant, or of one of its projects: `{}` is the condition on the project (EMG-1)."""

SUBJECTS: Final = """
    SELECT instance.tenant_id, instance.id AS instance_id, instance.version_id, instance.project_id,
        instance.policy_envelope_id, version.template_id
    FROM agent_instances instance
    JOIN agent_versions version ON version.tenant_id = instance.tenant_id AND version.id = instance.version_id
    WHERE instance.tenant_id = :tenant
"""
"""Agents of the tenant as the rows `subject` that the fragments below speak of; add which ones."""

APPLIES: Final = """
    envelope.tenant_id = subject.tenant_id AND envelope.active
       AND (envelope.attached_to_tenant
            OR envelope.attached_to_project_id = subject.project_id
            OR envelope.attached_to_template_id = subject.template_id
            OR envelope.attached_to_version_id = subject.version_id
            OR envelope.id = subject.policy_envelope_id)
"""
"""Whether a row `envelope` has to do with a row `subject` (POL-4)."""

ENVELOPES: Final = f"""
    (SELECT jsonb_agg(to_jsonb(envelope) - 'metadata' - 'name' ORDER BY envelope.id) FROM policy_envelopes envelope
     WHERE {APPLIES})
"""
"""The active envelopes of all levels that a row `subject` has to do with."""


class _Parts(NamedTuple):
    """Which of the facts a question is about, beside those that every verdict rests on."""

    task: bool
    run: bool
    child: bool
    spawn: bool
    request: bool


_FLEET: Final = f"""
    jsonb_build_object(
        'active', (SELECT count(*) FROM agent_instances WHERE tenant_id = subject.tenant_id AND state = 'ACTIVE'),
        'children', (SELECT count(*) FROM agent_instances child WHERE child.tenant_id = subject.tenant_id
            AND child.parent_instance_id = subject.instance_id AND child.state <> 'RETIRED'),
        'started', (SELECT jsonb_agg(extract(epoch FROM CAST(:now AS timestamptz) - at) ORDER BY at DESC)
            FROM (SELECT created_at AS at FROM agent_instances child WHERE child.tenant_id = subject.tenant_id
                AND child.parent_instance_id = subject.instance_id ORDER BY id DESC LIMIT {MOST_STARTED}) latest),
        'depth', (
            WITH RECURSIVE above AS (
                SELECT subject.parent_instance_id AS id, 1 AS height WHERE subject.parent_instance_id IS NOT NULL
                UNION ALL
                SELECT parent.parent_instance_id, above.height + 1
                FROM above JOIN agent_instances parent
                    ON parent.tenant_id = subject.tenant_id AND parent.id = above.id
                WHERE parent.parent_instance_id IS NOT NULL AND above.height < 100
            ) SELECT count(*) FROM above))::text
"""
_TASK: Final = """
    (SELECT jsonb_build_object('type', type, 'status', status, 'cost', actual_cost::text,
            'budget', budget_allocated::text, 'projectId', project_id)
     FROM tasks WHERE tenant_id = subject.tenant_id AND id = {})::text
"""
_CHILD_ROLE: Final = """
    (SELECT coalesce(default_role, '') FROM agent_templates
     WHERE tenant_id = subject.tenant_id AND id = CAST(:child_template AS uuid))
"""
_REQUEST: Final = """
    (SELECT jsonb_build_object('id', id, 'status', status, 'grant', metadata -> 'grant', 'toolCallId', tool_call_id)
     FROM approval_records WHERE tenant_id = subject.tenant_id AND idempotency_key = CAST(:key AS text))::text
"""
_RUN: Final = """
LEFT JOIN runs run ON run.tenant_id = subject.tenant_id AND run.id = CAST(:run AS uuid)
    AND run.instance_id = subject.instance_id
"""


@cache
def _facts_of(parts: _Parts) -> tuple[TextClause, DriverText]:
    """The statement for each of the two ways to send one.

    What nobody asked about is not in it: Postgres locks every table and prepares every part of a plan, used or not. The
    OFFSET keeps the planner from reading the envelopes once for each place that they are used in.
    Who asks about an instance asks about its version too; who asks about a version alone gets no instance's columns.
    """
    if parts.run:
        task_id = "coalesce(CAST(:task AS uuid), run.task_id)"
    else:
        task_id = "CAST(:task AS uuid)" if parts.task else "NULL::uuid"
    sql = f"""
WITH subject AS (
    SELECT version.tenant_id, version.id AS version_id, version.template_id, version.lifecycle_state, version.genome,
        version.genome_hash, version.metadata ->> 'source' AS source,
        instance.id AS instance_id, instance.state, instance.environment_id, instance.policy_envelope_id,
        instance.cost_caps, instance.spend_today, instance.spend_month, instance.spend_reset_at,
        instance.parent_instance_id, instance.metadata, instance.project_id AS own_project_id,
        coalesce(CAST(:project AS uuid), instance.project_id) AS project_id
    FROM agent_versions version
    LEFT JOIN agent_instances instance
        ON instance.tenant_id = version.tenant_id AND instance.id = CAST(:instance AS uuid)
    WHERE version.tenant_id = :tenant AND version.id = coalesce(
        CAST(:version AS uuid),
        (SELECT version_id FROM agent_instances WHERE tenant_id = :tenant AND id = CAST(:instance AS uuid)))
), found AS (
    SELECT {ENVELOPES} AS envelopes FROM subject OFFSET 0
)
SELECT tenant.active AS tenant_active, tenant.timezone, tenant.settings -> 'safetyFloor' ->> 'maxTier' AS max_tier,
    subject.version_id, subject.template_id, subject.lifecycle_state, subject.genome::text AS genome,
    subject.genome_hash, subject.source, subject.instance_id, subject.state, subject.environment_id,
    subject.policy_envelope_id, subject.cost_caps::text AS cost_caps, subject.spend_today, subject.spend_month,
    subject.spend_reset_at, (subject.metadata -> 'budgetExtra')::text AS budget_extra,
    subject.own_project_id, project.id AS project_id, found.envelopes::text AS envelopes,
    ARRAY[
        {NEWEST_MODE.format("IS NULL")},
        {NEWEST_MODE.format("= subject.project_id")},
        {NEWEST_MODE.format("= subject.own_project_id")}
    ] AS modes,
    (SELECT jsonb_agg(jsonb_build_array(id, slug, name)) FROM environments
     WHERE tenant_id = subject.tenant_id AND is_production)::text AS production,
    {_TASK.format(task_id) if parts.task or parts.run else "NULL"} AS task,
    {task_id} AS task_id,
    {"run.status" if parts.run else "NULL"} AS run_status,
    {_CHILD_ROLE if parts.child else "NULL"} AS child_role,
    {_REQUEST if parts.request else "NULL"} AS asked,
    CASE WHEN subject.state = 'DRAINING' THEN EXISTS (
        SELECT FROM runs WHERE tenant_id = subject.tenant_id AND instance_id = subject.instance_id
            AND status = 'RUNNING') ELSE false END AS has_running_run,
    {_FLEET if parts.spawn else "NULL"} AS fleet,
    CASE WHEN jsonb_path_exists(found.envelopes, '$[*].cost_limits.dailyTokens') THEN (
        SELECT sum(input_tokens + output_tokens) FROM runs spent
        WHERE spent.tenant_id = subject.tenant_id AND spent.instance_id = subject.instance_id
            AND spent.id >= CAST(:since AS uuid)
            AND spent.started_at >= date_trunc('day', CAST(:now AS timestamptz), tenant.timezone)
    ) END AS tokens_today
FROM subject
JOIN tenants tenant ON tenant.id = subject.tenant_id
CROSS JOIN found
LEFT JOIN projects project ON project.tenant_id = subject.tenant_id AND project.id = subject.project_id
{_RUN if parts.run else ""}
"""
    return text(sql), DriverText(sql)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whose facts are wanted: an instance's, or a version's as if one of its instances were ACTIVE."""

    tenant_id: UUID
    now: datetime
    instance_id: UUID | None = None
    version_id: UUID | None = None
    project_id: UUID | None = None
    """Instead of the instance's own."""
    task_id: UUID | None = None
    run_id: UUID | None = None
    """A run of the instance; its task is the task where none is named."""
    child_template_id: UUID | None = None
    is_spawn: bool = False
    key: str | None = None
    """Idempotency key that an earlier request for approval may have (POL-11)."""

    @property
    def statement(self) -> TextClause:
        """The one statement that answers it."""
        statement, driver_text = _facts_of(self._parts)
        values = self.values
        return statement.bindparams(**{name: values[name] for name in driver_text.names})

    @property
    def driver_text(self) -> DriverText:
        """The same for the driver itself."""
        return _facts_of(self._parts)[1]

    @property
    def _parts(self) -> _Parts:
        return _Parts(
            task=self.task_id is not None,
            run=self.run_id is not None,
            child=self.child_template_id is not None,
            spawn=self.is_spawn,
            request=self.key is not None,
        )

    @property
    def values(self) -> Mapping[str, Any]:
        """What its names stand for."""
        return {
            "tenant": self.tenant_id,
            "now": self.now,
            "instance": self.instance_id,
            "version": self.version_id,
            "project": self.project_id,
            "task": self.task_id,
            "run": self.run_id,
            "child_template": self.child_template_id,
            "key": self.key,
            "since": first_id_at(self.now - _LONGEST_DAY),
        }
