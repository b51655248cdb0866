"""Commands of tenancy and identity."""

from app.identity.commands.operators import (
    deactivate_operator,
    invite_operator,
    reactivate_operator,
    suspend_operator,
    update_operator,
)
from app.identity.commands.places import (
    bad_slug,
    create_environment,
    create_project,
    delete_project,
    update_environment,
    update_project,
)
from app.identity.commands.tenant import update_tenant

__all__ = [
    "bad_slug",
    "create_environment",
    "create_project",
    "deactivate_operator",
    "delete_project",
    "invite_operator",
    "reactivate_operator",
    "suspend_operator",
    "update_environment",
    "update_operator",
    "update_project",
    "update_tenant",
]
