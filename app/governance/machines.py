"""The lives of deployments and approvals, as tables."""

from typing import Final

from app.lifecycle import HUMAN, HUMAN_OR_SYSTEM, SYSTEM, Machine
from db.enums import ApprovalDecision, DeploymentStatus

DEPLOYMENT: Final[Machine[DeploymentStatus]] = {
    DeploymentStatus.PENDING: {DeploymentStatus.ACTIVE: HUMAN, DeploymentStatus.RETIRED: HUMAN},
    DeploymentStatus.ACTIVE: {DeploymentStatus.ROLLING_BACK: HUMAN_OR_SYSTEM, DeploymentStatus.RETIRED: SYSTEM},
    DeploymentStatus.ROLLING_BACK: {DeploymentStatus.RETIRED: SYSTEM, DeploymentStatus.ACTIVE: HUMAN},
    DeploymentStatus.RETIRED: {},
}
"""DEP-1."""

_DECIDED: Final = {
    ApprovalDecision.APPROVED: HUMAN_OR_SYSTEM,
    ApprovalDecision.DENIED: HUMAN,
    ApprovalDecision.EXPIRED: SYSTEM,
    ApprovalDecision.CANCELED: HUMAN_OR_SYSTEM,
}
APPROVAL: Final[Machine[ApprovalDecision]] = {
    ApprovalDecision.PENDING: {ApprovalDecision.ESCALATED: SYSTEM, **_DECIDED},
    ApprovalDecision.ESCALATED: {ApprovalDecision.ESCALATED: SYSTEM, **_DECIDED},
    ApprovalDecision.APPROVED: {},
    ApprovalDecision.DENIED: {},
    ApprovalDecision.EXPIRED: {},
    ApprovalDecision.CANCELED: {},
}
"""Behaviour 1.4: the four decided states are terminal; an escalated request may be raised again (APR-8)."""
