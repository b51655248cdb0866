"""The tenant's admins: there is always one who can let others in (RBAC-8)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select

from app.auth.permissions import ADMIN
from app.commands import Refusal, Refused
from app.unit_of_work import UnitOfWork
from db.enums import OperatorStatus
from db.models import Operator, Role, RoleAssignment


async def refuse_last_admin(
    uow: UnitOfWork, operator_id: UUID, assignment_id: UUID | None = None, until: datetime | None = None
) -> Refused | None:
    """RBAC-8. Refuse to take away the tenant's last active Admin, tenant-wide.

    Asked before an operator is suspended, deactivated or erased, or loses one grant (`assignment_id`), at once or at a
    later time (`until`). An Admin whose grant ends some day does not stand in for one whose grant lasts. Locks the
    built-in role, so that whoever takes an Admin away takes turns: ask before anything of the operator is locked.
    """
    role = await uow.session.scalar(
        select(Role.id)
        .where(Role.tenant_id == uow.tenant_id, Role.is_system, Role.name == ADMIN)
        .with_for_update(key_share=True)
    )
    if role is None:
        return None
    grants = await uow.session.execute(
        select(RoleAssignment.id, RoleAssignment.operator_id, RoleAssignment.expires_at)
        .join(Operator, (Operator.tenant_id == RoleAssignment.tenant_id) & (Operator.id == RoleAssignment.operator_id))
        .where(
            RoleAssignment.tenant_id == uow.tenant_id,
            RoleAssignment.role_id == role,
            RoleAssignment.project_id.is_(None),
            RoleAssignment.environment_id.is_(None),
            or_(RoleAssignment.expires_at.is_(None), RoleAssignment.expires_at > uow.now),
            Operator.status == OperatorStatus.ACTIVE,
        )
    )
    lost: list[datetime | None] = []
    rest: list[datetime | None] = []
    for one in grants:
        is_lost = one.operator_id == operator_id and assignment_id in (None, one.id)
        (lost if is_lost else rest).append(one.expires_at)
    stays = None in rest or (rest and None not in lost) or (until is not None and None not in lost)
    if not lost or stays:
        return None
    message = "This is the tenant's last active Admin. Give somebody else the role Admin for good first (RBAC-8)."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, "operator_id")
