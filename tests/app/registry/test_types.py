"""The registry's types where they show more than their columns."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from app.graph.fields import GraphField
from app.graph.registry import ENTITIES, row_key
from app.registry.types import AgentInstance
from db.enums import PauseCause
from db.ids import new_id


def _shown(entity: type, field: str, **columns: Any) -> Any:
    """What a field says of a row that has these columns and nothing else."""
    found = ENTITIES[entity.__name__]
    row = found.row(**{column.name: columns.get(column.name) for column in found.table.columns})
    (made,) = (one for one in found.cls.__strawberry_definition__.fields if one.python_name == field)  # type: ignore[attr-defined]
    assert isinstance(made, GraphField)
    return made.resolve(row, SimpleNamespace(context=SimpleNamespace(actor=None)))


def test_the_notes_of_an_instance_keep_the_keys_of_its_state_columns() -> None:
    """Decision 14: who reads `metadata.spendToday` of old still finds it; the column wins over a stale note."""
    task = new_id()
    shown = _shown(
        AgentInstance,
        "metadata",
        metadata={"legacyRole": "LEAD", "spendToday": 99},
        spend_today=Decimal("1.25"),
        spend_reset_at=datetime(2026, 3, 9, tzinfo=UTC),
        paused_by=PauseCause.BUDGET,
        error_streak=0,
        current_task_id=task,
    )
    assert shown == {
        "legacyRole": "LEAD",
        "spendToday": 1.25,
        "spendResetAt": "2026-03-09T00:00:00.000Z",
        "pausedBy": "BUDGET",
        "errorStreak": 0,
        "currentTaskId": str(task),
    }


def test_no_notes_and_no_state_is_null() -> None:
    """Decision 14: nothing known is null, as for every other type, and no empty object."""
    assert _shown(AgentInstance, "metadata") is None


def test_a_key_in_json_that_is_no_uuid_points_nowhere() -> None:
    """MIG-9: a genome is hashed as it came, so its provenance may name a version by an id of a former system."""
    key = new_id()
    assert row_key(str(key)) == key
    assert row_key(key) is key
    assert row_key("k57e3xq2") is None
    assert row_key(None) is None
