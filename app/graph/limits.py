"""How much an operation may ask for, found before it runs and before it is even validated.

One walk over the document measures depth, aliases, directives, repeated fields, introspection and cost. Each fragment
is measured once, however often it is spread, so the walk is linear in the document (traps 2, 3 and 6): the nested
fragments that take other servers minutes take it microseconds. It runs before graphql-core's own validation, whose
cost it bounds, and so it meets documents that are wrong: what it cannot make sense of counts nothing, and validation
says what is wrong with it.

The cost is the number of rows that an operation may make the gateway read, at most:

- a scalar costs 0, an object 1;
- a connection costs 1 and, for each row of its page, 1 and what is selected of the row: ``1 + n * (1 + …)``, where
  ``n`` is ``first`` or ``last`` as the client gives it, else `Limits.default_page`;
- a plain list costs what it holds times the length of its list argument (``nodes(ids:)``), else what the field says
  (`LIST_SIZE`), else `Limits.default_list`;
- of fragments that exclude each other (``... on Task``, ``... on Run``) the dearest counts;
- ``@skip`` and ``@include`` are not looked at: what may be asked for counts as asked for.

Page sizes may be variables, so a cost is a sum (`app.graph.pricing`) that is evaluated for each request.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
    get_introspection_query,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_composite_type,
    is_list_type,
    is_object_type,
    parse,
)

from app.graph.errors import GraphError, OperationTooComplex
from app.graph.introspection import objects_per_list
from app.graph.pricing import LIST_SIZE, Cost, Prices, Size, Sum, size_of

MAX_INTROSPECTION_DEPTH: Final = 24
"""Fields inside ``__schema``; the standard introspection query has 15."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits on one operation; each is a setting, and each is told to the client who passes it."""

    max_tokens: int = 2_000
    """Tokens of a document, counted while it is parsed. As many comments are allowed."""
    max_depth: int = 25
    """Fields inside each other; a connection is three of them (itself, ``edges``, ``node``)."""
    max_aliases: int = 100
    max_directives: int = 100
    max_repeats: int = 50
    """The same response name in one selection set, which makes validation quadratic."""
    max_cost: int = 50_000
    """Rows; see the module's text for how they are counted."""
    default_page: int = 50
    """Rows of a connection that is asked for without ``first`` and ``last`` (api.md, Lists)."""
    default_list: int = 10
    """Rows of a list that has no pages."""
    max_errors: int = 50
    """Validation errors told at once."""
    timeout: float = 30.0
    """Seconds that a query or mutation may take."""


Path: TypeAlias = "tuple[str, Path | None]"
"""Response keys as linked pairs, so that putting one in front costs nothing."""


@dataclass(frozen=True, slots=True)
class TypeUse:
    """Where an operation first reaches a type."""

    node: Node
    """The field that returns it, or the fragment that asks for it."""
    keys: Path | None

    @property
    def path(self) -> list[str | int]:
        """The response path, without list indexes."""
        names: list[str | int] = []
        keys = self.keys
        while keys is not None:
            names.append(keys[0])
            keys = keys[1]
        return names


@dataclass(slots=True)
class Measures:
    """What a selection, and so an operation, asks for."""

    depth: int = 0
    introspection_depth: int = 0
    aliases: int = 0
    directives: int = 0
    repeats: int = 0
    introspection: float = 0.0
    """Objects of the schema's description, by the schema's own averages."""
    rows: Cost = 0
    """Cost of what does not depend on the page of the connection that stands around this selection."""
    paged: Cost = 0
    """Cost for each row of that page."""
    types: dict[str, TypeUse] = field(default_factory=dict)
    """Every composite type that is reached, by name."""

    def include(self, part: Measures, key: str | None = None) -> None:
        """Take over what a part asks for (costs apart), under a response key if it is a field's."""
        below = 0 if key is None else 1
        self.depth = max(self.depth, part.depth + below)
        self.introspection_depth = max(self.introspection_depth, part.introspection_depth)
        self.aliases = min(self.aliases + part.aliases, _MANY)
        self.directives = min(self.directives + part.directives, _MANY)
        self.repeats = max(self.repeats, part.repeats)
        self.introspection = min(self.introspection + part.introspection, _MANY)
        for name, use in part.types.items():
            if name not in self.types:
                self.types[name] = use if key is None else TypeUse(use.node, (key, use.keys))


_MANY: Final = 10**9


class Meter:
    """Measures documents against one schema."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self.schema = schema
        self.limits = limits
        self.per_list: Final = objects_per_list(schema)
        standard = parse(get_introspection_query(input_value_deprecation=True))
        measured, _ = self.measure(standard)
        # Whatever a tool asks beyond the standard query fits; the products of lists by lists do not.
        self.max_introspection: Final = 2 * math.ceil(next(iter(measured.values())).introspection)

    def measure(self, document: DocumentNode) -> tuple[dict[str | None, Measures], Prices]:
        """The measures of each operation of the document by its name, and the prices that their costs refer to."""
        walk = _Walk(self, document)
        operations: dict[str | None, Measures] = {}
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                root = self.schema.get_root_type(definition.operation)
                measures = walk.selection(definition.selection_set, root)
                measures.directives += len(definition.directives or ())
                operations[definition.name.value if definition.name else None] = measures
        return operations, walk.prices

    def refusals(self, measures: Measures) -> Iterator[GraphError]:
        """What an operation passes of the limits that do not depend on its variables."""
        limits = self.limits
        for measure, amount, limit, told in (
            ("depth", measures.depth, limits.max_depth, "is {} fields deep"),
            ("depth", measures.introspection_depth, MAX_INTROSPECTION_DEPTH, "asks {} fields deep into the schema"),
            ("aliases", measures.aliases, limits.max_aliases, "has {} aliases"),
            ("directives", measures.directives, limits.max_directives, "has {} directives"),
            ("repeats", measures.repeats, limits.max_repeats, "selects the same field {} times in one place"),
            (
                "introspection",
                math.ceil(measures.introspection),
                self.max_introspection,
                "asks for some {} parts of the schema",
            ),
        ):
            if amount > limit:
                message = f"The operation {told.format(amount)}; at most {limit} are allowed."
                yield OperationTooComplex(amount, limit, measure, message)


class _Walk:
    """One document's walk: the fragments measured so far, and the sums that its costs are made of."""

    def __init__(self, meter: Meter, document: DocumentNode) -> None:
        self._meter = meter
        self._schema = meter.schema
        self._page = Size(meter.limits.default_page)
        self.prices = Prices()
        self._fragments: dict[str, tuple[Measures, GraphQLNamedType | None]] = {}
        definitions = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        for definition in _leaves_first(definitions):
            condition = self._composite(definition.type_condition.name.value)
            measures = self.selection(definition.selection_set, condition)
            measures.directives += len(definition.directives or ())
            self._fragments[definition.name.value] = measures, condition

    def selection(
        self, selection_set: SelectionSetNode, parent: GraphQLNamedType | None, names: dict[str, int] | None = None
    ) -> Measures:
        """What a selection set asks for. Recursive only as deep as the parser lets one definition nest.

        ``names`` counts response names, shared with the inline fragments of the same set.
        """
        total = Measures()
        rows, paged = self.prices.sum(), self.prices.sum()
        exclusive: dict[str, Sum] = {}
        names = {} if names is None else names
        for node in selection_set.selections:
            total.directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                self._field(node, parent, total, rows, paged)
                key = (node.alias or node.name).value
                names[key] = count = names.get(key, 0) + 1
                total.repeats = max(total.repeats, count)
                continue
            part, condition = self._fragment(node, parent, names)
            total.include(part)
            if condition is not None and condition is not parent:
                total.types.setdefault(condition.name, TypeUse(node, None))
            if is_object_type(condition) and is_abstract_type(parent):
                exclusive.setdefault(condition.name, self.prices.sum()).add(part.rows)
            else:
                rows.add(part.rows)
            paged.add(part.paged)
        rows.add_dearest([cost.close() for cost in exclusive.values()])
        total.rows, total.paged = rows.close(), paged.close()
        return total

    def _fragment(
        self, node: Node, parent: GraphQLNamedType | None, names: dict[str, int]
    ) -> tuple[Measures, GraphQLNamedType | None]:
        if isinstance(node, FragmentSpreadNode):
            # One that is unknown, or closes a cycle, is not there; validation refuses it.
            return self._fragments.get(node.name.value, (Measures(), None))
        assert isinstance(node, InlineFragmentNode)  # noqa: S101 - the third and last kind of selection
        condition = self._composite(node.type_condition.name.value) if node.type_condition else parent
        return self.selection(node.selection_set, condition, names), condition

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, total: Measures, rows: Sum, paged: Sum) -> None:
        definition = self._definition(parent, node.name.value)
        named = get_named_type(definition.type) if definition else None
        result = named if is_composite_type(named) else None
        inner = self.selection(node.selection_set, result) if node.selection_set else Measures()
        key = (node.alias or node.name).value
        total.aliases += node.alias is not None
        if parent is not None and result is not None:
            if result.name.startswith("__"):
                self._describe(node, parent, inner, total)
                return
            total.types.setdefault(result.name, TypeUse(node, (key, None)))
        total.include(inner, key)
        if definition is not None and result is not None and parent is not None:
            self._price(node, definition, parent, result, inner, rows, paged)

    def _describe(self, node: FieldNode, parent: GraphQLNamedType, inner: Measures, total: Measures) -> None:
        """Count a field that returns a part of the schema's description: it reads no row and has its own limits."""
        objects = self._meter.per_list.get((parent.name, node.name.value), 1.0) * (1 + inner.introspection)
        inner.introspection = objects
        inner.introspection_depth += 1
        inner.depth = 0
        inner.types = {}
        total.include(inner)

    def _price(
        self,
        node: FieldNode,
        definition: GraphQLField,
        parent: GraphQLNamedType,
        result: GraphQLNamedType,
        inner: Measures,
        rows: Sum,
        paged: Sum,
    ) -> None:
        name, is_list = node.name.value, is_list_type(get_nullable_type(definition.type))
        if is_list and name in ("edges", "nodes") and _is_connection(parent):
            paged.add(1)
            paged.add(inner.rows)
        elif _is_connection(result) and not is_list:
            rows.add(1)
            rows.add(inner.rows)
            rows.add(inner.paged, size_of(node, ("first", "last"), self._page.default))
        elif (name == "node" and _is_edge(parent)) or result.name == "PageInfo":
            rows.add(inner.rows)  # the edge has paid for the row, and page information is none
        else:
            each = self.prices.sum()
            each.add(1)
            each.add(inner.rows)
            each.add(inner.paged, self._page)
            limit = _longest(definition, self._meter.limits.default_list)
            rows.add(each.close(), size_of(node, ("first", "last", "ids"), limit) if is_list else Size(1))

    def _definition(self, parent: GraphQLNamedType | None, name: str) -> GraphQLField | None:
        if parent is None or not (is_composite_type(parent)):
            return None
        if not hasattr(parent, "fields") and name != "__typename":
            return None
        return self._schema.get_field(parent, name)

    def _composite(self, name: str) -> GraphQLNamedType | None:
        type_ = self._schema.type_map.get(name)
        return type_ if is_composite_type(type_) else None


def _longest(definition: GraphQLField, default: int) -> int:
    field = definition.extensions.get("strawberry-definition")
    longest: int = field.metadata.get(LIST_SIZE, default) if field else default
    return longest


def _is_connection(type_: GraphQLNamedType) -> bool:
    return is_object_type(type_) and "edges" in type_.fields and "pageInfo" in type_.fields


def _is_edge(type_: GraphQLNamedType) -> bool:
    return is_object_type(type_) and "node" in type_.fields and "cursor" in type_.fields


def _leaves_first(definitions: Mapping[str, FragmentDefinitionNode]) -> Iterator[FragmentDefinitionNode]:
    """Each fragment after those that it spreads, without recursion: a chain may be hundreds long.

    In a cycle the fragment that was met first comes last.
    """
    met: set[str] = set()
    for first in definitions:
        if first in met:
            continue
        met.add(first)
        stack: list[tuple[str, Iterator[str]]] = [(first, _spreads(definitions[first]))]
        while stack:
            name, spreads = stack[-1]
            following = next((spread for spread in spreads if spread in definitions and spread not in met), None)
            if following is None:
                stack.pop()
                yield definitions[name]
            else:
                met.add(following)
                stack.append((following, _spreads(definitions[following])))


def _spreads(definition: FragmentDefinitionNode) -> Iterator[str]:
    pending: list[Any] = [definition.selection_set]
    while pending:
        for node in pending.pop().selections:
            if isinstance(node, FragmentSpreadNode):
                yield node.name.value
            elif node.selection_set:
                pending.append(node.selection_set)
