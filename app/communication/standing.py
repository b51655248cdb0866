"""What holds for conversations at this moment: which rows belong together, and who takes part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select

from app.commands import Refusal, Refused
from app.identity.standing import open_project
from app.unit_of_work import UnitOfWork
from db.base import Model
from db.enums import InstanceState
from db.models import AgentInstance

M = TypeVar("M", bound=Model)


async def place(uow: UnitOfWork, project_id: UUID | None) -> Refused | None:
    """Whether something new may be kept there: in a project that takes new work, or in none, for the whole tenant."""
    if project_id is not None:
        project = await open_project(uow, project_id)
        if isinstance(project, Refused):
            return project
    uow.permit(project_id=project_id)
    return None


async def linked(
    uow: UnitOfWork, model: type[M], row_id: UUID | None, project_id: UUID | None, field: str
) -> M | Refused | None:
    """A row that something of the project refers to; None where it refers to none.

    A relation from a row that may be read may be read (decision 29), so nobody may link what they cannot read
    themselves, nor the row of another project.
    """
    if row_id is None:
        return None
    row: Any = await uow.get(model, row_id)
    of = None if row is None else row.project_id
    is_here = row is not None and (project_id is None or of in (None, project_id))
    if not is_here or not uow.actor.read_scope(model.__name__).covers(project_id=of):
        return Refused(Refusal.NOT_FOUND, f"No such {model.__name__} here.", field)
    found: M = row
    return found


async def agents_by_id(
    uow: UnitOfWork, instance_ids: Sequence[UUID], project_id: UUID | None, field: str, end: str = ""
) -> dict[UUID, AgentInstance] | Refused:
    """Agents that are to take part: of the project, where there is one, and not retired. One statement.

    A refusal blames `field` with the position of the agent, and `end` behind it.
    """
    if not instance_ids:
        return {}
    statement = select(AgentInstance).where(
        AgentInstance.tenant_id == uow.tenant_id, AgentInstance.id.in_(set(instance_ids))
    )
    found = {one.id: one for one in await uow.session.scalars(statement)}
    for position, instance_id in enumerate(instance_ids):
        agent = found.get(instance_id)
        if agent is None or project_id not in (None, agent.project_id):
            return Refused(Refusal.NOT_FOUND, "No such agent here.", f"{field}[{position}]{end}")
        if agent.state is InstanceState.RETIRED:
            return Refused(Refusal.DEPENDENCY_NOT_MET, "The agent is RETIRED.", f"{field}[{position}]{end}")
    return found
