"""The arguments of a plan's fields, coerced once as far as they do not depend on variables.

Coercion walks the literals by their types, which takes as long as the statement's own way to Postgres. What it makes
of them is the same each time, but for the variables, which are coerced already and only have to be put in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLError, GraphQLField, VariableNode, Visitor, visit
from graphql.execution.values import VariableValues, get_argument_values

Fill: TypeAlias = Callable[[Mapping[str, Any]], Any]
"""The values of the variables -> a value that some of them are part of."""


class Arguments:
    """The arguments of one field."""

    def __init__(self, definition: GraphQLField, node: FieldNode) -> None:
        """Raises GraphQLError for wrong ones without variables."""
        self._definition = definition
        self._node = node
        places = _variables(node)
        self._names = tuple(dict.fromkeys(places))
        self._constant = None if places else get_argument_values(definition, node)
        self._fill = _template(definition, node, places) if places else None

    def of(self, variables: VariableValues) -> Mapping[str, Any]:
        """The arguments with these variables, to be read only: others get the same. Raises GraphQLError where they are
        wrong."""
        if self._constant is not None:
            return self._constant
        coerced = variables.coerced
        if self._fill is not None and all(coerced.get(name) is not None for name in self._names):
            made: Mapping[str, Any] = self._fill(coerced)
            return made
        # A variable that is null, or not given, leaves arguments out, or makes them wrong.
        return get_argument_values(self._definition, self._node, variables)


@dataclass(frozen=True)
class _Place:
    """Stands for the value of a variable."""

    name: str


def _template(definition: GraphQLField, node: FieldNode, places: list[str]) -> Fill | None:
    """Puts variables that are not null in their places; None where a type makes something else of a literal with a
    variable in it."""
    try:
        made = get_argument_values(definition, node, VariableValues({}, {name: _Place(name) for name in places}))
    except GraphQLError:  # wrong whatever the variables are, or a scalar that looks at what it is given
        return None
    return _filler(made) if sorted(_found(made)) == sorted(places) else None


def _found(made: Any) -> list[str]:
    if isinstance(made, _Place):
        return [made.name]
    values = made.values() if isinstance(made, dict) else made if isinstance(made, list) else ()
    return [name for value in values for name in _found(value)]


def _filler(made: Any) -> Fill | None:
    """None for what no variable is part of."""
    if isinstance(made, _Place):
        return itemgetter(made.name)
    if isinstance(made, dict):
        fills = [(key, fill) for key, value in made.items() if (fill := _filler(value)) is not None]
        return (lambda coerced: {**made, **{key: fill(coerced) for key, fill in fills}}) if fills else None
    if isinstance(made, list):
        parts = [(value, _filler(value)) for value in made]
        if any(fill is not None for _, fill in parts):
            return lambda coerced: [value if fill is None else fill(coerced) for value, fill in parts]
    return None


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def enter_variable(self, node: VariableNode, *_rest: Any) -> None:
        self.found.append(node.name.value)


def _variables(node: FieldNode) -> list[str]:
    """The names of the variables in the arguments of a field, each as often as it is there."""
    visitor = _Variables()
    for argument in node.arguments or ():
        visit(argument, visitor)
    return visitor.found
