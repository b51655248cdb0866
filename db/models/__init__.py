"""The 55 tables, a file a domain."""

from db.models.communication import Meeting, TelegraphMessage, TelegraphThread, VoiceArtifact
from db.models.evaluation import CustomScoringFunction, EvaluationMetric, EvaluationRun, EvaluationSuite
from db.models.execution import ExecutionRequest, Message, Review, Run, Task, TaskAssignee, TaskDependency, ToolCall
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
from db.models.workflow import Workflow, WorkflowRun

__all__ = [
    "AgentDocument",
    "AgentPattern",
    "AgentPerformance",
    "Alert",
    "Capture",
    "CustomScoringFunction",
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
    "Operator",
    "OperatorControl",
    "OrgAssignment",
    "OrgMember",
    "Project",
    "Provider",
    "Review",
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
]
