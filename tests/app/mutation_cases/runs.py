"""What the mutations of runs and tool calls need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from app.governance.policy.action import args_hash
from db import models
from db.enums import RiskLevel, ToolCallStatus
from tests.app.mutation_cases.case import Case

INPUTS: Final[Mapping[str, Case]] = {
    "runStart": Case({"model": "m-1", "sessionKey": "s"}),
    "runStepRecord": Case({"index": 0, "kind": "think"}),
    "runCostRecord": Case({"costUsd": 0.01}),
    "runComplete": Case(),
    "toolCallRequest": Case({"toolName": "search"}),
    "toolCallFinish": Case({"output": {"found": 3}}, {"toolCallId": "running call"}),
    "toolCallRetry": Case(rows={"toolCallId": "failed call"}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A call that runs, and one that failed."""
    run = rows["run"]
    for name, status in (("running call", ToolCallStatus.RUNNING), ("failed call", ToolCallStatus.FAILED)):
        put(
            name,
            models.ToolCall(
                project_id=run.project_id,
                run_id=run.id,
                instance_id=run.instance_id,
                version_id=run.version_id,
                task_id=run.task_id,
                tool_name="search",
                risk_level=RiskLevel.GREEN,
                input_hash=args_hash({}),
                started_at=datetime.now(UTC),
                status=status,
            ),
        )
