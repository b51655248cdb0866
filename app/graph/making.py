"""How the kit makes types of the graph: from their fields, by the hundred, and without what only instances need."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

import strawberry
from strawberry.types.field import StrawberryField


def _no_instances(self: Any, *_given: Any, **_named: Any) -> NoReturn:
    raise TypeError(f"{type(self).__name__} is a type of the graph alone: its values are rows, outcomes and mappings.")


# Strawberry makes each type a dataclass. Where a class has these, the methods that are generated for it are dropped:
# they were 4 MB of each worker.
_WITHOUT_INSTANCES: Final[Mapping[str, Any]] = {
    "__init__": _no_instances,
    "__repr__": object.__repr__,
    "__eq__": object.__eq__,
    "__hash__": object.__hash__,
}


def graph_class(
    name: str,
    doc: str | None,
    fields: Mapping[str, StrawberryField],
    annotations: Mapping[str, Any] | None = None,
    bases: tuple[type, ...] = (),
    module: str = __name__,
) -> type:
    """A class for Strawberry to make a type of, by its fields under their names in Python. Nobody makes instances.

    `annotations` are those of the fields unless others are given; `module` is where the names in them are known.
    """
    namespace: dict[str, Any] = {
        **_WITHOUT_INSTANCES,
        **fields,
        "__doc__": doc,
        "__module__": module,
        "__annotations__": dict(annotations or {key: one.type for key, one in fields.items()}),
    }
    return type(name, bases, namespace)


def create_type(name: str, fields: Iterable[StrawberryField], *, description: str, is_input: bool = False) -> type:
    """The GraphQL type of these fields: an object, or an input. Nobody makes instances of it."""
    made = graph_class(name, description, {one.python_name or one.name: one for one in fields})
    return strawberry.type(made, is_input=is_input, description=description)
