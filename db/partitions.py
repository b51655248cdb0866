"""The partitions of op events: made ahead of time, dropped when all that they hold is old (decision 5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

BEHIND: Final = timedelta(days=92)
"""How far back there are partitions from the start: late senders, the demo fleet. Older ones are made when needed."""
AHEAD: Final = timedelta(days=62)
"""How far ahead they are made, so that telemetry goes on when nobody makes any for two months."""


async def make_partitions(
    connection: AsyncConnection, since: datetime | None = None, until: datetime | None = None
) -> list[str]:
    """Make the months from `since` to `until` that are missing; returns the names of those that were.

    Without bounds: from three months back to two months ahead. For the owner and the platform's role. May run beside
    readers, writers and itself. Raises SQLAlchemy's DBAPIError for a span of more than 20 years.
    """
    now = datetime.now(UTC)
    made = await connection.execute(
        text("SELECT gateway.ensure_op_event_partitions(:since, :until)"),
        {"since": since or now - BEHIND, "until": until or now + AHEAD},
    )
    return [row[0] for row in made]
