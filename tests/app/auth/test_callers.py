"""Callers that are remembered: no query on the hot path, and never a right that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from joserfc.jwk import ECKey
from sqlalchemy import delete, update

from app.auth.actor import ActorKind
from app.auth.authenticate import Authenticator
from app.auth.callers import ACTOR_SECONDS, Callers
from app.auth.tokens import LocalTokens
from app.graph.errors import Unauthenticated
from app.graph.ids import global_id
from db import models
from db.bell import EVERYWHERE, Feed
from db.connections import Connections
from db.enums import OperatorStatus
from db.session import Database
from tests.app.auth.conftest import Fleet
from tests.conftest import TenantUnderTest
from tests.serving import Served, open_application, serve

TOKENS = LocalTokens(ECKey.generate_key("P-256", private=True, auto_kid=True), operators=True)


class Counting:
    """The database, counting what is asked of it; `meanwhile` happens while it answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements = 0
        self.meanwhile: Any = None

    async def fetch_one(self, sql: str, *arguments: Any) -> Mapping[str, Any] | None:
        self.statements += 1
        found = await self._database.fetch_one(sql, *arguments)
        if self.meanwhile is not None:
            self.meanwhile()
        return found


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def rows(database: Database) -> Counting:
    return Counting(database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def callers(rows: Counting, clock: Clock) -> Callers:
    return Callers(Authenticator(rows, local=TOKENS), clock=clock)


async def ada(fleet: Fleet) -> str:
    operator = await fleet.operator("ada")
    await fleet.assign(operator, await fleet.role("Reader", "read:tasks"))
    return "Bearer " + TOKENS.issue(ActorKind.OPERATOR, "ada", tenant=fleet.slug)


async def test_who_calls_again_costs_no_query(fleet: Fleet, callers: Callers, rows: Counting, clock: Clock) -> None:
    """Neither a signature is checked nor the database asked, for a second."""
    token = await ada(fleet)
    first = await callers.authenticate(token, None)
    assert await callers.authenticate(token, None) is first
    assert rows.statements == 1
    clock.seconds += ACTOR_SECONDS
    assert (await callers.authenticate(token, None)).id == first.id
    assert rows.statements == 2


async def test_of_many_requests_at_once_one_asks(fleet: Fleet, callers: Callers, rows: Counting, clock: Clock) -> None:
    """All find the same second over. Where the one that asks fails or goes away, the others ask for themselves."""
    token = await ada(fleet)
    before = await callers.authenticate(token, None)
    clock.seconds += ACTOR_SECONDS
    found = await asyncio.gather(*(callers.authenticate(token, None) for _ in range(20)))
    assert rows.statements == 2
    assert all(one is found[0] and one is not before for one in found)
    clock.seconds += ACTOR_SECONDS
    asking = [asyncio.create_task(callers.authenticate(token, None)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert {one.id for one in await asyncio.gather(*asking[1:])} == {before.id}
    with pytest.raises(asyncio.CancelledError):
        await asking[0]


async def test_who_waited_for_another_look_up_hears_of_what_rang_meanwhile(
    fleet: Fleet, callers: Callers, rows: Counting, clock: Clock
) -> None:
    """What the one that asked was told may be older than what the others are to know."""
    token = await ada(fleet)
    await callers.authenticate(token, None)
    clock.seconds += ACTOR_SECONDS

    def ring_once() -> None:
        rows.meanwhile = None
        callers.hear(fleet.tenant_id, Feed.PEOPLE)

    rows.meanwhile = ring_once
    await asyncio.gather(*(callers.authenticate(token, None) for _ in range(3)))
    assert rows.statements > 2


@pytest.mark.parametrize("feed", [Feed.PEOPLE, Feed.AGENTS, Feed.ROWS, Feed.EVENTS, Feed.CHANGES])
async def test_a_ring_forgets_whom_it_is_about(fleet: Fleet, callers: Callers, rows: Counting, feed: Feed) -> None:
    """A person is looked up again when people changed, and not when an agent did."""
    token = await ada(fleet)
    await callers.authenticate(token, None)
    callers.hear(UUID(int=7), Feed.PEOPLE)
    callers.hear(fleet.tenant_id, feed)
    await callers.authenticate(token, None)
    assert rows.statements == (2 if feed is Feed.PEOPLE else 1)


async def test_a_ring_for_everywhere_is_about_everybody(fleet: Fleet, callers: Callers, rows: Counting) -> None:
    """What the platform changed, and what may have been missed while the line was down."""
    token = await ada(fleet)
    await callers.authenticate(token, None)
    callers.hear(EVERYWHERE, Feed.PEOPLE)
    await callers.authenticate(token, None)
    callers.forget()
    await callers.authenticate(token, None)
    assert rows.statements == 3


async def test_a_ring_during_the_look_up_counts(fleet: Fleet, callers: Callers, rows: Counting) -> None:
    """What the database said before a change was committed is not kept beyond this request."""
    token = await ada(fleet)
    rows.meanwhile = lambda: callers.hear(fleet.tenant_id, Feed.PEOPLE)
    await callers.authenticate(token, None)
    rows.meanwhile = None
    await callers.authenticate(token, None)
    assert rows.statements == 2


async def test_a_token_that_ends_is_refused_although_it_is_remembered(fleet: Fleet, rows: Counting) -> None:
    """The memory never makes a token last longer."""
    token = await ada(fleet)
    now = datetime.now(UTC)
    callers = Callers(Authenticator(rows, local=TOKENS), now=lambda: now)
    actor = await callers.authenticate(token, None)
    now = actor.token_expires_at + timedelta(seconds=1)
    late = LocalTokens(ECKey.generate_key("P-256", private=True, auto_kid=True), operators=True)
    callers._authenticator = Authenticator(rows, local=late)  # whoever verifies again refuses
    with pytest.raises(Unauthenticated):
        await callers.authenticate(token, None)


async def test_refusals_are_not_remembered(fleet: Fleet, callers: Callers, rows: Counting) -> None:
    """Who is made an operator may come in at once."""
    token = "Bearer " + TOKENS.issue(ActorKind.OPERATOR, "ada", tenant=fleet.slug)
    with pytest.raises(Unauthenticated):
        await callers.authenticate(token, None)
    await ada(fleet)
    assert (await callers.authenticate(token, None)).name == "Ada"
    assert len(callers) == 1


async def test_the_header_of_another_tenant_is_another_caller(fleet: Fleet, callers: Callers) -> None:
    """What is remembered is remembered of the token and the header together."""
    token = await ada(fleet)
    await callers.authenticate(token, fleet.slug)
    with pytest.raises(Unauthenticated):
        await callers.authenticate(token, "another")


# --- Across gateways --------------------------------------------------------------------------------------------------

TASKS = "{ tasks { totalCount } }"


async def status(client: Any, token: str) -> int:
    response = await client.post(
        "/graphql",
        json={"query": TASKS},
        headers={"Authorization": f"Bearer {token}", "Accept": "application/graphql-response+json"},
    )
    return int(response.status_code)


async def becomes(client: Any, token: str, expected: int, within: float) -> float:
    """How long it takes until the gateway answers so; AssertionError where it takes longer than `within` seconds."""
    started = asyncio.get_running_loop().time()
    while await status(client, token) != expected:
        elapsed = asyncio.get_running_loop().time() - started
        assert elapsed < within, f"still not {expected} after {elapsed:.2f} s"
        await asyncio.sleep(0.01)
    return asyncio.get_running_loop().time() - started


@asynccontextmanager
async def two_gateways(
    connections: Connections, tenant: TenantUnderTest, directory: Path
) -> AsyncIterator[tuple[Served, Any]]:
    """A gateway, and a client of another one on the same database, which hears of what the first one does."""
    async with (
        serve(connections, tenant, directory) as served,
        open_application(connections, directory) as (_, other),
    ):
        await asyncio.sleep(0.3)  # until the line between the two is up
        yield served, other


GRANTS = "query($id: ID!) { operator(id: $id) { roleAssignments { edges { node { id } } } } }"
REVOKE = "mutation($id: ID!) { roleRevoke(input: {assignmentId: $id}) { userErrors { code message } } }"


async def test_rbac_6_a_revoked_right_is_gone_in_every_gateway(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """Two gateways: what one revokes is refused by it at once, and by the other within a second."""
    async with two_gateways(connections, tenant, tmp_path) as (served, other):
        operator = await served.operator("Viewer")
        token = served.token_of(operator)
        assert await status(served.client, token) == 200
        assert await status(other, token) == 200
        found = await served.post(GRANTS, id=global_id("opr", operator.id))
        (grant,) = found["data"]["operator"]["roleAssignments"]["edges"]
        revoked = await served.post(REVOKE, id=grant["node"]["id"])
        assert revoked["data"]["roleRevoke"]["userErrors"] == []
        assert await status(served.client, token) == 403
        assert await becomes(other, token, 403, within=1.0) < 1.0


async def test_rbac_11_a_suspended_person_and_an_agent_whose_token_was_revoked_are_out_in_every_gateway(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """A change of the operator, and of the agent's token epoch."""
    async with two_gateways(connections, tenant, tmp_path) as (served, other):
        gateway = served.application.gateway
        tokens = gateway.authenticator.local
        assert tokens is not None
        operator = await served.operator("Viewer")
        instance = await Fleet(tenant).instance()
        person = served.token_of(operator)
        agent = tokens.issue(ActorKind.INSTANCE, str(instance), tenant=tenant.slug, epoch=2)
        for token in (person, agent):
            assert await status(served.client, token) == 200
            assert await status(other, token) == 200
        for model, row_id, change in (
            (models.Operator, operator.id, {"status": OperatorStatus.SUSPENDED}),
            (models.AgentInstance, instance, {"token_epoch": 3}),
        ):
            async with gateway.database.transaction(tenant.actor()) as session:
                await session.execute(update(model).where(model.id == row_id).values(**change))
        for token in (person, agent):
            assert await status(served.client, token) == 401
            await becomes(other, token, 401, within=1.0)


WITHDRAW = """mutation($id: ID!) { operatorConsentWithdraw(input: {operatorId: $id}) {
  operator { status gdprConsentAt } userErrors { code message } } }"""
REACTIVATE = "mutation($id: ID!) { operatorReactivate(input: {operatorId: $id}) { operator { gdprConsentAt } } }"
CONSENT = "query($id: ID!) { operator(id: $id) { gdprConsentAt } }"


async def test_gdpr_4_who_withdraws_their_consent_is_out_in_every_gateway(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """By the person themself, without a permission; once an admin lets them in again, the next request is consent."""
    async with two_gateways(connections, tenant, tmp_path) as (served, other):
        operator = await served.operator("Viewer")
        token, subject = served.token_of(operator), global_id("opr", operator.id)
        assert await status(served.client, token) == 200
        assert await status(other, token) == 200
        withdrawn = await served.post(WITHDRAW, token, id=subject)
        assert withdrawn["data"]["operatorConsentWithdraw"] == {
            "operator": {"status": "SUSPENDED", "gdprConsentAt": None},
            "userErrors": [],
        }
        assert await status(served.client, token) == 401
        await becomes(other, token, 401, within=1.0)
        back = await served.post(REACTIVATE, id=subject)
        assert back["data"]["operatorReactivate"]["operator"]["gdprConsentAt"] is None
        assert await status(served.client, token) == 200
        await becomes(other, token, 200, within=1.0)
        again = (await served.post(CONSENT, id=subject))["data"]["operator"]["gdprConsentAt"]
        assert datetime.now(UTC) - datetime.fromisoformat(again) < timedelta(minutes=1)


async def test_what_is_changed_past_the_gateways_is_noticed_within_a_second(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """Nobody rings for it: the second stands behind the bell."""
    async with serve(connections, tenant, tmp_path) as served:
        operator = await served.operator("Viewer")
        token = served.token_of(operator)
        assert await status(served.client, token) == 200
        async with tenant.database.platform() as connection:  # the test's own database, whose bell is none
            await connection.execute(
                delete(models.RoleAssignment).where(models.RoleAssignment.operator_id == operator.id)
            )
        await becomes(served.client, token, 403, within=ACTOR_SECONDS + 0.5)
