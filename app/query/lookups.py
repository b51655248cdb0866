"""Rows by their ids, and what hangs on a level's rows by an id that they have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson

from app.graph.registry import EntityType
from app.query.json_values import JsonValue
from app.query.levels import Run, Written, children_of, reach_of
from app.query.rows import Rows, Source
from app.query.statements import Statement, Writer


@dataclass(eq=False)
class Single:
    """Rows of one type by id; `scoped` for look-ups from outside, which the caller's grants narrow."""

    rows: Rows
    expression: str
    scoped: bool
    id_place: int
    _statements: dict[Hashable, Statement] = field(default_factory=dict)

    @property
    def entity(self) -> EntityType:
        """The type."""
        return self.rows.entity

    async def load(self, run: Run, keys: Collection[bytes]) -> dict[bytes, Any]:
        """The rows of these ids as JSON; an id without a row that may be seen is left out."""
        found = await run.look_up(self.statement(run), self.id_place, keys)
        texts = self._texts(found, run.actor, None, *await children_of(self.rows, run, found))
        return self._by_id(found, map(orjson.Fragment, texts))

    async def values(self, run: Run, keys: Collection[bytes]) -> dict[bytes, Any]:
        """The rows of these ids, for who puts each in one place only."""
        found = await run.look_up(self.statement(run), self.id_place, keys)
        return self.written(run, found, await children_of(self.rows, run, found))

    def written(self, run: Run, found: Sequence[Any], children: Sequence[Written] = ()) -> dict[bytes, Any]:
        """These records as objects, by id."""
        return self._by_id(found, self._objects(found, run.actor, None, *children))

    def _by_id(self, found: Sequence[Any], written: Iterable[Any]) -> dict[bytes, Any]:
        place = self.id_place
        return {record[place]: value for record, value in zip(found, written, strict=True)}

    @cached_property
    def _objects(self) -> Callable[..., list[Any]]:
        return self.rows.writing(self.expression)

    @cached_property
    def _texts(self) -> Callable[..., list[Any]]:
        return self.rows.writing(self.expression, as_text=True)

    def known(self, run: Run, columns: Mapping[str, Any]) -> Any:
        """A row of which these columns are known, as an object; None where more has to be read for it."""
        sources = self._sources
        if sources is None or not all(name in columns for name, _ in sources):
            return None
        record = [made(columns[name]) for name, made in sources]
        return self.written(run, [record])[record[self.id_place]]

    @cached_property
    def _sources(self) -> Sequence[Source] | None:
        return None if self.scoped else self.rows.sources()

    def statement(self, run: Run) -> Statement:
        """The statement of these rows for the caller."""
        reach = reach_of(run.actor, self.entity) if self.scoped else None
        known = self._statements.get(reach)
        if known is None:
            writer = Writer(run.actor)
            select = writer.reader.rows(
                self.entity,
                self.entity.table.c.id,
                writer.keys,
                self.scoped,
                self.rows.columns,
                self.rows.joined(writer),
            )
            known = self._statements[reach] = writer.statement(select)
            run.grown(known)
        return known


@dataclass(eq=False)
class ToOneChild:
    """A to-one relation, read apart: each distinct row once."""

    single: Single
    key_place: int

    async def load(self, run: Run, records: Sequence[Any]) -> Written:
        """The rows that the records' keys name."""
        place = self.key_place
        keys = {record[place] for record in records}
        keys.discard(None)
        if not keys:
            return {}
        run.observe(self.single.entity.name, len(keys))
        return await self.single.load(run, keys)


@dataclass(eq=False)
class PointsToChild:
    """A relation to rows of any type, read type by type."""

    word_place: int
    key_place: int
    names: Mapping[str, str] | None
    single_of: Callable[[str], Single]
    """The rows of a type by its name."""

    async def load(self, run: Run, records: Sequence[Any]) -> Written:
        """The rows that the records point to, by (word, key)."""
        keys: dict[str, set[bytes]] = {}
        for record in records:
            word, key = record[self.word_place], record[self.key_place]
            if word is not None and key is not None:
                keys.setdefault(word, set()).add(key)
        written: dict[tuple[str, bytes], Any] = {}
        for word, ids in keys.items():
            name = word if self.names is None else self.names.get(word)
            if name is None or not run.actor.may_read(name):
                continue
            run.observe(name, len(ids))
            found = await self.single_of(name).load(run, ids)
            written.update(((word, key), value) for key, value in found.items())
        return written


@dataclass(eq=False)
class JsonChild:
    """The rows that a JSON column names by their ids."""

    place: int
    column: JsonValue
    singles: Sequence[Single]
    """The rows of each place that shows some."""

    async def load(self, run: Run, records: Sequence[Any]) -> Sequence[Mapping[bytes, Any]]:
        """The rows that the records' columns name, for each place."""
        texts = [record[self.place] for record in records]
        return await found_of(self.singles, run, self.column.keys(texts, len(self.singles)))


async def found_of(
    singles: Sequence[Single], run: Run, named: Sequence[Collection[bytes]]
) -> Sequence[Mapping[bytes, Any]]:
    """The rows that JSON names, for each place that shows some."""
    found: list[Mapping[bytes, Any]] = []
    for single, keys in zip(singles, named, strict=True):
        if keys:
            run.observe(single.entity.name, len(keys))
        found.append(await single.load(run, keys) if keys else {})
    return found
