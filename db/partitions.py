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


async def drop_partitions(connection: AsyncConnection, before: datetime) -> list[str]:
    """Drop the months that were over at this moment; returns their names. For the platform's role.

    What is in them is gone without a trace: note it first, in the same transaction. Readers and writers of all
    partitions wait meanwhile, so it gives up where it does not get its turn in a second (SQLAlchemy's DBAPIError).
    """
    gone = await connection.execute(text("SELECT gateway.drop_op_event_partitions(:before)"), {"before": before})
    return [row[0] for row in gone]


def month_of(moment: datetime) -> datetime:
    """When the month began, in UTC: the partitions that were over at `moment` end here."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
