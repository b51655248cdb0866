"""Walking from a row to what it came from and to what came from it, a level at a time.

A level takes at most one statement for each type that keys lead to, one for each list, and one for chains, however many
rows it has. Rows are found by the kit's own statements, behind the same walls as along the fields of the types: a key
of a row that may be read leads on, a list shows what the caller's grants cover (decision 29), and types that the
caller may not read are not in the picture at all.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import literal, select, union_all

from app.graph.context import OperationContext
from app.graph.paging import MAX_PAGE
from app.graph.registry import ENTITIES, ToMany
from app.lineage.rules import KINDS, MAX_ANCESTORS, MAX_BRANCHES, MAX_NODES
from app.lineage.steps import ByKey, Key, Step, ToList, all_steps


class Link(NamedTuple):
    """That one row came from another, by the relation of this name on its type."""

    later: Key
    earlier: Key
    relation: str


@dataclass
class Picture:
    """The rows of a picture and the links between them."""

    root: Any
    rows: dict[Key, Any] = field(default_factory=dict)
    levels: dict[Key, int] = field(default_factory=dict)
    """Steps from the root: below zero for what it came from."""
    links: dict[Link, None] = field(default_factory=dict)
    """In the order in which they were found."""
    is_truncated: bool = False

    @property
    def room(self) -> int:
        """How many more rows fit."""
        return MAX_NODES - len(self.rows)


async def draw(context: OperationContext, root: Any, *, upstream: bool, downstream: bool, depth: int) -> Picture:
    """The picture around a row that the caller has been shown already."""
    picture = Picture(root, {_key(root): root}, {_key(root): 0})
    for is_wanted, is_upstream in ((upstream, True), (downstream, False)):
        if is_wanted:
            await _Walk(context, picture, is_upstream).go(depth)
    _link_neighbours(picture)
    return picture


async def types_with(context: OperationContext, row_id: UUID) -> list[str]:
    """The types that have a row of this id among those that a picture can show and the caller may read."""
    reader = context.reader
    looks = [
        select(literal(name).label("name")).where(*reader.visible(entity), entity.table.c.id == row_id)
        for name, entity in ((name, ENTITIES[name]) for name in KINDS)
        if context.actor.may_read(name)
    ]
    return [found.name for found in await context.reading.rows(union_all(*looks))] if looks else []


def _key(row: Any) -> Key:
    return row.type_name, row.id


class _Found(NamedTuple):
    """A row that a step led to, and the row that the step was taken from."""

    origin: Any
    relation: str
    row: Any


class _Walk:
    """One direction of a picture. A row is walked on from once, so that a cycle ends where it closes."""

    def __init__(self, context: OperationContext, picture: Picture, is_upstream: bool) -> None:
        self._context = context
        self._picture = picture
        self._is_upstream = is_upstream
        self._steps = all_steps().upstream if is_upstream else all_steps().downstream
        self._reached = {_key(picture.root)}
        self._chained: dict[Key, Any] = {}
        """Rows of chains, found beforehand."""

    async def go(self, depth: int) -> None:
        """Walk this many levels, and chains to their end."""
        frontier = [self._picture.root]
        for distance in range(1, depth + 1):
            level = -distance if self._is_upstream else distance
            frontier = self._take(await self._level(frontier), level)
            if not frontier:
                break
        if self._is_upstream:
            self._finish_chains()

    async def _level(self, frontier: Sequence[Any]) -> list[_Found]:
        await self._follow_chains(frontier)
        found = await self._by_keys(frontier)
        lists: dict[tuple[str, ToList], list[Any]] = defaultdict(list)
        for row in frontier:
            for step in self._steps[row.type_name]:
                if isinstance(step, ToList) and self._may_draw(step.list.target):
                    lists[row.type_name, step].append(row)
        for (_name, step), rows in lists.items():
            found += await self._list(step, rows)
        return found

    async def _by_keys(self, frontier: Sequence[Any]) -> list[_Found]:
        """What the keys of the rows lead to: one statement a type."""
        wanted = [
            (row, step.relation, key)
            for row in frontier
            for step in self._steps[row.type_name]
            if isinstance(step, ByKey) and (key := step.follow(row)) is not None and self._may_draw(key[0])
        ]
        known: dict[Key, Any] = {**self._chained, **self._picture.rows}
        missing: dict[str, dict[UUID, None]] = defaultdict(dict)
        for _row, _relation, key in wanted:
            if key not in known:
                missing[key[0]][key[1]] = None
        for name, ids in missing.items():
            for row in await self._context.loaders.row(ENTITIES[name]).load_many(list(ids)):
                if row is not None:
                    known[_key(row)] = row
        return [_Found(row, relation, known[key]) for row, relation, key in wanted if key in known]

    async def _list(self, step: ToList, rows: Sequence[Any]) -> list[_Found]:
        """What a list holds for the rows: one statement."""
        relation, entity = step.list, ENTITIES[step.list.target]
        loaders, ids = self._context.loaders, [row.id for row in rows]
        if not isinstance(relation, ToMany) and relation.as_list:
            lists = await loaders.listed(relation, entity).load_many(ids)
            return [_Found(row, step.relation, one) for row, found in zip(rows, lists, strict=True) for one in found]
        # A share for each row, so that the first does not take all the room there is.
        size = max(1, min(MAX_BRANCHES, self._picture.room // len(rows)))
        _page, pages, _counts = loaders.children(relation, entity, {"last": size}, MAX_PAGE)
        found = []
        for row, page in zip(rows, await pages.load_many(ids), strict=True):
            if len(page) > size:
                self._picture.is_truncated = True
            found += [_Found(row, step.relation, one) for one in page[:size]]
        return found

    def _may_draw(self, type_name: str) -> bool:
        return type_name in KINDS and self._context.actor.may_read(type_name)

    def _take(self, found: Iterable[_Found], level: int) -> list[Any]:
        """Add rows and links to the picture; the rows that this direction had not reached before."""
        picture, new = self._picture, []
        for origin, relation, row in found:
            key = _key(row)
            if key not in picture.rows:
                if picture.room <= 0:
                    picture.is_truncated = True
                    continue
                picture.rows[key], picture.levels[key] = row, level
            later, earlier = (_key(origin), key) if self._is_upstream else (key, _key(origin))
            picture.links[Link(later, earlier, relation)] = None
            if key not in self._reached:
                self._reached.add(key)
                new.append(row)
        return new

    async def _follow_chains(self, frontier: Sequence[Any]) -> None:
        """Find the rows of the chains that begin in the frontier: one statement a type (VER-7)."""
        if not self._is_upstream:
            return
        for name, step in _chains():
            keys = [step.follow(row) for row in frontier if row.type_name == name]
            missing = {key[1]: None for key in keys if key is not None and key not in self._chained}
            if not missing or not self._may_draw(name):
                continue
            entity = ENTITIES[name]
            statement = self._context.reader.chain(entity, entity.table.c[step.column], list(missing), MAX_ANCESTORS)
            self._context.loaders.fetcher.observe(name, len(missing))
            for found in await self._context.reading.rows(statement):
                row = entity.row(*found)
                self._chained[_key(row)] = row

    def _finish_chains(self) -> None:
        """Take what the depth left of the chains, up to the first row of each."""
        for name, step in _chains():
            rows = [row for key, row in self._picture.rows.items() if key[0] == name and key in self._reached]
            while rows:
                row = rows.pop()
                key = step.follow(row)
                if key is not None and key in self._chained:
                    level = self._picture.levels[_key(row)] - 1
                    rows += self._take([_Found(row, step.relation, self._chained[key])], level)
                elif key is not None and _key(row) in self._chained and key not in self._picture.rows:
                    self._picture.is_truncated = True


def _chains() -> list[tuple[str, ByKey]]:
    steps = all_steps().upstream
    return [
        (name, step)
        for name, kind in KINDS.items()
        for step in steps[name]
        if isinstance(step, ByKey) and step.relation == kind.chain
    ]


def _link_neighbours(picture: Picture) -> None:
    """Add the links between rows of the picture that their own keys tell: the rows at its edge were not walked from."""
    steps = all_steps()
    for key, row in picture.rows.items():
        for step in _keys_of(steps.upstream[key[0]]):
            if (other := step.follow(row)) in picture.rows and other is not None:
                picture.links[Link(key, other, step.relation)] = None
        for step in _keys_of(steps.downstream[key[0]]):
            if (other := step.follow(row)) in picture.rows and other is not None:
                picture.links[Link(other, key, step.relation)] = None


def _keys_of(steps: Iterable[Step]) -> list[ByKey]:
    return [step for step in steps if isinstance(step, ByKey)]
