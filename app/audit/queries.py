"""Root fields of the journals."""

from app.audit.types import AuditLog, ChangeRecord, OpEvent
from app.graph.roots import row, rows

FIELDS = (
    rows(ChangeRecord, "The journal of governance, complete from the tenant's first day, in the order of `seq`."),
    row(ChangeRecord, "One change."),
    rows(
        OpEvent,
        "Telemetry of all agents. Without a condition on `timestamp` it covers the last 24 hours; with one, as far"
        " back as the tenant keeps it.",
    ),
    row(OpEvent, "One event, however old, while it is kept."),
    rows(AuditLog, "The journal of security: who signed in, what was refused, which rights changed (AUD-4)."),
    row(AuditLog, "One entry of the journal of security."),
)
