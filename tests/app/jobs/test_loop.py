"""The loop: one leader of all gateways, replaced when it dies; a job that fails in one tenant goes on in the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy.exc import InterfaceError

from app.jobs.all import JOBS
from app.jobs.loop import Job, Jobs, PlatformJob
from db import roles
from db.connections import embedded_connections
from db.embedded import SUPERUSER, EmbeddedPostgres
from db.migrate import migrate
from db.pool import PoolExhausted
from db.session import Database
from tests.conftest import TenantUnderTest, make_tenant


@pytest.fixture
async def alone(postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database of the test's own: there is one leader in each."""
    name = f"jobs_{abs(hash(request.node.nodeid)) % 10**9}"
    superuser = await asyncpg.connect(postgres.url("postgres", SUPERUSER))
    await superuser.execute(roles.database_statement(name))
    connections = embedded_connections(lambda role: postgres.url(name, role))
    await migrate(connections.owner)
    database = Database(connections, pool_size=2)
    yield database
    await database.close()
    await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await superuser.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the loop under test tells nobody
            await asyncio.sleep(0.02)


async def test_a_job_runs_in_every_tenant_and_is_due_again_after_its_period(alone: Database) -> None:
    """Once for each tenant; a second look finds nothing due."""
    tenants = [await make_tenant(alone), await make_tenant(alone)]
    seen: list[UUID] = []

    async def note(_database: Database, tenant_id: UUID) -> None:
        seen.append(tenant_id)

    jobs = Jobs(alone, [Job("note", timedelta(hours=1), note)])
    await jobs._enter()
    assert await jobs.run_due() == ["note"]
    assert await jobs.run_due() == []
    assert sorted(seen) == sorted(tenant.id for tenant in tenants)


async def test_a_failure_in_one_tenant_does_not_stop_the_next(alone: Database) -> None:
    """The job's row says that it failed and how often; a success clears that."""
    tenants: list[TenantUnderTest] = [await make_tenant(alone), await make_tenant(alone)]
    done: list[UUID] = []
    is_broken = True

    async def work(_database: Database, tenant_id: UUID) -> None:
        if is_broken and tenant_id == tenants[0].id:
            raise RuntimeError("broken")
        done.append(tenant_id)

    jobs = Jobs(alone, [Job("work", timedelta(0), work)])
    await jobs._enter()
    await jobs.run_due()
    await jobs.run_due()
    assert done == [tenants[1].id] * 2
    row = await _row(alone)
    assert (row["failures"], row["succeeded_at"]) == (2, None)
    assert row["last_error"] == f"RuntimeError in tenant {tenants[0].id}"
    is_broken = False
    await jobs.run_due()
    row = await _row(alone)
    assert (row["failures"], row["last_error"]) == (0, None)
    assert row["succeeded_at"] is not None


async def _row(database: Database) -> asyncpg.Record:
    connection = await asyncpg.connect(database.connections.platform.url)
    try:
        return await connection.fetchrow("SELECT * FROM gateway.jobs")
    finally:
        await connection.close()


async def test_of_two_gateways_one_leads_and_the_other_takes_over(alone: Database) -> None:
    """The leader's connection is killed: the other leads within its candidacy, and the work goes on."""
    await make_tenant(alone)
    ran: list[str] = []

    def job(name: str) -> Job:
        async def work(_database: Database, _tenant_id: UUID) -> None:
            ran.append(name)

        return Job("work", timedelta(0), work)

    both = {name: Jobs(alone, [job(name)], tick=0.02, candidacy=0.2) for name in ("a", "b")}
    tasks = {name: asyncio.create_task(jobs.run()) for name, jobs in both.items()}
    try:
        await until(lambda: any(jobs.is_leader for jobs in both.values()) and bool(ran))
        (first,) = [name for name, jobs in both.items() if jobs.is_leader]
        await asyncio.sleep(0.6)
        assert set(ran) == {first}
        tasks[first].cancel()
        (second,) = set(both) - {first}
        await until(lambda: both[second].is_leader and second in ran)
        assert not both[first].is_leader
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())


async def test_a_leader_whose_connection_is_cut_comes_back(alone: Database) -> None:
    """The database ends the session: the loop goes on, leading again."""
    await make_tenant(alone)
    runs = 0

    async def work(_database: Database, _tenant_id: UUID) -> None:
        nonlocal runs
        runs += 1

    jobs = Jobs(alone, [Job("work", timedelta(0), work)], tick=0.02, candidacy=0.1)
    task = asyncio.create_task(jobs.run())
    try:
        await until(lambda: runs > 0)
        connection = await asyncpg.connect(alone.connections.owner.url.replace(roles.OWNER, SUPERUSER, 1))
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fleetgraph-jobs' "
            "AND datname = current_database()"
        )
        await connection.close()
        before = runs
        await until(lambda: runs > before + 2 or task.done())
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("failure", [OSError, PoolExhausted, InterfaceError("SELECT 1", None, Exception("cut"))])
async def test_whatever_fails_the_loop_goes_on(
    alone: Database, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """A cut connection shows up as one of many errors; none of them ends the loop."""
    await make_tenant(alone)
    jobs = Jobs(alone, [], tick=0.01, candidacy=0.01)
    really, failed = jobs.run_due, 0

    async def run_due() -> list[str]:
        nonlocal failed
        if failed < 2:
            failed += 1
            raise failure
        return await really()

    monkeypatch.setattr(jobs, "run_due", run_due)
    task = asyncio.create_task(jobs.run())
    try:
        await until(lambda: task.done() or (failed == 2 and jobs.is_leader))
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_job_of_the_platform_runs_once_whatever_tenants_there_are(alone: Database) -> None:
    """A failure is in the job's row and in nobody's way; the next run clears it."""
    await make_tenant(alone)
    await make_tenant(alone)
    runs = 0

    async def work(_database: Database) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("broken")

    jobs = Jobs(alone, [PlatformJob("work", timedelta(0), work)])
    await jobs._enter()
    assert await jobs.run_due() == ["work"]
    row = await _row(alone)
    assert (runs, row["failures"], row["last_error"]) == (1, 1, "RuntimeError")
    await jobs.run_due()
    row = await _row(alone)
    assert (runs, row["failures"], row["last_error"]) == (2, 0, None)


async def test_decision_5_the_months_of_op_events_to_come_are_made_by_a_job(alone: Database) -> None:
    """The gateway goes on taking telemetry without anybody running `migrate`; what is there is left alone."""
    owner = await asyncpg.connect(alone.connections.owner.url)
    try:
        months = """SELECT relname::text FROM pg_inherits JOIN pg_class ON oid = inhrelid
            WHERE inhparent = 'op_events'::regclass ORDER BY relname"""
        before = [row["relname"] for row in await owner.fetch(months)]
        now = datetime.now(UTC)
        assert f"op_events_{now:%Y_%m}" in before
        assert f"op_events_{now + timedelta(days=31):%Y_%m}" in before
        for name in before:
            if name >= f"op_events_{now:%Y_%m}":
                await owner.execute(f"DROP TABLE {name}")
        jobs = Jobs(alone, [job for job in JOBS if job.name == "op-event-partitions"])
        await jobs._enter()
        assert await jobs.run_due() == ["op-event-partitions"]
        row = await _row(alone)
        assert (row["failures"], row["period_ms"]) == (0, 3_600_000)
        after = [row["relname"] for row in await owner.fetch(months)]
        assert [name for name in after if name >= f"op_events_{now:%Y_%m}"] == [
            name for name in before if name >= f"op_events_{now:%Y_%m}"
        ]
    finally:
        await owner.close()
