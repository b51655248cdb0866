"""How much of a conversation nobody has read, counted by the database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Table, func, or_, select

from app.graph.counted import counted
from db import models
from db.enums import TelegraphMessageStatus

_MESSAGES: Table = models.TelegraphMessage.__table__  # type: ignore[assignment]
_UNREAD: Final = (TelegraphMessageStatus.SENT, TelegraphMessageStatus.DELIVERED)
_NOBODYS: Final = ""
"""A permission that nobody holds: no two callers see the field alike."""


def _unread(thread: Any, caller: Any) -> ColumnElement[int]:
    """The unread messages of a conversation that the caller has not sent: whoever wrote a message has read it."""
    said = _MESSAGES.alias("said")
    return (
        select(func.count())
        .select_from(said)
        .where(
            said.c.tenant_id == thread.c.tenant_id,
            said.c.thread_id == thread.c.id,
            or_(*(said.c.status == status for status in _UNREAD)),
            said.c.sender_operator_id.is_distinct_from(caller),
        )
        .correlate(thread)
        .scalar_subquery()
    )


def unread_count(description: str) -> Any:
    """A field with the number of a conversation's unread messages."""
    return counted(_unread, description, own=_NOBODYS)
