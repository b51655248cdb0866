"""Signs of life: an agent that sends HEARTBEAT events has not gone silent (HB-4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# An agent whose row somebody holds is passed over: that one is being looked after, and nobody waits here.
_NOTE: Final = text(
    """
UPDATE agent_instances AS agent SET heartbeat_at = heard.at
FROM (
    SELECT found.id, given.at FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS given (id, at)
    JOIN agent_instances AS found ON found.tenant_id = :tenant_id AND found.id = given.id
    WHERE found.heartbeat_at IS NULL OR found.heartbeat_at < given.at - interval '5 seconds'
    ORDER BY found.id
    FOR NO KEY UPDATE OF found SKIP LOCKED
) AS heard
WHERE agent.tenant_id = :tenant_id AND agent.id = heard.id
"""
)


async def note_signs(connection: AsyncConnection, tenant_id: UUID, signs: Mapping[UUID, datetime]) -> None:
    """Note when agents were last heard of, where that is news of more than five seconds."""
    if signs:
        given = {"tenant_id": tenant_id, "ids": list(signs), "times": list(signs.values())}
        await connection.execute(_NOTE, given)
