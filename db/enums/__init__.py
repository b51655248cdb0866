"""Every enum of the domain, once. A file a domain; the order of values is lifecycle order."""

from db.enums.audit import ActorType, AuditSeverity, ChangeRecordType, OpEventType
from db.enums.communication import (
    MeetingProvider,
    MeetingStatus,
    TelegraphChannel,
    TelegraphMessageStatus,
    VoiceProvider,
)
from db.enums.described import Described
from db.enums.evaluation import EvaluationRunStatus, EvaluationTrigger, ScoringFunctionType
from db.enums.execution import (
    ChangesetFileAction,
    ExecutionRequestStatus,
    ExecutionRequestType,
    ExecutorKind,
    MessageType,
    RecurrenceFrequency,
    ReviewSeverity,
    ReviewStatus,
    ReviewTargetType,
    ReviewType,
    RunStatus,
    TaskCreator,
    TaskSource,
    TaskStatus,
    TaskType,
    ToolCallStatus,
)
from db.enums.governance import ApprovalDecision, DeploymentStatus, PolicyVerdict, RiskLevel, RolloutStrategy
from db.enums.identity import OperatorStatus, ProviderStatus, ProviderType, TenantPlan
from db.enums.intelligence import AgentDocumentType
from db.enums.notification import NotificationChannel, NotificationSeverity, NotificationType
from db.enums.platform import (
    AlertSeverity,
    AlertStatus,
    CaptureType,
    ExperimentStatus,
    OperatorMode,
    OrgPosition,
    OrgScope,
    SavedViewScope,
    WatchEntityType,
    WebhookDeliveryStatus,
)
from db.enums.registry import EvalStatus, IdentityComplianceStatus, InstanceState, LifecycleState, PauseCause
from db.enums.workflow import WorkflowRunStatus, WorkflowStepStatus

__all__ = [
    "ENUMERATIONS",
    "ActorType",
    "AgentDocumentType",
    "AlertSeverity",
    "AlertStatus",
    "ApprovalDecision",
    "AuditSeverity",
    "CaptureType",
    "ChangeRecordType",
    "ChangesetFileAction",
    "DeploymentStatus",
    "Described",
    "EvalStatus",
    "EvaluationRunStatus",
    "EvaluationTrigger",
    "ExecutionRequestStatus",
    "ExecutionRequestType",
    "ExecutorKind",
    "ExperimentStatus",
    "IdentityComplianceStatus",
    "InstanceState",
    "LifecycleState",
    "MeetingProvider",
    "MeetingStatus",
    "MessageType",
    "NotificationChannel",
    "NotificationSeverity",
    "NotificationType",
    "OpEventType",
    "OperatorMode",
    "OperatorStatus",
    "OrgPosition",
    "OrgScope",
    "PauseCause",
    "PolicyVerdict",
    "ProviderStatus",
    "ProviderType",
    "RecurrenceFrequency",
    "ReviewSeverity",
    "ReviewStatus",
    "ReviewTargetType",
    "ReviewType",
    "RiskLevel",
    "RolloutStrategy",
    "RunStatus",
    "SavedViewScope",
    "ScoringFunctionType",
    "TaskCreator",
    "TaskSource",
    "TaskStatus",
    "TaskType",
    "TelegraphChannel",
    "TelegraphMessageStatus",
    "TenantPlan",
    "ToolCallStatus",
    "VoiceProvider",
    "WatchEntityType",
    "WebhookDeliveryStatus",
    "WorkflowRunStatus",
    "WorkflowStepStatus",
]

ENUMERATIONS: tuple[type[Described], ...] = tuple(
    one
    for one in list(globals().values())
    if isinstance(one, type) and issubclass(one, Described) and one is not Described
)
