"""Sockets: the manners of graphql-transport-ws, over a real server (traps 14 to 17 and 27; issue 2, point 8)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from app.http.limits import EdgeLimits
from tests.app.http.conftest import Running, running
from tests.app.http.fleet import fleet

GOOD = {"type": "connection_init", "payload": {"authorization": "Bearer good"}}


class Client:
    """A client that says exactly what it is told to."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            heard = json.loads(await self.connection.recv())
        assert isinstance(heard, dict)
        return heard

    async def closed(self) -> tuple[int, str]:
        """Whatever comes is passed over until the server closes: code and reason."""
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
        return self.ending

    @property
    def ending(self) -> tuple[int, str]:
        """Code and reason of the close frame that the server sent."""
        closing = self.connection.protocol.close_rcvd
        assert closing is not None
        return closing.code, closing.reason

    async def greet(self) -> None:
        await self.say(GOOD)
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, identifier: str, query: str, **members: Any) -> None:
        await self.say({"type": "subscribe", "id": identifier, "payload": {"query": query, **members}})


@asynccontextmanager
async def open_socket(
    live: Running, greeted: bool = True, protocol: str | None = "graphql-transport-ws", **headers: str
) -> AsyncIterator[Client]:
    protocols = [] if protocol is None else [Subprotocol(protocol)]
    async with connect(live.socket_url, subprotocols=protocols, additional_headers=headers) as connection:
        client = Client(connection)
        if greeted:
            await client.greet()
        yield client


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until something holds that the other side brings about."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the other side knows nothing of this test
            await asyncio.sleep(0.01)


async def test_queries_and_mutations_run(live: Running) -> None:
    async with open_socket(live) as client:
        await client.subscribe("1", "query A($n: String) { hello(name: $n) }", variables={"n": "x"}, operationName="A")
        answer = await client.hear()
        assert (answer["type"], answer["id"], answer["payload"]["data"]) == ("next", "1", {"hello": "hello x"})
        assert await client.hear() == {"type": "complete", "id": "1"}
        await client.subscribe("1", 'mutation { rename(name: "y") }')
        assert (await client.hear())["payload"]["data"] == {"rename": "y"}
        assert await client.hear() == {"type": "complete", "id": "1"}
    assert live.fleet.house.renamed == ["y"]


async def test_a_subscription_runs_and_ends(live: Running) -> None:
    async with open_socket(live) as client:
        await client.subscribe("s", "subscription ($n: Int!) { count(to: $n) }", variables={"n": 3})
        heard = [await client.hear() for _ in range(4)]
        assert [message.get("payload", {}).get("data") for message in heard] == [
            {"count": 0},
            {"count": 1},
            {"count": 2},
            None,
        ]
        assert heard[-1] == {"type": "complete", "id": "s"}
    assert live.fleet.house.sources_open == 0


async def test_each_event_has_a_fresh_context(live: Running) -> None:
    """trap 27: loaders live as long as one event."""
    async with open_socket(live) as client:
        await client.subscribe("s", "subscription { events(to: 3) { use } }")
        heard = [await client.hear() for _ in range(4)]
    assert [message["payload"]["data"]["events"]["use"] for message in heard[:3]] == [1, 1, 1]
    await settled(lambda: live.fleet.house.closed == live.fleet.house.opened)
    assert live.fleet.house.opened == 1 + 3  # the source's and one for each event


async def test_ping_is_answered_with_its_payload(live: Running) -> None:
    async with open_socket(live, greeted=False) as client:
        await client.say({"type": "ping", "payload": {"at": 5}})
        assert await client.hear() == {"type": "pong", "payload": {"at": 5}}
        await client.say({"type": "ping"})
        assert await client.hear() == {"type": "pong"}
        await client.say({"type": "pong"})
        await client.greet()


async def test_without_init_the_socket_closes_in_time(live: Running) -> None:
    """trap 14: 4408 after the set time (10 s, here half a second)."""
    assert EdgeLimits().ws_init_timeout_seconds == 10
    async with open_socket(live, greeted=False) as client:
        assert (await client.closed())[0] == 4408


@pytest.mark.parametrize(
    "payload", [None, {}, {"authorization": "Bearer old"}, {"authorization": "Basic x"}, {"tenant": "northwind"}]
)
async def test_a_rejected_caller_is_closed_for_good(live: Running, payload: dict[str, str] | None) -> None:
    """trap 14, trap 15: the token is checked at connection_init, and 4401 is final to clients where 4403 is not."""
    async with open_socket(live, greeted=False) as client:
        await client.say({"type": "connection_init", "payload": payload})
        code, reason = await client.closed()
    assert code == 4401
    assert "token" in reason
    assert live.fleet.house.opened == 0


async def test_the_token_may_come_by_header_and_the_tenant_by_payload(live: Running) -> None:
    """api.md, Transports; decision 24."""
    async with open_socket(live, greeted=False, Authorization="Bearer northwind") as client:
        await client.say({"type": "connection_init", "payload": {"tenant": "northwind"}})
        assert await client.hear() == {"type": "connection_ack"}


@pytest.mark.parametrize("token", ["limited", "broken"])
async def test_what_may_pass_closes_with_try_again_later(live: Running, token: str) -> None:
    """trap 8, trap 15: the caller was not rejected, so the close is not final, and says nothing of the cause."""
    async with open_socket(live, greeted=False) as client:
        await client.say({"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}})
        code, reason = await client.closed()
    assert code == 1013
    assert "10.0.0.7" not in reason


async def test_a_second_init_closes(live: Running) -> None:
    async with open_socket(live) as client:
        await client.say(GOOD)
        assert (await client.closed())[0] == 4429


async def test_an_operation_before_init_closes(live: Running) -> None:
    """trap 14."""
    async with open_socket(live, greeted=False) as client:
        await client.subscribe("1", "{ hello }")
        assert (await client.closed())[0] == 4401
    assert live.fleet.house.opened == 0


async def test_an_id_that_is_in_use_closes(live: Running) -> None:
    async with open_socket(live) as client:
        await client.subscribe("1", "subscription { forever { id } }")
        await client.subscribe("1", "{ hello }")
        assert (await client.closed())[0] == 4409
    await settled(lambda: live.fleet.house.sources_open == 0)


@pytest.mark.parametrize("protocol", [None, "graphql-ws", "something"])
async def test_other_protocols_are_not_spoken(live: Running, protocol: str | None) -> None:
    """trap 14: the legacy protocol, graphql-ws, is left out."""
    async with connect(
        live.socket_url, subprotocols=None if protocol is None else [Subprotocol(protocol)]
    ) as connection:
        assert (await Client(connection).closed())[0] == 4406


@pytest.mark.parametrize(
    "message",
    [
        "not JSON",
        "[]",
        "5",
        "null",
        '"x"',
        "{}",
        '{"type": 5}',
        '{"type": "start", "id": "1", "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": "1"}',
        '{"type": "subscribe", "id": "", "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe", "id": 1, "payload": {"query": "{ hello }"}}',
        '{"type": "subscribe", "id": "1", "payload": []}',
        '{"type": "subscribe", "id": "1", "payload": {}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "operationName": 5}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "extensions": []}}',
        '{"type": "subscribe", "id": "1", "payload": {"query": "{ hello }", "variables": {"n": ' + "9" * 5_000 + "}}}",
        '{"type": "complete"}',
        '{"type": "ping", "payload": []}',
        '{"type": "connection_init", "payload": "Bearer good"}',
        '{"type": "connection_init", "payload": {"authorization": 5}}',
        b'{"type": "ping"}',
        "[" * 100_000 + "]" * 100_000,
        '{"type": "ping", "payload": {"x": "' + "é" * 200 + '"}, ',
    ],
    ids=lambda message: repr(message[:60]),
)
async def test_a_message_of_the_wrong_shape_closes(live: Running, message: str | bytes) -> None:
    """trap 16: 4400 with a reason, and no crash."""
    async with open_socket(live, greeted=False) as client:
        await client.say(message)
        code, reason = await client.closed()
    assert code == 4400
    assert reason.startswith("Bad message")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": ""}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "query A { hello }", "operationName": "B"}, "BAD_USER_INPUT"),
        ({"query": "query ($n: Int!) { numbered(n: $n) }"}, "BAD_USER_INPUT"),
        ({"query": "subscription ($n: Int!) { count(to: $n) }"}, "BAD_USER_INPUT"),
        ({"query": "subscription { refused }"}, "FORBIDDEN"),
        ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}}, "PERSISTED_QUERY_NOT_FOUND"),
    ],
)
async def test_an_error_is_its_operations_alone(live: Running, payload: dict[str, Any], code: str) -> None:
    """trap 17: the socket and the other operations on it go on."""
    async with open_socket(live) as client:
        await client.subscribe("other", "subscription { forever { id } }")
        assert (await client.hear())["id"] == "other"
        await client.say({"type": "subscribe", "id": "bad", "payload": payload})
        heard = await client.hear()
        while heard["id"] == "other":
            heard = await client.hear()
        assert (heard["type"], heard["id"]) == ("error", "bad")
        assert heard["payload"][0]["extensions"]["code"] == code
        await client.subscribe("bad", "{ hello }")
        answers = [await client.hear() for _ in range(30)]
        assert {message["id"] for message in answers} == {"other", "bad"}


async def test_an_exception_in_a_source_ends_it_masked(live: Running) -> None:
    """trap 8."""
    async with open_socket(live) as client:
        await client.subscribe("s", "subscription { breaks }")
        assert (await client.hear())["payload"]["data"] == {"breaks": 1}
        error = await client.hear()
        assert (error["type"], error["payload"][0]["extensions"]["code"]) == ("error", "INTERNAL")
        assert "secret" not in json.dumps(error)
        await client.subscribe("s", "{ hello }")
        assert (await client.hear())["type"] == "next"


async def test_complete_stops_an_operation(live: Running) -> None:
    house = live.fleet.house
    async with open_socket(live) as client:
        await client.subscribe("1", "subscription { forever { id } }")
        await client.subscribe("2", "{ slow }")
        await client.hear()
        await client.say({"type": "complete", "id": "1"})
        await client.say({"type": "complete", "id": "2"})
        await client.say({"type": "complete", "id": "never seen"})
        await settled(lambda: house.sources_open == 0 and house.cancelled == 1)
        await client.subscribe("1", "{ hello }")
        heard = await client.hear()
        while "forever" in json.dumps(heard):
            heard = await client.hear()
        assert heard["payload"]["data"] == {"hello": "hello world"}


@pytest.mark.parametrize("abrupt", [True, False])
async def test_a_client_that_goes_leaves_nothing(live: Running, abrupt: bool) -> None:
    """strawberry#3777: subscriptions that leak after an abrupt disconnect."""
    house, sockets = live.fleet.house, live.fleet.endpoint.sockets
    before = len(asyncio.all_tasks())
    async with open_socket(live) as client:
        for number in range(3):
            await client.subscribe(str(number), "subscription { forever { id } }")
        await client.subscribe("q", "{ slow }")
        await settled(lambda: house.sources_open == 3 and sockets.operations == 4)
        assert sockets.connections == 1
        if abrupt:
            client.connection.transport.abort()
        else:
            await client.connection.close()
    await settled(lambda: house.sources_open == 0 and house.opened == house.closed and sockets.connections == 0)
    assert house.cancelled == 1
    await settled(lambda: len(asyncio.all_tasks()) <= before)


async def test_operations_on_a_socket_are_limited(live: Running) -> None:
    """Issue 5, Transports: the one too many is refused, the others go on."""
    async with open_socket(live) as client:
        for number in range(6):
            await client.subscribe(str(number), "{ slow(seconds: 5) }")
        error = await client.hear()
        assert (error["type"], error["id"]) == ("error", "5")
        assert error["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert live.fleet.endpoint.sockets.operations == 5


async def test_sockets_are_limited() -> None:
    async with (
        running(fleet(edges=EdgeLimits(ws_max_connections=1))) as live,
        open_socket(live),
        open_socket(live, greeted=False) as second,
    ):
        assert (await second.closed())[0] == 1013


async def test_a_socket_ends_with_its_token(live: Running) -> None:
    """hasura#578: sockets that outlive a token. 4403 lets the client come back with a new one."""
    async with open_socket(live, greeted=False) as client:
        await client.say({"type": "connection_init", "payload": {"authorization": "Bearer brief"}})
        await client.hear()
        await client.subscribe("1", "subscription { forever { id } }")
        assert await client.closed() == (4403, "The token has expired")
    await settled(lambda: live.fleet.house.sources_open == 0)


async def test_a_message_over_the_limit_closes(live: Running) -> None:
    """trap 4: a frame over the server's limit, or a message over ours."""
    async with open_socket(live) as client:
        await client.say({"type": "ping", "payload": {"x": "x" * 1_048_576}})
        assert (await client.closed())[0] in (1009, 4400)


async def test_stopping_completes_the_streams_and_lets_queries_finish() -> None:
    """Issue 5, Transports: draining on shutdown."""
    async with running(fleet()) as live, open_socket(live) as client:
        await client.subscribe("stream", "subscription { forever { id } }")
        await client.subscribe("query", "{ slow(seconds: 0.5) }")
        await client.hear()
        await live.fleet.house.started.wait()
        stopping = asyncio.create_task(live.stop())
        heard = []
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    heard.append(json.loads(await client.connection.recv()))
        await stopping
        # Which of the two ends first is the clock's affair: both end, and each once.
        completed = sorted(message["id"] for message in heard if message["type"] == "complete")
        assert completed == ["query", "stream"]
        assert any(message.get("payload", {}).get("data") == {"slow": "done"} for message in heard)
        assert client.ending[0] == 1012
        assert live.fleet.house.sources_open == 0
