"""`/graphql` over HTTP: status codes, media types and what is refused (GraphQL over HTTP; traps 1, 10, 21, 22)."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx
import orjson
import pytest

from app.http.limits import EdgeLimits
from tests.app.http.conftest import Running, client_of
from tests.app.http.fleet import Fleet, fleet

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"


async def post(client: httpx.AsyncClient, query: str, accept: str = GRAPHQL, **members: Any) -> httpx.Response:
    return await client.post("/graphql", json={"query": query, **members}, headers={"Accept": accept})


def code(response: httpx.Response) -> str:
    found = response.json()["errors"][0]["extensions"]["code"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ("{", 400, "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", 400, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($n: Int!) { numbered(n: $n) }", 400, "BAD_USER_INPUT"),
        ("{ things(first: 200000) { edges { node { id } } } }", 400, "OPERATION_TOO_COMPLEX"),
    ],
)
async def test_a_request_error_has_a_status_no_data_and_a_code(
    client: httpx.AsyncClient, query: str, status: int, expected: str
) -> None:
    """trap 1, trap 22: what is wrong with the operation is told by the status, in the type that allows it."""
    response = await post(client, query)
    assert response.status_code == status
    assert response.headers["content-type"].startswith(GRAPHQL)
    assert "data" not in response.json()
    assert code(response) == expected
    older = await post(client, query, accept=JSON)
    assert older.status_code == 200
    assert older.headers["content-type"].startswith(JSON)
    assert older.json() == response.json()


async def test_a_field_error_is_a_200_with_data_and_path(client: httpx.AsyncClient) -> None:
    """trap 1: an operation that was executed answers 200, whatever its fields came to."""
    response = await post(client, "{ hello forbidden }")
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello world", "forbidden": None}
    (error,) = response.json()["errors"]
    assert error["path"] == ["forbidden"]
    assert error["extensions"] == {"code": "FORBIDDEN", "permission": "read:secrets"}
    whole = await post(client, "{ mandatoryBoom }")
    assert (whole.status_code, whole.json()["data"]) == (200, None)


async def test_the_cost_is_told(client: httpx.AsyncClient) -> None:
    """api.md, Limits: `extensions.cost` says what an operation cost and what it may."""
    response = await post(client, "{ things(first: 3) { edges { node { parent { id } } } } }")
    assert response.json()["extensions"]["cost"] == {"requested": 7, "limit": 50_000}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{JSON}, {GRAPHQL}", JSON),
        (f"{JSON};q=0.1, */*;q=0.5", GRAPHQL),
        (f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
        ("application/json; charset=utf-8", JSON),
    ],
)
async def test_the_client_says_which_type(gateway: Fleet, accept: str | None, expected: str) -> None:
    """trap 1, trap 12: by quality, then by the client's order; urql mentions event streams on every query."""
    async with client_of(gateway) as client:
        del client.headers["Accept"]
        headers = {} if accept is None else {"Accept": accept}
        response = await client.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{expected}; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    ["text/plain", "multipart/mixed", "text/event-stream;q=0", f"{JSON};q=0", "application/json; charset=latin1"],
)
async def test_an_answer_that_nobody_wants_is_406(client: httpx.AsyncClient, accept: str) -> None:
    response = await post(client, "{ hello }", accept=accept)
    assert response.status_code == 406
    assert "application/json" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql", params={"query": "{ hello }"})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


async def test_get_is_for_queries(client: httpx.AsyncClient, gateway: Fleet) -> None:
    """api.md, Transports: a mutation over GET is refused (CSRF), and nothing was done."""
    good = await client.get(
        "/graphql",
        params={"query": "query A($n: String) { hello(name: $n) }", "variables": '{"n": "x"}', "operationName": "A"},
    )
    assert (good.status_code, good.json()["data"]) == (200, {"hello": "hello x"})
    refused = await client.get("/graphql", params={"query": 'mutation { rename(name: "x") }'})
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST"
    assert gateway.house.renamed == []
    done = await post(client, 'mutation { rename(name: "x") }')
    assert (done.status_code, gateway.house.renamed) == (200, ["x"])


@pytest.mark.parametrize(
    "query_string",
    [b"", b"query=%ff", b"query={hello}&variables=nope", b"query={hello}&variables=[]", b"query={a}&query={b}"],
)
async def test_a_malformed_get_is_400(client: httpx.AsyncClient, query_string: bytes) -> None:
    """trap 5: the address is read as strictly as a body."""
    response = await client.get(httpx.URL("http://gateway/graphql", query=query_string))
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
    ],
)
async def test_only_json_is_taken(client: httpx.AsyncClient, gateway: Fleet, content_type: str | None) -> None:
    """api.md, Transports: what another site's page can send without a preflight is refused (CSRF)."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = b'{"query": "mutation { rename(name: \\"x\\") }"}'
    response = await client.post("/graphql", content=body, headers=headers)
    assert response.status_code == 415
    assert gateway.house.renamed == []


async def test_json_with_its_charset_is_taken(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": 'Application/JSON; Charset="UTF-8"'}
    response = await client.post("/graphql", content=b'{"query": "{ hello }"}', headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_without_a_token_nothing_is_told(gateway: Fleet, accept: str) -> None:
    """Issue 2, point 3: not even the schema. The challenge is RFC 6750's."""
    async with client_of(gateway) as client:
        del client.headers["Authorization"]
        response = await client.post(
            "/graphql", json={"query": "{ __schema { types { name } } }"}, headers={"Accept": accept}
        )
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert code(response) == "UNAUTHENTICATED"
        assert "data" not in response.json()
        bad = await client.post("/graphql", json={"query": "{ hello }"}, headers={"Authorization": "Bearer old"})
    assert bad.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert gateway.house.opened == 0


async def test_the_tenant_header_reaches_the_check(client: httpx.AsyncClient) -> None:
    """Decision 24: the tenant comes from a header where the person has several."""
    headers = {"Authorization": "Bearer northwind"}
    without = await client.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    headers["Fleetgraph-Tenant"] = "northwind"
    with_it = await client.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert (without.status_code, with_it.status_code) == (401, 200)


async def test_a_limited_caller_learns_when_to_come_back(client: httpx.AsyncClient) -> None:
    """Decision 34: 429 with Retry-After, in whole seconds."""
    response = await client.post("/graphql", json={"query": "{ hello }"}, headers={"Authorization": "Bearer limited"})
    assert (response.status_code, response.headers["retry-after"], code(response)) == (429, "3", "RATE_LIMITED")


async def test_a_fault_outside_any_field_is_masked(client: httpx.AsyncClient) -> None:
    """trap 8: the check of tokens may fail too, and what it says stays in the log."""
    response = await client.post("/graphql", json={"query": "{ hello }"}, headers={"Authorization": "Bearer broken"})
    assert (response.status_code, code(response)) == (500, "INTERNAL")
    assert "10.0.0.7" not in response.text
    assert response.json()["errors"][0]["extensions"]["requestId"] == response.headers["x-request-id"]


async def test_a_subscription_over_post_says_where_to_go(client: httpx.AsyncClient, gateway: Fleet) -> None:
    """trap 10: 406 with what to do."""
    response = await post(client, "subscription { count(to: 1) }")
    assert response.status_code == 406
    assert "graphql-transport-ws" in response.json()["errors"][0]["message"]
    assert gateway.house.opened == 0


async def test_persisted_queries(client: httpx.AsyncClient) -> None:
    """trap 21: a hash alone is looked up, and learnt when the query comes with it."""
    query = "{ hello }"
    digest = hashlib.sha256(query.encode()).hexdigest()
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": digest}}
    unknown = await client.post("/graphql", json={"extensions": extensions})
    assert (unknown.status_code, code(unknown)) == (400, "PERSISTED_QUERY_NOT_FOUND")
    assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
    learnt = await client.post("/graphql", json={"query": query, "extensions": extensions})
    known = await client.post("/graphql", json={"extensions": extensions})
    by_get = await client.get("/graphql", params={"extensions": orjson.dumps(extensions).decode()})
    assert learnt.json() == known.json() == by_get.json()
    lie = await client.post("/graphql", json={"query": "{ numbered }", "extensions": extensions})
    assert (lie.status_code, code(lie)) == (400, "BAD_USER_INPUT")


async def test_safe_headers_on_every_answer(client: httpx.AsyncClient) -> None:
    """trap 18, trap 22: no sniffing, no framing, no caching."""
    for response in (
        await post(client, "{ hello }"),
        await post(client, "{"),
        await client.get("/nowhere"),
        await client.get("/graphql", headers={"Accept": "text/html"}),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"
        assert "server" not in response.headers


async def test_a_browser_gets_the_page(gateway: Fleet) -> None:
    """api.md, Transports: GraphiQL for a browser that asks for HTML, before any token."""
    async with client_of(gateway) as client:
        del client.headers["Authorization"]
        browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        response = await client.get("/graphql", headers={"Accept": browser})
        assert "GraphiQL" in response.text
        posted = await client.post("/graphql", json={"query": "{ hello }"}, headers={"Accept": browser})
        assert posted.status_code == 401


async def test_batches_are_off_unless_set(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json=[{"query": "{ hello }"}])
    assert (response.status_code, code(response)) == (400, "BAD_USER_INPUT")


async def test_a_batch_runs_each_in_its_own_context() -> None:
    """api.md, Limits: batch size; loaders of one operation are not another's (trap 27)."""
    made = fleet(edges=EdgeLimits(max_batch=2))
    async with client_of(made) as client:
        response = await client.post(
            "/graphql", json=[{"query": "{ countStatements(statements: 1) }"}, {"query": "{ nothing }"}]
        )
        assert response.status_code == 200
        first, second = response.json()
        assert first["data"]["countStatements"].endswith(".1")
        assert second["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"
        assert made.house.opened == made.house.closed == 1
        too_many = await client.post("/graphql", json=[{"query": "{ hello }"}] * 3)
        assert (too_many.status_code, code(too_many)) == (400, "OPERATION_TOO_COMPLEX")
        assert (await client.post("/graphql", json=[])).status_code == 400


async def test_integers_beyond_64_bits_go_out_as_they_are(client: httpx.AsyncClient) -> None:
    response = await post(client, "{ huge }")
    assert response.json()["data"]["huge"]["value"] == 2**70


async def test_each_operation_has_a_context_that_is_closed(client: httpx.AsyncClient, gateway: Fleet) -> None:
    await post(client, "{ hello }")
    await post(client, "{ mandatoryBoom }")
    assert gateway.house.opened == gateway.house.closed == 2


def _post(version: str = "1.1", connection: str = "keep-alive", query: str = "{ hello }") -> bytes:
    body = orjson.dumps({"query": query})
    lines = [f"POST /graphql HTTP/{version}", "Host: x", "Authorization: Bearer good", f"Connection: {connection}"]
    return (
        "\r\n".join([*lines, "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]).encode() + body
    )


async def test_an_answer_is_one_write_and_the_connection_goes_on(live: Running) -> None:
    """Head and body together; requests in a row are answered in a row, and the last one's wish to close is heard."""
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(_post())
    first = await reader.read(65_536)  # what came with the first packet
    head, _, body = first.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert orjson.loads(body)["data"] == {"hello": "hello world"}
    assert f"content-length: {len(body)}".encode() in head
    assert head.lower().count(b"x-request-id: ") == head.lower().count(b"x-content-type-options: nosniff") == 1
    writer.write(_post(query="{ a: hello }") + _post(query="{ b: hello }") + _post(connection="close"))
    rest = await asyncio.wait_for(reader.read(), 5)
    places = [rest.index(key) for key in (b'"a":', b'"b":', b'"hello":')]
    assert places == sorted(places)
    assert rest.count(b"HTTP/1.1 200 OK") == 3
    assert rest.count(b"connection: close") == 1
    writer.close()


async def test_an_old_client_is_answered_and_let_go(live: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
    writer.write(_post(version="1.0"))
    answer = await asyncio.wait_for(reader.read(), 5)
    assert b"connection: close" in answer
    assert answer.endswith(b"}")
    writer.close()


async def test_the_server_does_not_name_itself(live: Running) -> None:
    """trap 22: uvicorn adds its name below the application, so the configuration leaves it out."""
    async with httpx.AsyncClient() as client:
        response = await client.post(live.url, json={"query": "{ hello }"}, headers={"Authorization": "Bearer good"})
    assert response.status_code == 200
    assert "server" not in response.headers


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip;q=0.9, br;q=0.8", "gzip"),
        ("br;q=0, GZIP;q=0.5", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "br"),
        ("br;q=0, *;q=0.1", "gzip"),
        ("identity, br;q=0.5", None),
        ("gzip;q=0", None),
        ("gzip;q=much", None),
        ("identity", None),
        ("", None),
    ],
)
async def test_long_answers_are_compressed_as_the_client_likes_best(accepted: str, encoding: str | None) -> None:
    """The same data either way; what is short is not worth it."""
    made = fleet(edges=EdgeLimits(compress_over_bytes=400))
    async with client_of(made) as client:
        headers = {"Accept-Encoding": accepted}
        aliases = " ".join(f"a{number}: hello" for number in range(60))
        long = await client.post("/graphql", json={"query": f"{{ {aliases} }}"}, headers=headers)
        short = await client.post("/graphql", json={"query": "{ hello }"}, headers=headers)
    assert long.headers.get("content-encoding") == encoding
    assert "content-encoding" not in short.headers
    assert int(long.headers["content-length"]) < 400 or encoding is None
    assert len(long.json()["data"]) == 60
    assert "Accept-Encoding" in long.headers["vary"]
