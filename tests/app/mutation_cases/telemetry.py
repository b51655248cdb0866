"""What the mutation of telemetry needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from db import models
from db.enums import RiskLevel
from tests.app.mutation_cases.case import Case

INPUTS: Final[Mapping[str, Case]] = {
    "opEventsRecord": Case({"events": [{"type": "RUN_STEP"}]}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A tool call and a workflow run, which events may name."""
    now = datetime.now(UTC)
    project, agent = rows["project"], rows["agent"]
    run = put(
        "telemetry run",
        models.Run(
            project_id=project.id,
            idempotency_key="telemetry",
            instance_id=agent.id,
            version_id=agent.version_id,
            session_key="telemetry",
            started_at=now,
            model="m",
        ),
    )
    put(
        "telemetry call",
        models.ToolCall(
            project_id=project.id,
            run_id=run.id,
            instance_id=agent.id,
            tool_name="search",
            risk_level=RiskLevel.GREEN,
            started_at=now,
        ),
    )
    flow = put(
        "telemetry workflow",
        models.Workflow(workflow_key="telemetry", name="Telemetry", description="For events", agents=[], steps=[]),
    )
    put(
        "telemetry workflow run",
        models.WorkflowRun(
            run_key="telemtry",
            workflow_id=flow.id,
            project_id=project.id,
            total_steps=1,
            steps=[],
            context={},
            initial_input="x",
            started_at=now,
        ),
    )
