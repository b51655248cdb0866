"""Commands of alerts: taken up, resolved, set aside (ALR-1)."""

from __future__ import annotations

from uuid import UUID

from app.commands import Refusal, Refused, command
from app.lifecycle import refuse_step
from app.platform.machines import ALERT
from app.unit_of_work import UnitOfWork
from db.enums import AlertStatus
from db.models import Alert


@command("write:alerts", "ALERT_ACKNOWLEDGED")
async def acknowledge_alert(
    uow: UnitOfWork, alert_id: UUID, note: str | None = None, expected_status: AlertStatus | None = None
) -> Alert | Refused:
    """ALR-1. Take an alert up: from here on everybody sees who looks after it."""
    alert = await _at_step(uow, alert_id, AlertStatus.ACKNOWLEDGED, expected_status)
    if isinstance(alert, Refused):
        return alert
    alert.status = AlertStatus.ACKNOWLEDGED
    _take_up(uow, alert)
    _journal(uow, alert, "ALERT_ACKNOWLEDGED", note)
    return alert


@command("write:alerts", "ALERT_RESOLVED")
async def resolve_alert(
    uow: UnitOfWork, alert_id: UUID, note: str | None = None, expected_status: AlertStatus | None = None
) -> Alert | Refused:
    """ALR-1. Close an alert whose problem is gone; if it comes back, that is another alert (ALR-2)."""
    alert = await _at_step(uow, alert_id, AlertStatus.RESOLVED, expected_status)
    if isinstance(alert, Refused):
        return alert
    alert.status, alert.resolved_at, alert.resolution_note = AlertStatus.RESOLVED, uow.now, note
    _take_up(uow, alert)
    _journal(uow, alert, "ALERT_RESOLVED", note)
    return alert


@command("write:alerts", "ALERT_IGNORED")
async def ignore_alert(
    uow: UnitOfWork, alert_id: UUID, reason: str, expected_status: AlertStatus | None = None
) -> Alert | Refused:
    """ALR-1. Set an alert aside, with the reason for whoever asks later."""
    if not reason.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say why it may be ignored.", "reason")
    alert = await _at_step(uow, alert_id, AlertStatus.IGNORED, expected_status)
    if isinstance(alert, Refused):
        return alert
    alert.status, alert.resolution_note = AlertStatus.IGNORED, reason
    _take_up(uow, alert)
    _journal(uow, alert, "ALERT_IGNORED", reason)
    return alert


async def _at_step(uow: UnitOfWork, alert_id: UUID, to: AlertStatus, expected: AlertStatus | None) -> Alert | Refused:
    """The alert, locked, where the caller may take it there."""
    alert = await uow.lock(Alert, alert_id)
    if alert is None:
        return Refused(Refusal.NOT_FOUND, "No such alert.", "alert_id")
    uow.permit(project_id=alert.project_id)
    refused = refuse_step(ALERT, alert.status, to, uow.actor_type, expected, expected_field="expected_status")
    return refused or alert


def _take_up(uow: UnitOfWork, alert: Alert) -> None:
    """Who closes an alert that nobody had taken up has taken it up."""
    if alert.acknowledged_at is None:
        alert.acknowledged_by_operator_id, alert.acknowledged_at = uow.actor_id, uow.now


def _journal(uow: UnitOfWork, alert: Alert, action: str, note: str | None) -> None:
    uow.audit(
        action,
        resource=Alert.__name__,
        resource_id=alert.id,
        description=note,
        metadata={"type": alert.type, "severity": alert.severity.value, "occurrences": alert.occurrences},
    )
