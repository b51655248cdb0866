"""What the mutations of workflows need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from db import models
from db.enums import WorkflowRunStatus
from tests.app.mutation_cases.case import Case

AGENTS: Final = [{"id": "writer", "persona": "Scout"}]
STEPS: Final = [
    {
        "id": "draft",
        "agent": "writer",
        "input": "Write about {{task}}.",
        "expects": "done",
        "retryLimit": 1,
        "timeoutMinutes": 30,
    }
]
_YAML: Final = """
id: letters
name: Letters
description: Writes them.
agents: [{id: writer, persona: Scout}]
steps: [{id: draft, agent: writer, input: "Write {{task}}.", expects: done, retryLimit: 0, timeoutMinutes: 5}]
"""

INPUTS: Final[Mapping[str, Case]] = {
    "workflowUpsert": Case({"workflowKey": "reports", "name": "Reports", "agents": AGENTS, "steps": STEPS}),
    "workflowLoad": Case({"yaml": _YAML}),
    "workflowActivate": Case(rows={"workflowId": "inactive workflow"}),
    "workflowDeactivate": Case(),
    "workflowDelete": Case(rows={"workflowId": "inactive workflow"}),
    "workflowRunStart": Case({"input": "the weather"}),
    "workflowRunPause": Case(rows={"runId": "running workflow run"}),
    "workflowRunResume": Case(rows={"runId": "paused workflow run"}, stale="RUNNING"),
    "workflowRunAbort": Case({"reason": "not needed"}, {"runId": "running workflow run"}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A workflow with runs, and one that is off."""

    def workflow(name: str, active: bool) -> Any:
        return put(
            name,
            models.Workflow(workflow_key=name, name=name, description="", agents=AGENTS, steps=STEPS, active=active),
        )

    def run(name: str, status: WorkflowRunStatus) -> None:
        put(
            name,
            models.WorkflowRun(
                run_key=name[:8],
                workflow_id=active.id,
                project_id=rows["project"].id,
                status=status,
                total_steps=1,
                steps=[{"stepId": "draft", "status": "PENDING", "retryCount": 0}],
                context={"task": "t"},
                initial_input="t",
                started_at=datetime.now(UTC),
            ),
        )

    active = workflow("workflow", active=True)
    workflow("inactive workflow", active=False)
    run("running workflow run", WorkflowRunStatus.RUNNING)
    run("paused workflow run", WorkflowRunStatus.PAUSED)
