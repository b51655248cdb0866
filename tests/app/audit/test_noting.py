"""What is refused before it comes to a transaction stands in the security journal, and cannot fill it (AUD-1)."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Row, text
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from app.audit import noting
from app.audit.noting import SecurityNotes
from app.auth.actor import ActorKind, system_actor
from app.auth.claims import Bearer, TokenRejected
from app.auth.tokens import LocalTokens
from app.graph.scalars import parse_datetime
from app.main import Application
from app.origin import ORIGIN
from db.connections import Connection, Connections
from db.enums import InstanceState, OperatorStatus
from db.ids import new_id
from db.session import Database
from tests.app.auth.conftest import Fleet
from tests.app.auth.provider import AUDIENCE, RSA_TWO
from tests.app.auth.provider import running as providing
from tests.app.live.gateway import running, until
from tests.conftest import TenantUnderTest
from tests.serving import Served, open_application, serve

PLACE, NEARBY, ELSEWHERE = "203.0.113.77", "203.0.113.78", "198.51.100.9"


async def noted(tenant: TenantUnderTest, action: str | None = None) -> list[Row[Any]]:
    """The rows of an action, or of all that are noted here, in a tenant's journal."""
    async with tenant.database.platform() as connection:
        found = await connection.execute(
            text(
                "SELECT action, actor_type, actor_id, severity, description, ip_address, user_agent, resource,"
                " resource_id, timestamp, metadata FROM audit_logs WHERE tenant_id = :tenant AND action = ANY(:actions)"
                " ORDER BY ip_address DESC, id"
            ),
            {
                "tenant": tenant.id,
                "actions": [action] if action else ["RATE_LIMITED", "LOGIN_FAILED", "CROSS_TENANT_ATTEMPT"],
            },
        )
        return list(found)


async def status(application: Application, token: str, address: str = PLACE, **headers: str) -> int:
    """What an operation over HTTP from an address is answered with."""
    transport = httpx.ASGITransport(app=application, client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        sent = {"Authorization": f"Bearer {token}", "User-Agent": "curl/8.9", **headers}
        return (await client.post("/graphql", json={"query": "{ viewer { kind } }"}, headers=sent)).status_code


def tokens_of(application: Application) -> LocalTokens:
    tokens = application.gateway.authenticator.local
    assert tokens is not None
    return tokens


def stranger(tenant: TenantUnderTest, subject: str = "mallory") -> tuple[TokenRejected, Bearer, str | None]:
    """A refusal of somebody whom the tenant does not know, by the tenant's slug in the token."""
    return TokenRejected("unknown subject"), Bearer(ActorKind.OPERATOR, subject, tenant.slug), None


# --- RATE_LIMITED


async def test_who_asks_too_often_has_a_row_for_each_address_with_the_number_of_refusals(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """Operations within the rate are none, and a refusal waits for no statement."""
    async with serve(connections, tenant, tmp_path, queries_per_second=0.01) as served:
        admin, viewer = served.token_of(served.admin), await served.token("Viewer")
        answers = [await status(served.application, admin, place) for place in (PLACE, PLACE, NEARBY, ELSEWHERE, PLACE)]
        assert answers == [200, 429, 429, 429, 429]
        assert await status(served.application, viewer) == 200
        assert await noted(tenant) == []
        assert 'fleetgraph_security_notes{what="waiting"} 4.0' in (await served.client.get("/metrics")).text
    near, far = await noted(tenant)
    assert (near.ip_address, near.metadata["count"]) == ("203.0.113.0", 3)
    assert (far.ip_address, far.metadata["count"]) == ("198.51.100.0", 1)
    for row in (near, far):
        assert (row.action, row.severity, row.user_agent) == ("RATE_LIMITED", "WARNING", "curl")
        assert (row.actor_type, row.actor_id) == ("HUMAN", served.admin.id)
        assert row.description == "Asked for more operations than the rate allows."
    lasted = parse_datetime(near.metadata["until"]) - near.timestamp
    assert timedelta(milliseconds=-1) < lasted < timedelta(minutes=1)


# --- ACCESS_DENIED of reads


async def test_who_asks_for_what_they_may_not_read_has_a_row_for_each_permission(served: Served) -> None:
    """Queries log only denials; what a caller may read leaves nothing."""
    agent = await Fleet(served.tenant).instance()
    token = tokens_of(served.application).issue(ActorKind.INSTANCE, str(agent), tenant=served.tenant.slug, epoch=2)
    for query in (
        "{ roles { edges { node { name } } } }",
        "{ roles { edges { node { id } } } operators { edges { node { id } } } }",
        "{ webhooks { edges { node { id } } } }",
    ):
        answer = await served.post(query, token)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert "errors" not in await served.post("{ tasks { edges { node { id } } } }", token)
    await served.application.gateway.security_notes.close()
    rows = await noted(served.tenant, "ACCESS_DENIED")
    assert {(row.resource, row.metadata["count"]) for row in rows} == {("read:roles", 2), ("read:webhooks", 1)}
    assert {(row.actor_type, row.actor_id, row.severity) for row in rows} == {("AGENT", agent, "WARNING")}
    assert "To read what was asked for needs read:roles." in {row.description for row in rows}


# --- LOGIN_FAILED


async def test_who_is_known_and_let_in_no_more_has_failed_to_sign_in(served: Served) -> None:
    """A suspended person, a retired agent, and an agent whose token was revoked."""
    fleet, tokens = Fleet(served.tenant), tokens_of(served.application)
    person = await fleet.operator("sue", OperatorStatus.SUSPENDED)
    retired, revoked = await fleet.instance(InstanceState.RETIRED), await fleet.instance()
    for token in (
        tokens.issue(ActorKind.OPERATOR, "sue"),  # which names no tenant: the database knows it
        tokens.issue(ActorKind.INSTANCE, str(retired), tenant=fleet.slug, epoch=2),
        tokens.issue(ActorKind.INSTANCE, str(revoked), tenant=fleet.slug, epoch=1),
        tokens.issue(ActorKind.INSTANCE, str(revoked), tenant=fleet.slug, epoch=1),
    ):
        assert await status(served.application, token) == 401
    await served.application.gateway.security_notes.close()
    rows = await noted(served.tenant)
    assert {row.action for row in rows} == {"LOGIN_FAILED"}
    assert {(row.actor_type, row.actor_id, row.metadata["count"], row.description) for row in rows} == {
        ("HUMAN", person, 1, f"Not let in: operator {person} is SUSPENDED."),
        ("AGENT", retired, 1, f"Not let in: instance {retired} is RETIRED."),
        ("AGENT", revoked, 2, f"Not let in: token of instance {revoked} was revoked: epoch 1."),
    }


async def test_expired_tokens_and_people_whom_nobody_invited_are_noted_where_a_tenant_is_named(
    served: Served, other_tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the token, or by the header alone; an expired token still says whose it was."""
    application, slug = served.application, served.tenant.slug
    agent = await Fleet(served.tenant).instance()
    tokens = tokens_of(application)
    with monkeypatch.context() as earlier:
        earlier.setattr(tokens, "_clock", lambda: time.time() - 90_000)
        late = [
            tokens.issue(ActorKind.OPERATOR, served.admin.auth_id, tenant=slug),
            tokens.issue(ActorKind.INSTANCE, str(agent), tenant=slug, epoch=2),
        ]
    for token in late:
        assert await status(application, token) == 401
    assert await status(application, tokens.issue(ActorKind.OPERATOR, "eve", tenant=slug)) == 401
    assert await status(application, tokens.issue(ActorKind.OPERATOR, "mal"), **{"Fleetgraph-Tenant": slug}) == 401
    await application.gateway.security_notes.close()
    rows = await noted(served.tenant, "LOGIN_FAILED")
    assert [(row.actor_type, row.actor_id) for row in rows if "expired" in row.description] == [
        ("HUMAN", served.admin.id),
        ("AGENT", agent),
    ]
    unknown = [row for row in rows if "unknown subject user_" in row.description]
    assert [(row.actor_type, row.actor_id) for row in unknown] == [("HUMAN", None)] * 2
    assert len(rows) == 4
    assert await noted(other_tenant) == []


async def test_what_anybody_can_make_up_is_noted_nowhere(served: Served, tmp_path: Path) -> None:
    """A forged signature names no tenant, a tenant that there is not has no journal, and the platform is in none."""
    application, tokens = served.application, tokens_of(served.application)
    there = {"Fleetgraph-Tenant": served.tenant.slug}
    head, _, signature = tokens.issue(ActorKind.OPERATOR, served.admin.auth_id, tenant=served.tenant.slug).split(".")
    payload = tokens.issue(ActorKind.OPERATOR, "eve", tenant=served.tenant.slug).split(".")[1]
    assert await status(application, f"{head}.{payload}.{signature}", **there) == 401
    assert await status(application, "a.b.c", **there) == 401
    assert await status(application, tokens.issue(ActorKind.OPERATOR, "eve", tenant="nowhere")) == 401
    assert await status(application, tokens.issue(ActorKind.OPERATOR, "eve")) == 401
    tokens._clock = lambda: time.time() - 90_000
    gone = tokens.issue(ActorKind.PLATFORM, "platform")
    tokens._clock = time.time
    assert await status(application, gone, **there) == 401
    await application.gateway.security_notes.close()
    assert await noted(served.tenant) == []
    assert application.gateway.security_notes.figures() == {"waiting": 0, "written": 0, "lost": 0}


async def test_what_the_issuer_signed_and_the_gateway_refuses_is_noted(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """For another program, or past its time, or of a person with a verified address whom nobody invited."""
    ada = await Fleet(tenant).operator("auth0|ada")
    with providing() as provider:
        settings: dict[str, Any] = {"oidc_issuer": provider.issuer, "oidc_audience": AUDIENCE}
        good: dict[str, Any] = {"iat": int(time.time()), "exp": int(time.time()) + 300}
        async with open_application(connections, tmp_path, **settings) as (application, _client):
            there = {"Fleetgraph-Tenant": tenant.slug}
            invited: dict[str, Any] = {
                "email": "eve@example.com",
                "email_verified": True,
                "tenant": tenant.slug,
                **good,
            }
            unpublished = provider.token(RSA_TWO, tenant=tenant.slug, **good)
            assert [
                await status(application, token, **there)
                for token in (
                    provider.token(**good),
                    provider.token(aud="another-program", **good),
                    provider.token(iat=1, exp=2),
                    provider.token(sub="auth0|eve", **invited),
                    unpublished,
                )
            ] == [200, 401, 401, 401, 401]
    known, unknown = sorted(await noted(tenant), key=lambda row: row.actor_id is None)
    assert (known.action, known.actor_id, known.metadata["count"]) == ("LOGIN_FAILED", ada, 2)
    assert "aud" in known.description
    assert (unknown.action, unknown.actor_id, unknown.metadata["count"]) == ("LOGIN_FAILED", None, 1)
    assert "example.com" not in unknown.description


# --- CROSS_TENANT_ATTEMPT


async def test_a_request_for_another_tenant_than_the_tokens_is_noted_in_the_tokens_own(
    connections: Connections, tenant: TenantUnderTest, other_tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """Over HTTP and on a socket; nobody writes into a journal by naming its tenant, nor learns whether there is one."""
    agent = await Fleet(tenant).instance()
    async with running(connections, tmp_path) as gateway:
        person = gateway.token_of(tenant, "ada")
        ada = await Fleet(tenant).operator("ada")
        async with connect(gateway.socket_url, subprotocols=[Subprotocol("graphql-transport-ws")]) as socket:
            named = {"authorization": f"Bearer {person}", "tenant": other_tenant.slug}
            await socket.send(json.dumps({"type": "connection_init", "payload": named}))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
        token = gateway.token_of(tenant, str(agent), ActorKind.INSTANCE, epoch=2)
        for slug in (other_tenant.slug, "nowhere"):
            assert await status(gateway.application, token, **{"Fleetgraph-Tenant": slug}) == 401
        assert await status(gateway.application, token, **{"Fleetgraph-Tenant": tenant.slug}) == 200
    assert await noted(other_tenant) == []
    by_agent, by_person = sorted(await noted(tenant), key=lambda row: str(row.actor_type))
    for row in (by_agent, by_person):
        assert (row.action, row.severity) == ("CROSS_TENANT_ATTEMPT", "ERROR")
        assert (row.resource, row.resource_id) == ("tenants", other_tenant.slug)
    assert (by_agent.actor_id, by_agent.metadata["count"]) == (agent, 2)
    assert (by_person.actor_id, by_person.metadata["count"]) == (ada, 1)


# --- What it may cost


async def test_rows_come_by_themselves_and_a_flood_is_one_of_them(tenant: TenantUnderTest) -> None:
    """One a caller and time, with its count; the next time begins a new one."""
    notes = SecurityNotes(tenant.database, seconds=0.1)
    for written in (500, 1_000):
        for _ in range(500):
            notes.limited(tenant.actor(operator_id=tenant.id))
        await until(lambda written=written: notes.figures()["written"] == written)  # type: ignore[misc]
    assert [row.metadata["count"] for row in await noted(tenant)] == [500, 500]
    notes.limited(system_actor(tenant.id))  # the gateway itself, which has no rate
    await notes.close()
    assert notes.figures() == {"waiting": 0, "written": 1_000, "lost": 0}


async def test_one_tenants_refusals_take_nobodys_room(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses and subjects without end make so many rows and no more, and the log says what was lost."""
    monkeypatch.setattr(noting, "MOST_OF_TENANT", 3)
    monkeypatch.setattr(noting, "MOST", 7)
    notes = SecurityNotes(tenant.database)
    for number in range(20):
        ORIGIN.set(((f"10.0.{number}.1", 1), []))
        notes.limited(tenant.actor(operator_id=tenant.id))
        # By headers alone one may name any tenant: all of these are one room.
        rejected, bearer, _ = stranger(tenant)
        notes.not_let_in(rejected, Bearer(bearer.kind, bearer.subject, None), f"{tenant.slug}-{number}")
    notes.not_let_in(*stranger(other_tenant))
    notes.limited(other_tenant.actor(operator_id=tenant.id))
    with capture_logs() as lines:
        await notes.close()
    assert len(await noted(tenant)) == 3
    assert [row.action for row in await noted(other_tenant)] == ["LOGIN_FAILED"]
    assert lines == [
        {"event": "security_notes_lost", "log_level": "warning", "refusals": 35, "reason": "more than may wait"}
    ]
    assert notes.figures() == {"waiting": 0, "written": 4, "lost": 35}
    assert not notes._waiting


async def test_a_database_that_is_away_loses_rows_and_holds_up_nothing(
    connections: Connections, tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    """Nobody listens on that port."""
    nowhere = Connection("postgresql://gateway@127.0.0.1:9/gone")
    away = Database(Connections(nowhere, nowhere, nowhere, nowhere), pool_timeout_seconds=1)
    notes = SecurityNotes(away, seconds=0.05)
    try:
        with capture_logs() as lines:
            for one in (tenant, other_tenant):
                for _ in range(5):
                    notes.limited(one.actor(operator_id=tenant.id))
                notes.not_let_in(*stranger(one))
            await until(lambda: notes.figures()["lost"] == 12)
        assert [(line["event"], line["refusals"]) for line in lines] == [
            ("security_notes_lost", 10),
            ("security_notes_lost", 2),
        ]
        assert notes._work is None
        notes.limited(tenant.actor())  # and it tries again
        await until(lambda: notes.figures()["lost"] == 13)
    finally:
        await notes.close()
        await away.close()


async def test_the_end_of_the_process_waits_for_a_moment_only(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody holds the tenant's row, which every row of a journal refers to, the rows are lost."""
    monkeypatch.setattr(noting, "CLOSING_SECONDS", 0.2)
    notes = SecurityNotes(tenant.database)
    notes.limited(tenant.actor())
    async with tenant.database.platform() as holding:
        await holding.execute(text("SELECT FROM tenants WHERE id = :id FOR UPDATE"), {"id": tenant.id})
        with capture_logs() as lines:
            async with asyncio.timeout(10):
                await notes.close()
    assert lines[-1]["event"] == "security_notes_lost"
    assert (lines[-1]["refusals"], lines[-1]["reason"]) == (1, "the process ends")
    notes.limited(tenant.actor())  # nothing is begun any more
    assert notes._work is None
    assert await noted(tenant) == []


async def test_a_tenant_that_is_gone_spoils_nobody_elses_rows(tenant: TenantUnderTest) -> None:
    """Each has a transaction of its own."""
    notes = SecurityNotes(tenant.database)
    gone = TenantUnderTest(tenant.database, new_id(), "gone", tenant.project, tenant.environment)
    for one in (gone, tenant, gone):
        notes.limited(one.actor(operator_id=tenant.id))
    await notes.close()
    assert notes.figures() == {"waiting": 0, "written": 1, "lost": 2}
    assert [row.action for row in await noted(tenant)] == ["RATE_LIMITED"]
