"""Coercion by prepared functions is graphql-core's, for every input of the schema."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest
from graphql import (
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLSchema,
    Undefined,
    coerce_input_value,
    is_enum_type,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
)
from hypothesis import given
from hypothesis import strategies as st

from app.graph.coercion import DEEPEST, coercion_of
from app.schema import schema

SCHEMA: GraphQLSchema = schema()._schema
INPUTS = sorted(name for name, kind in SCHEMA.type_map.items() if is_input_object_type(kind))
LEAVES: dict[str, Sequence[Any]] = {
    "Int": (0, -1, 2**31 - 1),
    "Float": (0.5, 3, -1e300),
    "Boolean": (True, False),
    "String": ("", "text"),
    "ID": ("id", 7),
    "DateTime": ("2026-11-29T12:00:00Z",),
    "BigInt": ("12", 12),
}
ODD: Sequence[Any] = (None, True, 0, 2**40, 0.5, math.nan, "", "text", [], [None], [["text"]], {}, {"eq": 1})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=3) | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def coerced(value: Any, kind: GraphQLInputType) -> Any:
    try:
        return coercion_of(kind)(value, 0)
    except Exception:
        return Undefined


def some(kind: GraphQLInputType, chance: Random, depth: int = 0) -> Any:
    """A value that is nearly always good."""
    if is_non_null_type(kind):
        return some(cast("GraphQLInputType", kind.of_type), chance, depth)
    if is_list_type(kind):
        item = cast("GraphQLInputType", kind.of_type)
        count = chance.choice((0, 1, 2, None))  # a single value counts as a list of it
        one = [some(item, chance, depth + 1) for _ in range(count or 1)]
        return one[0] if count is None else one[:count]
    if isinstance(kind, GraphQLInputObjectType):
        needed = {name for name, field in kind.fields.items() if is_non_null_type(field.type)}
        others = [name for name in kind.fields if name not in needed and depth < 4]
        names = [*needed, *chance.sample(others, min(len(others), chance.randint(0, 3)))]
        chance.shuffle(names)
        return {
            name: None
            if name not in needed and chance.random() < 0.1
            else some(kind.fields[name].type, chance, depth + 1)
            for name in names
        }
    if is_enum_type(kind):
        return chance.choice(list(kind.values))
    return chance.choice(LEAVES.get(cast(GraphQLNamedType, kind).name, ODD))


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_object_comes_to_the_same(name: str) -> None:
    """And what graphql-core finds good is not left to it: then nothing would be gained."""
    kind = cast(GraphQLInputObjectType, SCHEMA.type_map[name])
    chance = Random(name)
    good = 0
    for _ in range(40):
        value = some(kind, chance)
        expected = coerce_input_value(value, kind)
        found = coerced(value, kind)
        assert repr(found) == repr(expected)  # in the same order, with the same kinds of number
        good += found is not Undefined
        changed = {**value, chance.choice([*value, "noSuchField"]): chance.choice(ODD)}
        assert repr(coerced(changed, kind)) == repr(coerce_input_value(changed, kind))
    assert good


@pytest.mark.parametrize("name", ["Int", "Float", "String", "ID", "Boolean", "DateTime"])
@given(value=ANYTHING)
def test_a_scalar_comes_to_the_same(name: str, value: Any) -> None:
    kind = cast("Any", SCHEMA.type_map[name])
    for one in (kind, GraphQLNonNull(kind)):
        assert repr(coerced(value, one)) == repr(coerce_input_value(value, one))


def test_what_lies_too_deep_is_left_to_graphql_core() -> None:
    """Which refuses it, before the interpreter's own limit."""
    kind = cast(GraphQLInputObjectType, SCHEMA.type_map["TaskFilter"])
    inner = "and" if "and" in kind.fields else next(iter(kind.fields))
    value: dict[str, Any] = {}
    for _ in range(DEEPEST // 2 - 1):
        value = {inner: [value]}
    assert coerced(value, kind) == coerce_input_value(value, kind)
    for _ in range(5_000):
        value = {inner: [value]}
    assert coerced(value, kind) is Undefined
