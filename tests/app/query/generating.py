"""Queries out of the schema: any of the 55 types, and all that a read can say.

Choices come from a random source that hypothesis seeds, so that a query can be written again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from random import Random
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import orjson
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
)

from app.auth.actor import Actor
from app.graph.fields import GraphField
from app.graph.filtering import _offered
from app.graph.ids import global_id
from app.graph.ordering import OrderDirection, keyset, order_type
from app.graph.registry import ENTITIES, EntityType, PointsTo
from app.graph.scalars import format_datetime

DEEPEST: Final = 4
"""Relations inside each other."""
Samples = Mapping[str, Sequence[Any]]
"""Some stored rows of each type, of both tenants."""


@dataclass
class Query:
    """A query and what goes with it."""

    text: str
    variables: dict[str, Any]
    operation: str | None = None


@dataclass
class Generator:
    """Writes one query."""

    schema: GraphQLSchema
    samples: Samples
    actor: Actor
    random: Random
    variables: dict[str, Any] = field(default_factory=dict)
    definitions: list[str] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)
    _room: int = 60
    _count: int = 0

    def query(self) -> Query:
        """An operation over a few root fields."""
        fields = [self._root() for _ in range(self.random.choice((1, 1, 2, 3)))]
        if self._chance(0.1):
            fields.append(self._aliased("__typename"))
        if self._chance(0.1):
            fields.insert(0, self._aliased("viewer") + " { name kind }")
        header = f"({', '.join(self.definitions)})" if self.definitions else ""
        text = f"query Generated{header} {{ {' '.join(fields)} }} {' '.join(self.fragments)}"
        return Query(text, self.variables)

    def _root(self) -> str:
        random = self.random
        readable = [one for one in ENTITIES.values() if self.actor.may_read(one.name)]
        entity = random.choice(readable if not self._chance(0.03) else list(ENTITIES.values()))
        kind = random.choice(("list", "list", "list", "list", "row", "node", "nodes"))
        if kind == "list":
            return self._aliased(entity.plural) + self._page(entity, 0, root=True)
        if kind == "row":
            selection = self._row(entity, 0)
            return f"{self._aliased(entity.singular)}(id: {self._value(self._id(entity), 'ID!')}) {selection}"
        others = [entity, *random.choices(readable, k=2)]
        if kind == "node":
            return f"{self._aliased('node')}(id: {self._value(self._id(entity), 'ID!')}) {self._any_row(others, 0)}"
        ids = [self._id(random.choice(others)) for _ in range(random.randrange(5))]
        return f"{self._aliased('nodes')}(ids: {self._value(ids, '[ID!]!')}) {self._any_row(others, 0)}"

    # Selections

    def _row(self, entity: EntityType, depth: int) -> str:
        kind = self.schema.type_map[entity.name]
        assert is_object_type(kind)
        return self._selection(kind, entity, depth)

    def _selection(self, kind: GraphQLObjectType, entity: EntityType, depth: int) -> str:
        parts = [self._field(kind, entity, name, depth) for name in self._names(kind, entity, depth)]
        parts = [part for part in parts if part]
        if self._chance(0.15):
            parts.append(self._aliased("__typename"))
        if self._chance(0.12) and parts:
            return f"{{ {self._fragment(kind.name, '{ ' + ' '.join(parts) + ' }')} {self._aliased('id')} }}"
        return f"{{ {' '.join(parts) or 'id'} }}"

    def _names(self, kind: GraphQLObjectType, entity: EntityType, depth: int) -> list[str]:
        simple: list[str] = []
        related: list[str] = []
        for name, one in kind.fields.items():
            definition = one.extensions.get("strawberry-definition")
            plain = name == "id" or (
                isinstance(definition, GraphField) and (definition.of_row is not None or definition.of_sql is not None)
            )
            (simple if plain else related).append(name)
        few = self.random.choices(simple, k=self.random.randrange(1, 6))
        if depth < DEEPEST and self._room > 0 and related:
            few += self.random.choices(related, k=self.random.choice((0, 1, 1, 2)))
        self.random.shuffle(few)
        return few

    def _field(self, kind: GraphQLObjectType, entity: EntityType, name: str, depth: int) -> str:
        self._room -= 1
        one = kind.fields[name]
        result = get_named_type(one.type)
        aliased = self._aliased(name)
        if is_leaf_type(result):
            return aliased + self._directive()
        if result.name == "Node":
            others = [one for one in self.random.choices(list(ENTITIES.values()), k=3) if self.actor.may_read(one.name)]
            return f"{aliased}{self._directive()} {self._any_row(others, depth + 1)}"
        assert is_object_type(result)
        if result.name.endswith("Connection"):
            target = ENTITIES[result.name.removesuffix("Connection")]
            return aliased + self._page(target, depth + 1) if self.actor.may_read(target.name) else ""
        if result.name in ENTITIES:
            if not self.actor.may_read(result.name):
                return ""
            return f"{aliased}{self._directive()} {self._row(ENTITIES[result.name], depth + 1)}"
        return f"{aliased}{self._directive()} {self._json(result)}"

    def _json(self, kind: GraphQLObjectType, depth: int = 0) -> str:
        parts = []
        for name, one in self.random.sample(sorted(kind.fields.items()), k=min(3, len(kind.fields))):
            result = get_named_type(one.type)
            if is_leaf_type(result):
                parts.append(self._aliased(name))
            elif is_object_type(result) and result.name in ENTITIES:
                if self.actor.may_read(result.name):
                    parts.append(f"{self._aliased(name)} {{ id }}")
            elif is_object_type(result) and depth < 3 and not any(arg for arg in one.args):
                parts.append(f"{self._aliased(name)} {self._json(result, depth + 1)}")
        return f"{{ {' '.join(parts) or '__typename'} }}"

    def _any_row(self, entities: Sequence[EntityType], depth: int) -> str:
        parts = [self._aliased("id"), "__typename"]
        for entity in {entity.name: entity for entity in entities}.values():
            if depth < DEEPEST and self._room > 0:
                parts.append(f"... on {entity.name} {self._row(entity, depth)}")
        self.random.shuffle(parts)
        return f"{{ {' '.join(parts)} }}"

    def _fragment(self, kind: str, selection: str) -> str:
        if self._chance(0.5):
            return f"... on {kind}{self._directive()} {selection}"
        if self._chance(0.1):
            return f"...{self._directive()} {selection}"
        name = f"F{len(self.fragments)}"
        self.fragments.append(f"fragment {name} on {kind} {selection}")
        return f"...{name}{self._directive()}"

    def _page(self, entity: EntityType, depth: int, *, root: bool = False) -> str:
        arguments, parts = self._arguments(entity, root=root), []
        random = self.random
        if self._chance(0.9):
            inner = [f"{self._aliased('node')} {self._row(entity, depth)}"]
            if self._chance(0.4):
                inner.append(self._aliased("cursor"))
            if self._chance(0.1):
                inner.append(f"{self._aliased('node')} {{ id }}")
            random.shuffle(inner)
            parts.append(f"{self._aliased('edges')} {{ {' '.join(inner)} }}")
        if self._chance(0.4):
            names = random.sample(["hasNextPage", "hasPreviousPage", "startCursor", "endCursor", "__typename"], k=2)
            parts.append(f"{self._aliased('pageInfo')} {{ {' '.join(map(self._aliased, names))} }}")
        if self._chance(0.25):
            parts.append(self._aliased("totalCount"))
        if self._chance(0.05) or not parts:
            parts.append("__typename")
        random.shuffle(parts)
        return f"{arguments}{self._directive()} {{ {' '.join(parts)} }}"

    # Arguments

    def _arguments(self, entity: EntityType, *, root: bool) -> str:
        random, given = self.random, []
        size = random.choice((0, 1, 2, 3, 5, 5, 8)) if not self._chance(0.02) else random.choice((-1, 5000))
        backward = self._chance(0.25)
        given.append(f"{'last' if backward else 'first'}: {self._value(size, 'Int')}")
        order: list[dict[str, Any]] = []
        if self._chance(0.4):
            order = self._order(entity)
            given.append(f"orderBy: {self._value(order, f'[{entity.name}Order!]')}")
        if self._chance(0.25) and self.samples[entity.name]:
            cursor = self._cursor(entity, order)
            given.append(f"{random.choice(('after', 'before'))}: {self._value(cursor, 'String')}")
        if self._chance(0.45) or (root and entity.default_hours is not None):
            condition = self._filter(entity, 0)
            if entity.default_hours is not None and self._chance(0.9):
                condition["timestamp"] = {"gte": "2020-01-01T00:00:00Z"}
            given.append(f"filter: {self._value(condition, f'{entity.name}Filter')}")
        return f"({', '.join(given)})"

    def _order(self, entity: EntityType) -> list[dict[str, Any]]:
        order_type(entity)
        kind = self.schema.type_map[f"{entity.name}OrderField"]
        assert isinstance(kind, GraphQLEnumType)
        names = self.random.sample(sorted(kind.values), k=min(len(kind.values), self.random.choice((1, 1, 2))))
        return [{"field": _Word(name), "direction": _Word(self.random.choice(("ASC", "DESC")))} for name in names]

    def _cursor(self, entity: EntityType, order: list[dict[str, Any]]) -> str:
        if self._chance(0.05):
            return "bm8gY3Vyc29y"
        kind = self.schema.type_map[f"{entity.name}OrderField"]
        assert isinstance(kind, GraphQLEnumType)
        terms = [
            {"field": SimpleNamespace(value=str(one["field"])), "direction": OrderDirection(str(one["direction"]))}
            for one in order
        ]
        return keyset(entity, terms).cursor(self.random.choice(self.samples[entity.name]))

    def _filter(self, entity: EntityType, depth: int) -> dict[str, Any]:
        random = self.random
        columns, relations = _offered(entity)
        condition: dict[str, Any] = {}
        rows = self.samples[entity.name]
        for name in random.sample(sorted(columns), k=min(len(columns), random.choice((0, 1, 1, 2)))):
            field_name, column = columns[name]
            if field_name in entity.masks and not self._chance(0.3):
                continue
            value = getattr(random.choice(rows), column.name) if rows else None
            made = self._comparison(f"{entity.name}Filter", name, value)
            if made is not None:
                condition[name] = made
        if self._chance(0.15):
            condition["id"] = self._ids([entity])
        if relations and self._chance(0.25):
            name = random.choice(sorted(relations))
            relation = relations[name]
            if isinstance(relation, PointsTo):
                condition[name] = self._ids(random.choices(list(ENTITIES.values()), k=2))
            elif depth < 2:
                condition[name] = self._filter(ENTITIES[relation.target], depth + 1)
        if depth < 2 and self._chance(0.2):
            condition[random.choice(("and", "or"))] = [
                self._filter(entity, depth + 1) for _ in range(random.randrange(3))
            ]
        if depth < 2 and self._chance(0.15):
            condition["not"] = self._filter(entity, depth + 1)
        return condition

    def _ids(self, entities: Sequence[EntityType]) -> dict[str, Any]:
        operator = self.random.choice(("eq", "ne", "in", "notIn", "isNull"))
        if operator == "isNull":
            return {operator: self._chance(0.5)}
        ids = [self._id(self.random.choice(entities)) for _ in range(self.random.randrange(1, 4))]
        return {operator: ids if operator in ("in", "notIn") else ids[0]}

    def _comparison(self, filter_name: str, name: str, value: Any) -> dict[str, Any] | None:
        kind = self.schema.type_map[filter_name]
        assert isinstance(kind, GraphQLInputObjectType)
        comparator = get_named_type(kind.fields[name].type)
        assert isinstance(comparator, GraphQLInputObjectType)
        operator = self.random.choice(sorted(comparator.fields))
        if operator == "isNull":
            return {operator: self._chance(0.5)}
        if value is None or value == []:
            return {"isNull": self._chance(0.5)} if "isNull" in comparator.fields else None
        given = _given(value[0] if isinstance(value, list) else value)
        leaf = get_named_type(comparator.fields[operator].type)
        if leaf.name == "Seq":
            given = str(given)
        if isinstance(leaf, GraphQLEnumType):
            given = _Word(given)
        if operator == "startsWith":
            given = given[: self.random.randrange(0, 4)]
        takes_list = is_list_type(get_nullable_type(comparator.fields[operator].type))
        return {operator: [given] * self.random.randrange(3) if takes_list else given}

    def _id(self, entity: EntityType) -> str:
        rows = self.samples[entity.name]
        if not rows or self._chance(0.03):
            return self.random.choice(("nonsense", global_id(entity.prefix, UUID(int=7))))
        return global_id(entity.prefix, self.random.choice(rows).id)

    # Words

    def _value(self, value: Any, kind: str) -> str:
        """A literal, or a variable that holds the value, sometimes as its default."""
        if self._chance(0.4):
            name = f"v{len(self.definitions)}"
            if self._chance(0.2):
                self.definitions.append(f"${name}: {kind} = {_literal(value)}")
            else:
                self.definitions.append(f"${name}: {kind}")
                self.variables[name] = _plain(value)
            return f"${name}"
        return _literal(value)

    def _directive(self) -> str:
        if not self._chance(0.06):
            return ""
        name = self.random.choice(("skip", "include"))
        return f" @{name}(if: {self._value(self._chance(0.5), 'Boolean!')})"

    def _aliased(self, name: str) -> str:
        if not self._chance(0.12) or self._count > 60:
            # The same field may stand here twice with other arguments: an alias for all but leaves.
            return name if name in _LEAVES else self._with_alias(name)
        return self._with_alias(name)

    def _with_alias(self, name: str) -> str:
        self._count += 1
        return f"a{self._count}: {name}" if self._count <= 90 else name

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability


_LEAVES: Final = {
    "id",
    "__typename",
    "cursor",
    "totalCount",
    "hasNextPage",
    "hasPreviousPage",
    "startCursor",
    "endCursor",
}


class _Word(str):
    """The name of an enum's value."""


def _given(value: Any) -> Any:
    match value:
        case datetime():
            return format_datetime(value)
        case Decimal():
            return float(value)
        case enum.Enum():
            return _Word(value.value)
    return value


def _plain(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS))


def _literal(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key}: {_literal(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_literal, value)) + "]"
        case _Word():
            return str(value)
    return orjson.dumps(value).decode()


def query_of(schema: GraphQLSchema, samples: Samples, actor: Actor) -> Callable[[Random], Query]:
    """What writes a query for the actor, by the choices of a random source."""
    return lambda random: Generator(schema, samples, actor, random).query()
