"""The tokens that `fleetgraph token` prints (decision 25): for an operator who holds a role, for an agent, for the
platform. A role is never a claim; it only says whose token this is to be."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.actor import ActorKind
from app.auth.permissions import role_key
from app.auth.tokens import PLATFORM_SUBJECT, LocalTokens
from db.enums import InstanceState, OperatorStatus
from db.models import AgentInstance, Operator, Role, RoleAssignment, Tenant
from db.session import Database

PLATFORM_ROLE: Final = "platform"
"""What stands for a role where the platform's own token is wanted."""

_INSTANCE_PREFIX: Final = "ins_"


class CannotIssue(Exception):
    """No token can be made of this request. The message names the argument and what would do."""


async def issue_demo_token(
    database: Database,
    tokens: LocalTokens | None,
    tenant_slug: str | None,
    role: str | None = None,
    operator_email: str | None = None,
    instance_id: str | None = None,
) -> str:
    """A token for whoever the arguments name.

    - `role` "platform": the platform's token; no tenant.
    - `instance_id` (UUID or ``ins_…``): the agent's token.
    - else: the token of an active operator of the tenant who holds `role` (in any case), and who is `operator_email`
      if that is given. Of several the one with the widest scope, and then the longest-serving one.

    Reads with the platform's connection, so it is for the command line alone. Raises CannotIssue.
    """
    if tokens is None:
        raise CannotIssue("The gateway has no key to sign with: set FLEETGRAPH_SECRET_KEY.")
    if role is not None and role.casefold() == PLATFORM_ROLE:
        if operator_email is not None or instance_id is not None:
            raise CannotIssue("--role platform stands alone: leave --operator and --instance out.")
        return tokens.issue(ActorKind.PLATFORM, PLATFORM_SUBJECT)
    if tenant_slug is None:
        raise CannotIssue("--tenant is missing: say which tenant the token is for.")
    if operator_email is not None and instance_id is not None:
        raise CannotIssue("--operator and --instance exclude each other: a token stands for one of them.")
    async with database.platform() as connection:
        tenant_id = await _tenant(connection, tenant_slug)
        if instance_id is not None:
            instance, epoch = await _instance(connection, tenant_id, tenant_slug, instance_id)
            return tokens.issue(ActorKind.INSTANCE, str(instance), tenant=tenant_slug, epoch=epoch)
        if role is None:
            raise CannotIssue("--role is missing: say which role the operator must hold, such as admin.")
        subject = await _holder(connection, tenant_id, tenant_slug, role, operator_email)
    try:
        return tokens.issue(ActorKind.OPERATOR, subject, tenant=tenant_slug)
    except ValueError as error:
        raise CannotIssue(str(error)) from error


async def _tenant(connection: AsyncConnection, slug: str) -> UUID:
    found = (await connection.execute(select(Tenant.id).where(Tenant.slug == slug))).scalar()
    if found is None:
        raise CannotIssue(
            f"--tenant: there is no tenant '{slug}'. {await _there_are(connection, select(Tenant.slug), 'tenant')}"
        )
    return found


async def _instance(connection: AsyncConnection, tenant: UUID, slug: str, text: str) -> tuple[UUID, int]:
    try:
        instance_id = UUID(text.removeprefix(_INSTANCE_PREFIX))
    except ValueError:
        raise CannotIssue(f"--instance: '{text}' is no id of an instance; it looks like ins_0199…") from None
    statement = select(AgentInstance.state, AgentInstance.token_epoch).where(
        AgentInstance.tenant_id == tenant, AgentInstance.id == instance_id
    )
    found = (await connection.execute(statement)).first()
    if found is None:
        raise CannotIssue(f"--instance: {slug} has no instance {text}.")
    if found.state is InstanceState.RETIRED:
        raise CannotIssue(f"--instance: {text} is RETIRED, and no token of it is ever good again.")
    return instance_id, found.token_epoch


async def _holder(connection: AsyncConnection, tenant: UUID, slug: str, role: str, email: str | None) -> str:
    """The subject of the operator whom the arguments mean."""
    roles = (await connection.execute(select(Role.id, Role.name).where(Role.tenant_id == tenant))).all()
    chosen = next((one for one in roles if role_key(one.name) == role_key(role)), None)
    if chosen is None:
        known = select(Role.name).where(Role.tenant_id == tenant)
        raise CannotIssue(f"--role: {slug} has no role '{role}'. {await _there_are(connection, known, 'role')}")
    holders = (
        select(Operator.auth_id)
        .join(
            RoleAssignment,
            and_(RoleAssignment.tenant_id == Operator.tenant_id, RoleAssignment.operator_id == Operator.id),
        )
        .where(
            Operator.tenant_id == tenant,
            Operator.status == OperatorStatus.ACTIVE,
            RoleAssignment.role_id == chosen.id,
            or_(RoleAssignment.expires_at.is_(None), RoleAssignment.expires_at > datetime.now(UTC)),
        )
        .order_by(RoleAssignment.project_id.is_not(None), RoleAssignment.environment_id.is_not(None), Operator.id)
        .limit(1)
    )
    if email is not None:
        holders = holders.where(func.lower(Operator.email) == email.strip().lower())
    subject = (await connection.execute(holders)).scalar()
    if subject is None:
        who = "no active operator" if email is None else f"no active operator {email}"
        raise CannotIssue(
            f"{'--role' if email is None else '--operator'}: {slug} has {who} with the role {chosen.name}."
        )
    return subject


async def _there_are(connection: AsyncConnection, names: Select[str], what: str) -> str:
    found: Sequence[str] = sorted((await connection.execute(names)).scalars())
    return f"The {what}s: {', '.join(found)}." if found else f"There is no {what} at all yet."
