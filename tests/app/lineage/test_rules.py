"""The table of lineage against the types of the graph."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from graphql import parse

from app.graph.limits import Limits, Meter
from app.graph.registry import ENTITIES, PointsTo, Through, ToOne
from app.lineage.rules import KINDS, LONGEST_LABEL, MAX_NODES, Kind, in_words, label_of, state_of
from app.lineage.steps import all_steps
from app.schema import schema
from db.enums import ApprovalDecision

GRAPH = schema()._schema


@pytest.mark.parametrize(("name", "kind"), KINDS.items(), ids=list(KINDS))
def test_names_are_those_of_the_types(name: str, kind: Kind) -> None:
    """Each column and each relation that the table names exists, and leads to a type that has lineage too."""
    entity = ENTITIES[name]
    for column in (*kind.label, kind.clock, *filter(None, [kind.state])):
        assert column in entity.columns, column
        assert column not in entity.masks, f"{column} is masked, and a picture shows it in full"
    for relation_name in kind.came_from:
        relation = entity.relations[relation_name]
        assert isinstance(relation, PointsTo) or relation.target in KINDS
    if kind.chain is not None:
        chained = entity.relations[kind.chain]
        assert isinstance(chained, ToOne)
        assert chained.target == name
        assert kind.chain in kind.came_from


def test_a_row_without_a_label_has_a_time() -> None:
    """Where no label is required, the clock that names the row must be."""
    for name, kind in KINDS.items():
        columns = ENTITIES[name].columns
        if all(columns[one].nullable for one in kind.label):
            assert not columns[kind.clock].nullable, name


def test_no_key_is_followed_in_two_ways() -> None:
    """One key says one thing: which row came from which. Two relations over it would draw it twice."""
    keys: Counter[tuple[object, ...]] = Counter()
    for name, kind in KINDS.items():
        for relation_name in kind.came_from:
            relation = ENTITIES[name].relations[relation_name]
            if isinstance(relation, ToOne):
                keys[name, relation.column] += 1
            elif isinstance(relation, Through):
                keys[relation.association.name, relation.near, relation.far] += 1
            elif isinstance(relation, PointsTo):
                keys[name, relation.id_column] += 1
            else:
                keys[(relation.target, relation.key, *relation.fixed)] += 1
    assert [key for key, times in keys.items() if times > 1] == []


def test_each_step_can_be_taken_back() -> None:
    """What a row came from leads down to the row again, unless the row is a log's."""
    steps = all_steps()
    upward = sum(len(steps.upstream[name]) for name, kind in KINDS.items() if kind.is_drawn_below)
    assert upward == sum(len(found) for found in steps.downstream.values())
    assert not {step.list.target for found in steps.downstream.values() for step in found if hasattr(step, "list")} & {
        name for name, kind in KINDS.items() if not kind.is_drawn_below
    }


def test_labels_are_short_single_lines() -> None:
    """A text of many lines is cut to what a picture has room for; a number is told from a name."""
    approval = SimpleNamespace(action_summary="Release\n  v2  " + "x" * 200)
    label = label_of("ApprovalRecord", approval)
    assert label.startswith("Release v2 xxx")
    assert label.endswith("…")
    assert len(label) == LONGEST_LABEL
    assert label_of("AgentVersion", SimpleNamespace(version_label=None, version_number=3)) == "#3"


def test_a_row_without_a_name_is_called_by_its_time_in_utc() -> None:
    """Blank counts as none; the time is UTC whatever zone it came in."""
    at = datetime(2026, 3, 9, 14, tzinfo=timezone(timedelta(hours=2)))
    unnamed = SimpleNamespace(name="  ", created_at=at)
    assert label_of("AgentInstance", unnamed) == "Agent instance of 2026-03-09 12:00:00"
    assert label_of("Run", SimpleNamespace(started_at=at.astimezone(UTC))) == "Run of 2026-03-09 12:00:00"
    assert in_words("ToolCall") == "Tool call"


def test_states_are_words() -> None:
    """Enums by value, switches as words, and null for a type that has none."""
    assert state_of("ApprovalRecord", SimpleNamespace(status=ApprovalDecision.PENDING)) == "PENDING"
    assert state_of("PolicyEnvelope", SimpleNamespace(active=False)) == "INACTIVE"
    assert state_of("AgentIdentity", SimpleNamespace(compliance_status=None)) is None
    assert state_of("AgentTemplate", SimpleNamespace()) is None


def test_a_picture_costs_what_it_may_hold() -> None:
    """The price of an operation counts a picture's lists by their longest, not as a short list (api.md, Limits)."""
    meter = Meter(GRAPH, Limits())
    measured, prices = meter.measure(parse('{ lineage(id: "x") { nodes { row { id } } edges { relation } } }'))
    cost = prices.evaluate(measured[None].rows, {})
    assert cost == 1 + 2 * MAX_NODES + MAX_NODES
