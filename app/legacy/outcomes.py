"""What becomes of a document of a log."""

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from app.legacy.mapping import Row
from db.logs import ChangeDraft, EventDraft


@dataclass(frozen=True, slots=True)
class Change:
    """A change record."""

    draft: ChangeDraft


@dataclass(frozen=True, slots=True)
class Event:
    """An op event."""

    draft: EventDraft


@dataclass(frozen=True, slots=True)
class Audit:
    """A row of the audit log."""

    row: Row


@dataclass(frozen=True, slots=True)
class Covered:
    """Another document's row says the same already (MIG-0f)."""

    entity: str
    row: UUID


@dataclass(frozen=True, slots=True)
class Skipped:
    """Left out on purpose, for this reason."""

    why: str


Outcome: TypeAlias = Change | Event | Audit | Covered | Skipped
