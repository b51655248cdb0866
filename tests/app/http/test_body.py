"""Bodies: what is no request, what is too large, what is compressed (traps 4 and 5)."""

from __future__ import annotations

import gzip
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from app.http.limits import EdgeLimits
from tests.app.http.conftest import Running, client_of
from tests.app.http.fleet import fleet

JSON = {"Content-Type": "application/json"}
GZIP = {**JSON, "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"5",
        b'"x"',
        b"true",
        b"{",
        b'{"query": "{ hello }"} and more',
        b'{"query": "\xff"}',
        b"\xff\xfe{}",
        b'{"query": "\\ud800"}',
        b'{"query": null}',
        b'{"query": 5}',
        b'{"query": ["{ hello }"]}',
        b'{"query": "{ hello }", "variables": []}',
        b'{"query": "{ hello }", "variables": "{}"}',
        b'{"query": "{ hello }", "operationName": 5}',
        b'{"query": "{ hello }", "extensions": "x"}',
        b'{"query": "{ hello }", "variables": {"n": ' + b"9" * 5_000 + b"}}",
        b'{"query": "{ hello }", "variables": {"n": NaN}}',
        b'{"query": "{ hello }", "variables": {"n": 1e999}}',
        b'{"query": "{ hello }", "variables": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"extensions": {"persistedQuery": 5}}',
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_what_is_no_request_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    """trap 5: never a 500, and the error says what is wrong."""
    for accept in ("application/json", "application/graphql-response+json"):
        response = await client.post("/graphql", content=body, headers={**JSON, "Accept": accept})
        assert response.status_code == 400
        (error,) = response.json()["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert error["message"].endswith(".")


async def test_large_integers_stay_exact(client: httpx.AsyncClient) -> None:
    """trap 5: what is beyond 64 bits is a wrong Int, not a float that lost its digits."""
    body = b'{"query": "query ($n: Int) { numbered(n: $n) }", "variables": {"n": 123456789012345678901234567890}}'
    response = await client.post("/graphql", content=body, headers=JSON)
    assert "123456789012345678901234567890" in response.json()["errors"][0]["message"]
    assert response.status_code == 400


async def test_a_body_over_the_limit_is_413() -> None:
    """trap 4: told by Content-Length, or counted as it comes."""
    made = fleet(edges=EdgeLimits(max_body_bytes=1_000))

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async with client_of(made) as client:
        for content in (b" " * 1_001, chunks()):
            response = await client.post("/graphql", content=content, headers=JSON)
            assert response.status_code == 413
            assert response.json()["errors"][0]["extensions"] == {
                "code": "OPERATION_TOO_COMPLEX",
                "measure": "body",
                "cost": 1_001,
                "limit": 1_000,
            }
        padded = b'{"query": "{ hello }"}'.ljust(1_000)
        assert (await client.post("/graphql", content=padded, headers=JSON)).status_code == 200


async def test_a_gzip_body_is_inflated_within_the_limit() -> None:
    """trap 4: the limit holds for what comes out, and a bomb goes off no further than that."""
    made = fleet(edges=EdgeLimits(max_body_bytes=100_000))
    async with client_of(made) as client:
        good = await client.post("/graphql", content=gzip.compress(b'{"query": "{ hello }"}'), headers=GZIP)
        assert (good.status_code, good.json()["data"]) == (200, {"hello": "hello world"})
        bomb = gzip.compress(b" " * 50_000_000)
        assert len(bomb) < 100_000
        started = time.perf_counter()
        assert (await client.post("/graphql", content=bomb, headers=GZIP)).status_code == 413
        assert time.perf_counter() - started < 5
        for broken in (b"not gzip", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"more", b""):
            assert (await client.post("/graphql", content=broken, headers=GZIP)).status_code == 400
        other = await client.post("/graphql", content=b"x", headers={**JSON, "Content-Encoding": "br"})
        assert (other.status_code, other.headers["accept-encoding"]) == (415, "gzip")


@pytest.mark.parametrize(("token", "status"), [("good", 413), ("old", 401)])
async def test_fifty_megabytes_are_answered_and_not_kept(live: Running, token: str, status: int) -> None:
    """trap 4: through a real server the client reads why it was refused, rather than a reset connection."""
    async with httpx.AsyncClient(timeout=20) as client:
        headers = {**JSON, "Authorization": f"Bearer {token}"}
        for _ in range(2):
            response = await client.post(live.url, content=b" " * 50_000_000, headers=headers)
            assert response.status_code == status
