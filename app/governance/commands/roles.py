"""Commands of access control: roles, and who holds which of them where (RBAC-1 to RBAC-8, decision 29)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select

from app.auth.actor import ActorKind
from app.auth.permissions import ADMIN, find_system_role, role_key
from app.commands import Done, Refusal, Refused, command
from app.governance.admins import refuse_last_admin
from app.governance.registry import fill_registry
from app.rows import edit, plain
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AuditSeverity, OperatorStatus
from db.models import Environment, Operator, Permission, Project, Role, RoleAssignment, Tenant


@command("write:roles", "ROLE_CREATED", is_sensitive=True)
async def create_role(
    uow: UnitOfWork,
    name: str,
    permissions: list[str],
    description: str | None = None,
    metadata: JsonObject | None = None,
) -> Role | Refused:
    """RBAC-5. Make a role of permissions that its maker holds tenant-wide; its name is unique."""
    uow.permit()
    refused = await _bad_name(uow, name, None) or await _bad_permissions(uow, permissions, permissions)
    if refused:
        return refused
    role = uow.add(
        Role(name=name.strip(), description=description, permissions=sorted(set(permissions)), metadata_=metadata)
    )
    uow.audit(
        "ROLE_CREATED",
        resource="Role",
        resource_id=role.id,
        description=role.name,
        metadata={"after": {"name": role.name, "permissions": role.permissions}},
    )
    return role


@command("write:roles", "ROLE_UPDATED", is_sensitive=True)
async def update_role(uow: UnitOfWork, role_id: UUID, **changes: Any) -> Role | Refused:
    """RBAC-4, RBAC-5. Change a role that is not built in, for all its holders at once; nobody adds what they lack."""
    role = await _own_role(uow, role_id)
    if isinstance(role, Refused):
        return role
    uow.permit()
    if "name" in changes:
        changes["name"] = (changes["name"] or "").strip()
        if refused := await _bad_name(uow, changes["name"], role.id):
            return refused
    if "permissions" in changes:
        wanted = sorted(set(changes["permissions"] or []))
        if refused := await _bad_permissions(uow, wanted, set(wanted) - set(role.permissions)):
            return refused
        changes["permissions"] = wanted
    before, after = edit(role, changes)
    if after:
        uow.audit(
            "ROLE_UPDATED",
            resource="Role",
            resource_id=role.id,
            description=role.name,
            metadata={"before": before, "after": after},
        )
    return role


@command("delete:roles", "ROLE_DELETED", is_sensitive=True)
async def delete_role(uow: UnitOfWork, role_id: UUID, reason: str | None = None) -> Done | Refused:
    """RBAC-4, RBAC-5. Delete a role that is not built in and that nobody holds any more."""
    role = await _own_role(uow, role_id)
    if isinstance(role, Refused):
        return role
    uow.permit()
    held = (RoleAssignment.tenant_id == uow.tenant_id, RoleAssignment.role_id == role.id)
    holders = await uow.session.scalar(
        select(func.count()).where(*held, or_(RoleAssignment.expires_at.is_(None), RoleAssignment.expires_at > uow.now))
    )
    if holders:
        message = f"{holders} grants of the role count still. Revoke them first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "role_id")
    # Grants that have expired are ignored everywhere (RBAC-6); they go with the role.
    await uow.session.execute(delete(RoleAssignment).where(*held))
    await uow.session.delete(role)
    uow.audit(
        "ROLE_DELETED",
        resource="Role",
        resource_id=role.id,
        severity=AuditSeverity.WARNING,
        description=reason or role.name,
        metadata={"before": {"name": role.name, "permissions": role.permissions}},
    )
    return Done(None, {"role_id": str(role.id)})


@command("assign:roles", "ROLE_ASSIGNED", is_sensitive=True)
async def assign_role(
    uow: UnitOfWork,
    role_id: UUID,
    operator_id: UUID,
    project_id: UUID | None = None,
    environment_id: UUID | None = None,
    expires_at: datetime | None = None,
    metadata: JsonObject | None = None,
) -> RoleAssignment | Refused:
    """RBAC-6, RBAC-8. Give an operator a role: everywhere, or in a project, an environment or both; perhaps for a time.

    The same grant again with another end changes its end. Nobody gives themselves a role, nor what they lack there.
    """
    role = await uow.lock(Role, role_id)
    if role is None:
        return Refused(Refusal.NOT_FOUND, "No such role.", "role_id")
    if project_id is not None and await uow.get(Project, project_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    if environment_id is not None and await uow.get(Environment, environment_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such environment.", "environment_id")
    uow.permit(project_id=project_id, environment_id=environment_id)
    operator = await uow.lock(Operator, operator_id)
    refused = (
        _bad_holder(uow, operator_id, operator)
        or _unassignable(role)
        or _not_held(uow, role.permissions, "role_id", project_id, environment_id)
    )
    if refused:
        return refused
    if expires_at is not None and expires_at <= uow.now:
        return Refused(Refusal.VALIDATION_ERROR, "A grant ends in the future.", "expires_at")
    same = select(RoleAssignment).where(
        RoleAssignment.tenant_id == uow.tenant_id,
        RoleAssignment.operator_id == operator_id,
        RoleAssignment.role_id == role.id,
        RoleAssignment.project_id.is_not_distinct_from(project_id),
        RoleAssignment.environment_id.is_not_distinct_from(environment_id),
    )
    assignment = (await uow.session.scalars(same.with_for_update())).first()
    before: JsonObject | None = None
    if assignment is None:
        assignment = uow.add(
            RoleAssignment(
                role_id=role.id,
                operator_id=operator_id,
                project_id=project_id,
                environment_id=environment_id,
                expires_at=expires_at,
                assigned_at=uow.now,
                assigned_by_operator_id=uow.actor_id,
                metadata_=metadata,
            )
        )
    elif assignment.expires_at == expires_at:
        return Refused(Refusal.CONFLICT, "They hold the role there already, with the same end.", "role_id")
    else:
        # The guard locks the role Admin, which is this very role, locked above.
        is_admin = role.is_system and role.name == ADMIN and expires_at is not None
        if is_admin and (last := await refuse_last_admin(uow, operator_id, assignment.id, until=expires_at)):
            return last
        before = {"expiresAt": plain(assignment.expires_at)}
        assignment.expires_at, assignment.assigned_at = expires_at, uow.now
        assignment.assigned_by_operator_id = uow.actor_id
    note_assigned(uow, assignment, role, before)
    return assignment


def note_assigned(uow: UnitOfWork, assignment: RoleAssignment, role: Role, before: JsonObject | None = None) -> None:
    """The audit row of a grant: what, to whom, where, until when."""
    uow.audit(
        "ROLE_ASSIGNED",
        resource="RoleAssignment",
        resource_id=assignment.id,
        description=role.name,
        metadata={"before": before, "after": _grant(assignment)},
    )


@command("revoke:roles", "ROLE_REVOKED", is_sensitive=True)
async def revoke_role(uow: UnitOfWork, assignment_id: UUID, reason: str | None = None) -> Done | Refused:
    """RBAC-7, RBAC-8. Take one grant of a role away, from the holder's next request on; the last Admin keeps theirs."""
    seen = await uow.get(RoleAssignment, assignment_id)
    if seen is None:
        return Refused(Refusal.NOT_FOUND, "No such grant.", "assignment_id")
    uow.permit(project_id=seen.project_id, environment_id=seen.environment_id)
    last = await refuse_last_admin(uow, seen.operator_id, seen.id)
    assignment = await uow.lock(RoleAssignment, assignment_id)
    if assignment is None:
        return Refused(Refusal.NOT_FOUND, "No such grant.", "assignment_id")
    if last is not None:
        return Refused(last.code, last.message, "assignment_id")
    await uow.session.delete(assignment)
    uow.audit(
        "ROLE_REVOKED",
        resource="RoleAssignment",
        resource_id=assignment.id,
        severity=AuditSeverity.WARNING,
        description=reason,
        metadata={"before": _grant(assignment)},
    )
    return Done(None, {"assignment_id": str(assignment.id), "operator": str(assignment.operator_id)})


@command("revoke:roles", "ALL_ROLES_REVOKED", is_sensitive=True)
async def revoke_all_roles(uow: UnitOfWork, operator_id: UUID, reason: str | None = None) -> Operator | Refused:
    """RBAC-8. Take every role from an operator; the last active Admin keeps theirs."""
    uow.permit()
    last = await refuse_last_admin(uow, operator_id)
    operator = await uow.lock(Operator, operator_id)
    if operator is None:
        return Refused(Refusal.NOT_FOUND, "No such operator.", "operator_id")
    if last is not None:
        return last
    held = RoleAssignment.operator_id == operator.id
    gone = await uow.session.scalars(
        delete(RoleAssignment).where(RoleAssignment.tenant_id == uow.tenant_id, held).returning(RoleAssignment)
    )
    uow.audit(
        "ALL_ROLES_REVOKED",
        resource="Operator",
        resource_id=operator.id,
        severity=AuditSeverity.WARNING,
        description=reason,
        metadata={"before": [_grant(one) for one in gone]},
    )
    return operator


@command("manage:permissions", "PERMISSION_CHANGED", callers=(ActorKind.PLATFORM,), on_platform=True)
async def refresh_permissions(uow: UnitOfWork, tenant_slug: str) -> Done | Refused:
    """RBAC-1, RBAC-4. Bring a tenant's registry of permissions and its built-in roles to what this gateway knows."""
    uow.permit()
    tenant_id = await uow.session.scalar(select(Tenant.id).where(Tenant.slug == tenant_slug).with_for_update())
    if tenant_id is None:
        return Refused(Refusal.NOT_FOUND, "No such tenant.", "tenant_slug")
    await uow.enter(tenant_id)
    filled = await fill_registry(uow)
    found: JsonObject = {"added_permissions": filled.added, "changed_roles": filled.changed}
    uow.audit("PERMISSION_CHANGED", resource="Permission", metadata=found)
    return Done(None, found)


def _grant(assignment: RoleAssignment) -> JsonObject:
    named = ("role_id", "operator_id", "project_id", "environment_id", "expires_at")
    return {name: plain(getattr(assignment, name)) for name in named}


async def _own_role(uow: UnitOfWork, role_id: UUID) -> Role | Refused:
    role = await uow.lock(Role, role_id)
    if role is None:
        return Refused(Refusal.NOT_FOUND, "No such role.", "role_id")
    if role.is_system:
        message = f"{role.name} is built in and stays as it is (RBAC-4). Make a role of your own."
        return Refused(Refusal.VALIDATION_ERROR, message, "role_id")
    return role


async def _bad_name(uow: UnitOfWork, name: str, role_id: UUID | None) -> Refused | None:
    """RBAC-5. Blank, or what another role is called already, in any spelling that reads the same."""
    if not name.strip():
        return Refused(Refusal.VALIDATION_ERROR, "A role needs a name.", "name")
    others = await uow.session.execute(select(Role.id, Role.name).where(Role.tenant_id == uow.tenant_id))
    is_taken = any(role_key(one.name) == role_key(name) and one.id != role_id for one in others)
    if is_taken or find_system_role(name) is not None:
        return Refused(Refusal.DUPLICATE_RESOURCE, f"A role with the name '{name.strip()}' exists.", "name")
    return None


async def _bad_permissions(uow: UnitOfWork, wanted: Iterable[str], added: Iterable[str]) -> Refused | None:
    """RBAC-5. What is not in the tenant's registry, or what the maker lacks."""
    rows = await uow.session.execute(
        select(Permission.action, Permission.resource).where(Permission.tenant_id == uow.tenant_id)
    )
    unknown = sorted(set(wanted) - {f"{action}:{resource}" for action, resource in rows})
    if unknown:
        message = f"The registry has no {', '.join(unknown[:5])}. A permission is written action:resource."
        return Refused(Refusal.VALIDATION_ERROR, message, "permissions")
    return _not_held(uow, added, "permissions", None, None)


def _not_held(
    uow: UnitOfWork, permissions: Iterable[str], field: str, project_id: UUID | None, environment_id: UUID | None
) -> Refused | None:
    """RBAC-5. Nobody hands on what they do not hold there themselves; whoever tries is noted (AUD-1)."""
    lacking = sorted(one for one in permissions if not uow.actor.scope(one).covers(project_id, environment_id))
    if not lacking:
        return None
    _note_refusal(uow, f"Tried to hand on {', '.join(lacking[:5])} without holding it.")
    message = f"You do not hold {', '.join(lacking[:5])} there yourself, so you cannot hand it on. Ask an Admin."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message, field)


def _bad_holder(uow: UnitOfWork, operator_id: UUID, operator: Operator | None) -> Refused | None:
    if operator is None:
        return Refused(Refusal.NOT_FOUND, "No such operator.", "operator_id")
    if operator_id == uow.actor_id:
        _note_refusal(uow, "Tried to give themselves a role.")
        message = "Nobody gives themselves a role. Ask another Admin (RBAC-8)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "operator_id")
    if operator.status is OperatorStatus.DEACTIVATED:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The operator was deactivated for good.", "operator_id")
    return None


def _unassignable(role: Role) -> Refused | None:
    """RBAC-4. Super Admin stands above tenants."""
    built_in = find_system_role(role.name) if role.is_system else None
    if built_in is None or built_in.assignable:
        return None
    return Refused(Refusal.VALIDATION_ERROR, f"{role.name} is given to nobody inside a tenant (RBAC-4).", "role_id")


def _note_refusal(uow: UnitOfWork, what: str) -> None:
    uow.audit(
        "ACCESS_DENIED",
        resource="Role",
        severity=AuditSeverity.WARNING,
        description=what,
    )
