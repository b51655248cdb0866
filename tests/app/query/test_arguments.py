"""Arguments that were coerced before the variables were known are those that graphql-core makes of the variables."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    extend_schema,
    parse,
    value_from_ast_untyped,
)
from graphql.execution.values import VariableValues, get_argument_values, get_variable_values
from hypothesis import given
from hypothesis import strategies as st

from app.query import arguments
from app.query.arguments import Arguments

SDL = """
scalar Anything
scalar Loud
enum Colour { RED GREEN }
input Range { gte: Int, lt: Int = 9, kinds: [Colour!] }
input Only @oneOf { a: Int, b: String }
input Filter { size: Range, any: Anything, all: [Filter!], needed: Int! = 4, only: Only }
type Query {
    things(first: Int = 50, must: Int!, filter: Filter, names: [String], colour: Colour = RED, any: Anything, loud: Loud): Int
}
"""  # noqa: E501 - one argument list
VARIABLES = (
    "$first: Int, $must: Int! = 3, $range: Range, $gte: Int, $lt: Int, $kinds: [Colour!], $kind: Colour = GREEN, "
    "$name: String, $names: [String], $filter: Filter, $any: Anything, $text: String, $all: [Filter!], $sure: Int = 7"
)
FIELDS = [
    "things(must: 1)",
    "things(must: $must)",
    "things(first: $first, must: $must)",
    "things(must: 1, filter: {size: {gte: $gte}})",
    "things(must: 1, filter: {size: {gte: $gte, lt: $lt, kinds: [RED, GREEN]}})",
    "things(must: 1, filter: {size: {gte: $gte, lt: $gte}, needed: $must})",
    "things(must: 1, filter: {size: $range, needed: $sure})",
    "things(must: 1, filter: {all: [{size: {lt: $lt}}, {needed: 2}, {size: {kinds: $kinds}}]})",
    "things(must: 1, filter: {all: {size: {lt: $lt}}})",
    "things(must: 1, filter: {all: $all})",
    "things(must: 1, filter: $filter, colour: $kind)",
    'things(must: 1, names: ["a", $name, null, $name])',
    "things(must: 1, names: $names)",
    "things(must: 1, any: $any)",
    "things(must: 1, any: {deep: [$any, 1], other: $text})",
    "things(must: 1, filter: {any: {deep: $gte}, size: {gte: $gte}})",
    "things(must: 1, filter: {only: {a: $gte}})",
    "things(must: 1, loud: [$text])",
]
TEXTS = st.sampled_from(["", "a", "ü"])
FILTERS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {}, optional={"size": st.fixed_dictionaries({}, optional={"gte": st.integers(0, 9)}), "needed": st.integers(0, 9)}
)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "first": st.none() | st.integers(0, 99),
        "must": st.integers(0, 99),
        "range": st.none() | st.fixed_dictionaries({}, optional={"gte": st.integers(0, 9), "lt": st.none()}),
        "gte": st.none() | st.integers(0, 9),
        "lt": st.none() | st.integers(0, 9),
        "kinds": st.none() | st.lists(st.sampled_from(["RED", "GREEN"])) | st.just("RED"),
        "kind": st.none() | st.just("RED"),
        "name": st.none() | TEXTS,
        "names": st.none() | st.lists(st.none() | TEXTS, max_size=2),
        "filter": st.none() | FILTERS,
        "any": st.none() | st.integers(0, 9) | st.fixed_dictionaries({"x": st.lists(st.booleans(), max_size=2)}),
        "text": st.none() | TEXTS,
        "all": st.none() | st.lists(FILTERS, max_size=2),
        "sure": st.none() | st.integers(0, 9),
    },
)


def _loud(node: Any, variables: Any = None) -> Any:
    return "".join(value_from_ast_untyped(node, variables)).upper()  # fails for what stands for a variable


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    made = extend_schema(build_schema(SDL), parse("extend type Query { other: Int }"))
    loud = made.type_map["Loud"]
    assert isinstance(loud, GraphQLScalarType)
    loud.parse_literal = _loud  # type: ignore[method-assign]
    return made


def _asked(schema: GraphQLSchema, field: str) -> tuple[OperationDefinitionNode, FieldNode]:
    (operation,) = parse(f"query({VARIABLES}) {{ {field} }}").definitions
    assert isinstance(operation, OperationDefinitionNode)
    (node,) = operation.selection_set.selections
    assert isinstance(node, FieldNode)
    return operation, node


def _made(make: Any) -> Any:
    try:
        return make()
    except GraphQLError as error:
        return error.message


@given(field=st.sampled_from(FIELDS), values=st.lists(GIVEN, min_size=1, max_size=3))
def test_they_are_what_graphql_core_makes_of_the_variables(
    schema: GraphQLSchema, field: str, values: list[dict[str, Any]]
) -> None:
    """Whatever is null, or not given; one after the other, since what was made before is used again."""
    assert schema.query_type is not None
    definition = schema.query_type.fields["things"]
    operation, node = _asked(schema, field)
    ours = Arguments(definition, node)
    for one in values:
        variables = get_variable_values(schema, operation.variable_definitions or (), one)
        assert isinstance(variables, VariableValues), variables
        expected = _made(lambda: get_argument_values(definition, node, variables))  # noqa: B023 - called at once
        assert _made(lambda: ours.of(variables)) == expected  # noqa: B023 - called at once


@pytest.mark.parametrize(
    ("field", "given", "times"),
    [
        ("things(must: $must, filter: {size: {gte: $gte, lt: 3}})", {"gte": 2}, 0),
        ("things(must: 1, filter: {all: [{size: {lt: $lt}}]})", {"lt": 2}, 0),
        ("things(must: 1, filter: {size: {gte: $gte}})", {"gte": None}, 1),
        ("things(must: 1, filter: {size: {gte: $gte}})", {}, 1),
        ("things(must: 1, any: {deep: $any})", {"any": 1}, 0),
        ("things(must: 1, loud: [$text])", {"text": "a"}, 1),
        ("things(must: 1)", {}, 0),
    ],
)
def test_they_are_coerced_once(schema: GraphQLSchema, field: str, given: dict[str, Any], times: int) -> None:
    """Except where a variable is null or not given, or stands in a literal that its type makes something else of."""
    assert schema.query_type is not None
    definition = schema.query_type.fields["things"]
    operation, node = _asked(schema, field)
    ours = Arguments(definition, node)
    variables = get_variable_values(schema, operation.variable_definitions or (), given)
    assert isinstance(variables, VariableValues)
    with patch.object(arguments, "get_argument_values", wraps=get_argument_values) as coerced:
        ours.of(variables)
    assert coerced.call_count == times


def test_wrong_constants_are_told_when_the_plan_is_made(schema: GraphQLSchema) -> None:
    """No value of a variable could make them right."""
    assert schema.query_type is not None
    _, node = _asked(schema, "things")
    with pytest.raises(GraphQLError, match="must"):
        Arguments(schema.query_type.fields["things"], node)
