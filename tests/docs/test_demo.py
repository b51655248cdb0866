"""GraphiQL and its examples on the demo fleet, from the address that `make run` prints (issue, "It is done when")."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app.http import graphiql_build
from tests.app.http.chromium import window
from tests.docs.conftest import Served
from tests.docs.examples import Example, examples


def rows(answer: Any) -> int:
    """How many rows stand in the connections of an answer, at any depth."""
    if isinstance(answer, dict):
        return len(answer.get("edges", ())) + sum(rows(value) for value in answer.values())
    return sum(map(rows, answer)) if isinstance(answer, list) else 0


LIVE = [example for example in examples() if "\nsubscription " in example.query]


@pytest.mark.parametrize("example", LIVE, ids=lambda example: example.name)
def test_each_live_example_tells_of_something(served: Served, example: Example) -> None:
    """On the demo fleet each has something to say at once; here by server-sent events."""
    headers = {"Authorization": f"Bearer {served.token}", "Accept": "text/event-stream"}
    body = {"query": example.query, "variables": example.variables}
    with httpx.stream("POST", served.url, json=body, headers=headers, timeout=60) as response:
        assert response.status_code == 200
        heard = (line for line in response.iter_lines() if line.startswith("data: "))
        for _ in range(5):
            said = json.loads(next(heard).removeprefix("data: "))
            assert "errors" not in said, said
            assert said["extensions"]["cursor"]


@pytest.mark.parametrize("example", [one for one in examples() if one not in LIVE], ids=lambda example: example.name)
def test_each_example_answers_with_rows(served: Served, example: Example) -> None:
    """An example that shows nothing teaches nothing: each list in it has rows somewhere, and nothing is an error."""
    response = httpx.post(
        served.url,
        json={"query": example.query, "variables": example.variables},
        headers={"Authorization": f"Bearer {served.token}"},
        timeout=60,
    )
    answer = response.json()
    assert response.status_code == 200
    assert "errors" not in answer, answer["errors"]
    assert rows(answer["data"]) >= 5
    for name in connections(answer["data"]):
        assert any(rows({name: found}) for found in connections(answer["data"])[name]), f"{name} is empty everywhere"


def connections(answer: Any) -> dict[str, list[Any]]:
    """The connections of an answer by the name of their field."""
    found: dict[str, list[Any]] = {}
    for name, value in answer.items() if isinstance(answer, dict) else ():
        if isinstance(value, dict) and "edges" in value:
            found.setdefault(name, []).append(value)
    children = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    for child in children:
        for name, values in connections(child).items():
            found.setdefault(name, []).extend(values)
    return found


async def test_a_browser_opens_the_printed_link_and_sees_the_lineage_of_runs(served: Served) -> None:
    """Headless Chromium opens GraphiQL, runs the first example, sees rows, and asks no other host for anything."""
    outcome = graphiql_build.build()
    assert outcome.reason is None, outcome.reason
    async with window(served.url) as shown:
        await shown.page.goto(served.link)
        assert await shown.signed_in_as()
        assert await shown.page.inner_text(".fleet-tenant")
        assert shown.page.url == served.url  # the token is out of the address
        assert await shown.page.inner_text("[role=tab] >> nth=0") == "RunLineage"
        await shown.run()
        answer = json.loads(await shown.response("genomeHash"))
        assert "errors" not in answer
        runs = [edge["node"] for edge in answer["data"]["runs"]["edges"]]
        assert len(runs) == 5
        for run in runs:
            assert run["version"]["template"]["name"]
            assert len(run["version"]["genomeHash"]) == 64
            assert run["instance"]["policyEnvelope"]["name"]
        # the documentation is that of the real schema, fetched with the token
        await shown.page.click('button[aria-label="Show Documentation Explorer"]')
        await shown.page.wait_for_selector("a.graphiql-doc-explorer-type-name:text-is('AgentVersion')")
        assert shown.hosts == {served.url.removeprefix("http://").split("/")[0]}
        assert not [address for address in shown.addresses if served.token in address]
        assert shown.complaints == []
