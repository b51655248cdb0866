"""Token buckets: so many a second for each principal, and a word on when to come back (decision 34)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.graph import rates
from app.graph.errors import RateLimited
from app.graph.rates import Rate
from db.connections import Connections
from tests.conftest import TenantUnderTest
from tests.serving import serve


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_a_refusal_then_room_again() -> None:
    """The refusal says when the next one fits."""
    clock = Clock()
    rate = Rate(4, clock)
    for _ in range(4):
        rate.take("a")
    with pytest.raises(RateLimited) as refused:
        rate.take("a")
    assert refused.value.extensions is not None
    assert refused.value.extensions["retryAfter"] == 0.25
    clock.now += 0.25
    rate.take("a")
    with pytest.raises(RateLimited):
        rate.take("a")


def test_principals_do_not_share() -> None:
    """One who floods keeps nobody else out."""
    rate = Rate(1, Clock())
    rate.take("a")
    rate.take("b")
    with pytest.raises(RateLimited):
        rate.take("a")


def test_silence_saves_up_one_second_at_most() -> None:
    """A day of silence is no licence for a flood."""
    clock = Clock()
    rate = Rate(2, clock)
    rate.take("a")
    clock.now += 86_400
    rate.take("a")
    rate.take("a")
    with pytest.raises(RateLimited):
        rate.take("a")


def test_zero_is_no_limit() -> None:
    """As the setting says."""
    rate = Rate(0, Clock())
    for _ in range(1_000):
        rate.take("a")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that asked longest ago is forgotten first."""
    monkeypatch.setattr(rates, "MOST_BUCKETS", 2)
    rate = Rate(1, Clock())
    for name in ("a", "b", "a2"):
        rate.take(name)
    with pytest.raises(RateLimited):
        rate.take("b")
    rate.take("a")


async def test_over_http_it_is_429_with_retry_after(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """Queries and mutations are counted apart."""
    async with serve(connections, tenant, tmp_path, queries_per_second=0.1) as served:

        async def send(query: str) -> httpx.Response:
            return await served.client.post("/graphql", json={"query": query}, headers=served.headers)

        assert (await send("{ viewer { kind } }")).status_code == 200
        limited = await send("{ viewer { kind } }")
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) in (9, 10)
        assert limited.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        done = await send('mutation { projectCreate(input: {name: "P", slug: "p"}) { project { slug } } }')
        assert done.status_code == 200


async def test_other_web_origins_are_let_in_by_name(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path
) -> None:
    """`allowed_origins`: a browser may call from those, and from no other."""
    console = "https://console.example.com"
    async with serve(connections, tenant, tmp_path, allowed_origins=(console,)) as served:
        for origin, allowed in ((console, console), ("https://evil.example.com", None)):
            preflight = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,fleetgraph-tenant",
            }
            answer = await served.client.options("/graphql", headers=preflight)
            assert answer.headers.get("access-control-allow-origin") == allowed
