"""Commands of agent identities (IDN-1 to IDN-3)."""

from __future__ import annotations

import hashlib
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refusal, Refused, command
from app.registry.compliance import judge
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AlertSeverity, ChangeRecordType, IdentityComplianceStatus
from db.models import AgentIdentity, AgentTemplate


@command("write:identities", ChangeRecordType.IDENTITY_UPDATED)
async def set_identity(
    uow: UnitOfWork,
    template_id: UUID,
    name: str,
    creature: str | None = None,
    vibe: str | None = None,
    emoji: str | None = None,
    avatar_path: str | None = None,
    soul_content: str | None = None,
    identity_content: str | None = None,
    tools_content: str | None = None,
    metadata: JsonObject | None = None,
) -> AgentIdentity | Refused:
    """IDN-1, IDN-2. Make or replace a template's identity and judge it; a changed soul is told to the owners."""
    template = await uow.lock(AgentTemplate, template_id)
    if template is None:
        return Refused(Refusal.NOT_FOUND, "No such agent template.", "template_id")
    uow.permit()
    mine = select(AgentIdentity).where(
        AgentIdentity.tenant_id == uow.tenant_id,
        AgentIdentity.template_id == template.id,
        AgentIdentity.instance_id.is_(None),
    )
    identity = (await uow.session.scalars(mine.with_for_update())).first()
    before = None if identity is None else _hashes(identity)
    if identity is None:
        identity = uow.add(AgentIdentity(template_id=template.id))
    identity.name, identity.creature, identity.vibe, identity.emoji = name, creature, vibe, emoji
    identity.avatar_path, identity.soul_content = avatar_path, soul_content
    identity.identity_content, identity.tools_content = identity_content, tools_content
    identity.soul_hash = None if soul_content is None else hashlib.sha256(soul_content.encode()).hexdigest()
    if metadata is not None:
        identity.metadata_ = metadata
    _stamp(uow, identity)
    after = _hashes(identity)
    uow.record(ChangeRecordType.IDENTITY_UPDATED, identity, before=before, after=after)
    if before is not None and before["soulHash"] != after["soulHash"]:
        await uow.session.flush()
        uow.notify("SOUL_CHANGED", template, {"templateId": str(template.id), "name": template.name})
        uow.alert(
            "SOUL_CHANGED",
            AlertSeverity.INFO,
            f"The soul of {template.name} changed",
            "Its owners were told. Its versions keep the prompts that they were built with.",
            about_id=template.id,
            metadata={"templateId": str(template.id)},
        )
    return identity


@command("scan:identities", "IDENTITY_SCANNED")
async def scan_identities(uow: UnitOfWork) -> Done:
    """IDN-3. Judge the identity of every template again; the counts say how many are in order."""
    uow.permit()
    templates = await uow.session.scalars(select(AgentTemplate.id).where(AgentTemplate.tenant_id == uow.tenant_id))
    everyone = list(templates)
    statement = select(AgentIdentity).where(
        AgentIdentity.tenant_id == uow.tenant_id, AgentIdentity.instance_id.is_(None)
    )
    identities = list(await uow.session.scalars(statement.order_by(AgentIdentity.id).with_for_update()))
    for identity in identities:
        _stamp(uow, identity)
    counts = dict.fromkeys(IdentityComplianceStatus, 0)
    for identity in identities:
        if identity.compliance_status is not None:
            counts[identity.compliance_status] += 1
    counts[IdentityComplianceStatus.MISSING] += len(everyone) - len({one.template_id for one in identities})
    extras = {"scanned": len(everyone), **{status.value.lower(): count for status, count in counts.items()}}
    uow.audit("IDENTITY_SCANNED", resource="AgentIdentity", metadata=extras)
    return Done(None, extras)


def _stamp(uow: UnitOfWork, identity: AgentIdentity) -> None:
    verdict = judge(identity)
    identity.compliance_status = verdict.status
    identity.validation_errors = list(verdict.errors)
    identity.last_scan_at = uow.now


def _hashes(identity: AgentIdentity) -> JsonObject:
    def digest(text: str | None) -> str | None:
        return None if text is None else hashlib.sha256(text.encode()).hexdigest()

    return {
        "name": identity.name,
        "soulHash": digest(identity.soul_content),
        "identityHash": digest(identity.identity_content),
        "toolsHash": digest(identity.tools_content),
        "complianceStatus": None if identity.compliance_status is None else identity.compliance_status.value,
    }
