"""Loaders: what the resolvers of one level ask for, row by row, becomes one statement.

Every relation is served by the same three loaders. They are made on first use and live as long as their operation,
so nothing is ever served stale.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import orjson
from aiodataloader import DataLoader

from app.graph.paging import Page, Reader
from app.graph.registry import EntityType, Through, ToMany
from db.futures import shared
from db.session import Reading

Observe: TypeAlias = Callable[[str, int], None]
"""Told the name of an entity and how many keys one statement serves: for metrics."""


D = TypeVar("D", bound="DataLoader[Any, Any]")
K = TypeVar("K")
V = TypeVar("V")


class Fetcher:
    """Runs statements and makes rows of an entity of what comes back."""

    def __init__(self, reading: Reading, reader: Reader, observe: Observe) -> None:
        self.reading = reading
        self.reader = reader
        self.observe = observe

    async def page(self, page: Page) -> list[Any]:
        """The rows of a root list's page, and one more if there are more."""
        found = await self.reading.rows(self.reader.root_page(page))
        return [page.entity.row(*row) for row in found]

    async def count(self, page: Page) -> int:
        """How many rows a root list has in all."""
        found = await self.reading.rows(self.reader.root_count(page))
        return int(found[0][0])


class Once:
    """The rows of one root list, fetched when the first of its fields asks and shared by the others."""

    def __init__(self, fetcher: Fetcher, page: Page) -> None:
        self._fetcher, self._page = fetcher, page
        self._task: asyncio.Future[list[Any]] | None = None

    def __call__(self) -> "asyncio.Future[list[Any]]":
        """The rows, and one more if there are more."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._fetcher.page(self._page))
        return shared(self._task)  # as with `Loader`


class Loader(DataLoader[K, V]):
    """A loader whose futures several fields may await.

    Where one field fails, graphql-core cancels those beside it, and with a task also what it waits for, be it that a
    field elsewhere waits for it as well.
    """

    def load(self, key: K) -> "asyncio.Future[V]":
        """The value of a key, once its batch is there."""
        return shared(super().load(key))


class RowLoader(Loader[UUID, Any]):
    """Rows by id: the row, or None where the caller's tenant has none."""

    def __init__(self, fetcher: Fetcher, entity: EntityType, scoped: bool) -> None:
        super().__init__()
        self._fetcher, self._entity, self._scoped = fetcher, entity, scoped

    async def batch_load_fn(self, keys: list[UUID]) -> list[Any]:
        """One statement for all keys."""
        self._fetcher.observe(self._entity.name, len(keys))
        statement = self._fetcher.reader.rows(self._entity, self._entity.table.c.id, keys, self._scoped)
        position = self._entity.table.columns.keys().index("id")
        found = {row[position]: self._entity.row(*row) for row in await self._fetcher.reading.rows(statement)}
        return [found.get(key) for key in keys]


class PageLoader(Loader[UUID, list[Any]]):
    """Pages of children by parent: the page's rows, and one more if there are more."""

    def __init__(self, fetcher: Fetcher, relation: ToMany | Through, page: Page) -> None:
        super().__init__()
        self._fetcher, self._relation, self._page = fetcher, relation, page

    async def batch_load_fn(self, keys: list[UUID]) -> list[list[Any]]:
        """One statement for all parents."""
        entity = self._page.entity
        self._fetcher.observe(entity.name, len(keys))
        statement = self._fetcher.reader.children_pages(self._relation, self._page, keys)
        return await _by_parent(self._fetcher, entity, statement, keys)


class CountLoader(Loader[UUID, int]):
    """Number of children by parent."""

    def __init__(self, fetcher: Fetcher, relation: ToMany | Through, page: Page) -> None:
        super().__init__()
        self._fetcher, self._relation, self._page = fetcher, relation, page

    async def batch_load_fn(self, keys: list[UUID]) -> list[int]:
        """One statement for all parents."""
        statement = self._fetcher.reader.children_counts(self._relation, self._page, keys)
        counts: dict[UUID, int] = {row[0]: row[-1] for row in await self._fetcher.reading.rows(statement)}
        return [counts.get(key, 0) for key in keys]


class ListLoader(Loader[UUID, list[Any]]):
    """Short lists by parent, whole."""

    def __init__(self, fetcher: Fetcher, relation: Through, entity: EntityType) -> None:
        super().__init__()
        self._fetcher, self._relation, self._entity = fetcher, relation, entity

    async def batch_load_fn(self, keys: list[UUID]) -> list[list[Any]]:
        """One statement for all parents."""
        self._fetcher.observe(self._entity.name, len(keys))
        statement = self._fetcher.reader.listed(self._relation, self._entity, keys)
        return await _by_parent(self._fetcher, self._entity, statement, keys)


async def _by_parent(fetcher: Fetcher, entity: EntityType, statement: Any, keys: Sequence[UUID]) -> list[list[Any]]:
    rows: dict[UUID, list[Any]] = defaultdict(list)
    for found in await fetcher.reading.rows(statement):
        rows[found[0]].append(entity.row(*found[1:]))
    return [rows[key] for key in keys]


class Loaders:
    """The loaders of one operation."""

    def __init__(self, reading: Reading, reader: Reader, observe: Observe) -> None:
        self.fetcher = Fetcher(reading, reader, observe)
        self._made: dict[Any, Any] = {}

    def row(self, entity: EntityType, *, scoped: bool = False) -> RowLoader:
        """Rows of an entity by id. `scoped` for look-ups from outside, which the caller's grants narrow."""
        key = (entity.name, scoped)
        if key not in self._made:
            self._made[key] = RowLoader(self.fetcher, entity, scoped)
        loader: RowLoader = self._made[key]
        return loader

    def own(self, key: Any, make: Callable[[], D]) -> D:
        """A domain's own loader, made on first use; `key` is what tells it from others."""
        if key not in self._made:
            self._made[key] = make()
        loader: D = self._made[key]
        return loader

    def listed(self, relation: Through, entity: EntityType) -> ListLoader:
        """Short lists of a relation."""
        if relation not in self._made:
            self._made[relation] = ListLoader(self.fetcher, relation, entity)
        loader: ListLoader = self._made[relation]
        return loader

    def children(
        self, relation: ToMany | Through, entity: EntityType, arguments: Mapping[str, Any], max_page: int
    ) -> tuple[Page, PageLoader, CountLoader]:
        """The page that these arguments ask for, and its loaders; the same for every parent of a level."""
        key = (relation, orjson.dumps(arguments, default=str, option=orjson.OPT_SORT_KEYS))
        if key not in self._made:
            page = self.fetcher.reader.page(entity, arguments, max_page)
            self._made[key] = (
                page,
                PageLoader(self.fetcher, relation, page),
                CountLoader(self.fetcher, relation, page),
            )
        made: tuple[Page, PageLoader, CountLoader] = self._made[key]
        return made
