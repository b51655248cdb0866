"""Whom a commit is told to: those who follow the logs and the rows of a tenant."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Feed(StrEnum):
    """What can be followed in a tenant."""

    EVENTS = "op_events"
    CHANGES = "change_records"
    ROWS = "row_changes"
    """Rows of all other tables, as `gateway.row_changes` notes them."""


class Bell(Protocol):
    """Told of each commit."""

    def ring(self, tenant_id: UUID, feed: Feed, seq: int | None = None) -> None:
        """Something new is in a feed, and committed; `seq` is the number of the newest row where the feed has numbers.

        Never blocks and never fails. A ring that nobody hears is made good by whoever follows, within a second.
        """
        ...


class NoBell:
    """For a process that nobody follows."""

    def ring(self, tenant_id: UUID, feed: Feed, seq: int | None = None) -> None:
        """Nothing."""
