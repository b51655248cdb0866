"""Root fields of governance."""

from app.governance.effective import policy_simulate
from app.governance.types import ApprovalRecord, Deployment, Permission, PolicyEnvelope, Role, RoleAssignment
from app.graph.roots import row, rows

FIELDS = (
    policy_simulate,
    rows(PolicyEnvelope, "Policies at every level; those that are not active any more are history."),
    row(PolicyEnvelope, "One policy."),
    rows(ApprovalRecord, "Requests for approval. The queue is those whose status is PENDING or ESCALATED (APR-12)."),
    row(ApprovalRecord, "One request with its votes."),
    rows(Deployment, "Releases, planned, in force and past: what runs where, and what ran there before."),
    row(Deployment, "One release."),
    rows(Role, "Roles that operators can be given, the built-in ones among them."),
    row(Role, "One role."),
    rows(RoleAssignment, "Who holds which role, and where."),
    row(RoleAssignment, "One grant of a role."),
    rows(Permission, "The registry of permissions that roles are put together from."),
    row(Permission, "One permission of the registry."),
)
