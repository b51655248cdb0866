"""From a bearer token to the actor, with the database's word on who exists and what they may do."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from joserfc.jwk import ECKey
from structlog.testing import capture_logs

from app.auth.actor import NO_TENANT, Actor, ActorKind
from app.auth.authenticate import Authenticator
from app.auth.scope import NO_GRANTS, TENANT_WIDE, Scope
from app.auth.tokens import LocalTokens
from app.graph.errors import Unauthenticated
from db.enums import InstanceState, OperatorStatus
from db.models import AgentInstance, Operator, RoleAssignment, Tenant
from db.session import Database
from tests.app.auth.conftest import Fleet

KEY = ECKey.generate_key("P-256", private=True, auto_kid=True)
TOKENS = LocalTokens(KEY, operators=True)
REFUSAL = "Send a valid bearer token in the Authorization header."


class Counting:
    """The database, counting what is asked of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements = 0

    async def fetch_one(self, sql: str, *arguments: Any) -> Mapping[str, Any] | None:
        self.statements += 1
        return await self._database.fetch_one(sql, *arguments)


@pytest.fixture
def rows(database: Database) -> Counting:
    return Counting(database)


@pytest.fixture
def authenticator(rows: Counting) -> Authenticator:
    return Authenticator(rows, local=TOKENS)


def ada(tenant: Fleet | None = None) -> str:
    return "Bearer " + TOKENS.issue(ActorKind.OPERATOR, "ada", tenant=None if tenant is None else tenant.slug)


def scout(fleet: Fleet, instance: UUID, epoch: int = 2) -> str:
    return "Bearer " + TOKENS.issue(ActorKind.INSTANCE, str(instance), tenant=fleet.slug, epoch=epoch)


async def refused(authenticator: Authenticator, authorization: str | None, tenant: str | None = None) -> str:
    """Assert that the caller gets the one refusal there is, and return the reason in the log."""
    with capture_logs() as logs, pytest.raises(Unauthenticated) as refusal:
        await authenticator.authenticate(authorization, tenant)
    assert refusal.value.message == REFUSAL
    assert refusal.value.__cause__ is None
    reason: str = logs[-1]["reason"]
    return reason


async def test_rbac_9_a_subject_becomes_the_operator_in_one_statement(
    fleet: Fleet, authenticator: Authenticator, rows: Counting
) -> None:
    operator = await fleet.operator("ada")
    await fleet.assign(operator, await fleet.role("Reader", "read:tasks"))
    actor = await authenticator.authenticate(ada(fleet), None)
    assert (actor.kind, actor.id, actor.name) == (ActorKind.OPERATOR, operator, "Ada")
    assert (actor.tenant_id, actor.tenant_slug) == (fleet.tenant_id, fleet.slug)
    assert dict(actor.permissions) == {"read:tasks": TENANT_WIDE}
    assert actor.token_expires_at > datetime.now(UTC)
    assert rows.statements == 1


async def test_rbac_7_grants_are_the_union_of_scoped_and_tenant_wide_assignments(
    fleet: Fleet, authenticator: Authenticator
) -> None:
    operator, project, environment = await fleet.operator("ada"), fleet.project_id, fleet.environment_id
    reader, writer = await fleet.role("Reader", "read:tasks", "read:runs"), await fleet.role("Writer", "write:tasks")
    await fleet.assign(operator, reader)
    await fleet.assign(operator, reader, project_id=project)
    await fleet.assign(operator, writer, project_id=project)
    await fleet.assign(operator, writer, environment_id=environment)
    actor = await authenticator.authenticate(ada(fleet), None)
    assert dict(actor.permissions) == {
        "read:tasks": TENANT_WIDE,
        "read:runs": TENANT_WIDE,
        "write:tasks": Scope(projects=frozenset({project}), environments=frozenset({environment})),
    }


async def test_rbac_6_a_grant_for_a_project_and_an_environment_needs_both(
    fleet: Fleet, authenticator: Authenticator
) -> None:
    operator, project, environment = await fleet.operator("ada"), fleet.project_id, fleet.environment_id
    await fleet.assign(
        operator, await fleet.role("Writer", "write:tasks"), project_id=project, environment_id=environment
    )
    reach = (await authenticator.authenticate(ada(fleet), None)).scope("write:tasks")
    assert reach.covers(project, environment)
    assert not reach.covers(project)
    assert not reach.covers(None, environment)


async def test_rbac_6_expired_grants_are_ignored(fleet: Fleet, authenticator: Authenticator) -> None:
    operator, now = await fleet.operator("ada"), datetime.now(UTC)
    await fleet.assign(operator, await fleet.role("Past", "write:tasks"), expires_at=now - timedelta(seconds=1))
    await fleet.assign(operator, await fleet.role("Future", "read:tasks"), expires_at=now + timedelta(hours=1))
    assert set((await authenticator.authenticate(ada(fleet), None)).permissions) == {"read:tasks"}


async def test_a_revoked_grant_is_gone_at_the_next_request(fleet: Fleet, authenticator: Authenticator) -> None:
    operator = await fleet.operator("ada")
    grant = await fleet.assign(operator, await fleet.role("Reader", "read:tasks"))
    assert (await authenticator.authenticate(ada(fleet), None)).can("read:tasks")
    await fleet.remove(RoleAssignment, grant)
    assert (await authenticator.authenticate(ada(fleet), None)).permissions == NO_GRANTS


async def test_rbac_9_an_unknown_subject_is_refused(fleet: Fleet, authenticator: Authenticator) -> None:
    await fleet.operator("grace")
    assert (await refused(authenticator, ada(fleet))).startswith("unknown subject user_")
    assert "unknown subject" in await refused(
        authenticator, "Bearer " + TOKENS.issue(ActorKind.OPERATOR, "nobody-at-all")
    )


@pytest.mark.parametrize("status", [OperatorStatus.SUSPENDED, OperatorStatus.DEACTIVATED])
async def test_a_suspended_or_deactivated_operator_is_refused(
    fleet: Fleet, authenticator: Authenticator, status: OperatorStatus
) -> None:
    operator = await fleet.operator("ada")
    assert (await authenticator.authenticate(ada(fleet), None)).id == operator
    await fleet.change(Operator, operator, status=status)
    assert await refused(authenticator, ada(fleet)) == f"operator {operator} is {status}"


async def test_nobody_of_an_inactive_tenant_comes_in(fleet: Fleet, authenticator: Authenticator) -> None:
    await fleet.operator("ada")
    instance = await fleet.instance()
    await fleet.change(Tenant, fleet.tenant_id, active=False)
    assert "unknown subject" in await refused(authenticator, ada(fleet))
    assert "unknown instance" in await refused(authenticator, scout(fleet, instance))


async def test_decision_24_a_person_of_several_tenants_names_one_in_the_header(
    fleet: Fleet, other: Fleet, authenticator: Authenticator
) -> None:
    subject = f"person-{fleet.slug}"
    here, there = await fleet.operator(subject), await other.operator(subject)
    token = "Bearer " + TOKENS.issue(ActorKind.OPERATOR, subject)
    with pytest.raises(Unauthenticated, match="several tenants: name one in the header Fleetgraph-Tenant"):
        await authenticator.authenticate(token, None)
    assert (await authenticator.authenticate(token, fleet.slug)).id == here
    assert (await authenticator.authenticate(token, f" {other.slug} ")).id == there
    assert (await authenticator.authenticate(token, other.slug)).tenant_id == other.tenant_id


async def test_decision_24_a_person_of_one_tenant_need_not_name_it(fleet: Fleet, authenticator: Authenticator) -> None:
    subject = f"person-{fleet.slug}"
    operator = await fleet.operator(subject)
    token = "Bearer " + TOKENS.issue(ActorKind.OPERATOR, subject)
    for header in (None, "", " ", fleet.slug):
        assert (await authenticator.authenticate(token, header)).id == operator


async def test_a_token_for_one_tenant_opens_no_other(fleet: Fleet, other: Fleet, authenticator: Authenticator) -> None:
    await fleet.operator("ada")
    await other.operator("ada")
    assert (await authenticator.authenticate(ada(fleet), fleet.slug)).tenant_id == fleet.tenant_id
    assert await refused(authenticator, ada(fleet), other.slug) == "the header names another tenant than the token"


@pytest.mark.parametrize("header", ["no-such-tenant", "x" * 300, "a\x00b", "\ud800", "'; DROP TABLE tenants; --", "ä"])
async def test_a_header_that_names_no_tenant_is_refused(
    fleet: Fleet, authenticator: Authenticator, header: str
) -> None:
    subject = f"person-{fleet.slug}"
    await fleet.operator(subject)
    await refused(authenticator, "Bearer " + TOKENS.issue(ActorKind.OPERATOR, subject), header)


async def test_rbac_11_an_agent_acts_as_itself_in_its_tenant_and_project(
    fleet: Fleet, authenticator: Authenticator, rows: Counting
) -> None:
    instance = await fleet.instance()
    actor = await authenticator.authenticate(scout(fleet, instance), None)
    assert (actor.kind, actor.id, actor.name) == (ActorKind.INSTANCE, instance, "Scout")
    assert (actor.tenant_id, actor.tenant_slug) == (fleet.tenant_id, fleet.slug)
    assert actor.instance_state == "ACTIVE"
    assert actor.project_id == fleet.project_id
    assert actor.scope("read:tasks") == Scope(projects=frozenset({fleet.project_id}))
    assert rows.statements == 1


async def test_an_agent_without_a_name_goes_by_its_id(fleet: Fleet, authenticator: Authenticator) -> None:
    instance = await fleet.instance(name=None)
    assert (await authenticator.authenticate(scout(fleet, instance), None)).name == f"ins_{instance.hex}"


async def test_decision_26_quarantine_leaves_an_agent_nothing_but_its_name(
    fleet: Fleet, authenticator: Authenticator
) -> None:
    instance = await fleet.instance()
    token = scout(fleet, instance)
    assert (await authenticator.authenticate(token, None)).permissions
    await fleet.change(AgentInstance, instance, state=InstanceState.QUARANTINED)
    actor = await authenticator.authenticate(token, None)
    assert actor.permissions == NO_GRANTS
    assert actor.instance_state == "QUARANTINED"


async def test_decision_26_a_retired_agent_is_refused(fleet: Fleet, authenticator: Authenticator) -> None:
    instance = await fleet.instance()
    await fleet.change(AgentInstance, instance, state=InstanceState.RETIRED)
    assert await refused(authenticator, scout(fleet, instance)) == f"instance {instance} is RETIRED"


async def test_decision_26_a_new_epoch_kills_every_token_before_it(fleet: Fleet, authenticator: Authenticator) -> None:
    instance = await fleet.instance()
    token = scout(fleet, instance)
    assert (await authenticator.authenticate(token, None)).id == instance
    await fleet.change(AgentInstance, instance, token_epoch=3)
    assert "revoked" in await refused(authenticator, token)
    assert "revoked" in await refused(authenticator, scout(fleet, instance, epoch=4))
    assert (await authenticator.authenticate(scout(fleet, instance, epoch=3), None)).id == instance


async def test_an_agents_token_opens_no_other_tenant(fleet: Fleet, other: Fleet, authenticator: Authenticator) -> None:
    instance = await fleet.instance()
    assert "unknown instance" in await refused(authenticator, scout(other, instance))
    assert "another tenant" in await refused(authenticator, scout(fleet, instance), other.slug)


async def test_an_operators_subject_is_no_agent_and_an_agents_no_operator(
    fleet: Fleet, authenticator: Authenticator
) -> None:
    await fleet.operator("ada")
    wrong = TOKENS.issue(ActorKind.INSTANCE, "ada", tenant=fleet.slug, epoch=2)
    assert "is no id" in await refused(authenticator, f"Bearer {wrong}")
    instance = await fleet.instance()
    swapped = TOKENS.issue(ActorKind.OPERATOR, str(instance), tenant=fleet.slug)
    assert "unknown subject" in await refused(authenticator, f"Bearer {swapped}")


async def test_decision_24_the_platforms_token_needs_no_look_at_the_database(
    authenticator: Authenticator, rows: Counting
) -> None:
    actor = await authenticator.authenticate("Bearer " + TOKENS.issue(ActorKind.PLATFORM, "platform"), None)
    assert (actor.kind, actor.tenant_id) == (ActorKind.PLATFORM, NO_TENANT)
    assert rows.statements == 0


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic YWRhOmFkYQ==", "Token abc", "Bearer a.b.c", "Bearer \ud800", "bearer\tx"],
)
async def test_no_token_no_look_at_the_database(
    authenticator: Authenticator, rows: Counting, authorization: str | None
) -> None:
    await refused(authenticator, authorization)
    assert rows.statements == 0


async def test_the_scheme_is_written_in_any_case(fleet: Fleet, authenticator: Authenticator) -> None:
    operator = await fleet.operator("ada")
    token = ada(fleet).removeprefix("Bearer ")
    assert (await authenticator.authenticate(f"bEARER   {token} ", None)).id == operator


async def test_a_token_of_another_gateway_or_issuer_is_refused(fleet: Fleet, rows: Counting) -> None:
    await fleet.operator("ada")
    stranger = LocalTokens(ECKey.generate_key("P-256", private=True, auto_kid=True), operators=True)
    assert "another key" in await refused(Authenticator(rows, local=stranger), ada(fleet))
    assert await refused(Authenticator(rows, local=None), ada(fleet)) == "unknown issuer"
    assert rows.statements == 0


async def test_a_broken_database_is_a_fault_and_no_refusal(fleet: Fleet) -> None:
    class Broken:
        async def fetch_one(self, sql: str, *arguments: Any) -> Mapping[str, Any] | None:
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await Authenticator(Broken(), local=TOKENS).authenticate(ada(fleet), None)


async def test_what_is_logged_of_a_refusal_names_no_person(fleet: Fleet, authenticator: Authenticator) -> None:
    token = TOKENS.issue(ActorKind.OPERATOR, "ada@northwind.example", tenant=fleet.slug)
    assert "ada" not in await refused(authenticator, f"Bearer {token}")


async def test_the_actor_sees_its_tenant_and_no_other(fleet: Fleet, other: Fleet, authenticator: Authenticator) -> None:
    """The resolved tenant is the one that row-level security then holds the caller to."""
    await fleet.operator("ada")
    await other.operator("grace")
    actor: Actor = await authenticator.authenticate(ada(fleet), None)
    async with fleet.database.transaction(actor) as session:
        connection = await session.connection()
        seen = await connection.exec_driver_sql("SELECT tenant_id FROM operators")
        assert {row.tenant_id for row in seen} == {fleet.tenant_id}


FUNCTIONS = [
    "resolve_operator('nobody-at-all', NULL)",
    "resolve_instance('x', gen_random_uuid())",
    "resolve_invitation('nobody@nowhere.example', NULL)",
]


@pytest.mark.parametrize("call", FUNCTIONS)
async def test_only_the_gateway_may_resolve_callers(database: Database, call: str) -> None:
    """SECURITY DEFINER: not for everybody, not with a search path that the caller chooses, not as a superuser."""
    found = await database.fetch_one(f"SELECT gateway.{call} AS found")
    assert found is not None
    assert found["found"] is None
    facts = await database.fetch_one(
        """
        SELECT p.prosecdef, p.proconfig, o.rolname, o.rolsuper,
               has_function_privilege('fleetgraph_owner', p.oid, 'EXECUTE') AS owner_may,
               EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0) AS public_may
        FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
        WHERE p.pronamespace = 'gateway'::regnamespace AND p.proname = $1
        """,
        call.split("(")[0],
    )
    assert facts is not None
    assert facts["prosecdef"]
    assert facts["proconfig"] == ["search_path=pg_catalog, pg_temp"]
    assert facts["rolname"] == "fleetgraph_platform"
    assert not facts["rolsuper"]
    assert not facts["public_may"]
    assert not facts["owner_may"]
