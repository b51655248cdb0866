"""Commands of the agent registry."""

from app.registry.commands.identities import scan_identities, set_identity
from app.registry.commands.instances import (
    create_instance,
    issue_instance_token,
    mode_of,
    move_instance,
    resume_instance,
    revoke_instance_tokens,
    transition_instance,
)
from app.registry.commands.promotion import applicable_suites, transition_version
from app.registry.commands.templates import create_template, update_template
from app.registry.commands.upkeep import complete_drains, quarantine_stale_instances
from app.registry.commands.versions import create_version, verify_version

__all__ = [
    "applicable_suites",
    "complete_drains",
    "create_instance",
    "create_template",
    "create_version",
    "issue_instance_token",
    "mode_of",
    "move_instance",
    "quarantine_stale_instances",
    "resume_instance",
    "revoke_instance_tokens",
    "scan_identities",
    "set_identity",
    "transition_instance",
    "transition_version",
    "update_template",
    "verify_version",
]
