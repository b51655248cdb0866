"""Commands of the organisation: the directory of people, and the agents' places in projects (ORG-1, ORG-2)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from app.commands import Done, Refusal, Refused, command
from app.identity.commands.places import blank
from app.identity.rules import is_address
from app.identity.standing import open_project
from app.rows import as_json, edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import OrgPosition, OrgScope
from db.models import AgentInstance, OrgAssignment, OrgMember, Project

_NO_MEMBER = Refused(Refusal.NOT_FOUND, "No such member.", "member_id")


@command("write:people", "ORG_MEMBER_CREATED")
async def create_org_member(
    uow: UnitOfWork,
    name: str,
    role: str,
    email: str | None = None,
    title: str | None = None,
    avatar: str | None = None,
    responsibilities: list[str] | None = None,
    parent_member_id: UUID | None = None,
    project_id: UUID | None = None,
    metadata: JsonObject | None = None,
) -> OrgMember | Refused:
    """ORG-2. Enter a person into the directory, under whom they report to; carries no permissions."""
    uow.permit(project_id=project_id)
    await uow.tenant(lock=True)  # the tree has one writer at a time
    if project_id is not None:
        project = await open_project(uow, project_id)
        if isinstance(project, Refused):
            return project
    refused = blank("name", {"name": name}) or blank("role", {"role": role}) or await _bad_address(uow, email, None)
    if refused:
        return refused
    parent = await _parent(uow, parent_member_id)
    if isinstance(parent, Refused):
        return parent
    member = uow.add(
        OrgMember(
            project_id=project_id,
            name=name.strip(),
            email=email,
            role=role.strip(),
            title=title,
            avatar=avatar,
            parent_member_id=parent_member_id,
            level=0 if parent is None else parent.level + 1,
            responsibilities=responsibilities,
            metadata_=metadata,
        )
    )
    _note(uow, "ORG_MEMBER_CREATED", member)
    return member


@command("write:people", "ORG_MEMBER_UPDATED")
async def update_org_member(uow: UnitOfWork, member_id: UUID, **changes: Any) -> OrgMember | Refused:
    """ORG-2. Change a person of the directory; an address is one person's among those who are active."""
    await uow.tenant(lock=True)
    member = await uow.lock(OrgMember, member_id)
    if member is None:
        return _NO_MEMBER
    uow.permit(project_id=member.project_id)
    refused = blank("name", changes) or blank("role", changes)
    if not refused and "email" in changes and member.active:
        refused = await _bad_address(uow, changes["email"], member.id)
    if refused:
        return refused
    _, after = edit(member, changes)
    if after:
        _note(uow, "ORG_MEMBER_UPDATED", member, changed=sorted(after))
    return member


@command("write:people", "ORG_MEMBER_MOVED")
async def move_org_member(
    uow: UnitOfWork, member_id: UUID, parent_member_id: UUID | None = None
) -> OrgMember | Refused:
    """ORG-2. Let a person report to another one, or to nobody; whoever reports to them moves along."""
    await uow.tenant(lock=True)
    member = await uow.lock(OrgMember, member_id)
    if member is None:
        return _NO_MEMBER
    uow.permit(project_id=member.project_id)
    parent = await _parent(uow, parent_member_id)
    if isinstance(parent, Refused):
        return parent
    under = await _under(uow, member.id)
    if parent is not None and parent.id in under:
        message = "Nobody reports to themselves, nor to somebody who reports to them."
        return Refused(Refusal.VALIDATION_ERROR, message, "parent_member_id")
    shift = (0 if parent is None else parent.level + 1) - member.level
    before = None if member.parent_member_id is None else str(member.parent_member_id)
    member.parent_member_id = parent_member_id
    await uow.session.flush()
    if shift:
        await uow.session.execute(
            update(OrgMember)
            .where(OrgMember.tenant_id == uow.tenant_id, OrgMember.id.in_(under))
            .values(level=OrgMember.level + shift)
        )
        await uow.session.refresh(member)
    after = None if parent is None else str(parent.id)
    _note(uow, "ORG_MEMBER_MOVED", member, before=before, after=after, shift=shift, moved=len(under))
    return member


@command("write:people", "ORG_MEMBER_REMOVED")
async def remove_org_member(uow: UnitOfWork, member_id: UUID, reason: str | None = None) -> OrgMember | Refused:
    """ORG-2. Take a person out of the directory: they stay in it as inactive, and their address is free again."""
    await uow.tenant(lock=True)
    member = await uow.lock(OrgMember, member_id)
    if member is None:
        return _NO_MEMBER
    uow.permit(project_id=member.project_id)
    if not member.active:
        return Refused(Refusal.CONFLICT, "The member was removed before.", "member_id")
    member.active = False
    _note(uow, "ORG_MEMBER_REMOVED", member, reason=reason)
    return member


@command("write:people", "ORG_POSITION_ASSIGNED")
async def assign_org_position(
    uow: UnitOfWork,
    instance_id: UUID,
    project_id: UUID,
    org_position: OrgPosition,
    scope: OrgScope = OrgScope.PROJECT,
    scope_ref: str | None = None,
    metadata: JsonObject | None = None,
) -> OrgAssignment | Refused:
    """ORG-1. Give an agent a place in a project; the same place again is an update, and a project has one CEO."""
    project = await uow.lock(Project, project_id)  # places of a project are given one after the other
    if project is None or project.deleted_at is not None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    uow.permit(project_id=project.id)
    if await uow.get(AgentInstance, instance_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    scope_ref = (scope_ref or "").strip() or None
    if (scope is OrgScope.PROJECT) is (scope_ref is not None):
        message = "A squad or a repository is named by `scopeRef`; the whole project has none."
        return Refused(Refusal.VALIDATION_ERROR, message, "scope_ref")
    is_ceo = org_position is OrgPosition.CEO
    places = select(OrgAssignment).where(
        OrgAssignment.tenant_id == uow.tenant_id,
        OrgAssignment.project_id == project.id,
        OrgAssignment.org_position == org_position,
    )
    if not is_ceo:
        places = places.where(
            OrgAssignment.instance_id == instance_id, OrgAssignment.scope_ref.is_not_distinct_from(scope_ref)
        )
    found = (await uow.session.scalars(places.with_for_update())).first()
    if found is not None and found.instance_id != instance_id:
        message = "The project has a CEO. Take the place from them first."
        return Refused(Refusal.CONFLICT, message, "org_position")
    if found is None:
        found = uow.add(OrgAssignment(instance_id=instance_id, project_id=project.id, org_position=org_position))
    found.scope, found.scope_ref = scope, scope_ref
    found.assigned_by_operator_id, found.assigned_at = uow.actor_id, uow.now
    if metadata is not None:
        found.metadata_ = metadata
    uow.audit(
        "ORG_POSITION_ASSIGNED",
        resource="OrgAssignment",
        resource_id=found.id,
        metadata={
            "instanceId": str(instance_id),
            "projectId": str(project.id),
            "orgPosition": org_position.value,
            "scope": scope.value,
            "scopeRef": scope_ref,
        },
    )
    return found


@command("write:people", "ORG_POSITION_REMOVED")
async def remove_org_position(uow: UnitOfWork, assignment_id: UUID, reason: str | None = None) -> Done | Refused:
    """ORG-1. Take an agent's place in a project away."""
    found = await uow.lock(OrgAssignment, assignment_id)
    if found is None:
        return Refused(Refusal.NOT_FOUND, "No such place.", "assignment_id")
    uow.permit(project_id=found.project_id)
    await uow.session.delete(found)
    uow.audit(
        "ORG_POSITION_REMOVED",
        resource="OrgAssignment",
        resource_id=found.id,
        description=reason,
        metadata={"before": as_json(found)},
    )
    return Done(None, {"assignment_id": str(found.id), "instance": str(found.instance_id)})


async def _parent(uow: UnitOfWork, member_id: UUID | None) -> OrgMember | Refused | None:
    if member_id is None:
        return None
    parent = await uow.lock(OrgMember, member_id)
    if parent is None:
        return Refused(Refusal.NOT_FOUND, "No such member.", "parent_member_id")
    if not parent.active:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "Nobody reports to a member who left.", "parent_member_id")
    return parent


async def _under(uow: UnitOfWork, member_id: UUID) -> set[UUID]:
    """The member and everybody below; ends where an imported tree runs in a circle."""
    tree = (
        select(OrgMember.id)
        .where(OrgMember.tenant_id == uow.tenant_id, OrgMember.id == member_id)
        .cte("tree", recursive=True)
    )
    below = select(OrgMember.id).where(OrgMember.tenant_id == uow.tenant_id, OrgMember.parent_member_id == tree.c.id)
    return set(await uow.session.scalars(select(tree.union(below).c.id)))


async def _bad_address(uow: UnitOfWork, email: str | None, member_id: UUID | None) -> Refused | None:
    if email is None:
        return None
    if not is_address(email):
        return Refused(Refusal.VALIDATION_ERROR, "An e-mail address looks like name@example.com.", "email")
    same = select(OrgMember.id).where(
        OrgMember.tenant_id == uow.tenant_id,
        OrgMember.active,
        func.lower(OrgMember.email) == email.lower(),
        OrgMember.id.is_distinct_from(member_id),
    )
    if await uow.session.scalar(same):
        return Refused(Refusal.DUPLICATE_RESOURCE, "An active member with this e-mail address exists.", "email")
    return None


def _note(uow: UnitOfWork, action: str, member: OrgMember, **what: Any) -> None:
    """The audit row names no name and no address (PII-2)."""
    reason = what.pop("reason", None)
    uow.audit(action, resource="OrgMember", resource_id=member.id, description=reason, metadata=what or None)
