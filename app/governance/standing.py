"""What holds for a row at this moment: the autonomy tier of its policy, and the approvals it may rest on."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import case, or_, select

from app.unit_of_work import UnitOfWork
from db.enums import ApprovalDecision
from db.models import AgentVersion, ApprovalRecord, PolicyEnvelope

DEFAULT_TIER: Final = 1
"""Decision 17: the tier where no envelope says one."""


async def effective_tier(uow: UnitOfWork, version: AgentVersion, project_id: UUID | None = None) -> int:
    """VER-4, POL-4, POL-5. The autonomy tier that governs a version: the strongest level that names one, never above
    the tenant's safety floor."""
    level: Any = case(
        (PolicyEnvelope.attached_to_version_id.is_not(None), 0),
        (PolicyEnvelope.attached_to_template_id.is_not(None), 1),
        (PolicyEnvelope.attached_to_project_id.is_not(None), 2),
        else_=3,
    )
    reaches = [
        PolicyEnvelope.attached_to_version_id == version.id,
        PolicyEnvelope.attached_to_template_id == version.template_id,
        PolicyEnvelope.attached_to_tenant.is_(True),
    ]
    if project_id is not None:
        reaches.append(PolicyEnvelope.attached_to_project_id == project_id)
    tier = await uow.session.scalar(
        select(PolicyEnvelope.autonomy_tier)
        .where(
            PolicyEnvelope.tenant_id == uow.tenant_id,
            PolicyEnvelope.active.is_(True),
            PolicyEnvelope.autonomy_tier.is_not(None),
            or_(*reaches),
        )
        .order_by(level, PolicyEnvelope.priority.desc(), PolicyEnvelope.id.desc())
        .limit(1)
    )
    floor = ((await uow.tenant()).settings or {}).get("safetyFloor") or {}
    highest = floor.get("maxTier")
    found = DEFAULT_TIER if tier is None else tier
    return found if not isinstance(highest, int) else min(found, highest)


async def usable_approval(uow: UnitOfWork, request_type: str, entity: str, row_id: UUID) -> ApprovalRecord | None:
    """The oldest granted approval of this type for the row that has not carried an action yet, locked."""
    statement = (
        select(ApprovalRecord)
        .where(
            ApprovalRecord.tenant_id == uow.tenant_id,
            ApprovalRecord.target_entity == entity,
            ApprovalRecord.target_id == row_id,
            ApprovalRecord.request_type == request_type,
            ApprovalRecord.status == ApprovalDecision.APPROVED,
            ApprovalRecord.used_at.is_(None),
        )
        .order_by(ApprovalRecord.id)
        .limit(1)
        .with_for_update(key_share=True)
    )
    return (await uow.session.scalars(statement)).first()
