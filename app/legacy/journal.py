"""The logs that an import writes: collected first, then appended in order of time, the changes before the events
(MIG-4, MIG-5, MIG-6, decision 2)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.legacy.document import Doc
from app.legacy.keys import any_of, row_id
from app.legacy.spool import Spool
from app.legacy.world import World
from db.enums import ActorType, ChangeRecordType, OpEventType
from db.logs import ChangeDraft, EventDraft, append_change_records, append_op_events
from db.models import ChangeRecord

NEAR: Final = timedelta(seconds=2)
"""Two records of the same change may be this far apart (MIG-4, MIG-6)."""
_CHUNK: Final = 2_000
_LONGEST_KEY: Final = 500
"""Longer idempotency keys than this stay in the metadata: the index on them takes no text of any length."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known:
    at: datetime
    id: UUID
    states: tuple[Any, Any]


def status_of(state: Any) -> Any:
    """The status in a state before or after; a state may also be the bare text."""
    return state.get("status") if isinstance(state, Mapping) else state


@dataclass
class Journal:
    """What is to be written into the two logs, and what is known of it already."""

    world: World
    changes: Spool[ChangeDraft] = field(default_factory=Spool)
    events: Spool[EventDraft] = field(default_factory=Spool)
    _known: dict[tuple[ChangeRecordType, UUID], list[_Known]] = field(default_factory=dict)
    _runs: set[tuple[UUID, OpEventType]] = field(default_factory=set)
    _keys: set[str] = field(default_factory=set)
    span: tuple[datetime, datetime] | None = None
    """From the oldest to the newest event."""

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.changes.close()
        self.events.close()

    def change(self, draft: ChangeDraft) -> None:
        """Take a change record."""
        self.changes.add(draft.timestamp, draft)
        states = (status_of(draft.before_state), status_of(draft.after_state))
        known = self._known.setdefault((draft.type, draft.target_id), [])
        known.append(_Known(draft.timestamp, draft.id, states))

    def event(self, draft: EventDraft) -> None:
        """Take an op event."""
        self.events.add(draft.timestamp, draft)
        if draft.run_id is not None:
            self._runs.add((draft.run_id, draft.type))
        first, last = self.span or (draft.timestamp, draft.timestamp)
        self.span = min(first, draft.timestamp), max(last, draft.timestamp)

    def made(
        self,
        kind: ChangeRecordType,
        entity: str,
        row: Mapping[str, Any],
        doc: Doc,
        after: Mapping[str, Any],
        **links: UUID | None,
    ) -> None:
        """Record that the import made a row (MIG-1). The record has the row's own time, and says what made it."""
        self.change(
            ChangeDraft(
                id=row_id(self.world.tenant_id, f"{doc.table}:{kind}:{entity}", doc.id, doc.created),
                type=kind,
                actor_type=ActorType.SYSTEM,
                target_entity=entity,
                target_id=row["id"],
                after_state=dict(after),
                reason="Imported from a snapshot of the former system.",
                timestamp=doc.created,
                metadata={"source": "migration", "legacyTable": doc.table, "legacyId": doc.id},
                **links,  # type: ignore[arg-type]
            )
        )

    def find(
        self, kind: ChangeRecordType, target: UUID, at: datetime, states: tuple[Any, Any] | None = None
    ) -> UUID | None:
        """The record of the same change: same type and row, within two seconds, and states that agree."""
        for known in self._known.get((kind, target), ()):
            if abs(known.at - at) <= NEAR and (states is None or _agree(states, known.states)):
                return known.id
        return None

    def near(self, target: UUID, at: datetime) -> UUID | None:
        """Any record about this row within two seconds (MIG-6)."""
        return next((found for kind in ChangeRecordType if (found := self.find(kind, target, at)) is not None), None)

    def has_event(self, run: UUID | None, kind: OpEventType) -> bool:
        """Whether an event of this type is known for the run (MIG-6)."""
        return run is not None and (run, kind) in self._runs

    async def append(self, connection: AsyncConnection) -> None:
        """Write everything, in order of time: the changes first, then the events."""
        for chunk in _chunks(self.changes):
            drafts = await self._with_free_keys(connection, chunk)
            await append_change_records(connection, self.world.tenant_id, drafts)
            self.world.report.created["ChangeRecord"] += len(drafts)
        if self.span is not None:
            since, until = self.span
            ensure = text("SELECT count(*) FROM gateway.ensure_op_event_partitions(:since, :until)")
            await connection.execute(ensure, {"since": since, "until": until})
        for events in _chunks(self.events):
            appended = await append_op_events(connection, self.world.tenant_id, events)
            self.world.report.created["OpEvent"] += appended.stored

    async def _with_free_keys(self, connection: AsyncConnection, drafts: list[ChangeDraft]) -> list[ChangeDraft]:
        """The drafts, where an idempotency key that is taken or too long stands in the metadata instead."""
        keys = [draft.idempotency_key for draft in drafts if draft.idempotency_key is not None]
        taken = set(
            await connection.scalars(
                select(ChangeRecord.idempotency_key).where(
                    ChangeRecord.tenant_id == self.world.tenant_id, ChangeRecord.idempotency_key == any_of(keys)
                )
            )
        )
        free = []
        for draft in drafts:
            name = draft.idempotency_key
            if name is not None and (name in taken or name in self._keys or len(name) > _LONGEST_KEY):
                metadata = {**(draft.metadata or {}), "idempotencyKey": name}
                free.append(replace(draft, idempotency_key=None, metadata=metadata))
                continue
            if name is not None:
                self._keys.add(name)
            free.append(draft)
        return free


def _agree(some: tuple[Any, Any], others: tuple[Any, Any]) -> bool:
    """Whether two records tell of the same step, as far as both say."""
    return all(one is None or other is None or one == other for one, other in zip(some, others, strict=True))


def _chunks(items: Iterable[T]) -> Iterable[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
