"""The 55 tables, a file a domain; `gateway` has the tables that are none of them."""

from db.models import gateway
from db.models.audit import AuditLog, ChangeRecord, OpEvent
from db.models.communication import Meeting, TelegraphMessage, TelegraphThread, VoiceArtifact
from db.models.evaluation import CustomScoringFunction, EvaluationMetric, EvaluationRun, EvaluationSuite
from db.models.execution import ExecutionRequest, Message, Review, Run, Task, TaskAssignee, TaskDependency, ToolCall
from db.models.governance import ApprovalRecord, Deployment, Permission, PolicyEnvelope, Role, RoleAssignment
from db.models.identity import Environment, Operator, OrgMember, Project, Provider, Tenant
from db.models.intelligence import AgentDocument, AgentPattern, AgentPerformance
from db.models.notification import Notification, NotificationEvent, NotificationPreference
from db.models.platform import (
    Alert,
    Capture,
    Experiment,
    ExperimentAssignment,
    ExperimentEvent,
    FeatureFlag,
    OperatorControl,
    OrgAssignment,
    SavedView,
    ThreadSubscription,
    WatchSubscription,
    Webhook,
    WebhookDelivery,
)
from db.models.registry import (
    AgentIdentity,
    AgentInstance,
    AgentTemplate,
    AgentTemplateOwner,
    AgentVersion,
    AgentVersionApproval,
)
from db.models.workflow import Workflow, WorkflowRun

__all__ = [
    "AgentDocument",
    "AgentIdentity",
    "AgentInstance",
    "AgentPattern",
    "AgentPerformance",
    "AgentTemplate",
    "AgentTemplateOwner",
    "AgentVersion",
    "AgentVersionApproval",
    "Alert",
    "ApprovalRecord",
    "AuditLog",
    "Capture",
    "ChangeRecord",
    "CustomScoringFunction",
    "Deployment",
    "Environment",
    "EvaluationMetric",
    "EvaluationRun",
    "EvaluationSuite",
    "ExecutionRequest",
    "Experiment",
    "ExperimentAssignment",
    "ExperimentEvent",
    "FeatureFlag",
    "Meeting",
    "Message",
    "Notification",
    "NotificationEvent",
    "NotificationPreference",
    "OpEvent",
    "Operator",
    "OperatorControl",
    "OrgAssignment",
    "OrgMember",
    "Permission",
    "PolicyEnvelope",
    "Project",
    "Provider",
    "Review",
    "Role",
    "RoleAssignment",
    "Run",
    "SavedView",
    "Task",
    "TaskAssignee",
    "TaskDependency",
    "TelegraphMessage",
    "TelegraphThread",
    "Tenant",
    "ThreadSubscription",
    "ToolCall",
    "VoiceArtifact",
    "WatchSubscription",
    "Webhook",
    "WebhookDelivery",
    "Workflow",
    "WorkflowRun",
    "gateway",
]
