"""Values of input types, coerced by functions that are made once for each type.

They do what graphql-core's `coerce_input_value` does, which looks at the type anew for every value; what they cannot
take is left to graphql-core, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias, cast

from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLLeafType,
    Undefined,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)
from graphql.utilities.coerce_input_value import coerce_default_value

Coerce: TypeAlias = Callable[[Any, int], Any]
"""(value of JSON, how deep it lies) -> what the type makes of it. Raises whatever it likes for what is to be left."""

DEEPEST: Final = 32
"""Objects and lists within each other; what lies deeper is left."""
_REQUIRED: Final = object()
"""Stands for the default of a field that has to be given."""


class _Left(Exception):
    """The value is wrong, or too deep."""


def coercion_of(kind: GraphQLInputType) -> Coerce:
    """What coerces values of the type."""
    inner, required = kind, False
    if is_non_null_type(kind):
        inner, required = cast("GraphQLInputType", kind.of_type), True
    if is_list_type(inner):
        coerce = _list(cast("GraphQLInputType", inner.of_type))
    elif is_input_object_type(inner):
        coerce = _object(inner)
    else:
        coerce = _leaf(cast("GraphQLLeafType", inner))

    def coerced(value: Any, depth: int) -> Any:
        if value is not None:
            return coerce(value, depth)
        if required:
            raise _Left
        return None

    return coerced


def _leaf(kind: GraphQLLeafType) -> Coerce:
    take = kind.coerce_input_value

    def coerced(value: Any, _depth: int) -> Any:
        found = take(value)
        if found is Undefined:
            raise _Left
        return found

    return coerced


def _list(kind: GraphQLInputType) -> Coerce:
    item = coercion_of(kind)

    def entries(value: Any, depth: int) -> Any:
        if depth >= DEEPEST:
            raise _Left
        # A single value counts as a list of it.
        return [item(one, depth + 1) for one in (value if isinstance(value, list) else [value])]

    return entries


@lru_cache(maxsize=1_000)
def _object(kind: GraphQLInputObjectType) -> Coerce:
    @cache
    def fields() -> Mapping[str, tuple[str, Coerce, Any]]:
        # Found when they are first needed: a filter has fields of its own type.
        return {
            name: (
                field.out_name or name,
                coercion_of(field.type),
                _REQUIRED if is_required_input_field(field) else coerce_default_value(field),
            )
            for name, field in kind.fields.items()
        }

    def members(value: Any, depth: int) -> Any:
        known = fields()
        if not isinstance(value, dict) or depth >= DEEPEST or kind.is_one_of or not known.keys() >= value.keys():
            raise _Left
        found: dict[str, Any] = {}
        for name, (out, coerce, default) in known.items():
            if name in value:
                found[out] = coerce(value[name], depth + 1)
            elif default is _REQUIRED:
                raise _Left
            elif default is not Undefined:
                found[out] = default
        return kind.out_type(found)

    return members
