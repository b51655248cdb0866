"""Enums of the platform: experiments, alerts, emergency control, views, webhooks, organisation, captures."""

from db.enums.described import Described


class ExperimentStatus(Described):
    """Progress of an experiment."""

    DRAFT = "DRAFT", "Variants may still be edited; nobody is assigned."
    ACTIVE = "ACTIVE", "Entities are assigned and events recorded; the variants are fixed."
    COMPLETED = "COMPLETED", "No more assignments; final."


class AlertSeverity(Described):
    """How bad the problem behind an alert is."""

    INFO = "INFO", "For the record."
    WARNING = "WARNING", "Somebody should look at it."
    ERROR = "ERROR", "Something failed."
    CRITICAL = "CRITICAL", "Everybody in scope is told, whatever their preferences; the health check fails (HLT-1)."


class AlertStatus(Described):
    """Where an alert stands (ALR-1)."""

    OPEN = "OPEN", "Nobody has taken it up."
    ACKNOWLEDGED = "ACKNOWLEDGED", "A person has taken it up."
    RESOLVED = "RESOLVED", "The problem is gone; final."
    IGNORED = "IGNORED", "Set aside with a reason; final."


class OperatorMode(Described):
    """Emergency mode of a tenant or project, in increasing restriction (EMG-1, EMG-2)."""

    # The emergency order and not the dictionary's: the stricter of two modes is the later one.
    NORMAL = "NORMAL", "Policies alone decide."
    DRAINING = "DRAINING", "Running work may finish; no run starts and nothing is assigned."
    PAUSED = "PAUSED", "Instances are paused and their tasks blocked; a person may override with a reason."
    QUARANTINED = "QUARANTINED", "Instances are quarantined and runs fail; an override needs an approval."


class SavedViewScope(Described):
    """View of the application that a saved filter belongs to."""

    KANBAN = "KANBAN", "The task board."
    APPROVALS = "APPROVALS", "The approval queue."
    AGENTS = "AGENTS", "The list of instances."
    SEARCH = "SEARCH", "The search over tasks, approvals, instances and messages."
    DIRECTORY = "DIRECTORY", "Templates, versions and instances as a tree."
    DEPLOYMENTS = "DEPLOYMENTS", "The list of deployments."


class WatchEntityType(Described):
    """Kind of entity that a person may watch."""

    TASK = "TASK"
    APPROVAL = "APPROVAL", "An approval record."
    INSTANCE = "INSTANCE", "An agent instance."
    PROJECT = "PROJECT", "A project, with every task in it (NOT-3)."
    DEPLOYMENT = "DEPLOYMENT"


class WebhookDeliveryStatus(Described):
    """Where the delivery of one webhook event stands (WHK-5)."""

    PENDING = "PENDING", "Not tried yet."
    DELIVERED = "DELIVERED", "The receiver answered 2xx; final."
    FAILED = "FAILED", "The last attempt failed; final."
    RETRYING = "RETRYING", "An attempt failed, and another follows at the time of `nextRetryAt`."


class OrgPosition(Described):
    """Rank of an instance in a project."""

    CEO = "CEO", "Head of the project's agents; at most one a project (ORG-1)."
    LEAD = "LEAD", "Leads others."
    SPECIALIST = "SPECIALIST", "Works in a field of its own."
    INTERN = "INTERN", "Works under guidance."


class OrgScope(Described):
    """How far a position reaches."""

    PROJECT = "PROJECT", "The whole project."
    SQUAD = "SQUAD", "One squad of the project, named by `scopeRef`."
    REPO = "REPO", "One repository, named by `scopeRef`."


class CaptureType(Described):
    """What a capture shows."""

    SCREENSHOT = "SCREENSHOT"
    DIAGRAM = "DIAGRAM"
    MOCKUP = "MOCKUP", "A draft of a user interface."
    CHART = "CHART"
    VIDEO = "VIDEO"
    OTHER = "OTHER"
