"""The fields of the kit: what an annotation says, and resolvers on graphql-core's own terms.

Strawberry builds the schema from these fields; at run time graphql-core calls `resolve` itself, since a wrapper a
field costs more than the field.
"""

import enum
import inspect
import re
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Optional, TypeAlias, TypeVar

import strawberry
from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema
from sqlalchemy import ColumnElement
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from app.graph.pricing import LIST_SIZE
from app.graph.registry import Named

Resolver: TypeAlias = Callable[..., Any]
"""(source, info, **arguments) -> value or awaitable; arguments as graphql-core coerced them."""

_SHAPE: Final = re.compile(r"^(?:(?P<outer>Connection|list)\[)?(?P<name>\w+)\]?(?P<optional>\s*\|\s*None)?$")


@dataclass(frozen=True)
class Veil:
    """What others see of a column than the holders of a permission."""

    permission: str
    shown: Callable[[Any, Any], ColumnElement[Any]]
    """(the row's table, the caller's id) -> the value that they see, of the column's type."""


@dataclass(frozen=True)
class OfRow:
    """What a field shows of its row alone: a column as it is, or what a function makes of some columns."""

    columns: tuple[str, ...]
    show: Callable[[Any, Any], Any] | None = None
    """(row, actor) -> value; looks at no other attributes of the row than `columns`. None: the one column as it is."""
    veil: Veil | None = None
    """What stands in the place of the one column for some."""


@dataclass(frozen=True)
class RootOf:
    """What a root field of the kit gives: rows of an entity, by name, or of any where it has none."""

    entity: str | None
    is_list: bool


@dataclass(frozen=True)
class RowsOf:
    """A key of a JSON object that holds one row's bare UUID, or a list of them."""

    key: str
    target: str
    is_list: bool


@dataclass(frozen=True)
class OfOutcome:
    """What a payload's field shows of a command that was done: rows of an entity, by their ids, or a value that the
    outcome has; with neither the list of its refusals, which then is empty."""

    entity: str | None = None
    ids: Callable[[Any], Any] = lambda _outcome: None
    """(outcome) -> the id, a list of them, or None."""
    value: Callable[[Any], Any] | None = None
    """(outcome) -> the value, which is JSON."""
    lasting: bool = False
    """Whether such a row never changes."""


class GraphField(StrawberryField):
    """A field with a resolver that gets graphql-core's source, info and coerced arguments."""

    resolve: Resolver
    of_row: OfRow | None = None
    """Where the value comes from, if it comes from the row alone."""
    of_sql: Callable[[Any, Any], ColumnElement[int]] | None = None
    """(the row's table, the caller's id) -> the whole number that it shows, where the database computes it."""
    of_source: bool = False
    """Whether `resolve` looks at its source alone, as the keys of a JSON object do."""
    rows_of: RowsOf | None = None
    """Which rows it shows, if it is a key of a JSON object that names some."""
    root: RootOf | None = None
    """What it gives, if it is a root field of the kit."""
    perform: Callable[[Any, Mapping[str, Any]], Awaitable[Any]] | None = None
    """(context, input) -> outcome, if it is the field of a command."""
    of_outcome: OfOutcome | None = None
    """What it shows of a command's outcome, if it is a payload's field and shows no more than that."""


def optional(base: Any) -> Any:
    """`base | None` for what may be a lazy type, which has no `|`."""
    return Optional[base]  # noqa: UP045


def list_of(base: Any) -> Any:
    """`[base!]!`."""
    return list[base]


@dataclass(frozen=True)
class Shape:
    """What an annotation of a type says: `list[Task] | None` is name Task, outer list, optional."""

    name: str
    outer: str | None
    optional: bool

    @classmethod
    def of(cls, annotation: str, where: str) -> "Shape":
        """The shape of an annotation's text; TypeError where it is of another form."""
        match = _SHAPE.match(annotation.strip())
        if match is None:
            raise TypeError(f"{where}: annotate with X, X | None, list[X] or Connection[X], not {annotation!r}.")
        return cls(match["name"], match["outer"], match["optional"] is not None)

    def graphql(self, base: Any) -> Any:
        """The annotation that Strawberry understands, with `base` in the place of the name."""
        inner = list_of(base) if self.outer == "list" else base
        return optional(inner) if self.optional else inner


def base_type(name: str, namespace: dict[str, Any]) -> Any:
    """The type that a name means: a scalar, enum or JSON type of the module, else a type of the graph by name."""
    found = _BUILTIN_NAMES.get(name) or namespace.get(name)
    if isinstance(found, type) and issubclass(found, enum.Enum):
        return described_enum(found)
    return Named(name) if found is None or hasattr(found, "__strawberry_definition__") else found


_BUILTIN_NAMES: Final[dict[str, type]] = {"str": str, "int": int, "float": float, "bool": bool}


def described_enum(enumeration: type[enum.Enum]) -> type[enum.Enum]:
    """The enum as a type of the graph, with its docstring and its values' descriptions."""
    if not hasattr(enumeration, "__strawberry_definition__"):
        strawberry.enum(enumeration, description=inspect.cleandoc(enumeration.__doc__ or ""))
        for value in enumeration.__strawberry_definition__.values:  # type: ignore[attr-defined]
            value.description = getattr(enumeration[value.name], "description", "") or None
    return enumeration


def graph_field(
    name: str, annotation: Any, description: str | None, resolve: Resolver, arguments: Sequence[StrawberryArgument] = ()
) -> GraphField:
    """A field of the kit. A name that Python keeps for itself ends in `_`, which the graph does not show."""
    made = GraphField(
        python_name=name,
        graphql_name=name[:-1] if name.endswith("_") else None,
        type_annotation=StrawberryAnnotation(annotation),
        description=description,
        default=None,
    )
    made.resolve = resolve
    made.arguments = list(arguments)
    return made


def source_field(name: str, annotation: Any, description: str | None, resolve: Resolver) -> GraphField:
    """A field whose `resolve` looks at its source alone, so that a plan can show it too."""
    made = graph_field(name, annotation, description, resolve)
    made.of_source = True
    return made


def argument(name: str, annotation: Any, description: str, default: Any = strawberry.UNSET) -> StrawberryArgument:
    """An argument of a field of the kit."""
    return StrawberryArgument(
        python_name=name,
        graphql_name=name[:-1] if name.endswith("_") else None,
        type_annotation=StrawberryAnnotation(annotation),
        description=description,
        default=default,
    )


def attribute(name: str, python_type: type | None) -> Resolver:
    """Reads a column off a row, as the scalar of the graph wants it: money as float, enums by value."""
    if python_type is Decimal:

        def resolve(row: Any, _info: Any) -> Any:
            value = getattr(row, name)
            return None if value is None else float(value)

    elif python_type is not None and issubclass(python_type, enum.Enum):

        def resolve(row: Any, _info: Any) -> Any:
            value = getattr(row, name)
            return None if value is None else value.value

    elif python_type is list:

        def resolve(row: Any, _info: Any) -> Any:
            value = getattr(row, name)
            return None if value is None else [getattr(item, "value", item) for item in value]

    else:

        def resolve(row: Any, _info: Any) -> Any:
            return getattr(row, name)

    return resolve


def key_of_json(key: str, name: str) -> Resolver:
    """Reads a key off an object out of a JSON column; a time is kept there as RFC 3339 text."""

    def resolve(source: dict[str, Any], _info: Any) -> Any:
        return source.get(key)

    def resolve_time(source: dict[str, Any], _info: Any) -> Any:
        value = source.get(key)
        return datetime.fromisoformat(value) if isinstance(value, str) else None

    return resolve_time if name == "datetime" else resolve


def type_name_of(row: Any, _info: Any, _kind: Any) -> str:
    """The type of a row that stands in the place of any row."""
    name: str = row.type_name
    return name


class Later:
    """What an async resolver will give, once somebody asks for it.

    Where a field fails, graphql-core drops what was begun beside it. A coroutine that is dropped before it began is a
    warning of Python's; this is not, since the coroutine is made only then.
    """

    __slots__ = ("_arguments", "_info", "_resolve", "_source")

    def __init__(self, resolve: Resolver, source: Any, info: Any, arguments: dict[str, Any]) -> None:
        self._resolve = resolve
        self._source = source
        self._info = info
        self._arguments = arguments

    def __await__(self) -> Generator[Any, None, Any]:
        """What the resolver gives."""
        awaited: Generator[Any, None, Any] = self._resolve(self._source, self._info, **self._arguments).__await__()
        return awaited


def _later(resolve: Resolver) -> Resolver:
    return lambda source, info, **arguments: Later(resolve, source, info, arguments)


def bind(schema: GraphQLSchema) -> None:
    """Put the kit's resolvers into a schema that Strawberry built."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLInterfaceType) and kind.name == "Node":
            kind.resolve_type = type_name_of
        if not isinstance(kind, GraphQLObjectType):
            continue
        ours = False
        for one in kind.fields.values():
            definition = one.extensions.get("strawberry-definition")
            if isinstance(definition, GraphField):
                resolve = definition.resolve
                one.resolve, ours = _later(resolve) if inspect.iscoroutinefunction(resolve) else resolve, True
        if ours:
            kind.is_type_of = None  # rows are of their type by construction; interfaces ask the row for its name


F = TypeVar("F", bound=Callable[..., Any])


def computed(description: str, *, most: int | None = None) -> Callable[[F], F]:
    """A field that a method or a function computes, by Strawberry's own way: for what no column holds.

    `most` is how long its list may get, where that is far from the usual (`LIST_SIZE`).
    """
    metadata = {} if most is None else {LIST_SIZE: most}
    made: Callable[[F], F] = strawberry.field(description=description, metadata=metadata)
    return made
