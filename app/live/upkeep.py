"""Throwing away the notes of changed rows that everybody who follows a tenant has long read."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text

from app.live.follower import BLIND_SECONDS
from db.session import Database

KEPT: Final = timedelta(seconds=BLIND_SECONDS) + timedelta(minutes=1)
"""How long a note is kept. Who looks later than `BLIND_SECONDS` knows that some may be gone."""

_FORGET: Final = text(
    "DELETE FROM gateway.row_changes WHERE tenant_id = :tenant_id AND noted_at < now() - CAST(:kept AS interval)"
)


async def forget_row_changes(database: Database, tenant_id: UUID) -> None:
    """A job's work in one tenant."""
    async with database.platform() as connection:
        await connection.execute(_FORGET, {"tenant_id": tenant_id, "kept": KEPT})
