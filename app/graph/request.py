"""What a request asks for, as far as it says so itself: its form, the document that it names, its variables' values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from graphql import GraphQLSchema
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values

from app.graph.documents import Operation, Refused
from app.graph.errors import BadUserInput, ErrorCode


class GraphQLRequest(msgspec.Struct, frozen=True, rename="camel"):
    """The parameters of a GraphQL request, as every transport carries them. Other members are ignored."""

    query: str | None = None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    extensions: dict[str, Any] | None = None
    document_id: str | None = None
    """The id of a trusted document, or the hash of one that was sent before (`sha256:…`)."""


def name_of(request: GraphQLRequest) -> str | None:
    """What names the document: the hash of an automatic persisted query, or an id. Raises `Refused` where it is
    malformed, or there is neither a name nor a query."""
    persisted = (request.extensions or {}).get("persistedQuery")
    if persisted is None:
        if request.query is None and request.document_id is None:
            raise _malformed("The request has no query.", "query")
        return None if request.query is not None or request.document_id is None else _bare(request.document_id)
    found = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    if not isinstance(found, str):
        raise _malformed("Give the SHA-256 of the query in hex.", "extensions.persistedQuery.sha256Hash")
    return found.lower()


def _bare(document_id: str) -> str:
    return document_id.removeprefix("sha256:")


def _malformed(message: str, argument: str) -> Refused:
    return Refused([BadUserInput(message, argument)], ErrorCode.BAD_USER_INPUT, malformed=True)


class Question:
    """An operation with the variables that it is asked with: all that an answer depends on but the caller and the data.

    It may be asked again and by others (`app.http.repeated`), so nobody may change what it holds.
    """

    __slots__ = ("cost", "operation", "values", "variables")

    def __init__(self, operation: Operation, variables: Mapping[str, Any] | None) -> None:
        self.operation = operation
        self.variables = variables or {}
        """As they came."""
        self.values: VariableValues | None = None
        """What they come to, once `settled` has found them good."""
        self.cost = 0
        """Rows, once that is so."""

    def settled(self, schema: GraphQLSchema, most_errors: int) -> VariableValues:
        """The variables' values, found the first time; `cost` is then known too. Raises `Refused`."""
        if self.values is None:
            operation = self.operation
            values = good_values(operation, self.variables) or get_variable_values(
                schema,
                operation.node.variable_definitions or (),
                dict(self.variables),
                max_errors=most_errors,
                hide_suggestions=True,
            )
            if isinstance(values, list):
                raise Refused(values, ErrorCode.BAD_USER_INPUT)
            self.cost = operation.document.prices.evaluate(operation.measures.rows, values.coerced)
            self.values = values
        return self.values


def good_values(operation: Operation, given: Mapping[str, Any]) -> VariableValues | None:
    """The variables' values where each is given and good: what graphql-core would make of them.

    None for everything else, which is graphql-core's to judge.
    """
    sources: dict[str, VariableValueSource] = {}
    found: dict[str, Any] = {}
    for signature, coerce in operation.variables:
        name = signature.name
        if name not in given:
            return None
        value = given[name]
        try:
            found[name] = coerce(value, 0)
        except Exception:  # whatever is wrong with it, graphql-core says it better
            return None
        sources[name] = VariableValueSource(signature, value)
    return VariableValues(sources, found)
