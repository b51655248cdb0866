"""The steps that a picture takes, worked out from the relations that the types of the graph declare.

A step goes from a row to rows near it: by a key that the row itself holds, or to the rows that hold the row's key.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias
from uuid import UUID

from app.graph.registry import ENTITIES, PointsTo, Relation, Through, ToMany, ToOne
from app.lineage.rules import KINDS

Key: TypeAlias = tuple[str, UUID]
"""Type and id of a row."""


@dataclass(frozen=True)
class ByKey:
    """To the one row that a key of the row names, if it names one and if `conditions` hold."""

    relation: str
    """Name of the relation, on the type of the later row."""
    column: str
    target: str | None
    """Type of that row; None where `type_column` says it."""
    type_column: str | None = None
    type_names: Mapping[str, str] | None = None
    """What the words of `type_column` mean, where they are not type names."""
    conditions: tuple[tuple[str, str], ...] = ()

    def follow(self, row: Any) -> Key | None:
        """Type and id of the row that this row leads to."""
        value: UUID | None = getattr(row, self.column)
        target = self.target
        if self.type_column is not None:
            word = getattr(row, self.type_column)
            target = word if self.type_names is None else self.type_names.get(word)
        if value is None or target is None or any(getattr(row, name) != wanted for name, wanted in self.conditions):
            return None
        return target, value


@dataclass(frozen=True)
class ToList:
    """To the rows of a type that a relation of many lists for the row."""

    relation: str
    """Name of the relation, on the type of the later row."""
    list: ToMany | Through


Step: TypeAlias = ByKey | ToList


@dataclass(frozen=True)
class Steps:
    """The steps from rows of each type, by name of the type."""

    upstream: Mapping[str, tuple[Step, ...]]
    """To what a row came from."""
    downstream: Mapping[str, tuple[Step, ...]]
    """To what came from it."""


@cache
def all_steps() -> Steps:
    """Every step, once the types have declared themselves. KeyError for a relation that its type does not have."""
    upstream: dict[str, list[Step]] = defaultdict(list)
    downstream: dict[str, list[Step]] = defaultdict(list)
    for name, kind in KINDS.items():
        for relation_name in kind.came_from:
            relation = ENTITIES[name].relations[relation_name]
            upstream[name].append(_there(relation_name, relation))
            if kind.is_drawn_below:
                for target, step in _back(name, relation_name, relation):
                    downstream[target].append(step)
    return Steps({name: tuple(upstream[name]) for name in KINDS}, {name: tuple(downstream[name]) for name in KINDS})


def _there(name: str, relation: Relation) -> Step:
    if isinstance(relation, ToOne):
        return ByKey(name, relation.column, relation.target)
    if isinstance(relation, PointsTo):
        return ByKey(name, relation.id_column, None, relation.entity_column, relation.names)
    return ToList(name, relation)


def _back(owner: str, name: str, relation: Relation) -> Iterator[tuple[str, Step]]:
    """The type at the other end, and the step from there; a pair of columns may have many ends."""
    if isinstance(relation, ToOne):
        yield relation.target, ToList(name, ToMany(relation.column, owner))
    elif isinstance(relation, ToMany):
        yield relation.target, ByKey(name, relation.key, owner, conditions=relation.fixed)
    elif isinstance(relation, Through):
        turned = Through(relation.association, relation.far, relation.near, owner, as_list=False)
        yield relation.target, ToList(name, turned)
    else:
        ends = {end: end for end in KINDS} if relation.names is None else relation.names
        for word, end in ends.items():
            yield end, ToList(name, ToMany(relation.id_column, owner, ((relation.entity_column, word),)))
