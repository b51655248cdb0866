"""Limits and cost: right on small documents, and quick on hostile ones (traps 2, 3 and 6)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from graphql import get_introspection_query, parse

from app.graph.documents import Documents, Refused
from app.graph.limits import Limits, Measures, Meter
from tests.app.http.fleet import SCHEMA

GRAPH = SCHEMA._schema
METER = Meter(GRAPH, Limits())


def measured(text: str) -> Measures:
    operations, _ = METER.measure(parse(text))
    (only,) = operations.values()
    return only


def cost(text: str, **variables: Any) -> int:
    operations, prices = METER.measure(parse(text))
    (only,) = operations.values()
    return prices.evaluate(only.rows, variables)


def refusal(text: str, limits: Limits | None = None) -> dict[str, Any]:
    """The extensions of the error that refuses a document."""
    with pytest.raises(Refused) as caught:
        Documents(GRAPH, limits or Limits()).find(text, None)
    return dict(caught.value.errors[0].extensions or {})


@pytest.mark.parametrize(
    ("query", "variables", "expected"),
    [
        ("{ hello }", {}, 0),
        ("{ query { hello } }", {}, 1),
        ("{ things(first: 10) { totalCount pageInfo { hasNextPage } } }", {}, 1),
        ("{ things(first: 10) { edges { cursor } } }", {}, 11),
        ("{ things(first: 10) { edges { node { id } } } }", {}, 11),
        ("{ things(last: 10) { edges { node { parent { id } } } } }", {}, 21),
        ("{ things { edges { node { id } } } }", {}, 51),
        ("{ a: things(first: 1) { edges { node { id } } } b: things(first: 2) { edges { node { id } } } }", {}, 5),
        ("query ($n: Int) { things(first: $n) { edges { node { id } } } }", {"n": 7}, 8),
        ("query ($n: Int) { things(first: $n) { edges { node { id } } } }", {"n": None}, 51),
        ("query ($n: Int) { things(first: $n) { edges { node { id } } } }", {}, 51),
        ("query ($n: Int) { things(first: $n, last: 3) { edges { node { id } } } }", {"n": 2}, 4),
        ("query ($n: Int) { things(first: $n) { edges { node { id } } } }", {"n": -5}, 1),
        ("{ things(first: 4) { ...C } } fragment C on ThingConnection { edges { node { ...T } } } "
         "fragment T on Thing { parent { id } }", {}, 9),
        ("query ($n: Int) { things(first: 3) { ...C } } fragment C on ThingConnection "
         "{ edges { node { things(first: $n) { edges { node { id } } } } } }", {"n": 5}, 1 + 3 * (1 + 1 + 5)),
        ("{ things(first: 20) { edges { node { things(first: 5) { edges { node { things(first: 5) { edges { node "
         "{ parent { id } } } } } } } } } } }", {}, 1 + 20 * (1 + 1 + 5 * (1 + 1 + 5 * 2))),
        ("{ things(first: 1) { edges { node { parent @skip(if: true) { id } } } } }", {}, 3),
        ("{ __schema { types { name } } }", {}, 0),
    ],
)  # fmt: skip
def test_the_cost_is_the_rows_at_most(query: str, variables: dict[str, Any], expected: int) -> None:
    """api.md, Limits: objects 1, scalars 0, a connection 1 and its page times what a row holds."""
    assert cost(query, **variables) == expected


def test_depth_aliases_directives_and_repeats() -> None:
    found = measured(
        "query A @skip(if: false) { a: hello @include(if: true) ...F ...F query { ...F } } "
        "fragment F on Query { b: hello query { query { c: hello @skip(if: true) } } }"
    )
    assert (found.depth, found.aliases, found.directives, found.repeats) == (4, 7, 5, 1)
    assert measured("{ hello hello ... { hello } ... on Query { hello } }").repeats == 4


def test_types_are_told_with_their_paths() -> None:
    """Decision 30: a type that may not be read is refused before execution, with its path."""
    found = measured("{ q: query { things { edges { node { ...T } } } } } fragment T on Thing { parent { id } }")
    assert {name: use.path for name, use in found.types.items()} == {
        "Query": ["q"],
        "ThingConnection": ["q", "things"],
        "ThingEdge": ["q", "things", "edges"],
        "Thing": ["q", "things", "edges", "node"],
    }


@pytest.mark.parametrize(
    ("query", "measure", "limit"),
    [
        ("{ query { query { query { hello } } } }", "depth", 3),
        ("{ a: hello b: hello c: hello }", "aliases", 2),
        ("{ hello @skip(if: false) @include(if: true) query @skip(if: true) { hello } }", "directives", 2),
        ("{ hello hello hello hello hello }", "repeats", 4),
        ("{ " + "hello " * 100 + "}", "tokens", 60),
        ("{ hello " + "# x\n" * 100 + "}", "comments", 60),
        ("{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }",
         "introspection", METER.max_introspection),
        ("{ __schema { queryType " + "{ ofType" * 25 + "{ name" + " }" * 28, "depth", 24),
    ],
)  # fmt: skip
def test_each_limit_refuses_with_its_figures(query: str, measure: str, limit: int) -> None:
    """api.md, Errors: OPERATION_TOO_COMPLEX says the cost and the limit."""
    limits = Limits(max_tokens=60, max_depth=3, max_aliases=2, max_directives=2, max_repeats=4)
    if measure == "depth" and limit == 24:
        limits = Limits()
    found = refusal(query, limits)
    assert (found["code"], found["measure"], found["limit"]) == ("OPERATION_TOO_COMPLEX", measure, limit)
    assert found["cost"] > limit


@pytest.mark.parametrize("options", [{}, {"input_value_deprecation": True, "specified_by_url": True}])
def test_the_standard_introspection_query_passes(options: dict[str, bool]) -> None:
    """Issue 2, point 7: GraphiQL needs it, also where depth is limited tightly."""
    text = get_introspection_query(**options)
    document = Documents(GRAPH, Limits(max_depth=2)).find(text, None)
    operation = document.operation(None)
    assert document.prices.evaluate(operation.measures.rows, {}) == 0


def _doubling(levels: int) -> str:
    """The document of trap 2: each fragment spreads the next one twice, in two fields."""
    fragments = [
        f"fragment F{level} on Query {{ a: query {{ ...F{level + 1} }} b: query {{ ...F{level + 1} }} }}"
        for level in range(levels)
    ]
    return "{ ...F0 } " + " ".join(fragments) + f" fragment F{levels} on Query {{ hello }}"


def _chain(levels: int) -> str:
    fragments = [f"fragment F{level} on Query {{ ...F{level + 1} ...F{level + 1} }}" for level in range(levels)]
    return "{ ...F0 } " + " ".join(fragments) + f" fragment F{levels} on Query {{ hello }}"


def _pages(levels: int) -> str:
    fragments = [
        f"fragment F{level} on Thing {{ a: things(first: $n) {{ edges {{ node {{ ...F{level + 1} }} }} }} "
        f"b: things(first: $n) {{ edges {{ node {{ ...F{level + 1} }} }} }} }}"
        for level in range(levels)
    ]
    head = "query ($n: Int) { things { edges { node { ...F0 } } } } "
    return head + " ".join(fragments) + f" fragment F{levels} on Thing {{ id }}"


def _cycle(levels: int) -> str:
    return "{ ...F0 } " + " ".join(
        f"fragment F{level} on Query {{ query {{ ...F{(level + 1) % levels} ...F{(level + 7) % levels} }} }}"
        for level in range(levels)
    )


@pytest.mark.parametrize("document", [_doubling, _chain, _pages, _cycle])
def test_measuring_is_linear(document: Callable[[int], str]) -> None:
    """trap 2: four times the fragments take about four times the work, where others take 2^60 times.

    Work is counted in calls, which are the same on a busy machine.
    """

    def calls(levels: int) -> int:
        node = parse(document(levels))
        count = 0

        def note(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(note)
        try:
            operations, prices = METER.measure(node)
            for found in operations.values():
                prices.evaluate(found.rows, {"n": 3})
        finally:
            sys.setprofile(None)
        return count

    small, large = calls(20), calls(80)
    assert small > 20
    assert large < small * 4 * 1.5


HOSTILE = {
    "trap 2: doubling fragments": _doubling(22),
    "trap 2: a chain": _chain(280),
    "trap 2: a cycle": _cycle(60),
    "trap 3: 200,000 tokens": "{ " + "hello " * 200_000 + "}",
    "trap 3: 2,000 equal fields": "{ " + "hello " * 1_990 + "}",
    "trap 3: equal fields with selections": "{ " + "query { hello } " * 490 + "}",
    "trap 3: equal fields in inline fragments": "{ " + "... { hello } " * 490 + "}",
    "trap 3: equal fields in fragments": "{ " + " ".join(f"...F{n}" for n in range(190)) + " } "
    + " ".join(f"fragment F{n} on Query {{ hello }}" for n in range(190)),
    "trap 3: equal fields with selections in fragments": "{ " + " ".join(f"...F{n}" for n in range(130)) + " } "
    + " ".join(f"fragment F{n} on Query {{ query {{ hello }} }}" for n in range(130)),
    "trap 3: many unknown fields": "{ " + " ".join(f"nothing{n}" for n in range(1_990)) + " }",
    "trap 6: 30 cycles": "{ " + "query { " * 120 + "hello" + " }" * 121,
    "trap 6: nested beyond the parser": "{ " + "query { " * 900 + "hello" + " }" * 901,
    "trap 6: lists beyond the parser": "{ hello(name: " + "[" * 900 + "]" * 900 + ") }",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_costs_little(name: str) -> None:
    """traps 2, 3, 6: from text to answer in a fraction of a second, by limits and not by the interpreter's stack."""
    documents = Documents(GRAPH, Limits())
    best = 10.0
    for _ in range(2):
        started = time.process_time()
        said = ""
        try:
            documents.find(HOSTILE[name], None)
        except Refused as refused:
            said = str(refused)
        best = min(best, time.process_time() - started)
        assert "recursion" not in said
    assert best < 1


def test_the_cache_is_bounded_in_entries_and_bytes() -> None:
    documents = Documents(GRAPH, Limits(), entries=3, size=100_000)
    for number in range(10):
        documents.find(f'{{ hello(name: "{number}") }}', None)
    assert len(documents._cache) == 3
    documents.find('{ hello(name: "' + "x" * 400 + '") }', None)
    assert documents._cache.used <= 100_000
    first = documents.find("{ hello }", None)
    assert documents.find("{ hello }", None) is first
    documents.find('{ hello(name: "' + "x" * 4_000 + '") }', None)  # alone more than the cache may hold
    assert documents.find("{ hello }", None) is first
