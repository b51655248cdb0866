"""A body that comes again is read once; everything else is done each time (`app.http.repeated`)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.auth.actor import ActorKind
from app.graph.documents import Document
from app.graph.errors import RateLimited
from app.graph.execution import Executor, Hooks, Outcome
from app.graph.limits import Limits
from app.graph.request import GraphQLRequest, Question
from app.http import body
from app.http.limits import EdgeLimits
from app.http.repeated import LONGEST, Repeated
from db import models
from db.ids import new_id
from tests.app.http.conftest import client_of
from tests.app.http.fleet import SCHEMA, Fleet, fleet
from tests.conftest import TenantUnderTest
from tests.serving import Served, grant, new_person

HELLO = "query ($name: String!) { hello(name: $name) }"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were read."""
    found: list[bytes] = []
    decode = body._decoded

    def decoded(decoder: Any, data: bytes, name: str) -> Any:
        found.append(data)
        return decode(decoder, data, name)

    monkeypatch.setattr(body, "_decoded", decoded)
    return found


async def ask(client: httpx.AsyncClient, query: str, **members: Any) -> dict[str, Any]:
    response = await client.post("/graphql", json={"query": query, **members})
    found: dict[str, Any] = response.json()
    return found


async def test_the_same_body_is_read_once(gateway: Fleet, client: httpx.AsyncClient, read: list[bytes]) -> None:
    """Issue 6: every other one is a request like the first, with its context, its cost and its count."""
    for number in (1, 2, 3):
        answer = await ask(client, HELLO, variables={"name": "Ada"})
        assert answer == {"data": {"hello": "hello Ada"}, "extensions": {"cost": {"requested": 0, "limit": 50_000}}}
        assert gateway.house.opened == gateway.house.closed == number
    assert len(read) == 1
    assert len(set(gateway.house.requests)) == 3
    metrics = (await client.get("/metrics")).text
    assert 'fleetgraph_operations_total{kind="query",operation="(anonymous)",outcome="OK"} 3.0' in metrics


async def test_other_variables_and_other_operations_are_other_questions(
    client: httpx.AsyncClient, read: list[bytes]
) -> None:
    """Whatever differs in the body may decide the answer."""
    both = "query A { hello } query B { numbered }"
    for _ in range(2):
        for name in ("Ada", "Bo"):
            assert (await ask(client, HELLO, variables={"name": name}))["data"] == {"hello": f"hello {name}"}
        assert (await ask(client, both, operationName="A"))["data"] == {"hello": "hello world"}
        assert (await ask(client, both, operationName="B"))["data"] == {"numbered": 1}
    assert len(read) == 4


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ('mutation { rename(name: "x") }', {}),
        ("{", {}),
        ("{ nothing }", {}),
        (HELLO, {"variables": {"name": 5}}),
        ("{ things(first: 200000) { edges { node { id } } } }", {}),
        (f"# {'x' * LONGEST}\n{{ hello }}", {}),
    ],
)
async def test_what_writes_is_refused_or_long_is_read_each_time(
    gateway: Fleet, client: httpx.AsyncClient, read: list[bytes], query: str, members: dict[str, Any]
) -> None:
    """Only good queries are remembered."""
    first, second = await ask(client, query, **members), await ask(client, query, **members)
    assert len(read) == 2
    assert first.get("data") == second.get("data")
    assert len(gateway.endpoint.repeated) == 0


async def test_batches_and_streams_are_read_each_time(read: list[bytes]) -> None:
    """A batch is several operations with ids of their own, and an answer may be wanted as a stream."""
    made = fleet(edges=EdgeLimits(max_batch=2))
    async with client_of(made) as client:
        for _ in range(2):
            answers = (await client.post("/graphql", json=[{"query": "{ hello }"}])).json()
            assert [one["data"] for one in answers] == [{"hello": "hello world"}]
        assert len(made.endpoint.repeated) == 0
        await ask(client, "{ hello }")
        streamed = await client.post("/graphql", json={"query": "{ hello }"}, headers={"Accept": "text/event-stream"})
        assert streamed.headers["content-type"].startswith("text/event-stream")
        assert "hello world" in streamed.text
    assert len(read) == 4


async def test_whether_a_caller_may_ask_is_decided_each_time() -> None:
    """Decision 34: a body that is known counts like any other, and is refused like any other."""
    asked = itertools.count(1)

    def every_other(_operation: object, _context: object) -> list[RateLimited]:
        return [RateLimited(1.0)] if next(asked) % 2 == 0 else []

    async with client_of(fleet(hooks=Hooks(authorize=every_other))) as client:
        found = [(await client.post("/graphql", json={"query": "{ hello }"})).status_code for _ in range(4)]
        assert found == [200, 429, 200, 429]


async def test_the_cost_is_that_of_the_variables() -> None:
    """api.md, Limits: a remembered question keeps its own cost, and one that is too dear stays refused."""
    query = "query ($n: Int!) { things(first: $n) { edges { node { id } } } }"
    async with client_of(fleet(Limits(max_cost=20))) as client:
        for _ in range(2):
            assert (await ask(client, query, variables={"n": 3}))["extensions"]["cost"]["requested"] == 4
            dear = await ask(client, query, variables={"n": 30})
            assert dear["errors"][0]["extensions"]["code"] == "OPERATION_TOO_COMPLEX"


async def test_a_body_whose_document_has_gone_is_read_again(
    gateway: Fleet, client: httpx.AsyncClient, read: list[bytes]
) -> None:
    """trap 21: whoever sends a query may ask for it by its hash from then on, also where its body was known."""
    documents = gateway.endpoint._executor._documents
    extensions = {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(b"{ hello }").hexdigest()}}
    for members in ({}, {"extensions": extensions}):
        await ask(client, "{ hello }", **members)
        documents._cache = type(documents._cache)(10, 2**20)
        gone = await client.post("/graphql", json={"extensions": extensions})
        assert gone.json()["errors"][0]["message"] == "PersistedQueryNotFound"
        await ask(client, "{ hello }", **members)
        for _ in range(2):
            known = await client.post("/graphql", json={"extensions": extensions})
            assert known.json()["data"] == {"hello": "hello world"}
    assert len(read) == 8


def _question(executor: Executor, query: str) -> Question:
    return Question(executor.prepare(GraphQLRequest(query)), None)


def _kept(_document: Document) -> bool:
    return True


@pytest.mark.parametrize("limits", [{"entries": 3}, {"size": 3 * (2_000 + 9 * 150 + 40)}])
def test_what_is_remembered_is_bounded(limits: Mapping[str, int]) -> None:
    """Trap 4: in entries and in bytes, each with its document; what was asked longest ago goes first."""
    repeated, executor = Repeated(_kept, **limits), Executor(SCHEMA)
    question, outcome = _question(executor, "{ hello }"), Outcome(executed=True)
    for name in (b"a", b"b"):
        repeated.put(name, question, outcome)
    assert repeated.get(b"a") is question
    for name in (b"c", b"d"):
        repeated.put(name, question, outcome)
    assert len(repeated) <= 3
    assert repeated.used >= len(repeated) * 9 * 150
    assert [repeated.get(name) is not None for name in (b"a", b"b", b"d")] == [True, False, True]


PROJECT = "query ($id: ID!) { project(id: $id) { name } }"


async def test_each_caller_gets_what_is_theirs(
    served: Served, other_tenant: TenantUnderTest, read: list[bytes]
) -> None:
    """Decisions 29 and 30: the same bytes find what each caller may see, and are refused to who may not ask."""
    stranger = new_person("Stranger")
    await other_tenant.add(stranger)
    await grant(other_tenant, stranger.id, "Admin")
    elsewhere = await served.token("Viewer", project_id=await _another_project(served))
    nothing = served.token_of(await _person_without_roles(served))
    tokens = served.application.gateway.authenticator.local
    assert tokens is not None
    foreign = tokens.issue(ActorKind.OPERATOR, stranger.auth_id, tenant=other_tenant.slug)
    asked = f"prj_{served.tenant.project.id.hex}"
    for _ in range(2):
        assert (await served.post(PROJECT, id=asked))["data"] == {"project": {"name": served.tenant.project.name}}
        assert (await served.post(PROJECT, foreign, id=asked))["data"] == {"project": None}
        assert (await served.post(PROJECT, elsewhere, id=asked))["data"] == {"project": None}
        refused = await served.post(PROJECT, nothing, id=asked)
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert "data" not in refused
    assert len(read) == 1


async def _another_project(served: Served) -> UUID:
    project = models.Project(id=new_id(), name="Elsewhere", slug=f"elsewhere-{new_id().hex[-6:]}")
    await served.tenant.add(project)
    return project.id


async def _person_without_roles(served: Served) -> models.Operator:
    person = new_person("Nobody")
    await served.tenant.add(person)
    return person
