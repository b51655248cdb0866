"""Commands of execution requests: work that agents hand to executors outside of the fleet (EXR-1 to EXR-3, EXE-1)."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import select, true

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.execution.machines import EXECUTION_REQUEST
from app.execution.rules.executors import RISKS, executor_for
from app.execution.standing import allows, hold_instances, hold_mode, is_agent
from app.governance.asking import exact_hash, refused_input
from app.governance.commands.policy import evaluate_policy
from app.governance.loading import policies_for
from app.governance.policy import ActionType, EffectivePolicy
from app.governance.policy.risk import redact, redact_value
from app.lifecycle import refuse_step
from app.registry.commands import mode_of
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import (
    ExecutionRequestStatus,
    ExecutionRequestType,
    ExecutorKind,
    InstanceState,
    OperatorMode,
    OpEventType,
    PolicyVerdict,
)
from db.ids import new_id
from db.models import ExecutionRequest, Task

_AGENT_OR_PERSON: Final = (ActorKind.OPERATOR, ActorKind.INSTANCE)
_ASSIGNED: Final = "EXECUTION_ASSIGNED"
_ENDED: Final = "EXECUTION_ENDED"
_FAILED: Final = "EXECUTION_FAILED"
_CLAIMED_AT: Final = "claimedAt"
_NO_REQUEST: Final = "No such execution request."
_NOTHING_WAITS: Final = "No request of the project waits for an agent. Ask again later."


@command("write:execution-requests", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def create_execution_request(
    uow: UnitOfWork,
    instance_id: UUID,
    type: ExecutionRequestType,
    payload: JsonObject,
    task_id: UUID | None = None,
    executor: ExecutorKind | None = None,
    estimated_cost_usd: float | None = None,
    justification: str | None = None,
    rollback_plan: str | None = None,
    metadata: JsonObject | None = None,
) -> Done | Refused:
    """EXR-1, EXE-1, POL-10. Hand work of an agent to an executor, if policy lets it begin: the executor asked for, else
    the one that does such work.

    It is routed at once, and so waits for its executor to claim it; secrets are taken out of it first (PII-4). Where
    policy does not let it go there is a verdict in its place, and with NEEDS_APPROVAL a request: once that is approved,
    the same work with a new key goes ahead.
    """
    if refused := _refuse_object(payload, "payload"):
        return refused
    await hold_mode(uow)
    instance = (await hold_instances(uow, [instance_id])).get(instance_id)
    if instance is None or (is_agent(uow) and instance.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id, instance_id=instance.id)
    if instance.state is not InstanceState.ACTIVE:
        message = f"The agent is {instance.state.value}; one that is ACTIVE begins new work."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "instance_id")
    if task_id is not None:
        task = await uow.get(Task, task_id)
        if task is None or task.project_id != instance.project_id:
            return Refused(Refusal.NOT_FOUND, "The agent's project has no such task.", "task_id")
    request = ExecutionRequest(
        id=new_id(uow.now),
        project_id=instance.project_id,
        task_id=task_id,
        requested_by_instance_id=instance.id,
        type=type,
        executor=executor_for(type, executor),
        status=ExecutionRequestStatus.ASSIGNED,
        payload=redact_value(payload),
        requested_at=uow.now,
        assigned_at=uow.now,
        metadata_=metadata,
    )
    decided = await evaluate_policy(
        uow,
        instance_id=instance.id,
        action_type=ActionType.RUN_START,
        tool_args={"type": type.value, "executor": request.executor.value, "payload": payload},
        risk_level=RISKS[type],
        estimated_cost_usd=estimated_cost_usd,
        task_id=task_id,
        justification=justification or f"{type.value} by {request.executor.value}.",
        rollback_plan=rollback_plan,
        if_allowed=_told(request, "EXECUTION_REQUESTED", type=type.value, executor=request.executor.value),
    )
    if isinstance(decided, Refused) or decided.extras["policy_decision"]["decision"] != PolicyVerdict.ALLOW.value:
        return decided
    return Done(uow.add(request), decided.extras)


@command("write:execution-requests", OpEventType.DECISION_MADE)
async def assign_execution_request(
    uow: UnitOfWork, request_id: UUID, executor: ExecutorKind | None = None
) -> Done | Refused:
    """EXR-1, EXE-1. Route a request that was released: to the executor named, else to the one that does such work."""
    await hold_mode(uow)
    request = await _own(uow, request_id)
    if isinstance(request, Refused):
        return request
    if refused := _refuse(uow, request, ExecutionRequestStatus.ASSIGNED):
        return refused
    if refused := await _refuse_emergency(uow, request.project_id):
        return refused
    request.executor = executor_for(request.type, executor)
    request.status, request.assigned_at = ExecutionRequestStatus.ASSIGNED, uow.now
    _note(uow, request, _ASSIGNED, executor=request.executor.value)
    _notify(uow, request, _ASSIGNED)
    return Done(request)


@command("execute:execution-requests", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def claim_execution_request(
    uow: UnitOfWork, request_id: UUID | None = None, executor_id: str | None = None
) -> Done | Refused:
    """EXR-1, EXR-2. Take a request that waits for its executor; of several that try, one gets it.

    An executor outside signs in as a person and says who it is. An agent takes what its project asks of agents, and
    where it names no request, the oldest one.
    """
    await hold_mode(uow)
    name = str(uow.actor.id) if is_agent(uow) else (executor_id or "").strip()
    if not name:
        return Refused(Refusal.VALIDATION_ERROR, "Say which executor claims it.", "executor_id")
    if request_id is None and not is_agent(uow):
        return Refused(Refusal.VALIDATION_ERROR, "Name the request; only an agent takes the oldest.", "request_id")
    request = await (_oldest(uow) if request_id is None else _own(uow, request_id))
    if isinstance(request, Refused):
        return request
    if refused := _refuse(uow, request, ExecutionRequestStatus.IN_PROGRESS):
        return refused
    if is_agent(uow):
        if uow.actor.instance_state != InstanceState.ACTIVE:
            message = f"The agent is {uow.actor.instance_state}; one that is ACTIVE begins new work."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message)
        if request.executor is not ExecutorKind.OPENCLAW_AGENT:
            message = f"The request waits for {request.executor.value}, not for an agent."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message, "request_id")
        task = await uow.get(Task, request.task_id)
        if task is not None and not allows(await _own_policy(uow), task.type):
            message = f"The agent's policy does not allow tasks of type {task.type.value}."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message, "request_id")
    if refused := await _refuse_emergency(uow, request.project_id):
        return refused
    request.status, request.assigned_to = ExecutionRequestStatus.IN_PROGRESS, name
    request.metadata_ = {**(request.metadata_ or {}), _CLAIMED_AT: uow.now.isoformat()}
    _note(uow, request, "EXECUTION_STARTED", assignedTo=name)
    return Done(request)


@command("execute:execution-requests", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def complete_execution_request(
    uow: UnitOfWork, request_id: UUID, result: JsonObject | None = None
) -> Done | Refused:
    """EXR-1, EXR-3. Report that claimed work is done, and what came of it; the agent that asked hears of it."""
    request = await _claimed(uow, request_id)
    if isinstance(request, Refused):
        return request
    if refused := _refuse(uow, request, ExecutionRequestStatus.COMPLETED) or _refuse_object(result or {}, "result"):
        return refused
    _end(uow, request, ExecutionRequestStatus.COMPLETED, result, "EXECUTION_COMPLETED")
    return Done(request)


@command("execute:execution-requests", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def fail_execution_request(
    uow: UnitOfWork, request_id: UUID, error: str, result: JsonObject | None = None
) -> Done | Refused:
    """EXR-1, EXR-3. Report that work cannot be done, claimed or not, and why; the agent that asked hears of it."""
    request = await _claimed(uow, request_id)
    if isinstance(request, Refused):
        return request
    if request.status is ExecutionRequestStatus.PENDING:
        message = "Nobody has the request: it is PENDING. `executionRequestCancel` calls it off."
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "request_id", ())
    if refused := _refuse(uow, request, ExecutionRequestStatus.FAILED) or _refuse_object(result or {}, "result"):
        return refused
    if not error.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say what went wrong.", "error")
    fault = redact(error.strip())
    _end(uow, request, ExecutionRequestStatus.FAILED, {**(result or {}), "error": fault}, _FAILED)
    return Done(request)


@command("write:execution-requests", OpEventType.DECISION_MADE, callers=_AGENT_OR_PERSON)
async def cancel_execution_request(uow: UnitOfWork, request_id: UUID, reason: str) -> Done | Refused:
    """EXR-1. Call off a request that is PENDING, so that nobody works on it; an agent its own alone."""
    request = await _own(uow, request_id)
    if isinstance(request, Refused) or (is_agent(uow) and request.requested_by_instance_id != uow.actor.id):
        return Refused(Refusal.NOT_FOUND, _NO_REQUEST, "request_id")
    if request.status is not ExecutionRequestStatus.PENDING:
        message = f"It is {request.status.value}; only what is PENDING is called off. A person releases it first."
        return Refused(Refusal.INVALID_STATE_TRANSITION, message, "request_id", ())
    if not reason.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say why.", "reason")
    result = {"canceled": True, "reason": redact(reason.strip())}
    _end(uow, request, ExecutionRequestStatus.FAILED, result, "EXECUTION_CANCELED")
    return Done(request)


@command("write:execution-requests", OpEventType.DECISION_MADE)
async def release_execution_request(uow: UnitOfWork, request_id: UUID, reason: str | None = None) -> Done | Refused:
    """EXR-1. Take a request back that its executor has not claimed; then it is routed anew or called off."""
    request = await _own(uow, request_id)
    if isinstance(request, Refused):
        return request
    if refused := _refuse(uow, request, ExecutionRequestStatus.PENDING):
        return refused
    request.status, request.assigned_at = ExecutionRequestStatus.PENDING, None
    why = redact((reason or "").strip())
    _note(uow, request, "EXECUTION_RELEASED", **({"reason": why} if why else {}))
    return Done(request)


# --- What they have in common -----------------------------------------------------------------------------------------


async def _own(uow: UnitOfWork, request_id: UUID) -> ExecutionRequest | Refused:
    """RBAC-11. The request, locked, where the caller may change it; an agent sees those of its project alone."""
    request = await uow.lock(ExecutionRequest, request_id)
    if request is None or (is_agent(uow) and request.project_id != uow.actor.project_id):
        return Refused(Refusal.NOT_FOUND, _NO_REQUEST, "request_id")
    uow.permit(project_id=request.project_id, instance_id=uow.actor.id if is_agent(uow) else None)
    return request


async def _claimed(uow: UnitOfWork, request_id: UUID) -> ExecutionRequest | Refused:
    """The same; an agent reports of what it has claimed itself."""
    request = await _own(uow, request_id)
    if isinstance(request, ExecutionRequest) and is_agent(uow) and request.assigned_to != str(uow.actor.id):
        return Refused(Refusal.NOT_FOUND, _NO_REQUEST, "request_id")
    return request


async def _oldest(uow: UnitOfWork) -> ExecutionRequest | Refused:
    """The request of the agent's project that has waited longest for an agent and that is for no task of a type which
    the agent's policy forbids; those that others take now are passed over, so that nobody waits for anybody."""
    types = (await _own_policy(uow)).task_types
    tasks = select(Task.id).where(Task.tenant_id == uow.tenant_id, Task.type.in_(types or ()))
    may_do = ExecutionRequest.task_id.is_(None) | ExecutionRequest.task_id.in_(tasks)
    statement = (
        select(ExecutionRequest)
        .where(
            ExecutionRequest.tenant_id == uow.tenant_id,
            ExecutionRequest.project_id == uow.actor.project_id,
            ExecutionRequest.executor == ExecutorKind.OPENCLAW_AGENT,
            ExecutionRequest.status == ExecutionRequestStatus.ASSIGNED,
            true() if types is None else may_do,
        )
        .order_by(ExecutionRequest.requested_at, ExecutionRequest.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    found = (await uow.session.scalars(statement)).first()
    if found is None:
        return Refused(Refusal.NOT_FOUND, _NOTHING_WAITS, "request_id")
    uow.permit(project_id=found.project_id, instance_id=uow.actor.id)
    return found


async def _own_policy(uow: UnitOfWork) -> EffectivePolicy:
    """The policy in force for the agent that asks."""
    return (await policies_for(uow, [uow.actor.id]))[uow.actor.id]


def _refuse(uow: UnitOfWork, request: ExecutionRequest, to: ExecutionRequestStatus) -> Refused | None:
    """SM-2. Why the request does not take this step."""
    refused = refuse_step(EXECUTION_REQUEST, request.status, to, uow.actor_type)
    return refused and Refused(refused.code, refused.message, "request_id", refused.allowed)


async def _refuse_emergency(uow: UnitOfWork, project_id: UUID | None) -> Refused | None:
    """EMG-4. Nobody is given new work while an emergency is in force."""
    mode = await mode_of(uow, project_id)
    if mode is OperatorMode.NORMAL:
        return None
    message = f"The emergency mode is {mode.value}: nobody is given new work until it is NORMAL (EMG-4)."
    return Refused(Refusal.DEPENDENCY_NOT_MET, message)


def _end(
    uow: UnitOfWork,
    request: ExecutionRequest,
    status: ExecutionRequestStatus,
    result: JsonObject | None,
    stage: str,
) -> None:
    """EXR-2, EXR-3, PII-4. End a locked request, with a result without secrets, and tell the agent that asked for
    it."""
    request.status, request.result, request.completed_at = status, redact_value(result), uow.now
    _note(uow, request, stage)
    _notify(uow, request, _ENDED, **({"severity": "ERROR"} if stage == _FAILED else {}))


def _notify(uow: UnitOfWork, request: ExecutionRequest, event: str, **more: str) -> None:
    """EXR-3, NOT-3. Tell the agent that asked for a request how it stands, unless that is its own doing."""
    if request.requested_by_instance_id == uow.actor.id:
        return
    told = {
        "instanceIds": [str(request.requested_by_instance_id)],
        "summary": f"{request.type.value} by {request.executor.value}: {request.status.value}",
        "requestId": str(request.id),
        "status": request.status.value,
    }
    uow.notify(event, request, {**told, **more})


def _note(uow: UnitOfWork, request: ExecutionRequest, stage: str, **more: str) -> None:
    uow.emit(
        OpEventType.DECISION_MADE,
        instance_id=request.requested_by_instance_id,
        project_id=request.project_id,
        task_id=request.task_id,
        payload=_told(request, stage, **more),
    )


def _told(request: ExecutionRequest, stage: str, **more: str) -> JsonObject:
    """What the event of a step says of it."""
    return {"stage": stage, "requestId": str(request.id), "status": request.status.value, **more}


def _refuse_object(value: object, name: str) -> Refused | None:
    """Why what is handed over, or came of it, cannot be kept."""
    if not isinstance(value, dict):
        return refused_input(name, f"`{name}` is a JSON object.")
    # It stands inside the arguments that policy is asked about, so it may be a level less deep than they.
    hashed = exact_hash({name: value}, name)
    return hashed if isinstance(hashed, Refused) else None
