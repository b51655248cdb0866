"""Commands of experiments: made, started, completed, and taken part in (EXP-1 to EXP-4, behaviour 1.17)."""

from __future__ import annotations

import math
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.commands import Done, Refusal, Refused, command
from app.identity.commands.places import blank
from app.lifecycle import refuse_step
from app.platform.machines import EXPERIMENT
from app.platform.rules.flags import variant_of, variants_fault
from app.rows import edit
from app.unit_of_work import UnitOfWork
from db import models
from db.base import JsonObject, Model
from db.enums import ExperimentStatus, OpEventType
from db.ids import created_at, new_id
from db.models import AgentInstance, Experiment, ExperimentAssignment, ExperimentEvent

_NO_EXPERIMENT: Final = Refused(Refusal.NOT_FOUND, "No such experiment.", "experiment_id")


@command("write:experiments", "EXPERIMENT_CREATED")
async def create_experiment(
    uow: UnitOfWork,
    name: str,
    variants: list[JsonObject],
    description: str | None = None,
    key: str | None = None,
    metadata: JsonObject | None = None,
) -> Experiment | Refused:
    """EXP-1. Plan an experiment: two variants or more, their weights summing to 100. Nobody is assigned yet."""
    uow.permit()
    if refused := blank("name", {"name": name}) or _bad_variants(variants) or await _bad_key(uow, key, None):
        return refused
    experiment = uow.add(
        Experiment(
            name=name.strip(),
            variants=variants,
            description=description,
            key=key,
            status=ExperimentStatus.DRAFT,
            metadata_=metadata,
        )
    )
    _note(uow, "EXPERIMENT_CREATED", experiment, variants=_weights(variants))
    return experiment


@command("write:experiments", "EXPERIMENT_UPDATED")
async def update_experiment(uow: UnitOfWork, experiment_id: UUID, **changes: Any) -> Experiment | Refused:
    """EXP-1. Change an experiment; what is left out stays. Its variants and its key are fixed once it has started."""
    experiment = await uow.lock(Experiment, experiment_id)
    if experiment is None:
        return _NO_EXPERIMENT
    uow.permit()
    if refused := blank("name", changes):
        return refused
    for name in ("variants", "key"):
        if name in changes and experiment.status is not ExperimentStatus.DRAFT:
            message = f"The experiment is {experiment.status.value}; its {name} can be changed while it is a DRAFT."
            return Refused(Refusal.DEPENDENCY_NOT_MET, message, name)
    if "variants" in changes and (refused := _bad_variants(changes["variants"] or [])):
        return refused
    if "key" in changes and (refused := await _bad_key(uow, changes["key"], experiment.id)):
        return refused
    before, after = edit(experiment, changes)
    if after:
        _note(uow, "EXPERIMENT_UPDATED", experiment, before=before, after=after)
    return experiment


@command("execute:experiments", "EXPERIMENT_STARTED")
async def start_experiment(
    uow: UnitOfWork, experiment_id: UUID, expected_status: ExperimentStatus | None = None
) -> Experiment | Refused:
    """EXP-1. Begin to assign: from here on the variants are fixed."""
    experiment = await _at_step(uow, experiment_id, ExperimentStatus.ACTIVE, expected_status)
    if isinstance(experiment, Refused):
        return experiment
    if refused := _bad_variants(experiment.variants):  # an import may have brought others
        return Refused(Refusal.DEPENDENCY_NOT_MET, refused.message, "experiment_id")
    experiment.status, experiment.started_at = ExperimentStatus.ACTIVE, uow.now
    _note(uow, "EXPERIMENT_STARTED", experiment, variants=_weights(experiment.variants))
    return experiment


@command("execute:experiments", "EXPERIMENT_COMPLETED")
async def complete_experiment(
    uow: UnitOfWork, experiment_id: UUID, expected_status: ExperimentStatus | None = None
) -> Experiment | Refused:
    """Behaviour 1.17. End an experiment: nobody is assigned any more, no event counts, and its results stand."""
    experiment = await _at_step(uow, experiment_id, ExperimentStatus.COMPLETED, expected_status)
    if isinstance(experiment, Refused):
        return experiment
    experiment.status, experiment.ended_at = ExperimentStatus.COMPLETED, uow.now
    _note(uow, "EXPERIMENT_COMPLETED", experiment)
    return experiment


@command("execute:experiments", OpEventType.DECISION_MADE)
async def assign_experiment(uow: UnitOfWork, experiment_id: UUID, entity_id: tuple[str, UUID]) -> Done | Refused:
    """EXP-2, EXP-3. The variant of an entity: the one that it has, for ever, or the one that its hash draws while the
    experiment is ACTIVE. Where it is not, and the entity has none, there is none."""
    experiment = await _held(uow, experiment_id)
    if experiment is None:
        return _NO_EXPERIMENT
    uow.permit()
    kind, row_id = entity_id
    if not await _exists(uow, kind, row_id):
        return Refused(Refusal.NOT_FOUND, f"No such {kind}.", "entity_id")
    known = await _assignment(uow, experiment.id, kind, row_id)
    if known is not None or experiment.status is not ExperimentStatus.ACTIVE:
        return Done(known)
    made = new_id(uow.now)
    variant = variant_of(str(experiment.id), str(row_id), experiment.variants)
    statement = (
        insert(ExperimentAssignment)
        .values(
            tenant_id=uow.tenant_id,
            id=made,
            created_at=created_at(made),
            experiment_id=experiment.id,
            entity_type=kind,
            entity_id=row_id,
            variant_id=variant,
            assigned_at=uow.now,
        )
        .on_conflict_do_nothing()
        .returning(ExperimentAssignment.id)
    )
    is_first = await uow.session.scalar(statement) is not None
    if is_first:
        _tell(uow, experiment, "EXPERIMENT_ASSIGNED", kind, row_id, variant)
    return Done(await _assignment(uow, experiment.id, kind, row_id))


@command("execute:experiments", OpEventType.DECISION_MADE)
async def track_experiment_event(
    uow: UnitOfWork,
    experiment_id: UUID,
    entity_id: tuple[str, UUID],
    event_type: str,
    value: float | None = None,
    metadata: JsonObject | None = None,
) -> ExperimentEvent | Refused:
    """EXP-4. Note what an entity did under its variant; `conversion` is counted apart."""
    if not event_type.strip():
        return Refused(Refusal.VALIDATION_ERROR, "Say what happened: `eventType` may not be blank.", "event_type")
    if value is not None and not math.isfinite(value):
        return Refused(Refusal.VALIDATION_ERROR, "A value is a finite number.", "value")
    experiment = await _held(uow, experiment_id)
    if experiment is None:
        return _NO_EXPERIMENT
    uow.permit()
    kind, row_id = entity_id
    if not await _exists(uow, kind, row_id):
        return Refused(Refusal.NOT_FOUND, f"No such {kind}.", "entity_id")
    if experiment.status is not ExperimentStatus.ACTIVE:
        message = f"The experiment is {experiment.status.value}; events count while it is ACTIVE."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "experiment_id")
    assignment = await _assignment(uow, experiment.id, kind, row_id)
    if assignment is None:
        message = "The entity has no variant in this experiment. Assign it first: `experimentAssign`."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "entity_id")
    event = uow.add(
        ExperimentEvent(
            experiment_id=experiment.id,
            variant_id=assignment.variant_id,
            event_type=event_type.strip(),
            entity_type=kind,
            entity_id=row_id,
            value=value,
            timestamp=uow.now,
            metadata_=metadata,
        )
    )
    _tell(uow, experiment, "EXPERIMENT_EVENT", kind, row_id, assignment.variant_id, eventType=event.event_type)
    return event


# --- Parts ------------------------------------------------------------------------------------------------------------


async def _held(uow: UnitOfWork, experiment_id: UUID) -> Experiment | None:
    """The experiment, whose status stays as it is until the end; many take part in it at once."""
    statement = (
        select(Experiment)
        .where(Experiment.tenant_id == uow.tenant_id, Experiment.id == experiment_id)
        .with_for_update(read=True)
    )
    return (await uow.session.scalars(statement)).first()


async def _exists(uow: UnitOfWork, kind: str, row_id: UUID) -> bool:
    """Whether the tenant has such a row; its own is keyed by its id alone."""
    if kind == models.Tenant.__name__:
        return row_id == uow.tenant_id
    model: type[Model] = getattr(models, kind)
    return await uow.get(model, row_id) is not None


async def _assignment(uow: UnitOfWork, experiment_id: UUID, kind: str, row_id: UUID) -> ExperimentAssignment | None:
    statement = select(ExperimentAssignment).where(
        ExperimentAssignment.tenant_id == uow.tenant_id,
        ExperimentAssignment.experiment_id == experiment_id,
        ExperimentAssignment.entity_type == kind,
        ExperimentAssignment.entity_id == row_id,
    )
    return (await uow.session.scalars(statement)).first()


async def _at_step(
    uow: UnitOfWork, experiment_id: UUID, to: ExperimentStatus, expected: ExperimentStatus | None
) -> Experiment | Refused:
    experiment = await uow.lock(Experiment, experiment_id)
    if experiment is None:
        return _NO_EXPERIMENT
    uow.permit()
    refused = refuse_step(EXPERIMENT, experiment.status, to, uow.actor_type, expected, expected_field="expected_status")
    return refused or experiment


def _bad_variants(variants: list[JsonObject]) -> Refused | None:
    fault = variants_fault(variants)
    return None if fault is None else Refused(Refusal.VALIDATION_ERROR, *fault)


async def _bad_key(uow: UnitOfWork, key: str | None, experiment_id: UUID | None) -> Refused | None:
    if key is None:
        return None
    if not key.strip():
        return Refused(Refusal.VALIDATION_ERROR, "A key may not be blank; leave it out instead.", "key")
    same = select(Experiment.id).where(
        Experiment.tenant_id == uow.tenant_id,
        Experiment.key == key,
        Experiment.id.is_distinct_from(experiment_id),
    )
    if await uow.session.scalar(same):
        return Refused(Refusal.DUPLICATE_RESOURCE, "An experiment with this key exists.", "key")
    return None


def _weights(variants: list[JsonObject]) -> JsonObject:
    return {str(one["id"]): one["weight"] for one in variants}


def _note(uow: UnitOfWork, action: str, experiment: Experiment, **what: Any) -> None:
    uow.audit(action, resource=Experiment.__name__, resource_id=experiment.id, metadata=what or None)


def _tell(
    uow: UnitOfWork, experiment: Experiment, stage: str, kind: str, row_id: UUID, variant: str, **what: Any
) -> None:
    uow.emit(
        OpEventType.DECISION_MADE,
        instance_id=row_id if kind == AgentInstance.__name__ else None,
        payload={
            "stage": stage,
            "experimentId": str(experiment.id),
            "entityType": kind,
            "entityId": str(row_id),
            "variantId": variant,
            **what,
        },
    )
