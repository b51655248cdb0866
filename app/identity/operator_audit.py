"""The security journal's rows about an operator."""

from __future__ import annotations

from typing import Any

from app.identity.rules import pseudonym
from app.unit_of_work import UnitOfWork
from db.enums import AuditSeverity
from db.models import Operator


def audit_operator(
    uow: UnitOfWork,
    action: str,
    operator: Operator,
    severity: AuditSeverity = AuditSeverity.INFO,
    *,
    reason: str | None = None,
    **what: Any,
) -> None:
    """Note an action on an operator, who is named by pseudonym only (PII-2); `what` is its metadata."""
    uow.audit(
        action,
        resource="Operator",
        resource_id=operator.id,
        severity=severity,
        description=reason,
        metadata={"pseudonymousId": pseudonym(operator.email), **what},
    )
