"""Commands of operators: invited, suspended, let in again, gone for good (behaviour 1.18, RBAC-8, decision 27)."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID, uuid4

from app.auth.invitations import INVITED
from app.commands import Refusal, Refused, command
from app.governance.admins import refuse_last_admin
from app.identity.commands.places import blank
from app.identity.machines import OPERATOR
from app.identity.operator_audit import audit_operator
from app.identity.rules import is_address, pseudonym
from app.identity.standing import refuse_address, refuse_full
from app.lifecycle import refuse_step
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db.enums import AuditSeverity, ChangeRecordType, OperatorStatus
from db.models import Operator

NO_OPERATOR = Refused(Refusal.NOT_FOUND, "No such operator.", "operator_id")


@command("invite:people", ChangeRecordType.OPERATOR_CREATED)
async def invite_operator(
    uow: UnitOfWork, name: str, email: str, metadata: dict[str, Any] | None = None
) -> Operator | Refused:
    """RBAC-9, TEN-2. Invite a person: their first sign-in with this verified e-mail address binds them.

    Until somebody gives them a role they may do nothing.
    """
    uow.permit()
    refused = bad_person(name, email) or await refuse_full(uow) or await refuse_address(uow, email.strip())
    if refused:
        return refused
    return add_operator(uow, name, email, metadata=metadata)


def bad_person(name: str, email: str) -> Refused | None:
    """Whether a name or an address cannot be one."""
    if refused := blank("name", {"name": name}):
        return refused
    if is_address(email.strip()):
        return None
    return Refused(Refusal.VALIDATION_ERROR, "An e-mail address looks like name@example.com.", "email")


def add_operator(
    uow: UnitOfWork,
    name: str,
    email: str,
    subject: str | None = None,
    metadata: dict[str, Any] | None = None,
    **recorded: Any,
) -> Operator:
    """A new operator with the record, which has no name and no address: the journal outlives the person (PII-2).

    Without `subject` they are invited (decision 27). `recorded` is what else the record says, in a cascade.
    """
    operator = uow.add(
        Operator(
            auth_id=subject or f"{INVITED}{uuid4()}",
            name=name.strip(),
            email=email.strip(),
            status=OperatorStatus.ACTIVE,
            metadata_=metadata,
        )
    )
    after = {"status": OperatorStatus.ACTIVE.value, "pseudonymousId": pseudonym(email)}
    uow.record(ChangeRecordType.OPERATOR_CREATED, operator, after=after, **recorded)
    return operator


@command("write:operators", "OPERATOR_UPDATED", own="operator_id")
async def update_operator(uow: UnitOfWork, operator_id: UUID, **changes: Any) -> Operator | Refused:
    """Change what others see of a person: one's own, or anybody's."""
    if operator_id != uow.actor.id:
        uow.permit()
    operator = await uow.lock(Operator, operator_id)
    if operator is None:
        return NO_OPERATOR
    if operator.status is OperatorStatus.DEACTIVATED:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The operator was deactivated and stays as they are.", "operator_id")
    if refused := blank("name", changes):
        return refused
    _, after = edit(operator, changes)
    if after:
        audit_operator(uow, "OPERATOR_UPDATED", operator, changed=sorted(after))
    return operator


@command("write:operators", "OPERATOR_UPDATED")
async def suspend_operator(
    uow: UnitOfWork, operator_id: UUID, reason: str | None = None, expected_status: OperatorStatus | None = None
) -> Operator | Refused:
    """Behaviour 1.18, RBAC-8. Keep a person out from their next request on, until they are let in again."""
    return await _move(uow, operator_id, OperatorStatus.SUSPENDED, reason, expected_status)


@command("write:operators", "OPERATOR_UPDATED")
async def reactivate_operator(
    uow: UnitOfWork, operator_id: UUID, reason: str | None = None, expected_status: OperatorStatus | None = None
) -> Operator | Refused:
    """Behaviour 1.18. Let a suspended person in again, with the roles that they had."""
    return await _move(uow, operator_id, OperatorStatus.ACTIVE, reason, expected_status)


@command("delete:operators", "OPERATOR_DELETED", is_sensitive=True)
async def deactivate_operator(
    uow: UnitOfWork, operator_id: UUID, reason: str | None = None, expected_status: OperatorStatus | None = None
) -> Operator | Refused:
    """Behaviour 1.18, RBAC-8. Keep a person out for good; the last active Admin stays."""
    return await _move(uow, operator_id, OperatorStatus.DEACTIVATED, reason, expected_status)


async def _move(
    uow: UnitOfWork, operator_id: UUID, to: OperatorStatus, reason: str | None, expected: OperatorStatus | None
) -> Operator | Refused:
    uow.permit()
    last = None if to is OperatorStatus.ACTIVE else await refuse_last_admin(uow, operator_id)
    operator = await uow.lock(Operator, operator_id)
    if operator is None:
        return NO_OPERATOR
    before = operator.status
    if refused := refuse_step(OPERATOR, before, to, uow.actor_type, expected):
        is_stale = refused.code is Refusal.CONFLICT
        return dataclasses.replace(refused, field="expected_status" if is_stale else "operator_id")
    if last is not None:
        return last
    if to is OperatorStatus.ACTIVE and operator.gdpr_deletion_request_at is not None:
        message = "Their erasure was asked for: operatorDeletionCancel takes that back and lets them in again."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "operator_id")
    operator.status = to
    gone = to is OperatorStatus.DEACTIVATED
    audit_operator(
        uow,
        "OPERATOR_DELETED" if gone else "OPERATOR_UPDATED",
        operator,
        severity=AuditSeverity.WARNING if gone else AuditSeverity.INFO,
        reason=reason,
        before=before.value,
        after=to.value,
    )
    return operator
