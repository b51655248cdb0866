"""Flags, experiments, alerts, views, webhooks and the rest of the platform; audit logs (MIG-8, MIG-9)."""

from collections.abc import Mapping as ReadOnly
from typing import Any, Final
from uuid import UUID

from app.identity.rules import simplify_user_agent, truncate_ip
from app.legacy.actors import actor_of
from app.legacy.document import Doc, Rejection, mapping, member, whole, words
from app.legacy.keys import entity_named
from app.legacy.mapping import Mapping, Rule, at, person, project_of_work, renamed
from app.legacy.world import World
from db.enums import AuditSeverity, ExperimentStatus, WatchEntityType, WebhookDeliveryStatus
from db.models import (
    Alert,
    AuditLog,
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


def deep_named(value: Any, world: World) -> Any:
    """JSON in which every text that is an id of the snapshot became the id of its row."""
    match value:
        case dict():
            return {name: deep_named(one, world) for name, one in value.items()}
        case list():
            return [deep_named(one, world) for one in value]
    return world.named(value)


_CONDITIONS: Final = ("rolloutPercentage", "targetOperators", "targetEnvironments")


def _conditions(doc: Doc, world: World) -> dict[str, Any] | None:
    """A flag's conditions; ARM kept them in columns of its own (MIG-9)."""
    given = doc.take("conditions")
    found = dict(mapping("conditions", given)) if given is not None else {}
    for name in _CONDITIONS:
        if (value := doc.take(name)) is not None:
            found.setdefault(name, value)
    if isinstance(found.get("targetOperators"), list):
        found["targetOperators"] = [world.named(one) for one in found["targetOperators"]]
    return found or None


FLAGS: Final = Mapping(
    "featureFlags", FeatureFlag, {"conditions": _conditions, "enabled": renamed("enabled", "isEnabled")}
)


def _experiment_status(doc: Doc, world: World) -> ExperimentStatus:
    given = doc.take("status")
    if given in ("RUNNING", "PAUSED"):
        return ExperimentStatus.ACTIVE
    return ExperimentStatus(member("status", given, ExperimentStatus))


EXPERIMENTS: Final = Mapping(
    "experiments",
    Experiment,
    {
        "status": _experiment_status,
        "started_at": renamed("startedAt", "startDate"),
        "ended_at": renamed("endedAt", "endDate"),
    },
    more=lambda doc, world: {"paused": True} if doc.peek("status") == "PAUSED" else {},
)


def _entity_type(doc: Doc, world: World) -> str:
    """What the variant was given to; ARM knew only operators (MIG-9)."""
    word = doc.take("entityType")
    entity = entity_named(word) if isinstance(word, str) else "Operator" if doc.peek("operatorId") else None
    if entity is None:
        raise Rejection("entityType", word, "is no kind of row that is known here")
    return entity


def _entity_id(doc: Doc, world: World) -> UUID:
    return world.keys.need(_entity_type(doc, world), "entityId", doc.take("entityId", "operatorId"))


_ENTITY: Final[dict[str, Rule]] = {"entity_type": _entity_type, "entity_id": _entity_id}
EXPERIMENT_ASSIGNMENTS: Final = Mapping(
    "experimentAssignments", ExperimentAssignment, {**_ENTITY, "assigned_at": at("assignedAt")}
)
EXPERIMENT_EVENTS: Final = Mapping("experimentEvents", ExperimentEvent, {**_ENTITY, "timestamp": at("timestamp")})

ALERTS: Final = Mapping("alerts", Alert)
OPERATOR_CONTROLS: Final = Mapping("operatorControls", OperatorControl)

SAVED_VIEWS: Final = Mapping(
    "savedViews",
    SavedView,
    {
        "project_id": project_of_work(),
        "owner_operator_id": person("ownerUserId"),
        "filters": lambda doc, world: deep_named(mapping("filters", doc.take("filters") or {}), world),
    },
    own_created=True,
)

_WATCHED: Final[ReadOnly[WatchEntityType, str]] = {
    WatchEntityType.TASK: "Task",
    WatchEntityType.APPROVAL: "ApprovalRecord",
    WatchEntityType.INSTANCE: "AgentInstance",
    WatchEntityType.PROJECT: "Project",
    WatchEntityType.DEPLOYMENT: "Deployment",
}


def _watched_type(doc: Doc, world: World) -> WatchEntityType:
    given = doc.take("entityType")
    return WatchEntityType(member("entityType", "INSTANCE" if given == "AGENT" else given, WatchEntityType))


def _watched(doc: Doc, world: World) -> UUID:
    return world.keys.need(_WATCHED[_watched_type(doc, world)], "entityId", doc.take("entityId"))


WATCHES: Final = Mapping(
    "watchSubscriptions",
    WatchSubscription,
    {"operator_id": person("operatorId", "userId"), "entity_type": _watched_type, "entity_id": _watched},
    own_created=True,
)


def _secret(doc: Doc, world: World) -> str:
    return world.sealed("secret", words("secret", doc.take("secret")))


def _webhook_filters(doc: Doc, world: World) -> dict[str, Any] | None:
    given = doc.take("filters")
    if given is None:
        return None
    filters = dict(mapping("filters", given))
    agents = [*(filters.pop("agentIds", None) or []), *(filters.get("instanceIds") or [])]
    if agents:
        filters["instanceIds"] = [str(world.keys.need("AgentInstance", "filters.agentIds", one)) for one in agents]
    return filters


WEBHOOKS: Final = Mapping("webhooks", Webhook, {"secret": _secret, "filters": _webhook_filters})


def _attempts(doc: Doc, world: World) -> int:
    """Every try counts here; the former system left out the one that succeeded (WHK-5)."""
    stored = whole("attempts", doc.take("attempts") or 0, bits=31)
    return stored + 1 if doc.peek("status") == WebhookDeliveryStatus.DELIVERED else stored


DELIVERIES: Final = Mapping("webhookDeliveries", WebhookDelivery, {"attempts": _attempts})

THREAD_SUBSCRIPTIONS: Final = Mapping(
    "threadSubscriptions", ThreadSubscription, {"project_id": project_of_work(), "subscribed_at": at("subscribedAt")}
)
ORG_ASSIGNMENTS: Final = Mapping(
    "orgAssignments", OrgAssignment, {"project_id": project_of_work(), "assigned_at": at("assignedAt")}
)
CAPTURES: Final = Mapping("captures", Capture, {"captured_at": at("capturedAt")})


def _log_actor(part: str) -> Rule:
    return lambda doc, world: getattr(actor_of(doc, world, "actorType", "actorId", "operatorId"), part)


def _severity(doc: Doc, world: World) -> AuditSeverity:
    given = doc.take("severity")
    if isinstance(given, str) and given.upper() == "CRITICAL":
        return AuditSeverity.ERROR
    return AuditSeverity(member("severity", given, AuditSeverity)) if given is not None else AuditSeverity.INFO


def _cut(name: str, cut: Any) -> Rule:
    """Personal data of a visitor, cut before it is stored (PII-3)."""

    def rule(doc: Doc, world: World) -> str | None:
        value = doc.take(name)
        return str(cut(words(name, value))) if value else None

    return rule


def _log_metadata(doc: Doc, world: World) -> dict[str, Any]:
    actor = actor_of(doc, world, "actorType", "actorId", "operatorId")
    return {} if actor.text is None else {"actorText": actor.text}


AUDIT_LOGS: Final = Mapping(
    "auditLogs",
    AuditLog,
    {
        "severity": _severity,
        "action": renamed("action", "eventType"),
        "actor_type": _log_actor("type"),
        "actor_id": _log_actor("id"),
        "resource": renamed("resource", "resourceType"),
        "resource_id": lambda doc, world: world.named(doc.take("resourceId")),
        "description": renamed("description", "details", "message"),
        "ip_address": _cut("ipAddress", truncate_ip),
        "user_agent": _cut("userAgent", simplify_user_agent),
        "timestamp": at("timestamp"),
    },
    more=_log_metadata,
)
