"""Commands of agent versions: made once, never changed, moved along their lifecycle."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Done, Refusal, Refused, command
from app.registry.genome import genome_faults
from app.registry.integrity import contain, is_sound, note
from app.registry.rules import CanonicalError, IntegrityStatus, genome_hash
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType, EvalStatus, LifecycleState
from db.models import AgentTemplate, AgentVersion

LABEL: Final = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
"""VER-6. Semantic version, with an optional v."""


@command("write:versions", ChangeRecordType.VERSION_CREATED)
async def create_version(
    uow: UnitOfWork,
    template_id: UUID,
    genome: JsonObject,
    version_label: str | None = None,
    parent_version_id: UUID | None = None,
    genome_hash_expected: str | None = None,
    build_provenance: JsonObject | None = None,
    metadata: JsonObject | None = None,
) -> AgentVersion | Done | Refused:
    """VER-2, GEN-1 to GEN-7. Build a version; the same genome under the template gives the existing version back.

    A new version is a DRAFT that no evaluation has run on.
    """
    template = await uow.lock(AgentTemplate, template_id)
    if template is None:
        return Refused(Refusal.NOT_FOUND, "No such agent template.", "template_id")
    uow.permit()
    if refused := await _wrong_parent(uow, template, parent_version_id):
        return refused
    for path, fault in genome_faults(genome):
        where = f"genome.{path}" if path else "genome"
        return Refused(Refusal.VALIDATION_ERROR, f"`{where}` {fault} (GEN-1).", where)
    try:
        found = genome_hash(genome)
    except CanonicalError as error:
        return Refused(Refusal.VALIDATION_ERROR, f"The genome cannot be hashed: {error}", "genome")
    if genome_hash_expected is not None and genome_hash_expected.lower() != found:
        message = f"The genome's hash is {found}, not the one that was sent (GEN-5)."
        return Refused(Refusal.INTEGRITY_VIOLATION, message, "genome_hash_expected")
    if existing := await _same_genome(uow, template, found):
        return Done(existing, {"is_existing": True})
    if refused := await _bad_label(uow, template, version_label):
        return refused
    version = uow.add(
        AgentVersion(
            template_id=template.id,
            genome=genome,
            genome_hash=found,
            lifecycle_state=LifecycleState.DRAFT,
            eval_status=EvalStatus.NOT_RUN,
            parent_version_id=parent_version_id,
            build_provenance=build_provenance,
            created_by_operator_id=uow.actor.id,
            version_label=version_label,
            version_number=await _next_number(uow, template),
            metadata_=metadata,
        )
    )
    uow.record(
        ChangeRecordType.VERSION_CREATED,
        version,
        after={
            "genomeHash": found,
            "lifecycleState": LifecycleState.DRAFT.value,
            "versionLabel": version_label,
            "versionNumber": version.version_number,
        },
        version_id=version.id,
    )
    return Done(version, {"is_existing": False})


@command("write:versions", ChangeRecordType.VERSION_INTEGRITY_VERIFIED)
async def verify_version(uow: UnitOfWork, version_id: UUID) -> Done | Refused:
    """GEN-8. Hash a version's genome again; one that was tampered with is contained at once."""
    version = await uow.lock(AgentVersion, version_id)
    if version is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "version_id")
    uow.permit()
    if is_sound(version):
        note(uow, version, sound=True)
        return Done(version, {"integrity_status": IntegrityStatus.VERIFIED.value})
    await contain(uow, version)
    return Done(version, {"integrity_status": IntegrityStatus.TAMPERED.value})


async def _wrong_parent(uow: UnitOfWork, template: AgentTemplate, parent_id: UUID | None) -> Refused | None:
    """VER-8. A parent is a version of the same template."""
    if parent_id is None:
        return None
    parent = await uow.get(AgentVersion, parent_id)
    if parent is None:
        return Refused(Refusal.NOT_FOUND, "No such agent version.", "parent_version_id")
    if parent.template_id != template.id:
        message = "The parent is a version of another template. Name one of this template."
        return Refused(Refusal.VALIDATION_ERROR, message, "parent_version_id")
    return None


async def _same_genome(uow: UnitOfWork, template: AgentTemplate, found: str) -> AgentVersion | None:
    """GEN-7. The version of the template that has this genome already, unless it is retired."""
    statement = select(AgentVersion).where(
        AgentVersion.tenant_id == uow.tenant_id,
        AgentVersion.template_id == template.id,
        AgentVersion.genome_hash == found,
        AgentVersion.lifecycle_state != LifecycleState.RETIRED,
    )
    return (await uow.session.scalars(statement.order_by(AgentVersion.id).limit(1))).first()


async def _bad_label(uow: UnitOfWork, template: AgentTemplate, label: str | None) -> Refused | None:
    """VER-6. A label is a semantic version, and names one version of the template."""
    if label is None:
        return None
    if LABEL.fullmatch(label) is None:
        message = "A label looks like 1.4.0, v1.4.0 or v1.4.0-rc.1."
        return Refused(Refusal.VALIDATION_ERROR, message, "version_label")
    taken = select(AgentVersion.id).where(
        AgentVersion.tenant_id == uow.tenant_id,
        AgentVersion.template_id == template.id,
        AgentVersion.version_label == label,
    )
    if await uow.session.scalar(taken):
        message = f"The template has a version with the label {label}. Choose the next one."
        return Refused(Refusal.DUPLICATE_RESOURCE, message, "version_label")
    return None


async def _next_number(uow: UnitOfWork, template: AgentTemplate) -> int:
    """VER-6. One more than the highest number; the template's lock keeps others from taking it."""
    highest = select(func.max(AgentVersion.version_number)).where(
        AgentVersion.tenant_id == uow.tenant_id, AgentVersion.template_id == template.id
    )
    return (await uow.session.scalar(highest) or 0) + 1
