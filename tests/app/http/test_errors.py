"""What errors say, and what they never say (traps 7, 8 and 22; decision 32)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import structlog

SECRETS = (
    "agent_secrets",
    "SELECT",
    "invalid literal",
    "Traceback",
    "UnreadyError",
    "ValueError",
    "Cannot return null",
)


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> tuple[dict[str, Any], str]:
    response = await client.post("/graphql", json={"query": query, "variables": variables})
    error = response.json()["errors"][0]
    assert isinstance(error, dict)
    return error, response.text


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ boom }", {}, "INTERNAL"),
        ("{ mandatoryBoom }", {}, "INTERNAL"),
        ("{ missing }", {}, "INTERNAL"),
        ('{ cursor(after: "x") }', {}, "BAD_USER_INPUT"),
        ('{ day(day: "x") }', {}, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($d: Weekday!) { day(day: $d) }", {"d": "x"}, "BAD_USER_INPUT"),
        ("query ($n: Int = 1) { numbered(n: $n) }", {"n": None}, "BAD_USER_INPUT"),
        ("query ($n: Int = 1) { numbered(n: $n) }", {"n": "x"}, "BAD_USER_INPUT"),
    ],
)
async def test_texts_of_exceptions_stay_inside(
    client: httpx.AsyncClient, query: str, variables: dict[str, Any], code: str
) -> None:
    """trap 8: what was not expected is masked; what a scalar raises on bad input is not quoted."""
    error, text = await ask(client, query, **variables)
    assert error["extensions"]["code"] == code
    assert not [secret for secret in SECRETS if secret in text]


async def test_a_masked_error_is_found_in_the_log(client: httpx.AsyncClient) -> None:
    """api.md, Errors: `requestId` finds it, with its traceback."""
    with structlog.testing.capture_logs() as lines:
        error, _ = await ask(client, "{ boom }")
    (line,) = [line for line in lines if line["event"] == "field_failed"]
    assert line["request_id"] == error["extensions"]["requestId"]
    assert line["path"] == ["boom"]
    assert "agent_secrets" in str(line["exc_info"][1])


async def test_an_expected_error_is_not_masked_nor_logged(client: httpx.AsyncClient) -> None:
    """trap 8: the default masker masks permission errors too; these are kept."""
    with structlog.testing.capture_logs() as lines:
        error, _ = await ask(client, '{ cursor(after: "x") }')
    assert error["message"] == "`after` is not a cursor of this list."
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}
    assert [line["event"] for line in lines] == ["operation"]


@pytest.mark.parametrize(
    "query",
    [
        "{ helo }",
        "{ hello(nam: 1) }",
        "query ($s: Stat) { hello }",
        "{ state(state: ACTIV) }",
        "{ ...F } fragment F on Quer { hello }",
        "{ query { thing { id } } }",
    ],
)
async def test_did_you_mean_never_leaves(client: httpx.AsyncClient, query: str) -> None:
    """trap 7: types, arguments and enums too, for which Strawberry's own switch does nothing."""
    _, text = await ask(client, query)
    assert "Did you mean" not in text
    assert "hello'?" not in text


async def test_a_suggestion_in_variables_is_stripped_as_well(client: httpx.AsyncClient) -> None:
    """trap 7: the second wall, where graphql-core was asked for none."""
    _, text = await ask(client, "query ($s: State!) { state(state: $s) }", s="ACTIV")
    assert "ACTIVE" not in text
    assert "Did you mean" not in text


async def test_a_long_name_comes_back_short(client: httpx.AsyncClient) -> None:
    """trap 3: errors that each quote a long name would make the answer far larger than the question."""
    name = "n" * 50_000
    operation = f"query {name} {{ " + " ".join(f"a{number}: numbered(n: $v{number})" for number in range(60)) + " }"
    response = await client.post("/graphql", json={"query": operation})
    assert response.status_code == 400
    assert len(response.json()["errors"]) <= 51
    assert len(response.content) < 100_000
