"""What the mutations of execution requests need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from db import models
from db.enums import ExecutionRequestStatus, ExecutionRequestType, ExecutorKind
from tests.app.mutation_cases.case import Case

INPUTS: Final[Mapping[str, Case]] = {
    "executionRequestCreate": Case({"type": "RESEARCH", "payload": {"question": "why?"}}),
    "executionRequestAssign": Case(rows={"requestId": "released request"}),
    "executionRequestClaim": Case({"executorId": "desk 4"}, {"requestId": "routed request"}),
    "executionRequestComplete": Case({"result": {"answer": 42}}, {"requestId": "claimed request"}),
    "executionRequestFail": Case({"error": "no answer"}, {"requestId": "claimed request"}),
    "executionRequestCancel": Case({"reason": "not needed"}, {"requestId": "released request"}),
    "executionRequestRelease": Case(rows={"requestId": "routed request"}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A request in each state that it can leave."""
    agent = rows["agent"]
    for name, status, assigned_to in (
        ("released request", ExecutionRequestStatus.PENDING, None),
        ("routed request", ExecutionRequestStatus.ASSIGNED, None),
        ("claimed request", ExecutionRequestStatus.IN_PROGRESS, str(agent.id)),
    ):
        put(
            name,
            models.ExecutionRequest(
                project_id=agent.project_id,
                requested_by_instance_id=agent.id,
                type=ExecutionRequestType.RESEARCH,
                executor=ExecutorKind.OPENCLAW_AGENT,
                status=status,
                assigned_to=assigned_to,
                payload={"question": "why?"},
                requested_at=datetime.now(UTC),
            ),
        )
