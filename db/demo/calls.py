"""Tool calls: what policy said to each, what came of it, and what both logs say about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import orjson

from db.canonical import canonical_hash
from db.demo.stage import SYSTEM, Stage
from db.demo.tasks import Piece
from db.enums import ChangeRecordType, OpEventType, PolicyVerdict, RiskLevel, ToolCallStatus
from db.models import NotificationEvent, Run, ToolCall


def new_call(stage: Stage, piece: Piece, run: Run, at: datetime, words: dict[str, Any]) -> ToolCall:
    """A tool call of the run, before policy has said anything."""
    agent = piece.agent
    call = ToolCall(
        id=stage.id(at),
        project_id=run.project_id,
        run_id=run.id,
        instance_id=run.instance_id,
        task_id=run.task_id,
        tool_name=words["tool"],
        tool_version=stage.tools[words["tool"]]["schema"],
        risk_level=RiskLevel(stage.tools[words["tool"]]["risk"]),
        input_preview=orjson.dumps(words["in"]).decode()[:600],
        input_hash=canonical_hash(words["in"]),
        started_at=at,
        version_id=run.version_id,
        policy_envelope_id=agent.policy_envelope_id if agent else None,
        updated_at=at,
    )
    return stage.add(call)


def attempt(stage: Stage, piece: Piece, run: Run, at: datetime, words: dict[str, Any], length: timedelta) -> None:
    call = new_call(stage, piece, run, at, words)
    if "deny" in words:
        _block(stage, piece, run, call, at, words["deny"])
        return
    tier = stage.tier(stage.kind_of[run.instance_id])
    reason = f"tier {tier} allows {call.risk_level}"
    call.policy_result = {"decision": PolicyVerdict.ALLOW.value, "reason": reason}
    execute(stage, piece, run, call, at, at + length, words)


def execute(
    stage: Stage, piece: Piece, run: Run, call: ToolCall, at: datetime, ended: datetime, words: dict[str, Any]
) -> None:
    about = {"toolName": call.tool_name, "risk": call.risk_level.value}
    link = {"instance": piece.agent, "task": piece.task, "run": run, "call": call}
    decision = {**(call.policy_result or {}), **about}
    stage.event(OpEventType.TOOL_CALL_STARTED, at, payload=decision, **link)  # type: ignore[arg-type]
    call.ended_at = call.updated_at = ended
    call.duration_ms = round((ended - at) / timedelta(milliseconds=1))
    call.error = words.get("error")
    call.status = ToolCallStatus.FAILED if call.error else ToolCallStatus.SUCCESS
    if not call.error:
        call.output_preview = orjson.dumps(words["out"]).decode()[:600]
        call.output_hash = canonical_hash(words["out"])
    done = {**about, "status": call.status.value, "durationMs": call.duration_ms}
    stage.event(OpEventType.TOOL_CALL_COMPLETED, ended, payload=done, **link)  # type: ignore[arg-type]


def _block(stage: Stage, piece: Piece, run: Run, call: ToolCall, at: datetime, reason: str) -> None:
    """Policy refuses the call: both logs say so, and people hear of it (POL-10)."""
    about = {"decision": PolicyVerdict.DENY.value, "reason": reason}
    call.status = ToolCallStatus.DENIED
    call.ended_at = at
    call.duration_ms = 0
    call.error = reason
    call.policy_result = about
    record = stage.change(
        ChangeRecordType.POLICY_EVALUATED,
        call,
        at,
        SYSTEM,
        f"{call.tool_name} was denied.",
        after={**about, "toolName": call.tool_name, "risk": call.risk_level.value},
        reason=reason,
        project_id=run.project_id,
        instance_id=run.instance_id,
        version_id=run.version_id,
    )
    stage.event(
        OpEventType.TOOL_CALL_BLOCKED,
        at,
        instance=piece.agent,
        task=piece.task,
        run=run,
        call=call,
        payload={**about, "toolName": call.tool_name, "risk": call.risk_level.value},
        change=record,
    )
    stage.add(
        NotificationEvent(
            id=stage.id(at),
            event_type="POLICY_VIOLATION",
            source_entity="ToolCall",
            source_id=call.id,
            payload={"toolName": call.tool_name, "reason": reason, "instanceId": str(run.instance_id)},
            processed_at=at + timedelta(seconds=2),
            timestamp=at,
            attempts=1,
        )
    )
