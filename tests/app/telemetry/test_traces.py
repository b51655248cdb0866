"""`POST /v1/traces`: an instrumented agent needs settings and no code (OPE-1, RUN-3, RUN-4, COST-1)."""

from __future__ import annotations

import asyncio
import gzip
import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import orjson
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.trace import StatusCode, Tracer
from sqlalchemy import select

from app.http.server import DrainingServer, server_config
from app.telemetry.otlp.endpoint import MOST_SPANS
from db import models
from db.enums import TaskType
from db.ids import new_id
from tests.app.telemetry.conftest import Scene, add_agent, gid
from tests.conftest import TenantUnderTest

JSON, PROTOBUF = "application/json", "application/x-protobuf"


@asynccontextmanager
async def on_a_port(scene: Scene) -> AsyncIterator[str]:
    """The gateway behind a real server."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    application = scene.served.application
    config = server_config(application, loop="asyncio", lifespan="off")
    server = DrainingServer(config, application.gateway.endpoint.drain, seconds=2.0)
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


def work(tracer: Tracer, **conversation: Any) -> None:
    """What an instrumented agent does: two answers of a model, a tool in between that works and one that does not."""
    with tracer.start_as_current_span(
        "invoke_agent Scout",
        attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Scout", **conversation},
    ):
        chat(tracer, 1_200, 80, cached=200)
        with (
            tracer.start_as_current_span(
                "execute_tool search",
                attributes={
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": "search",
                    "gen_ai.tool.call.arguments": '{"query": "otters", "apiKey": "sk-ant-abcdefghijklmnopqrstuvw1"}',
                    "gen_ai.tool.call.result": "three results",
                },
            ),
            tracer.start_as_current_span("GET", attributes={"http.request.method": "GET"}),
        ):
            pass
        with tracer.start_as_current_span(
            "execute_tool fetch", attributes={"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "fetch"}
        ) as span:
            span.set_status(StatusCode.ERROR, "no such page")
        chat(tracer, 500, 20)


def chat(tracer: Tracer, sent: int, answered: int, cached: int = 0) -> None:
    """An answer of a model."""
    with tracer.start_as_current_span(
        "chat claude-3-opus",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "claude-3-opus",
            "gen_ai.usage.input_tokens": sent,
            "gen_ai.usage.output_tokens": answered,
            "gen_ai.usage.cache_read.input_tokens": cached,
        },
    ):
        pass


COST = (Decimal(1_500) * 15 + Decimal(200) * Decimal("1.5") + Decimal(100) * 75) / 1_000_000
"""COST-2, by hand: 1,500 tokens sent, 200 from the cache at a tenth, 100 written."""


async def rows(tenant: TenantUnderTest, model: Any) -> list[Any]:
    async with tenant.database.transaction(tenant.actor()) as session:
        return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))


async def instance(scene: Scene, row_id: UUID | None = None) -> models.AgentInstance:
    async with scene.tenant.database.transaction(scene.tenant.actor()) as session:
        found = await session.get(models.AgentInstance, (scene.tenant.id, row_id or scene.agent.id))
        assert found is not None
        return found


async def traced(scene: Scene) -> list[models.Run]:
    """The runs that came with traces."""
    return [run for run in await rows(scene.tenant, models.Run) if run.id != scene.run.id]


@pytest.mark.parametrize("how", ["one batch", "each span as it ends"])
async def test_ope_1_a_run_of_an_instrumented_agent_by_the_real_exporter(scene: Scene, how: str) -> None:
    """The SDK's own exporter with nothing but a token: the run at its exact version, its calls, its cost, its events;
    whatever the order in which spans come, and however often."""
    async with on_a_port(scene) as url:
        exporter = OTLPSpanExporter(
            f"{url}/v1/traces",
            headers={"authorization": f"Bearer {scene.token(scene.agent)}"},
            compression=Compression.Gzip,
        )
        sent: list[ReadableSpan] = []
        export = exporter.export

        def remembered(spans: Sequence[ReadableSpan]) -> Any:
            sent.extend(spans)
            return export(spans)

        exporter.export = remembered  # type: ignore[method-assign]
        provider = TracerProvider(resource=Resource.create({"service.name": "scout"}))
        provider.add_span_processor(
            BatchSpanProcessor(exporter) if how == "one batch" else SimpleSpanProcessor(exporter)
        )

        def act() -> None:
            work(provider.get_tracer("test"), **{"gen_ai.conversation.id": "c-1"})
            provider.force_flush()

        await asyncio.to_thread(act)
        (run,) = await traced(scene)
        assert (run.status, run.instance_id, run.version_id) == ("COMPLETED", scene.agent.id, scene.agent.version_id)
        assert (run.session_key, run.model, run.cost_usd) == ("c-1", "claude-3-opus", COST)
        assert (run.input_tokens, run.output_tokens, run.cache_read_tokens) == (1_500, 100, 200)
        assert run.ended_at is not None
        assert run.template_id is not None
        calls = [call for call in await rows(scene.tenant, models.ToolCall) if call.id != scene.call.id]
        by_name = {call.tool_name: call for call in calls}
        assert set(by_name) == {"search", "fetch"}
        assert {call.run_id for call in calls} == {run.id}
        assert {call.version_id for call in calls} == {scene.agent.version_id}
        search, fetch = by_name["search"], by_name["fetch"]
        assert (search.status, search.risk_level, fetch.status) == ("SUCCESS", "GREEN", "FAILED")
        assert fetch.error == "no such page"
        assert "otters" in search.input_preview
        assert "sk-ant" not in search.input_preview
        assert search.output_preview == "three results"
        events = await scene.log()
        assert sorted(row["type"].value for row in events) == sorted(
            ["RUN_STARTED", "RUN_COMPLETED", "COST_TICK", "COST_TICK"]
            + ["TOOL_CALL_STARTED", "TOOL_CALL_COMPLETED"] * 2
        )
        assert {row["run_id"] for row in events} == {run.id}
        assert {row["version_id"] for row in events} == {scene.agent.version_id}
        assert sum(row["delta_usd"] or 0 for row in events) == COST
        assert (await instance(scene)).spend_today == COST, "COST-1: counters move by ticks"
        before = [run.updated_at for run in await traced(scene)]
        await asyncio.to_thread(export, sent)
        random.Random(7).shuffle(sent)
        for span in sent:
            await asyncio.to_thread(export, [span])
        assert [run.updated_at for run in await traced(scene)] == before
        assert len(await scene.log()) == len(events)
        assert (await instance(scene)).spend_today == COST
        assert len(await rows(scene.tenant, models.ToolCall)) == 3
        provider.shutdown()


# --- By hand ----------------------------------------------------------------------------------------------------------


def span(
    name: str,
    parent: str | None = None,
    *,
    of: str = "a" * 32,
    operation: str | None = None,
    ago: float = 10,
    lasts: float = 1,
    error: str | None = None,
    **attributes: Any,
) -> dict[str, Any]:
    """A span of OTLP's JSON; its id is made of its name."""
    start = datetime.now(UTC) - timedelta(seconds=ago)
    given = {"gen_ai.operation.name": operation, **{key.replace("__", "."): value for key, value in attributes.items()}}
    return {
        "traceId": of,
        "spanId": identity(name),
        **({} if parent is None else {"parentSpanId": identity(parent)}),
        "name": name,
        "startTimeUnixNano": str(int(start.timestamp() * 1e9)),
        "endTimeUnixNano": str(int((start + timedelta(seconds=lasts)).timestamp() * 1e9)),
        "attributes": pairs({key: value for key, value in given.items() if value is not None}),
        **({} if error is None else {"status": {"code": 2, "message": error}}),
    }


def identity(name: str) -> str:
    return name.encode().hex().ljust(16, "0")[:16]


def pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {str: "stringValue", int: "intValue", bool: "boolValue", float: "doubleValue"}
    return [
        {"key": key, "value": {kinds[type(value)]: str(value) if type(value) is int else value}}
        for key, value in values.items()
    ]


async def send(scene: Scene, *spans: Any, token: str | None = None, **resource: Any) -> httpx.Response:
    body = {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs({key.replace("__", "."): value for key, value in resource.items()})},
                "scopeSpans": [{"spans": list(spans)}],
            }
        ]
    }
    return await post(scene, orjson.dumps(body), JSON, token=token)


async def post(scene: Scene, body: bytes, kind: str, *, token: str | None = None, **headers: str) -> httpx.Response:
    bearer = token or scene.token(scene.agent)
    sent = {"Authorization": f"Bearer {bearer}", "Content-Type": kind, **headers}
    return await scene.served.client.post("/v1/traces", content=body, headers=sent)


async def test_spans_of_older_instrumentation_and_json_are_understood(scene: Scene) -> None:
    """Names of former conventions; an agent span with the sum of tokens that nothing else told; a step."""
    old: dict[str, Any] = {
        "gen_ai__request__model": "gpt-4",
        "gen_ai__usage__prompt_tokens": 100,
        "gen_ai__usage__completion_tokens": 10,
    }
    response = await send(
        scene,
        span("agent", operation="invoke_agent", ago=9, lasts=8),
        span("old chat", "agent", **old),
        span("plan", "agent", operation="plan"),
        span("agent 2", of="b" * 32, operation="invoke_agent", error="it broke", **old),
    )
    assert (response.status_code, response.json()) == (200, {})
    by_trace = {(run.metadata_ or {})["traceId"]: run for run in await traced(scene)}
    assert set(by_trace) == {"a" * 32, "b" * 32}
    cost = Decimal("0.0036")
    assert [(by_trace[t * 32].status.value, by_trace[t * 32].cost_usd) for t in "ab"] == [
        ("COMPLETED", cost),
        ("FAILED", cost),
    ]
    assert by_trace["b" * 32].error == "it broke"
    (step,) = [row for row in await scene.log() if row["type"].value == "RUN_STEP"]
    assert (step["run_id"], step["payload"]["kind"]) == (by_trace["a" * 32].id, "plan")


async def test_parts_come_before_the_whole_and_steps_in_between_are_seen_through(scene: Scene) -> None:
    """A tool's span two steps below its agent's, each sent as it ends: one run, and the tool call in it."""
    tool = span("tool", "chain", operation="execute_tool", gen_ai__tool__name="search", ago=8)
    await send(scene, tool)
    (run,) = await traced(scene)
    assert run.status == "RUNNING"
    await send(scene, span("chain", "agent", ago=9, lasts=3))
    await send(scene, span("agent", operation="invoke_agent", ago=10, lasts=6))
    (same,) = await traced(scene)
    assert (same.id, same.status) == (run.id, "COMPLETED")
    assert same.duration_ms is not None
    assert 5_900 <= same.duration_ms <= 6_100, "from the beginning of the agent's span"
    (call,) = [call for call in await rows(scene.tenant, models.ToolCall) if call.id != scene.call.id]
    assert call.run_id == run.id


async def test_agents_within_agents_have_runs_of_their_own(scene: Scene) -> None:
    """Each part belongs to the nearest agent above it; what has none above it is a run for itself."""
    await send(
        scene,
        span("outer", operation="invoke_agent", lasts=9),
        span("outer tool", "outer", operation="execute_tool"),
        span("inner", "outer tool", operation="invoke_agent"),
        span("inner tool", "inner", operation="execute_tool"),
        span("lone tool", of="c" * 32, operation="execute_tool"),
    )
    runs = {run.id: run for run in await traced(scene)}
    assert len(runs) == 3
    assert {run.status.value for run in runs.values()} == {"COMPLETED"}
    calls = {call.tool_name: call.run_id for call in await rows(scene.tenant, models.ToolCall)}
    assert len({calls["outer tool"], calls["inner tool"], calls["lone tool"]}) == 3


@pytest.mark.parametrize("started_for", ["its task", "another project's", "one that is gone", "no id"])
@pytest.mark.parametrize("names_another", [False, True])
async def test_pol_9_a_childs_run_is_for_the_task_that_it_was_started_for(
    scene: Scene, started_for: str, names_another: bool
) -> None:
    """And its cost counts there, unless its span names another task; notes that name none of its project's are none."""
    other = models.Task(id=new_id(), project_id=scene.tenant.project.id, title="Other", type=TaskType.DOCS)
    far = models.Task(id=new_id(), project_id=scene.other_project.id, title="Far", type=TaskType.DOCS)
    await scene.tenant.add(other, far)
    notes = {"its task": scene.task.id, "another project's": far.id, "one that is gone": new_id(), "no id": "none"}
    async with scene.tenant.database.transaction(scene.tenant.actor()) as session:
        child = await session.get(models.AgentInstance, (scene.tenant.id, scene.agent.id))
        assert child is not None
        child.parent_instance_id, child.metadata_ = scene.colleague.id, {"parentTaskId": str(notes[started_for])}
    named: dict[str, Any] = {"fleetgraph__task__id": gid(other)} if names_another else {}
    chat_span = span("chat", "agent", operation="chat", gen_ai__request__model="m", gen_ai__usage__input_tokens=1_000)
    await send(scene, chat_span)
    await send(scene, span("agent", operation="invoke_agent", lasts=5, **named))
    expected = other.id if names_another else scene.task.id if started_for == "its task" else None
    (run,) = await traced(scene)
    assert (run.task_id, run.status.value) == (expected, "COMPLETED")
    spent = {one.id for one in await rows(scene.tenant, models.Task) if one.actual_cost > 0}
    assert spent == ({expected} - {None})


@pytest.mark.parametrize("how", ["one batch", "the outer one's part first", "the outer one's end first"])
async def test_an_agent_within_an_agent_works_for_the_same_task(scene: Scene, how: str) -> None:
    """OPE-1. Where the run above it is known, and its own span names no other."""
    task: dict[str, Any] = {"fleetgraph__task__id": gid(scene.task)}
    outer = span("outer", operation="invoke_agent", lasts=9, **task)
    part = span("look", "outer", operation="execute_tool", **task)
    inner = span("inner", "look", operation="invoke_agent", ago=9)
    match how:
        case "one batch":
            await send(scene, inner, part, outer)
        case "the outer one's part first":
            await send(scene, part)
            await send(scene, inner, part)
            await send(scene, outer)
        case _:
            await send(scene, part, outer)
            await send(scene, inner, part)
    runs = await traced(scene)
    assert len(runs) == 2
    assert {run.task_id for run in runs} == {scene.task.id}


def cost_of(name: str, parent: str) -> dict[str, Any]:
    return span(name, parent, operation="chat", gen_ai__request__model="m", gen_ai__usage__input_tokens=1_000, ago=8)


INNER_FIRST: dict[str, list[list[str]]] = {
    "the inner one first": [["inner"], ["outer"]],
    "with what is in between": [["inner"], ["look", "outer"]],
    "what is in between by itself": [["inner"], ["look"], ["outer"]],
    "the outer one's part in between": [["inner"], ["outer's part"], ["outer"]],
    "the outer one has begun": [["outer's part"], ["inner"], ["outer"]],
    "three deep": [["innermost"], ["inner"], ["look"], ["outer"]],
    "three deep, in one": [["innermost", "inner"], ["look", "outer"]],
}


@pytest.mark.parametrize("order", INNER_FIRST)
async def test_ope_1_an_agent_within_an_agent_that_comes_first_waits_for_its_task(scene: Scene, order: str) -> None:
    """It ends before the outer one, and is sent when it has ended. Its calls and its cost go where it goes, once."""
    spans = {
        "outer": [span("outer", operation="invoke_agent", lasts=9, fleetgraph__task__id=gid(scene.task))],
        "outer's part": [span("part", "outer", operation="execute_tool", ago=8)],
        "look": [span("look", "outer", operation="execute_tool", ago=9.5, lasts=8)],
        "inner": [
            span("call", "inner", operation="execute_tool", ago=8),
            cost_of("chat", "inner"),
            span("inner", "look", operation="invoke_agent", ago=9, lasts=6),
        ],
        "innermost": [
            cost_of("deep chat", "innermost"),
            span("innermost", "inner", operation="invoke_agent", ago=8.5, lasts=3),
        ],
    }
    if not any("look" in batch for batch in INNER_FIRST[order]):
        spans["inner"][-1]["parentSpanId"] = identity("outer")
    batches = [[one for name in batch for one in spans[name]] for batch in INNER_FIRST[order]]
    for batch in batches:
        assert {run.task_id for run in await traced(scene)} <= {None}
        await send(scene, *batch)
    runs = await traced(scene)
    deep = "three" in order
    assert len(runs) == (3 if deep else 2)
    assert {run.task_id for run in runs} == {scene.task.id}
    assert {run.status.value for run in runs} == {"COMPLETED"}
    ids = {run.id for run in runs}
    assert {one.task_id for one in await rows(scene.tenant, models.ToolCall) if one.run_id in ids} == {scene.task.id}
    cost = sum(run.cost_usd for run in runs)
    assert cost > 0
    assert await costs(scene) == {scene.task.id: cost}
    for batch in batches:
        await send(scene, *batch)
    assert await costs(scene) == {scene.task.id: cost}


async def costs(scene: Scene) -> dict[UUID, Decimal]:
    """What tasks have cost that cost anything."""
    return {one.id: one.actual_cost for one in await rows(scene.tenant, models.Task) if one.actual_cost}


async def test_ope_1_what_waits_for_a_task_waits_for_its_own_alone(scene: Scene, other_tenant: TenantUnderTest) -> None:
    """Not for another trace's, another agent's or one that is no part of; what names a task itself waits for none."""
    other = models.Task(id=new_id(), project_id=scene.tenant.project.id, title="Other", type=TaskType.DOCS)
    await scene.tenant.add(other)
    task: dict[str, Any] = {"fleetgraph__task__id": gid(scene.task)}
    colleague: dict[str, Any] = {"fleetgraph__instance__id": gid(scene.colleague)}
    admin = await scene.served.token("Admin", project_id=scene.tenant.project.id)
    inner, elsewhere = "inner", "b" * 32
    await send(scene, span(inner, "outer", operation="invoke_agent", of=elsewhere, ago=9))
    await send(scene, span("lone", operation="invoke_agent", ago=9))
    await send(scene, span("named", "outer", operation="invoke_agent", ago=9, fleetgraph__task__id=gid(other)))
    await send(scene, span("theirs", "outer", operation="invoke_agent", ago=9), token=admin, **colleague)
    await send(scene, span("outer", operation="invoke_agent", lasts=9, **task))
    by_task = sorted(str(run.task_id) for run in await traced(scene))
    assert by_task == sorted([str(scene.task.id), str(other.id), "None", "None", "None"])


async def test_a_run_that_began_with_its_parts_takes_the_task_of_its_agents_span(scene: Scene) -> None:
    """Its calls with it, and its cost counts there."""
    part = span("look", "agent", operation="execute_tool")
    chat_span = span("chat", "agent", operation="chat", gen_ai__request__model="m", gen_ai__usage__input_tokens=1_000)
    await send(scene, part, chat_span)
    (run,) = await traced(scene)
    assert run.task_id is None
    await send(scene, span("agent", operation="invoke_agent", lasts=9, fleetgraph__task__id=gid(scene.task)))
    (run,) = await traced(scene)
    (call,) = [one for one in await rows(scene.tenant, models.ToolCall) if one.run_id == run.id]
    assert (run.task_id, call.task_id) == (scene.task.id, scene.task.id)
    assert [one.actual_cost for one in await rows(scene.tenant, models.Task)] == [run.cost_usd]
    assert run.cost_usd > 0


async def test_a_collector_names_the_agent_in_the_resource(scene: Scene) -> None:
    """With a person's token that has `write:op-events`; the task comes along; without a name the span is rejected, and
    a span that is no agent's business is not."""
    token = await scene.served.token("Admin", project_id=scene.tenant.project.id)
    named: dict[str, Any] = {"fleetgraph__instance__id": gid(scene.colleague), "fleetgraph__task__id": gid(scene.task)}
    response = await send(scene, span("agent", operation="invoke_agent"), token=token, **named)
    assert response.json() == {}
    (run,) = await traced(scene)
    assert (run.instance_id, run.task_id) == (scene.colleague.id, scene.task.id)
    nobody = await send(scene, span("x", operation="invoke_agent"), span("GET /"), token=token)
    partial = nobody.json()["partialSuccess"]
    assert partial["rejectedSpans"] == "1"
    assert "fleetgraph.instance.id" in partial["errorMessage"]


async def test_rbac_11_an_agent_sends_its_own_spans_alone(scene: Scene, other_tenant: TenantUnderTest) -> None:
    """A colleague's, another tenant's and those of other times are rejected, in a partial success."""
    foreign = await add_agent(other_tenant, other_tenant.project, "Foreign")
    response = await send(
        scene,
        span("mine", operation="invoke_agent"),
        span("theirs", operation="invoke_agent", fleetgraph__instance__id=gid(scene.colleague)),
        span("foreign", operation="invoke_agent", fleetgraph__instance__id=gid(foreign)),
        span("old", operation="invoke_agent", ago=31 * 86_400),
        span("ahead", operation="invoke_agent", ago=-600),
        {"traceId": "0" * 32, "spanId": identity("zero"), "name": "zero"},
        {"traceId": "xyz"},
    )
    assert response.status_code == 200
    assert response.json()["partialSuccess"]["rejectedSpans"] == "6"
    assert [run.instance_id for run in await traced(scene)] == [scene.agent.id]
    assert len(await scene.audits("ACCESS_DENIED")) == 1
    assert await rows(other_tenant, models.Run) == []
    token = await scene.served.token("Admin", project_id=scene.other_project.id)
    elsewhere = await send(
        scene, span("b", operation="invoke_agent"), token=token, fleetgraph__instance__id=gid(scene.agent)
    )
    assert elsewhere.json()["partialSuccess"]["rejectedSpans"] == "1"


async def test_bud_4_what_models_cost_stops_an_agent_whose_budget_it_used_up(scene: Scene) -> None:
    """The tick that broke the limit pauses the agent; what was done is recorded all the same."""
    await scene.tenant.add(
        models.PolicyEnvelope(
            id=new_id(),
            name="tight",
            attached_to_tenant=True,
            autonomy_tier=1,
            version=1,
            active=True,
            cost_limits={"dailyUsd": 0.01},
        )
    )
    usage: dict[str, Any] = {"gen_ai__request__model": "claude-3-opus", "gen_ai__usage__input_tokens": 1_000}
    await send(
        scene,
        span("agent", operation="invoke_agent", lasts=9),
        span("chat", "agent", operation="chat", **usage),
        span("chat 2", "agent", operation="chat", ago=9, **usage),
    )
    (run,) = await traced(scene)
    assert (run.status, run.cost_usd) == ("COMPLETED", Decimal("0.03"))
    assert (await instance(scene)).state == "PAUSED"
    ticks = [row for row in await scene.log() if row["type"].value == "COST_TICK"]
    assert [row["payload"].get("budgetExceeded") for row in ticks] == [True, True]


async def test_run_4_a_late_answer_of_a_model_still_counts(scene: Scene) -> None:
    """After the run has ended: for the run, its agent and its task."""
    usage: dict[str, Any] = {"gen_ai__request__model": "claude-3-opus", "gen_ai__usage__input_tokens": 1_000}
    named: dict[str, Any] = {"fleetgraph__task__id": gid(scene.task)}
    await send(
        scene, span("agent", operation="invoke_agent"), span("chat", "agent", operation="chat", **usage), **named
    )
    await send(scene, span("late", "agent", operation="chat", **usage), **named)
    (run,) = await traced(scene)
    assert run.cost_usd == Decimal("0.03") == (await instance(scene)).spend_today
    (task,) = [task for task in await rows(scene.tenant, models.Task) if task.id == scene.task.id]
    assert task.actual_cost == Decimal("0.03")


async def test_errors_are_a_status_in_the_requests_own_encoding(scene: Scene) -> None:
    """google.rpc.Status, as the protocol wants it; 429 says when to come back."""
    cases: list[tuple[bytes, str, dict[str, str], int, int]] = [
        (b"\xff\xff", PROTOBUF, {}, 400, 3),
        (b"{", JSON, {}, 400, 3),
        (b'{"resourceSpans": 5}', JSON, {}, 400, 3),
        (b'{"resourceSpans": [5]}', JSON, {}, 400, 3),
        (b"[]", JSON, {}, 400, 3),
        (b"", "text/plain", {}, 415, 3),
        (b"{}", JSON, {"Content-Encoding": "zstd"}, 415, 3),
        (b"{}", JSON, {"Content-Encoding": "gzip"}, 400, 3),
        (b"", PROTOBUF, {"Authorization": "Bearer nonsense"}, 401, 16),
    ]
    for body, kind, headers, status, code in cases:
        response = await post(scene, body, kind, **headers)
        assert response.status_code == status, (body, kind, response.text)
        if kind == PROTOBUF:
            assert response.headers["content-type"] == PROTOBUF
            assert Status.FromString(response.content).code == code
        else:
            assert response.json()["code"] == code
            assert response.json()["message"]
    viewer = await scene.served.token("Viewer")
    refused = await post(scene, b"", PROTOBUF, token=viewer)
    assert (refused.status_code, Status.FromString(refused.content).code) == (403, 7)


async def test_answers_have_the_requests_encoding(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protobuf for protobuf, a partial success in it too; gzip goes in either way."""
    request = ExportTraceServiceRequest()
    one = request.resource_spans.add().scope_spans.add().spans.add()
    one.trace_id, one.span_id, one.name = b"\x01" * 16, b"\x02" * 8, "agent"
    one.start_time_unix_nano = one.end_time_unix_nano = int(datetime.now(UTC).timestamp() * 1e9)
    one.attributes.add(key="gen_ai.operation.name").value.string_value = "invoke_agent"
    bad = request.resource_spans[0].scope_spans[0].spans.add()
    bad.trace_id = b"\x01" * 3
    body = gzip.compress(request.SerializeToString())
    response = await post(scene, body, PROTOBUF, **{"Content-Encoding": "gzip"})
    assert (response.status_code, response.headers["content-type"]) == (200, PROTOBUF)
    answer = ExportTraceServiceResponse.FromString(response.content)
    assert answer.partial_success.rejected_spans == 1
    assert len(await traced(scene)) == 1
    empty = await post(scene, b"", PROTOBUF)
    assert (empty.status_code, empty.content) == (200, b"")
    for _ in range(MOST_SPANS):
        request.resource_spans[0].scope_spans[0].spans.add().name = "x"
    many = await send(scene, *[span("x", operation="plan")] * (MOST_SPANS + 1))
    assert many.status_code == 413
    monkeypatch.setattr(scene.writer, "_most_waiting", 0)
    busy = await post(scene, body, PROTOBUF, **{"Content-Encoding": "gzip"})
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "1")
    assert Status.FromString(busy.content).code == 8
