"""Commands of feature flags (FLG-1)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select

from app.commands import Done, Refusal, Refused, command
from app.platform.rules.flags import percentage_fault
from app.rows import as_json, edit
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.models import Environment, FeatureFlag, Operator

LONGEST_KEY: Final = 100
_SET: Final = "FEATURE_FLAG_SET"


@command("write:feature-flags", _SET)
async def set_feature_flag(
    uow: UnitOfWork,
    key: str,
    enabled: bool | None = None,
    rollout_percentage: float | None = None,
    target_operator_ids: list[UUID] | None = None,
    target_environment_ids: list[UUID] | None = None,
    **columns: Any,
) -> Done | Refused:
    """FLG-1. Make a flag, or change the one with this key: whether it is on, for whom, and where. A new one is off, and
    for nobody, unless something else is said; of a known one what is left out stays, and an empty list names nobody in
    particular."""
    uow.permit()
    name = key.strip()
    if not name:
        return Refused(Refusal.VALIDATION_ERROR, "A flag is asked for by its key; it may not be blank.", "key")
    if fault := percentage_fault(rollout_percentage):
        return Refused(Refusal.VALIDATION_ERROR, fault, "rollout_percentage")
    if refused := await _refuse_unknown(uow, Operator, target_operator_ids, "target_operator_ids", "operator"):
        return refused
    environments = target_environment_ids
    if refused := await _refuse_unknown(uow, Environment, environments, "target_environment_ids", "environment"):
        return refused
    # Whoever sets a flag of this key waits for whoever else does, also where there is no row yet to lock.
    text = f"flag {uow.tenant_id} {name}"
    await uow.session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(text, 0))))
    statement = select(FeatureFlag.id).where(FeatureFlag.tenant_id == uow.tenant_id, FeatureFlag.key == name)
    known = await uow.lock(FeatureFlag, await uow.session.scalar(statement))
    given: JsonObject = {
        "rolloutPercentage": rollout_percentage,
        "targetOperators": _texts(target_operator_ids),
        "targetEnvironments": _texts(target_environment_ids),
    }
    changes = {**columns, **({} if enabled is None else {"enabled": enabled})}
    flag = known or FeatureFlag(key=name, enabled=False, conditions={"rolloutPercentage": 0})
    conditions = {**(flag.conditions or {}), **{part: value for part, value in given.items() if value is not None}}
    before, after = edit(flag, {**changes, "conditions": conditions})
    if known is None:
        uow.add(flag)
        before, after = {}, _told(flag)
    if after:
        uow.audit(
            _SET,
            resource=FeatureFlag.__name__,
            resource_id=flag.id,
            metadata={"key": flag.key, "before": before, "after": after},
        )
    return Done(flag, {"created": known is None})


def _told(flag: FeatureFlag) -> JsonObject:
    return {"enabled": flag.enabled, "description": flag.description, "conditions": flag.conditions}


def _texts(ids: list[UUID] | None) -> list[str] | None:
    return None if ids is None else [str(one) for one in dict.fromkeys(ids)]


async def _refuse_unknown(
    uow: UnitOfWork, model: type[Any], ids: list[UUID] | None, field: str, name: str
) -> Refused | None:
    if not ids:
        return None
    found = set(await uow.session.scalars(select(model.id).where(model.tenant_id == uow.tenant_id, model.id.in_(ids))))
    missing = next((at for at, one in enumerate(ids) if one not in found), None)
    return None if missing is None else Refused(Refusal.NOT_FOUND, f"No such {name}.", f"{field}[{missing}]")


@command("delete:feature-flags", "FEATURE_FLAG_DELETED")
async def delete_feature_flag(uow: UnitOfWork, flag_id: UUID, reason: str | None = None) -> Done | Refused:
    """FLG-1. Remove a flag; whoever asks for it from here on is told that it is off."""
    flag = await uow.lock(FeatureFlag, flag_id)
    if flag is None:
        return Refused(Refusal.NOT_FOUND, "No such feature flag.", "flag_id")
    uow.permit()
    await uow.session.delete(flag)
    uow.audit(
        "FEATURE_FLAG_DELETED",
        resource=FeatureFlag.__name__,
        resource_id=flag.id,
        description=reason,
        metadata={"before": as_json(flag)},
    )
    return Done(None, {"flag_id": str(flag.id)})
