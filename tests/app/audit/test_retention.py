"""What has expired goes, and nothing else: per tenant, in batches, with partitions, on the record (RET, decision 8)."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from rich.console import Console
from sqlalchemy import text, update

from app.audit.retention import KEPT, Policy, count_expired
from app.auth.actor import NO_TENANT, system_actor
from app.cli import retaining
from app.commands import Done, Refused
from app.jobs.all import JOBS
from app.jobs.loop import Jobs
from app.running import run
from app.settings import Settings
from app.unit_of_work import PermissionDenied
from db import models, roles
from db.connections import Connections, embedded_connections
from db.embedded import SUPERUSER, EmbeddedPostgres
from db.enums import (
    EvaluationRunStatus,
    NotificationType,
    OpEventType,
    WebhookDeliveryStatus,
)
from db.ids import new_id
from db.logs import EventDraft, append_op_events
from db.migrate import migrate
from db.models.gateway import IdempotencyKey
from db.partitions import make_partitions, month_of
from db.session import Database
from tests.conftest import TenantUnderTest, make_tenant
from tests.governed import GENOME, GENOME_HASH

NOW = datetime.now(UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


@pytest.fixture
async def alone(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database of the test's own: partitions are everybody's."""
    name = f"retention_{abs(hash(request.node.nodeid)) % 10**9}"
    superuser = await asyncpg.connect(postgres.url("postgres", SUPERUSER))
    await superuser.execute(roles.database_statement(name))
    connections = embedded_connections(lambda role: postgres.url(name, role))
    await migrate(connections.owner)
    database = Database(connections, pool_size=2)
    yield database
    await database.close()
    await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await superuser.close()


async def send(tenant: TenantUnderTest, *times: datetime) -> None:
    """Events of these times, in this order."""
    async with tenant.database.transaction(tenant.actor()) as session:
        drafts = [EventDraft(type=OpEventType.RUN_STEP, timestamp=at) for at in times]
        await append_op_events(await session.connection(), tenant.id, drafts)


async def ask(tenant: TenantUnderTest, sql: str) -> list[Any]:
    """Rows of a statement about the tenant, whose id is :tenant."""
    async with tenant.database.platform() as connection:
        return list(await connection.execute(text(sql), {"tenant": tenant.id}))


async def numbers(tenant: TenantUnderTest) -> list[int]:
    """The numbers of the events that are left."""
    return [row.seq for row in await ask(tenant, "SELECT seq FROM op_events WHERE tenant_id = :tenant ORDER BY seq")]


async def first_seq(tenant: TenantUnderTest) -> int | None:
    """The oldest number that can be had, as the mark has it."""
    found = await ask(
        tenant, "SELECT first_seq FROM gateway.retention_marks WHERE tenant_id = :tenant AND log = 'op_events'"
    )
    return found[0].first_seq if found else None


async def purge(database: Database, tenant_id: UUID, **given: Any) -> Done:
    outcome = await run(database, system_actor(NO_TENANT), "purge_expired", {"tenant_id": tenant_id, **given})
    assert isinstance(outcome, Done), outcome
    return outcome


async def purges(tenant: TenantUnderTest) -> list[dict[str, Any]]:
    """What the security journal says of the tenant's purges."""
    sql = "SELECT metadata FROM audit_logs WHERE tenant_id = :tenant AND action = 'RETENTION_PURGE' ORDER BY id"
    return [row.metadata for row in await ask(tenant, sql)]


async def set_days(tenant: TenantUnderTest, **columns: Any) -> None:
    async with tenant.database.platform() as connection:
        await connection.execute(update(models.Tenant).where(models.Tenant.id == tenant.id).values(**columns))


async def test_ret_op_events_go_when_the_tenant_says_so(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, database: Database
) -> None:
    """To the millisecond, 30 days by default; a neighbour that keeps them longer loses none."""
    await set_days(other_tenant, op_event_retention_days=60)
    for one in (tenant, other_tenant):
        await send(one, ago(days=45), ago(days=30, minutes=5), ago(days=30, minutes=-5), ago())
    assert (await purge(database, tenant.id)).extras["counts"]["opEvents"] == 2
    assert (await purge(database, other_tenant.id)).extras["counts"]["opEvents"] == 0
    assert await numbers(tenant) == [3, 4]
    assert await numbers(other_tenant) == [1, 2, 3, 4]
    assert (await first_seq(tenant), await first_seq(other_tenant)) == (3, None)
    (record,) = await purges(tenant)
    assert record["opEvents"] == 2
    assert await purges(other_tenant) == [], "a purge of nothing is no news"


async def test_ret_a_purge_goes_batch_by_batch_the_oldest_first(tenant: TenantUnderTest, database: Database) -> None:
    """Each batch is a transaction of its own with its row in the journal; over the borders of partitions too."""
    await send(tenant, *(ago(days=69 - 5 * n) for n in range(12)))
    left = []
    while True:
        outcome = await purge(database, tenant.id, limit=3)
        left.append((outcome.extras["counts"]["opEvents"], await first_seq(tenant)))
        if not outcome.extras["more"]:
            break
    assert left == [(3, 4), (3, 7), (2, 9)]
    assert await numbers(tenant) == [9, 10, 11, 12]
    assert [record["opEvents"] for record in await purges(tenant)] == [3, 3, 2]


async def test_decision_8_a_mark_never_goes_back_and_hides_no_gap(tenant: TenantUnderTest, database: Database) -> None:
    """An old event that arrived late leaves a gap behind the ones that are kept; a cursor before it has missed one."""
    await send(tenant, ago(days=40), ago(), ago(days=40), ago())
    await purge(database, tenant.id)
    assert await numbers(tenant) == [2, 4]
    assert await first_seq(tenant) == 4
    await send(tenant, ago(days=29))
    await purge(database, tenant.id)
    assert await first_seq(tenant) == 4


async def test_ret_what_else_has_an_end(tenant: TenantUnderTest, database: Database) -> None:
    """Audit logs after 90 days, notifications 24 h after their end or 90 days after they were read, deliveries 30 days
    after they ended, keys at their end; evaluation runs are marked. What is a moment younger stays."""
    await make_things(tenant)
    policy = Policy.of(await ask_tenant(tenant))
    async with database.platform() as connection:
        assert await count_expired(connection, tenant.id, policy, NOW) == EXPIRED
    outcome = await purge(database, tenant.id)
    assert outcome.extras == {"counts": EXPIRED, "more": False}
    assert await purges(tenant) == [EXPIRED]
    kept = {
        "audit_logs": "SELECT description FROM audit_logs WHERE tenant_id = :tenant AND action = 'X'",
        "notifications": "SELECT title FROM notifications WHERE tenant_id = :tenant",
        "webhook_deliveries": "SELECT event FROM webhook_deliveries WHERE tenant_id = :tenant",
        "idempotency_keys": "SELECT key FROM gateway.idempotency_keys WHERE tenant_id = :tenant",
        "evaluation_runs": "SELECT metadata->>'note' || coalesce(metadata->>'archived', '') FROM evaluation_runs"
        " WHERE tenant_id = :tenant",
    }
    found = {name: sorted(row[0] for row in await ask(tenant, sql)) for name, sql in kept.items()}
    assert found == {
        "audit_logs": ["young"],
        "notifications": ["expires later", "read lately", "unread"],
        "webhook_deliveries": ["lately", "under way"],
        "idempotency_keys": ["fresh"],
        "evaluation_runs": ["oldtrue", "young"],
    }
    assert (await purge(database, tenant.id)).extras["counts"] == dict.fromkeys(EXPIRED, 0)


EXPIRED = {
    "opEvents": 0,
    "auditLogs": 1,
    "notifications": 2,
    "webhookDeliveries": 2,
    "evaluationRunsArchived": 1,
    "idempotencyKeys": 1,
}


async def ask_tenant(tenant: TenantUnderTest) -> models.Tenant:
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.get(models.Tenant, tenant.id)
        assert found is not None
        return found


async def make_things(tenant: TenantUnderTest) -> None:
    """Of each kind something that has expired and something that has not."""
    person = models.Operator(id=new_id(), auth_id=new_id().hex, name="Ada", email="ada@example.com")
    hook = models.Webhook(id=new_id(), url="https://example.com/hook", events=["task.created"], secret="x", name="Hook")
    template = models.AgentTemplate(id=new_id(), name="T")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome=GENOME, genome_hash=GENOME_HASH)
    suite = models.EvaluationSuite(id=new_id(), name="S", test_cases=[])
    await tenant.add(person, hook, template, version, suite)

    def audit(description: str, at: datetime) -> models.AuditLog:
        return models.AuditLog(action="X", severity="INFO", actor_type="SYSTEM", description=description, timestamp=at)

    def message(title: str, **columns: Any) -> models.Notification:
        return models.Notification(operator_id=person.id, type=NotificationType.ALERT, title=title, **columns)

    def delivery(event: str, status: WebhookDeliveryStatus, **columns: Any) -> models.WebhookDelivery:
        return models.WebhookDelivery(
            webhook_id=hook.id, event=event, payload={}, url=hook.url, status=status, **columns
        )

    def evaluation(note: str, at: datetime) -> models.EvaluationRun:
        return models.EvaluationRun(
            suite_id=suite.id,
            version_id=version.id,
            status=EvaluationRunStatus.PASSED,
            completed_at=at,
            metadata_={"note": note},
        )

    def key(name: str, at: datetime) -> IdempotencyKey:
        return IdempotencyKey(principal="p", operation="o", key=name, input_hash="0" * 64, expires_at=at)

    moment = timedelta(minutes=5)
    await tenant.add(
        audit("old", ago(days=90) - moment),
        audit("young", ago(days=90) + moment),
        message("expired", expires_at=ago(hours=24) - moment),
        message("read long ago", read_at=ago(days=90) - moment),
        message("expires later", expires_at=ago(hours=24) + moment, read_at=ago(days=200)),
        message("read lately", read_at=ago(days=90) + moment),
        message("unread"),
        delivery("delivered", WebhookDeliveryStatus.DELIVERED, delivered_at=ago(days=30) - moment),
        delivery("lately", WebhookDeliveryStatus.DELIVERED, delivered_at=ago(days=30) + moment),
        delivery("failed", WebhookDeliveryStatus.FAILED, updated_at=ago(days=30) - moment),
        delivery("under way", WebhookDeliveryStatus.RETRYING, updated_at=ago(days=300)),
        evaluation("old", ago(days=90) - moment),
        evaluation("young", ago(days=90) + moment),
        key("spent", ago(minutes=1)),
        key("fresh", ago(minutes=-10)),
    )


async def test_ret_a_tenant_may_keep_things_for_longer_or_less(tenant: TenantUnderTest) -> None:
    """Columns and settings; a setting that is no number of days is none."""
    await set_days(
        tenant,
        op_event_retention_days=3650,
        audit_retention_days=7,
        settings={"retention": {"notificationDays": 1, "webhookDeliveryDays": "many", "evaluationRunDays": True}},
    )
    assert Policy.of(await ask_tenant(tenant)) == Policy(
        timedelta(days=3650), timedelta(days=7), timedelta(days=1), timedelta(days=30), timedelta(days=90)
    )
    await set_days(tenant, op_event_retention_days=None, settings={"retention": 5})
    policy = Policy.of(await ask_tenant(tenant))
    assert (policy.op_events, policy.notifications) == (timedelta(days=30), timedelta(days=90))


async def test_ret_only_the_platform_purges(tenant: TenantUnderTest, database: Database) -> None:
    for name, arguments in (("purge_expired", {"tenant_id": tenant.id}), ("turn_partitions", {})):
        with pytest.raises(PermissionDenied):
            await run(database, tenant.actor(), name, arguments)
    nobody = await run(database, system_actor(NO_TENANT), "purge_expired", {"tenant_id": new_id()})
    assert isinstance(nobody, Refused)


async def months(database: Database) -> list[str]:
    async with database.platform() as connection:
        sql = """SELECT relname::text FROM pg_inherits JOIN pg_class ON oid = inhrelid
            WHERE inhparent = 'op_events'::regclass ORDER BY relname"""
        return [row.relname for row in await connection.execute(text(sql))]


def month(moment: datetime) -> str:
    return f"op_events_{moment:%Y_%m}"


async def test_ret_partitions_that_nobody_keeps_are_dropped_and_what_was_in_them_is_on_record(alone: Database) -> None:
    """By the tenant that keeps events longest; those to come are there, and another turn changes nothing."""
    short, long = await make_tenant(alone), await make_tenant(alone)
    await set_days(long, op_event_retention_days=150)
    async with alone.platform() as connection:
        await make_partitions(connection, since=ago(days=300))
    await send(short, ago(days=250), ago(days=100), ago())
    await send(long, ago(days=250), ago(days=251), ago(days=100), ago())
    outcome = await run(alone, system_actor(NO_TENANT), "turn_partitions", {})
    assert isinstance(outcome, Done)
    expected = {month(month_of(ago(days=150)) + timedelta(days=n)) for n in range((NOW - ago(days=150)).days + 62)}
    assert set(await months(alone)) >= {month(ago(days=150)), month(NOW), month(ago(days=-61))}
    assert min(await months(alone)) == min(expected) == month(ago(days=150))
    assert outcome.extras["lost"] == 3
    assert (await first_seq(short), await first_seq(long)) == (2, 3)
    assert [record["opEvents"] for record in await purges(short)] == [1]
    assert [record["opEvents"] for record in await purges(long)] == [2]
    assert (await purges(long))[0]["partitions"] == outcome.extras["dropped"] != []
    again = await run(alone, system_actor(NO_TENANT), "turn_partitions", {})
    assert isinstance(again, Done)
    assert again.extras == {"made": [], "dropped": [], "lost": 0}
    assert (await purge(alone, short.id)).extras["counts"]["opEvents"] == 1
    assert (await numbers(short), await numbers(long)) == ([3], [3, 4])


async def test_ret_a_month_in_use_is_dropped_later(alone: Database) -> None:
    """Whoever reads the log is not waited for: the turn fails as a whole within a second, and the next one does it."""
    tenant = await make_tenant(alone)
    async with alone.platform() as connection:
        await make_partitions(connection, since=ago(days=200))
    await send(tenant, ago(days=180))
    reader = await asyncpg.connect(alone.connections.platform.url)
    held = reader.transaction()
    await held.start()
    await reader.fetch("SELECT * FROM op_events LIMIT 1")
    with pytest.raises(Exception, match="lock timeout"):
        await run(alone, system_actor(NO_TENANT), "turn_partitions", {})
    assert await first_seq(tenant) is None, "nothing is noted of what was not done"
    await held.rollback()
    await reader.close()
    outcome = await run(alone, system_actor(NO_TENANT), "turn_partitions", {})
    assert isinstance(outcome, Done)
    assert outcome.extras["lost"] == 1


async def test_ret_the_job_purges_every_tenant_at_two_in_the_morning(alone: Database) -> None:
    """Beside the other jobs, since it may take long; due again at 02:00 UTC of the next day."""
    tenants = [await make_tenant(alone), await make_tenant(alone)]
    for tenant in tenants:
        await send(tenant, ago(days=40), ago())
    jobs = Jobs(alone, [job for job in JOBS if job.name == "retention"])
    await jobs._enter()
    assert await jobs.run_due() == [], "not before its time"
    async with alone.platform() as connection:
        (due,) = (await connection.execute(text("SELECT next_run_at FROM gateway.jobs"))).one()
        assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=1)
        assert (due.astimezone(UTC).hour, due.astimezone(UTC).minute) == (2, 0)
        await connection.execute(text("UPDATE gateway.jobs SET next_run_at = now()"))
    assert await jobs.run_due() == ["retention"]
    assert await jobs.run_due() == []
    await jobs.settle()
    assert [await numbers(tenant) for tenant in tenants] == [[2], [2]]
    async with alone.platform() as connection:
        row = (await connection.execute(text("SELECT * FROM gateway.jobs"))).one()
    due = (row.started_at.astimezone(UTC) + timedelta(days=1)).replace(hour=2, minute=0, second=0, microsecond=0)
    assert (row.next_run_at, row.failures) == (due, 0)
    assert row.succeeded_at is not None


@pytest.mark.parametrize("dry_run", [True, False])
async def test_ret_the_command_removes_or_only_tells(
    dry_run: bool, alone: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`fleetgraph retention --dry-run` changes nothing and says the same numbers."""
    tenant = await make_tenant(alone, "acme")
    await send(tenant, ago(days=40), ago(days=41), ago())
    printed = io.StringIO()
    monkeypatch.setattr(retaining, "console", Console(file=printed, width=200))
    await asyncio.to_thread(retaining.retain, settings_of(alone.connections, tmp_path), dry_run=dry_run)
    (line,) = [line for line in printed.getvalue().splitlines() if "acme" in line]
    assert line.replace("│", " ").split() == ["acme", "2", *"0" * (len(KEPT) - 1)]
    assert await numbers(tenant) == ([1, 2, 3] if dry_run else [3])
    assert len(await purges(tenant)) == (0 if dry_run else 1)


def settings_of(connections: Connections, directory: Path) -> Settings:
    return Settings(
        database_url=connections.gateway.url,
        owner_database_url=connections.owner.url,
        platform_database_url=connections.platform.url,
        data_dir=directory,
    )
