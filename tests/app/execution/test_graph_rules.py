"""Graphs of tasks as pure functions, over graphs of every shape."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.execution.rules.graph import critical_path, cycles, is_ready, topological, waits_of, would_close_a_cycle
from db.enums import TaskStatus

T = TaskStatus
Edges = list[tuple[int, int]]

sizes = st.integers(1, 9)


@st.composite
def any_graph(draw: st.DrawFn) -> tuple[int, Edges]:
    """Nodes 0 to n, and edges between any of them, themselves included."""
    size = draw(sizes)
    node = st.integers(0, size - 1)
    return size, draw(st.lists(st.tuples(node, node), max_size=20))


@st.composite
def acyclic(draw: st.DrawFn) -> tuple[int, Edges, dict[int, float]]:
    """Edges from later to earlier nodes of a random order alone, and how long each node takes."""
    size = draw(sizes)
    order = draw(st.permutations(range(size)))
    pairs = list(itertools.combinations(range(size), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    takes = draw(st.lists(st.integers(0, 50), min_size=size, max_size=size))
    return size, [(order[late], order[early]) for early, late in chosen], dict(enumerate(map(float, takes)))


def reachable(edges: Edges, start: int) -> set[int]:
    """Every node that one waits for, by the plainest search there is."""
    found: set[int] = set()
    while fresh := {end for begin, end in edges if begin in found | {start}} - found:
        found |= fresh
    return found


@given(any_graph())
def test_dag_1_an_edge_closes_a_cycle_exactly_where_the_way_back_exists(graph: tuple[int, Edges]) -> None:
    """Against a plain search."""
    size, edges = graph
    for node, other in itertools.product(range(size), repeat=2):
        expected = node == other or node in reachable(edges, other)
        assert would_close_a_cycle(edges, node, other) is expected


@given(any_graph())
def test_dag_2_cycles_are_the_nodes_that_wait_for_themselves(graph: tuple[int, Edges]) -> None:
    """Each once, and together those that reach each other."""
    size, edges = graph
    found = cycles(waits_of(edges, range(size)))
    on_cycle = {node for node in range(size) if node in reachable(edges, node)}
    assert sorted(node for knot in found for node in knot) == sorted(on_cycle)
    for knot in found:
        for one, other in itertools.product(knot, repeat=2):
            assert other in reachable(edges, one)


@given(any_graph())
def test_dag_2_the_order_has_what_hangs_on_no_cycle(graph: tuple[int, Edges]) -> None:
    """Each node behind all that it waits for."""
    size, edges = graph
    order = topological(waits_of(edges, range(size)))
    stuck = {n for n in range(size) if any(m in reachable(edges, m) for m in reachable(edges, n) | {n})}
    assert sorted(order) == sorted(set(range(size)) - stuck)
    place = {node: at for at, node in enumerate(order)}
    for node, other in edges:
        if node in place:
            assert place[other] < place[node]


def longest(waits: dict[int, list[int]], takes: dict[int, float], node: int) -> float:
    """The longest chain that ends here, by trying all."""
    return takes[node] + max((longest(waits, takes, other) for other in waits[node]), default=0.0)


@given(acyclic())
def test_dag_2_the_critical_path_is_the_longest_chain(graph: tuple[int, Edges, dict[int, float]]) -> None:
    """As long as the longest of all, and a chain of edges from a node that waits for nothing."""
    size, edges, takes = graph
    waits = waits_of(edges, range(size))
    path = critical_path(waits, takes)
    assert path.length == max(longest(waits, takes, node) for node in range(size))
    assert sum(takes[node] for node in path.nodes) == path.length
    assert all((later, earlier) in edges for earlier, later in itertools.pairwise(path.nodes))
    assert waits[path.nodes[0]] == []


def test_dag_2_edges_to_unknown_nodes_are_left_out_and_nodes_of_no_length_count() -> None:
    """Section 0b."""
    waits = waits_of([("a", "gone"), ("b", "a"), ("zero", "b")], ["a", "b", "zero"])
    assert critical_path(waits, {"a": 1.0, "b": 2.0}) == (["a", "b", "zero"], 3.0)
    assert critical_path({}, {}) == ([], 0.0)


def test_dag_2_a_cycle_has_no_critical_path() -> None:
    """Ask for the cycles first."""
    with pytest.raises(ValueError, match="cycle"):
        critical_path({1: [2], 2: [1]}, {})


@pytest.mark.parametrize("status", list(TaskStatus))
@pytest.mark.parametrize("other", list(TaskStatus))
def test_dag_2_ready_is_what_can_begin_and_waits_for_nothing(status: TaskStatus, other: TaskStatus) -> None:
    """Section 0b: INBOX, ASSIGNED, REVIEW, and BLOCKED by its dependencies; CANCELED does not satisfy (C37)."""
    can_begin = status in (T.INBOX, T.ASSIGNED, T.REVIEW)
    assert is_ready(status, []) is can_begin
    assert is_ready(status, [T.DONE, other]) is (can_begin and other is T.DONE)
    assert is_ready(status, [other], waits_for_them=True) is ((can_begin or status is T.BLOCKED) and other is T.DONE)
