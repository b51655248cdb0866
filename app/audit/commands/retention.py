"""What time does to the journals and to what else has an end (RET). Jobs and `fleetgraph retention` run these."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from app.audit.retention import Policy, longest_retention, mark_op_events_before, remove_expired
from app.auth.actor import NO_TENANT, ActorKind
from app.commands import Done, Refusal, Refused, command
from app.unit_of_work import UnitOfWork
from db.partitions import drop_partitions, make_partitions, month_of

BATCH: Final = 5_000
"""Most rows of one kind that one transaction removes."""


@command("manage:tenant", "RETENTION_PURGE", callers=(ActorKind.PLATFORM,), on_platform=True)
async def purge_expired(uow: UnitOfWork, tenant_id: UUID, limit: int = BATCH) -> Done | Refused:
    """RET. Remove a batch of what the tenant keeps no longer: op events, audit logs, notifications that were read,
    webhook deliveries, spent idempotency keys; evaluation runs are marked as archived.

    Each batch is one row of the security journal with its counts. `more` says that there is more to remove.
    """
    await uow.enter(tenant_id)
    try:
        policy = Policy.of(await uow.tenant())
    except LookupError:
        return Refused(Refusal.NOT_FOUND, "There is no such tenant.", "tenant_id")
    counts = await remove_expired(await uow.session.connection(), tenant_id, policy, uow.now, limit)
    if any(counts.values()):
        uow.audit("RETENTION_PURGE", resource="retention", metadata=counts)
    return Done(None, {"counts": counts, "more": any(count >= limit for count in counts.values())})


@command("manage:tenant", "RETENTION_PURGE", callers=(ActorKind.PLATFORM,), on_platform=True)
async def turn_partitions(uow: UnitOfWork) -> Done:
    """RET, decision 5. Make the partitions of op events that are to come, and drop those that hold nothing which any
    tenant still keeps.

    Each tenant that loses events with a partition has a row in its security journal with their number.
    """
    connection = await uow.session.connection()
    oldest = uow.now - await longest_retention(connection)
    made = await make_partitions(connection, since=oldest)
    lost = await mark_op_events_before(connection, month_of(oldest))
    dropped = await drop_partitions(connection, oldest)
    for tenant_id, count in lost.items():
        await uow.enter(tenant_id)
        uow.audit("RETENTION_PURGE", resource="retention", metadata={"opEvents": count, "partitions": dropped})
        await uow.session.flush()
    await uow.enter(NO_TENANT)
    return Done(None, {"made": made, "dropped": dropped, "lost": sum(lost.values())})
