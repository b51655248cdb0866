"""Commands of policy envelopes: made, changed in place, switched on and off, given to an instance (POL-14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.commands import Done, Refusal, Refused, command
from app.governance.autonomy import (
    Place,
    Standing,
    carry_increase,
    place_of,
    raised_to,
    read_board,
    safety_floor,
    tier_at,
)
from app.governance.policy.inheritance import FIELDS
from app.governance.policy.values import fault_of
from app.governance.verdicts import camel
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType, InstanceState
from db.ids import new_id
from db.models import AgentInstance, AgentTemplate, AgentVersion, ApprovalRecord, PolicyEnvelope, Project

_PLACES: Final[Mapping[str, type[Project] | type[AgentTemplate] | type[AgentVersion]]] = {
    "attached_to_project_id": Project,
    "attached_to_template_id": AgentTemplate,
    "attached_to_version_id": AgentVersion,
}
_CHANGEABLE: Final = ("name", "priority", "metadata", *FIELDS)


@command("write:policies", ChangeRecordType.POLICY_ATTACHED)
async def create_envelope(
    uow: UnitOfWork,
    name: str,
    attached_to_tenant: bool | None = False,
    attached_to_project_id: UUID | None = None,
    attached_to_template_id: UUID | None = None,
    attached_to_version_id: UUID | None = None,
    active: bool | None = True,
    **values: Any,
) -> Done | Refused:
    """POL-14. Attach a policy to the tenant, a project, a template or a version; its name is unique among the active.

    One that raises autonomy is made inactive and activated with an approval.
    """
    places = {
        "attached_to_project_id": attached_to_project_id,
        "attached_to_template_id": attached_to_template_id,
        "attached_to_version_id": attached_to_version_id,
    }
    if bool(attached_to_tenant) + sum(key is not None for key in places.values()) != 1:
        message = "A policy is attached to exactly one of tenant, project, template and version."
        return Refused(Refusal.VALIDATION_ERROR, message, "attached_to_tenant")
    active = active is not False
    await uow.tenant(lock=True)
    for field, key in places.items():
        if key is not None and await uow.get(_PLACES[field], key) is None:
            return Refused(Refusal.NOT_FOUND, f"No such {_PLACES[field].__name__}.", field)
    uow.permit(project_id=attached_to_project_id)
    if refused := await _refuse_values(uow, name, values, None, is_tenants=bool(attached_to_tenant), active=active):
        return refused
    row = PolicyEnvelope(
        id=new_id(uow.now),
        name=name.strip(),
        attached_to_tenant=bool(attached_to_tenant),
        active=active,
        version=1,
        created_by_operator_id=uow.actor.id if uow.actor.kind is ActorKind.OPERATOR else None,
        **places,
        **_columns({**values, "priority": values.get("priority", 100)}),
    )
    if await _raise(uow, None, Standing.of(row)) is not None:
        message = (
            "This policy raises autonomy. Make it with `active: false`, ask for POLICY_AUTONOMY_INCREASE of it, and "
            "activate it when that is approved."
        )
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "autonomy_tier")
    envelope = uow.add(row)
    _record(uow, envelope, None, _shown(envelope, ("name", "active", *places, "attached_to_tenant", *_given(values))))
    return Done(envelope)


@command("write:policies", ChangeRecordType.POLICY_ATTACHED)
async def update_envelope(
    uow: UnitOfWork, envelope_id: UUID, reason: str | None = None, expected_version: int | None = None, **changes: Any
) -> Done | Refused:
    """POL-14, decision 17. Change a policy in place; its record keeps what it said before. More autonomy needs an
    approval."""
    envelope = await _lock(uow, envelope_id)
    if isinstance(envelope, Refused):
        return envelope
    if expected_version not in (None, envelope.version):
        message = f"The policy has version {envelope.version} by now: somebody was faster. Read it again."
        return Refused(Refusal.CONFLICT, message, "expected_version")
    name = changes.get("name", envelope.name)
    rest = {field: value for field, value in changes.items() if field != "name"}
    if refused := await _refuse_values(
        uow, name, rest, envelope, is_tenants=envelope.attached_to_tenant, active=envelope.active
    ):
        return refused
    new = {**_columns(rest), **({"name": name.strip()} if "name" in changes else {})}
    changed = [field for field, value in new.items() if getattr(envelope, field) != value]
    if not changed:
        return Done(envelope)
    old = Standing.of(envelope)
    wanted = replace(old, tier=new.get("autonomy_tier", old.tier), priority=new.get("priority", old.priority))
    raised = await _raise(uow, old, wanted)
    if old.active and old.tier is not None and wanted.tier is not None and wanted.tier > old.tier:
        raised = max(raised or 0, wanted.tier)  # whatever else is in force: an instance may have it as its own
    approval = None if raised is None else await carry_increase(uow, envelope, raised)
    if isinstance(approval, Refused):
        return approval
    before = _shown(envelope, changed)
    for field in changed:
        setattr(envelope, field, new[field])
    envelope.version += 1
    _record(uow, envelope, before, _shown(envelope, changed), reason, approval)
    return Done(envelope)


@command("write:policies", ChangeRecordType.POLICY_ATTACHED)
async def activate_envelope(uow: UnitOfWork, envelope_id: UUID, reason: str | None = None) -> Done | Refused:
    """POL-14. Put a policy in force; one that raises autonomy needs an approval."""
    return await _switch(uow, envelope_id, reason, active=True)


@command("write:policies", ChangeRecordType.POLICY_ATTACHED)
async def deactivate_envelope(uow: UnitOfWork, envelope_id: UUID, reason: str | None = None) -> Done | Refused:
    """POL-14. Take a policy out of force; it stays as history. What it held back needs an approval to come free."""
    return await _switch(uow, envelope_id, reason, active=False)


@command("write:policies", ChangeRecordType.POLICY_ATTACHED)
async def attach_envelope(
    uow: UnitOfWork, instance_id: UUID, envelope_id: UUID | None = None, reason: str | None = None
) -> Done | Refused:
    """POL-4, POL-14. Give one instance a policy in the place of its version's, or take that away again."""
    await uow.tenant(lock=True)
    instance = await uow.lock(AgentInstance, instance_id)
    if instance is None:
        return Refused(Refusal.NOT_FOUND, "No such agent instance.", "instance_id")
    uow.permit(project_id=instance.project_id, environment_id=instance.environment_id)
    former = await uow.get(PolicyEnvelope, instance.policy_envelope_id)
    envelope = await uow.get(PolicyEnvelope, envelope_id)
    if envelope_id is not None and envelope is None:
        return Refused(Refusal.NOT_FOUND, "No such policy envelope.", "envelope_id")
    if envelope is not None and not envelope.active:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The policy is not active. Activate it first.", "envelope_id")
    if instance.state is InstanceState.RETIRED:
        return Refused(Refusal.DEPENDENCY_NOT_MET, "The instance is RETIRED.", "instance_id")
    about = envelope or former
    if about is None or instance.policy_envelope_id == envelope_id:
        return Done(about)
    version = await uow.get(AgentVersion, instance.version_id)
    place = Place(instance.project_id, None if version is None else version.template_id, instance.version_id)
    board, highest = await read_board(uow), await safety_floor(uow)
    tier = tier_at(board, place, highest, instance.policy_envelope_id)
    raised = tier_at(board, place, highest, envelope_id)
    approval = await carry_increase(uow, about, raised) if raised > tier else None
    if isinstance(approval, Refused):
        return approval
    instance.policy_envelope_id = envelope_id
    before = {"instanceId": str(instance.id), "policyEnvelopeId": None if former is None else str(former.id)}
    after = {"instanceId": str(instance.id), "policyEnvelopeId": None if envelope_id is None else str(envelope_id)}
    _record(uow, about, before, after, reason, approval, instance=instance)
    return Done(about)


# --- What they share --------------------------------------------------------------------------------------------------


async def _lock(uow: UnitOfWork, envelope_id: UUID) -> PolicyEnvelope | Refused:
    await uow.tenant(lock=True)  # tiers of several envelopes are compared: one change at a time
    envelope = await uow.lock(PolicyEnvelope, envelope_id)
    if envelope is None:
        return Refused(Refusal.NOT_FOUND, "No such policy envelope.", "envelope_id")
    uow.permit(project_id=envelope.attached_to_project_id)
    return envelope


async def _switch(uow: UnitOfWork, envelope_id: UUID, reason: str | None, *, active: bool) -> Done | Refused:
    envelope = await _lock(uow, envelope_id)
    if isinstance(envelope, Refused):
        return envelope
    if envelope.active is active:
        return Done(envelope)
    if active and (refused := await _refuse_name(uow, envelope.name, envelope)):
        return refused
    if not active and (used := await _users(uow, envelope)):
        message = f"{used} instances have it as their own policy. Give them another one first."
        return Refused(Refusal.DEPENDENCY_NOT_MET, message, "envelope_id")
    old = Standing.of(envelope)
    raised = await _raise(uow, old, replace(old, active=active))
    approval = None if raised is None else await carry_increase(uow, envelope, raised)
    if isinstance(approval, Refused):
        return approval
    envelope.active = active
    envelope.version += 1
    _record(uow, envelope, {"active": not active}, {"active": active}, reason, approval)
    return Done(envelope)


async def _raise(uow: UnitOfWork, old: Standing | None, new: Standing) -> int | None:
    """The tier that a change of one envelope raises something to; None where it raises nothing."""
    board = dict(await read_board(uow))
    board.pop(new.id, None)
    before = board | ({} if old is None or not old.active else {old.id: old})
    after = board | ({new.id: new} if new.active else {})
    place = await place_of(uow, new)
    return raised_to(before, after, place, await safety_floor(uow))


async def _users(uow: UnitOfWork, envelope: PolicyEnvelope) -> int:
    statement = select(AgentInstance.id).where(
        AgentInstance.tenant_id == uow.tenant_id,
        AgentInstance.policy_envelope_id == envelope.id,
        AgentInstance.state != InstanceState.RETIRED,
    )
    return len((await uow.session.scalars(statement)).all())


async def _refuse_values(
    uow: UnitOfWork,
    name: str | None,
    values: Mapping[str, Any],
    envelope: PolicyEnvelope | None,
    *,
    is_tenants: bool,
    active: bool,
) -> Refused | None:
    if name is None or not name.strip():
        return Refused(Refusal.VALIDATION_ERROR, "A policy has a name of 1 to 100 characters.", "name")
    if (fault := fault_of(values)) is not None:
        return Refused(Refusal.VALIDATION_ERROR, fault[1], fault[0])
    if "priority" in values and values["priority"] is None:
        return Refused(Refusal.VALIDATION_ERROR, "A policy has a priority; 100 is the usual one.", "priority")
    tier = values.get("autonomy_tier", None if envelope is None else envelope.autonomy_tier)
    if is_tenants and tier is None:
        message = "A policy of the tenant says which autonomy tier holds: nothing stands below it."
        return Refused(Refusal.VALIDATION_ERROR, message, "autonomy_tier")
    return await _refuse_name(uow, name.strip(), envelope) if active else None


async def _refuse_name(uow: UnitOfWork, name: str, envelope: PolicyEnvelope | None) -> Refused | None:
    statement = select(PolicyEnvelope.id).where(
        PolicyEnvelope.tenant_id == uow.tenant_id, PolicyEnvelope.active.is_(True), PolicyEnvelope.name == name
    )
    found = await uow.session.scalar(statement)
    if found is None or (envelope is not None and found == envelope.id):
        return None
    return Refused(Refusal.DUPLICATE_RESOURCE, f"An active policy has the name '{name}'.", "name")


def _given(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _CHANGEABLE if name in values and name not in ("name", "metadata"))


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names of the model's attributes."""
    return {"metadata_" if name == "metadata" else name: value for name, value in values.items()}


def _shown(envelope: PolicyEnvelope, names: Any) -> JsonObject:
    """Fields of an envelope for the change record, under their names in the graph."""
    return {camel(name.rstrip("_")): _plain(getattr(envelope, name)) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return [getattr(one, "value", one) for one in value] if isinstance(value, list) else value


def _record(
    uow: UnitOfWork,
    envelope: PolicyEnvelope,
    before: JsonObject | None,
    after: JsonObject,
    reason: str | None = None,
    approval: ApprovalRecord | None = None,
    *,
    instance: AgentInstance | None = None,
) -> None:
    carried = {} if approval is None else {"approvalId": str(approval.id)}
    uow.record(
        ChangeRecordType.POLICY_ATTACHED,
        envelope,
        before=before,
        after={**after, "version": envelope.version, **carried},
        reason=reason,
        project_id=envelope.attached_to_project_id if instance is None else instance.project_id,
        instance_id=None if instance is None else instance.id,
        version_id=envelope.attached_to_version_id,
    )
