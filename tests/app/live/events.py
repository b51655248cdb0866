"""Writing op events as ingestion does: a batch in a transaction, and a ring after its commit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from db.bell import Bell, Feed, NoBell
from db.enums import OpEventType
from db.logs import EventDraft, append_op_events
from tests.conftest import TenantUnderTest


async def write(
    tenant: TenantUnderTest,
    count: int = 1,
    kind: OpEventType = OpEventType.COST_TICK,
    bell: Bell | None = None,
    note: str = "",
    **columns: Any,
) -> int:
    """So many events in one transaction; the number of the last one."""
    now = datetime.now(UTC)
    drafts = [
        EventDraft(type=kind, timestamp=now, payload={"n": n, "note": note}, **columns)  # the time to the millisecond
        for n in range(count)
    ]
    async with tenant.database.transaction(tenant.actor()) as session:
        appended = await append_op_events(await session.connection(), tenant.id, drafts)
    assert appended.last_seq is not None
    (bell or NoBell()).ring(tenant.id, Feed.EVENTS, appended.last_seq)
    return appended.last_seq
