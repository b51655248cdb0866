"""Who was told what: events of the last weeks, the messages that they became, and what each person wants to hear."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from db.base import Model
from db.demo.stage import Stage
from db.enums import (
    AlertSeverity,
    AlertStatus,
    ApprovalDecision,
    ChangeRecordType,
    DeploymentStatus,
    NotificationChannel,
    NotificationSeverity,
    NotificationType,
    OperatorStatus,
    RiskLevel,
)
from db.ids import created_at
from db.models import (
    AgentInstance,
    Alert,
    ApprovalRecord,
    Deployment,
    Message,
    Notification,
    NotificationEvent,
    NotificationPreference,
    Operator,
    Task,
)

_FORTNIGHT: Final = timedelta(days=14)
_OPEN: Final = {ApprovalDecision.PENDING, ApprovalDecision.ESCALATED}
_SEVERITY: Final = {
    AlertSeverity.INFO: NotificationSeverity.INFO,
    AlertSeverity.WARNING: NotificationSeverity.WARNING,
    AlertSeverity.ERROR: NotificationSeverity.ERROR,
    AlertSeverity.CRITICAL: NotificationSeverity.ERROR,
}


def build(stage: Stage) -> None:
    """Messages for what the last fourteen days brought (NOT-3)."""
    _requests(stage)
    _assignments(stage)
    _mentions(stage)
    _releases(stage)
    _alerts(stage)
    _preferences(stage)


def _event(stage: Stage, kind: str, source: Model, at: datetime, **payload: Any) -> NotificationEvent:
    return stage.add(
        NotificationEvent(
            id=stage.id(at),
            event_type=kind,
            source_entity=type(source).__name__,
            source_id=source.id,  # type: ignore[attr-defined]
            payload=payload,
            processed_at=at + timedelta(seconds=3),
            timestamp=at,
            attempts=1,
        )
    )


def _tell(
    stage: Stage,
    event: NotificationEvent,
    to: Operator | AgentInstance,
    kind: NotificationType,
    severity: NotificationSeverity,
    title: str,
    *,
    read_after: timedelta | None = None,
    **fields: Any,
) -> None:
    """A message; `read_after` says how long it stayed unread, None that it still is, unless it is of today."""
    at = created_at(event.id) + timedelta(seconds=3)
    read = at + read_after if read_after else None
    stage.add(
        Notification(
            id=stage.id(at),
            operator_id=to.id if isinstance(to, Operator) else None,
            instance_id=to.id if isinstance(to, AgentInstance) else None,
            type=kind,
            title=title,
            channel=NotificationChannel.IN_APP,
            read_at=read if read and read < stage.now else None,
            event_id=event.id,
            severity=severity,
            updated_at=read if read and read < stage.now else at,
            **fields,
        )
    )


def _requests(stage: Stage) -> None:
    """Approvers hear of what is open, requesters of what was decided."""
    by_id: dict[Any, Operator | AgentInstance] = {one.id: one for one in stage.people.values()}
    by_id.update({one.id: one for one in stage.instances.values()})
    for row in stage.all(ApprovalRecord):
        at = created_at(row.id)
        if at < stage.now - _FORTNIGHT:
            continue
        asker = by_id[row.requester_instance_id or row.requester_id]
        origin: dict[str, Any] = {"from_instance_id": row.requester_instance_id, "from_operator_id": row.requester_id}
        if row.status in _OPEN:
            event = _event(stage, "APPROVAL_REQUIRED", row, at, risk=row.risk_level, summary=row.action_summary)
            red = row.risk_level is RiskLevel.RED
            for person in stage.approvers():
                if person is not asker:
                    _tell(
                        stage,
                        event,
                        person,
                        NotificationType.APPROVAL_REQUESTED,
                        NotificationSeverity.WARNING if red else NotificationSeverity.INFO,
                        row.action_summary,
                        approval_record_id=row.id,
                        task_id=row.task_id,
                        **origin,
                    )
        elif row.decided_at is not None:
            event = _event(stage, "APPROVAL_DECIDED", row, row.decided_at, decision=row.status)
            good = row.status is ApprovalDecision.APPROVED
            _tell(
                stage,
                event,
                asker,
                NotificationType.APPROVAL_DECIDED,
                NotificationSeverity.SUCCESS if good else NotificationSeverity.WARNING,
                f"{row.status.value.capitalize()}: {row.action_summary}",
                approval_record_id=row.id,
                task_id=row.task_id,
                read_after=timedelta(minutes=1),
            )


def _assignments(stage: Stage) -> None:
    tasks = {one.id: one for one in stage.all(Task)}
    agents = {one.id: one for one in stage.instances.values()}
    for record in list(stage.changes):
        if record.type is not ChangeRecordType.TASK_ASSIGNED or record.timestamp < stage.now - _FORTNIGHT:
            continue
        task = tasks[record.target_id]
        event = _event(stage, "TASK_ASSIGNED", task, record.timestamp, title=task.title)
        for key in (record.after_state or {})["assigneeIds"]:
            agent = next(one for row_id, one in agents.items() if str(row_id) == key)
            _tell(
                stage,
                event,
                agent,
                NotificationType.TASK_ASSIGNED,
                NotificationSeverity.INFO,
                f"Yours: {task.title}",
                task_id=task.id,
                read_after=timedelta(seconds=30),
            )


def _mentions(stage: Stage) -> None:
    agents = {one.name: one for one in stage.instances.values()}
    people = {one.id: one for one in stage.people.values()}
    for message in list(stage.all(Message)):
        at = created_at(message.id)
        if not message.mentions or at < stage.now - timedelta(days=5):
            continue
        author = people.get(message.author_operator_id) if message.author_operator_id else None
        event = _event(stage, "MENTION", message, at, text=message.content[:200])
        for name in message.mentions:
            _tell(
                stage,
                event,
                agents[name],
                NotificationType.MENTION,
                NotificationSeverity.INFO,
                f"{author.name if author else 'Somebody'} wrote to you",
                body=message.content[:200],
                task_id=message.task_id,
                message_id=message.id,
                from_operator_id=message.author_operator_id,
                read_after=timedelta(seconds=40),
            )


def _releases(stage: Stage) -> None:
    people = {one.id: one for one in stage.people.values()}
    owners = {one["key"]: [stage.people[key] for key in one["owners"]] for one in stage.company["templates"]}
    keys = {template.id: key for key, template in stage.templates.items()}
    for row in stage.all(Deployment):
        if row.activated_at is None or row.activated_at < stage.now - timedelta(days=26):
            continue
        back = "rollbackOf" in (row.metadata_ or {})
        kind = "DEPLOYMENT_ROLLED_BACK" if back else "DEPLOYMENT_ACTIVATED"
        event = _event(stage, kind, row, row.activated_at, status=DeploymentStatus.ACTIVE)
        template = stage.templates[keys[row.template_id]]
        for owner in owners[keys[row.template_id]]:
            _tell(
                stage,
                event,
                owner,
                NotificationType.DEPLOYMENT_ACTIVATED,
                NotificationSeverity.WARNING if back else NotificationSeverity.SUCCESS,
                f"{template.name}: {'the version before is back' if back else 'a new version is in force'}",
                deployment_id=row.id,
                from_operator_id=people[row.created_by_operator_id].id,
                read_after=timedelta(hours=2),
            )


def _alerts(stage: Stage) -> None:
    """People hear of alerts; what is critical goes to everybody, and one event still waits to be told."""
    active = [one for one in stage.people.values() if one.status is OperatorStatus.ACTIVE]
    for alert in list(stage.all(Alert)):
        at = created_at(alert.id)
        if at < stage.now - _FORTNIGHT:
            continue
        event = _event(stage, "ALERT_OPENED", alert, at, type=alert.type, severity=alert.severity)
        critical = alert.severity is AlertSeverity.CRITICAL
        for person in active if critical else active[:2]:
            _tell(
                stage,
                event,
                person,
                NotificationType.ALERT,
                _SEVERITY[alert.severity],
                alert.title,
                body=alert.description,
                task_id=alert.task_id,
                from_instance_id=alert.instance_id,
                read_after=None if alert.status in {None, AlertStatus.OPEN} else timedelta(minutes=9),
            )
    last = stage.all(Task)[-1]
    waiting = _event(stage, "TASK_TRANSITIONED", last, stage.ago(minutes=0.1), status=last.status)
    waiting.processed_at = None
    waiting.attempts = 0


def _preferences(stage: Stage) -> None:
    for number, person in enumerate(stage.people.values()):
        if person.status is not OperatorStatus.ACTIVE or number > 5:
            continue
        joined = created_at(person.id) + timedelta(days=1)
        for channel, enabled, filters, frequency in (
            (NotificationChannel.IN_APP, True, None, "immediate"),
            (NotificationChannel.EMAIL, number % 2 == 0, {"minSeverity": "WARNING"}, "daily"),
        ):
            stage.add(
                NotificationPreference(
                    id=stage.id(joined),
                    operator_id=person.id,
                    channel=channel,
                    enabled=enabled,
                    filters=filters,
                    frequency=frequency,
                    updated_at=joined,
                )
            )
