"""Trusted documents: a file of operations, sent by their ids, and nothing else where the setting says so (api.md)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.graph.execution import Executor
from app.graph.request import GraphQLRequest
from app.graph.trusted import Trusted, TrustedUnusable, read_trusted
from app.schema import schema
from app.settings import SettingsError
from db.connections import Connections
from tests.conftest import TenantUnderTest
from tests.serving import open_application, serve

TENANT = "query Slug { tenants { edges { node { slug } } } }"
TASKS = "{ tasks { totalCount } }"


def written(path: Path, value: Any) -> Path:
    path.write_bytes(orjson.dumps(value))
    return path


def test_both_forms_of_the_file_are_read(tmp_path: Path) -> None:
    """An object by id, and Apollo's manifest."""
    plain = read_trusted(written(tmp_path / "a.json", {"slug": TENANT}), alone=True)
    manifest = {
        "format": "apollo-persisted-query-manifest",
        "version": 1,
        "operations": [{"id": "slug", "name": "Slug", "type": "query", "body": TENANT}],
    }
    assert read_trusted(written(tmp_path / "b.json", manifest), alone=True) == plain == Trusted({"slug": TENANT}, True)


@pytest.mark.parametrize("value", [[], {"slug": 5}, {"format": "apollo-persisted-query-manifest", "operations": [1]}])
def test_a_file_of_another_form_is_refused(tmp_path: Path, value: Any) -> None:
    """At the start, with its name."""
    with pytest.raises(TrustedUnusable, match=r"a\.json"):
        read_trusted(written(tmp_path / "a.json", value), alone=False)
    with pytest.raises(TrustedUnusable, match="cannot be read"):
        read_trusted(tmp_path / "none.json", alone=False)


def test_a_document_that_is_not_good_is_told_at_the_start() -> None:
    """Not when the first client sends its id."""
    with pytest.raises(TrustedUnusable, match="broken"):
        Executor(schema(), trusted=Trusted({"broken": "{ nothing }"}))


def test_a_trusted_document_is_found_by_id_hash_and_text() -> None:
    """By any of the three ways in which clients name a document."""
    executor = Executor(schema(), trusted=Trusted({"slug": TENANT}, alone=True))
    digest = hashlib.sha256(TENANT.encode()).hexdigest()
    for request in (
        GraphQLRequest(document_id="slug"),
        GraphQLRequest(document_id=f"sha256:{digest}"),
        GraphQLRequest(query=TENANT),
        GraphQLRequest(extensions={"persistedQuery": {"version": 1, "sha256Hash": digest}}),
        GraphQLRequest(query=TENANT, extensions={"persistedQuery": {"version": 1, "sha256Hash": digest}}),
    ):
        assert executor.prepare(request).name == "Slug"


@pytest.mark.parametrize("alone", [True, False])
async def test_other_documents_are_refused_where_the_setting_says_so(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path, alone: bool
) -> None:
    """Over HTTP: the trusted one by its id, another by its text, and introspection."""
    path = written(tmp_path / "trusted.json", {"slug": TENANT})
    async with serve(connections, tenant, tmp_path, trusted_documents=path, trusted_documents_only=alone) as served:

        async def code(**body: Any) -> str | None:
            response = await served.client.post("/graphql", json=body, headers=served.headers)
            errors = response.json().get("errors")
            return errors[0]["extensions"]["code"] if errors else None

        assert await code(documentId="slug") is None
        assert await code(documentId="unknown") == "PERSISTED_QUERY_NOT_FOUND"
        for other in (TASKS, "{ __schema { queryType { name } } }"):
            assert await code(query=other) == ("BAD_USER_INPUT" if alone else None)


async def test_a_file_that_cannot_be_used_stops_the_start(connections: Connections, tmp_path: Path) -> None:
    """With the setting's name."""
    with pytest.raises(SettingsError, match="FLEETGRAPH_TRUSTED_DOCUMENTS"):
        async with open_application(connections, tmp_path, trusted_documents=tmp_path / "none.json"):
            pass
