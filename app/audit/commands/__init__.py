"""Commands of the journals."""

from app.audit.commands.events import record_op_events
from app.audit.commands.retention import purge_expired, turn_partitions

__all__ = ["purge_expired", "record_op_events", "turn_partitions"]
