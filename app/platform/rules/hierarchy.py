"""Trees out of rows that name who is above them (ORG-2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True)
class Place:
    """Where a row stands in a tree."""

    id: UUID
    parent_id: UUID | None
    depth: int
    """0 at the top."""
    children: int
    """How many stand right below."""


def in_order(parents: Mapping[UUID, UUID | None], last_under_first: Sequence[UUID] = ()) -> list[Place]:
    """The tree from the top, each row before those below it, siblings in their given order.

    A row whose parent is not among them is at the top, as is one of each circle, which is where the circle is cut.
    `last_under_first`: those of them that would be at the top stand last under the first of the others there.
    """
    above = {row: parent if parent in parents and parent != row else None for row, parent in parents.items()}
    for row in parents:
        seen = {row}
        step = above[row]
        while step is not None and step not in seen:
            seen.add(step)
            step = above[step]
        if step == row:
            above[row] = None
    late = set(last_under_first)
    first = next((row for row, parent in above.items() if parent is None and row not in late), None)
    if first is not None:
        above |= {row: first for row in last_under_first if above[row] is None}
    below: dict[UUID | None, list[UUID]] = {}
    for row, parent in above.items():
        below.setdefault(parent, []).append(row)
    places: list[Place] = []
    waiting = [(row, 0) for row in reversed(below.get(None, []))]
    while waiting:
        row, depth = waiting.pop()
        children = below.get(row, [])
        places.append(Place(row, above[row], depth, len(children)))
        waiting += [(child, depth + 1) for child in reversed(children)]
    return places
