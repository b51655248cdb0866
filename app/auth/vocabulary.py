"""The words of the permission vocabulary: every permission there is, with its description and category.

Read it through `app.auth.permissions`, which also knows the built-in roles and what each type of the graph needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Permission:
    """One entry of the vocabulary."""

    action: str
    """The verb: ``read``, ``write``, ``approve`` …"""
    resource: str
    """What it is done to, in kebab-case: ``tasks``, ``tool-calls`` …"""
    description: str
    """What the holder may do, for a form."""
    category: str
    """The heading under which a form shows it."""

    @property
    def name(self) -> str:
        """The string form, ``action:resource`` (RBAC-1)."""
        return f"{self.action}:{self.resource}"


# (category, resource, {action: description})
_Resources = tuple[tuple[str, str, dict[str, str]], ...]

_REGISTRY = "Agent registry"
_GOVERNANCE = "Governance"
_EVALUATION = "Evaluation"
_PEOPLE = "People and access"
_TENANT = "Tenant"
_AUDIT = "Audit and telemetry"
_WORK = "Work"
_COMMUNICATION = "Communication"
_PLATFORM = "Platform"

_CORE: _Resources = (
    (_REGISTRY, "templates", {
        "read": "See agent templates.",
        "write": "Create agent templates and change them.",
        "delete": "Delete agent templates that have no versions.",
    }),
    (_REGISTRY, "versions", {
        "read": "See agent versions with their genomes.",
        "write": "Create agent versions.",
        "delete": "Delete agent versions that were never approved.",
        "approve": "Approve an agent version for deployment.",
        "transition": "Move an agent version through its lifecycle.",
    }),
    (_REGISTRY, "instances", {
        "read": "See agent instances with their state and spending.",
        "write": "Create agent instances and change them.",
        "delete": "Retire agent instances for good.",
        "start": "Start or resume agent instances.",
        "stop": "Pause, drain or quarantine agent instances.",
    }),
    (_EVALUATION, "evaluations", {
        "read": "See evaluation suites, runs and metrics.",
        "write": "Create evaluation suites and change them.",
        "delete": "Delete evaluation suites.",
        "execute": "Run an evaluation suite against a version.",
        "cancel": "Cancel an evaluation run.",
    }),
    (_GOVERNANCE, "policies", {
        "read": "See policy envelopes.",
        "write": "Create policy envelopes, change them and attach them.",
        "delete": "Retire policy envelopes.",
        "evaluate": "Ask what the policy would say, without effect.",
    }),
    (_GOVERNANCE, "approvals", {
        "read": "See approval requests and decisions.",
        "write": "Ask for approval, and cancel one's own request.",
        "approve": "Approve a request.",
        "reject": "Deny a request.",
    }),
    (_PEOPLE, "operators", {
        "read": "See operators, e-mail addresses masked.",
        "write": "Change operators, and suspend or reactivate them.",
        "delete": "Deactivate operators for good.",
    }),
    (_PEOPLE, "roles", {
        "read": "See roles and who holds them.",
        "write": "Create roles and change them.",
        "delete": "Delete roles that nobody holds.",
        "assign": "Give operators a role.",
        "revoke": "Take a role from operators.",
    }),
    (_PEOPLE, "permissions", {
        "read": "See the registry of permissions.",
        "manage": "Change the registry of permissions.",
    }),
    (_TENANT, "tenant", {
        "read": "See the tenant and its settings.",
        "write": "Change the tenant's settings.",
        "manage": "Create, suspend and remove tenants.",
    }),
    (_AUDIT, "audit", {
        "read": "See the audit log.",
        "export": "Export the audit log.",
    }),
    (_AUDIT, "metrics", {
        "read": "See figures of use, cost and health.",
    }),
    (_EVALUATION, "custom-functions", {
        "read": "See custom scoring functions.",
        "write": "Create custom scoring functions and change them.",
        "delete": "Delete custom scoring functions.",
        "execute": "Run a custom scoring function on a sample.",
    }),
    (_COMMUNICATION, "notifications", {
        "read": "See notifications, their events and preferences.",
        "write": "Mark notifications as read and change one's own preferences.",
        "manage": "Change which events notify whom in the tenant.",
    }),
)  # fmt: skip
"""The list of RBAC-2: 49 permissions."""

_ADDITIONS: _Resources = (
    (_TENANT, "projects", {
        "read": "See projects.",
        "write": "Create projects and change them.",
        "delete": "Delete projects that hold no work.",
    }),
    (_TENANT, "environments", {
        "read": "See environments.",
        "write": "Create environments and change them.",
    }),
    (_TENANT, "providers", {
        "read": "See model and tool providers, keys never.",
        "write": "Create providers and change them, keys included.",
        "delete": "Delete providers that nothing uses.",
    }),
    (_REGISTRY, "identities", {
        "read": "See agent identities.",
        "write": "Change agent identities.",
        "scan": "Check agent identities for compliance.",
    }),
    (_GOVERNANCE, "deployments", {
        "read": "See deployments.",
        "write": "Create deployments.",
        "approve": "Approve a deployment.",
        "activate": "Activate an approved deployment.",
        "rollback": "Roll a deployment back to the version before.",
    }),
    (_GOVERNANCE, "control", {
        "read": "See the emergency mode and its history.",
        "emergency": "Set the emergency mode: pause, drain or quarantine a project or the whole fleet.",
    }),
    (_WORK, "tasks", {
        "read": "See tasks and their dependencies.",
        "write": "Create tasks and change them.",
        "delete": "Cancel tasks for good.",
        "assign": "Assign tasks to agents.",
        "transition": "Move tasks through their states.",
    }),
    (_WORK, "messages", {
        "read": "See the messages of task threads and who follows them.",
        "write": "Write in task threads.",
    }),
    (_WORK, "runs", {
        "read": "See runs with their tokens and cost.",
        "execute": "Start runs and end them.",
    }),
    (_WORK, "tool-calls", {
        "read": "See tool calls with the policy's verdict.",
        "execute": "Make tool calls.",
    }),
    (_WORK, "execution-requests", {
        "read": "See execution requests.",
        "write": "Create execution requests and change them.",
        "execute": "Dispatch execution requests to an executor.",
    }),
    (_WORK, "reviews", {
        "read": "See reviews.",
        "write": "Write reviews and answer them.",
    }),
    (_WORK, "workflows", {
        "read": "See workflows and their runs.",
        "write": "Create workflows and change them.",
        "execute": "Start, pause and cancel workflow runs.",
    }),
    (_GOVERNANCE, "budgets", {
        "read": "See budgets and what is left of them.",
        "write": "Change budgets.",
    }),
    (_AUDIT, "op-events", {
        "read": "See the telemetry of agents.",
        "write": "Record telemetry.",
    }),
    (_AUDIT, "change-records", {
        "read": "See the change log.",
        "export": "Export the change log with its proof.",
    }),
    (_PLATFORM, "alerts", {
        "read": "See alerts.",
        "write": "Acknowledge alerts and resolve them.",
    }),
    (_PLATFORM, "webhooks", {
        "read": "See webhooks and their deliveries, secrets never.",
        "write": "Create webhooks and change them.",
        "delete": "Switch webhooks off for good.",
    }),
    (_COMMUNICATION, "telegraph", {
        "read": "See telegraph threads and messages.",
        "write": "Write in telegraph threads.",
    }),
    (_COMMUNICATION, "meetings", {
        "read": "See meetings.",
        "write": "Schedule meetings and change them.",
    }),
    (_COMMUNICATION, "voice", {
        "read": "See voice recordings and transcripts.",
        "write": "Store voice recordings and transcripts.",
    }),
    (_PEOPLE, "people", {
        "read": "See the organisation's members and the agents' places in it.",
        "write": "Change the organisation's members and the agents' places in it.",
        "invite": "Invite a person as an operator.",
    }),
    (_PLATFORM, "captures", {
        "read": "See captures.",
        "write": "Store captures and change them.",
        "delete": "Delete captures.",
    }),
    (_REGISTRY, "intelligence", {
        "read": "See what agents have learnt: performance, patterns and documents.",
        "write": "Record what agents have learnt.",
    }),
    (_PLATFORM, "saved-views", {
        "read": "See saved views and watches.",
        "write": "Save views and watch things.",
    }),
    (_PLATFORM, "feature-flags", {
        "read": "See feature flags.",
        "write": "Create feature flags and switch them.",
        "delete": "Delete feature flags.",
    }),
    (_PLATFORM, "experiments", {
        "read": "See experiments with their assignments and events.",
        "write": "Create experiments and change them.",
        "execute": "Start and end experiments, and assign variants.",
    }),
    (_PEOPLE, "gdpr", {
        "export": "Export everything held about a person, and see e-mail addresses in full.",
        "erase": "Erase a person.",
    }),
    (_PLATFORM, "migration", {
        "execute": "Import a snapshot of the former system.",
    }),
)  # fmt: skip
"""The additions of RBAC-3 for the other tables."""


def _flatten(resources: _Resources) -> tuple[Permission, ...]:
    return tuple(
        Permission(action, resource, description, category)
        for category, resource, actions in resources
        for action, description in actions.items()
    )


def names_of(permissions: Iterable[Permission]) -> frozenset[str]:
    """The string forms of these permissions."""
    return frozenset(permission.name for permission in permissions)


CORE_PERMISSIONS: Final = _flatten(_CORE)
"""The 49 of RBAC-2, in their order."""
ADDED_PERMISSIONS: Final = _flatten(_ADDITIONS)
"""The additions of RBAC-3, in their order."""
PERMISSIONS: Final[Mapping[str, Permission]] = MappingProxyType(
    {permission.name: permission for permission in CORE_PERMISSIONS + ADDED_PERMISSIONS}
)
"""The whole vocabulary by name, in the order of the two lists."""
