"""Mutations of roles and of who holds them."""

from __future__ import annotations

from datetime import datetime

from app.governance.commands import roles
from app.governance.types import Role, RoleAssignment
from app.graph.inputs import given, input_type
from app.graph.mutation import Shown, mutation, shown_id
from app.graph.registry import Named
from app.graph.scalars import JSON
from app.identity.types import Operator


@input_type
class RoleCreateInput:
    """A new role."""

    name: str = given("Name, unique in the tenant in any spelling that reads the same.", longest=100)
    permissions: list[str] = given("What it allows: `action:resource`, from the registry.", longest=100, most=500)
    description: str | None = given("What holders of the role do.", longest=500)
    metadata: JSON | None = given("Open notes.")


@input_type
class RoleUpdateInput:
    """What changes on a role; what is left out stays."""

    role_id: str = given("The role; not a built-in one.", id_of="Role")
    name: str | None = given("Name, unique in the tenant in any spelling that reads the same.", longest=100)
    permissions: list[str] | None = given("What it allows, all of it.", longest=100, most=500)
    description: str | None = given("What holders of the role do.", longest=500)
    metadata: JSON | None = given("Open notes, all of them.")


@input_type
class RoleDeleteInput:
    """Which role goes."""

    role_id: str = given("The role; not a built-in one, and held by nobody.", id_of="Role")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class RoleAssignInput:
    """Who gets which role, and where."""

    role_id: str = given("The role.", id_of="Role")
    operator_id: str = given("Who gets it; never the caller.", id_of="Operator")
    project_id: str | None = given("Only in this project.", id_of="Project")
    environment_id: str | None = given("Only in this environment.", id_of="Environment")
    expires_at: datetime | None = given("When it ends by itself; absent means never.")
    metadata: JSON | None = given("Open notes.")


@input_type
class RoleRevokeInput:
    """Which grant goes."""

    assignment_id: str = given("The grant.", id_of="RoleAssignment")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class OperatorRolesRevokeInput:
    """Who loses every role."""

    operator_id: str = given("The operator.", id_of="Operator")
    reason: str | None = given("Why, for the audit log.", longest=2_000)


@input_type
class PermissionsRefreshInput:
    """Whose registry is brought up to date."""

    tenant_slug: str = given("The tenant's slug.", longest=100)


FIELDS = (
    mutation("role_create", roles.create_role, RoleCreateInput, Role),
    mutation("role_update", roles.update_role, RoleUpdateInput, Role),
    mutation(
        "role_delete",
        roles.delete_role,
        RoleDeleteInput,
        None,
        shows=[shown_id("role_id", "Role", "Id of the role that is gone.")],
    ),
    mutation("role_assign", roles.assign_role, RoleAssignInput, RoleAssignment),
    mutation(
        "role_revoke",
        roles.revoke_role,
        RoleRevokeInput,
        None,
        shows=[
            shown_id("assignment_id", "RoleAssignment", "Id of the grant that is gone."),
            Shown("operator", Named("Operator"), "Who held the role.", of="Operator"),
        ],
    ),
    mutation("operator_roles_revoke", roles.revoke_all_roles, OperatorRolesRevokeInput, Operator),
    mutation(
        "permissions_refresh",
        roles.refresh_permissions,
        PermissionsRefreshInput,
        None,
        shows=[
            Shown("added_permissions", list[str], "Permissions that the registry did not have."),
            Shown("changed_roles", list[str], "Built-in roles that are new, or that allow something else now."),
        ],
    ),
)
