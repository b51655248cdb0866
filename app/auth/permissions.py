"""The permission vocabulary: what may be allowed at all, and which built-in role allows what.

A permission is one string, ``action:resource`` (RBAC-1, decision 28). This module is data: it reads no database and
no token. Whoever checks a permission, fills a tenant's registry or draws a form of permissions takes it from here.

- ``PERMISSIONS``: every permission with its description and category (RBAC-2, RBAC-3);
- ``SYSTEM_ROLES``: the five built-in roles, computed from the two lists (RBAC-4);
- ``READ_PERMISSION``: the permission that reading each of the 55 GraphQL types needs (decision 28);
- ``INSTANCE_PERMISSIONS``, ``INSTANCE_TYPES``: what an agent may read (decision 31);
- ``INSTANCE_ACTIONS``: what an agent may do besides (RBAC-11).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from app.auth.vocabulary import (
    ADDED_PERMISSIONS,
    CORE_PERMISSIONS,
    PERMISSIONS,
    Permission,
    names_of,
)

__all__ = [
    "ADDED_PERMISSIONS",
    "ADMIN",
    "APPROVER",
    "CORE_PERMISSIONS",
    "EMERGENCY",
    "INSTANCE_ACTIONS",
    "INSTANCE_OWN",
    "INSTANCE_PERMISSIONS",
    "INSTANCE_TYPES",
    "OPERATOR",
    "OWN_COLUMN",
    "PERMISSIONS",
    "PLATFORM_PERMISSIONS",
    "READ_PERMISSION",
    "SUPER_ADMIN",
    "SYSTEM_ROLES",
    "UNMASK_EMAIL",
    "VIEWER",
    "Permission",
    "SystemRole",
    "check_permissions",
    "find_system_role",
    "role_key",
]


@dataclass(frozen=True, slots=True)
class SystemRole:
    """A role that every tenant has from the start and that nobody can change or delete (RBAC-4)."""

    name: str
    description: str
    permissions: frozenset[str]
    assignable: bool = True
    """False for the role that stands above tenants: no operator of a tenant can be given it."""


UNMASK_EMAIL: Final = "export:gdpr"
"""Who holds this sees e-mail addresses in full; everybody else sees them masked, save their own (PII-1)."""
EMERGENCY: Final = "emergency:control"
"""Sets the emergency mode (decision 28; behaviour.md section 7)."""


def check_permissions(names: Iterable[str]) -> frozenset[str]:
    """The names as a set, once each is known to the vocabulary (RBAC-5).

    Raises ValueError naming every unknown one and the form a name has.
    """
    found = frozenset(names)
    unknown = sorted(found - PERMISSIONS.keys())
    if unknown:
        raise ValueError(
            f"Unknown permissions: {', '.join(unknown)}. A permission is written action:resource, "
            "such as read:tasks; the list permissions has all of them."
        )
    return found


# --- Built-in roles (RBAC-4) ------------------------------------------------------------------------------------------

_ADDED = names_of(ADDED_PERMISSIONS)
_ADDED_READS = frozenset(name for name in _ADDED if name.startswith("read:"))

_ALL = frozenset(PERMISSIONS)
_ADMIN = _ALL - {"manage:permissions", "manage:tenant", "execute:migration"}
_VIEWER = frozenset(name for name in names_of(CORE_PERMISSIONS) if name.startswith("read:")) | _ADDED_READS
_APPROVER = _VIEWER | {"approve:approvals", "reject:approvals", "approve:versions", "approve:deployments"}

_OPERATOR_CORE = frozenset(
    f"{action}:{resource}"
    for resource, actions in {
        "templates": "read write",
        "versions": "read write transition",
        "instances": "read write start stop",
        "evaluations": "read write execute",
        "policies": "read evaluate",
        "approvals": "read write",
        "operators": "read",
        "roles": "read",
        "permissions": "read",
        "tenant": "read",
        "audit": "read",
        "metrics": "read",
        "custom-functions": "read execute",
        "notifications": "read",
    }.items()
    for action in actions.split()
)
# "The task, run, message, review, workflow, telegraph, meeting, capture group" of RBAC-4, taken by its eight names.
_OPERATOR_WORK = frozenset({"tasks", "runs", "messages", "reviews", "workflows", "telegraph", "meetings", "captures"})
_OPERATOR = (
    _OPERATOR_CORE
    | _ADDED_READS
    | frozenset(
        one.name
        for one in ADDED_PERMISSIONS
        if one.resource in _OPERATOR_WORK and one.action in {"write", "execute", "transition"}
    )
)

ADMIN: Final = "Admin"
OPERATOR: Final = "Operator"
VIEWER: Final = "Viewer"
APPROVER: Final = "Approver"
SUPER_ADMIN: Final = "Super Admin"

SYSTEM_ROLES: Final[Mapping[str, SystemRole]] = MappingProxyType(
    {
        role.name: role
        for role in (
            SystemRole(ADMIN, "Runs the tenant: everything but the platform's own affairs.", _ADMIN),
            SystemRole(OPERATOR, "Runs the fleet from day to day; approves nothing.", _OPERATOR),
            SystemRole(VIEWER, "Sees everything, changes nothing.", _VIEWER),
            SystemRole(APPROVER, "Sees everything, and decides on requests, versions and deployments.", _APPROVER),
            SystemRole(SUPER_ADMIN, "Everything, across tenants; never given inside one.", _ALL, assignable=False),
        )
    }
)
"""The roles of RBAC-4 by name."""

PLATFORM_PERMISSIONS: Final = _ALL - _ADMIN
"""What the platform token allows (decision 24): what no role inside a tenant can. It reads no tenant's rows."""


def role_key(name: str) -> str:
    """What two spellings of a role's name have in common: case does not count, nor `_` or `-` for a space."""
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()


def find_system_role(name: str) -> SystemRole | None:
    """The built-in role of this name, in any spelling that `role_key` takes for the same."""
    return next((role for role in SYSTEM_ROLES.values() if role_key(role.name) == role_key(name)), None)


# --- Reading (decisions 28 to 31) -------------------------------------------------------------------------------------

READ_PERMISSION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Tenant": "read:tenant",
        "Project": "read:projects",
        "Environment": "read:environments",
        "Operator": "read:operators",
        "OrgMember": "read:people",
        "Provider": "read:providers",
        "AgentTemplate": "read:templates",
        "AgentVersion": "read:versions",
        "AgentInstance": "read:instances",
        "AgentIdentity": "read:identities",
        "PolicyEnvelope": "read:policies",
        "ApprovalRecord": "read:approvals",
        "Deployment": "read:deployments",
        "Role": "read:roles",
        "RoleAssignment": "read:roles",
        "Permission": "read:permissions",
        "ChangeRecord": "read:change-records",
        "OpEvent": "read:op-events",
        "AuditLog": "read:audit",
        "Task": "read:tasks",
        "Message": "read:messages",
        "Run": "read:runs",
        "ToolCall": "read:tool-calls",
        "ExecutionRequest": "read:execution-requests",
        "TaskDependency": "read:tasks",
        "Review": "read:reviews",
        "AgentPerformance": "read:intelligence",
        "AgentPattern": "read:intelligence",
        "AgentDocument": "read:intelligence",
        "TelegraphThread": "read:telegraph",
        "TelegraphMessage": "read:telegraph",
        "Meeting": "read:meetings",
        "VoiceArtifact": "read:voice",
        "Workflow": "read:workflows",
        "WorkflowRun": "read:workflows",
        "EvaluationSuite": "read:evaluations",
        "EvaluationRun": "read:evaluations",
        "EvaluationMetric": "read:evaluations",
        "CustomScoringFunction": "read:custom-functions",
        "NotificationEvent": "read:notifications",
        "Notification": "read:notifications",
        "NotificationPreference": "read:notifications",
        "FeatureFlag": "read:feature-flags",
        "Experiment": "read:experiments",
        "ExperimentAssignment": "read:experiments",
        "ExperimentEvent": "read:experiments",
        "Alert": "read:alerts",
        "OperatorControl": "read:control",
        "SavedView": "read:saved-views",
        "WatchSubscription": "read:saved-views",
        "Webhook": "read:webhooks",
        "WebhookDelivery": "read:webhooks",
        "ThreadSubscription": "read:messages",
        "OrgAssignment": "read:people",
        "Capture": "read:captures",
    }
)
"""The read permission of each GraphQL type, in the order of tables.yaml."""

INSTANCE_TYPES: Final = frozenset(
    {
        "AgentDocument",
        "AgentInstance",
        "AgentVersion",
        "ApprovalRecord",
        "Message",
        "PolicyEnvelope",
        "Review",
        "Run",
        "Task",
        "TaskDependency",
        "ToolCall",
    }
)
"""The types an agent may read (decision 31). AgentInstance stands for "their own": every other one names its agent."""

INSTANCE_PERMISSIONS: Final = frozenset(READ_PERMISSION[name] for name in INSTANCE_TYPES)
"""The fixed permissions of an agent; it has no roles."""

INSTANCE_OWN: Final = frozenset({"read:approvals", "read:policies", "read:versions"})
"""Those of them that reach its own rows alone, where the others reach its project's (decision 31)."""

INSTANCE_ACTIONS: Final = frozenset(
    {
        "assign:tasks",
        "evaluate:policies",
        "execute:execution-requests",
        "execute:runs",
        "execute:tool-calls",
        "start:instances",
        "transition:tasks",
        "write:execution-requests",
        "write:intelligence",
        "write:messages",
        "write:op-events",
        "write:reviews",
        "write:telegraph",
    }
)
"""What an agent may do besides reading, each for itself alone (RBAC-11): ask whether policy lets it act, claim tasks,
work on those that are assigned to it and move them, report its runs and tool calls, start agents, ask executors for
work and do what is asked of agents, say what it has to say in its project's threads, reviews and telegraph, send its
telemetry, keep its memory."""

OWN_COLUMN: Final[Mapping[str, str]] = MappingProxyType({"ApprovalRecord": "requester_instance_id"})
"""The column that makes a row of such a type an agent's own. A type without one is in no list that an agent sees: it
finds its version and its policy from itself or from its runs."""
