"""Whom a commit is told to: those who follow the logs and the rows of a tenant."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID


class Feed(StrEnum):
    """What can be followed in a tenant."""

    EVENTS = "op_events"
    CHANGES = "change_records"
    ROWS = "row_changes"
    """Rows of all other tables, as `gateway.row_changes` notes them."""
    PEOPLE = "people"
    """What a person may do: operators, roles, their assignments, the tenant itself."""
    AGENTS = "agents"
    """What an agent may do: the states and token epochs of instances."""


EVERYWHERE: Final = UUID(int=0)
"""Rung for where a transaction of the platform may have changed any tenant; no tenant has this id."""


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
