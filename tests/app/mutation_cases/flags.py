"""What the mutations of feature flags and experiments need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from db import models
from db.enums import ExperimentStatus
from tests.app.mutation_cases.case import Case

VARIANTS: Final = [{"id": "a", "name": "A", "weight": 50}, {"id": "b", "name": "B", "weight": 50}]

INPUTS: Final[Mapping[str, Case]] = {
    "featureFlagSet": Case({"key": "new-ui", "enabled": True}),
    "featureFlagDelete": Case(),
    "experimentCreate": Case({"name": "Colours", "variants": VARIANTS}),
    "experimentUpdate": Case({"name": "Renamed"}),
    "experimentStart": Case(),
    "experimentComplete": Case(rows={"experimentId": "active experiment"}),
    "experimentAssign": Case(rows={"experimentId": "active experiment", "entityId": "grace"}),
    "experimentEventTrack": Case(
        {"eventType": "conversion"}, {"experimentId": "active experiment", "entityId": "agent"}
    ),
}


def add_rows(put: Callable[[str, Any], Any], rows: Mapping[str, Any]) -> None:
    """A flag, an experiment of each kind, and an agent that takes part."""
    put("flag", models.FeatureFlag(key="old-ui", enabled=True, conditions={"rolloutPercentage": 50}))
    put("experiment", models.Experiment(name="Sizes", variants=VARIANTS))
    active = put(
        "active experiment", models.Experiment(name="Shapes", variants=VARIANTS, status=ExperimentStatus.ACTIVE)
    )
    put(
        "assignment",
        models.ExperimentAssignment(
            experiment_id=active.id,
            entity_type="AgentInstance",
            entity_id=rows["agent"].id,
            variant_id="a",
            assigned_at=datetime.now(UTC),
        ),
    )
