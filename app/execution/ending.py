"""What a run costs, and how it ends: one way for agents that report, and for jobs that end what nobody reports (RUN-4,
RUN-6, COST-1, BUD-5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.execution.holding import return_tasks
from app.execution.machines import TOOL_CALL
from app.execution.moving import move_task
from app.execution.refs import call_refs, run_refs
from app.execution.rules.prices import PRICES_KEY, Tokens, cost_of, is_mismatch, price_of
from app.governance.approving import make_request
from app.governance.budgets import EXTRA_SHARE
from app.governance.deciding import OPEN, withdraw_for_calls
from app.governance.policy.budget import dollars
from app.governance.spend import Tick, spend
from app.lifecycle import allowed_from
from app.redaction import title_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ActorType,
    AlertSeverity,
    ChangeRecordType,
    OpEventType,
    RiskLevel,
    RunStatus,
    TaskStatus,
    ToolCallStatus,
)
from db.models import AgentInstance, ApprovalRecord, Provider, Run, Task, ToolCall

INFERENCE: Final = "inference"
"""Source of a tick that a run's own models cost (COST-1)."""
_TOKEN_COLUMNS: Final = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
}
_SUCCEEDED: Final = RunStatus.COMPLETED
_DONE: Final = ToolCallStatus.SUCCESS
_WENT_WITH_RUN: Final = "ended with its run"
_NOT_WANTED: Final = "its run ended before anybody approved it"


@dataclass(frozen=True)
class Usage:
    """What a run has used in all, as its agent reports it; None where it does not say."""

    tokens: Tokens | None = None
    cost_usd: Decimal | None = None
    model: str | None = None


@dataclass(frozen=True)
class Subjects:
    """The rows that a report is about, locked in the one order: the agent, its task, the run."""

    instance: AgentInstance
    task: Task | None
    run: Run


async def lock_subjects(uow: UnitOfWork, run_id: UUID) -> Subjects | None:
    """The run with its agent and its task, locked; None where the tenant has no such run."""
    keys = select(Run.instance_id, Run.task_id).where(Run.tenant_id == uow.tenant_id, Run.id == run_id)
    found = (await uow.session.execute(keys)).first()
    if found is None:
        return None
    instance = await uow.lock(AgentInstance, found.instance_id)
    task = await uow.lock(Task, found.task_id)
    run = await uow.lock(Run, run_id)
    return None if instance is None or run is None else Subjects(instance, task, run)


async def charge(
    uow: UnitOfWork,
    about: Subjects,
    usage: Usage,
    *,
    source: str = INFERENCE,
    event_id: str | None = None,
    at: datetime | None = None,
) -> UUID | None:
    """COST-1, COST-2. Bring a run up to what it has used in all: the difference is one tick, which moves the agent's
    counters. Returns the tick's event, None where there is nothing to add.

    `event_id` is the sender's own id of the tick, which then has the time `at`. Without a cost the tokens' price is the
    cost; a cost that does not fit its tokens is kept, and marked. The caller
    has seen to it that nothing is taken back (`refuse_less`).
    """
    run = about.run
    before = tokens_of(run)
    tokens = usage.tokens or before
    added = Tokens(*(getattr(tokens, name) - getattr(before, name) for name in _TOKEN_COLUMNS))
    model = usage.model or run.model
    total, computed = usage.cost_usd, None
    if added:
        computed = cost_of(added, price_of(model, await _own_prices(uow, about.instance)))
        total = run.cost_usd + computed if total is None else total
    delta = (run.cost_usd if total is None else total) - run.cost_usd
    if not delta and not added:
        return None
    for name, column in _TOKEN_COLUMNS.items():
        if getattr(tokens, name) or getattr(run, column) is not None:
            setattr(run, column, getattr(tokens, name))
    run.model, run.cost_usd = model, run.cost_usd + delta
    payload: JsonObject = {
        "runId": str(run.id),
        "taskId": None if run.task_id is None else str(run.task_id),
        "model": model,
        "inputTokens": added.input,
        "outputTokens": added.output,
        "cacheReadTokens": added.cache_read,
        "cacheWriteTokens": added.cache_write,
        "deltaUsd": float(delta),
        "totalUsd": float(run.cost_usd),
        "source": source,
    }
    if computed is not None and is_mismatch(delta, computed):
        payload |= {"costMismatch": True, "expectedUsd": float(computed)}
    tick = Tick(delta, run.cost_usd, payload, model, run.id, run.task_id, event_id, at)
    return await spend(uow, about.instance, tick)


def tokens_of(run: Run) -> Tokens:
    """What a run has used so far."""
    return Tokens(*(getattr(run, column) or 0 for column in _TOKEN_COLUMNS.values()))


async def _own_prices(uow: UnitOfWork, instance: AgentInstance) -> Any:
    """The prices that the agent's vendor asks, where the tenant has set them (COST-2)."""
    if instance.provider_id is None:
        return None
    provider = await uow.get(Provider, instance.provider_id)
    return None if provider is None else (provider.config or {}).get(PRICES_KEY)


async def end_run(
    uow: UnitOfWork,
    about: Subjects,
    status: RunStatus,
    *,
    error: str | None = None,
    usage: Usage | None = None,
    at: datetime | None = None,
) -> UUID:
    """RUN-4. End a RUNNING run with all that hangs on it, now or as of `at`; returns the id of its event.

    Its open tool calls end with it, and so do the requests that they waited for; its cost goes to its task, and a
    budget that this used up holds the task (BUD-5).
    """
    run, ended = about.run, at or uow.now
    run.status, run.error, run.ended_at = status, error, ended
    run.duration_ms = max(0, int((ended - run.started_at).total_seconds() * 1000))
    await _close_calls(uow, about)
    if usage is not None:
        await charge(uow, about, usage)
    event_id = uow.emit(
        OpEventType.RUN_COMPLETED if status is _SUCCEEDED else OpEventType.RUN_FAILED,
        timestamp=ended,
        **run_refs(run),
        model=run.model,
        payload={
            "status": status.value,
            "costUsd": float(run.cost_usd),
            "durationMs": run.duration_ms,
            "inputTokens": run.input_tokens,
            "outputTokens": run.output_tokens,
            **({"error": error} if error else {}),
        },
    )
    if run.budget_allocated is not None and run.cost_usd > run.budget_allocated:
        _alert(uow, about, f"The run cost {dollars(run.cost_usd)} of the {dollars(run.budget_allocated)} it may.")
    if about.task is not None:
        await charge_task(uow, about.task, run)
    return event_id


async def _close_calls(uow: UnitOfWork, about: Subjects) -> None:
    """RUN-4, TOL-1, TOL-2. What still runs has ended as its run did; what still waits for approval is not wanted any
    more, nor is the approval: its request is withdrawn, and the task that it held goes on where it was."""
    run = about.run
    open_calls = select(ToolCall.id).where(
        ToolCall.tenant_id == uow.tenant_id,
        ToolCall.run_id == run.id,
        ToolCall.status.in_((ToolCallStatus.PENDING, ToolCallStatus.RUNNING)),
    )
    calls = await uow.lock_all(ToolCall, list(await uow.session.scalars(open_calls)))
    waiting = [call.id for call in calls if call.status is ToolCallStatus.PENDING]
    withdrawn = await withdraw_for_calls(uow, waiting, _NOT_WANTED) if waiting else {}
    for change_id, approval in withdrawn.items():
        if about.task is not None and approval.task_id == about.task.id:
            await return_tasks(uow, approval, [about.task.id], change_id)
    for call in calls:
        if call.status is ToolCallStatus.PENDING:
            end_call(uow, call, ToolCallStatus.DENIED, error=_NOT_WANTED)
        elif call.status is ToolCallStatus.RUNNING:
            goal = _DONE if run.status is _SUCCEEDED else ToolCallStatus.FAILED
            end_call(uow, call, goal, error=_WENT_WITH_RUN)


def end_call(
    uow: UnitOfWork,
    call: ToolCall,
    status: ToolCallStatus,
    *,
    error: str | None,
    change_record_id: UUID | None = None,
    decided: JsonObject | None = None,
) -> UUID:
    """TOL-4. End a locked tool call; returns the id of its event. One that was DENIED never ran, and has no duration.

    `error` counts where it did not succeed. `change_record_id` and `decided` are the record of the decision that ended
    it, and what the event says of that.
    """
    assert status.value in allowed_from(TOOL_CALL, call.status, ActorType.SYSTEM)  # noqa: S101 - the caller's to see to
    call.status, call.ended_at = status, uow.now
    call.error = error if status is not _DONE else None
    has_run = status is not ToolCallStatus.DENIED
    call.duration_ms = max(0, int((uow.now - call.started_at).total_seconds() * 1000)) if has_run else None
    return uow.emit(
        OpEventType.TOOL_CALL_COMPLETED if has_run else OpEventType.TOOL_CALL_BLOCKED,
        change_record_id=change_record_id,
        **call_refs(call),
        payload={
            "toolName": call.tool_name,
            "status": status.value,
            **({"durationMs": call.duration_ms} if has_run else {}),
            **({"error": call.error} if call.error else {}),
            **(decided or {}),
        },
    )


async def charge_task(uow: UnitOfWork, task: Task, run: Run) -> None:
    """RUN-4, BUD-5. Add a run's cost to its task, and hold the task where that used up its budget."""
    before = task.actual_cost
    task.actual_cost += run.cost_usd
    if task.budget_allocated is None:
        return
    task.budget_remaining = max(task.budget_allocated - task.actual_cost, Decimal(0))
    if before < task.budget_allocated <= task.actual_cost:
        await hold_spent_task(uow, task, instance_id=run.instance_id)


async def hold_spent_task(uow: UnitOfWork, task: Task, *, instance_id: UUID | None = None) -> None:
    """BUD-5. A locked task has spent its budget: it waits for somebody to allow more. Nothing happens twice while such
    a request is open."""
    assert task.budget_allocated is not None  # noqa: S101 - the caller looked
    if await _is_asked(uow, task):
        return
    reason = f"The task has cost {dollars(task.actual_cost)} of its {dollars(task.budget_allocated)}."
    cause = uow.record(
        ChangeRecordType.BUDGET_EXCEEDED,
        task,
        after={"scope": "TASK", "limit": float(task.budget_allocated), "spend": float(task.actual_cost)},
        reason=reason,
        by_system=True,
        caused_by_id=uow.first_change,
        instance_id=instance_id,
    )
    if task.status is TaskStatus.IN_PROGRESS:
        await move_task(uow, task, TaskStatus.NEEDS_APPROVAL, reason=reason, by_system=True, caused_by_id=cause)
    uow.alert(
        "BUDGET_EXCEEDED",
        AlertSeverity.WARNING,
        "A task's budget is used up",
        f"{title_of(task)}: {reason}",
        task_id=task.id,
        project_id=task.project_id,
    )
    make_request(
        uow,
        "BUDGET_OVERRIDE",
        action_summary=f"Let “{title_of(task)}” cost more.",
        justification=reason,
        risk_level=RiskLevel.YELLOW,
        target=task,
        by_system=True,
        instance_id=instance_id,
        estimated_cost=float(task.budget_allocated * EXTRA_SHARE),
        project_id=task.project_id,
        task_id=task.id,
        caused_by_id=cause,
    )


async def _is_asked(uow: UnitOfWork, task: Task) -> bool:
    waiting = select(ApprovalRecord.id).where(
        ApprovalRecord.tenant_id == uow.tenant_id,
        ApprovalRecord.target_entity == Task.__name__,
        ApprovalRecord.target_id == task.id,
        ApprovalRecord.request_type == "BUDGET_OVERRIDE",
        ApprovalRecord.status.in_(OPEN),
    )
    return await uow.session.scalar(waiting.limit(1)) is not None


def _alert(uow: UnitOfWork, about: Subjects, text: str) -> None:
    """RUN-4. A run that cost more than it may: it has ended all the same."""
    uow.alert(
        "BUDGET_EXCEEDED",
        AlertSeverity.WARNING,
        "A run cost more than it may",
        text,
        instance_id=about.run.instance_id,
        project_id=about.run.project_id,
        run_id=about.run.id,
        task_id=about.run.task_id,
    )
