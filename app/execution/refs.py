"""What an op event names of the run or the tool call that it tells of (RUN-1, TOL-1)."""

from __future__ import annotations

from typing import Any

from db.models import Run, ToolCall


def run_refs(run: Run) -> dict[str, Any]:
    """The row's agent, exact version, project and task, and itself."""
    return {
        "instance_id": run.instance_id,
        "version_id": run.version_id,
        "project_id": run.project_id,
        "task_id": run.task_id,
        "run_id": run.id,
    }


def call_refs(call: ToolCall) -> dict[str, Any]:
    """The row's agent, exact version, project, task and run, and itself."""
    return {
        "instance_id": call.instance_id,
        "version_id": call.version_id,
        "project_id": call.project_id,
        "task_id": call.task_id,
        "run_id": call.run_id,
        "tool_call_id": call.id,
    }
