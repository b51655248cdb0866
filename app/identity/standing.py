"""What holds for tenants, projects and people at this moment."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select

from app.commands import Refusal, Refused
from app.unit_of_work import UnitOfWork
from db.enums import OperatorStatus
from db.models import Operator, Project


async def open_project(
    uow: UnitOfWork, project_id: UUID, field: str = "project_id", *, in_turn: bool = False
) -> Project | Refused:
    """TEN-3. A project that takes new work: it exists, and cannot be deleted before this transaction ends.

    `in_turn`: whoever asks so waits for the others that do, so that what they count stays true.
    """
    statement = (
        select(Project)
        .where(Project.tenant_id == uow.tenant_id, Project.id == project_id)
        .with_for_update(read=not in_turn, key_share=True)
        .execution_options(populate_existing=True)
    )
    found = (await uow.session.scalars(statement)).first()
    if found is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", field)
    if found.deleted_at is not None:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The project was deleted; it takes no new work.", field)
    return found


async def refuse_address(uow: UnitOfWork, email: str) -> Refused | None:
    """An address means one person of the tenant, in any case: an invitation is bound by it (decision 27)."""
    same = func.lower(Operator.email) == email.lower()
    if await uow.session.scalar(select(Operator.id).where(Operator.tenant_id == uow.tenant_id, same)):
        return Refused(Refusal.DUPLICATE_RESOURCE, "An operator with this e-mail address exists.", "email")
    return None


async def refuse_full(uow: UnitOfWork) -> Refused | None:
    """TEN-2. Whether the tenant has all the operators that it may have; those who were deactivated do not count.

    Locks the tenant's row, so that two invitations at once count each other.
    """
    most = (await uow.tenant(lock=True)).max_operators
    if most is None:
        return None
    counting = Operator.status != OperatorStatus.DEACTIVATED
    count = await uow.session.scalar(
        select(func.count()).select_from(Operator).where(Operator.tenant_id == uow.tenant_id, counting)
    )
    if (count or 0) < most:
        return None
    message = f"The tenant may have {most} operators and has them all. Deactivate one, or have the limit raised."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message)
