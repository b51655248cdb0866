"""Commands of the journals."""

from app.audit.commands.events import record_op_events

__all__ = ["record_op_events"]
