"""Graphs of tasks: cycles, order, readiness, the critical path (DAG-1, DAG-2). Nodes may be anything that hashes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from db.enums import TaskStatus

N = TypeVar("N", bound=Hashable)

_STARTABLE: Final = frozenset({TaskStatus.INBOX, TaskStatus.ASSIGNED, TaskStatus.REVIEW})


def is_ready(status: TaskStatus, dependencies: Iterable[TaskStatus], *, waits_for_them: bool = False) -> bool:
    """DAG-2, C37. Whether a task can be worked on: neither under way nor at an end, and all it waits for is DONE.

    `waits_for_them`: it is BLOCKED by its dependencies and by nothing else. What was CANCELED does not satisfy.
    """
    can_begin = status in _STARTABLE or (status is TaskStatus.BLOCKED and waits_for_them)
    return can_begin and all(one is TaskStatus.DONE for one in dependencies)


def waits_of(edges: Iterable[tuple[N, N]], nodes: Iterable[N]) -> dict[N, list[N]]:
    """Node -> what it waits for, in the order of the nodes and of the edges; edges to unknown nodes are left out."""
    waits: dict[N, list[N]] = {node: [] for node in nodes}
    for node, other in edges:
        if node in waits and other in waits:
            waits[node].append(other)
    return waits


def would_close_a_cycle(edges: Iterable[tuple[N, N]], node: N, other: N) -> bool:
    """DAG-1. Whether `node` waiting for `other` makes a cycle: `other` waits for `node` already, however far off."""
    waits: dict[N, list[N]] = {}
    for start, end in edges:
        waits.setdefault(start, []).append(end)
    seen, pending = {other}, [other]
    while pending:
        one = pending.pop()
        if one == node:
            return True
        fresh = [next_one for next_one in waits.get(one, ()) if next_one not in seen]
        seen.update(fresh)
        pending += fresh
    return False


def topological(waits: Mapping[N, Sequence[N]]) -> list[N]:
    """DAG-2. The nodes, each behind all that it waits for; those that could come at once in their given order. Nodes on
    a cycle, and those behind one, are left out."""
    left = {node: len(set(others)) for node, others in waits.items()}
    dependants: dict[N, list[N]] = {node: [] for node in waits}
    for node, others in waits.items():
        for other in set(others):
            dependants[other].append(node)
    order = [node for node, count in left.items() if count == 0]
    for node in order:
        for dependant in dependants[node]:
            left[dependant] -= 1
            if left[dependant] == 0:
                order.append(dependant)  # a queue that is read while it grows
    return order


def cycles(waits: Mapping[N, Sequence[N]]) -> list[list[N]]:
    """DAG-2. The knots of nodes that wait for each other in a circle: each node is in one at most.

    Tarjan's strongly connected components, without recursion.
    """
    index: dict[N, int] = {}
    low: dict[N, int] = {}
    stack: list[N] = []
    on_stack: set[N] = set()
    found: list[list[N]] = []
    for root in waits:
        if root in index:
            continue
        work = [(root, iter(waits[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, others = work[-1]
            step = next(others, None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    at = stack.index(node)
                    component = stack[at:]
                    del stack[at:]
                    on_stack.difference_update(component)
                    if len(component) > 1 or node in waits[node]:
                        found.append(component)
            elif step not in index:
                index[step] = low[step] = len(index)
                stack.append(step)
                on_stack.add(step)
                work.append((step, iter(waits[step])))
            elif step in on_stack:
                low[node] = min(low[node], index[step])
    return found


class Path(NamedTuple, Generic[N]):
    """The longest chain of work."""

    nodes: list[N]
    """In the order in which they are done."""
    length: float
    """Sum of what the nodes take."""


def critical_path(waits: Mapping[N, Sequence[N]], takes: Mapping[N, float]) -> Path[N]:
    """DAG-2. The chain of nodes that takes longest from its first to its last; of equals the one found first.

    Nodes of no length count, and make a chain longer by being on it. Raises ValueError where there is a cycle: ask
    `cycles` first.
    """
    order = topological(waits)
    if len(order) < len(waits):
        raise ValueError("there is a cycle")
    best: dict[N, tuple[float, int]] = {}
    before: dict[N, N | None] = {}
    for node in order:
        previous = max(waits[node], key=lambda one: best[one], default=None)
        length, count = (0.0, 0) if previous is None else best[previous]
        best[node], before[node] = (length + takes.get(node, 0.0), count + 1), previous
    if not best:
        return Path([], 0.0)
    last: N | None = max(order, key=lambda one: best[one])
    length = best[last][0] if last is not None else 0.0
    nodes: list[N] = []
    while last is not None:
        nodes.append(last)
        last = before[last]
    return Path(nodes[::-1], length)
