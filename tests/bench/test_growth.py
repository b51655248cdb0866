"""The benchmark of growth: its questions fit the schema and production's limits, and its page tells of each point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.graph.documents import Documents
from app.graph.limits import Limits
from app.schema import schema
from bench.growth import COUNTED, PAGED, ROWS, SIZES, WHAT, Question, _agents, by_depth, by_rows, by_size
from bench.growth_fleet import APART, GENERATIONS, TALKERS, WIDTH, Log, _lines
from bench.growth_page import TOPICS, markdown
from bench.results import load
from bench.write_fleet import Tenant
from db.ids import created_at, new_id
from tests.bench import samples

_AT = datetime(2026, 11, 1, tzinfo=UTC)
_LOG = Log(new_id(), _AT, [(new_id(), new_id(), new_id()) for _ in range(TALKERS)], [new_id(), new_id()])
_TENANT = Tenant("t", "o", [new_id()], new_id())


def _questions(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    async def ids(_fleet: Any, _log: Log, numbers: list[int]) -> list[UUID]:
        return [new_id() for _ in numbers]

    monkeypatch.setattr("bench.growth.ids_of", ids)
    generations = [_AT + timedelta(days=number) for number in range(GENERATIONS)]
    sized: Any = [by_size(None, _LOG, size) for size in SIZES]  # type: ignore[arg-type]
    return [*by_rows(_TENANT), *by_depth(generations), *(one for found in sized for one in found)]


def test_every_question_is_within_the_limits_of_production(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits()
    documents = Documents(schema()._schema, limits)
    questions = _questions(monkeypatch)
    for question in questions:
        operation = documents.find(question.text, None).operation(None)
        for given in question.variables:
            assert operation.document.prices.evaluate(operation.measures.rows, given) <= limits.max_cost, question
    assert {one.curve for one in questions} == set(WHAT) == {name for topic in TOPICS for name in topic.curves}


def test_rows_and_depth_grow_alone() -> None:
    """Ten agents whatever the rows; a level more is as many agents more."""
    assert [(one.x, one.expected, one.variables[0]["first"] * TALKERS) for one in by_rows(_TENANT)] == [
        (rows, rows, rows) for rows in ROWS
    ]
    for question in by_depth([_AT] * GENERATIONS):
        assert question.expected == WIDTH * question.x
        assert question.text.count("id name state") == question.x


def test_agents_count_wherever_they_stand() -> None:
    agent = {"id": "x", "name": "a"}
    assert _agents({"agentInstances": {"edges": [{"node": {**agent, "parentInstance": agent}}, {"node": agent}]}}) == 3


def test_ranges_lie_in_the_log_and_hold_what_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for question in _questions(monkeypatch):
        for given in question.variables if question.curve in ("page", "aggregate") else ():
            first, last = (datetime.fromisoformat(given[key]) for key in ("from", "to"))
            assert _LOG.began <= first < last <= _LOG.moment(question.x)
            assert (last - first) / APART == (PAGED if question.curve == "page" else COUNTED)


def test_events_are_the_agents_in_turn_and_carry_their_time() -> None:
    rows = [line.rstrip("\n").split("\t") for line in _lines(_LOG, 15, 45)]
    for number, row in zip(range(15, 45), rows, strict=True):
        assert row[0] == str(_LOG.tenant_id)
        assert created_at(UUID(row[1])) == datetime.fromisoformat(row[3]) == _AT + APART * number
        assert tuple(map(UUID, row[4:7])) == _LOG.talkers[number % TALKERS]
        assert int(row[-1]) == number + 1
    assert [number for number, row in zip(range(15, 45), rows, strict=True) if row[8] != r"\N"] == [20, 30, 40]


def test_the_page_has_a_line_for_each_point_and_the_fit(tmp_path: Any) -> None:
    given = {"rows": {10: 1.1, 1_000: 11.0}, "by id": {10_000: 1.0, 1_000_000: 1.2}, "page": {10_000: 3.0}}
    growth = load(samples.save(tmp_path, growth=samples.growth(given))).growth
    assert growth is not None
    text = markdown(growth.page, growth.curves)
    assert "| rows | 1,000 | 11 | 22 | 5.5 | 2.75 |" in text
    assert "- **rows**: p50 is 1 ms + 10 µs a row, no point further off than 0%; CPU is 0.5 ms + 5 µs a row" in text
    assert "p50 is 0.6 ms + 100 µs a tenfold" in text  # a line over the logarithm
    assert "the median grows 1.20 times" in text
    assert "- **page**: p50" not in text  # one point has no line
    assert "## Depth" not in text
