"""What a command's reads and writes go through, be it a transaction or a single statement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from db.base import Model
from db.logs import (
    AppendedChange,
    AppendedEvents,
    ChangeDraft,
    EventDraft,
    append_op_events_by,
    append_with_update,
)
from db.rows import keyed

M = TypeVar("M", bound=Model)


class Change(NamedTuple):
    """What was changed of a row, and how it is stored."""

    row: Model
    names: tuple[str, ...]
    """The attributes."""
    text: str
    """The statement; $1 is the tenant."""
    arguments: list[Any]
    """Its further parameters."""


class Work(ABC):
    """Rows by their keys, which know what was changed of them, and statements that are text."""

    writes_once: ClassVar[bool] = False
    """Whether one statement that writes is all there may be."""

    def __init__(self) -> None:
        self._rows: dict[tuple[type[Model], UUID], Model] = {}
        self._held: set[tuple[type[Model], UUID]] = set()
        """Those of which nobody else's change can pass unnoticed."""

    @property
    @abstractmethod
    def connection(self) -> AsyncConnection:
        """SQLAlchemy's connection."""

    @property
    @abstractmethod
    def session(self) -> AsyncSession:
        """The ORM's session."""

    @property
    def opened_session(self) -> AsyncSession | None:
        """The session, where somebody has asked for it."""
        return None

    @property
    def has_changed_rows(self) -> bool:
        """Whether a row is not as it was read, and no session knows of it."""
        return bool(self._changed())

    @abstractmethod
    async def lock(self, model: type[M], tenant_id: UUID, row_ids: Sequence[UUID]) -> list[M]:
        """Rows by id as they are now, to be changed."""

    @abstractmethod
    async def get(self, model: type[M], tenant_id: UUID, row_id: UUID) -> M | None:
        """A row by id, to be looked at; one that was read before is given as it is."""

    @abstractmethod
    async def read(self, sql: str, *arguments: Any) -> list[Any]:
        """The driver's rows of a statement that only reads; `sql` has $1, $2 … for the arguments.

        Raises asyncpg's errors, and TimeoutError where the network fell silent.
        """

    @abstractmethod
    async def fetch(self, sql: str, *arguments: Any) -> list[Any]:
        """The same of one that writes."""

    async def append(self, tenant_id: UUID, records: Sequence[ChangeDraft], change: Change) -> list[AppendedChange]:
        """Append records and store what was changed along with them, as `db.logs.append_with_update`."""
        return await append_with_update(self.fetch, tenant_id, records, change.text, change.arguments)

    async def append_events(self, tenant_id: UUID, events: Sequence[EventDraft]) -> AppendedEvents:
        """As `db.logs.append_op_events`."""
        return await append_op_events_by(self.fetch, tenant_id, events)

    @abstractmethod
    async def flush(self, tenant_id: UUID) -> None:
        """Store what was changed."""

    def take_only_change(self, first: int) -> Change | None:
        """All that was changed, to be stored along with something else; its parameters are numbered from `first` on.

        None where it is more than one row, or one that is not held: then somebody might be waited for.
        """
        changed = self._changed()
        if len(changed) != 1 or changed[0][0] not in self._held:
            return None
        ((key, changes),) = changed
        rows, row = keyed(key[0]), self._rows.pop(key)
        names = tuple(changes)
        return Change(row, names, rows.update(names, first), rows.arguments(row, changes))

    def _changed(self) -> list[tuple[tuple[type[Model], UUID], dict[str, Any]]]:
        """The rows that are not as they were read, and what is other; a session's rows are its own."""
        return [(key, changes) for key, row in self._rows.items() if (changes := keyed(key[0]).changes(row))]

    def _keep(self, row: M, *, is_held: bool) -> M:
        kept: Any = row
        key = (type(row), kept.id)
        self._rows[key] = row
        if is_held:
            self._held.add(key)
        return row
