"""Lists: the pages of a root's or of all parents of a level, and the short ones that have no pages."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import orjson

from app.graph.connection import max_page
from app.graph.errors import GraphError
from app.graph.ordering import Keyset, encode_cursor
from app.graph.paging import page_shape
from app.graph.registry import Through, ToMany
from app.query.arguments import Arguments
from app.query.columns import Differently, Write, plain_writer, read
from app.query.levels import Run, Written, children_of, reach_of
from app.query.rows import Rows, records_by
from app.query.statements import Statement, Writer

MOST_VARIANTS: Final = 64
"""Shapes of arguments that one list of a plan keeps statements for."""


@dataclass(eq=False)
class ListedChild:
    """A short list without pages."""

    relation: Through
    rows: Rows
    expression: str
    key_place: int
    _statement: Statement | None = None
    _write: Callable[..., list[Any]] | None = None

    async def load(self, run: Run, records: Sequence[Any]) -> Written:
        """The lists of all records."""
        if self._statement is None or self._write is None:
            writer = Writer(run.actor)
            select = writer.reader.listed(self.relation, self.rows.entity, writer.keys, self.rows.columns)
            self._statement, self._write = writer.statement(select), self.rows.writing(self.expression)
            run.grown(self._statement)
        keys = {record[self.key_place] for record in records}
        keys.discard(None)
        run.observe(self.rows.entity.name, len(keys))
        found = await run.records(self._statement, keys=keys)
        children = await children_of(self.rows, run, found)
        written: dict[bytes, list[Any]] = {key: [] for key in keys}
        for record, value in zip(found, self._write(found, run.actor, None, *children), strict=True):
            written[record[0].bytes].append(value)
        return written


@dataclass(frozen=True)
class Edges:
    """One `edges` of a connection: the expression of an edge."""

    key: str
    expression: str


@dataclass(frozen=True)
class PageInfo:
    """One `pageInfo` of a connection: its fields by response key, as names of `Connected.info`, or a constant."""

    key: str
    fields: Mapping[str, str]
    type_name: str


@dataclass(frozen=True)
class TotalCount:
    """One `totalCount` of a connection."""

    key: str


@dataclass(frozen=True)
class TypeName:
    """A `__typename`."""

    key: str
    name: str


Part: TypeAlias = Edges | PageInfo | TotalCount | TypeName


@dataclass(frozen=True, slots=True)
class Variant:
    """A list's statements for arguments of one shape."""

    page: Statement | None
    count: Statement | None
    size: int
    backward: bool
    has_after: bool
    has_before: bool
    cursor: Callable[[Any], str]

    def kept(self, found: Sequence[Any]) -> Sequence[Any]:
        """The records of the page in the list's order, without the one that only tells of more."""
        kept = found[: self.size]
        return kept[::-1] if self.backward else kept

    def info(self, found: Sequence[Any], kept: Sequence[Any]) -> dict[str, Any]:
        """What `Connected.info` says of the page."""
        more = len(found) > self.size
        return {
            "hasNextPage": self.has_before if self.backward else more,
            "hasPreviousPage": more if self.backward else self.has_after,
            "startCursor": self.cursor(kept[0]) if kept else None,
            "endCursor": self.cursor(kept[-1]) if kept else None,
        }


@dataclass(eq=False)
class Pages:
    """The pages of a list: of a root's, or of all parents of a level."""

    relation: ToMany | Through | None
    rows: Rows
    parts: Sequence[Part]
    arguments: Arguments
    key_place: int = 0
    _variants: dict[Hashable, Variant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.has_rows = any(isinstance(part, Edges | PageInfo) for part in self.parts)
        self.has_count = any(isinstance(part, TotalCount) for part in self.parts)

    @cached_property
    def _writers(self) -> Sequence[Callable[..., list[bytes]]]:
        """What writes the edges of each `edges`."""
        edges = [part for part in self.parts if isinstance(part, Edges)]
        return [self.rows.writing(part.expression, as_text=True) for part in edges]

    async def root(self, run: Run) -> Any:
        """The connection of a root field."""
        variant, given = self._variant(run)
        found: Sequence[Any] = ()
        if variant.page is not None:
            found = await run.records(variant.page, given)
        total = (await run.records(variant.count, given))[0][0] if variant.count is not None else 0
        return (await self._connections(run, variant, [found], [total]))[0]

    async def load(self, run: Run, records: Sequence[Any]) -> Written:
        """The connections of all records."""
        keys = list(dict.fromkeys(record[self.key_place] for record in records if record[self.key_place] is not None))
        if not keys:
            return {}
        variant, given = self._variant(run)
        groups: Mapping[bytes, Sequence[Any]] = {}
        if variant.page is not None:
            run.observe(self.rows.entity.name, len(keys))
            groups = records_by(await run.records(variant.page, given, keys))
        totals: Mapping[bytes, int] = {}
        if variant.count is not None:
            totals = {row[0].bytes: row[1] for row in await run.records(variant.count, given, keys)}
        made = await self._connections(
            run, variant, [groups.get(key, ()) for key in keys], [totals.get(key, 0) for key in keys]
        )
        return dict(zip(keys, made, strict=True))

    async def _connections(
        self, run: Run, variant: Variant, groups: Sequence[Sequence[Any]], totals: Sequence[int]
    ) -> list[dict[str, Any]]:
        pages = [variant.kept(group) for group in groups]
        records = pages[0] if len(pages) == 1 else [record for page in pages for record in page]
        children = await children_of(self.rows, run, records)
        edges = [write(records, run.actor, variant.cursor, *children) for write in self._writers]
        made, start = [], 0
        for found, page, total in zip(groups, pages, totals, strict=True):
            end = start + len(page)
            made.append(self._connection(variant, found, page, [_array(one[start:end]) for one in edges], total))
            start = end
        return made

    def _connection(
        self, variant: Variant, found: Sequence[Any], page: Sequence[Any], edges: list[Any], total: int
    ) -> dict[str, Any]:
        connection: dict[str, Any] = {}
        following = iter(edges)
        for part in self.parts:
            match part:
                case Edges(key):
                    connection[key] = next(following)
                case PageInfo(key, fields, type_name):
                    info = variant.info(found, page)
                    connection[key] = {alias: info.get(name, type_name) for alias, name in fields.items()}
                case TotalCount(key):
                    connection[key] = total
                case TypeName(key, name):
                    connection[key] = name
        return connection

    def _variant(self, run: Run) -> tuple[Variant, Mapping[str, Any]]:
        entity = self.rows.entity
        try:
            given = self.arguments.of(run.variables)
            key = page_shape(given), reach_of(run.actor, entity)
            known = self._variants.get(key)
            if known is None:
                if len(self._variants) >= MOST_VARIANTS:
                    self._variants.clear()
                known = self._variants[key] = self._made(run, given)
        except GraphError as error:
            raise Differently("an argument is wrong") from error
        return known, given

    def _made(self, run: Run, given: Mapping[str, Any]) -> Variant:
        writer = Writer(run.actor)
        reader, entity = writer.reader, self.rows.entity
        page = reader.page(entity, given, max_page(entity), is_root=self.relation is None)
        columns, cursor = self._with_cursor(page.order)
        rows = count = None
        if self.has_rows:
            select = (
                reader.root_page(page, columns, self.rows.joined(writer))
                if self.relation is None
                else reader.children_pages(self.relation, page, writer.keys, columns)
            )
            rows = writer.statement(select)
            run.grown(rows)
        if self.has_count:
            select = (
                reader.root_count(page)
                if self.relation is None
                else reader.children_counts(self.relation, page, writer.keys)
            )
            count = writer.statement(select)
            run.grown(count)
        return Variant(rows, count, page.size, page.backward, page.after is not None, page.before is not None, cursor)

    def _with_cursor(self, order: Keyset) -> tuple[Sequence[Any], Callable[[Any], str]]:
        """The columns to read, with those of the order that are not among them, and what makes a record's cursor."""
        columns, parts = list(self.rows.columns), list[tuple[int, Write | None]]()
        for number, term in enumerate(order.terms):
            element, write = plain_writer(term.column)
            place = self.rows.place_of(term.column) if element.compare(read(term.column)) else None
            if place is None:
                place = self.rows.leading + len(columns)
                columns.append(element.label(f"k{number}"))
            parts.append((place, write))
        signature = order.signature

        def cursor(record: Any) -> str:
            values = (record[place] if write is None else write(record[place]) for place, write in parts)
            return encode_cursor(signature, *values)

        return columns, cursor


def _array(texts: Sequence[bytes]) -> orjson.Fragment:
    return orjson.Fragment(b"[" + b",".join(texts) + b"]")
