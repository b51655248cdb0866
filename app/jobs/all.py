"""Every job, with its period (behaviour 18)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from app.commands import Done
from app.jobs.loop import Job, PlatformJob, Work
from app.live.upkeep import forget_row_changes
from app.notification.fanout import fan_out
from app.unit_of_work import run_as_system
from db.partitions import make_partitions
from db.session import Database


def until_done(command: str) -> Work:
    """A command that works through what is due in batches, as often as it says that there is more."""

    async def work(database: Database, tenant_id: UUID) -> None:
        while True:
            outcome = await run_as_system(database, tenant_id, command, {})
            if not isinstance(outcome, Done) or not outcome.extras.get("more"):
                return

    return work


async def make_partitions_ahead(database: Database) -> None:
    """Decision 5. The months of op events that are to come: an event of a month without a partition is refused."""
    async with database.platform() as connection:
        await make_partitions(connection)


JOBS: Final = (
    Job("approval-expiry", timedelta(minutes=1), until_done("expire_approvals")),
    Job("approval-escalation", timedelta(minutes=1), until_done("escalate_approvals")),
    Job("stale-heartbeats", timedelta(minutes=1), until_done("quarantine_stale_instances")),
    Job("drain-completion", timedelta(minutes=1), until_done("complete_drains")),
    Job("erasure", timedelta(hours=1), until_done("erase_due_operators")),
    Job("row-changes", timedelta(minutes=1), forget_row_changes),
    Job("notification-fan-out", timedelta(seconds=5), fan_out),
    PlatformJob("op-event-partitions", timedelta(hours=1), make_partitions_ahead),
)
