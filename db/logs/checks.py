"""What both logs check."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from db.ids import milliseconds


def check_timestamp(timestamp: datetime) -> None:
    """Raise ValueError for a time that no id can carry."""
    if timestamp.tzinfo is None:
        raise ValueError(f"timestamp {timestamp.isoformat()} has no time zone; give it one, such as UTC.")
    if milliseconds(timestamp) < 0:
        raise ValueError(f"timestamp {timestamp.isoformat()} lies before 1970, where no id can carry it.")


def no_counters(tenant_id: UUID) -> LookupError:
    """The error where a tenant's counters are not to be seen."""
    return LookupError(f"Tenant {tenant_id} has no counters here: no such tenant, or not the one of this connection.")
