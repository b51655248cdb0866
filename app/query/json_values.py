"""Objects out of JSON columns: what a selection takes of them, written as graphql-core would complete it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphql import GraphQLLeafType, GraphQLObjectType, GraphQLOutputType, is_leaf_type, is_list_type, is_non_null_type

from app.graph.fields import GraphField
from app.query.columns import Differently, Impossible, Write, parse_json

SubFields = Callable[[GraphQLObjectType, Any], Mapping[str, Any]]
"""(type, field details) -> the field details of its selection by response key."""


def json_writer(kind: GraphQLOutputType, details: Any, sub_fields: SubFields) -> Write:
    """What makes the answer's value of a JSON column's text. Raises Impossible where a key needs more than the
    object."""
    complete = _completer(kind, details, sub_fields)

    def write(text: str | None) -> Any:
        try:
            return complete(parse_json(text))
        except Exception as error:  # whatever is in there, it is not what the type says
            raise Differently("JSON of another shape") from error

    return write


def _completer(kind: GraphQLOutputType, details: Any, sub_fields: SubFields) -> Write:
    if is_non_null_type(kind):
        inner = _completer(kind.of_type, details, sub_fields)

        def required(value: Any) -> Any:
            if value is None:
                raise ValueError("null")
            return inner(value)

        return required
    if is_list_type(kind):
        item = _completer(kind.of_type, details, sub_fields)
        return lambda value: None if value is None else [item(one) for one in _list(value)]
    if is_leaf_type(kind):
        return _leaf(kind)
    if not isinstance(kind, GraphQLObjectType):
        raise Impossible(str(kind))
    return _object(kind, details, sub_fields)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _leaf(kind: GraphQLLeafType) -> Write:
    serialize = kind.serialize

    def write(value: Any) -> Any:
        if value is None:
            return None
        written = serialize(value)
        if written is None:
            raise ValueError("null")
        return written

    return write


def _object(kind: GraphQLObjectType, details: Any, sub_fields: SubFields) -> Write:
    parts: list[tuple[str, Callable[..., Any] | None, Write | None]] = []
    for key, field_details in sub_fields(kind, details).items():
        name = field_details[0].node.name.value
        if name == "__typename":
            parts.append((key, None, None))
            continue
        field = kind.fields[name]
        definition = field.extensions.get("strawberry-definition")
        if not (isinstance(definition, GraphField) and definition.of_source):
            raise Impossible(f"{kind.name}.{name}")
        parts.append((key, definition.resolve, _completer(field.type, field_details, sub_fields)))
    name = kind.name

    def write(value: Any) -> Any:
        if value is None:
            return None
        return {
            key: name if resolve is None or complete is None else complete(resolve(value, None))
            for key, resolve, complete in parts
        }

    return write
