"""Every enum of the domain, once. A file a domain; the order of values is lifecycle order."""

from db.enums.audit import ActorType, AuditSeverity, ChangeRecordType, OpEventType
from db.enums.described import Described
from db.enums.governance import ApprovalDecision, DeploymentStatus, PolicyVerdict, RiskLevel, RolloutStrategy
from db.enums.identity import OperatorStatus, ProviderStatus, ProviderType, TenantPlan
from db.enums.registry import EvalStatus, IdentityComplianceStatus, InstanceState, LifecycleState, PauseCause

__all__ = [
    "ENUMERATIONS",
    "ActorType",
    "ApprovalDecision",
    "AuditSeverity",
    "ChangeRecordType",
    "DeploymentStatus",
    "Described",
    "EvalStatus",
    "IdentityComplianceStatus",
    "InstanceState",
    "LifecycleState",
    "OpEventType",
    "OperatorStatus",
    "PauseCause",
    "PolicyVerdict",
    "ProviderStatus",
    "ProviderType",
    "RiskLevel",
    "RolloutStrategy",
    "TenantPlan",
]

ENUMERATIONS: tuple[type[Described], ...] = tuple(
    one
    for one in list(globals().values())
    if isinstance(one, type) and issubclass(one, Described) and one is not Described
)
