"""The job loop: one gateway of all leads, by an advisory lock; when it dies another one takes over.

A job has a row in `gateway.jobs` that says when it is due and how it went last. Every job may be run again at any time:
it looks for what is due, not for what it has not seen.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from sqlalchemy import text

from db.connections import Connection
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.jobs")

_LOCK: Final = 7_305_110_426_197_364_003
"""Advisory lock of the leader; it ends with the leader's connection."""
CANDIDATE_SECONDS: Final = 5.0
"""How long a gateway that does not lead waits before it tries again."""
TICK_SECONDS: Final = 1.0
"""How often the leader looks for jobs that are due."""
_LONGEST_ERROR: Final = 500

Work = Callable[[Database, UUID], Awaitable[None]]
"""A job's work in one tenant."""


@dataclass(frozen=True)
class Job:
    """Something to be done every so often, tenant by tenant.

    One that `may_take_long` runs beside the others, and never twice at once. `at` is the time of day (UTC) at which a
    daily one is due, as the time since midnight.
    """

    name: str
    period: timedelta
    work: Work
    may_take_long: bool = False
    at: timedelta | None = None


@dataclass(frozen=True)
class PlatformJob:
    """Something to be done every so often for the whole database, with the platform's role."""

    name: str
    period: timedelta
    work: Callable[[Database], Awaitable[None]]
    may_take_long: bool = False
    at: timedelta | None = None


class Jobs:
    """The loop of one process; `run` goes on until it is cancelled."""

    def __init__(
        self,
        database: Database,
        jobs: Sequence[Job | PlatformJob],
        *,
        tick: float = TICK_SECONDS,
        candidacy: float = CANDIDATE_SECONDS,
    ) -> None:
        self._database = database
        self._jobs = {job.name: job for job in jobs}
        self._tick = tick
        self._candidacy = candidacy
        self._long: dict[str, asyncio.Task[None]] = {}
        self.is_leader = False

    async def run(self) -> None:
        """Lead when nobody else does. Whatever fails ends the leadership, not the loop."""
        while True:
            try:
                await self._campaign(self._database.connections.platform)
            except Exception as error:
                # A connection that is cut has many names: OSError, asyncpg's, SQLAlchemy's, a pool that is empty.
                log.warning("jobs_interrupted", error=type(error).__name__, exc_info=True)
            finally:
                self.is_leader = False
            await asyncio.sleep(self._candidacy)

    async def _campaign(self, platform: Connection) -> None:
        connection = await asyncpg.connect(
            platform.url,
            timeout=10,
            server_settings={"application_name": "fleetgraph-jobs", **platform.server_settings},
        )
        try:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                return
            self.is_leader = True
            log.info("jobs_lead")
            await self._enter()
            while True:
                await connection.execute("SELECT 1")  # notices that the lock is lost
                await self.run_due()
                await asyncio.sleep(self._tick)
        finally:
            for task in self._long.values():
                task.cancel()
            await self.settle()
            with contextlib.suppress(Exception):
                await connection.close(timeout=2)

    async def _enter(self) -> None:
        """A row for each job, with the period of the code; a new one is due at once, or at its time of day."""
        async with self._database.platform() as connection:
            for job in self._jobs.values():
                await connection.execute(
                    text(
                        "INSERT INTO gateway.jobs (name, period_ms, next_run_at) VALUES (:name, :period, coalesce("
                        "date_trunc('day', now() - CAST(:at AS interval), 'UTC') + interval '1 day' "
                        "+ CAST(:at AS interval), now())) "
                        "ON CONFLICT (name) DO UPDATE SET period_ms = excluded.period_ms"
                    ),
                    {"name": job.name, "period": int(job.period / timedelta(milliseconds=1)), "at": job.at},
                )

    async def run_due(self) -> list[str]:
        """Run every job that is due, one after the other, and begin those that take long; gives back their names."""
        claim = """UPDATE gateway.jobs
            SET started_at = now(), next_run_at = coalesce(
                date_trunc('day', now(), 'UTC') + interval '1 day' + daily.at,
                now() + period_ms * interval '1 millisecond')
            FROM unnest(CAST(:names AS text[]), CAST(:at AS interval[])) AS daily (job, at)
            WHERE next_run_at <= now() AND name = daily.job RETURNING name"""
        idle = {name: job for name, job in self._jobs.items() if name not in self._long or self._long[name].done()}
        async with self._database.platform() as connection:
            given = {"names": list(idle), "at": [job.at for job in idle.values()]}
            names = [row.name for row in await connection.execute(text(claim), given)]
        for name in names:
            if idle[name].may_take_long:
                self._long[name] = asyncio.create_task(self._complete(idle[name]), name=f"job-{name}")
            else:
                await self._complete(idle[name])
        return names

    async def settle(self) -> None:
        """Wait for the jobs that take long."""
        if running := [task for task in self._long.values() if not task.done()]:
            await asyncio.wait(running)

    async def _complete(self, job: Job | PlatformJob) -> None:
        await self._finish(job.name, await self._run(job))

    async def _run(self, job: Job | PlatformJob) -> str | None:
        """Run a job once, or in every tenant; one that fails in a tenant goes on with the next. Gives the last error's
        text."""
        failure = None
        if isinstance(job, PlatformJob):
            try:
                await job.work(self._database)
            except Exception as error:
                failure = type(error).__name__
                log.error("job_failed", job=job.name, exc_info=True)
            return failure
        async with self._database.platform() as connection:
            tenants = [
                row.id for row in await connection.execute(text("SELECT id FROM tenants WHERE active ORDER BY id"))
            ]
        for tenant_id in tenants:
            try:
                await job.work(self._database, tenant_id)
            except Exception as error:
                failure = f"{type(error).__name__} in tenant {tenant_id}"
                log.error("job_failed", job=job.name, tenant=str(tenant_id), exc_info=True)
        return failure

    async def _finish(self, name: str, failure: str | None) -> None:
        async with self._database.platform() as connection:
            await connection.execute(
                text(
                    "UPDATE gateway.jobs SET finished_at = now(), updated_at = now(), last_error = :failure, "
                    "failures = CASE WHEN CAST(:failure AS text) IS NULL THEN 0 ELSE failures + 1 END, "
                    "succeeded_at = CASE WHEN CAST(:failure AS text) IS NULL THEN now() ELSE succeeded_at END "
                    "WHERE name = :name"
                ),
                {"name": name, "failure": None if failure is None else failure[:_LONGEST_ERROR]},
            )
