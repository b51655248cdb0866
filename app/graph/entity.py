"""Entities: a GraphQL object type is a short class over a model, a line for each column that it shows.

    @entity(models.AgentVersion, prefix="ver", hidden=("signatures",))
    class AgentVersion(Entity):
        '''An immutable genome. Only its lifecycle state and evaluation status ever change.'''
        genome_hash: str
        lifecycle_state: LifecycleState
        template: AgentTemplate = belongs_to("template_id")
        instances: Connection[AgentInstance] = has_many(models.AgentInstance.version_id, "Instances that run it.")

The run-time value is a row. Nothing is public until a line here says so; columns are described by their model.
Annotations are text (`from __future__ import annotations`), so a type may name one that is declared later.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar, cast
from uuid import UUID

import strawberry
from sqlalchemy import ARRAY, Column, Float, MetaData, Numeric, Table
from sqlalchemy.orm import InstrumentedAttribute

from app.graph.connection import Connected, connection_field, max_page
from app.graph.context import Info, context_of
from app.graph.fields import GraphField, Resolver, Shape, attribute, base_type, graph_field, key_of_json
from app.graph.ids import global_id
from app.graph.registry import (
    ENTITIES,
    TYPES,
    EntityType,
    Mask,
    Named,
    PointsTo,
    Relation,
    Through,
    ToMany,
    ToOne,
    camel,
    register,
    row_key,
)
from app.graph.scalars import JSON, format_datetime
from db.base import EnumText, Model

T = TypeVar("T")


class Connection(Generic[T]):
    """In an annotation: a paged list of T."""


def _resolve_global_id(row: Any, _info: Any) -> str:
    return global_id(ENTITIES[row.type_name].prefix, row.id)


def _resolve_type(row: Any, _info: Any, _kind: Any) -> str:
    return cast("str", row.type_name)


@strawberry.interface(name="Node", description="Anything that has a global id.")
class Entity:
    """Base of every entity: Relay's Node."""

    id: Any = graph_field(
        "id",
        strawberry.ID,
        "Global id: a prefix that tells the type, and the row's UUIDv7, so ids sort by creation.",
        _resolve_global_id,
    )


TYPES["Node"] = Entity
Entity.__strawberry_definition__.resolve_type = _resolve_type  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Declared:
    """A relation or a special column before its class is complete."""

    make: Callable[["_Declaration", str, Shape], GraphField]


def belongs_to(column: str) -> Any:
    """The row that a key column names."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        relation = ToOne(column, shape.name)
        declaration.relations[name] = relation
        doc = declaration.table.c[column].doc
        return graph_field(name, shape.graphql(Named(shape.name)), doc, _one(relation))

    return _Declared(make)


def has_many(key: InstrumentedAttribute[Any] | str, description: str, **fixed: str) -> Any:
    """The rows whose key column names this one. `fixed` are further columns with one value each."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        column = key if isinstance(key, str) else key.key
        relation = ToMany(column, shape.name, tuple(sorted(fixed.items())), description)
        declaration.relations[name] = relation
        return connection_field(name, shape.name, description, _many(relation))

    return _Declared(make)


def history(description: str = "What changed about it, oldest first; every governed change has its record.") -> Any:
    """The change records whose target is this row."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        relation = ToMany("target_id", shape.name, (("target_entity", declaration.name),), description)
        declaration.relations[name] = relation
        return connection_field(name, shape.name, description, _many(relation))

    return _Declared(make)


def through(near: InstrumentedAttribute[Any], far: InstrumentedAttribute[Any], description: str) -> Any:
    """The rows that an association links to this one: a page of them, or the whole list where the field is one."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        association = cast("Table", near.class_.__table__)
        relation = Through(association, near.key, far.key, shape.name, shape.outer == "list", description)
        declaration.relations[name] = relation
        if shape.outer == "list":
            return graph_field(name, shape.graphql(Named(shape.name)), description, _listed(relation))
        return connection_field(name, shape.name, description, _many(relation))

    return _Declared(make)


def points_to(entity_column: str, id_column: str, names: Mapping[str, str] | None = None) -> Any:
    """The row of any type that a pair of columns names; null where `names` gives no type for the first column."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        relation = PointsTo(entity_column, id_column, names)
        declaration.relations[name] = relation
        doc = declaration.table.c[id_column].doc
        return graph_field(name, shape.graphql(Named("Node")), doc, _pointed(relation))

    return _Declared(make)


ACTORS: Final[Mapping[str, str]] = {"HUMAN": "Operator", "AGENT": "AgentInstance"}
"""What an actor type points to; the system is nobody's row."""


def masked(show: Callable[[Any], Any], permission: str) -> Any:
    """A column that is shown in full only to holders of `permission` and to the person themselves (PII-1)."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        declaration.masks[name] = Mask(show, permission)
        column = declaration.column(name)

        def resolve(row: Any, info: Info) -> Any:
            value, actor = getattr(row, column.name), context_of(info).actor
            if value is None or actor.can(permission) or actor.id == row.id:
                return value
            return show(value)

        description = f"{column.doc} Masked unless the caller holds `{permission}` or is the person."
        return graph_field(name, shape.graphql(base_type(shape.name, {})), description, resolve)

    return _Declared(make)


def notes(*columns: str) -> Any:
    """The row's open notes, with the columns that used to be kept in them under their old keys (decision 14)."""

    def make(declaration: "_Declaration", name: str, shape: Shape) -> GraphField:
        column = declaration.column(name)
        kept = [(camel(declaration.table.c[one].name), one) for one in columns]

        def resolve(row: Any, _info: Info) -> Any:
            found = {key: _as_json(getattr(row, one)) for key, one in kept if getattr(row, one) is not None}
            return {**(getattr(row, name) or {}), **found} or None

        keys = ", ".join(f"`{key}`" for key, _ in kept)
        description = f"{column.doc} Has {keys} as well, which are fields of their own, with bare UUIDs."
        return graph_field(name, shape.graphql(JSON), description, resolve)

    return _Declared(make)


def _as_json(value: Any) -> Any:
    match value:
        case datetime():
            return format_datetime(value)
        case UUID():
            return str(value)
        case Decimal():
            return float(value)
    return getattr(value, "value", value)


class _Declaration:
    """A class on its way to becoming an entity."""

    def __init__(self, name: str, table: Table) -> None:
        self.name = name
        self.table = table
        self.columns: dict[str, Column[Any]] = {}
        self.relations: dict[str, Relation] = {}
        self.masks: dict[str, Mask] = {}

    def column(self, name: str) -> Column[Any]:
        """The column that a field shows."""
        if name not in self.table.c:
            raise TypeError(f"{self.name}.{name}: the table {self.table.name} has no such column.")
        self.columns[name] = self.table.c[name]
        return self.columns[name]


def entity(
    model: type[Model],
    *,
    prefix: str,
    hidden: tuple[str, ...] = (),
    clock: str = "created_at",
    project: str = "project_id",
    environment: str = "environment_id",
    own: str | None = None,
    default_hours: int | None = None,
) -> Callable[[type[T]], type[T]]:
    """Make a class the GraphQL type of a model.

    `hidden` names the columns that are not shown on purpose; `clock` the column whose time the id carries; `project`,
    `environment` and `own` the columns that scoped grants look at; `default_hours` how far back a list of a log goes.
    """
    table = cast("Table", model.__table__)

    def build(cls: type[T]) -> type[T]:
        declaration = _Declaration(cls.__name__, table)
        namespace = vars(sys.modules[cls.__module__])
        fields: dict[str, GraphField] = {}
        for name, annotation in inspect.get_annotations(cls).items():
            shape = Shape.of(annotation, f"{cls.__name__}.{name}")
            declared = cls.__dict__.get(name)
            if isinstance(declared, _Declared):
                fields[name] = declared.make(declaration, name, shape)
            else:
                column = declaration.column(name)
                base = base_type(shape.name, namespace)
                fields[name] = graph_field(
                    name, shape.graphql(base), column.doc, attribute(column.name, _python_type(column))
                )
        made = _strawberry_type(cls, fields, (Entity,))
        register(
            EntityType(
                cls.__name__,
                prefix,
                table,
                made,
                declaration.columns,
                declaration.relations,
                declaration.masks,
                frozenset(hidden),
                clock,
                project if project in table.c else None,
                environment if environment in table.c else None,
                own,
                default_hours,
            )
        )
        return cast("type[T]", made)

    return build


def _python_type(column: Column[Any]) -> type | None:
    kind = column.type
    if isinstance(kind, EnumText):
        return kind.enumeration
    if isinstance(kind, ARRAY):
        return list
    return kind.python_type if isinstance(kind, Numeric) and not isinstance(kind, Float) else None


def _strawberry_type(cls: type, fields: Mapping[str, GraphField], bases: tuple[type, ...]) -> type:
    namespace: dict[str, Any] = {
        **fields,
        "__doc__": cls.__doc__,
        "__module__": cls.__module__,
        "__annotations__": {name: one.type for name, one in fields.items()},
    }
    return strawberry.type(type(cls.__name__, bases, namespace), description=inspect.cleandoc(cls.__doc__ or ""))


def key(description: str, name: str | None = None) -> Any:
    """A key of a JSON object, under its camelCase name unless `name` says otherwise."""

    def make(_declaration: _Declaration, field_name: str, shape: Shape) -> GraphField:
        resolve = key_of_json(name or camel(field_name), shape.name)
        return graph_field(field_name, None, description, resolve)

    return _Declared(make)


def key_of(prefix_of: str, description: str, name: str | None = None) -> Any:
    """A key of a JSON object that holds the bare UUID of a row: shown as that row (decision 11)."""

    def make(_declaration: _Declaration, field_name: str, shape: Shape) -> GraphField:
        return graph_field(field_name, None, description, _one_of_json(name or f"{camel(field_name)}Id", prefix_of))

    return _Declared(make)


def json_type(cls: type[T]) -> type[T]:
    """Make a class the type of a JSON object whose keys the domain names; `raw` has every key (decision 18)."""
    declaration = _Declaration(cls.__name__, Table(cls.__name__, MetaData()))  # a JSON object has no columns
    namespace = vars(sys.modules[cls.__module__])
    fields: dict[str, GraphField] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        shape = Shape.of(annotation, f"{cls.__name__}.{name}")
        declared = cls.__dict__[name]
        made = cast("_Declared", declared).make(declaration, name, shape)
        made.type = shape.graphql(base_type(shape.name, namespace))
        fields[name] = made
    fields["raw"] = graph_field("raw", JSON, "The whole object, with every key there is.", lambda source, _info: source)
    built = _strawberry_type(cls, fields, ())
    TYPES[cls.__name__] = built
    return cast("type[T]", built)


def _one(relation: ToOne) -> Resolver:
    column, target = relation.column, relation.target

    def resolve(row: Any, info: Info) -> Any:
        value = getattr(row, column)
        return None if value is None else context_of(info).loaders.row(ENTITIES[target]).load(value)

    return resolve


def _one_of_json(name: str, target: str) -> Resolver:
    def resolve(source: dict[str, Any], info: Info) -> Any:
        value = row_key(source.get(name))
        return None if value is None else context_of(info).loaders.row(ENTITIES[target]).load(value)

    return resolve


def _many(relation: ToMany | Through) -> Resolver:
    def resolve(row: Any, info: Info, **arguments: Any) -> Connected:
        target = ENTITIES[relation.target]
        page, pages, counts = context_of(info).loaders.children(relation, target, arguments, max_page(target))
        return Connected(page, lambda: pages.load(row.id), lambda: counts.load(row.id))

    return resolve


def _listed(relation: Through) -> Resolver:
    def resolve(row: Any, info: Info) -> Any:
        return context_of(info).loaders.listed(relation, ENTITIES[relation.target]).load(row.id)

    return resolve


def _pointed(relation: PointsTo) -> Resolver:
    def resolve(row: Any, info: Info) -> Any:
        word, value = getattr(row, relation.entity_column), getattr(row, relation.id_column)
        name = word if relation.names is None else relation.names.get(word)
        if name is None or value is None:
            return None
        context = context_of(info)
        # Any type may stand here, so unlike a plain key it is shown only to those who may read that type.
        if not context.actor.may_read(name):
            return None
        return context.loaders.row(ENTITIES[name]).load(value)

    return resolve
