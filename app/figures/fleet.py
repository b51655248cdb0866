"""Figures of the fleet and of its governance: agents, approvals, alerts, journals, evaluations, captures."""

from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Table, and_, func

from app.audit.types import AuditLog, ChangeRecord
from app.evaluation.types import EvaluationRun
from app.governance.types import ApprovalRecord
from app.graph.stats import average, column_key, computed_measure, count, related_key, share, stats, total
from app.platform.types import Alert, Capture
from app.registry.types import AgentIdentity, AgentInstance
from db import models
from db.enums import (
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    AuditSeverity,
    EvaluationRunStatus,
)

_VERSIONS: Final = cast("Table", models.AgentVersion.__table__)
_WAITING: Final = (ApprovalDecision.PENDING, ApprovalDecision.ESCALATED)
_JUDGED: Final = (EvaluationRunStatus.PASSED, EvaluationRunStatus.FAILED)


def _status(*wanted: Any) -> Any:
    return lambda table: table.c.status.in_(wanted)


def _latest(column: str) -> Any:
    return lambda table: func.max(table.c[column])


INSTANCE_STATS: Final = stats(
    AgentInstance,
    "agent_instance_stats",
    "Agents by state, project, environment, exact version and template: how many, and what they have spent.",
    keys=(
        column_key("state", "State of the agents."),
        related_key("project", "project_id", "Project", "Project of the agents."),
        related_key("environment", "environment_id", "Environment", "Where the agents run."),
        related_key("version", "version_id", "AgentVersion", "Exact version that the agents run."),
        related_key(
            "template",
            "template_id",
            "AgentTemplate",
            "Template of the version.",
            through=(_VERSIONS, "id", "version_id"),
        ),
    ),
    times=("created_at", "activated_at", "retired_at"),
    measures=(
        count("Number of agents."),
        total("spend_today_usd", "spend_today", "US dollars spent since their days began."),
        total("spend_month_usd", "spend_month", "US dollars spent since their months began."),
        computed_measure(
            "highest_error_streak",
            int,
            "Most errors in a row of one of them (HB-3).",
            lambda t: func.max(t.c.error_streak),
        ),
    ),
)

APPROVAL_STATS: Final = stats(
    ApprovalRecord,
    "approval_stats",
    "Requests for approval by status, risk, type and project: how many wait, how long decisions take.",
    keys=(
        column_key("status", "How the requests stand."),
        column_key("risk_level", "Risk of what was asked for."),
        column_key("request_type", "What was asked for."),
        related_key("project", "project_id", "Project", "Project of the requests."),
    ),
    times=("created_at", "decided_at", "expires_at"),
    measures=(
        count("Number of requests."),
        count("Number of requests that wait, escalated ones among them.", "waiting", _status(*_WAITING)),
        count("Number of requests that wait and were escalated.", "escalated", _status(ApprovalDecision.ESCALATED)),
        share(
            "approval_rate",
            _status(ApprovalDecision.APPROVED),
            _status(ApprovalDecision.APPROVED, ApprovalDecision.DENIED),
            "Share of the decided requests that were approved, 0 to 1; null where none was decided.",
        ),
        computed_measure(
            "average_decision_ms",
            float,
            "Mean time from request to decision in milliseconds; null where none was decided.",
            lambda table: func.avg(
                func.extract("epoch", table.c.decided_at - func.coalesce(table.c.requested_at, table.c.created_at))
                * 1000
            ),
        ),
    ),
)

ALERT_STATS: Final = stats(
    Alert,
    "alert_stats",
    "Alerts by status, severity, type, agent and project.",
    keys=(
        column_key("status", "How the alerts stand."),
        column_key("severity", "How bad it is."),
        column_key("type", "What the alerts are about."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that is concerned."),
        related_key("project", "project_id", "Project", "Project that is concerned."),
    ),
    times=("created_at", "resolved_at"),
    measures=(
        count("Number of alerts."),
        count("Number of open alerts.", "open", _status(AlertStatus.OPEN)),
        count(
            "Number of open alerts that are critical.",
            "open_critical",
            lambda table: and_(table.c.status == AlertStatus.OPEN, table.c.severity == AlertSeverity.CRITICAL),
        ),
    ),
)

CHANGE_STATS: Final = stats(
    ChangeRecord,
    "change_record_stats",
    "Change records by type, kind of actor, agent and project: how busy the fleet's governance is.",
    keys=(
        column_key("type", "What was recorded."),
        column_key("actor_type", "Who made the changes: people, agents, or the gateway itself."),
        column_key("target_entity", "Type of the rows that changed."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that the changes are about."),
        related_key("project", "project_id", "Project", "Project that the changes belong to."),
    ),
    times=("timestamp",),
    measures=(count("Number of records."),),
)

AUDIT_STATS: Final = stats(
    AuditLog,
    "audit_log_stats",
    "The security journal by severity, action and kind of actor (AUD-4).",
    keys=(
        column_key("severity", "Weight of the rows."),
        column_key("action", "What was done or refused."),
        column_key("actor_type", "Who acted."),
        column_key("resource", "Kind of thing that was acted on."),
    ),
    times=("timestamp",),
    measures=(
        count("Number of rows."),
        count("Number of sensitive uses that were granted.", "granted", lambda t: t.c.action == "ACCESS_GRANTED"),
        count("Number of refusals.", "denied", lambda t: t.c.action == "ACCESS_DENIED"),
        count("Number of errors.", "errors", lambda t: t.c.severity == AuditSeverity.ERROR),
    ),
)

EVALUATION_STATS: Final = stats(
    EvaluationRun,
    "evaluation_run_stats",
    "Evaluation runs by status, suite and version: how many pass, and how well (EVL-11).",
    keys=(
        column_key("status", "How the runs stand."),
        column_key("triggered_by", "What started them."),
        related_key("suite", "suite_id", "EvaluationSuite", "Suite that was run."),
        related_key("version", "version_id", "AgentVersion", "Version that was examined."),
    ),
    times=("created_at", "completed_at"),
    measures=(
        count("Number of runs."),
        count("Number of runs that passed.", "passed", _status(EvaluationRunStatus.PASSED)),
        share(
            "pass_share",
            _status(EvaluationRunStatus.PASSED),
            _status(*_JUDGED),
            "Share of the judged runs that passed, 0 to 1; null where none was judged.",
        ),
        average("average_score", "score", "Mean score, 0 to 1; null where none has one."),
        average("average_pass_rate", "pass_rate", "Mean share of passed test cases, 0 to 1; null where none has one."),
    ),
)

IDENTITY_STATS: Final = stats(
    AgentIdentity,
    "agent_identity_stats",
    "Identities of agents by how well they keep to what is asked of one (IDN-1).",
    keys=(column_key("compliance_status", "What the latest look at the identities found; null before there was one."),),
    times=("created_at", "last_scan_at"),
    measures=(
        count("Number of identities."),
        computed_measure("latest_scan_at", datetime, "When one was last looked at.", _latest("last_scan_at")),
    ),
)

CAPTURE_STATS: Final = stats(
    Capture,
    "capture_stats",
    "Pictures by kind, project, task and agent: the groups of the gallery (CAP-1).",
    keys=(
        column_key("type", "Kind of picture."),
        related_key("project", "project_id", "Project", "Project that the pictures belong to."),
        related_key("task", "task_id", "Task", "Task that they were made for."),
        related_key("instance", "instance_id", "AgentInstance", "Agent that made them."),
    ),
    times=("captured_at", "created_at"),
    measures=(
        count("Number of pictures."),
        total("size_bytes", "file_size", "Size of their files in bytes, where it is known."),
        computed_measure("latest_at", datetime, "When the latest was taken.", _latest("captured_at")),
    ),
)

FIELDS: Final = (
    INSTANCE_STATS,
    IDENTITY_STATS,
    APPROVAL_STATS,
    ALERT_STATS,
    CHANGE_STATS,
    AUDIT_STATS,
    EVALUATION_STATS,
    CAPTURE_STATS,
)
