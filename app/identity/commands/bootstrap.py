"""The beginning of a tenant: everything that has to be there before its first agent (TEN-2)."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import select

from app.auth.actor import ActorKind
from app.auth.permissions import ADMIN
from app.commands import Done, Refusal, Refused, command
from app.governance.commands.roles import note_assigned
from app.governance.defaults import ADVISED_OPERATORS, default_envelope
from app.governance.registry import fill_registry
from app.identity.commands.operators import add_operator, bad_person
from app.identity.commands.places import add_environment, add_project, bad_slug, blank
from app.identity.commands.tenant import bad_timezone
from app.identity.rules import settings_fault
from app.unit_of_work import UnitOfWork
from db.base import JsonObject
from db.enums import ChangeRecordType, TenantPlan
from db.ids import new_id
from db.models import Operator, PolicyEnvelope, Role, RoleAssignment, Tenant

ENVIRONMENTS: Final = (("Development", "dev", False), ("Staging", "staging", False), ("Production", "prod", True))
"""Name, slug, and whether it is production (TEN-2)."""


@command(
    "manage:tenant",
    ChangeRecordType.TENANT_BOOTSTRAPPED,
    callers=(ActorKind.PLATFORM,),
    on_platform=True,
)
async def bootstrap_tenant(
    uow: UnitOfWork,
    name: str,
    slug: str,
    operators: list[JsonObject],
    plan: TenantPlan | None = None,
    settings: JsonObject | None = None,
    project_name: str = "Default",
    project_slug: str = "default",
    max_environments: int | None = None,
    max_operators: int | None = None,
    billing_email: str | None = None,
    gdpr_data_region: str | None = None,
    timezone: str = "UTC",
) -> Done | Refused:
    """TEN-2. Make a tenant that can be worked in: environments dev, staging and prod, a project, the built-in roles
    and permissions, its first Admins, and a policy that asks before anything RED.

    Name at least three operators: RED needs two votes, and whoever asks has none of them (APR-2, APR-5).
    """
    uow.permit()
    refused = (
        blank("name", {"name": name})
        or bad_slug(slug)
        or _bad_project(project_name, project_slug)
        or _bad_limits(max_environments, max_operators, len(operators))
        or bad_timezone(timezone)
        or _bad_people(operators)
    )
    if refused:
        return refused
    if fault := settings_fault(settings):
        return Refused(Refusal.VALIDATION_ERROR, fault, "settings")
    if await uow.session.scalar(select(Tenant.id).where(Tenant.slug == slug)):
        return Refused(Refusal.DUPLICATE_RESOURCE, f"A tenant with the slug '{slug}' exists.", "slug")
    await uow.enter(new_id(uow.now))
    tenant = Tenant(
        id=uow.tenant_id,
        name=name.strip(),
        slug=slug,
        plan=plan,
        settings=settings,
        max_environments=max_environments,
        max_operators=max_operators,
        billing_email=billing_email,
        gdpr_data_region=gdpr_data_region,
        timezone=timezone,
    )
    uow.session.add(tenant)
    await uow.session.flush()
    after = {"name": tenant.name, "slug": slug, "plan": None if plan is None else plan.value}
    first = uow.record(ChangeRecordType.TENANT_BOOTSTRAPPED, tenant, after=after)
    because: dict[str, Any] = {"caused_by_id": first}
    environments = [
        add_environment(uow, name, slug, is_production, None, **because) for name, slug, is_production in ENVIRONMENTS
    ]
    await uow.session.flush()
    project = add_project(uow, project_name.strip(), project_slug, None, environments[0].id, None, **because)
    roles = (await fill_registry(uow)).roles
    people = [add_operator(uow, one["name"], one["email"], one.get("auth_id"), **because) for one in operators]
    await uow.session.flush()
    for one in people:
        _make_admin(uow, one, roles[ADMIN])
    await _attach_policy(uow, first)
    return Done(
        None,
        {
            "tenant_id": str(tenant.id),
            "slug": slug,
            "project_id": str(project.id),
            "environment_ids": [str(one.id) for one in environments],
            "operator_ids": [str(one.id) for one in people],
            "advice": _advice(len(people)),
        },
    )


def _make_admin(uow: UnitOfWork, operator: Operator, role: Role) -> None:
    assignment = uow.add(RoleAssignment(role_id=role.id, operator_id=operator.id, assigned_at=uow.now))
    note_assigned(uow, assignment, role)


async def _attach_policy(uow: UnitOfWork, caused_by_id: UUID) -> None:
    """The tenant's own policy (TEN-2, RSK-8), with the record that its history begins with (POL-14)."""
    columns = default_envelope()
    envelope = uow.add(PolicyEnvelope(**columns))
    await uow.session.flush()
    after = {"name": envelope.name, "autonomyTier": envelope.autonomy_tier, "version": envelope.version, "active": True}
    uow.record(ChangeRecordType.POLICY_ATTACHED, envelope, after=after, caused_by_id=caused_by_id)


def _advice(count: int) -> list[str]:
    missing = ADVISED_OPERATORS - count
    if missing <= 0:
        return []
    return [
        f"Invite {missing} more with the role Admin or Approver: RED requests need two votes, and whoever asks has none"
        " of them (APR-2, APR-5)."
    ]


def _bad_people(operators: list[JsonObject]) -> Refused | None:
    if not operators:
        message = f"A tenant begins with one operator at least, and better with {ADVISED_OPERATORS}."
        return Refused(Refusal.VALIDATION_ERROR, message, "operators")
    seen: set[str] = set()
    for position, one in enumerate(operators):
        if refused := bad_person(one["name"], one["email"]):
            return Refused(refused.code, refused.message, f"operators[{position}].{refused.field}")
        keys = {one["email"].strip().lower(), *([f"subject {one['auth_id']}"] if one.get("auth_id") else [])}
        if keys & seen:
            message = "Two of the operators are the same person."
            return Refused(Refusal.DUPLICATE_RESOURCE, message, f"operators[{position}]")
        seen |= keys
    return None


def _bad_project(name: str, slug: str) -> Refused | None:
    refused = blank("name", {"name": name}) or bad_slug(slug)
    return None if refused is None else Refused(refused.code, refused.message, f"project_{refused.field}")


def _bad_limits(environments: int | None, operators: int | None, given: int) -> Refused | None:
    if environments is not None and environments < len(ENVIRONMENTS):
        message = f"A tenant begins with {len(ENVIRONMENTS)} environments; allow at least as many."
        return Refused(Refusal.VALIDATION_ERROR, message, "max_environments")
    if operators is not None and operators < given:
        message = f"The tenant begins with {given} operators; allow at least as many."
        return Refused(Refusal.VALIDATION_ERROR, message, "max_operators")
    return None
