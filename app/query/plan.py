"""Plans: what a selection reads, level by level, and how the levels' rows become one answer.

A level is one statement. What hangs on its rows is read for all of them at once: to-many relations by the parents' ids,
to-one relations by their distinct keys, each row written once and put in its places as bytes. To-one relations of a
root's rows come along in the root's own statement instead (see `selection`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeAlias

import orjson
from graphql import FieldNode, GraphQLField, VariableNode, Visitor, visit
from graphql.execution.values import VariableValues, get_argument_values
from msgspec import Struct

from app.auth.actor import Actor
from app.auth.scope import TENANT_WIDE
from app.graph.connection import max_page
from app.graph.errors import GraphError
from app.graph.ids import key_of
from app.graph.ordering import Keyset, encode_cursor
from app.graph.paging import page_shape
from app.graph.registry import EntityType, Through, ToMany
from app.graph.roots import MAX_NODES, entity_of
from app.query.columns import Differently, Write, plain_writer
from app.query.json_values import JsonValue
from app.query.rows import Rows, records_by
from app.query.sharing import Sharing
from app.query.statements import Statement, Writer

MOST_VARIANTS: Final = 64
"""Shapes of arguments that one list of a plan keeps statements for."""

Written: TypeAlias = Mapping[Any, Any] | Sequence[Mapping[bytes, Any]]
"""What a child made, by what its parents' records have of it."""


class Run(Struct, frozen=True):
    """One execution of a plan."""

    actor: Actor
    variables: VariableValues
    fetch: Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
    observe: Callable[[str, int], None]
    grown: Callable[[Statement], None]
    """Told of each statement that is added to the plan."""
    sharing: Sharing | None = None
    """Where look-ups of other executions are made along with this one's, which is all that it reads."""

    async def look_up(self, statement: Statement, place: int, keys: Collection[bytes]) -> Sequence[Any]:
        """The records of these keys, which each has at `place`."""
        if self.sharing is None:
            return await self.records(statement, keys=keys)
        arguments = statement.arguments(self.actor, {}, [key.hex() for key in keys])
        return await self.sharing.records(self.actor.tenant_id, statement, arguments, place, keys, self.fetch)

    async def records(
        self, statement: Statement, given: Mapping[str, Any] | None = None, keys: Iterable[bytes] = ()
    ) -> Sequence[Any]:
        """The records of a statement. Raises Differently where an argument is wrong."""
        try:
            arguments = statement.arguments(self.actor, given or {}, [key.hex() for key in keys])
        except GraphError as error:
            raise Differently("an argument is wrong") from error
        return await self.fetch(statement.text, arguments)


class Child(Protocol):
    """What hangs on the rows of a level."""

    async def load(self, run: Run, records: Sequence[Any]) -> Written:
        """Read it for all of these records, and write it."""
        ...


async def children_of(rows: Rows, run: Run, records: Sequence[Any]) -> list[Written]:
    """What hangs on the records, child by child."""
    if not records:
        return [{} for _ in rows.children]
    return [await child.load(run, records) for child in rows.children]


def reach_of(actor: Actor, entity: EntityType) -> Hashable:
    """Which kinds of place the caller's grant for a type names: the ids are parameters (decision 29)."""
    reach = actor.read_scope(entity.name)
    if reach is TENANT_WIDE:
        return None
    return bool(reach.projects), bool(reach.environments), bool(reach.pairs), bool(reach.instances)


# --- Rows by their ids ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Single:
    """Rows of one type by id; `scoped` for look-ups from outside, which the caller's grants narrow."""

    rows: Rows
    expression: str
    scoped: bool
    id_place: int
    _statements: dict[Hashable, Statement] = field(default_factory=dict)
    _write: Callable[..., list[Any]] | None = None

    @property
    def entity(self) -> EntityType:
        """The type."""
        return self.rows.entity

    async def load(self, run: Run, keys: Collection[bytes]) -> dict[bytes, Any]:
        """The rows of these ids as JSON; an id without a row that may be seen is left out."""
        values = await self.values(run, keys)
        return {key: orjson.Fragment(orjson.dumps(value)) for key, value in values.items()}

    async def values(self, run: Run, keys: Collection[bytes]) -> dict[bytes, Any]:
        """The rows of these ids, for who puts each in one place only."""
        found = await run.look_up(self.statement(run), self.id_place, keys)
        return self.written(run, found, await children_of(self.rows, run, found))

    def written(self, run: Run, found: Sequence[Any], children: Sequence[Written] = ()) -> dict[bytes, Any]:
        """These records as JSON, by id."""
        if self._write is None:
            self._write = self.rows.writing(self.expression)
        written = self._write(found, run.actor, None, *children)
        place = self.id_place
        return {record[place]: value for record, value in zip(found, written, strict=True)}

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


# --- Lists with pages -------------------------------------------------------------------------------------------------


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
    definition: GraphQLField
    node: FieldNode
    key_place: int = 0
    _variants: dict[Hashable, Variant] = field(default_factory=dict)
    _writers: list[Callable[..., list[Any]]] | None = None

    def __post_init__(self) -> None:
        self._constant = None if has_variables(self.node) else get_argument_values(self.definition, self.node)
        self.has_rows = any(isinstance(part, Edges | PageInfo) for part in self.parts)
        self.has_count = any(isinstance(part, TotalCount) for part in self.parts)

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
        if self._writers is None:
            self._writers = [self.rows.writing(part.expression) for part in self.parts if isinstance(part, Edges)]
        edges = [write(records, run.actor, variant.cursor, *children) for write in self._writers]
        made, start = [], 0
        for found, page, total in zip(groups, pages, totals, strict=True):
            end = start + len(page)
            made.append(self._connection(variant, found, page, [one[start:end] for one in edges], total))
            start = end
        return made

    def _connection(
        self, variant: Variant, found: Sequence[Any], page: Sequence[Any], edges: list[list[Any]], total: int
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
            given = self._constant
            if given is None:
                given = get_argument_values(self.definition, self.node, run.variables)
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
        """The columns to read, with those of the order behind them, and what makes a record's cursor."""
        columns, parts = list(self.rows.columns), list[tuple[int, Write | None]]()
        for number, term in enumerate(order.terms):
            element, write = plain_writer(term.column)
            parts.append((self.rows.leading + len(columns), write))
            columns.append(element.label(f"k{number}"))
        signature = order.signature

        def cursor(record: Any) -> str:
            values = (record[place] if write is None else write(record[place]) for place, write in parts)
            return encode_cursor(signature, *values)

        return columns, cursor


# --- Roots ------------------------------------------------------------------------------------------------------------


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
    definition: GraphQLField
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
            text = arguments_of(self.definition, self.node, run)["id"]
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
    definition: GraphQLField
    node: FieldNode
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
        given = arguments_of(self.definition, self.node, run)
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
        return len(compiled) > 1 or any(root.needs_snapshot(run) for root in compiled)

    async def data(self, run: Run) -> dict[str, Any]:
        """The answer's data, with None in the place of what the reference way answers."""
        data: dict[str, Any] = {}
        for key, root in self.roots.items():
            data[key] = root if root is None or isinstance(root, str) else await root.value(run)
        return data


def arguments_of(definition: GraphQLField, node: FieldNode, run: Run) -> Mapping[str, Any]:
    """The arguments of a field."""
    return get_argument_values(definition, node, run.variables)


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def enter_variable(self, _node: VariableNode, *_rest: Any) -> None:
        self.found = True


def has_variables(node: FieldNode) -> bool:
    """Whether an argument of the field has a variable in it."""
    visitor = _Variables()
    for argument in node.arguments or ():
        visit(argument, visitor)
    return visitor.found
