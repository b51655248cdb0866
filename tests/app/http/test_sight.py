"""Health, metrics, request ids and traces (issue 2, point 9)."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette

from app.graph.execution import Hooks
from app.http.health import Check, Health
from app.http.metrics import Metrics, OperationNames
from app.http.tracing import Tracing
from tests.app.http.conftest import client_of
from tests.app.http.fleet import Fleet, fleet


async def fine() -> None:
    return None


async def broken() -> None:
    raise ConnectionError("no route to 10.0.0.7")


async def stuck() -> None:
    await asyncio.sleep(60)


async def ask(health: Health, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=Starlette(routes=health.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("migrations", "status", "said"), [(fine, 200, "ok"), (broken, 503, "failed"), (stuck, 503, "failed")]
)
async def test_readiness_is_every_check(migrations: Check, status: int, said: str) -> None:
    """/readyz names the check that failed and says nothing of why; one that hangs has failed."""
    response = await ask(Health({"database": fine, "migrations": migrations}, seconds=0.1), "/readyz")
    assert response.status_code == status
    assert response.json() == {"status": said, "checks": {"database": "ok", "migrations": said}}


async def test_liveness_asks_nobody_and_stopping_is_not_ready() -> None:
    health = Health({"database": broken})
    assert (await ask(health, "/healthz")).status_code == 200
    ready = Health({"database": fine})
    ready.stop()
    response = await ask(ready, "/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "stopping")


async def post(client: httpx.AsyncClient, query: str, **headers: str) -> httpx.Response:
    return await client.post("/graphql", json={"query": query}, headers=headers)


async def test_operations_are_counted_by_name_and_outcome(client: httpx.AsyncClient) -> None:
    await post(client, "query Greeting { hello }")
    await post(client, "query Greeting { hello }")
    await post(client, "query Secrets { forbidden }")
    await post(client, "query Work { countStatements(statements: 4) }")
    await post(client, "{ hello }")
    text = (await client.get("/metrics")).text
    assert 'fleetgraph_operations_total{kind="query",operation="Greeting",outcome="OK"} 2.0' in text
    assert 'fleetgraph_operations_total{kind="query",operation="Secrets",outcome="FORBIDDEN"} 1.0' in text
    assert 'fleetgraph_operations_total{kind="query",operation="(anonymous)",outcome="OK"} 1.0' in text
    assert 'fleetgraph_operation_seconds_count{kind="query",operation="Work"} 1.0' in text
    assert 'fleetgraph_operation_statements_sum{kind="query"} 4.0' in text


def test_names_of_operations_are_few() -> None:
    """A client that makes up a name each time makes no new time series each time."""
    names = OperationNames(limit=2)
    assert [names.label(name) for name in ("a", "b", "c", "a", None, "x" * 65)] == [
        "a",
        "b",
        "(other)",
        "a",
        "(anonymous)",
        "(other)",
    ]


async def test_gauges_are_read_when_asked_for() -> None:
    metrics = Metrics()
    pool = {"used": 1.0, "idle": 3.0}
    metrics.gauge("pool_connections", "Connections of the pool.", "state", lambda: pool)
    metrics.loader_batch("Task.id", 20)
    pool["used"] = 2.0
    transport = httpx.ASGITransport(app=Starlette(routes=metrics.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert 'fleetgraph_pool_connections{state="used"} 2.0' in response.text
    assert 'fleetgraph_loader_batch_rows_sum{loader="Task.id"} 20.0' in response.text


async def test_a_request_keeps_its_id_or_gets_one(client: httpx.AsyncClient, gateway: Fleet) -> None:
    kept = await post(client, "{ hello }", **{"X-Request-Id": "trace-7.a_b"})
    assert kept.headers["x-request-id"] == "trace-7.a_b"
    assert gateway.house.requests == ["trace-7.a_b"]
    for bad in ("a b", "x" * 129, 'x"y', "<script>"):
        made = await post(client, "{ hello }", **{"X-Request-Id": bad})
        assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])


async def test_log_lines_carry_the_request_id(client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as lines:
        response = await post(client, "query Greeting { hello }")
        await post(client, "{", **{"X-Request-Id": "bad-one"})
    operation, request = lines
    assert (operation["event"], operation["operation"], operation["outcome"]) == ("operation", "Greeting", "OK")
    assert operation["request_id"] == response.headers["x-request-id"]
    assert (request["event"], request["status"], request["path"]) == ("request", 400, "/graphql")


async def test_a_trace_goes_on_through_the_gateway() -> None:
    """OpenTelemetry: a span for the request in the caller's trace, and one for the operation inside it."""
    spans = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(spans))
    made: Any = fleet(hooks=Hooks(span=tracing.operation))
    made.app = tracing.requests(made.app)
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with client_of(made) as client:
        response = await post(client, "query Greeting { hello }", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    operation, request = spans.get_finished_spans()
    assert (operation.name, request.name) == ("graphql.query", "POST /graphql")
    assert operation.parent is not None
    assert operation.parent.span_id == request.context.span_id
    assert format(request.context.trace_id, "032x") == trace
    assert operation.attributes is not None
    assert operation.attributes["graphql.operation.name"] == "Greeting"
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["fleetgraph.request_id"] == response.headers["x-request-id"]
    tracing.close()
