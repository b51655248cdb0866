"""Plans: what an operation reads, root field by root field, and how that becomes its answer's data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from graphql import FieldNode, VariableNode

from app.graph.errors import GraphError
from app.graph.ids import key_of
from app.graph.registry import EntityType
from app.graph.roots import MAX_NODES, entity_of
from app.query.arguments import Arguments
from app.query.columns import Differently
from app.query.levels import Run
from app.query.lists import Pages
from app.query.lookups import Single


class Root(Protocol):
    """A root field."""

    def needs_snapshot(self, run: Run) -> bool:
        """Whether it takes several statements, which must see the same rows."""
        ...

    async def value(self, run: Run) -> Any:
        """What the answer has under its key."""
        ...


@dataclass(eq=False)
class RootList:
    """A table's list."""

    pages: Pages

    def needs_snapshot(self, _run: Run) -> bool:
        """Whether something hangs on its rows, or they are counted as well."""
        return bool(self.pages.rows.children) or (self.pages.has_rows and self.pages.has_count)

    async def value(self, run: Run) -> Any:
        """The connection."""
        return await self.pages.root(run)


@dataclass(eq=False)
class RootRow:
    """One row of a table by its id."""

    single: Single
    arguments: Arguments
    node: FieldNode

    def __post_init__(self) -> None:
        given = [one.value for one in self.node.arguments or () if one.name.value == "id"]
        self._variable = given[0].name.value if given and isinstance(given[0], VariableNode) else None

    def needs_snapshot(self, _run: Run) -> bool:
        """Whether something hangs on it."""
        return bool(self.single.rows.children)

    async def value(self, run: Run) -> Any:
        """The row, or None where there is none."""
        entity = self.single.entity
        text = None if self._variable is None else run.variables.coerced.get(self._variable)
        if text is None:
            text = self.arguments.of(run.variables)["id"]
        try:
            key = key_of(entity.prefix, entity.name, text, "id")
        except GraphError as error:
            raise Differently("no id") from error
        run.observe(entity.name, 1)
        return (await self.single.values(run, (key,))).get(key)


@dataclass(eq=False)
class RootNodes:
    """`node` or `nodes`: rows of any type by their global ids."""

    single_of: Callable[[str], Single]
    arguments: Arguments
    is_list: bool

    def needs_snapshot(self, run: Run) -> bool:
        """Whether there are several types, or something hangs on one of them."""
        names = {entity.name for entity, _ in self._asked(run)}
        return len(names) > 1 or any(self.single_of(name).rows.children for name in names)

    async def value(self, run: Run) -> Any:
        """The row or the rows, null for an id that finds none."""
        asked = self._asked(run)
        keys: dict[str, set[bytes]] = {}
        for entity, key in asked:
            keys.setdefault(entity.name, set()).add(key)
        found = {}
        for name, ids in keys.items():
            run.observe(name, len(ids))
            found[name] = await self.single_of(name).load(run, ids)
        rows = [found[entity.name].get(key) for entity, key in asked]
        return rows if self.is_list else rows[0]

    def _asked(self, run: Run) -> list[tuple[EntityType, bytes]]:
        given = self.arguments.of(run.variables)
        texts = given["ids"] if self.is_list else [given["id"]]
        if len(texts) > MAX_NODES:
            raise Differently("too many ids")
        try:
            asked = [entity_of(run.actor, text, "id") for text in texts]
        except GraphError as error:
            raise Differently("no id") from error
        return [(entity, key.bytes) for entity, key in asked]


@dataclass(frozen=True)
class Plan:
    """What an operation reads."""

    roots: Mapping[str, Root | str | None]
    """Response key -> root field; a text for `__typename`, None for what the reference way answers."""
    rest: Sequence[FieldNode]
    """The fields that the reference way answers."""

    @cached_property
    def compiled(self) -> Sequence[Root]:
        """The root fields that are answered here."""
        return [root for root in self.roots.values() if root is not None and not isinstance(root, str)]

    @cached_property
    def is_by_key(self) -> bool:
        """Whether it is one root field that looks rows up by their keys."""
        return len(self.compiled) == 1 and isinstance(self.compiled[0], RootRow | RootNodes)

    def needs_snapshot(self, run: Run) -> bool:
        """Whether the statements of the plan are several."""
        compiled = self.compiled
        return len(compiled) != 1 or compiled[0].needs_snapshot(run)

    async def data(self, run: Run) -> dict[str, Any]:
        """The answer's data, with None in the place of what the reference way answers."""
        data: dict[str, Any] = {}
        for key, root in self.roots.items():
            data[key] = root if root is None or isinstance(root, str) else await root.value(run)
        return data
