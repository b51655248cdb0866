"""The error tree and its mask, without a transport (decision 32; traps 7 and 8)."""

from __future__ import annotations

import pytest
from graphql import GraphQLError, parse

from app.graph import errors
from app.graph.documents import Documents, Refused
from app.graph.errors import ErrorCode, GraphError
from app.graph.limits import Limits
from tests.app.http.fleet import SCHEMA


@pytest.mark.parametrize(
    ("error", "extensions"),
    [
        (errors.Unauthenticated(), {"code": "UNAUTHENTICATED"}),
        (errors.Forbidden("read:tasks"), {"code": "FORBIDDEN", "permission": "read:tasks"}),
        (errors.BadUserInput("Wrong."), {"code": "BAD_USER_INPUT"}),
        (errors.BadUserInput("Wrong.", "after"), {"code": "BAD_USER_INPUT", "argument": "after"}),
        (errors.ParseFailed("Wrong."), {"code": "GRAPHQL_PARSE_FAILED"}),
        (errors.ValidationFailed("Wrong."), {"code": "GRAPHQL_VALIDATION_FAILED"}),
        (
            errors.OperationTooComplex(7, 5),
            {"code": "OPERATION_TOO_COMPLEX", "measure": "cost", "cost": 7, "limit": 5},
        ),
        (errors.RateLimited(1.5), {"code": "RATE_LIMITED", "retryAfter": 1.5}),
        (errors.Timeout(), {"code": "TIMEOUT"}),
        (errors.PersistedQueryNotFound(), {"code": "PERSISTED_QUERY_NOT_FOUND"}),
        (errors.CursorExpired("42"), {"code": "CURSOR_EXPIRED", "oldest": "42"}),
        (errors.Internal("r1"), {"code": "INTERNAL", "requestId": "r1"}),
    ],
)
def test_each_error_says_what_its_code_promises(error: GraphError, extensions: dict[str, object]) -> None:
    """api.md, Errors: what stands beside each code; and all of it leaves."""
    (shown,) = errors.present([error], "r1")
    assert shown == {"message": error.message, "extensions": extensions}


def test_the_tree_has_every_code_once() -> None:
    """Decision 32: these codes, and no other."""
    assert sorted(kind.code for kind in GraphError.__subclasses__()) == sorted(ErrorCode)


def test_a_foreign_code_is_not_believed() -> None:
    """trap 8: an exception that brings a code of its own making is masked like any other."""
    (shown,) = errors.present([GraphQLError("secret", extensions={"code": "E42", "sql": "SELECT"})], "r1")
    assert shown["extensions"] == {"code": "INTERNAL", "requestId": "r1"}


def test_suggestions_are_stripped_wherever_they_come_from() -> None:
    """trap 7: the second wall."""
    text = "Unknown type 'Tsk'. Did you mean 'Task', 'Tasks', or 'Run'? Really."
    (shown,) = errors.present([GraphQLError(text)], "r1", ErrorCode.GRAPHQL_VALIDATION_FAILED)
    assert shown["message"] == "Unknown type 'Tsk'. Really."


@pytest.mark.parametrize(
    "query", ["{ helo }", "{ hello(nam: 1) }", "query ($s: Stat) { hello }", "{ state(state: ACTIV) }"]
)
def test_suggestions_are_not_asked_for(query: str) -> None:
    """trap 7: the first wall; computing them also costs more the larger the schema is."""
    with pytest.raises(Refused) as caught:
        Documents(SCHEMA._schema, Limits()).find(query, None)
    assert "Did you mean" not in str(caught.value)


def test_locations_and_path_stay() -> None:
    field = parse("{ a }").definitions[0]
    error = errors.Forbidden("read:tasks", nodes=field, path=["a", 0])
    (shown,) = errors.present([error], "r1")
    assert (shown["locations"], shown["path"]) == ([{"line": 1, "column": 1}], ["a", 0])
