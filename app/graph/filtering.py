"""Filters: an input per type, derived from what the type's table has an index for.

Logic is two-valued: a row either meets a condition or it does not, null included. `ne` and `not` therefore find rows
whose column is null.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Float,
    Numeric,
    Table,
    and_,
    any_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from strawberry.tools import create_type

from app.graph.comparators import ID, LISTS, comparator, input_field
from app.graph.errors import BadUserInput
from app.graph.fields import list_of, optional
from app.graph.ids import parse_global_id, parse_id_of
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


class Filter:
    """Turns the value of a `filter` argument into conditions."""

    def __init__(self, tenant: Callable[[Table], Condition], need: Callable[[str], None]) -> None:
        """`tenant` gives the condition that keeps a table inside the tenant; `need` refuses a missing permission."""
        self._tenant = tenant
        self._need = need
        self.names_clock = False
        """Whether some condition was on the clock of the list's own type."""

    def conditions(self, entity: EntityType, value: Mapping[str, Any] | None, path: str = "filter") -> list[Condition]:
        """The conditions; BAD_USER_INPUT names the part of the argument that is wrong."""
        return list(self._conditions(entity, value or {}, path, 0))

    def _conditions(self, entity: EntityType, value: Mapping[str, Any], path: str, depth: int) -> Iterator[Condition]:
        if depth > MAX_FILTER_DEPTH:
            raise BadUserInput(f"`{path}` is nested more than {MAX_FILTER_DEPTH} levels deep. Flatten it.", "filter")
        columns, relations = _offered(entity)
        for name, inner in value.items():
            where = f"{path}.{name}"
            if inner is None:
                raise BadUserInput(f"`{where}` is null. Leave it out, or ask with `isNull`.", where)
            if name in ("and", "or"):
                parts = [_all(self._conditions(entity, one, f"{where}[{i}]", depth + 1)) for i, one in enumerate(inner)]
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
                yield _all(self._conditions(entity, inner, where, depth + 1)).is_not(True)
            elif name == "id":
                yield from _compare(entity.table.c.id, _ids(entity, inner, where), where)
            elif name in columns:
                field_name, column = columns[name]
                if field_name in entity.masks:
                    self._need(entity.masks[field_name].permission)
                if column.name == entity.clock:
                    self.names_clock = self.names_clock or depth == 0
                    yield from _by_clock(entity, inner, where)
                else:
                    yield from _compare(column, inner, where)
            else:
                yield self._related(entity, relations[name], inner, where, depth)

    def _related(
        self, entity: EntityType, relation: ToOne | PointsTo, value: Mapping[str, Any], where: str, depth: int
    ) -> Condition:
        if isinstance(relation, PointsTo):
            return _all(_points_to(entity, relation, value, where))
        target = ENTITIES[relation.target]
        key = entity.table.c[relation.column]
        if value.keys() == {"id"}:  # the key itself answers
            return _all(_compare(key, _ids(target, value["id"], f"{where}.id"), f"{where}.id"))
        rows = select(target.table.c.id).where(
            self._tenant(target.table), *self._conditions(target, value, where, depth + 1)
        )
        return key.in_(rows)


def _offered(entity: EntityType) -> tuple[dict[str, tuple[str, Column[Any]]], dict[str, ToOne | PointsTo]]:
    if entity.name not in _OFFERED:
        columns = {camel(name): (name, column) for name, column in filterable_columns(entity).items()}
        _OFFERED[entity.name] = columns, {camel(n): r for n, r in filterable_relations(entity).items()}
    return _OFFERED[entity.name]


_OFFERED: Final[dict[str, tuple[dict[str, tuple[str, Column[Any]]], dict[str, ToOne | PointsTo]]]] = {}


def _all(conditions: Iterator[Condition]) -> Condition:
    return and_(true(), *conditions)


def _ids(entity: EntityType, value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The comparison with row ids in the place of global ones."""

    def parse(text: str) -> UUID:
        return parse_id_of(entity.prefix, entity.name, text, where)

    return {
        name: inner
        if inner is None or name == "isNull"
        else [parse(one) for one in inner]
        if name in LISTS
        else parse(inner)
        for name, inner in value.items()
    }


def _points_to(entity: EntityType, relation: PointsTo, value: Mapping[str, Any], where: str) -> Iterator[Condition]:
    kind, key = entity.table.c[relation.entity_column], entity.table.c[relation.id_column]
    words = {name: word for word, name in (relation.names or {}).items()}

    def one(text: str) -> Condition:
        prefix, row_id = parse_global_id(text, where)
        name = PREFIXES[prefix].name if prefix in PREFIXES else ""
        word = words.get(name) if relation.names is not None else name
        return and_(kind == word, key == row_id) if word else false()

    for name, inner in value.items():
        if inner is None:
            raise BadUserInput(f"`{where}.{name}` is null. Leave it out, or ask with `isNull`.", where)
        match name:
            case "eq":
                yield one(inner)
            case "ne":
                yield one(inner).is_not(True)
            case "in":
                yield or_(false(), *(one(text) for text in _bounded(inner, where)))
            case "notIn":
                yield or_(false(), *(one(text) for text in _bounded(inner, where))).is_not(True)
            case "isNull":
                yield key.is_(None) if inner else key.is_not(None)


def _by_clock(entity: EntityType, value: Mapping[str, Any], where: str) -> Iterator[Condition]:
    """Ranges of time as ranges of ids, which carry it to the millisecond: the primary key is the index."""
    key = entity.table.c.id
    for name, at in value.items():
        if at is None:
            raise BadUserInput(f"`{where}.{name}` is null. Leave it out.", where)
        match name:
            case "gte":
                yield key >= first_id_at(at)
            case "gt":
                yield key >= first_id_after(at)
            case "lt":
                yield key < first_id_at(at)
            case "lte":
                yield key < first_id_after(at)
            case "eq" | "ne":
                at_it = and_(key >= first_id_at(at), key < first_id_after(at))
                yield at_it if name == "eq" else not_(at_it)
            case "in" | "notIn":
                times = [and_(key >= first_id_at(one), key < first_id_after(one)) for one in _bounded(at, where)]
                yield or_(false(), *times) if name == "in" else not_(or_(false(), *times))
            case "isNull":
                yield false() if at else true()


def _compare(column: Column[Any], value: Mapping[str, Any], where: str) -> Iterator[Condition]:
    for name, inner in value.items():
        if inner is None:
            raise BadUserInput(f"`{where}.{name}` is null. Leave it out, or ask with `isNull`.", where)
        yield _comparison(column, name, inner, where)


def _comparison(column: Column[Any], operator: str, value: Any, where: str) -> Condition:
    if operator == "isNull":
        return column.is_(None) if value else column.is_not(None)
    if operator in LISTS:
        values = literal([_stored(column, one) for one in _bounded(value, where)], ARRAY(column.type))
        found = column == any_(values)
        return found if operator == "in" else found.is_not(True)
    bound = literal(_stored(column, value), column.type)
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
        case "contains":
            return column.contains(literal([value], column.type))
    raise TypeError(f"No comparison {operator!r}.")


def _stored(column: Column[Any], value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, enum.Enum) and "\0" in value:
        raise BadUserInput("A text with a NUL character cannot be stored, so nothing has it.", column.name)
    is_money = isinstance(column.type, Numeric) and not isinstance(column.type, Float)
    return Decimal(repr(value)) if is_money and isinstance(value, float) else value


def _bounded(values: list[Any], where: str) -> list[Any]:
    if len(values) > MAX_FILTER_VALUES:
        raise BadUserInput(f"`{where}` lists {len(values)} values, at most {MAX_FILTER_VALUES} are taken.", where)
    if None in values:
        raise BadUserInput(f"`{where}` has a null among its values. Ask with `isNull`.", where)
    return values
