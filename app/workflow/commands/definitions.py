"""Commands of definitions: loaded, switched on and off, removed (WF-1)."""

from __future__ import annotations

import asyncio
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Done, Refusal, Refused, command
from app.unit_of_work import UnitOfWork
from app.workflow.rules.definition import Definition, DefinitionFault, definition_of, read_yaml
from db.base import JsonObject
from db.enums import WorkflowRunStatus
from db.models import Workflow, WorkflowRun

_UPSERTED: Final = "WORKFLOW_UPSERTED"
_NO_WORKFLOW: Final = Refused(Refusal.NOT_FOUND, "No such workflow.", "workflow_id")
OPEN_RUNS: Final = (WorkflowRunStatus.PENDING, WorkflowRunStatus.RUNNING, WorkflowRunStatus.PAUSED)
_INPUT_NAMES: Final = {"id": "workflow_key"}


@command("write:workflows", _UPSERTED)
async def upsert_workflow(
    uow: UnitOfWork,
    workflow_key: str,
    name: str,
    agents: list[JsonObject],
    steps: list[JsonObject],
    description: str = "",
) -> Done | Refused:
    """WF-1. Load a definition: a new one, or the next version of the one with its key. Runs under way keep theirs."""
    uow.permit()
    document = {
        "id": workflow_key,
        "name": name,
        "description": description,
        "agents": [_as_in_yaml(one) for one in agents],
        "steps": [_as_in_yaml(one) for one in steps],
    }
    try:
        definition = definition_of(document)
    except DefinitionFault as fault:
        where = fault.path and _INPUT_NAMES.get(fault.path, fault.path)
        return Refused(Refusal.VALIDATION_ERROR, fault.message, where)
    return await _load(uow, definition)


@command("write:workflows", _UPSERTED)
async def load_workflow(uow: UnitOfWork, yaml: str) -> Done | Refused:
    """WF-1. Load a definition from its YAML: a new one, or the next version of the one with its `id`. Plain values
    alone: no aliases, no tags of a program's."""
    uow.permit()
    try:
        document = await asyncio.to_thread(read_yaml, yaml)  # a large text takes a while to read
        definition = definition_of(document)
    except DefinitionFault as fault:
        return Refused(Refusal.VALIDATION_ERROR, fault.message, "yaml")
    return await _load(uow, definition)


def _as_in_yaml(given: JsonObject) -> JsonObject:
    """A role or a step of an input under the names of the YAML; what was not sent is left out."""
    names = {"retry_limit": "retryLimit", "timeout_minutes": "timeoutMinutes"}
    return {names.get(name, name): value for name, value in given.items()}


async def _load(uow: UnitOfWork, definition: Definition) -> Done:
    """One after the other where the key is the same, so that each load is a version of its own."""
    key = f"workflow {uow.tenant_id} {definition.key}"
    await uow.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))
    statement = select(Workflow.id).where(Workflow.tenant_id == uow.tenant_id, Workflow.workflow_key == definition.key)
    known = await uow.lock(Workflow, await uow.session.scalar(statement))
    workflow = known or uow.add(
        Workflow(workflow_key=definition.key, active=True, version=0, created_by_operator_id=uow.actor_id)
    )
    workflow.name, workflow.description = definition.name, definition.description
    workflow.agents, workflow.steps = definition.agents, definition.steps
    if workflow.deleted_at is not None:
        workflow.active, workflow.deleted_at = True, None
    workflow.version += 1
    _note(uow, _UPSERTED, workflow, version=workflow.version, steps=[one["id"] for one in definition.steps])
    return Done(workflow, {"created": known is None})


@command("write:workflows", "WORKFLOW_ACTIVATED")
async def activate_workflow(uow: UnitOfWork, workflow_id: UUID) -> Workflow | Refused:
    """WF-1. Let runs of a workflow start again."""
    return await _switch(uow, workflow_id, to=True)


@command("write:workflows", "WORKFLOW_DEACTIVATED")
async def deactivate_workflow(uow: UnitOfWork, workflow_id: UUID) -> Workflow | Refused:
    """WF-1. Let no more runs of a workflow start; those that are under way go on."""
    return await _switch(uow, workflow_id, to=False)


async def _switch(uow: UnitOfWork, workflow_id: UUID, *, to: bool) -> Workflow | Refused:
    workflow = await uow.lock(Workflow, workflow_id)
    if workflow is None:
        return _NO_WORKFLOW
    uow.permit()
    if workflow.deleted_at is not None:
        message = "The workflow was deleted. Load it again to bring it back: `workflowLoad`, `workflowUpsert`."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "workflow_id")
    if workflow.active is to:
        return Refused(Refusal.CONFLICT, f"The workflow is {'active' if to else 'inactive'} already.", "workflow_id")
    workflow.active = to
    _note(uow, "WORKFLOW_ACTIVATED" if to else "WORKFLOW_DEACTIVATED", workflow)
    return workflow


@command("write:workflows", "WORKFLOW_DELETED")
async def delete_workflow(uow: UnitOfWork, workflow_id: UUID, reason: str | None = None) -> Workflow | Refused:
    """WF-1. Delete a definition that no run is under way of. It stays as a row, since its runs name it, and starts no
    more; loading it again brings it back."""
    workflow = await uow.lock(Workflow, workflow_id)
    if workflow is None:
        return _NO_WORKFLOW
    uow.permit()
    if workflow.deleted_at is not None:
        return Refused(Refusal.CONFLICT, "The workflow was deleted before.", "workflow_id")
    mine = (WorkflowRun.tenant_id == uow.tenant_id, WorkflowRun.workflow_id == workflow.id)
    counted = select(func.count()).where(*mine, WorkflowRun.status.in_(OPEN_RUNS))
    under_way = await uow.session.scalar(counted)
    if under_way:
        message = f"{under_way} of its runs are PENDING, RUNNING or PAUSED. Let them end, or abort them first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "workflow_id")
    workflow.active, workflow.deleted_at = False, uow.now
    _note(uow, "WORKFLOW_DELETED", workflow, reason=reason, version=workflow.version)
    return workflow


def _note(uow: UnitOfWork, action: str, workflow: Workflow, *, reason: str | None = None, **what: Any) -> None:
    uow.audit(
        action,
        resource=Workflow.__name__,
        resource_id=workflow.id,
        description=reason,
        metadata={"workflowKey": workflow.workflow_key, **what},
    )
