"""The emergency mode: one command that stops a scope, and lets it go on (EMG-1 to EMG-8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from app.commands import Done, Refusal, Refused, command
from app.platform.commands.cascade import Cascade
from app.platform.rules import is_at_least, strictest
from app.unit_of_work import UnitOfWork, utc_now
from db.base import JsonObject
from db.enums import AlertSeverity, AlertStatus, AuditSeverity, ChangeRecordType, OperatorMode
from db.ids import created_at, new_id
from db.models import Alert, OperatorControl, Project

EMERGENCY_MODE_CHANGED: Final = "EMERGENCY_MODE_CHANGED"
"""Notification event of a new mode; every operator hears of it (EMG-4)."""
ALERT_TYPE: Final = "OPERATOR_CONTROL_MODE"
_RECORDS: Final[Mapping[OperatorMode, ChangeRecordType]] = {
    OperatorMode.PAUSED: ChangeRecordType.EMERGENCY_PAUSE,
    OperatorMode.QUARANTINED: ChangeRecordType.EMERGENCY_QUARANTINE,
}
"""EMG-4. The one record of the whole action; draining and resuming have none, their audit log carries them."""


@command("emergency:control", "OPERATOR_MODE_CHANGED", is_sensitive=True)
async def set_operator_control(
    uow: UnitOfWork,
    mode: OperatorMode,
    project_id: UUID | None = None,
    reason: str | None = None,
    expected_mode: OperatorMode | None = None,
) -> Done | Refused:
    """EMG-4, EMG-6, EMG-7. Set the emergency mode of the tenant or of one project.

    Agents and their tasks follow in the same transaction, and a mode that restricts less lets go on exactly what the
    emergency had stopped.
    """
    uow.permit(project_id=project_id)
    await uow.tenant(lock=True)  # changes of the mode take turns, and what looks at the mode waits for them
    if project_id is not None and await uow.get(Project, project_id) is None:
        return Refused(Refusal.NOT_FOUND, "No such project.", "project_id")
    if mode is not OperatorMode.NORMAL and not (reason or "").strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say why: the reason is on every record of it.", "reason")
    own = await _own_modes(uow)
    former = own.get(project_id, OperatorMode.NORMAL)
    if expected_mode is not None and former is not expected_mode:
        message = f"The mode is {former.value}, not {expected_mode.value}: somebody was faster. Read it again."
        return Refused(Refusal.CONFLICT, message, "expected_mode")
    moment = await _moment(uow)
    control = uow.add(
        OperatorControl(
            id=new_id(moment),
            project_id=project_id,
            mode=mode,
            reason=reason,
            updated_by_operator_id=uow.actor.id,
            updated_at=moment,
        )
    )
    everywhere = await _projects(uow)
    before = {project: _effective(own, project) for project in everywhere}
    own[project_id] = mode
    after = {project: _effective(own, project) for project in everywhere}
    scope = everywhere if project_id is None else [project_id]
    follows = {
        project: after[project] for project in scope if after[project] is mode or after[project] is not before[project]
    }
    stopped = [project for project, its in after.items() if is_at_least(its, OperatorMode.PAUSED)]
    cascade = Cascade(uow, control, follows, stopped)
    await cascade.run()
    change_id = _journal(uow, control, former, cascade)
    await cascade.withdraw(change_id)
    await _alert(uow, control)
    uow.notify(EMERGENCY_MODE_CHANGED, control, {"mode": mode.value, "previousMode": former.value, "reason": reason})
    counts = cascade.counts
    return Done(control, {**counts, "change_record": None if change_id is None else str(change_id)})


async def _moment(uow: UnitOfWork) -> datetime:
    """Now, but behind every earlier setting, whose id decides what is in force: whoever waited for the lock began
    before the one that held it, and clocks differ (EMG-1)."""
    newest = await uow.session.scalar(
        select(OperatorControl.id)
        .where(OperatorControl.tenant_id == uow.tenant_id)
        .order_by(OperatorControl.id.desc())
        .limit(1)
    )
    now = utc_now()
    return now if newest is None else max(now, created_at(newest) + timedelta(milliseconds=1))


async def _own_modes(uow: UnitOfWork) -> dict[UUID | None, OperatorMode]:
    """EMG-1. The newest mode of each scope that ever had one; None is the tenant's own."""
    newest = (
        select(OperatorControl.project_id, OperatorControl.mode)
        .ext(distinct_on(OperatorControl.project_id))
        .where(OperatorControl.tenant_id == uow.tenant_id)
        .order_by(OperatorControl.project_id, OperatorControl.id.desc())
    )
    return {row.project_id: row.mode for row in await uow.session.execute(newest)}


async def _projects(uow: UnitOfWork) -> list[UUID]:
    return list(await uow.session.scalars(select(Project.id).where(Project.tenant_id == uow.tenant_id)))


def _effective(own: Mapping[UUID | None, OperatorMode], project_id: UUID) -> OperatorMode:
    return strictest(own[scope] for scope in (None, project_id) if scope in own)


def _journal(uow: UnitOfWork, control: OperatorControl, former: OperatorMode, cascade: Cascade) -> UUID | None:
    """One change record for a pause or a quarantine, a row of the security journal for every mode, then the cascade's
    own records."""
    about: JsonObject = {
        "mode": control.mode.value,
        "scope": "TENANT" if control.project_id is None else "PROJECT",
        "counts": cascade.counts,
    }
    kind = _RECORDS.get(control.mode)
    first = None
    if kind is not None:
        first = uow.record(
            kind,
            control,
            before={"mode": former.value},
            after={
                **about,
                "instanceIds": [str(one) for one in cascade.instance_ids],
                "taskIds": [str(one) for one in cascade.task_ids],
            },
            reason=control.reason,
        )
    cascade.record(first)
    uow.audit(
        "OPERATOR_MODE_CHANGED",
        severity=AuditSeverity.WARNING,
        resource=OperatorControl.__name__,
        resource_id=control.id,
        description=f"The emergency mode went from {former.value} to {control.mode.value}.",
        metadata={**about, "previousMode": former.value, "reason": control.reason},
    )
    return first


async def _alert(uow: UnitOfWork, control: OperatorControl) -> None:
    """EMG-4, EMG-6, ALR-2. One open alert a scope while its mode is not NORMAL."""
    open_ones = (
        Alert.tenant_id == uow.tenant_id,
        Alert.type == ALERT_TYPE,
        or_(Alert.status == AlertStatus.OPEN, Alert.status == AlertStatus.ACKNOWLEDGED),
        Alert.project_id.is_not_distinct_from(control.project_id),
    )
    if control.mode is OperatorMode.NORMAL:
        await uow.session.execute(
            update(Alert)
            .where(*open_ones)
            .values(status=AlertStatus.RESOLVED, resolved_at=uow.now, resolution_note="The mode is NORMAL again.")
            .execution_options(synchronize_session=False)
        )
        return
    severity = AlertSeverity.CRITICAL if control.mode is OperatorMode.QUARANTINED else AlertSeverity.WARNING
    title = f"The emergency mode is {control.mode.value}"
    known = (
        await uow.session.scalars(select(Alert).where(*open_ones).limit(1).with_for_update(key_share=True))
    ).first()
    if known is not None:
        known.severity, known.title, known.description = severity, title, control.reason or title
        return
    uow.alert(ALERT_TYPE, severity, title, control.reason or title, project_id=control.project_id)
