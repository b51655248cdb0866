"""Commands of a person's own data: handed out, erased on request, no longer agreed to (GDPR-1 to GDPR-4, PII-2)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select, update

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.governance.admins import refuse_last_admin
from app.identity.commands.operators import NO_OPERATOR
from app.identity.held import kinds_of, naming, place
from app.identity.operator_audit import audit_operator
from app.identity.rules import pseudonym
from app.rows import as_json, plain
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import AuditSeverity, OperatorStatus
from db.models import (
    Notification,
    NotificationPreference,
    Operator,
    OrgMember,
    RoleAssignment,
    SavedView,
    WatchSubscription,
)

MOST_ROWS: Final = 10_000
"""Newest rows of one kind that an export holds; the logs' own exports have no such end (AUD-4)."""
ERASED_AFTER: Final = timedelta(days=29)
"""How long a request for erasure can be taken back; the day that is left of the 30 is the job's (GDPR-2)."""
BATCH: Final = 50
"""People that one transaction of the job erases at most."""
TOMBSTONE: Final = "Deleted operator"
_ERASED: Final = "erased:"
_BEFORE: Final = "statusBeforeDeletionRequest"

_Where = ColumnElement[bool]


@command("export:gdpr", "GDPR_EXPORT", own="operator_id", is_sensitive=True)
async def export_operator(uow: UnitOfWork, operator_id: UUID) -> Done | Refused:
    """GDPR-1. Everything that is held about a person, as one JSON object: for the person, or on their behalf.

    Rows that are theirs are told in full; of the organisation's rows `references` tells where they are named.
    """
    _permit(uow, operator_id)
    operator = await uow.lock(Operator, operator_id)
    if operator is None:
        return NO_OPERATOR
    operator.gdpr_data_export_at = uow.now
    held: JsonObject = {"operator": as_json(operator)}
    incomplete = []
    for name, kind in kinds_of(operator).items():
        table: Any = kind.model
        newest = select(table).where(table.tenant_id == uow.tenant_id, kind.where).order_by(table.id.desc())
        rows = list(await uow.session.scalars(newest.limit(MOST_ROWS + 1)))
        if len(rows) > MOST_ROWS:
            incomplete.append(name)
        held[name] = [kind.told(row) for row in rows[:MOST_ROWS]]
    named, are_all = await _references(uow, operator.id)
    held["references"] = named
    if not are_all:
        incomplete.append("references")
    held["incomplete"] = incomplete
    counts = {name: len(rows) for name, rows in held.items() if isinstance(rows, list)}
    audit_operator(uow, "GDPR_EXPORT", operator, rows=counts)
    return Done(operator, unkept={"export": held})


@command("erase:gdpr", "GDPR_DELETION_REQUESTED", own="operator_id")
async def request_operator_deletion(
    uow: UnitOfWork, operator_id: UUID, reason: str | None = None
) -> Operator | Refused:
    """GDPR-2, RBAC-8. Ask for a person's erasure, within 30 days; until then they are suspended, and it can be taken
    back."""
    _permit(uow, operator_id)
    last = await refuse_last_admin(uow, operator_id)
    operator = await _standing(uow, operator_id)
    if isinstance(operator, Refused):
        return operator
    if operator.gdpr_deletion_request_at is not None:
        return Refused(Refusal.CONFLICT, "Their erasure was asked for before.", "operator_id")
    if last is not None:
        return last
    operator.gdpr_deletion_request_at = uow.now
    operator.metadata_ = {**(operator.metadata_ or {}), _BEFORE: operator.status.value}
    if operator.status is OperatorStatus.ACTIVE:
        operator.status = OperatorStatus.SUSPENDED
    audit_operator(uow, "GDPR_DELETION_REQUESTED", operator, AuditSeverity.WARNING, reason=reason)
    return operator


@command("erase:gdpr", "GDPR_DELETION_CANCELED")
async def cancel_operator_deletion(uow: UnitOfWork, operator_id: UUID, reason: str | None = None) -> Operator | Refused:
    """GDPR-2. Take a request for erasure back: the person stands where they stood before."""
    uow.permit()
    operator = await _standing(uow, operator_id)
    if isinstance(operator, Refused):
        return operator
    if operator.gdpr_deletion_request_at is None:
        return Refused(Refusal.CONFLICT, "Nobody asked for their erasure.", "operator_id")
    notes = dict(operator.metadata_ or {})
    before = notes.pop(_BEFORE, None)
    operator.gdpr_deletion_request_at, operator.metadata_ = None, notes or None
    if before == OperatorStatus.ACTIVE.value and operator.status is OperatorStatus.SUSPENDED:
        operator.status = OperatorStatus.ACTIVE
    audit_operator(uow, "GDPR_DELETION_CANCELED", operator, reason=reason)
    return operator


@command("erase:gdpr", "GDPR_CONSENT_WITHDRAWN", own="operator_id")
async def withdraw_operator_consent(
    uow: UnitOfWork, operator_id: UUID, reason: str | None = None
) -> Operator | Refused:
    """GDPR-4, RBAC-8. Take back a person's consent to the processing of their data: they are suspended at once.

    Nothing is erased by it. Once somebody lets them in again (`operatorReactivate`), their next sign-in is consent
    anew.
    """
    _permit(uow, operator_id)
    last = await refuse_last_admin(uow, operator_id)
    operator = await _standing(uow, operator_id)
    if isinstance(operator, Refused):
        return operator
    given, before = operator.gdpr_consent_at, operator.status
    if given is None:
        message = "There is no consent to withdraw: it was withdrawn before, or they have never signed in."
        return Refused(Refusal.CONFLICT, message, "operator_id")
    if last is not None:
        return last
    operator.gdpr_consent_at = None
    if before is OperatorStatus.ACTIVE:
        operator.status = OperatorStatus.SUSPENDED
    if operator.gdpr_deletion_request_at is not None:
        # Taking that request back must not let them in.
        operator.metadata_ = {**(operator.metadata_ or {}), _BEFORE: OperatorStatus.SUSPENDED.value}
    audit_operator(
        uow,
        "GDPR_CONSENT_WITHDRAWN",
        operator,
        AuditSeverity.WARNING,
        reason=reason,
        consentedAt=plain(given),
        before=before.value,
        after=operator.status.value,
    )
    return operator


@command("erase:gdpr", "GDPR_ERASURE", is_sensitive=True)
async def erase_operator(uow: UnitOfWork, operator_id: UUID, reason: str | None = None) -> Operator | Refused:
    """GDPR-3, PII-2, RBAC-8. Erase a person: a tombstone stays, under which the journals keep their order.

    Name, address, picture and notes go, with roles, preferences, notifications, watches and private views. What the
    law wants kept (change records, approvals) names the tombstone.
    """
    uow.permit()
    last = await refuse_last_admin(uow, operator_id)
    operator = await _standing(uow, operator_id)
    if isinstance(operator, Refused):
        return operator
    if last is not None:
        return last
    await _erase(uow, operator, reason)
    return operator


@command("erase:gdpr", "GDPR_ERASURE", callers=(ActorKind.PLATFORM,))
async def erase_due_operators(uow: UnitOfWork, limit: int = BATCH) -> Done:
    """GDPR-2, RET. Erase everybody whose erasure was asked for so long ago that it is due.

    `more` says that the batch was full.
    """
    due = (
        select(Operator.id)
        .where(
            Operator.tenant_id == uow.tenant_id,
            Operator.gdpr_deletion_request_at <= uow.now - ERASED_AFTER,
            ~Operator.auth_id.startswith(_ERASED),
        )
        .order_by(Operator.id)
        .limit(limit)
    )
    found = list(await uow.session.scalars(due))
    erased = 0
    for operator in await uow.lock_all(Operator, found):
        # Whoever took the request back a moment ago stays.
        if operator.gdpr_deletion_request_at is not None and not operator.auth_id.startswith(_ERASED):
            await _erase(uow, operator, "Asked for by request; the time has come.")
            erased += 1
    return Done(None, {"erased": erased, "more": len(found) == limit and erased > 0})


async def _erase(uow: UnitOfWork, operator: Operator, reason: str | None) -> None:
    name = pseudonym(operator.email)
    await _erase_rows(uow, operator)
    operator.name, operator.email = TOMBSTONE, f"erased+{operator.id}@invalid"
    operator.auth_id = f"{_ERASED}{operator.id}"
    operator.avatar_url, operator.last_login_at = None, None
    # The one thing that is kept in the notes: what the journals call the person from now on (PII-2).
    operator.metadata_ = {"pseudonymousId": name}
    operator.status = OperatorStatus.DEACTIVATED
    uow.audit(
        "GDPR_ERASURE",
        resource="Operator",
        resource_id=operator.id,
        severity=AuditSeverity.WARNING,
        description=reason,
        metadata={"pseudonymousId": name, "reason": reason},
    )


async def _erase_rows(uow: UnitOfWork, operator: Operator) -> None:
    """Delete what was the person's alone, and take them out of the directory."""
    own: tuple[tuple[Any, _Where], ...] = (
        (RoleAssignment, RoleAssignment.operator_id == operator.id),
        (NotificationPreference, NotificationPreference.operator_id == operator.id),
        (Notification, Notification.operator_id == operator.id),
        (WatchSubscription, WatchSubscription.operator_id == operator.id),
        (SavedView, (SavedView.owner_operator_id == operator.id) & ~SavedView.is_shared),
    )
    for table, where in own:
        await uow.session.execute(delete(table).where(table.tenant_id == uow.tenant_id, where))
    member = func.lower(OrgMember.email) == operator.email.lower()
    await uow.session.execute(
        update(OrgMember)
        .where(OrgMember.tenant_id == uow.tenant_id, member)
        .values(name="Deleted member", email=None, avatar=None, metadata_=None, active=False)
    )


async def _references(uow: UnitOfWork, operator_id: UUID) -> tuple[list[JsonObject], bool]:
    """Where else the tenant's rows name a person, and whether that is all: the newest of each column are told."""
    found: list[JsonObject] = []
    are_all = True
    for model, column in naming():
        table: Any = model
        newest = select(table.id).where(table.tenant_id == uow.tenant_id, column == operator_id)
        rows = list(await uow.session.scalars(newest.order_by(table.id.desc()).limit(MOST_ROWS + 1)))
        are_all = are_all and len(rows) <= MOST_ROWS
        found += [place(model, column, row_id) for row_id in rows[:MOST_ROWS]]
    return found, are_all


def _permit(uow: UnitOfWork, operator_id: UUID) -> None:
    if operator_id != uow.actor_id:
        uow.permit()


async def _standing(uow: UnitOfWork, operator_id: UUID) -> Operator | Refused:
    """The operator, locked; one that was erased has nothing left to erase."""
    operator = await uow.lock(Operator, operator_id)
    if operator is None:
        return NO_OPERATOR
    if operator.auth_id.startswith(_ERASED):
        return Refused(Refusal.CONFLICT, "The operator was erased before.", "operator_id")
    return operator
