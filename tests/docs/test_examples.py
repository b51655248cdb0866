"""The examples are true: each is a valid operation of the schema, and each answers with rows on the demo fleet."""

from __future__ import annotations

import pytest
from graphql import GraphQLSchema, OperationDefinitionNode, parse, validate
from graphql.execution.values import get_variable_values

from app.schema import schema
from tests.docs.examples import DIRECTORY, VIEWER, Example, examples

EXAMPLES = examples()


def graphql_schema() -> GraphQLSchema:
    return schema()._schema


def operation_of(example: Example) -> OperationDefinitionNode:
    (operation,) = parse(example.query).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return operation


def test_the_five_of_the_issue_come_first() -> None:
    """Issue point 7 names them, in this order."""
    names = [operation_of(example).name for example in EXAMPLES[:5]]
    assert [name and name.value for name in names] == [
        "RunLineage",
        "TaskThread",
        "TemplateVersions",
        "PendingApprovals",
        "OperatorChanges",
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
class TestEach:
    def test_says_what_it_is_in_its_first_line(self, example: Example) -> None:
        title, description, *_ = example.query.splitlines()
        assert title.startswith("# ")
        assert description.startswith("# ")

    def test_fits_the_editor(self, example: Example) -> None:
        """The query pane is narrow beside a sidebar; nobody should have to scroll an example sideways."""
        assert [line for line in example.query.splitlines() if len(line) > 62] == []

    def test_is_valid_with_its_variables(self, example: Example) -> None:
        assert validate(graphql_schema(), parse(example.query)) == []
        operation = operation_of(example)
        assert operation.name is not None  # it is the title of the tab
        coerced = get_variable_values(graphql_schema(), operation.variable_definitions or (), example.variables)
        assert not isinstance(coerced, list), coerced  # of errors
        assert set(coerced.coerced) == set(example.variables)


def test_variables_belong_to_an_example() -> None:
    names = {path.name.removesuffix(".variables.json") for path in DIRECTORY.glob("*.json")}
    assert names <= {example.name for example in EXAMPLES}


def test_the_page_asks_a_valid_question_to_say_who_is_signed_in() -> None:
    assert validate(graphql_schema(), parse(VIEWER.read_text(encoding="utf-8"))) == []
