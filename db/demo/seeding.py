"""Writing the demo fleet: all of it in one transaction, once."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import asyncpg
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db import models
from db.base import Model
from db.connections import Connection, Connections
from db.demo import (
    communication,
    containment,
    evaluation,
    fleet,
    genomes,
    governance,
    intelligence,
    journal,
    notification,
    people,
    platform,
    reviews,
    runs,
    tasks,
    workflow,
)
from db.demo.bulk import enlarge
from db.demo.stage import Seal, Stage, Vocabulary
from db.logs import CHUNK, append_change_records, append_op_events, in_chunks
from db.models import AgentInstance, Tenant
from db.session import Database

TENANTS: Final = ("northwind", "globex")
"""The slugs of the two tenants."""

_LOCK: Final = 7_305_110_426_197_364_002
"""Advisory lock of whoever seeds: two that start at once take turns, and the second finds everything there."""

_ORDER: Final[tuple[type[Model], ...]] = (
    *(models.Tenant, models.Environment, models.Project, models.Operator, models.OrgMember, models.Provider),
    *(models.Permission, models.Role, models.RoleAssignment),
    *(models.AgentTemplate, models.AgentTemplateOwner, models.AgentVersion, models.PolicyEnvelope, models.Deployment),
    *(models.AgentInstance, models.AgentIdentity, models.OrgAssignment),
    *(models.Task, models.TaskAssignee, models.TaskDependency, models.Message, models.Run, models.ToolCall),
    *(models.ApprovalRecord, models.AgentVersionApproval, models.Review, models.ExecutionRequest),
    *(models.EvaluationSuite, models.EvaluationRun, models.EvaluationMetric, models.CustomScoringFunction),
    *(models.AgentPerformance, models.AgentPattern, models.AgentDocument),
    *(models.TelegraphThread, models.TelegraphMessage, models.Meeting, models.VoiceArtifact),
    *(models.Workflow, models.WorkflowRun),
    *(models.NotificationEvent, models.Notification, models.NotificationPreference),
    *(models.FeatureFlag, models.Experiment, models.ExperimentAssignment, models.ExperimentEvent),
    *(models.Alert, models.OperatorControl, models.SavedView, models.WatchSubscription, models.ThreadSubscription),
    *(models.Webhook, models.WebhookDelivery, models.Capture, models.AuditLog),
)
"""Every table but the two logs, each after those that it refers to."""

Progress = Callable[[str, int, int], None]
"""Told of a table, the rows written so far, and how many there will be."""


class Size(enum.StrEnum):
    """How big the demo fleet is."""

    SMALL = "small"
    LARGE = "large"


class DemoRefused(RuntimeError):
    """The demo fleet cannot be made here; the message says why."""


async def seed(
    connections: Connections,
    size: Size,
    vocabulary: Vocabulary,
    seal: Seal,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> int:
    """Make the demo fleet of this size, and give back how many rows were written: 0 where it is there already.

    LARGE comes on top of SMALL, be that there already or not. Everything is written by the platform's role in one
    transaction, so a failure leaves nothing. The same `now`
    (default: the present) gives the same rows, save `op_events.created_at`, which is when they arrived, and what `seal`
    makes of the webhooks' secrets. Raises DemoRefused where a tenant that is no demo has one of the names.
    """
    tell = progress or (lambda _table, _done, _total: None)
    moment = now or datetime.now(UTC)
    database = Database(connections)
    try:
        async with database.platform() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            present = await _present(connection)
            if present in {size, Size.LARGE}:
                return 0
            written = 0
            if present is None:
                written += await _write(connection, [build(slug, moment, vocabulary, seal) for slug in TENANTS], tell)
            if size is Size.LARGE:
                written += await enlarge(connection, moment, tell)
                await _note_size(connection, size)
    finally:
        await database.close()
    if size is Size.LARGE:
        await _vacuum(connections.owner)
    return written


async def _note_size(connection: AsyncConnection, size: Size) -> None:
    """Keep in the tenants how big the demo is, for whoever seeds again."""
    await connection.execute(
        update(Tenant)
        .where(Tenant.slug.in_(TENANTS))
        .values(metadata_={"demo": size.value}, updated_at=Tenant.updated_at)
    )


async def _vacuum(owner: Connection) -> None:
    """Let the planner know the many new rows, and have the rows that changed while they were made cleared away."""
    opened = await asyncpg.connect(owner.url, server_settings=owner.server_settings)
    try:
        await opened.execute("VACUUM (ANALYZE)")
    finally:
        await opened.close()


async def _present(connection: AsyncConnection) -> Size | None:
    """The size of the demo fleet in this database; None where there is none."""
    asked = select(Tenant.slug, Tenant.metadata_.label("notes")).where(Tenant.slug.in_(TENANTS))
    found = (await connection.execute(asked)).all()
    if not found:
        return None
    strange = sorted(row.slug for row in found if "demo" not in (row.notes or {}))
    if strange or len(found) < len(TENANTS):
        raise DemoRefused(
            f"The tenants {' and '.join(TENANTS)} of the demo fleet cannot be made: "
            f"{', '.join(strange) or found[0].slug} exists and is not the demo's. Use an empty database."
        )
    return max((Size(row.notes["demo"]) for row in found), key=list(Size).index)


def build(slug: str, now: datetime, vocabulary: Vocabulary, seal: Seal) -> Stage:
    """One tenant of the demo fleet, in memory, as it stands at `now`."""
    stage = Stage(slug, now, vocabulary, seal)
    people.build(stage)
    genomes.build_templates(stage)
    governance.build_envelopes(stage)
    evaluation.build_suites(stage)
    genomes.build_versions(stage)
    governance.watch_candidates(stage)
    governance.build_deployments(stage)
    fleet.build(stage)
    pieces = tasks.build(stage)
    runs.work(stage, pieces)
    pieces += workflow.build(stage)
    containment.build(stage, pieces)
    reviews.build(stage, pieces)
    communication.build(stage, pieces)
    intelligence.build(stage, pieces)
    platform.build(stage, pieces)
    notification.build(stage)
    journal.build(stage, pieces)
    return stage


async def _write(connection: AsyncConnection, stages: list[Stage], tell: Progress) -> int:
    total = sum(
        len(stage.changes) + len(stage.events) + sum(len(rows) for rows in stage.rows.values()) for stage in stages
    )
    done = 0
    now = stages[0].now
    since = min(event.timestamp for stage in stages for event in stage.events)
    await connection.execute(
        text("SELECT gateway.ensure_op_event_partitions(:since, :until)"), {"since": since, "until": now}
    )
    async with AsyncSession(connection, expire_on_commit=False) as session:
        for stage in stages:
            for table in _ORDER:
                rows = sorted(stage.all(table), key=_age)
                session.add_all(rows)
                await session.flush()
                done += len(rows)
                tell(table.__tablename__, done, total)
    for stage in stages:
        await _name_current_tasks(connection, stage)
        changes, events = stage.in_order()
        await append_change_records(connection, stage.tenant_id, changes)
        done += len(changes)
        tell("change_records", done, total)
        for chunk in in_chunks(events, CHUNK):
            await append_op_events(connection, stage.tenant_id, chunk)
            done += len(chunk)
            tell("op_events", done, total)
    return done


def _age(row: Model) -> int:
    """Rows are written in the order in which they came to be; key lists, which have no id, in that of their making."""
    row_id = getattr(row, "id", None)
    return row_id.int if row_id is not None else 0


async def _name_current_tasks(connection: AsyncConnection, stage: Stage) -> None:
    """Instances come before tasks, and name one: so they name it now."""
    for instance in stage.instances.values():
        if instance.id in stage.current_tasks:
            await connection.execute(
                update(AgentInstance)
                .where(AgentInstance.tenant_id == stage.tenant_id, AgentInstance.id == instance.id)
                .values(current_task_id=stage.current_tasks[instance.id], updated_at=instance.updated_at)
            )
