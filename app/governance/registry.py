"""The tenant's own registry of permissions, and its built-in roles: filled from the vocabulary (RBAC-1 to RBAC-4)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
from app.unit_of_work import UnitOfWork
from db.models import Permission, Role


@dataclass(frozen=True)
class Filled:
    """What was missing."""

    roles: dict[str, Role]
    """The built-in roles by name, all of them."""
    added: list[str]
    """Permissions that the registry did not have."""
    changed: list[str]
    """Names of built-in roles that were made, or that allow something else now."""


async def fill_registry(uow: UnitOfWork) -> Filled:
    """Bring the tenant's registry and its built-in roles to what this version of the gateway knows.

    Super Admin stands above tenants and is in none (RBAC-4). What the tenant has besides stays.
    """
    known = {
        f"{action}:{resource}"
        for action, resource in await uow.session.execute(
            select(Permission.action, Permission.resource).where(Permission.tenant_id == uow.tenant_id)
        )
    }
    added = [one for name, one in PERMISSIONS.items() if name not in known]
    for one in added:
        uow.add(
            Permission(resource=one.resource, action=one.action, description=one.description, category=one.category)
        )
    built_in = select(Role).where(Role.tenant_id == uow.tenant_id, Role.is_system).with_for_update(key_share=True)
    roles = {role.name: role for role in await uow.session.scalars(built_in)}
    changed = []
    for system in SYSTEM_ROLES.values():
        if not system.assignable:
            continue
        allowed = sorted(system.permissions)
        role = roles.get(system.name)
        if role is None:
            role = roles[system.name] = uow.add(
                Role(name=system.name, description=system.description, permissions=allowed, is_system=True)
            )
        elif sorted(role.permissions) != allowed:
            role.permissions = allowed
        else:
            continue
        changed.append(system.name)
    await uow.session.flush()
    return Filled(roles, [one.name for one in added], changed)
