"""Evaluations and notifications (MIG-7, MIG-9, EVL-3, EVL-8)."""

from typing import Any, Final

from app.legacy.document import Doc, Rejection, mapping, member, number
from app.legacy.keys import entity_named, row_id
from app.legacy.mapping import Mapped, Mapping, Row, at, instance, key, person, renamed, table_of
from app.legacy.world import World
from db.enums import EvaluationRunStatus, EvaluationTrigger, NotificationChannel, NotificationType
from db.models import (
    CustomScoringFunction,
    EvaluationMetric,
    EvaluationRun,
    EvaluationSuite,
    Notification,
    NotificationEvent,
)

_PASS: Final = 0.8

SUITES: Final = Mapping("evaluationSuites", EvaluationSuite, {"active": renamed("active", "isActive")})


def _share(name: str, value: Any) -> float | None:
    """A share from 0 to 1; former values above 1 were per cent (EVL-3)."""
    if value is None:
        return None
    share = number(name, value)
    share = share / 100 if share > 1 else share
    if not 0 <= share <= 1:
        raise Rejection(name, value, "is no share")
    return share


def _pass_rate(doc: Doc, world: World) -> float | None:
    return _share("passRate", doc.take("passRate"))


def _run_status(doc: Doc, world: World) -> EvaluationRunStatus:
    """ARM's COMPLETED is passed or failed by its pass rate, and its FAILED is an error of the runner (EVL-3)."""
    given, rate = doc.take("status"), _pass_rate(doc, world)
    if given == "COMPLETED":
        return EvaluationRunStatus.PASSED if rate is not None and rate >= _PASS else EvaluationRunStatus.FAILED
    if given == "FAILED" and rate is None:
        return EvaluationRunStatus.ERROR
    return EvaluationRunStatus(member("status", given, EvaluationRunStatus))


def _trigger(doc: Doc, world: World) -> EvaluationTrigger | None:
    """What started the run; ARM kept the person there, whom another column takes."""
    given = doc.peek("triggeredBy")
    if isinstance(given, str) and given in EvaluationTrigger.__members__:
        doc.take("triggeredBy")
        return EvaluationTrigger[given]
    return None


EVALUATION_RUNS: Final = Mapping(
    "evaluationRuns",
    EvaluationRun,
    {
        "version_id": key("AgentVersion", "versionId", "agentVersionId"),
        "status": _run_status,
        "pass_rate": _pass_rate,
        "score": lambda doc, world: _share("score", doc.take("score", "overallScore")),
        "triggered_by": _trigger,
        "triggered_by_operator_id": person("triggeredByOperatorId", "triggeredBy"),
        "test_results": renamed("testResults", "results"),
    },
)


class MetricMapping(Mapping):
    """Metrics, of which ARM kept several in one document; here each is a row (EVL-8)."""

    def map(self, doc: Doc, world: World) -> Mapped:
        """The rows of a document: the first is its own, the others go along. Raises Rejection."""
        several = doc.take("metrics")
        if several is None:
            return super().map(doc, world)
        numbers = {name: value for name, value in mapping("metrics", several).items() if value is not None}
        if not numbers:
            raise Rejection("metrics", str(several), "holds no number")
        rows: list[Row] = []
        for name, value in numbers.items():
            doc.values |= {"metricName": name, "metricValue": value}
            row = dict(super().map(doc, world).row)
            if rows:
                row["id"] = row_id(world.tenant_id, f"{self.table}:{name}", doc.id, doc.created)
            rows.append(row)
        return Mapped(doc, rows[0], tuple((table_of(EvaluationMetric), row) for row in rows[1:]))


METRICS: Final = MetricMapping(
    "evaluationMetrics",
    EvaluationMetric,
    {
        "evaluation_run_id": key("EvaluationRun", "evaluationRunId", "runId"),
        "version_id": key("AgentVersion", "versionId", "agentVersionId"),
        "timestamp": at("timestamp", "calculatedAt"),
    },
)

SCORING: Final = Mapping(
    "customScoringFunctions",
    CustomScoringFunction,
    {
        "function_type": renamed("functionType", "type"),
        "function_body": renamed("functionBody", "code", "body"),
        "active": renamed("active", "isActive"),
    },
)


def _source_type(doc: Doc, world: World) -> str:
    word = doc.take("sourceEntity", "resourceType", "sourceType")
    entity = entity_named(word) if isinstance(word, str) else None
    if entity is None:
        raise Rejection("sourceEntity", word, "is no kind of row that is known here")
    return entity


def _source_id(doc: Doc, world: World) -> Any:
    return world.keys.need(_source_type(doc, world), "sourceId", doc.take("sourceId", "resourceId"))


NOTIFICATION_EVENTS: Final = Mapping(
    "notificationEvents",
    NotificationEvent,
    {
        "event_type": renamed("eventType", "type"),
        "source_entity": _source_type,
        "source_id": _source_id,
        # History: nobody is to be told of it again.
        "processed_at": at("processedAt"),
    },
)

_TYPES: Final = {
    "APPROVAL_REQUIRED": NotificationType.APPROVAL_REQUESTED,
    "TASK_TRANSITIONED": NotificationType.TASK_TRANSITION,
    "POLICY_VIOLATION": NotificationType.ALERT,
    "INSTANCE_FAILED": NotificationType.ALERT,
}


def _notification_type(doc: Doc, world: World) -> NotificationType:
    """One of the types here; ARM's were the types of events (NOT-3). An unknown one is SYSTEM, and noted."""
    given = doc.peek("type") if doc.peek("type") is not None else doc.peek("eventType")
    if isinstance(given, str) and (given in NotificationType.__members__ or given in _TYPES):
        doc.take("type", "eventType")
        return _TYPES.get(given) or NotificationType[given]
    if isinstance(given, str) and given.startswith("EVAL"):
        return NotificationType.EVALUATION_COMPLETED
    if isinstance(given, str) and given.startswith("DEPLOYMENT_"):
        return NotificationType.DEPLOYMENT_ACTIVATED
    world.report.note_once(doc.id, f"Notifications of the type {given!r}, which no rule maps, are SYSTEM")
    return NotificationType.SYSTEM


def _read_at(doc: Doc, world: World) -> Any:
    read = doc.take("read", "isRead")
    return at("readAt")(doc, world) if read is True or doc.peek("readAt") is not None else None


NOTIFICATIONS: Final = Mapping(
    "notifications",
    Notification,
    {
        "type": _notification_type,
        "instance_id": instance("instanceId", "agentId"),
        "operator_id": key("Operator", "operatorId"),
        "approval_record_id": key("ApprovalRecord", "approvalRecordId", "approvalId"),
        "from_operator_id": person("fromUserId", "fromOperatorId"),
        "body": renamed("body", "message"),
        "read_at": _read_at,
        "channel": lambda doc, world: NotificationChannel(
            member("channel", doc.take("channel") or "IN_APP", NotificationChannel)
        ),
    },
)
