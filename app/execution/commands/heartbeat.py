"""The heartbeat: an agent says that it lives, and hears what there is for it to do (HB-1 to HB-3)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.answering import Facts, budget_of, claimable_tasks, facts_for
from app.execution.rules.work import NEEDS_TIER
from app.execution.standing import is_agent
from app.governance.policy.action import is_too_deep
from app.governance.policy.risk import redact, redact_value
from app.governance.spend import reset_if_due
from app.lifecycle import allowed_from
from app.registry.commands import move_instance
from app.registry.commands.upkeep import block_work, patience_of
from app.registry.machines import INSTANCE
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ActorType,
    AlertSeverity,
    ChangeRecordType,
    InstanceState,
    OperatorMode,
    OpEventType,
    PauseCause,
    TaskStatus,
)
from db.models import AgentInstance, Task

EVENT_EVERY: Final = timedelta(seconds=30)
"""HB-1. There is at most one HEARTBEAT event of an agent in this time."""
WARN_AT: Final = 3
"""HB-3. Errors in a row that people hear of."""
QUARANTINE_AT: Final = 5
"""HB-3. Errors in a row that quarantine the agent."""
ERROR_STREAK: Final = "AGENT_ERROR_STREAK"
LONGEST_ERROR: Final = 2_000
MOST_HEALTH: Final = 4_000
"""Characters of `health` as JSON."""
_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_SILENT: Final = (InstanceState.PAUSED, InstanceState.QUARANTINED)
"""INS-4. States whose heartbeats leave no event."""


@command("write:instances", OpEventType.HEARTBEAT, callers=_AGENT_OR_PERSON, own="instance_id")
async def beat(
    uow: UnitOfWork,
    instance_id: UUID,
    current_task_id: UUID | None = None,
    session_key: str | None = None,
    error_message: str | None = None,
    soul_hash: str | None = None,
    health: JsonObject | None = None,
) -> Done | Refused:
    """HB-1, HB-2, HB-3. Say that an agent lives, how it is and what it works on; hear what waits for it.

    An agent speaks for itself alone, also while it is PAUSED or QUARANTINED, and a person for the agents that they run
    by hand. Three errors in a row raise an alert, five
    quarantine it. The messages of the answer count as read. It is an event once in 30 seconds, and no change record.
    """
    if is_too_deep(health) or len(json.dumps(health)) > MOST_HEALTH:
        message = f"`health` has at most {MOST_HEALTH} characters as JSON, and is not nested deeply."
        return Refused(Refusal.VALIDATION_ERROR, message, "health")
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    if not is_agent(uow):
        uow.permit(project_id=instance.project_id, environment_id=instance.environment_id)
    if instance.state is InstanceState.RETIRED:
        message = "The agent is RETIRED; nobody listens to it any more (INS-4)."
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "instance_id")
    if current_task_id not in (None, instance.current_task_id):
        task = await uow.get(Task, current_task_id)
        if task is None or task.project_id != instance.project_id:
            return Refused(Refusal.NOT_FOUND, "No such task.", "current_task_id")
    facts = await facts_for(uow.session, instance, uow.now)
    is_told = instance.state not in _SILENT and _is_due(instance.heartbeat_event_at, uow.now)
    was_failing = instance.error_streak >= WARN_AT
    is_new_error = _count(instance, error_message, uow.now)
    instance.heartbeat_at, instance.current_task_id = uow.now, current_task_id
    _keep_report(instance, {"sessionKey": session_key, "soulHash": soul_hash, "health": health})
    if not (instance.state is InstanceState.PAUSED and instance.paused_by is PauseCause.BUDGET):
        reset_if_due(instance, uow.now, facts.zone)  # that one's day ends with the job, which resumes it
    if is_told:
        instance.heartbeat_event_at = uow.now
        _tell(uow, instance)
    if is_new_error:
        await _judge(uow, instance)
    elif was_failing and instance.error_streak == 0:
        await uow.resolve_alerts(ERROR_STREAK, "It reports no error any more.", instance_ids=[instance.id])
    return Done(instance, await _answer(uow, instance, facts, soul_hash))


def _is_due(last: datetime | None, now: datetime) -> bool:
    return last is None or now - last >= EVENT_EVERY


def _count(instance: AgentInstance, error: str | None, now: datetime) -> bool:
    """HB-1. Count an error, or end the streak; whether it counted. The same minute's errors count once, so that a
    heartbeat that is sent again is not another one."""
    if not (error or "").strip():
        instance.error_streak = 0
        return False
    last = instance.heartbeat_at
    again = instance.error_streak > 0 and last is not None and _minute(last) == _minute(now)
    instance.error_streak += not again
    instance.last_error = redact(error or "")[:LONGEST_ERROR]
    return not again


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _keep_report(instance: AgentInstance, report: JsonObject) -> None:
    """What the agent said of itself, beside what its runtime says; what it did not say stays."""
    said = {key: redact_value(value) for key, value in report.items() if value is not None}
    known = instance.runtime_meta or {}
    if any(known.get(key) != value for key, value in said.items()):
        instance.runtime_meta = {**known, **said}


def _tell(uow: UnitOfWork, instance: AgentInstance) -> None:
    uow.emit(
        OpEventType.HEARTBEAT,
        instance_id=instance.id,
        version_id=instance.version_id,
        project_id=instance.project_id,
        task_id=instance.current_task_id,
        payload={
            "state": instance.state.value,
            "errorStreak": instance.error_streak,
            **({"error": instance.last_error} if instance.error_streak else {}),
        },
    )


async def _judge(uow: UnitOfWork, instance: AgentInstance) -> None:
    """HB-3. What comes of so many errors in a row."""
    streak, name = instance.error_streak, instance.name or "An agent"
    if streak == WARN_AT:
        uow.alert(
            ERROR_STREAK,
            AlertSeverity.WARNING,
            f"{name} reports errors",
            f"{streak} in a row; {QUARANTINE_AT} quarantine it. The last one: {instance.last_error}",
            instance_id=instance.id,
            project_id=instance.project_id,
        )
    may = allowed_from(INSTANCE, instance.state, ActorType.SYSTEM)
    if streak < QUARANTINE_AT or InstanceState.QUARANTINED.value not in may:
        return
    reason = f"{streak} errors in a row"
    first = uow.record(
        ChangeRecordType.EMERGENCY_QUARANTINE,
        instance,
        before={"state": instance.state.value},
        after={
            "state": InstanceState.QUARANTINED.value,
            "cause": PauseCause.ERRORS.value,
            "errorStreak": streak,
        },
        reason=reason,
        by_system=True,
        instance_id=instance.id,
        version_id=instance.version_id,
    )
    move_instance(uow, instance, InstanceState.QUARANTINED, reason=reason, cause=PauseCause.ERRORS, caused_by_id=first)
    await block_work(uow, {instance.id: first}, PauseCause.ERRORS, reason, "its agent is quarantined")
    uow.alert(
        ERROR_STREAK,
        AlertSeverity.CRITICAL,
        f"{name} is quarantined",
        f"It reported {reason}. The last one: {instance.last_error}",
        instance_id=instance.id,
        project_id=instance.project_id,
    )


async def _answer(uow: UnitOfWork, instance: AgentInstance, facts: Facts, soul_hash: str | None) -> JsonObject:
    """HB-2. The answer, as plain values: an agent that may read nothing gets it too."""
    budget = budget_of(instance, facts.policy.cost_limits, uow.now, facts.zone)
    may_claim = (
        instance.state is InstanceState.ACTIVE
        and facts.mode is OperatorMode.NORMAL
        and not budget.is_exceeded
        and facts.policy.tier >= NEEDS_TIER[TaskStatus.INBOX, TaskStatus.ASSIGNED]
    )
    return {
        "state": instance.state.value,
        "mode": facts.mode.value,
        "budget_remaining_usd": None if budget.remaining is None else float(budget.remaining),
        "budget_exceeded": budget.is_exceeded,
        "error_streak": instance.error_streak,
        "error_quarantine_warning": instance.error_streak >= WARN_AT,
        "stale_after_ms": int(patience_of(facts.heartbeat) / timedelta(milliseconds=1)),
        "soul_is_current": None if soul_hash is None or facts.soul_hash is None else soul_hash == facts.soul_hash,
        "pending_tasks": facts.pending_tasks,
        "claimable_tasks": await claimable_tasks(uow.session, instance, facts.policy) if may_claim else [],
        "pending_approvals": facts.approvals,
        "pending_notifications": facts.notifications,
    }
