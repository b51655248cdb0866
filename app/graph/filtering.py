"""Filters: an input per type, derived from what the type's table has an index for.

Logic is two-valued: a row either meets a condition or it does not, null included. `ne` and `not` therefore find rows
whose column is null.
"""

import enum
from collections.abc import Callable, Hashable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Float,
    Numeric,
    Text,
    Uuid,
    and_,
    any_,
    false,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.types import TypeEngine

from app.graph.comparators import ID, LISTS, comparator, input_field
from app.graph.errors import BadUserInput
from app.graph.fields import list_of, optional
from app.graph.ids import parse_global_id, parse_id_of
from app.graph.making import create_type
from app.graph.ordering import indexed_columns
from app.graph.registry import ENTITIES, PREFIXES, TYPES, EntityType, Named, PointsTo, ToOne, camel
from db.ids import first_id_after, first_id_at

MAX_FILTER_DEPTH: Final = 12
"""Levels of `and`, `or`, `not` and related filters inside each other."""
MAX_FILTER_VALUES: Final = 1_000
"""Entries of one `in` or `notIn`."""

Condition: TypeAlias = ColumnElement[bool]


def filterable_columns(entity: EntityType) -> dict[str, Column[Any]]:
    """Field name -> column, for the columns that an index begins with and that the type shows as they are."""
    shown = {column.name: name for name, column in entity.columns.items()}
    found = {entity.clock: entity.table.c[entity.clock]}
    lists = [
        column
        for one in entity.table.indexes
        if one.dialect_options["postgresql"]["using"] == "gin"
        for column in one.columns
        if isinstance(column.type, ARRAY)
    ]
    for column in (*indexed_columns(entity.table), *lists):
        if column.name in shown and column.name != "id" and not column.info.get("references"):
            found[shown[column.name]] = column
    return found


def filterable_relations(entity: EntityType) -> dict[str, ToOne | PointsTo]:
    """Field name -> relation, for the keys that an index begins with."""
    indexed = {column.name for column in indexed_columns(entity.table)}
    return {
        name: one
        for name, one in entity.relations.items()
        if (isinstance(one, ToOne) and one.column in indexed)
        or (isinstance(one, PointsTo) and ({one.id_column, one.entity_column} & indexed))
    }


def filter_type(entity: EntityType) -> Any:
    """The annotation of the entity's `filter` argument; makes the types on first use."""
    name = f"{entity.name}Filter"
    if name not in TYPES:
        TYPES[name] = object  # a name being made: related filters may refer back to it
        itself = Named(name)
        fields = [input_field("id", ID.annotation(), "Which rows, by global id.")]
        for field_name, column in filterable_columns(entity).items():
            needs = entity.masks[field_name].permission if field_name in entity.masks else None
            note = f" Needs `{needs}`." if needs else ""
            fields.append(input_field(camel(field_name), comparator(column).annotation(), f"{column.doc}{note}"))
        for field_name, relation in filterable_relations(entity).items():
            if isinstance(relation, ToOne):
                related = ENTITIES[relation.target]
                doc = entity.table.c[relation.column].doc
                fields.append(input_field(camel(field_name), filter_type(related), f"{doc} Meets this."))
            else:
                fields.append(
                    input_field(camel(field_name), ID.annotation(), "The row that it points to, of any type.")
                )
        fields += [
            input_field("and", optional(list_of(itself)), "Rows that meet all of these."),
            input_field(
                "or", optional(list_of(itself)), "Rows that meet one of these; of none where the list is empty."
            ),
            input_field("not", optional(itself), "Rows that do not meet this."),
        ]
        TYPES[name] = create_type(
            name,
            fields,
            is_input=True,
            description=f"Conditions on rows of type {entity.name}; all that are given must hold.",
        )
    return optional(Named(name))


class Spot(NamedTuple):
    """A place inside a list's arguments: as keys to find its value again, and as text to blame it by."""

    keys: tuple[str | int, ...]
    name: str

    def at(self, key: str) -> "Spot":
        """A key of the object that stands here."""
        return Spot((*self.keys, key), f"{self.name}.{key}")

    def item(self, position: int) -> "Spot":
        """An entry of the list that stands here."""
        return Spot((*self.keys, position), f"{self.name}[{position}]")

    def of(self, arguments: Mapping[str, Any]) -> Any:
        """The value that stands here."""
        found: Any = arguments
        for key in self.keys:
            found = found[key]
        return found


FILTER: Final = Spot(("filter",), "filter")

Parse: TypeAlias = Callable[[Any], Any]
"""Makes what is stored of what is given; raises BadUserInput."""
Bind: TypeAlias = Callable[[Spot, Parse, TypeEngine[Any]], ColumnElement[Any]]
"""Binds what a function makes of the value at a spot, as a parameter of this type. What the function raises passes."""


class Filter:
    """Turns the value of a `filter` argument into conditions.

    Which conditions come out, and in which order they bind their values, depends on the argument's `shape` alone: so
    one statement serves every argument of that shape.
    """

    def __init__(
        self,
        known: Callable[[EntityType], list[Condition]],
        can: Callable[[str], bool],
        need: Callable[[str], None],
        bind: Bind,
    ) -> None:
        """`known` says which rows of a type the caller may know of; `need` refuses what `can` says they may not."""
        self._known = known
        self._can = can
        self._need = need
        self._bind = bind
        self.names_clock = False
        """Whether some condition was on the clock of the list's own type."""

    def conditions(self, entity: EntityType, value: Mapping[str, Any] | None) -> list[Condition]:
        """The conditions; BAD_USER_INPUT names the part of the argument that is wrong."""
        return list(self._conditions(entity, value or {}, FILTER, 0))

    def _conditions(self, entity: EntityType, value: Mapping[str, Any], spot: Spot, depth: int) -> Iterator[Condition]:
        if depth > MAX_FILTER_DEPTH:
            message = f"`{spot.name}` is nested more than {MAX_FILTER_DEPTH} levels deep. Flatten it."
            raise BadUserInput(message, "filter")
        columns, relations = _offered(entity)
        for name, inner in value.items():
            here = spot.at(name)
            if inner is None:
                raise BadUserInput(f"`{here.name}` is null. Leave it out, or ask with `isNull`.", here.name)
            if name in ("and", "or"):
                parts = [_all(self._conditions(entity, one, here.item(i), depth + 1)) for i, one in enumerate(inner)]
                yield (
                    and_(*parts)
                    if name == "and" and parts
                    else or_(*parts)
                    if parts
                    else not_(false())
                    if name == "and"
                    else false()
                )
            elif name == "not":
                yield _all(self._conditions(entity, inner, here, depth + 1)).is_not(True)
            elif name == "id":
                yield from self._compare(entity.table.c.id, inner, here, _id_of(entity, here.name))
            elif name in columns:
                field_name, column = columns[name]
                if field_name in entity.masks:
                    self._need(entity.masks[field_name].permission)
                if column.name == entity.clock:
                    self.names_clock = self.names_clock or depth == 0
                    yield from self._by_clock(entity, inner, here)
                elif self._is_veiled(entity, column):
                    yield from self._compare_veiled(entity, column, inner, here)
                else:
                    yield from self._compare(column, inner, here)
            else:
                yield self._related(entity, relations[name], inner, here, depth)

    def _related(
        self, entity: EntityType, relation: ToOne | PointsTo, value: Mapping[str, Any], spot: Spot, depth: int
    ) -> Condition:
        if isinstance(relation, PointsTo):
            return _all(self._points_to(entity, relation, value, spot))
        target = ENTITIES[relation.target]
        key = entity.table.c[relation.column]
        if value.keys() == {"id"} and value["id"] is not None:  # the key itself answers
            here = spot.at("id")
            return _all(self._compare(key, value["id"], here, _id_of(target, here.name)))
        rows = select(target.table.c.id).where(*self._known(target), *self._conditions(target, value, spot, depth + 1))
        return key.in_(rows)

    def _compare(
        self, column: Column[Any], value: Mapping[str, Any], spot: Spot, parse: Parse | None = None
    ) -> Iterator[Condition]:
        for name, inner in value.items():
            if inner is None:
                here = spot.at(name)
                raise BadUserInput(f"`{here.name}` is null. Leave it out, or ask with `isNull`.", here.name)
            yield self._comparison(column, name, inner, spot, parse or _stored(column))

    def _is_veiled(self, entity: EntityType, column: Column[Any]) -> bool:
        return entity.hiding is not None and column.name in entity.hideable and not self._can(entity.hiding.permission)

    def _compare_veiled(
        self, entity: EntityType, column: Column[Any], value: Mapping[str, Any], spot: Spot
    ) -> Iterator[Condition]:
        """A value that its row hides meets what null would meet, so that nobody finds it by asking (PII-4)."""
        assert entity.hiding is not None  # noqa: S101 - asked before
        is_named = entity.hiding.named(entity.table, column.name)
        for name, inner in value.items():
            (found,) = self._compare(column, {name: inner}, spot)
            is_met = name in ("ne", "notIn") or (name == "isNull" and inner)
            yield or_(found, is_named) if is_met else and_(found, not_(is_named))

    def _comparison(self, column: Column[Any], operator: str, value: Any, spot: Spot, parse: Parse) -> Condition:
        def several(given: list[Any]) -> list[Any]:
            return [parse(each) for each in _bounded(given, spot.name)]

        here = spot.at(operator)
        if operator == "isNull":
            return column.is_(None) if value else column.is_not(None)
        if operator in LISTS:
            found = column == any_(self._bind(here, several, ARRAY(column.type)))
            return found if operator == "in" else found.is_not(True)
        if operator == "contains":
            return column.contains(self._bind(here, lambda given: [parse(given)], column.type))
        bound = self._bind(here, parse, column.type)
        match operator:
            case "eq":
                return column == bound
            case "ne":
                return column.is_distinct_from(bound) if column.nullable else column != bound
            case "lt":
                return column < bound
            case "lte":
                return column <= bound
            case "gt":
                return column > bound
            case "gte":
                return column >= bound
            case "startsWith":  # as a range, which a btree answers in the C collation that sorted texts have
                return and_(column >= bound, column < func.concat(bound, "\U0010ffff"))
        raise TypeError(f"No comparison {operator!r}.")

    def _points_to(
        self, entity: EntityType, relation: PointsTo, value: Mapping[str, Any], spot: Spot
    ) -> Iterator[Condition]:
        kind, key = entity.table.c[relation.entity_column], entity.table.c[relation.id_column]
        words = {name: word for word, name in (relation.names or {}).items()}

        def word_of(text: str) -> str:
            prefix, _ = parse_global_id(text, spot.name)
            name = PREFIXES[prefix].name if prefix in PREFIXES else ""
            return words.get(name, "") if relation.names is not None else name

        def one(here: Spot) -> Condition:
            # What may not stand here has no word, and no row has the empty one.
            word = self._bind(here, word_of, Text())
            return and_(kind == word, key == self._bind(here, lambda text: parse_global_id(text, spot.name)[1], Uuid()))

        for name, inner in value.items():
            here = spot.at(name)
            if inner is None:
                raise BadUserInput(f"`{here.name}` is null. Leave it out, or ask with `isNull`.", spot.name)
            match name:
                case "eq":
                    yield one(here)
                case "ne":
                    yield one(here).is_not(True)
                case "in":
                    yield or_(false(), *(one(here.item(i)) for i, _ in enumerate(_bounded(inner, spot.name))))
                case "notIn":
                    each = (one(here.item(i)) for i, _ in enumerate(_bounded(inner, spot.name)))
                    yield or_(false(), *each).is_not(True)
                case "isNull":
                    yield key.is_(None) if inner else key.is_not(None)

    def _by_clock(self, entity: EntityType, value: Mapping[str, Any], spot: Spot) -> Iterator[Condition]:
        """Ranges of time as ranges of ids, which carry it to the millisecond: the primary key is the index."""
        key = entity.table.c.id

        def first_at(here: Spot) -> ColumnElement[Any]:
            return self._bind(here, first_id_at, Uuid())

        def first_after(here: Spot) -> ColumnElement[Any]:
            return self._bind(here, first_id_after, Uuid())

        def at(here: Spot) -> Condition:
            return and_(key >= first_at(here), key < first_after(here))

        for name, inner in value.items():
            here = spot.at(name)
            if inner is None:
                raise BadUserInput(f"`{here.name}` is null. Leave it out.", spot.name)
            match name:
                case "gte":
                    yield key >= first_at(here)
                case "gt":
                    yield key >= first_after(here)
                case "lt":
                    yield key < first_at(here)
                case "lte":
                    yield key < first_after(here)
                case "eq":
                    yield at(here)
                case "ne":
                    yield not_(at(here))
                case "in" | "notIn":
                    times = [at(here.item(i)) for i, _ in enumerate(_bounded(inner, spot.name))]
                    yield or_(false(), *times) if name == "in" else not_(or_(false(), *times))
                case "isNull":
                    yield false() if inner else true()


def shape(value: Any) -> Hashable:
    """What of a filter's value decides which conditions it becomes: everything but the values that are bound."""
    if isinstance(value, dict):
        return tuple((key, shape(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(shape, value)) if value and isinstance(value[0], dict) else (len(value), None in value)
    return value if value is None or isinstance(value, bool) else ...


def _offered(entity: EntityType) -> tuple[dict[str, tuple[str, Column[Any]]], dict[str, ToOne | PointsTo]]:
    if entity.name not in _OFFERED:
        columns = {camel(name): (name, column) for name, column in filterable_columns(entity).items()}
        _OFFERED[entity.name] = columns, {camel(n): r for n, r in filterable_relations(entity).items()}
    return _OFFERED[entity.name]


_OFFERED: Final[dict[str, tuple[dict[str, tuple[str, Column[Any]]], dict[str, ToOne | PointsTo]]]] = {}


def _all(conditions: Iterator[Condition]) -> Condition:
    return and_(true(), *conditions)


def _id_of(entity: EntityType, where: str) -> Parse:
    return lambda text: parse_id_of(entity.prefix, entity.name, text, where)


def _stored(column: Column[Any]) -> Parse:
    is_money = isinstance(column.type, Numeric) and not isinstance(column.type, Float)

    def parse(value: Any) -> Any:
        if isinstance(value, str) and not isinstance(value, enum.Enum) and "\0" in value:
            raise BadUserInput("A text with a NUL character cannot be stored, so nothing has it.", column.name)
        return Decimal(repr(value)) if is_money and isinstance(value, float) else value

    return parse


def _bounded(values: list[Any], where: str) -> list[Any]:
    if len(values) > MAX_FILTER_VALUES:
        raise BadUserInput(f"`{where}` lists {len(values)} values, at most {MAX_FILTER_VALUES} are taken.", where)
    if None in values:
        raise BadUserInput(f"`{where}` has a null among its values. Ask with `isNull`.", where)
    return values
