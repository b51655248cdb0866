"""One-time grants: an approved request lets through exactly the action that it was made for, once (POL-12)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from app.governance.approving import GRANT
from app.governance.policy import Action, ActionType
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ApprovalDecision
from db.models import ApprovalRecord


def grant_of(action: Action, hashed: str, *, instance_id: UUID | None, task_id: UUID | None) -> JsonObject:
    """The exact action: two are the same when their grants are equal. `hashed` is that of the arguments."""
    is_about_task = action.type is not ActionType.TOOL_CALL and action.type is not ActionType.MESSAGE
    return {
        "instanceId": str(instance_id),
        "actionType": action.type.value,
        "toolName": None if action.tool is None else action.tool.casefold(),
        "argsHash": hashed,
        "transitionTo": None if action.transition_to is None else action.transition_to.value,
        "taskId": str(task_id) if is_about_task and task_id is not None else None,
    }


async def find_grant(uow: UnitOfWork, grant: JsonObject, cost: Decimal) -> ApprovalRecord | None:
    """The oldest approved request for this action that is neither used up nor expired, and not for less money."""
    return (await uow.session.scalars(_usable(uow, grant, cost))).first()


async def take_grant(uow: UnitOfWork, grant: JsonObject, cost: Decimal) -> ApprovalRecord | None:
    """Use up what `find_grant` finds. Of two at once one gets it."""
    statement = _usable(uow, grant, cost).with_for_update(skip_locked=True)
    found = (await uow.session.scalars(statement)).first()
    if found is not None:
        found.used_at = uow.now
    return found


def _usable(uow: UnitOfWork, grant: JsonObject, cost: Decimal) -> Select[Any]:
    return (
        select(ApprovalRecord)
        .where(
            ApprovalRecord.tenant_id == uow.tenant_id,
            ApprovalRecord.status == ApprovalDecision.APPROVED,
            ApprovalRecord.expires_at >= uow.now,
            ApprovalRecord.used_at.is_(None),
            ApprovalRecord.metadata_[GRANT] == grant,
            func.coalesce(ApprovalRecord.estimated_cost, 0) >= cost,
        )
        .order_by(ApprovalRecord.id)
        .limit(1)
    )
