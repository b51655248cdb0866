"""What the gateway itself puts down in the memory of agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from app.unit_of_work import UnitOfWork
from db.enums import AgentDocumentType
from db.ids import created_at, new_id
from db.models import AgentDocument, AgentInstance

LONGEST_DOCUMENT: Final = 100_000
"""Characters of a document; what the gateway adds pushes out the oldest."""
_GAP: Final = "\n\n"


async def remember(uow: UnitOfWork, notes: Mapping[UUID, str]) -> None:
    """LOOP-2, DOC-1. Add a note to the SESSION_MEMORY of each of these agents, which has one in any case afterwards.

    Two statements, however many there are.
    """
    if not notes:
        return
    owners = select(AgentInstance.id, AgentInstance.project_id).where(
        AgentInstance.tenant_id == uow.tenant_id, AgentInstance.id.in_(notes)
    )
    table: Any = AgentDocument.__table__
    rows = []
    for owner in sorted(await uow.session.execute(owners)):
        row_id = new_id(uow.now)
        rows.append(
            {
                "tenant_id": uow.tenant_id,
                "id": row_id,
                "created_at": created_at(row_id),
                "updated_at": uow.now,
                "instance_id": owner.id,
                "project_id": owner.project_id,
                "type": AgentDocumentType.SESSION_MEMORY,
                "content": notes[owner.id][:LONGEST_DOCUMENT],
            }
        )
    fresh = insert(table).values(rows)
    longer = table.c.content + _GAP + fresh.excluded.content
    await uow.session.execute(
        fresh.on_conflict_do_update(
            index_elements=["tenant_id", "instance_id", "type"],
            set_={"content": func.right(longer, LONGEST_DOCUMENT), "updated_at": uow.now},
        )
    )
