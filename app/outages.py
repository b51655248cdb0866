"""Telling an outage of the database, which passes, from a mistake, which does not."""

from __future__ import annotations

from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from db.pool import NotReached, sqlstate

AWAY: Final = "The database is away."
"""What a client is told who asks meanwhile, and is to come back."""
_CONNECTION_TROUBLE = ("08", "57P", "53300", "25006")
"""SQLSTATE of what ends a connection, or keeps one from being made; 25006: the primary became a replica."""

_AWAY: Final = (TimeoutError, NotReached, asyncpg.InternalClientError, PendingRollbackError)
_CLOSED: Final = "connection is closed"
"""What asyncpg says of a connection that is no longer there; it raises the same InterfaceError for mistakes."""


def is_outage(error: BaseException | None) -> bool:
    """Whether the same thing may well work once the database is back."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, _AWAY):
            return True
        if isinstance(error, asyncpg.InterfaceError) and _CLOSED in str(error):
            return True
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        if (sqlstate(error) or "").startswith(_CONNECTION_TROUBLE):
            return True
        error = error.__cause__ or getattr(error, "orig", None) or error.__context__
    return False
