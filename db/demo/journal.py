"""The journal of security, the last heartbeats, and the figures that follow from all that was told before."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from db.demo.fleet import midnight
from db.demo.people import founder
from db.demo.stage import HEARTBEATS_FROM, SYSTEM, Actor, Stage, actor
from db.demo.tasks import Piece
from db.enums import AuditSeverity, InstanceState, OperatorStatus, OpEventType, TaskStatus
from db.models import AuditLog, OperatorControl, RoleAssignment

_BEATING: Final = {InstanceState.ACTIVE, InstanceState.READONLY, InstanceState.DRAINING}
_BEAT: Final = timedelta(minutes=3)
_BROWSER: Final = "Mozilla (browser)"


def build(stage: Stage, pieces: list[Piece]) -> None:
    """What comes last, since it looks back on everything."""
    _sign_ins(stage)
    _grants(stage)
    _modes(stage)
    _refusals(stage)
    _heartbeats(stage, pieces)
    _spending(stage)


def pseudonym(email: str) -> str:
    """A person in the audit log, where neither name nor address belongs (PII-2)."""
    return "user_" + hashlib.sha256(email.strip().lower().encode()).hexdigest()[:16]


def _log(
    stage: Stage,
    at: datetime,
    severity: AuditSeverity,
    action: str,
    by: Actor,
    resource: str,
    resource_id: UUID | None,
    description: str,
) -> None:
    by_person = by is not SYSTEM
    stage.add(
        AuditLog(
            id=stage.id(at),
            severity=severity,
            action=action,
            actor_type=by.type,
            actor_id=by.id,
            resource=resource,
            resource_id=str(resource_id) if resource_id else None,
            description=description,
            ip_address="192.0.2.0" if by_person else None,
            user_agent=_BROWSER if by_person else None,
            timestamp=at,
        )
    )


def _sign_ins(stage: Stage) -> None:
    for person in stage.people.values():
        who = pseudonym(person.email)
        if person.last_login_at is not None:
            for earlier in (2.1, 1.0, 0.0):
                at = person.last_login_at - timedelta(days=earlier)
                _log(stage, at, AuditSeverity.INFO, "LOGIN", actor(person), "operators", person.id, f"{who} signed in.")
        if person.status is OperatorStatus.SUSPENDED:
            at = stage.ago(33)
            _log(
                stage,
                at,
                AuditSeverity.WARNING,
                "OPERATOR_UPDATED",
                actor(founder(stage)),
                "operators",
                person.id,
                f"{who} was suspended.",
            )
            _log(
                stage,
                stage.ago(12.3),
                AuditSeverity.WARNING,
                "LOGIN_FAILED",
                SYSTEM,
                "operators",
                person.id,
                f"{who} is suspended and was turned away.",
            )


def _grants(stage: Stage) -> None:
    people = {one.id: one for one in stage.people.values()}
    for row in stage.all(RoleAssignment):
        giver = people.get(row.assigned_by_operator_id) if row.assigned_by_operator_id else None
        holder = pseudonym(people[row.operator_id].email)
        if row.assigned_at > stage.now - timedelta(days=90) or giver is None:
            _log(
                stage,
                row.assigned_at,
                AuditSeverity.INFO,
                "ROLE_ASSIGNED",
                actor(giver),
                "roles",
                row.role_id,
                f"{holder} was given a role.",
            )


def _modes(stage: Stage) -> None:
    people = {one.id: one for one in stage.people.values()}
    for row in stage.all(OperatorControl):
        by = people[row.updated_by_operator_id] if row.updated_by_operator_id else None
        _log(
            stage,
            row.updated_at,
            AuditSeverity.WARNING,
            "OPERATOR_MODE_CHANGED",
            actor(by),
            "control",
            row.id,
            f"The mode became {row.mode}.",
        )


def _refusals(stage: Stage) -> None:
    viewer = next(
        stage.people[one["key"]] for one in stage.company["people"] if [r["role"] for r in one["roles"]] == ["Viewer"]
    )
    who = pseudonym(viewer.email)
    _log(
        stage,
        stage.ago(3.3),
        AuditSeverity.WARNING,
        "ACCESS_DENIED",
        actor(viewer),
        "approvals",
        None,
        f"{who} may not do approve:approvals.",
    )
    agent = next(iter(stage.instances.values()))
    _log(
        stage,
        stage.ago(8.8),
        AuditSeverity.ERROR,
        "CROSS_TENANT_ATTEMPT",
        actor(agent),
        "tasks",
        None,
        "An agent asked for a task of another tenant and was told that there is none.",
    )
    _log(
        stage,
        stage.ago(0.6),
        AuditSeverity.INFO,
        "RETENTION_PURGE",
        SYSTEM,
        "op_events",
        None,
        "Nothing was older than 30 days.",
    )


def _heartbeats(stage: Stage, pieces: list[Piece]) -> None:
    """A heartbeat every three minutes of the last nine, and the task that the agent named in it (HB-1)."""
    for agent in stage.instances.values():
        last = agent.heartbeat_at
        busy = [one.task for one in pieces if one.agent is agent and one.task.status is TaskStatus.IN_PROGRESS]
        task = busy[-1] if busy else None
        if agent.state in _BEATING and task is not None:
            stage.current_tasks[agent.id] = task.id
        if agent.state not in _BEATING or last is None:
            continue
        at = last - HEARTBEATS_FROM
        while at <= last:
            if agent.activated_at and at > agent.activated_at:
                stage.event(OpEventType.HEARTBEAT, at, instance=agent, task=task, payload={"health": "ok"})
            at += _BEAT


def _spending(stage: Stage) -> None:
    """Spend counters follow from the cost ticks alone (COST-1)."""
    today, month = midnight(stage), midnight(stage).replace(day=1)
    daily: dict[UUID, Decimal] = defaultdict(Decimal)
    monthly: dict[UUID, Decimal] = defaultdict(Decimal)
    for event in stage.events:
        if event.delta_usd is None or event.instance_id is None:
            continue
        if event.timestamp >= month:
            monthly[event.instance_id] += event.delta_usd
        if event.timestamp >= today:
            daily[event.instance_id] += event.delta_usd
    for agent in stage.instances.values():
        agent.spend_today = daily[agent.id]
        agent.spend_month = monthly[agent.id]
