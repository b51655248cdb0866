"""The tokens of `fleetgraph token` (decision 25)."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from joserfc.jwk import ECKey

from app.auth.actor import ActorKind
from app.auth.authenticate import Authenticator
from app.auth.issue import CannotIssue, issue_demo_token
from app.auth.tokens import LocalTokens
from db.enums import InstanceState, OperatorStatus
from tests.app.auth.conftest import Fleet

KEY = ECKey.generate_key("P-256", private=True, auto_kid=True)
TOKENS = LocalTokens(KEY, operators=True)


async def holder(fleet: Fleet, token: str) -> UUID:
    """Whom the token lets in."""
    return (await Authenticator(fleet.database, local=TOKENS).authenticate(f"Bearer {token}", None)).id


@pytest.mark.parametrize("spelling", ["Super Approver", "super approver", "SUPER_APPROVER", "super-approver"])
async def test_decision_25_a_role_in_any_case_picks_an_operator_who_holds_it(fleet: Fleet, spelling: str) -> None:
    await fleet.operator("grace")
    ada = await fleet.operator("ada")
    await fleet.assign(ada, await fleet.role("Super Approver", "read:tasks"))
    token = await issue_demo_token(fleet.database, TOKENS, fleet.slug, spelling)
    assert await holder(fleet, token) == ada
    assert TOKENS.verify(token).tenant == fleet.slug


async def test_the_widest_grant_comes_first_and_then_the_longest_serving_operator(fleet: Fleet) -> None:
    role = await fleet.role("Admin", "read:tasks")
    scoped, first, second = [await fleet.operator(name) for name in ("scoped", "first", "second")]
    await fleet.assign(scoped, role, project_id=fleet.project_id)
    await fleet.assign(second, role)
    await fleet.assign(first, role)
    assert await holder(fleet, await issue_demo_token(fleet.database, TOKENS, fleet.slug, "admin")) == first


async def test_an_address_chooses_among_the_holders(fleet: Fleet) -> None:
    role = await fleet.role("Admin", "read:tasks")
    ada, grace = await fleet.operator("ada"), await fleet.operator("grace")
    await fleet.assign(ada, role)
    await fleet.assign(grace, role)
    token = await issue_demo_token(fleet.database, TOKENS, fleet.slug, "admin", " GRACE@fleet.example")
    assert await holder(fleet, token) == grace


async def test_a_holder_who_could_not_come_in_is_not_picked(fleet: Fleet) -> None:
    role = await fleet.role("Admin", "read:tasks")
    await fleet.assign(await fleet.operator("gone", OperatorStatus.SUSPENDED), role)
    await fleet.assign(await fleet.operator("past"), role, expires_at=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(CannotIssue, match=f"--role: {fleet.slug} has no active operator with the role Admin"):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, "admin")


async def test_an_address_without_the_role_is_an_error_and_nobody_else_is_taken(fleet: Fleet) -> None:
    await fleet.assign(await fleet.operator("ada"), await fleet.role("Admin", "read:tasks"))
    await fleet.operator("grace")
    with pytest.raises(
        CannotIssue, match=r"--operator: .* no active operator grace@fleet\.example with the role Admin"
    ):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, "admin", "grace@fleet.example")


async def test_another_tenants_holder_is_not_taken(fleet: Fleet, other: Fleet) -> None:
    await fleet.role("Admin", "read:tasks")
    await other.assign(await other.operator("ada"), await other.role("Admin", "read:tasks"))
    with pytest.raises(CannotIssue, match="no active operator"):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, "admin")


async def test_an_unknown_tenant_or_role_is_answered_with_those_there_are(fleet: Fleet) -> None:
    await fleet.role("Admin", "read:tasks")
    with pytest.raises(CannotIssue, match=f"--tenant: there is no tenant 'nowhere'.*{fleet.slug}"):
        await issue_demo_token(fleet.database, TOKENS, "nowhere", "admin")
    with pytest.raises(CannotIssue, match=r"--role: .* has no role 'janitor'\. The roles: Admin\."):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, "janitor")


async def test_a_tenant_without_roles_says_so(fleet: Fleet) -> None:
    with pytest.raises(CannotIssue, match="There is no role at all yet"):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, "admin")


@pytest.mark.parametrize("spelling", ["{0}", "ins_{0.hex}", "{0.hex}"])
async def test_an_agents_token_carries_the_epoch_it_has_now(fleet: Fleet, spelling: str) -> None:
    instance = await fleet.instance()
    token = await issue_demo_token(fleet.database, TOKENS, fleet.slug, instance_id=spelling.format(instance))
    assert TOKENS.verify(token).epoch == 2
    assert await holder(fleet, token) == instance


async def test_no_token_for_an_agent_that_is_unknown_retired_or_of_another_tenant(fleet: Fleet, other: Fleet) -> None:
    with pytest.raises(CannotIssue, match="no id of an instance"):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, instance_id="tsk_12")
    with pytest.raises(CannotIssue, match="has no instance"):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, instance_id=str(await other.instance()))
    retired = await fleet.instance(InstanceState.RETIRED)
    with pytest.raises(CannotIssue, match="RETIRED"):
        await issue_demo_token(fleet.database, TOKENS, fleet.slug, instance_id=str(retired))


async def test_decision_24_the_platforms_token_stands_alone(fleet: Fleet) -> None:
    token = await issue_demo_token(fleet.database, TOKENS, None, "Platform")
    assert TOKENS.verify(token).kind is ActorKind.PLATFORM
    with pytest.raises(CannotIssue, match="stands alone"):
        await issue_demo_token(fleet.database, TOKENS, None, "platform", "ada@fleet.example")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"tenant_slug": None, "role": "admin"}, "--tenant is missing"),
        ({"role": None}, "--role is missing"),
        ({"role": "admin", "operator_email": "a@b.c", "instance_id": "ins_1"}, "exclude each other"),
        ({"role": "admin", "tokens": None}, "FLEETGRAPH_SECRET_KEY"),
    ],
)
async def test_arguments_that_name_nobody_are_refused_with_the_remedy(
    fleet: Fleet, arguments: dict[str, None], reason: str
) -> None:
    given = {"database": fleet.database, "tokens": TOKENS, "tenant_slug": fleet.slug} | arguments
    with pytest.raises(CannotIssue, match=reason):
        await issue_demo_token(**given)  # type: ignore[arg-type]


async def test_where_operators_sign_in_elsewhere_the_gateway_makes_none_of_their_tokens(fleet: Fleet) -> None:
    await fleet.assign(await fleet.operator("ada"), await fleet.role("Admin", "read:tasks"))
    instance = await fleet.instance()
    only_agents = LocalTokens(KEY, operators=False)
    with pytest.raises(CannotIssue, match="OIDC"):
        await issue_demo_token(fleet.database, only_agents, fleet.slug, "admin")
    assert await issue_demo_token(fleet.database, only_agents, fleet.slug, instance_id=str(instance))
