"""Rows of the security journal about requests that are refused before they come to a transaction (AUD-1).

====================  =======================================================
LOGIN_FAILED          a token whose signature holds is not let in
CROSS_TENANT_ATTEMPT  a request names another tenant than its token does
RATE_LIMITED          a caller asks for more operations than their rate allows
ACCESS_DENIED         an operation reads what its caller may not
====================  =======================================================

A refusal costs an entry in memory and no statement. A minute's refusals of one action, caller and address (and of one
permission, where it is wanting) are one row, with their count, written in the background; what cannot be written is
lost, which the log and the metrics say. So nobody fills the table or the memory by being refused, and nothing waits for
a database that is away.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import insert, text

from app.auth.actor import Actor, ActorKind, system_actor
from app.auth.claims import AnotherTenant, Bearer, TokenRejected
from app.graph.errors import Forbidden
from app.graph.scalars import format_datetime
from app.http.tasks import cancelled
from app.origin import Origin, address, origin
from app.outages import is_outage
from db.enums import AuditSeverity
from db.models import AuditLog
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.audit")

SECONDS: Final = 60.0
"""How long refusals are gathered before their rows are written."""
MOST: Final = 1_000
"""Rows that may wait."""
MOST_OF_TENANT: Final = 100
"""Rows of one tenant that may wait: nobody's refusals take the room of others'."""
CLOSING_SECONDS: Final = 2.0
"""How long the end of the process waits for its last rows."""

_FIND: Final = text(
    "SELECT CAST(asked.number - 1 AS int) AS number, t.id AS tenant_id, o.id AS operator_id"
    " FROM unnest(CAST(:slugs AS text[]), CAST(:subjects AS text[])) WITH ORDINALITY AS asked(slug, subject, number)"
    " JOIN tenants t ON t.slug = asked.slug AND t.active"
    " LEFT JOIN operators o ON o.tenant_id = t.id AND o.auth_id = asked.subject"
)
"""The tenants of these slugs, and which operators of theirs have these subjects."""


@dataclass(slots=True)
class _Note:
    """A row that waits."""

    action: str
    kind: ActorKind
    where: UUID | str
    """The tenant; its slug until it is looked up."""
    who: UUID | str | None
    """The operator or the instance; an operator's subject until it is looked up, and None where nobody has it."""
    description: str
    origin: Origin
    first: datetime
    last: datetime
    severity: AuditSeverity = AuditSeverity.WARNING
    resource: str | None = None
    resource_id: str | None = None
    count: int = 1

    def columns(self) -> dict[str, Any]:
        return {
            "tenant_id": self.where,
            "severity": self.severity,
            "action": self.action,
            "actor_type": self.kind.in_journals,
            "actor_id": self.who,
            "resource": self.resource,
            "resource_id": self.resource_id,
            "description": self.description,
            "timestamp": self.first,
            "metadata_": {"count": self.count, "until": format_datetime(self.last)},
            **self.origin._asdict(),
        }


class SecurityNotes:
    """Notes what is refused. Belongs to one event loop; `close` it when that ends."""

    def __init__(self, database: Database, seconds: float = SECONDS) -> None:
        self._database = database
        self._seconds = seconds
        self._waiting: dict[Hashable, _Note] = {}
        self._rooms: Counter[Hashable] = Counter()
        self._work: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._turned_away = 0
        self._left = self._written = self._lost = 0

    def figures(self) -> dict[str, float]:
        """For the metrics: refusals that wait for their rows now, and that have been written and lost, in this
        process."""
        return {"waiting": self._left, "written": self._written, "lost": self._lost}

    def limited(self, actor: Actor) -> None:
        """A caller asks for more operations than their rate allows (decision 34)."""
        if actor.kind is ActorKind.PLATFORM:  # which is in no tenant
            return
        description = "Asked for more operations than the rate allows."
        self._note("RATE_LIMITED", actor.kind, actor.tenant_id, actor.id, actor.tenant_id, description=description)

    def denied(self, actor: Actor, refusals: Sequence[Forbidden]) -> None:
        """An operation is refused before it runs, for want of what these say. Denials of a command are its own to
        note (`app.running`)."""
        if actor.kind is ActorKind.PLATFORM:
            return
        wanting = list(dict.fromkeys(refusal.permission for refusal in refusals))
        self._note(
            "ACCESS_DENIED",
            actor.kind,
            actor.tenant_id,
            actor.id,
            actor.tenant_id,
            resource=wanting[0],
            description=f"To read what was asked for needs {', '.join(wanting)}.",
        )

    def not_let_in(self, rejected: TokenRejected, bearer: Bearer, tenant: str | None) -> None:
        """A token is refused: `app.auth.authenticate.Refusals`.

        The row is the tenant's in which the database knows the caller, or which the token names, or else the request's
        header; where nothing names one there is none. Those that headers alone name share the room of one, since
        whoever asks is free to name any.
        """
        where, who = rejected.known or (bearer.tenant or tenant, _who(bearer))
        if where is None or who is None:
            return
        room = None if rejected.known is None and bearer.tenant is None else where
        if isinstance(rejected, AnotherTenant):
            self._note(
                "CROSS_TENANT_ATTEMPT",
                bearer.kind,
                where,
                who,
                room,
                severity=AuditSeverity.ERROR,
                resource="tenants",
                resource_id=tenant,
                description="A request named another tenant than its token.",
            )
        else:
            description = f"Not let in: {rejected.reason.rstrip('.')}."
            self._note("LOGIN_FAILED", bearer.kind, where, who, room, description=description)

    async def close(self) -> None:
        """Take nothing more, and write what waits, within a moment."""
        self._closing.set()
        work = self._work
        if work is not None:
            await asyncio.wait((work,), timeout=CLOSING_SECONDS)
            await cancelled(work)
        if self._left:
            self._lose(self._left, "the process ends")

    def _note(
        self,
        action: str,
        kind: ActorKind,
        where: UUID | str,
        who: UUID | str,
        room: Hashable,
        *,
        resource: str | None = None,
        **columns: Any,
    ) -> None:
        key, now = (action, where, who, address(), resource), datetime.now(UTC)
        note = self._waiting.get(key)
        if note is not None:
            note.count += 1
            note.last = now
        elif self._closing.is_set() or len(self._waiting) >= MOST or self._rooms[room] >= MOST_OF_TENANT:
            self._turned_away += 1
        else:
            self._waiting[key] = _Note(
                action, kind, where, who, origin=origin(), first=now, last=now, resource=resource, **columns
            )
            self._rooms[room] += 1
        self._left += 1
        if self._work is None and not self._closing.is_set():
            # In a context of its own: its log lines are not those of the request that happened to be the first.
            self._work = asyncio.create_task(self._run(), name="security-notes", context=contextvars.Context())

    async def _run(self) -> None:
        try:
            while self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds):
                        await self._closing.wait()
                await self._write_all()
        finally:
            self._work = None

    async def _write_all(self) -> None:
        notes, turned_away = tuple(self._waiting.values()), self._turned_away
        self._waiting.clear()
        self._rooms.clear()
        self._turned_away = 0
        if turned_away:
            self._lose(turned_away, "more than may wait")
        named = [note for note in notes if isinstance(note.where, str)]
        await self._write(notes)
        if not named:
            return
        try:
            await self._look_up(named)
        except Exception as error:
            self._lose(_refusals(named), type(error).__name__)
            return
        # Of a tenant that there is not, nobody has the journal.
        self._left -= _refusals(note for note in named if isinstance(note.where, str))
        await self._write(named)

    async def _write(self, notes: Iterable[_Note]) -> None:
        """Write the notes whose tenant is known, in a transaction for each tenant."""
        by_tenant: dict[UUID, list[_Note]] = {}
        for note in notes:
            if isinstance(note.where, UUID):
                by_tenant.setdefault(note.where, []).append(note)
        while by_tenant:
            tenant_id, group = by_tenant.popitem()
            try:
                async with self._database.transaction(system_actor(tenant_id)) as session:
                    await session.execute(insert(AuditLog), [note.columns() for note in group])
            except Exception as error:
                if is_outage(error):  # what is left would only wait for the same
                    group.extend(chain.from_iterable(by_tenant.values()))
                    by_tenant.clear()
                self._lose(_refusals(group), type(error).__name__)
            else:
                self._left -= _refusals(group)
                self._written += _refusals(group)

    async def _look_up(self, notes: Sequence[_Note]) -> None:
        """Put ids in the place of the tenants' slugs, where there are any, and of the operators' subjects."""
        subjects = [note.who if isinstance(note.who, str) else None for note in notes]
        async with self._database.platform() as connection:
            found = await connection.execute(_FIND, {"slugs": [note.where for note in notes], "subjects": subjects})
            for number, tenant_id, operator_id in found:
                note = notes[number]
                note.where = tenant_id
                if isinstance(note.who, str):
                    note.who = operator_id

    def _lose(self, refusals: int, reason: str) -> None:
        log.warning("security_notes_lost", refusals=refusals, reason=reason)
        self._left -= refusals
        self._lost += refusals


def _refusals(notes: Iterable[_Note]) -> int:
    return sum(note.count for note in notes)


def _who(bearer: Bearer) -> UUID | str | None:
    """An agent's id, a person's subject; None for the platform, which is in no tenant."""
    if bearer.kind is not ActorKind.INSTANCE:
        return bearer.subject if bearer.kind is ActorKind.OPERATOR else None
    try:
        return UUID(bearer.subject)
    except ValueError:
        return None
