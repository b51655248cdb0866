"""The only way to write: one transaction that holds a command's rows, its records and its events.

A command is an async function (uow, …) -> row | Done | Refused, declared with `@command`. It locks what it changes,
asks the rules, changes, records. What it records is kept here and written last, changes before events, because the
logs' counter is a lock that every writer of the tenant waits for (decision 2). `app.running` runs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import event, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.alerting import ALERT_OPENED, AlertDraft, write_alerts
from app.auth.actor import Actor
from app.origin import origin
from app.sealing import Seal
from db.base import JsonObject, Model
from db.bell import Feed
from db.brief import NeedsTransaction
from db.enums import ActorType, AlertSeverity, AlertStatus, AuditSeverity, ChangeRecordType, OpEventType
from db.ids import new_id
from db.logs import (
    FIRST_OF_UPDATE,
    AppendedChange,
    ChangeDraft,
    EventColumns,
    EventDraft,
    append_change_records_by,
    append_event_columns,
    is_one_statement,
    known_columns,
)
from db.models import Alert, AuditLog, ChangeRecord, NotificationEvent, Tenant
from db.rows import keyed
from db.texts import DriverText
from db.work import Work
from db.writing import Writing

M = TypeVar("M", bound=Model)

_OWNER: Final = "fleetgraph.uow"
"""Where a session knows its unit of work."""


def utc_now() -> datetime:
    """The moment of a command; tests set the clock here."""
    return datetime.now(UTC)


class PermissionDenied(Exception):
    """The caller lacks a permission where the command needs it; nothing of the command is kept."""

    def __init__(self, permission: str) -> None:
        super().__init__(permission)
        self.permission = permission


class UnitOfWork:
    """One command's transaction."""

    def __init__(
        self,
        work: Work | AsyncSession,
        actor: Actor,
        permission: str,
        tenant_id: UUID | None = None,
        key: str | None = None,
        seal: Seal | None = None,
    ) -> None:
        """`work` is what to read and write by, or a session. `key` is the idempotency key that came with the input;
        `seal` encrypts what must not be read again."""
        self._work = work if isinstance(work, Work) else Writing.within(work)
        self.seal = seal
        self.key = key
        self.actor = actor
        self.tenant_id = tenant_id or actor.tenant_id
        now = utc_now()
        self.now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        self._permission = permission
        self._changes: list[ChangeDraft] = []
        self._events: list[EventDraft] = []
        self._alerts: list[AlertDraft] = []
        self.appended: dict[Feed, int] = {}
        """The newest number of each log that this wrote to, for the bell that is rung after the commit."""
        self.left: dict[tuple[str, UUID], Mapping[str, Any]] = {}
        """Rows as this left them: see `Done`."""
        self._wrote = False
        if self._work.opened_session is not None:
            self._watch(self._work.opened_session)

    @property
    def session(self) -> AsyncSession:
        """The ORM's session of the transaction. What only needs rows by their keys does without (`lock`, `get`), and
        so is several times faster."""
        if self._work.opened_session is None:
            self._watch(self._work.session)
        return self._work.session

    def _watch(self, session: AsyncSession) -> None:
        session.sync_session.info[_OWNER] = self

    def see(self, session: Session) -> None:
        """Note that the command writes; the security journal may be written with any outcome."""
        written = (*session.new, *session.deleted, *filter(session.is_modified, session.dirty))
        self._wrote = self._wrote or not all(isinstance(row, AuditLog) for row in written)

    @property
    def has_changed(self) -> bool:
        """Whether anything was changed or noted so far but in the security journal. Statements that name no loaded rows
        are not seen, unless they were noted."""
        if self._work.opened_session is not None:
            self.see(self._work.opened_session.sync_session)
        return self._wrote or self._work.has_changed_rows or bool(self._changes or self._events or self._alerts)

    async def enter(self, tenant_id: UUID) -> None:
        """Write to this tenant from here on: for commands that run `on_platform`, which begin in none."""
        self.tenant_id = tenant_id
        await self.session.execute(select(func.set_config("app.tenant_id", str(tenant_id), True)))

    # --- reading and locking -----------------------------------------------------------------------------------

    async def rows(self, statement: DriverText, values: Mapping[str, Any]) -> list[Any]:
        """The driver's rows of a command's own statement, which sees what was changed so far."""
        if self._work.opened_session is not None or self._work.has_changed_rows:
            await self.session.flush()
        return await self._work.read(statement.sql, *statement.arguments(values))

    async def lock(self, model: type[M], row_id: UUID | None) -> M | None:
        """The row, locked until the end of the transaction; None where the tenant has none.

        Commands lock rows in the order in which they name them: first what the command is about, then what hangs on
        it, several of one kind by id (`lock_all`).
        """
        found = await self.lock_all(model, [] if row_id is None else [row_id])
        return found[0] if found else None

    async def lock_all(self, model: type[M], row_ids: Sequence[UUID]) -> list[M]:
        """Rows by id, locked in the order of their ids, which is the order for everybody.

        Keys never change, so the lock lets others insert rows that refer to these.
        """
        if not row_ids:
            return []
        return await self._work.lock(model, self.tenant_id, row_ids)

    async def tenant(self, *, lock: bool = False) -> Tenant:
        """The tenant's own row. Raises LookupError where it is gone."""
        statement = select(Tenant).where(Tenant.id == self.tenant_id)
        found = (await self.session.scalars(statement.with_for_update(key_share=True) if lock else statement)).first()
        if found is None:
            raise LookupError(f"tenant {self.tenant_id} does not exist")
        return found

    async def get(self, model: type[M], row_id: UUID | None) -> M | None:
        """The row without a lock; None where the tenant has none."""
        if row_id is None:
            return None
        return await self._work.get(model, self.tenant_id, row_id)

    def add(self, row: M) -> M:
        """A new row of the tenant. It has its id at once, and is inserted with the next statement."""
        new: Any = row
        new.tenant_id = self.tenant_id
        new.id = new.id or new_id(self.now)
        self.session.add(row)
        return row

    # --- permissions -------------------------------------------------------------------------------------------

    def permit(
        self,
        *,
        project_id: UUID | None = None,
        environment_id: UUID | None = None,
        instance_id: UUID | None = None,
        permission: str | None = None,
    ) -> None:
        """Raise PermissionDenied unless the grant covers an object with these keys (RBAC-7).

        Without keys only a tenant-wide grant covers it. `instance_id` is the agent that the object belongs to: what
        agents may do, they may do for themselves alone (RBAC-11).
        """
        needed = permission or self._permission
        if not self.actor.scope(needed).covers(project_id, environment_id, instance_id):
            raise PermissionDenied(needed)

    # --- journals ----------------------------------------------------------------------------------------------

    @property
    def actor_type(self) -> ActorType:
        """Who acts, as the journals have it."""
        return self.actor.kind.in_journals

    @property
    def actor_id(self) -> UUID | None:
        """The operator or the instance; None for the system."""
        return None if self.actor_type is ActorType.SYSTEM else self.actor.id

    def record(
        self,
        kind: ChangeRecordType,
        target: Model,
        *,
        before: JsonObject | None = None,
        after: JsonObject | None = None,
        reason: str | None = None,
        by_system: bool = False,
        **columns: Any,
    ) -> UUID:
        """Note a change of `target` for the journal; returns the id that its record will have.

        `by_system` for what a cascade does rather than its actor. `columns` are further columns of the record.
        """
        row: Any = target
        draft = ChangeDraft(
            type=kind,
            actor_type=ActorType.SYSTEM if by_system else self.actor_type,
            actor_id=None if by_system else self.actor_id,
            target_entity=type(target).__name__,
            target_id=row.id,
            before_state=before,
            after_state=after,
            reason=reason,
            timestamp=self.now,
            project_id=columns.pop("project_id", getattr(target, "project_id", None)),
            **columns,
        )
        self._changes.append(draft)
        return draft.id

    def record_drafts(self, drafts: Iterable[ChangeDraft]) -> None:
        """Note changes of rows that were never loaded: a cascade's, by the thousand."""
        self._changes.extend(drafts)

    def emit(self, kind: OpEventType, **columns: Any) -> UUID:
        """Note an op event; `columns` are those of the log. Returns the id that its row will have."""
        at = columns.pop("timestamp", self.now)
        draft = EventDraft(
            type=kind,
            timestamp=at,
            id=None if columns.get("event_id") else new_id(at),
            **columns,
        )
        self._events.append(draft)
        return draft.row_id(self.tenant_id)

    def audit(
        self,
        action: str,
        *,
        resource: str | None = None,
        resource_id: UUID | str | None = None,
        severity: AuditSeverity = AuditSeverity.INFO,
        description: str | None = None,
        metadata: JsonObject | None = None,
    ) -> None:
        """Write a row of the security journal (AUD-1), with where the request comes from (PII-3)."""
        self.add(
            AuditLog(
                severity=severity,
                action=action,
                actor_type=self.actor_type,
                actor_id=self.actor_id,
                resource=resource,
                resource_id=None if resource_id is None else str(resource_id),
                description=description,
                timestamp=self.now,
                metadata_=metadata,
                **origin()._asdict(),
            )
        )

    def notify(self, event_type: str, source: Model, payload: JsonObject | None = None) -> None:
        """Leave a notification event; the job fans it out to whom it concerns (NOT-2)."""
        row: Any = source
        self.notify_of(event_type, type(source), row.id, payload)

    def notify_of(self, event_type: str, kind: type[Model], source_id: UUID, payload: JsonObject | None = None) -> None:
        """Leave a notification event about a row that was never loaded: a cascade's."""
        self.add(
            NotificationEvent(
                event_type=event_type,
                source_entity=kind.__name__,
                source_id=source_id,
                payload=payload,
                timestamp=self.now,
            )
        )

    def alert(self, kind: str, severity: AlertSeverity, title: str, description: str, **columns: Any) -> None:
        """Raise an alert, or update the one of this type, agent and task that is open (ALR-2); people in scope hear of
        it where it is new or got worse (NOT-3). `columns` are further fields of the draft."""
        self._alerts.append(
            AlertDraft(
                id=new_id(self.now), type=kind, severity=severity, title=title, description=description, **columns
            )
        )

    async def append(self, events: EventColumns) -> frozenset[UUID]:
        """Append op events now rather than at the end, for a command that must tell which of them were there already;
        gives those ids back. Takes the counter's lock, so it is the command's last statement."""
        await self._work.flush(self.tenant_id)
        appended = await append_event_columns(self._work.connection, self.tenant_id, events)
        if appended.last_seq is not None:
            self.appended[Feed.EVENTS] = appended.last_seq
        return appended.repeated

    async def resolve_alerts(self, kind: str, note: str, *, instance_ids: Sequence[UUID] = ()) -> None:
        """ALR-1. Close what is open or acknowledged of the gateway's own alerts of a type about these agents."""
        await self.session.execute(
            update(Alert)
            .where(
                Alert.tenant_id == self.tenant_id,
                Alert.type == kind,
                Alert.instance_id.in_(instance_ids),
                Alert.status.in_((AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED)),
            )
            .values(status=AlertStatus.RESOLVED, resolved_at=self.now, resolution_note=note)
            .execution_options(synchronize_session=False)
        )

    # --- the end -----------------------------------------------------------------------------------------------

    @property
    def first_change(self) -> UUID | None:
        """The id of the command's own record."""
        return self._changes[0].id if self._changes else None

    async def write_journals(self) -> None:
        """The last statements before the commit: alerts, changes, then events.

        Raises NeedsTransaction where they are several and the work may write but once.
        """
        if self._work.writes_once and not self._is_one_statement:
            raise NeedsTransaction("several journals")
        if self._alerts:
            await self.session.flush()
            for opened in await write_alerts(self.session, self.tenant_id, self._alerts, self.now):
                self.notify_of(ALERT_OPENED, Alert, opened.id, opened.payload)
        changes = await self._append_changes()
        if changes:
            self.appended[Feed.CHANGES] = changes[-1].seq
        if self._events:
            events = await self._work.append_events(self.tenant_id, self._events)
            if events.last_seq is not None:
                self.appended[Feed.EVENTS] = events.last_seq

    @property
    def _is_one_statement(self) -> bool:
        if self._changes:
            return not self._events
        return is_one_statement(self._events)

    async def _append_changes(self) -> Sequence[AppendedChange]:
        """Store what was changed, and append the change records: together where it is one row, as it mostly is."""
        only = self._work.take_only_change(FIRST_OF_UPDATE) if self._changes else None
        if only is None:
            await self._work.flush(self.tenant_id)
            return await append_change_records_by(self._work.fetch, self.tenant_id, self._changes)
        appended = await self._work.append(self.tenant_id, self._changes, only)
        row: Any = only.row
        kind: type[Model] = type(row)
        self.left[kind.__name__, row.id] = keyed(kind).known(row)
        self.left[ChangeRecord.__name__, appended[0].id] = known_columns(self._changes[0], appended[0])
        return appended


@event.listens_for(Session, "before_flush")
def _see(session: Session, *_: Any) -> None:
    """Once for all sessions: to listen to each of them would take longer than what there is to hear."""
    owner = session.info.get(_OWNER)
    if owner is not None:
        owner.see(session)
