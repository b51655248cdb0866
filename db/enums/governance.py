"""Enums of governance, policy and deployments."""

from db.enums.described import Described


class RiskLevel(Described):
    """Risk of an action, in rising order (RSK-1)."""

    GREEN = "GREEN", "Reads and thinks; harmless."
    YELLOW = "YELLOW", "Changes something that can be put back."
    RED = "RED", "Reaches outside, costs money, touches secrets or production, or cannot be undone."


class PolicyVerdict(Described):
    """What policy says to an action (POL-2); where several rules fire, the strictest stands."""

    ALLOW = "ALLOW", "The action may go ahead."
    NEEDS_APPROVAL = "NEEDS_APPROVAL", "The action waits for a person's decision."
    DENY = "DENY", "The action is refused; no approval helps."


class ApprovalDecision(Described):
    """Where a request for approval stands (APR-4, APR-7 to APR-9)."""

    PENDING = "PENDING", "Open; under dual control it may already carry the first of two votes."
    ESCALATED = "ESCALATED", "Open for longer than the tenant's limit, and raised to more people; can still be decided."
    APPROVED = "APPROVED", "Final: allowed."
    DENIED = "DENIED", "Final: refused; one vote suffices."
    EXPIRED = "EXPIRED", "Final: nobody decided in time."
    CANCELED = "CANCELED", "Final: withdrawn."


class DeploymentStatus(Described):
    """Where a deployment stands (DEP-1)."""

    PENDING = "PENDING", "Planned; nothing runs on it."
    ACTIVE = "ACTIVE", "In force; the only one of its template and environment (DEP-2)."
    ROLLING_BACK = "ROLLING_BACK", "Being replaced by a deployment of the previous version (DEP-3)."
    RETIRED = "RETIRED", "Final: cancelled, superseded or rolled back."


class RolloutStrategy(Described):
    """How many instances an activation starts (DEP-5)."""

    ALL_AT_ONCE = "ALL_AT_ONCE", "All replicas."
    CANARY = "CANARY", "A percentage of the replicas, rounded up."
    ROLLING = "ROLLING", "One batch of a fixed size at a time."
