"""The texts of the read queries fit the schema, and answers are compared strictly."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from graphql import parse, validate

from app.schema import schema
from bench.queries import QUERIES, Query, Samples, comparable, count_rows, difference

_AT = datetime(2026, 11, 23, 17, 5, tzinfo=UTC)
_SAMPLES = Samples(["ins_0199a1b2c3d47e5f8a9b0c1d2e3f4a5b"], [_AT], [_AT])


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_text_is_valid_and_names_its_operation(query: Query) -> None:
    document = parse(query.text)
    assert validate(schema()._schema, document) == []
    assert [definition.name.value for definition in document.definitions if definition.name] == [query.operation]  # type: ignore[attr-defined]


def test_ranges_are_a_day_long_in_the_text_of_datetimes() -> None:
    (events,) = (query for query in QUERIES if query.name == "Q4")
    assert events.variables(_SAMPLES) == [{"from": "2026-11-23T17:05:00.000Z", "to": "2026-11-24T17:05:00.000Z"}]


def test_rows_are_counted_wherever_they_stand() -> None:
    tasks = {"edges": [{"node": {"runs": {"edges": [1, 2]}}}, {"node": {"runs": {"edges": [3]}}}]}
    answer = {"agentInstances": {"edges": [{"node": {"tasks": tasks}}]}}
    assert [count_rows(answer, key) for key in ("agentInstances", "tasks", "runs", "messages")] == [1, 2, 3, 0]


def test_of_a_cursor_only_the_presence_counts() -> None:
    assert comparable({"pageInfo": {"endCursor": "abc"}}) == comparable({"pageInfo": {"endCursor": "x"}})
    assert comparable({"pageInfo": {"endCursor": "abc"}}) != comparable({"pageInfo": {"endCursor": None}})


def test_the_first_difference_is_named() -> None:
    assert difference({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) is None
    assert difference({"a": [1, {"b": None}]}, {"a": [1, {"b": 2}]}) == "data.a[1].b is None and 2"
    assert difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == "data has the keys ['a', 'b'] and ['b', 'a']"
    assert difference([1], []) == "data has 1 and 0 entries"
