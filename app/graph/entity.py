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
from typing import Any, Final, Generic, TypeVar, cast

import strawberry
from sqlalchemy import ARRAY, Column, Float, Numeric, Table
from sqlalchemy.orm import InstrumentedAttribute

from app.graph.columns import derived, masked, notes
from app.graph.connection import Connected, connection_field, max_page
from app.graph.context import Info, context_of
from app.graph.declared import Declaration, Declared, strawberry_type
from app.graph.fields import GraphField, OfRow, Resolver, Shape, attribute, base_type, graph_field
from app.graph.hiding import Hiding
from app.graph.ids import global_id
from app.graph.json_objects import json_type, key, key_of
from app.graph.registry import (
    ENTITIES,
    TYPES,
    EntityType,
    Named,
    PointsTo,
    Private,
    Through,
    ToMany,
    ToOne,
    register,
)
from db.base import EnumText, Model

__all__ = [
    "ACTORS",
    "Connection",
    "Entity",
    "Private",
    "belongs_to",
    "derived",
    "entity",
    "has_many",
    "history",
    "json_type",
    "key",
    "key_of",
    "masked",
    "notes",
    "points_to",
    "through",
]

T = TypeVar("T")


class Connection(Generic[T]):
    """In an annotation: a paged list of T."""


def _resolve_global_id(row: Any, _info: Any) -> str:
    return global_id(ENTITIES[row.type_name].prefix, row.id)


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


def belongs_to(column: str) -> Any:
    """The row that a key column names."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        relation = ToOne(column, shape.name)
        declaration.relations[name] = relation
        doc = declaration.table.c[column].doc
        return graph_field(name, shape.graphql(Named(shape.name)), doc, _one(relation))

    return Declared(make)


def has_many(key: InstrumentedAttribute[Any] | str, description: str, **fixed: str) -> Any:
    """The rows whose key column names this one. `fixed` are further columns with one value each."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        column = key if isinstance(key, str) else key.key
        relation = ToMany(column, shape.name, tuple(sorted(fixed.items())), description)
        declaration.relations[name] = relation
        return connection_field(name, shape.name, description, _many(relation))

    return Declared(make)


def history(description: str = "What changed about it, oldest first; every governed change has its record.") -> Any:
    """The change records whose target is this row."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        relation = ToMany("target_id", shape.name, (("target_entity", declaration.name),), description)
        declaration.relations[name] = relation
        return connection_field(name, shape.name, description, _many(relation))

    return Declared(make)


def through(near: InstrumentedAttribute[Any], far: InstrumentedAttribute[Any], description: str) -> Any:
    """The rows that an association links to this one: a page of them, or the whole list where the field is one."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        association = cast("Table", near.class_.__table__)
        relation = Through(association, near.key, far.key, shape.name, shape.outer == "list", description)
        declaration.relations[name] = relation
        if shape.outer == "list":
            return graph_field(name, shape.graphql(Named(shape.name)), description, _listed(relation))
        return connection_field(name, shape.name, description, _many(relation))

    return Declared(make)


def points_to(entity_column: str, id_column: str, names: Mapping[str, str] | None = None) -> Any:
    """The row of any type that a pair of columns names; null where `names` gives no type for the first column."""

    def make(declaration: Declaration, name: str, shape: Shape) -> GraphField:
        relation = PointsTo(entity_column, id_column, names)
        declaration.relations[name] = relation
        doc = declaration.table.c[id_column].doc
        return graph_field(name, shape.graphql(Named("Node")), doc, _pointed(relation))

    return Declared(make)


ACTORS: Final[Mapping[str, str]] = {"HUMAN": "Operator", "AGENT": "AgentInstance"}
"""What an actor type points to; the system is nobody's row."""


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
    private: Private | None = None,
    hiding: Hiding | None = None,
) -> Callable[[type[T]], type[T]]:
    """Make a class the GraphQL type of a model.

    `hidden` names the columns that are not shown on purpose; `clock` the column whose time the id carries; `project`,
    `environment` and `own` the columns that scoped grants look at; `default_hours` how far back a list of a log goes;
    `private` whose the rows are, where they are somebody's own; `hiding` which of its values a row may hide.
    """
    table = cast("Table", model.__table__)

    def build(cls: type[T]) -> type[T]:
        declaration = Declaration(cls.__name__, table)
        namespace = vars(sys.modules[cls.__module__])
        fields: dict[str, GraphField] = {}
        hideable: set[str] = set()
        for name, annotation in inspect.get_annotations(cls).items():
            shape = Shape.of(annotation, f"{cls.__name__}.{name}")
            declared = cls.__dict__.get(name)
            if isinstance(declared, Declared):
                fields[name] = declared.make(declaration, name, shape)
            else:
                column = declaration.column(name)
                base = base_type(shape.name, namespace)
                made_field = graph_field(
                    name, shape.graphql(base), column.doc, attribute(column.name, _python_type(column))
                )
                made_field.of_row = OfRow((column.name,))
                if hiding is not None and hiding.may_hide(column):
                    hideable.add(column.name)
                    hiding.put_on(made_field, column)
                fields[name] = made_field
        made = strawberry_type(cls, fields, (Entity,))
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
                private,
                declaration.personal,
                hiding,
                frozenset(hideable),
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


def _one(relation: ToOne) -> Resolver:
    column, target = relation.column, relation.target

    def resolve(row: Any, info: Info) -> Any:
        value = getattr(row, column)
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
