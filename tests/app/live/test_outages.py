"""What breaks under a stream: the database, the way to it, or the gateway's own group. It goes on, or says why not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import orjson
import pytest

from app.graph.ids import global_id
from app.http.tasks import cancelled
from app.live.queue_group import QueueGroup
from db import roles
from db.cluster import PORT
from db.connections import Connections
from db.embedded import EmbeddedPostgres
from db.ids import new_id
from tests.app.live.events import write
from tests.app.live.gateway import Gateway, running, socket_of
from tests.conftest import TenantUnderTest
from tests.db.relay import relayed

TAIL = "subscription ($after: Seq) { opEvents(after: $after) { seq } }"


@pytest.fixture
def rung(tenant: TenantUnderTest, gateway: Gateway) -> TenantUnderTest:
    tenant.database.bell = gateway.application.gateway.database.bell
    return tenant


async def test_a_group_that_fails_ends_those_too_who_wait_for_their_beginning(
    rung: TenantUnderTest, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours is told, and nobody comes into a group that is over."""
    queue = "subscription { approvalQueue { step } }"
    async with socket_of(gateway, await gateway.token(rung)) as socket:
        with monkeypatch.context() as broken:
            broken.setattr(QueueGroup, "_snapshot", lambda _group: 1 / 0)
            ended = await (await socket.subscribe(queue)).ending()
            assert ended.extensions["code"] == "INTERNAL"
        assert await (await socket.subscribe(queue)).data() == {"step": "SNAPSHOT"}


async def test_who_subscribes_while_the_database_goes_away_is_told_to_come_back_with_the_cursor(
    rung: TenantUnderTest, gateway: Gateway, connections: Connections
) -> None:
    """No mistake of theirs or ours: STREAM_INTERRUPTED."""
    await write(rung, 3)
    url = connections.owner.url.replace(roles.OWNER, "postgres", 1)
    holding, ending = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with socket_of(gateway, await gateway.token(rung)) as socket:
            async with holding.transaction():
                await holding.execute("LOCK TABLE gateway.tenant_counters")
                stream = await socket.subscribe(TAIL, after="1")
                told = asyncio.create_task(stream.ending())
                while not told.done():  # the gateway's own looks wait for the lock too, and may be the first to end
                    await ending.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE wait_event_type = 'Lock' AND datname = current_database() "
                        r"AND query ~* '^\s*SELECT'"  # those who write are other tests'
                    )
                    await asyncio.sleep(0.02)
                assert (await told).extensions == {"code": "STREAM_INTERRUPTED", "cursor": "1"}
            again = await socket.subscribe(TAIL, after="1")
            assert [(await again.data())["seq"] for _ in range(2)] == ["2", "3"]
    finally:
        await holding.close()
        await ending.close()


async def test_a_stream_goes_on_after_the_way_to_the_database_fell_silent(
    postgres: EmbeddedPostgres, tenant: TenantUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows the tenant waits for an answer as long as one may take, and then asks on another connection."""
    monkeypatch.setattr("db.pool.CONNECT_SECONDS", 1)
    monkeypatch.setattr("db.session.ANSWER_SECONDS", 0.5)
    monkeypatch.setattr("db.pool.CLOSE_SECONDS", 1)
    monkeypatch.setattr("app.live.doorbell._ANSWER_SECONDS", 1.0)
    ways: list[asyncio.Task[None]] = []
    async with (
        relayed(postgres, tmp_path, ways) as through,
        running(through, tmp_path, statement_timeout_ms=1_000) as gateway,
        socket_of(gateway, await gateway.token(tenant)) as socket,
    ):
        stream = await socket.subscribe(TAIL, after="0")
        await write(tenant)
        assert (await stream.data())["seq"] == "1"
        await cancelled(*ways)
        await write(tenant)
        assert (await stream.data(30))["seq"] == "2"


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "multipart/mixed;subscriptionSpec=1.0"])
async def test_who_calls_over_http_while_the_database_is_away_is_told_when_to_come_back(
    accept: str,
    postgres: EmbeddedPostgres,
    tenant: TenantUnderTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """503 with Retry-After, which clients of streams try again; for whom the gateway knows still, the stream's own
    error with the cursor, as on a socket."""
    never_forgets(monkeypatch)
    async with relayed(postgres, tmp_path, []) as through, running(through, tmp_path) as gateway:
        known, unknown = await gateway.token(tenant), await gateway.token(tenant)
        asked = {"query": "{ __typename }"} if accept == "application/json" else {"query": TAIL, "variables": AFTER}

        async def post(token: str, **body: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}", "Accept": accept}
            return await client.post(gateway.url, json=body, headers=headers)

        async with httpx.AsyncClient(timeout=20) as client:
            assert (await client.post(gateway.url, json={"query": "{ __typename }"}, headers=bearer(known))).is_success
            await go_away(gateway, tmp_path)
            if accept != "application/json":
                told = await post(known, **asked)
                assert told.status_code == 200
                assert '{"code":"STREAM_INTERRUPTED","cursor":"1"}' in told.text
            refused = await post(unknown, **asked)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["errors"][0]["extensions"] == {"code": "INTERNAL", "retryAfter": 1}


ASKED: dict[str, dict[str, Any]] = {
    "query": {"query": "{ projects(first: 1) { edges { node { name } } } operators(first: 1) { edges { cursor } } }"},
    "mutation": {
        "query": "mutation($input: ProjectUpdateInput!) { projectUpdate(input: $input) { project { name } } }",
        "variables": {"input": {"projectId": global_id("prj", new_id()), "name": "Renamed"}},
    },
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiler", "resolvers"])
async def test_whom_the_gateway_knows_still_is_told_in_each_field_that_the_database_is_away(
    asked: str,
    compiled: bool,
    postgres: EmbeddedPostgres,
    tenant: TenantUnderTest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As who has to be looked up: it passes, come back. Nothing was begun, so nothing may have been done."""
    never_forgets(monkeypatch)
    async with (
        relayed(postgres, tmp_path, []) as through,
        running(through, tmp_path, compiled_queries=compiled) as gateway,
    ):
        token = await gateway.token(tenant)
        async with httpx.AsyncClient(timeout=20, headers=bearer(token)) as client:
            assert (await client.post(gateway.url, json={"query": "{ __typename }"})).is_success
            await go_away(gateway, tmp_path)
            told = await client.post(gateway.url, json=ASKED[asked])
        assert told.status_code == 200
        assert told.json()["errors"]
        for error in told.json()["errors"]:
            assert error["message"] == "The database is away. Come back in 1 s."
            assert error["extensions"].pop("requestId")
            assert error["extensions"] == {"code": "INTERNAL", "retryAfter": 1}


SPAN: Final = orjson.dumps(
    {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": "a" * 32,
                                "spanId": "b" * 16,
                                "startTimeUnixNano": "1",
                                "endTimeUnixNano": "2",
                                "attributes": [
                                    {"key": "gen_ai.operation.name", "value": {"stringValue": "invoke_agent"}},
                                ],
                            }
                        ]
                    }
                ]
            }
        ]
    }
)
WAYS_IN: dict[str, tuple[str, dict[str, str], bytes]] = {
    "/v1/op-events": ("POST", {"Content-Type": "application/json"}, b'[{"type": "RUN_STEP"}]'),
    "/v1/traces": ("POST", {"Content-Type": "application/json"}, SPAN),
    "/v1/exports/audit-logs": ("GET", {}, b""),
}


@pytest.mark.parametrize("path", WAYS_IN)
async def test_the_other_ways_in_say_as_well_that_the_database_is_away(
    path: str, postgres: EmbeddedPostgres, tenant: TenantUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with Retry-After, for whom the gateway knows still as for others: agents and collectors send it again."""
    never_forgets(monkeypatch)
    method, headers, body = WAYS_IN[path]
    async with relayed(postgres, tmp_path, []) as through, running(through, tmp_path) as gateway:
        known, unknown = await gateway.token(tenant), await gateway.token(tenant)
        async with httpx.AsyncClient(timeout=20) as client:
            assert (await client.post(gateway.url, json={"query": "{ __typename }"}, headers=bearer(known))).is_success
            await go_away(gateway, tmp_path)
            url = gateway.url.replace("/graphql", path)
            for token in (known, unknown):
                told = await client.request(method, url, headers={**headers, **bearer(token)}, content=body)
                assert (told.status_code, told.headers["Retry-After"]) == (503, "1"), told.text
                if path == "/v1/traces":
                    assert told.json()["code"] == 14
                else:
                    extensions = told.json()["errors"][0]["extensions"]
                    assert (extensions["code"], extensions["retryAfter"]) == ("INTERNAL", 1)


@pytest.mark.parametrize("asked", ASKED)
async def test_who_is_on_a_socket_is_told_that_the_database_is_away(
    asked: str, postgres: EmbeddedPostgres, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """A socket looks at its caller before each operation; it stays, and so does whoever is on it."""
    async with (
        relayed(postgres, tmp_path, []) as through,
        running(through, tmp_path) as gateway,
        socket_of(gateway, await gateway.token(tenant)) as socket,
    ):
        await go_away(gateway, tmp_path)
        for _ in range(2):  # of which the first leaves the socket as it is
            ended = await (await socket.subscribe(ASKED[asked]["query"], **ASKED[asked].get("variables", {}))).ending()
            (error,) = ended.errors
            assert error["message"] == "The database is away. Come back in 1 s."
            assert error["extensions"] == {"code": "INTERNAL", "retryAfter": 1}
        ended = await (await socket.subscribe(TAIL, **AFTER)).ending()
        assert ended.extensions["code"] == "STREAM_INTERRUPTED"


AFTER = {"after": "1"}


def never_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gateway know whom it knows for the whole test: time passes on a busy machine, and the gateways of other
    tests ring here too, and say as they come that rings may have been lost."""
    monkeypatch.setattr("app.auth.callers.ACTOR_SECONDS", 60)
    monkeypatch.setattr("app.auth.callers.Callers.hear", lambda *_ring: None)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def go_away(gateway: Gateway, directory: Path) -> None:
    """Let no session begin through the relay in a directory, and end those that wait for work; other tests have
    sessions of the same roles."""
    (directory / f".s.PGSQL.{PORT}").unlink()
    await gateway.application.gateway.database.engine.dispose()
