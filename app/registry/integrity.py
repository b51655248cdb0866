"""Integrity of versions (GEN-8): is a genome still the one that was hashed, and what happens if not."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select

from app.commands import Refusal, Refused
from app.registry.rules import IntegrityStatus, integrity_of
from app.unit_of_work import UnitOfWork
from db.enums import AlertSeverity, AuditSeverity, ChangeRecordType, InstanceState
from db.models import AgentInstance, AgentVersion

_RUNNABLE = (InstanceState.ACTIVE, InstanceState.PAUSED, InstanceState.READONLY, InstanceState.DRAINING)


def is_sound(version: AgentVersion) -> bool:
    """Whether the genome hashes to what was recorded when the version was made."""
    return integrity_of(version.genome, version.genome_hash) is IntegrityStatus.VERIFIED


def note(uow: UnitOfWork, version: AgentVersion, *, sound: bool) -> UUID:
    """Leave the verdict in the change log; returns the id of its record."""
    kind = ChangeRecordType.VERSION_INTEGRITY_VERIFIED if sound else ChangeRecordType.VERSION_INTEGRITY_FAILED
    return uow.record(kind, version, after={"genomeHash": version.genome_hash}, version_id=version.id)


async def contain(uow: UnitOfWork, version: AgentVersion) -> None:
    """A tampered version: the failure on record, an alert, and every instance that could run it in quarantine."""
    cause = note(uow, version, sound=False)
    uow.audit("INTEGRITY_FAILED", severity=AuditSeverity.ERROR, resource="AgentVersion", resource_id=version.id)
    uow.alert(
        "INTEGRITY_FAILED",
        AlertSeverity.CRITICAL,
        "A version's genome does not fit its hash",
        f"The genome of version {version.version_label or version.id} was altered after it was built. "
        "Its instances are quarantined; build the version again from its source.",
        about_id=version.id,
        metadata={"versionId": str(version.id)},
    )
    running = select(AgentInstance.id).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.version_id == version.id,
        AgentInstance.state.in_(_RUNNABLE),
    )
    for instance in await uow.lock_all(AgentInstance, list(await uow.session.scalars(running))):
        before, instance.state = instance.state, InstanceState.QUARANTINED
        uow.record(
            ChangeRecordType.INSTANCE_TRANSITIONED,
            instance,
            before={"state": before.value},
            after={"state": InstanceState.QUARANTINED.value, "cause": "INTEGRITY"},
            reason="integrity of its version failed",
            by_system=True,
            caused_by_id=cause,
            instance_id=instance.id,
            version_id=version.id,
        )


async def refuse_tampered(uow: UnitOfWork, version: AgentVersion) -> Refused | None:
    """The check before a version is approved, deployed or instantiated; a failure is contained, and that commits."""
    if is_sound(version):
        return None
    await contain(uow, version)
    message = "The version's genome does not fit its hash: it was tampered with and is contained. Build it again."
    return Refused(Refusal.INTEGRITY_VIOLATION, message, keeps=True)
