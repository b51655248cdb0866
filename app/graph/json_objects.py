"""Objects out of JSON columns whose keys the domain names: types of the graph without a table (decision 18)."""

import inspect
import sys
from typing import Any, TypeVar, cast

from sqlalchemy import MetaData, Table

from app.graph.context import Info, context_of
from app.graph.declared import Declaration, Declared, strawberry_type
from app.graph.fields import GraphField, Resolver, RowsOf, Shape, base_type, graph_field, key_of_json, source_field
from app.graph.registry import ENTITIES, TYPES, camel, row_key
from app.graph.scalars import JSON

T = TypeVar("T")


def key(description: str, name: str | None = None) -> Any:
    """A key of a JSON object, under its camelCase name unless `name` says otherwise."""

    def make(_declaration: Declaration, field_name: str, shape: Shape) -> GraphField:
        return source_field(field_name, None, description, key_of_json(name or camel(field_name), shape.name))

    return Declared(make)


def key_of(target: str, description: str, name: str | None = None) -> Any:
    """A key of a JSON object that holds the bare UUID of a row: shown as that row (decision 11).

    Where the field is a list, so is the key, and `name` is needed. What names no row is left out; `raw` has it.
    """

    def make(_declaration: Declaration, field_name: str, shape: Shape) -> GraphField:
        source = RowsOf(name or f"{camel(field_name)}Id", target, shape.outer == "list")
        resolve = _all_of_json if source.is_list else _one_of_json
        made = graph_field(field_name, None, description, resolve(source.key, target))
        made.rows_of = source
        return made

    return Declared(make)


def json_type(cls: type[T]) -> type[T]:
    """Make a class the type of a JSON object whose keys the domain names; `raw` has every key (decision 18)."""
    declaration = Declaration(cls.__name__, Table(cls.__name__, MetaData()))  # a JSON object has no columns
    namespace = vars(sys.modules[cls.__module__])
    fields: dict[str, GraphField] = {}
    for name, annotation in inspect.get_annotations(cls).items():
        shape = Shape.of(annotation, f"{cls.__name__}.{name}")
        declared = cls.__dict__[name]
        made = cast("Declared", declared).make(declaration, name, shape)
        made.type = shape.graphql(base_type(shape.name, namespace))
        fields[name] = made
    fields["raw"] = source_field(
        "raw", JSON, "The whole object, with every key there is.", lambda source, _info: source
    )
    built = strawberry_type(cls, fields, ())
    TYPES[cls.__name__] = built
    return cast("type[T]", built)


def _one_of_json(name: str, target: str) -> Resolver:
    def resolve(source: dict[str, Any], info: Info) -> Any:
        value = row_key(source.get(name))
        return None if value is None else context_of(info).loaders.row(ENTITIES[target]).load(value)

    return resolve


def _all_of_json(name: str, target: str) -> Resolver:
    async def resolve(source: dict[str, Any], info: Info) -> Any:
        values = source.get(name)
        if values is None:
            return None
        keys = [key for key in map(row_key, values) if key is not None]
        found = await context_of(info).loaders.row(ENTITIES[target]).load_many(keys)
        return [row for row in found if row is not None]

    return resolve
