"""`opEventsRecord`: the same rules as the way in over HTTP, in one transaction with its key (OPE-1, decision 33)."""

from __future__ import annotations

from typing import Any

from app.telemetry.wire import LARGEST_PAYLOAD
from tests.app.telemetry.conftest import Scene, gid, now_text

RECORD = """mutation($input: OpEventsRecordInput!) { opEventsRecord(input: $input) {
    accepted duplicates refused results { index status id code message field } userErrors { code message field } } }"""


def step(**fields: Any) -> dict[str, Any]:
    """A step of a run that just happened."""
    return {"type": "RUN_STEP", "timestamp": now_text(), **fields}


async def record(scene: Scene, *events: dict[str, Any], token: str | None = None, **given: Any) -> dict[str, Any]:
    """The payload."""
    body = await scene.served.post(RECORD, token, input={"events": list(events), **given})
    assert "errors" not in body, body
    payload: dict[str, Any] = body["data"]["opEventsRecord"]
    return payload


async def test_ope_1_each_event_is_answered_and_the_refused_are_user_errors_too(scene: Scene) -> None:
    """Accepted, there already, refused and why; `userErrors` names each refused event's field."""
    known = step(instanceId=gid(scene.agent), eventId="a")
    payload = await record(
        scene,
        known,
        known,
        step(runId=gid(scene.run), payload={"big": 2**70, "text": "é"}),
        step(runId=gid(scene.run), instanceId=gid(scene.colleague)),
        step(timestamp=now_text(days=31)),
        step(payload={"x": "y" * LARGEST_PAYLOAD}),
        step(type="COST_TICK", instanceId=gid(scene.agent)),
        step(eventId="b", timestamp=None),
    )
    results = payload["results"]
    assert [one["status"] for one in results] == ["ACCEPTED", "DUPLICATE", "ACCEPTED", *["REFUSED"] * 5]
    assert [one["code"] for one in results[3:]] == [
        "MISMATCH",
        "TOO_OLD",
        "TOO_LARGE",
        "ELSEWHERE",
        "TIMESTAMP_REQUIRED",
    ]
    assert [one["index"] for one in results] == list(range(8))
    assert (payload["accepted"], payload["duplicates"], payload["refused"]) == (2, 1, 5)
    errors = [(one["code"], one["field"]) for one in payload["userErrors"]]
    assert errors == [
        ("CONFLICT", ["input", "events", "3", "runId"]),
        ("VALIDATION_ERROR", ["input", "events", "4", "timestamp"]),
        ("VALIDATION_ERROR", ["input", "events", "5", "payload"]),
        ("VALIDATION_ERROR", ["input", "events", "6", "type"]),
        ("VALIDATION_ERROR", ["input", "events", "7", "timestamp"]),
    ]
    rows = await scene.log()
    assert [f"evt_{row['id'].hex}" for row in rows] == [results[0]["id"], results[2]["id"]]
    assert [row["seq"] for row in rows] == [1, 2]
    assert (rows[1]["instance_id"], rows[1]["task_id"]) == (scene.agent.id, scene.task.id)
    again = await record(scene, known)
    assert again["results"][0] == {**results[0], "status": "DUPLICATE"}


async def test_decision_33_the_same_key_gives_the_same_answer_refusals_included(scene: Scene) -> None:
    """Events without an id of their own are stored once all the same."""
    events = [step(instanceId=gid(scene.agent)), step(taskId=f"tsk_{'0' * 32}")]
    first = await record(scene, *events, idempotencyKey="k")
    assert (first["accepted"], first["refused"], len(first["userErrors"])) == (1, 1, 1)
    assert await record(scene, *events, idempotencyKey="k") == first
    assert len(await scene.log()) == 1


async def test_rbac_11_an_agents_own_events_alone(scene: Scene) -> None:
    """Some of a colleague's among them: those are refused and noted. Nothing but a colleague's: FORBIDDEN."""
    token = scene.token(scene.agent)
    payload = await record(scene, step(), step(instanceId=gid(scene.colleague)), token=token)
    assert [(one["status"], one["code"]) for one in payload["results"]] == [
        ("ACCEPTED", None),
        ("REFUSED", "FORBIDDEN"),
    ]
    (denied,) = await scene.audits("ACCESS_DENIED")
    assert (denied["actor_id"], denied["metadata"]) == (scene.agent.id, {"events": 1})
    body = await scene.served.post(RECORD, token, input={"events": [step(instanceId=gid(scene.colleague))]})
    assert body["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert len(await scene.audits("ACCESS_DENIED")) == 2
    assert {row["instance_id"] for row in await scene.log()} == {scene.agent.id}


async def test_ope_1_a_thousand_and_no_more(scene: Scene) -> None:
    """More are a refusal that names the list."""
    assert (await record(scene, *[{"type": "RUN_STEP"}] * 1_000))["accepted"] == 1_000
    body = await record(scene, *[{"type": "RUN_STEP"}] * 1_001)
    assert body["results"] is None
    assert [(one["code"], one["field"]) for one in body["userErrors"]] == [("VALIDATION_ERROR", ["input", "events"])]
    assert len(await scene.log()) == 1_000
