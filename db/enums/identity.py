"""Enums of tenancy and identity."""

from db.enums.described import Described


class TenantPlan(Described):
    """Commercial plan of a tenant."""

    FREE = "FREE"
    TEAM = "TEAM"
    ENTERPRISE = "ENTERPRISE"


class OperatorStatus(Described):
    """Whether a person may sign in."""

    ACTIVE = "ACTIVE", "May sign in."
    SUSPENDED = "SUSPENDED", "Every session is rejected until the operator is active again."
    DEACTIVATED = "DEACTIVATED", "Final; precedes erasure."


class ProviderType(Described):
    """Vendor of a model or a runtime."""

    ANTHROPIC = "ANTHROPIC"
    OPENAI = "OPENAI"
    GOOGLE = "GOOGLE"
    LOCAL = "LOCAL", "Runs on the tenant's own machines."
    CUSTOM = "CUSTOM", "Any other vendor, or a federated gateway."


class ProviderStatus(Described):
    """Health of a provider as the last probe saw it."""

    ACTIVE = "ACTIVE", "The health endpoint answered 2xx."
    DEGRADED = "DEGRADED", "The health endpoint answered something else."
    OFFLINE = "OFFLINE", "The health endpoint could not be reached."
