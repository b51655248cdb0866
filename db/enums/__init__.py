"""Every enum of the domain, once. A file a domain; the order of values is lifecycle order."""

from db.enums.described import Described
from db.enums.identity import OperatorStatus, ProviderStatus, ProviderType, TenantPlan

__all__ = ["ENUMERATIONS", "Described", "OperatorStatus", "ProviderStatus", "ProviderType", "TenantPlan"]

ENUMERATIONS: tuple[type[Described], ...] = tuple(
    one
    for one in list(globals().values())
    if isinstance(one, type) and issubclass(one, Described) and one is not Described
)
