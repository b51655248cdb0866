"""What the mutations of alerts, heartbeats and agent memory need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from db import models
from db.enums import AlertSeverity
from tests.app.mutation_cases.case import Case

INPUTS: Final[Mapping[str, Case]] = {
    "alertAcknowledge": Case(),
    "alertResolve": Case(),
    "alertIgnore": Case({"reason": "known"}),
    "agentHeartbeat": Case(),
    "agentDocumentSet": Case({"type": "WORKING_MD", "content": "Now: the roof."}),
    "agentPatternRecord": Case({"pattern": "strength:DOCS", "confidence": 0.7}),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """An open alert."""
    put(
        "alert",
        models.Alert(
            project_id=rows["project"].id,
            severity=AlertSeverity.WARNING,
            type="STUCK_TASK",
            title="A task is stuck",
            description="Nothing happens.",
        ),
    )
