"""The sweep of versions: is every one still what was built (GEN-9)."""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, command
from app.registry.integrity import contain, is_sound
from app.unit_of_work import UnitOfWork
from db.enums import AlertStatus, ChangeRecordType, LifecycleState
from db.models import AgentVersion, Alert

BATCH: Final = 100
"""Versions of one transaction; a genome is hashed by this process."""


@command("write:versions", ChangeRecordType.VERSION_INTEGRITY_FAILED, callers=(ActorKind.PLATFORM,))
async def sweep_versions(uow: UnitOfWork, after: UUID | None = None, limit: int = BATCH) -> Done:
    """GEN-9. Hash the genome of every version that is not RETIRED again; one that was altered is contained, as when
    somebody finds it (GEN-8). What is sound leaves no record, and a failure that people know of is not told again."""
    statement = select(AgentVersion).where(
        AgentVersion.tenant_id == uow.tenant_id, AgentVersion.lifecycle_state != LifecycleState.RETIRED
    )
    if after is not None:
        statement = statement.where(AgentVersion.id > after)
    versions = list(await uow.session.scalars(statement.order_by(AgentVersion.id).limit(limit)))
    failed = []
    for version in versions:
        if not is_sound(version):
            failed.append(version)
        await asyncio.sleep(0)  # requests go on between two genomes
    known = await _known(uow) if failed else set()
    contained = 0
    for version in failed:
        if str(version.id) not in known:
            await contain(uow, version)
            contained += 1
    last = str(versions[-1].id) if len(versions) == limit else None
    return Done(None, {"looked_at": len(versions), "contained": contained, "more": last is not None, "last": last})


async def _known(uow: UnitOfWork) -> set[str]:
    """Versions that people look after as altered."""
    statement = select(Alert.metadata_["versionId"].astext).where(
        Alert.tenant_id == uow.tenant_id,
        Alert.type == "INTEGRITY_FAILED",
        Alert.status.in_((AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)),
    )
    return {one for one in await uow.session.scalars(statement) if one is not None}
