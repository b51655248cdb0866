"""Commands of agent templates."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from app.commands import Refusal, Refused, command
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType
from db.models import AgentTemplate, AgentTemplateOwner, Operator


@command("write:templates", ChangeRecordType.TEMPLATE_CREATED)
async def create_template(
    uow: UnitOfWork,
    name: str,
    description: str | None = None,
    intended_use: str | None = None,
    owner_ids: list[UUID] | None = None,
    tags: list[str] | None = None,
    emoji: str | None = None,
    default_role: str | None = None,
    metadata: JsonObject | None = None,
) -> AgentTemplate | Refused:
    """Make the blueprint of a family of agents; whoever makes it owns it unless owners are named."""
    uow.permit()
    if not name.strip():
        return Refused(Refusal.VALIDATION_ERROR, "A template needs a name.", "name")
    owners = owner_ids if owner_ids is not None else [uow.actor.id]
    if refused := await _unknown_owner(uow, owners):
        return refused
    template = uow.add(
        AgentTemplate(
            name=name.strip(),
            description=description,
            intended_use=intended_use,
            tags=tags,
            emoji=emoji,
            default_role=default_role,
            metadata_=metadata,
        )
    )
    await uow.session.flush()
    _set_owners(uow, template, owners)
    uow.record(ChangeRecordType.TEMPLATE_CREATED, template, after={**_state(template), "owners": _texts(owners)})
    return template


@command("write:templates", ChangeRecordType.TEMPLATE_UPDATED)
async def update_template(
    uow: UnitOfWork, template_id: UUID, owner_ids: list[UUID] | None = None, **changes: Any
) -> AgentTemplate | Refused:
    """Change a template; versions made from it stay as they are (VER-5)."""
    template = await uow.lock(AgentTemplate, template_id)
    if template is None:
        return Refused(Refusal.NOT_FOUND, "No such agent template.", "template_id")
    uow.permit()
    if "name" in changes and not (changes["name"] or "").strip():
        return Refused(Refusal.VALIDATION_ERROR, "A template needs a name.", "name")
    if owner_ids is not None and (refused := await _unknown_owner(uow, owner_ids)):
        return refused  # before anything is changed: a refusal commits
    before = _state(template)
    for name, value in changes.items():
        setattr(template, "metadata_" if name == "metadata" else name, value)
    after = _state(template)
    if owner_ids is not None:
        mine = (AgentTemplateOwner.tenant_id == uow.tenant_id, AgentTemplateOwner.template_id == template.id)
        former = await uow.session.scalars(
            select(AgentTemplateOwner.operator_id).where(*mine).order_by(AgentTemplateOwner.position)
        )
        before["owners"], after["owners"] = _texts(list(former)), _texts(owner_ids)
        await uow.session.execute(delete(AgentTemplateOwner).where(*mine))
        _set_owners(uow, template, owner_ids)
    changed = {key for key in after if before[key] != after[key]}
    uow.record(
        ChangeRecordType.TEMPLATE_UPDATED,
        template,
        before={key: before[key] for key in before if key in changed},
        after={key: after[key] for key in after if key in changed},
    )
    return template


def _state(template: AgentTemplate) -> JsonObject:
    return {
        "name": template.name,
        "description": template.description,
        "intendedUse": template.intended_use,
        "tags": template.tags,
        "emoji": template.emoji,
        "defaultRole": template.default_role,
        "metadata": template.metadata_,
    }


def _texts(ids: list[UUID]) -> list[str]:
    return [str(one) for one in ids]


def _set_owners(uow: UnitOfWork, template: AgentTemplate, owners: list[UUID]) -> None:
    for position, operator_id in enumerate(dict.fromkeys(owners)):
        link = AgentTemplateOwner(template_id=template.id, operator_id=operator_id, position=position)
        link.tenant_id = uow.tenant_id
        uow.session.add(link)


async def _unknown_owner(uow: UnitOfWork, owners: list[UUID]) -> Refused | None:
    known = set(
        await uow.session.scalars(
            select(Operator.id).where(Operator.tenant_id == uow.tenant_id, Operator.id.in_(owners))
        )
    )
    missing = next((position for position, one in enumerate(owners) if one not in known), None)
    if missing is None:
        return None
    return Refused(Refusal.NOT_FOUND, "No such operator.", f"owner_ids[{missing}]")
