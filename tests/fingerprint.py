"""Whether anything at all was written: every row of some tenants, table by table, as hashes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from db import models
from db.base import Model
from db.session import Database

NOTES = models.gateway.RowChange.__table__
"""Notes of what changed elsewhere, which every change of a row leaves for minutes."""
assert models.AuditLog.__tablename__ in Model.metadata.tables


async def fingerprint(database: Database, *tenants: UUID) -> dict[str, Any]:
    """The hash of the rows of these tenants, by table; equal exactly where no row has come, gone or changed."""
    parts = [
        f"SELECT '{table.fullname}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
        f" FROM {table.fullname} t WHERE tenant_id = ANY(:tenants)"
        for table in Model.metadata.tables.values()
        if "tenant_id" in table.columns and table is not NOTES
    ]
    async with database.platform() as connection:
        found = await connection.execute(text(" UNION ALL ".join(parts)), {"tenants": list(tenants)})
        return {row[0]: row[1] for row in found}
