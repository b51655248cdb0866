"""Every job, with its period (behaviour 18)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from app.audit import commands as _audit  # noqa: F401 - declares what is run here by name
from app.auth.actor import NO_TENANT, system_actor
from app.commands import Done
from app.execution.commands import loops as _loops  # noqa: F401
from app.execution.commands import recurring as _recurring  # noqa: F401
from app.execution.commands import renewal as _renewal  # noqa: F401
from app.execution.commands import timeouts as _timeouts  # noqa: F401
from app.jobs.loop import Job, PlatformJob, Work
from app.live.upkeep import forget_row_changes
from app.notification.fanout import fan_out
from app.registry.commands import children as _children  # noqa: F401
from app.registry.commands import sweep as _sweep  # noqa: F401
from app.running import run, run_as_system
from app.workflow.ticking import tick
from db.session import Database


def until_done(command: str) -> Work:
    """A command that works through what is due in batches, as often as it says that there is more."""

    async def work(database: Database, tenant_id: UUID) -> None:
        while True:
            outcome = await run_as_system(database, tenant_id, command, {})
            if not isinstance(outcome, Done) or not outcome.extras.get("more"):
                return

    return work


async def sweep(database: Database, tenant_id: UUID) -> None:
    """GEN-9. Every version of a tenant, batch by batch."""
    after: UUID | None = None
    while True:
        outcome = await run_as_system(database, tenant_id, "sweep_versions", {"after": after})
        if not isinstance(outcome, Done) or not outcome.extras["more"]:
            return
        after = UUID(outcome.extras["last"])


async def turn_partitions(database: Database) -> None:
    """The months of op events: those to come are made, those that nobody keeps are dropped."""
    await run(database, system_actor(NO_TENANT), "turn_partitions", {})


async def purge(database: Database, tenant_id: UUID) -> None:
    """What the tenant keeps no longer, batch by batch."""
    while True:
        outcome = await run(database, system_actor(tenant_id), "purge_expired", {"tenant_id": tenant_id})
        if not isinstance(outcome, Done) or not outcome.extras["more"]:
            return


JOBS: Final = (
    Job("approval-expiry", timedelta(minutes=1), until_done("expire_approvals")),
    Job("approval-escalation", timedelta(minutes=1), until_done("escalate_approvals")),
    Job("stale-heartbeats", timedelta(minutes=1), until_done("quarantine_stale_instances")),
    Job("loop-detector", timedelta(minutes=1), until_done("contain_loops")),
    Job("stuck-tasks", timedelta(minutes=1), until_done("report_stuck_tasks")),
    Job("run-timeout", timedelta(minutes=1), until_done("time_out_runs")),
    Job("budget-reset", timedelta(minutes=1), until_done("renew_budgets")),
    Job("child-lifetime", timedelta(minutes=1), until_done("retire_children")),
    Job("recurring-tasks", timedelta(minutes=1), until_done("repeat_tasks")),
    Job("integrity-sweep", timedelta(days=1), sweep, may_take_long=True, at=timedelta(hours=3)),
    Job("drain-completion", timedelta(minutes=1), until_done("complete_drains")),
    Job("erasure", timedelta(hours=1), until_done("erase_due_operators")),
    Job("row-changes", timedelta(minutes=1), forget_row_changes),
    Job("workflow-tick", timedelta(seconds=5), tick),
    Job("notification-fan-out", timedelta(seconds=5), fan_out),
    PlatformJob("op-event-partitions", timedelta(hours=1), turn_partitions),
    Job("retention", timedelta(days=1), purge, may_take_long=True, at=timedelta(hours=2)),
)
