"""Objects out of JSON: what a selection takes of a column, or of a command's outcome, written as graphql-core would
complete it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from graphql import GraphQLLeafType, GraphQLObjectType, GraphQLOutputType, is_leaf_type, is_list_type, is_non_null_type

from app.graph.fields import GraphField, RowsOf
from app.graph.registry import row_key
from app.query.columns import Differently, Impossible, parse_json

Found: TypeAlias = Sequence[Mapping[bytes, Any]]
"""The rows that the object's keys name, written, by id; one mapping for each place that shows some."""
Complete: TypeAlias = Callable[[Any, Found], Any]
SubFields: TypeAlias = Callable[[GraphQLObjectType, Any], Mapping[str, Any]]
"""(type, field details) -> the field details of its selection by response key."""
Place: TypeAlias = Callable[[str, Any], int]
"""(name of a type, field details) -> where in `Found` the rows will be that are shown so."""


class JsonValue:
    """JSON of a type of the schema, and what a selection takes of it."""

    def __init__(self, kind: GraphQLOutputType, details: Any, sub_fields: SubFields, place: Place) -> None:
        """Raises Impossible where a key needs more than the object and some rows."""
        self._sub_fields = sub_fields
        self._place = place
        self._complete: Final = self._completer(kind, details)

    def write(self, text: str | None, found: Found = ()) -> Any:
        """The answer's value of a column's text. Raises Differently where it is not what the type says."""
        try:
            value = parse_json(text)
        except ValueError as error:
            raise Differently("text that is no JSON") from error
        return self.show(value, found)

    def show(self, value: Any, found: Found = ()) -> Any:
        """The answer's value of the JSON itself. Raises Differently where it is not what the type says."""
        try:
            return self._complete(value, found)
        except Differently:
            raise
        except Exception as error:
            raise Differently("JSON of another shape") from error

    def keys(self, texts: Sequence[str | None], places: int) -> list[set[bytes]]:
        """The rows that the columns' texts name, for each place."""
        # Without an empty column, or one of a row that a to-one relation did not find.
        return _named(self.write, (text for text in texts if text is not None), places)

    def keys_of(self, value: Any, places: int) -> list[set[bytes]]:
        """The rows that the JSON itself names, for each place."""
        return _named(self.show, (value,), places)

    def _completer(self, kind: GraphQLOutputType, details: Any) -> Complete:
        if is_non_null_type(kind):
            inner = self._completer(kind.of_type, details)
            return lambda value, found: _required(inner(_required(value), found))
        if is_list_type(kind):
            item = self._completer(kind.of_type, details)
            return lambda value, found: None if value is None else [item(one, found) for one in _list(value)]
        if is_leaf_type(kind):
            return _leaf(kind)
        if not isinstance(kind, GraphQLObjectType):
            raise Impossible(str(kind))
        return self._object(kind, details)

    def _object(self, kind: GraphQLObjectType, details: Any) -> Complete:
        parts: list[tuple[str, Complete]] = []
        for key, inner in self._sub_fields(kind, details).items():
            name = inner[0].node.name.value
            parts.append((key, _constant(kind.name) if name == "__typename" else self._field(kind, name, inner)))
        return lambda value, found: None if value is None else {key: part(value, found) for key, part in parts}

    def _field(self, kind: GraphQLObjectType, name: str, details: Any) -> Complete:
        field = kind.fields[name]
        definition = field.extensions.get("strawberry-definition")
        if isinstance(definition, GraphField) and definition.rows_of is not None:
            rows = _rows(definition.rows_of, self._place(definition.rows_of.target, details))
            return (lambda value, found: _required(rows(value, found))) if is_non_null_type(field.type) else rows
        if not (isinstance(definition, GraphField) and definition.of_source):
            raise Impossible(f"{kind.name}.{name}")
        resolve, complete = definition.resolve, self._completer(field.type, details)
        return lambda value, found: complete(resolve(value, None), found)


class _Keys(dict[bytes, Any]):
    """Stands for rows that are yet to be read, and notes which are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_named: set[bytes] = set()

    def get(self, key: bytes, default: Any = None) -> Any:
        """Something that is not null."""
        self.keys_named.add(key)
        return ...


def _named(read: Complete, values: Iterable[Any], places: int) -> list[set[bytes]]:
    named = [_Keys() for _ in range(places)]
    for value in values:
        read(value, named)
    return [one.keys_named for one in named]


def _rows(source: RowsOf, place: int) -> Complete:
    def one(value: Any, found: Found) -> Any:
        key = row_key(value.get(source.key))
        return None if key is None else found[place].get(key.bytes)

    def several(value: Any, found: Found) -> Any:
        values = value.get(source.key)
        if values is None:
            return None
        keys = [key for key in map(row_key, values) if key is not None]
        rows = [found[place].get(key.bytes) for key in keys]
        return [row for row in rows if row is not None]

    return several if source.is_list else one


def _constant(text: str) -> Complete:
    return lambda _value, _found: text


def _required(value: Any) -> Any:
    if value is None:
        raise Differently("a null where the type allows none")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Differently("JSON that is not the list that it should be")
    return value


def _leaf(kind: GraphQLLeafType) -> Complete:
    serialize = kind.serialize
    return lambda value, _found: None if value is None else _required(serialize(value))
