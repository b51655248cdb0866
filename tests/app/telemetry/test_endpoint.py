"""`POST /v1/op-events`: every event is answered, whatever else is in the body (OPE-1, RBAC-11, decision 5)."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import asyncpg
import orjson
import pytest
from sqlalchemy import update

from app.auth.actor import ActorKind
from app.telemetry import http as shared
from app.telemetry.endpoint import BATCH
from app.telemetry.wire import LARGEST_EVENT, LARGEST_PAYLOAD, MOST_EVENTS
from db import models
from db.embedded import SUPERUSER, EmbeddedPostgres
from db.enums import InstanceState
from db.ids import new_id
from tests.app.telemetry.conftest import Scene, add_agent, gid, now_text
from tests.conftest import TenantUnderTest
from tests.serving import grant


def step(**fields: Any) -> dict[str, Any]:
    """A step of a run that just happened."""
    return {"type": "RUN_STEP", "timestamp": now_text(), **fields}


def statuses(answer: dict[str, Any]) -> list[str]:
    return [one["status"] for one in answer["results"]]


def reasons(answer: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """(code, field) of each event."""
    return [(one.get("code"), one.get("field")) for one in answer["results"]]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
@pytest.mark.parametrize("zipped", [False, True])
async def test_ope_1_events_are_stored_with_what_belongs_to_them(scene: Scene, kind: str, zipped: bool) -> None:
    """Version and project come from the agent, agent and task from the run, the run from the tool call."""
    sent = [
        step(instanceId=gid(scene.agent), eventId="a", payload={"summary": "é\U0001f98a", "big": 2**70}),
        step(runId=gid(scene.run)),
        step(type="TOOL_CALL_COMPLETED", toolCallId=gid(scene.call)),
        step(projectId=gid(scene.other_project)),
        step(taskId=gid(scene.task)),
        step(),
    ]
    response = await scene.post(sent, kind=kind, zipped=zipped)
    answer = response.json()
    assert response.status_code == 200
    assert (answer["accepted"], answer["duplicates"], answer["refused"], answer["lastSeq"]) == (6, 0, 0, "6")
    rows = await scene.log()
    assert [f"evt_{row['id'].hex}" for row in rows] == [one["id"] for one in answer["results"]]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6]
    agent, run, call = scene.agent, scene.run, scene.call
    project, task = agent.project_id, scene.task.id
    names = ("instance_id", "version_id", "project_id", "task_id", "run_id", "tool_call_id")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (agent.id, agent.version_id, project, None, None, None),
        (agent.id, agent.version_id, project, task, run.id, None),
        (agent.id, agent.version_id, project, task, run.id, call.id),
        (None, None, scene.other_project.id, None, None, None),
        (None, None, project, task, None, None),
        (None, None, None, None, None, None),
    ]
    assert rows[0]["payload"]["summary"] == "é\U0001f98a"
    assert rows[0]["event_id"] == "a"
    assert rows[0]["timestamp"].isoformat(timespec="milliseconds").replace("+00:00", "Z") == sent[0]["timestamp"]


async def test_ope_1_the_same_event_is_stored_once(scene: Scene) -> None:
    """In one body and in the next, by the sender's id; the answer names the row that is there."""
    event, other = step(instanceId=gid(scene.agent), eventId="a"), step(instanceId=gid(scene.agent), eventId="b")
    first = (await scene.post([event, event, other])).json()
    assert statuses(first) == ["ACCEPTED", "DUPLICATE", "ACCEPTED"]
    assert first["results"][0]["id"] == first["results"][1]["id"]
    again = (await scene.post([step(), other, {**event, "payload": {"more": 1}}, step()])).json()
    assert statuses(again) == ["ACCEPTED", "DUPLICATE", "DUPLICATE", "ACCEPTED"]
    assert (again["accepted"], again["duplicates"], again["lastSeq"]) == (2, 2, "4")
    only = (await scene.post([event])).json()
    assert (statuses(only), only["lastSeq"]) == (["DUPLICATE"], None)
    colleague = (await scene.post([{**event, "instanceId": gid(scene.colleague)}])).json()
    assert statuses(colleague) == ["ACCEPTED"], "an event id is its agent's own"
    assert [row["seq"] for row in await scene.log()] == [1, 2, 3, 4, 5]


async def test_ope_1_every_event_that_is_refused_is_told_why_and_the_others_stand(
    scene: Scene, other_tenant: TenantUnderTest
) -> None:
    """One of each reason in one body, with good events before and behind."""
    foreign = await add_agent(other_tenant, other_tenant.project, "Foreign")
    agent = gid(scene.agent)
    wrong: list[tuple[Any, tuple[str, str | None]]] = [
        (b"{", ("MALFORMED", None)),
        (b"5", ("MALFORMED", None)),
        (b"null", ("MALFORMED", None)),
        (b'"text"', ("MALFORMED", None)),
        (b"[" * 5_000, ("MALFORMED", None)),
        (b'{"type": "RUN_STEP", "payload": {"a": "\xff"}}', ("MALFORMED", "payload")),
        (b'{"type": "RUN_STEP", "eventId": "\xff"}', ("MALFORMED", None)),
        ({}, ("MALFORMED", None)),
        (step(type="NO_SUCH_TYPE"), ("MALFORMED", "type")),
        (step(versionId="x"), ("MALFORMED", "versionId")),
        (step(timestamp="2026-01-01T00:00:00"), ("MALFORMED", "timestamp")),
        (step(timestamp=5), ("MALFORMED", "timestamp")),
        (step(eventId=""), ("MALFORMED", "eventId")),
        (step(eventId="x" * 201), ("MALFORMED", "eventId")),
        (step(eventId="a\0b"), ("MALFORMED", "eventId")),
        (step(instanceId="agent seven"), ("MALFORMED", "instanceId")),
        (step(instanceId=7), ("MALFORMED", "instanceId")),
        (step(instanceId=gid(scene.task)), ("MALFORMED", "instanceId")),
        (step(instanceId=agent.upper().replace("INS_", "ins_")), ("MALFORMED", "instanceId")),
        (step(payload=[]), ("MALFORMED", "payload")),
        (step(payload="text"), ("MALFORMED", "payload")),
        (step(payload={"a": ["b\0"]}), ("MALFORMED", "payload")),
        (b'{"type": "RUN_STEP", "payload": {"a": 1e-20000}}', ("MALFORMED", "payload")),
        (b'{"type": "RUN_STEP", "payload": {"a": 1e999}}', ("MALFORMED", "payload")),
        (b'{"type": "RUN_STEP", "payload": {"a": 0.' + b"1" * 20_000 + b"}}", ("MALFORMED", "payload")),
        (b'{"type": "RUN_STEP", "payload": {"a": "\\ud800"}}', ("MALFORMED", None)),
        (b'{"type": "RUN_STEP", "payload": {"a": ' + b"[" * 3_000 + b"]" * 3_000 + b"}}", ("MALFORMED", "payload")),
        (step(payload={"a": "x" * LARGEST_PAYLOAD}), ("TOO_LARGE", "payload")),
        (step(payload={"a": "x" * LARGEST_EVENT}), ("TOO_LARGE", None)),
        ({"type": "RUN_STEP", "eventId": "a"}, ("TIMESTAMP_REQUIRED", "timestamp")),
        (step(timestamp=now_text(minutes=-6)), ("AHEAD_OF_TIME", "timestamp")),
        (step(timestamp=now_text(days=31)), ("TOO_OLD", "timestamp")),
        (step(timestamp="0001-01-01T00:00:00Z"), ("TOO_OLD", "timestamp")),
        (step(instanceId=f"ins_{new_id().hex}"), ("NOT_FOUND", "instanceId")),
        (step(instanceId=gid(foreign)), ("NOT_FOUND", "instanceId")),
        (step(runId=f"run_{new_id().hex}"), ("NOT_FOUND", "runId")),
        (step(taskId=f"tsk_{new_id().hex}"), ("NOT_FOUND", "taskId")),
        (step(toolCallId=f"tcl_{new_id().hex}"), ("NOT_FOUND", "toolCallId")),
        (step(workflowRunId=f"wfr_{new_id().hex}"), ("NOT_FOUND", "workflowRunId")),
        (step(projectId=gid(other_tenant.project)), ("NOT_FOUND", "projectId")),
        (step(runId=gid(scene.run), instanceId=gid(scene.colleague)), ("MISMATCH", "runId")),
        (step(toolCallId=gid(scene.call), instanceId=gid(scene.colleague)), ("MISMATCH", "toolCallId")),
        (step(taskId=gid(scene.task), instanceId=gid(scene.stranger)), ("MISMATCH", "taskId")),
        (step(projectId=gid(scene.other_project), instanceId=agent), ("MISMATCH", "projectId")),
        (step(type="COST_TICK", instanceId=agent), ("ELSEWHERE", "type")),
    ]
    sent = [step(instanceId=agent)]
    for event, _reason in wrong:
        sent += [event, step(instanceId=agent)]
    response = await scene.post(sent)
    answer = response.json()
    assert response.status_code == 200
    found = reasons(answer)
    for position, (event, expected) in enumerate(wrong):
        result = answer["results"][2 * position + 1]
        assert (found[2 * position + 1], result["status"]) == (expected, "REFUSED"), (str(event)[:80], result)
        assert result["index"] == 2 * position + 1
        assert len(result["message"]) > 15
    assert set(statuses(answer)[::2]) == {"ACCEPTED"}
    assert (answer["accepted"], answer["refused"]) == (len(wrong) + 1, len(wrong))
    assert len(await scene.log()) == len(wrong) + 1
    assert await scene.log(other_tenant) == []


async def test_a_payload_that_looks_odd_and_is_not_is_kept_to_the_letter(scene: Scene) -> None:
    """What only resembles a NUL or a large number passes, and is stored as it was sent."""
    payload = {"text": "5e9999 and \\u0000 as letters", "digits": "7" * 500, "n": 1e300, "m": 10**300, "deep": [[[{}]]]}
    answer = (await scene.post([step(payload=payload)])).json()
    assert statuses(answer) == ["ACCEPTED"], answer
    stored = (await scene.log())[0]["payload"]
    assert {**stored, "m": 0} == {**payload, "m": 0}


async def test_rbac_11_an_agent_writes_its_own_events_alone(scene: Scene) -> None:
    """Its own without saying who it is; a colleague's are refused, and the attempt is in the security journal."""
    token = scene.token(scene.agent)
    sent = [
        step(),
        step(instanceId=gid(scene.agent)),
        step(runId=gid(scene.run)),
        step(instanceId=gid(scene.colleague)),
        step(instanceId=gid(scene.stranger)),
        step(projectId=gid(scene.other_project)),
    ]
    answer = (await scene.post(sent, token=token)).json()
    assert statuses(answer) == ["ACCEPTED"] * 3 + ["REFUSED"] * 3
    assert reasons(answer)[3:] == [
        ("FORBIDDEN", "instanceId"),
        ("FORBIDDEN", "instanceId"),
        ("MISMATCH", "projectId"),
    ]
    assert {row["instance_id"] for row in await scene.log()} == {scene.agent.id}
    (denied,) = await scene.audits("ACCESS_DENIED")
    assert (denied["actor_id"], denied["resource"]) == (scene.agent.id, "write:op-events")
    assert denied["metadata"] == {"events": 2}
    colleague = (await scene.post([step(runId=gid(scene.run))], token=scene.token(scene.colleague))).json()
    assert reasons(colleague) == [("MISMATCH", "runId")]


async def test_rbac_7_a_grant_for_a_project_covers_the_events_of_its_agents(scene: Scene) -> None:
    """Neither those of another project, nor those of none."""
    token = await scene.served.token("Admin", project_id=scene.tenant.project.id)
    sent = [
        step(instanceId=gid(scene.agent)),
        step(taskId=gid(scene.task)),
        step(projectId=gid(scene.tenant.project)),
        step(instanceId=gid(scene.stranger)),
        step(projectId=gid(scene.other_project)),
        step(),
    ]
    answer = (await scene.post(sent, token=token)).json()
    assert statuses(answer) == ["ACCEPTED"] * 3 + ["REFUSED"] * 3
    assert [code for code, _field in reasons(answer)[3:]] == ["FORBIDDEN"] * 3


async def test_who_may_not_write_events_is_refused_as_a_whole(scene: Scene) -> None:
    """401 without a token, 403 with a viewer's, and the attempt is noted (AUD-1)."""
    assert (await scene.post([step()], token="nonsense")).status_code == 401
    response = await scene.post([step()], token=await scene.served.token("Viewer"))
    assert response.status_code == 403
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "FORBIDDEN", "permission": "write:op-events"}
    assert len(await scene.audits("ACCESS_DENIED")) == 1
    async with scene.tenant.database.transaction(scene.tenant.actor()) as session:
        await session.execute(
            update(models.AgentInstance)
            .where(models.AgentInstance.id == scene.agent.id)
            .values(state=InstanceState.QUARANTINED)
        )
    assert (await scene.post([step()], token=scene.token(scene.agent))).status_code == 403, "decision 26"
    assert await scene.log() == []


async def test_hb_4_heartbeat_events_are_signs_of_life(scene: Scene) -> None:
    """The agent has been heard of; an older event takes nothing back; INS-4: none is recorded of a paused one."""

    async def heard() -> Any:
        async with scene.tenant.database.transaction(scene.tenant.actor()) as session:
            row = await session.get(models.AgentInstance, (scene.tenant.id, scene.agent.id))
            assert row is not None
            return row.heartbeat_at

    assert await heard() is None
    beat = {"type": "HEARTBEAT", "instanceId": gid(scene.agent)}
    late = now_text(minutes=2)
    await scene.post([{**beat, "timestamp": now_text(minutes=9)}, {**beat, "timestamp": late}])
    first = await heard()
    assert first.isoformat(timespec="milliseconds").replace("+00:00", "Z") == late
    await scene.post([{**beat, "timestamp": now_text(minutes=5)}, step(instanceId=gid(scene.agent))])
    assert await heard() == first
    await scene.post([beat])
    assert await heard() > first
    async with scene.tenant.database.transaction(scene.tenant.actor()) as session:
        await session.execute(
            update(models.AgentInstance)
            .where(models.AgentInstance.id == scene.agent.id)
            .values(state=InstanceState.PAUSED)
        )
    assert reasons((await scene.post([beat])).json()) == [("STATE_FORBIDS", "instanceId")]


async def test_a_last_line_that_is_cut_off_is_refused_and_the_lines_before_it_stand(scene: Scene) -> None:
    """Blank lines count for nothing, and the last line needs no end."""
    good = orjson.dumps(step())
    answer = (await scene.post(b"\n" + good + b"\r\n  \n" + good + b"\n" + good[:20])).json()
    assert statuses(answer) == ["ACCEPTED", "ACCEPTED", "REFUSED"]
    assert statuses((await scene.post(good)).json()) == ["ACCEPTED"]
    for nothing in (b"", b"\n\n"):
        answer = (await scene.post(nothing)).json()
        assert (answer["accepted"], answer["results"], answer["lastSeq"]) == (0, [], None)
    assert (await scene.post(b"[]", kind="application/json")).json()["results"] == []


async def test_lines_go_on_in_batches_in_their_order(scene: Scene) -> None:
    """More than two batches, with a line in the middle that is longer than anything may be."""
    sent: list[Any] = [step(payload={"n": n}) for n in range(2 * BATCH + 7)]
    sent[BATCH + 1] = b'{"type": "' + b"x" * (3 * LARGEST_EVENT) + b'"}'
    before = scene.writer.transactions
    answer = (await scene.post(sent, zipped=True)).json()
    assert (answer["accepted"], answer["refused"]) == (2 * BATCH + 6, 1)
    assert reasons(answer)[BATCH + 1] == ("TOO_LARGE", None)
    assert answer["results"][BATCH + 1]["index"] == BATCH + 1
    stored = [row["payload"]["n"] for row in await scene.log()]
    assert stored == [n for n in range(2 * BATCH + 7) if n != BATCH + 1]
    assert scene.writer.transactions - before >= 2


async def test_only_what_is_not_accepted_is_told_where_that_is_enough(scene: Scene) -> None:
    """`Prefer: return=minimal` (RFC 7240)."""
    answer = (await scene.post([step(), step(type="X"), step()], Prefer="return=minimal")).json()
    assert (answer["accepted"], answer["refused"]) == (2, 1)
    assert [(one["index"], one["code"]) for one in answer["results"]] == [(1, "MALFORMED")]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json"])
async def test_the_50_001st_event_is_not_taken(scene: Scene, kind: str) -> None:
    """Of lines the first 50,000 are stored, and the answer says so; an array is refused before anything is."""
    line = orjson.dumps(step())
    response = await scene.post([line] * (MOST_EVENTS + 1), kind=kind, zipped=True, Prefer="return=minimal")
    assert response.status_code == 413
    body = response.json()
    assert body["errors"][0]["extensions"]["code"] == "OPERATION_TOO_COMPLEX"
    assert body["errors"][0]["extensions"]["limit"] == MOST_EVENTS
    taken = MOST_EVENTS if "ndjson" in kind else 0
    assert body.get("accepted", 0) == taken
    rows = [row["seq"] for row in await scene.log()]
    assert rows == list(range(1, taken + 1))


async def test_a_gzip_bomb_goes_off_no_further_than_the_limit(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """413 once the inflated body is too large, wherever it comes from; nothing of it is kept in memory."""
    monkeypatch.setattr("app.telemetry.endpoint.MOST_BYTES", 3 * shared.PIECE)
    seen: list[int] = []
    really = shared._inflated

    def watched(inflate: Any, chunk: bytes) -> Any:
        for piece in really(inflate, chunk):
            seen.append(len(piece))
            yield piece

    monkeypatch.setattr(shared, "_inflated", watched)
    bomb = gzip.compress(b" " * 200_000_000)
    assert len(bomb) < 200_000
    for kind in ("application/x-ndjson", "application/json"):
        seen.clear()
        response = await scene.post(gzip.decompress(gzip.compress(bomb)), kind=kind, Content_Encoding="gzip")
        assert response.status_code == 413
        assert response.headers["connection"] == "close"
        assert sum(seen) <= 4 * shared.PIECE


async def test_a_body_that_is_none_is_refused(scene: Scene) -> None:
    """415 for what is neither lines nor an array, 400 for what is not what it says it is."""
    array, lines = "application/json", "application/x-ndjson"
    good = orjson.dumps(step())
    cases: list[tuple[bytes, str, dict[str, Any], int]] = [
        (good, "text/plain", {}, 415),
        (good, "application/x-www-form-urlencoded", {}, 415),
        (good, lines, {"Content_Encoding": "br"}, 415),
        (good, lines, {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(good)[:-9], lines, {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(good) + b"more", lines, {"Content_Encoding": "gzip"}, 400),
        (b"", array, {}, 400),
        (good, array, {}, 400),
        (b"[" + good, array, {}, 400),
        (b"[" + good + b",]", array, {}, 400),
        (b"[" * 100_000, array, {}, 400),
        (b"[\xff]", array, {}, 400),
    ]
    for body, kind, headers, status in cases:
        response = await scene.post(body, kind=kind, **headers)
        assert response.status_code == status, (body[:40], kind, headers, response.text)
        assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    stored = len(await scene.log())
    assert stored <= 2, "only the lines that came whole before their gzip broke"


async def test_what_came_before_a_broken_gzip_is_stored_and_told(scene: Scene) -> None:
    """The answer says what had been done by then."""
    lines = b"\n".join(orjson.dumps(step(payload={"n": str(new_id())})) for _ in range(2 * BATCH))
    zipped = gzip.compress(lines)
    response = await scene.post(zipped[: len(zipped) * 9 // 10], Content_Encoding="gzip")
    assert response.status_code == 400
    body = response.json()
    assert body["errors"][0]["message"] == "The gzip body is cut off."
    assert body["accepted"] == len(body["results"]) == len(await scene.log()) == BATCH


async def test_two_tenants_share_nothing_but_the_gateway(scene: Scene, other_tenant: TenantUnderTest) -> None:
    """The same event id of two tenants is two events, each in its own log with its own numbers."""
    other_admin = models.Operator(id=new_id(), auth_id=f"sub-{new_id().hex}", name="Bob", email="bob@example.com")
    await other_tenant.add(other_admin)
    await grant(other_tenant, other_admin.id, "Admin")
    tokens = scene.served.application.gateway.authenticator.local
    assert tokens is not None
    token = tokens.issue(ActorKind.OPERATOR, other_admin.auth_id, tenant=other_tenant.slug)
    event = step(eventId="a")
    assert statuses((await scene.post([event])).json()) == ["ACCEPTED"]
    assert statuses((await scene.post([event, step(instanceId=gid(scene.agent))], token=token)).json()) == [
        "ACCEPTED",
        "REFUSED",
    ]
    assert [row["seq"] for row in await scene.log()] == [row["seq"] for row in await scene.log(other_tenant)] == [1]


async def test_too_many_at_once_are_told_when_to_come_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-pressure (decision 34): 429 with Retry-After, while as many events wait as may."""
    monkeypatch.setattr(scene.writer, "_most_waiting", 0)
    response = await scene.post([step()])
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert response.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    monkeypatch.undo()
    assert (await scene.post([step()])).status_code == 200
    monkeypatch.setattr("app.telemetry.endpoint.AT_ONCE", 0)
    assert (await scene.post([step()])).status_code == 429


async def test_a_sender_that_hangs_up_leaves_what_it_had_sent(scene: Scene) -> None:
    """Whole batches that came before the line broke are stored; sent again, they are duplicates."""
    sent = [step(instanceId=gid(scene.agent), eventId=str(n)) for n in range(BATCH + 5)]
    lines = b"".join(orjson.dumps(event) + b"\n" for event in sent)
    bearer = scene.served.headers["Authorization"].encode()
    headers = [(b"content-type", b"application/x-ndjson"), (b"authorization", bearer)]
    messages = iter([{"type": "http.request", "body": lines, "more_body": True}, {"type": "http.disconnect"}])
    scope = {"type": "http", "method": "POST", "path": "/v1/op-events", "headers": headers, "query_string": b""}

    async def receive() -> Any:
        return next(messages)

    async def send(_message: Any) -> None:
        pass

    await scene.served.application({**scope, "http_version": "1.1", "root_path": ""}, receive, send)
    await scene.writer.close()
    assert len(await scene.log()) == BATCH


async def test_a_database_that_ends_the_session_in_mid_batch_is_told_and_the_client_sends_again(
    scene: Scene, postgres: EmbeddedPostgres
) -> None:
    """503 with Retry-After; the events are FAILED, which may or may not be stored, and stored once when sent again."""
    events = [step(instanceId=gid(scene.agent), eventId=str(n)) for n in range(3)]
    holder, watcher = [await asyncpg.connect(postgres.url(user=SUPERUSER)) for _ in range(2)]
    try:
        hold = holder.transaction()
        await hold.start()
        lock = "SELECT pg_backend_pid() FROM gateway.tenant_counters WHERE tenant_id = $1 FOR UPDATE"
        pid = await holder.fetchval(lock, scene.tenant.id)
        asked = asyncio.create_task(scene.post([*events, step(type="X")]))
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
        async with asyncio.timeout(20):
            while not await watcher.fetchval(ended, pid):  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.02)
        response = await asked
        await hold.rollback()
    finally:
        await holder.close()
        await watcher.close()
    body = response.json()
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert statuses(body) == ["FAILED"] * 3 + ["REFUSED"]
    assert (body["accepted"], body["failed"], body["refused"]) == (0, 3, 1)
    assert body["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert await scene.log() == []
    assert statuses((await scene.post(events)).json()) == ["ACCEPTED"] * 3
    assert [row["seq"] for row in await scene.log()] == [1, 2, 3]


async def test_what_comes_in_is_in_the_metrics(scene: Scene) -> None:
    event = step(eventId="a")
    await scene.post([event, step(), step(type="X")])
    await scene.post([event])
    text = (await scene.served.client.get("/metrics")).text
    for what, count in (("waiting", 0), ("stored", 2), ("repeated", 1)):
        assert f'fleetgraph_op_events{{what="{what}"}} {count}.0' in text
