"""Commands of runs: begin, tell of a step, report what was spent, end (RUN-1 to RUN-5, COST-1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.ending import Subjects, Usage, charge, end_run, hold_spent_task, lock_subjects, tokens_of
from app.execution.machines import RUN, TASK
from app.execution.refs import run_refs
from app.execution.rules.prices import Tokens
from app.execution.standing import hold_mode, is_agent
from app.governance.commands.policy import evaluate_policy
from app.governance.loading import policies_for
from app.governance.policy import ActionType
from app.governance.policy.budget import narrowed
from app.governance.policy.risk import redact
from app.governance.traces import scoped_key
from app.lifecycle import refuse_step
from app.registry.commands.children import parent_task_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import OpEventType, PolicyVerdict, RunStatus
from db.ids import new_id
from db.models import AgentInstance, AgentVersion, Run, Task, Tenant

_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_MOST_TOKENS: Final = 2**31 - 1
_MOST_DOLLARS: Final = Decimal(10) ** 9
_ENDS: Final = (RunStatus.COMPLETED, RunStatus.FAILED)
_NO_RUN: Final = "No such run."
_MISSION: Final = "missionStatement"


@command("execute:runs", OpEventType.RUN_STARTED, callers=_AGENT_OR_PERSON)
async def start_run(
    uow: UnitOfWork,
    instance_id: UUID,
    model: str,
    session_key: str,
    task_id: UUID | None = None,
    estimated_cost_usd: float | None = None,
    estimated_tokens: int | None = None,
    justification: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """RUN-1 to RUN-3. Begin a run of an agent, if the emergency, its state, its budgets and its policy let it.

    The run is bound to the exact version of its agent; a child's is for the task that it was started for, unless it
    names another, so that its cost counts there (POL-9). Where policy does not let it begin there is a verdict in the
    run's place, and with NEEDS_APPROVAL a request: once that is approved, the same start with a new key goes ahead.
    """
    for name, value in (("model", model), ("session_key", session_key)):
        if not value.strip():
            return Refused(Refusal.VALIDATION_ERROR, "It is blank.", name)
    await hold_mode(uow)
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None or (is_agent(uow) and instance.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id, instance_id=instance.id)
    key = scoped_key(instance.id, uow.key) or str(new_id(uow.now))
    if (known := await _known(uow, key)) is not None:
        return Done(known, is_replay=True)
    task_id = task_id or parent_task_of(instance)
    task = await uow.lock(Task, task_id)
    if refused := await _refuse_task(uow, instance, task_id, task):
        return refused
    decided = await evaluate_policy(
        uow,
        instance_id=instance.id,
        action_type=ActionType.RUN_START,
        task_id=task_id,
        estimated_cost_usd=estimated_cost_usd,
        estimated_tokens=estimated_tokens,
        justification=justification,
    )
    if isinstance(decided, Refused):
        return decided
    if decided.extras["policy_decision"]["decision"] != PolicyVerdict.ALLOW.value:
        return decided
    run = await _insert(uow, instance, task_id, key, model.strip(), session_key.strip(), metadata)
    return Done(run, decided.extras)


async def _known(uow: UnitOfWork, key: str) -> Run | None:
    """RUN-2. The run that the key began before, however long ago."""
    return (
        await uow.session.scalars(select(Run).where(Run.tenant_id == uow.tenant_id, Run.idempotency_key == key))
    ).first()


async def _refuse_task(
    uow: UnitOfWork, instance: AgentInstance, task_id: UUID | None, task: Task | None
) -> Refused | None:
    """RUN-2. Why no run works on this task: it is another project's, it is over, or it has spent its budget."""
    if task_id is None:
        return None
    if task is None or task.project_id != instance.project_id:
        return Refused(Refusal.NOT_FOUND, "The agent's project has no such task.", "task_id")
    if not TASK[task.status]:
        return Refused(Refusal.DEPENDENCY_NOT_MET, f"The task is {task.status.value}: it is over.", "task_id")
    if task.budget_allocated is not None and task.actual_cost >= task.budget_allocated:
        await hold_spent_task(uow, task, instance_id=instance.id)
        message = "The task has spent its budget. It goes on when a BUDGET_OVERRIDE for it is approved (BUD-5)."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "task_id", keeps=True)
    return None


async def _insert(
    uow: UnitOfWork,
    instance: AgentInstance,
    task_id: UUID | None,
    key: str,
    model: str,
    session_key: str,
    metadata: JsonObject | None,
) -> Run:
    """RUN-3. The run at its agent's version, with the limit of a run as it is now."""
    version = await uow.get(AgentVersion, instance.version_id)
    policy = (await policies_for(uow, [instance.id]))[instance.id]
    caps = {name: Decimal(str(cap)) for name, cap in (instance.cost_caps or {}).items() if cap is not None}
    notes = dict(metadata or {})
    settings = await uow.session.scalar(select(Tenant.settings).where(Tenant.id == uow.tenant_id))
    if mission := (settings or {}).get(_MISSION):
        notes[_MISSION] = mission
    run = uow.add(
        Run(
            project_id=instance.project_id,
            idempotency_key=key,
            instance_id=instance.id,
            version_id=instance.version_id,
            template_id=None if version is None else version.template_id,
            task_id=task_id,
            session_key=session_key,
            started_at=uow.now,
            model=model,
            budget_allocated=narrowed(policy.cost_limits, caps, "perRunUsd"),
            status=RunStatus.RUNNING,
            input_tokens=0,
            output_tokens=0,
            cost_usd=Decimal(0),
            metadata_=notes or None,
        )
    )
    uow.emit(OpEventType.RUN_STARTED, **run_refs(run), model=model, payload={"model": model, "sessionKey": session_key})
    return run


@command("execute:runs", OpEventType.RUN_STEP, callers=_AGENT_OR_PERSON)
async def record_run_step(
    uow: UnitOfWork, run_id: UUID, index: int, kind: str, summary: str | None = None
) -> Done | Refused:
    """RUN-5. Tell of a step of a run that is under way."""
    about = await _reported(uow, run_id)
    if isinstance(about, Refused):
        return about
    if index < 0:
        return Refused(Refusal.VALIDATION_ERROR, "Steps are counted from 0.", "index")
    if not kind.strip():
        return Refused(Refusal.VALIDATION_ERROR, "It is blank.", "kind")
    uow.emit(
        OpEventType.RUN_STEP,
        **run_refs(about.run),
        payload={"index": index, "kind": kind.strip(), **({"summary": summary} if summary else {})},
    )
    return Done(about.run)


@command("execute:runs", OpEventType.COST_TICK, callers=_AGENT_OR_PERSON)
async def record_cost(
    uow: UnitOfWork,
    run_id: UUID,
    cost_usd: float | None = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cache_read_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    model: str | None = None,
) -> Done | Refused:
    """COST-1, BUD-4. Report what a run under way has used in all so far; the difference moves the agent's counters, and
    where it uses up a limit the agent is paused in the same transaction."""
    about = await _reported(uow, run_id)
    if isinstance(about, Refused):
        return about
    usage = _usage(about, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, model)
    if isinstance(usage, Refused):
        return usage
    if await charge(uow, about, usage) is None:
        message = "Nothing was used since the last report. Report totals of the run, not what was added."
        return Refused(Refusal.VALIDATION_ERROR, message, "cost_usd")
    return Done(about.run)


@command("execute:runs", OpEventType.RUN_COMPLETED, callers=_AGENT_OR_PERSON)
async def complete_run(
    uow: UnitOfWork,
    run_id: UUID,
    status: RunStatus | None = None,
    error: str | None = None,
    cost_usd: float | None = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cache_read_tokens: int | None = None,
    cache_write_tokens: int | None = None,
    model: str | None = None,
) -> Done | Refused:
    """RUN-1, RUN-4. End a run, with what it has used in all; with an error it FAILED. It ends once.

    Its open tool calls end with it, its cost goes to its task, and used-up budgets stop the agent or hold the task.
    """
    about = await _own(uow, run_id)
    if isinstance(about, Refused):
        return about
    goal = RunStatus.FAILED if (error or "").strip() else status or RunStatus.COMPLETED
    if goal not in _ENDS:
        message = f"A run is ended as {' or '.join(one.value for one in _ENDS)}."
        return Refused(Refusal.VALIDATION_ERROR, message, "status")
    if refused := refuse_step(RUN, about.run.status, goal, uow.actor_type):
        return Refused(refused.code, refused.message, "run_id", refused.allowed)
    usage = _usage(about, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, model)
    if isinstance(usage, Refused):
        return usage
    await end_run(uow, about, goal, error=redact((error or "").strip()) or None, usage=usage)
    return Done(about.run)


# --- What reports have in common --------------------------------------------------------------------------------------


async def _own(uow: UnitOfWork, run_id: UUID) -> Subjects | Refused:
    """RBAC-11. The run, where the caller may report of it; an agent sees its own alone."""
    about = await lock_subjects(uow, run_id)
    if about is None or (is_agent(uow) and about.run.instance_id != uow.actor.id):
        return Refused(Refusal.NOT_FOUND, _NO_RUN, "run_id")
    instance = about.instance
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id, instance_id=instance.id)
    return about


async def _reported(uow: UnitOfWork, run_id: UUID) -> Subjects | Refused:
    """The same, where the run is under way."""
    about = await _own(uow, run_id)
    if isinstance(about, Subjects) and about.run.status is not RunStatus.RUNNING:
        message = f"The run is {about.run.status.value}: it has ended."
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "run_id", ())
    return about


def _usage(
    about: Subjects,
    cost_usd: float | None,
    input_tokens: int | None,
    output_tokens: int | None,
    cache_read_tokens: int | None,
    cache_write_tokens: int | None,
    model: str | None,
) -> Usage | Refused:
    """What was used in all; never less than was reported before, since ticks are not taken back (COST-1)."""
    so_far = tokens_of(about.run)
    given = {
        "input": input_tokens,
        "output": output_tokens,
        "cache_read": cache_read_tokens,
        "cache_write": cache_write_tokens,
    }
    for name, number in given.items():
        known = getattr(so_far, name)
        if number is not None and not known <= number <= _MOST_TOKENS:
            message = f"{known} were reported before; give the run's total, {known} to {_MOST_TOKENS}."
            return Refused(Refusal.VALIDATION_ERROR, message, f"{name}_tokens")
    cost = None if cost_usd is None else Decimal(repr(cost_usd))
    if cost is not None and not about.run.cost_usd <= cost <= _MOST_DOLLARS:
        message = f"{about.run.cost_usd:f} US dollars were reported before; give the run's total, that or more."
        return Refused(Refusal.VALIDATION_ERROR, message, "cost_usd")
    if model is not None and not model.strip():
        return Refused(Refusal.VALIDATION_ERROR, "It is blank.", "model")
    tokens = Tokens(*(getattr(so_far, name) if number is None else number for name, number in given.items()))
    return Usage(tokens, cost, None if model is None else model.strip())
