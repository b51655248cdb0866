"""Running a command: in a transaction of its own, again where the database asks for it, and the bell after the commit.

A refusal is a value and commits, so that the record of a denial is not rolled back with it; an exception rolls back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.actor import Actor, ActorKind, system_actor
from app.commands import COMMANDS, Command, Done, Refusal, Refused
from app.idempotency import Claim, Key, claim, claim_anywhere, keep, keep_in
from app.sealing import Seal
from app.unit_of_work import PermissionDenied, UnitOfWork
from db.base import JsonObject, Model
from db.brief import NeedsTransaction
from db.enums import AuditSeverity
from db.pool import OF_THE_DATABASE, sqlstate
from db.session import Database
from db.writing import Writing

RETRIES: Final = 3
"""How often a command is run again after a deadlock or a serialisation failure."""
_RETRYABLE: Final = frozenset({"40001", "40P01"})
_UNIQUE_VIOLATION: Final = "23505"


class RefusedAfterChange(Exception):
    """A mistake in a command: it changed rows and then refused, which would commit half of what it does. Nothing of it
    is kept. Check before the first change, or say `Refused(…, keeps=True)` where the change belongs to the refusal."""


async def run(
    database: Database,
    actor: Actor,
    name: str,
    arguments: Mapping[str, Any],
    key: Key | None = None,
    seal: Seal | None = None,
) -> Done | Refused:
    """Run a command in a transaction of its own, again where the database asks for it.

    `seal` is for commands that store secrets; without it they refuse. Raises PermissionDenied, after noting it in the
    security journal.
    """
    command = COMMANDS[name]
    for attempt in range(RETRIES + 1):
        try:
            return await _once(database, actor, command, arguments, key, seal)
        except PermissionDenied as denied:
            needed = denied.permission
            await note_denial(database, actor, needed, f"{command.name} needs {needed}.")
            raise
        except OF_THE_DATABASE as error:
            state = sqlstate(error)
            if state == _UNIQUE_VIOLATION:
                message = "Somebody else has just made the same. Read it and try again."
                return Refused(Refusal.DUPLICATE_RESOURCE, message)
            if state not in _RETRYABLE or attempt == RETRIES:
                raise
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise AssertionError("unreachable")


async def run_as_system(database: Database, tenant_id: UUID, name: str, arguments: Mapping[str, Any]) -> Done | Refused:
    """Run a command for the gateway itself, in one tenant: what jobs do. Its records have SYSTEM for an actor."""
    return await run(database, system_actor(tenant_id), name, arguments)


async def _once(
    database: Database,
    actor: Actor,
    command: Command,
    arguments: Mapping[str, Any],
    key: Key | None,
    seal: Seal | None,
) -> Done | Refused:
    if not command.admits(actor, arguments):
        raise PermissionDenied(command.permission)
    if key is None and command.is_brief(arguments):
        with contextlib.suppress(NeedsTransaction):
            async with database.brief(actor) as work:
                uow = UnitOfWork(work, actor, command.permission, seal=seal)
                outcome = await _outcome(uow, command, arguments)
                await uow.write_journals()
            _ring(database, uow)
            return outcome
    opened = _on_platform(database) if command.on_platform else database.writing(actor)
    async with opened as work:
        if key is not None:
            known = await (claim_anywhere if command.on_platform else claim)(work.session, actor, key)
            if isinstance(known, Claim):
                return known.outcome
        uow = UnitOfWork(work, actor, command.permission, key=None if key is None else key.text, seal=seal)
        outcome = await _outcome(uow, command, arguments)
        if key is not None and not command.on_platform:
            await keep(work.session, actor, key, outcome)
        await uow.write_journals()
        if key is not None and command.on_platform and isinstance(outcome, Done):
            await keep_in(work.session, uow.tenant_id, actor, key, outcome)
    _ring(database, uow)
    return outcome


async def _outcome(uow: UnitOfWork, command: Command, arguments: Mapping[str, Any]) -> Done | Refused:
    """What the command comes to, before its journals are written. Raises RefusedAfterChange."""
    outcome = await command.function(uow, **arguments)
    if isinstance(outcome, Model):
        outcome = Done(outcome)
    if isinstance(outcome, Refused) and not outcome.keeps and uow.has_changed:
        raise RefusedAfterChange(f"{command.name}: {outcome.message}")
    if isinstance(outcome, Done):
        outcome.change_id = outcome.change_id or uow.first_change
        outcome.left = uow.left
        if command.is_sensitive:
            uow.audit("ACCESS_GRANTED", resource=command.permission)
    return outcome


def _ring(database: Database, uow: UnitOfWork) -> None:
    for feed, seq in uow.appended.items():
        database.bell.ring(uow.tenant_id, feed, seq)


@asynccontextmanager
async def _on_platform(database: Database) -> AsyncIterator[Writing]:
    """A session that passes row-level security; its transaction is the connection's."""
    async with (
        database.platform() as connection,
        AsyncSession(connection, expire_on_commit=False, join_transaction_mode="conditional_savepoint") as session,
    ):
        yield Writing(connection, session)
        await session.flush()


async def note_denial(
    database: Database, actor: Actor, permission: str, description: str, metadata: JsonObject | None = None
) -> None:
    """AUD-1. What a caller may not do, in the security journal. The platform is in no tenant, and so in no journal."""
    if actor.kind is ActorKind.PLATFORM:
        return
    await audit(
        database,
        actor,
        "ACCESS_DENIED",
        severity=AuditSeverity.WARNING,
        resource=permission,
        description=description,
        metadata=metadata,
    )


async def audit(database: Database, actor: Actor, action: str, *, resource: str, **columns: Any) -> None:
    """Write a row of the security journal in a transaction of its own; `columns` as `UnitOfWork.audit` has them."""
    async with database.writing(actor) as work:
        uow = UnitOfWork(work, actor, resource)  # in which nobody asks for a permission
        uow.audit(action, resource=resource, **columns)
        await uow.write_journals()
