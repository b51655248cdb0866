"""What is given and taken holds from the next request on: over HTTP, with the real gateway and real tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.auth.actor import ActorKind
from app.auth.tokens import PLATFORM_SUBJECT
from app.main import Application
from db.connections import Connections
from db.ids import new_id
from tests.serving import open_application

ERRORS = "userErrors { code message field }"


@dataclass
class Gateway:
    """The running application, and who asks it."""

    application: Application
    http: httpx.AsyncClient
    slug: str

    def token(self, subject: str | None = None) -> str:
        """A token of somebody with this subject; the platform's without one."""
        tokens = self.application.gateway.authenticator.local
        assert tokens is not None
        if subject is None:
            return tokens.issue(ActorKind.PLATFORM, PLATFORM_SUBJECT)
        return tokens.issue(ActorKind.OPERATOR, subject, tenant=self.slug)

    async def ask(self, token: str, query: str, **variables: Any) -> dict[str, Any]:
        """The body of an answer."""
        response = await self.http.post(
            "/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {token}"},
        )
        body: dict[str, Any] = response.json()
        return body

    async def do(self, token: str, name: str, selection: str, /, **given: Any) -> Any:
        """The payload of a mutation that is done."""
        kind = name[0].upper() + name[1:]
        query = f"mutation($input: {kind}Input!) {{ {name}(input: $input) {{ {selection} {ERRORS} }} }}"
        body = await self.ask(token, query, input=given)
        assert "errors" not in body, body["errors"]
        payload = body["data"][name]
        assert payload["userErrors"] == []
        return payload

    async def code(self, token: str, query: str, **variables: Any) -> str | None:
        """The code of the first error; None where there is none."""
        body = await self.ask(token, query, **variables)
        return body["errors"][0]["extensions"]["code"] if "errors" in body else None


@pytest.fixture
async def gateway(connections: Connections, tmp_path: Path) -> AsyncIterator[Gateway]:
    """The application with nobody in it."""
    async with open_application(connections, tmp_path) as (application, http):
        yield Gateway(application, http, f"web-{new_id().hex[-12:]}")


async def begin(gateway: Gateway) -> str:
    """A tenant with two Admins; the token of the first."""
    people = [
        {"name": name, "email": f"{name}@{gateway.slug}.example", "authId": f"{gateway.slug}-{name}"}
        for name in ("ada", "grace")
    ]
    payload = await gateway.do(
        gateway.token(),
        "tenantBootstrap",
        "tenantId slug advice",
        name="Acme",
        slug=gateway.slug,
        operators=people,
    )
    assert payload["slug"] == gateway.slug
    assert payload["advice"][0].startswith("Invite 1 more")
    return gateway.token(f"{gateway.slug}-ada")


VIEWER_ROLE = '{ roles(filter: {name: {eq: "Viewer"}}) { edges { node { id } } } }'
PROJECTS = "{ projects { edges { node { id slug } } } }"
ME = "{ viewer { kind } }"


async def test_permissions_are_computed_for_each_request(gateway: Gateway) -> None:
    """RBAC-7, behaviour 1.18. One token, good for an hour: what it allows follows every change at once."""
    ada = await begin(gateway)
    invited = await gateway.do(
        ada, "operatorInvite", "operator { id } changeRecord { type }", name="Nia", email="nia@web.example"
    )
    assert invited["changeRecord"]["type"] == "OPERATOR_CREATED"
    person = invited["operator"]["id"]
    nia = gateway.token(await _subject(gateway, person))
    assert await gateway.code(nia, PROJECTS) == "FORBIDDEN"

    role = (await gateway.ask(ada, VIEWER_ROLE))["data"]["roles"]["edges"][0]["node"]["id"]
    given = await gateway.do(
        ada, "roleAssign", "roleAssignment { id role { name } operator { id } }", roleId=role, operatorId=person
    )
    assert given["roleAssignment"]["role"] == {"name": "Viewer"}
    assert await gateway.code(nia, PROJECTS) is None

    mine = await gateway.do(ada, "roleCreate", "role { id }", name="Planner", permissions=["write:projects"])
    planner = await gateway.do(ada, "roleAssign", "roleAssignment { id }", roleId=mine["role"]["id"], operatorId=person)
    project = (await gateway.ask(nia, PROJECTS))["data"]["projects"]["edges"][0]["node"]["id"]
    update = {"projectId": project, "description": "by Nia"}
    await gateway.do(nia, "projectUpdate", "project { description }", **update)
    await gateway.do(ada, "roleUpdate", "role { id }", roleId=mine["role"]["id"], permissions=[])
    again = "mutation($input: ProjectUpdateInput!) { projectUpdate(input: $input) { userErrors { code } } }"
    assert await gateway.code(nia, again, input=update) == "FORBIDDEN"
    gone = await gateway.do(
        ada, "roleRevoke", "assignmentId operator { id }", assignmentId=planner["roleAssignment"]["id"]
    )
    assert gone == {
        "assignmentId": planner["roleAssignment"]["id"],
        "operator": {"id": person},
        "userErrors": [],
    }

    await gateway.do(ada, "operatorSuspend", "operator { status }", operatorId=person)
    assert await gateway.code(nia, ME) == "UNAUTHENTICATED"
    await gateway.do(ada, "operatorReactivate", "operator { status }", operatorId=person)
    assert await gateway.code(nia, PROJECTS) is None
    await gateway.do(ada, "operatorDeactivate", "operator { status }", operatorId=person)
    assert await gateway.code(nia, ME) == "UNAUTHENTICATED"


async def test_the_platform_reads_no_tenant(gateway: Gateway) -> None:
    """Decision 24. The token that makes a tenant sees nothing of it, not even its own record of it."""
    await begin(gateway)
    assert await gateway.code(gateway.token(), PROJECTS) == "FORBIDDEN"
    asking = "mutation($input: TenantBootstrapInput!) { tenantBootstrap(input: $input) { changeRecord { id } } }"
    given = {"name": "B", "slug": f"{gateway.slug}-b", "operators": [{"name": "B", "email": "b@web.example"}]}
    assert await gateway.code(gateway.token(), asking, input=given) == "FORBIDDEN"


async def test_a_vendors_key_is_sealed_by_the_gateway(gateway: Gateway) -> None:
    """PII-4. The gateway has a key of its own in development, so that secrets are taken, and shows none of them."""
    ada = await begin(gateway)
    made = await gateway.do(
        ada, "providerCreate", "provider { id name }", name="AI", type="CUSTOM", config={"apiKey": "hush"}
    )
    assert made["provider"]["name"] == "AI"
    project = (await gateway.ask(ada, PROJECTS))["data"]["projects"]["edges"][0]["node"]["id"]
    await gateway.do(ada, "projectUpdate", "project { id }", projectId=project, githubWebhookSecret="hush")


async def test_no_token_and_bad_ids(gateway: Gateway) -> None:
    """ERR-3. No token, an id of another type and an over-long text are each told apart."""
    ada = await begin(gateway)
    invite = "mutation($input: OperatorInviteInput!) { operatorInvite(input: $input) { userErrors { code field } } }"
    person = {"name": "n" * 101, "email": "n@web.example"}
    assert await gateway.code("nonsense", invite, input=person) == "UNAUTHENTICATED"
    body = await gateway.ask(ada, invite, input=person)
    assert body["data"]["operatorInvite"]["userErrors"] == [{"code": "VALIDATION_ERROR", "field": ["input", "name"]}]
    suspend = "mutation($input: OperatorSuspendInput!) { operatorSuspend(input: $input) { userErrors { code } } }"
    assert await gateway.code(ada, suspend, input={"operatorId": f"prj_{new_id().hex}"}) == "BAD_USER_INPUT"
    noted = {"name": "N", "email": "n@web.example", "metadata": ["no object"]}
    assert await gateway.code(ada, invite, input=noted) == "BAD_USER_INPUT"
    unknown = await gateway.ask(ada, suspend, input={"operatorId": f"opr_{new_id().hex}"})
    assert unknown["data"]["operatorSuspend"]["userErrors"] == [{"code": "NOT_FOUND"}]


async def _subject(gateway: Gateway, operator: str) -> str:
    """The subject that an invitation stands for, from the row: the API never shows it."""
    async with gateway.application.gateway.database.platform() as connection:
        found = await connection.exec_driver_sql(
            "SELECT auth_id FROM operators WHERE id = $1", (operator.removeprefix("opr_"),)
        )
        subject: str = found.scalar_one()
        return subject
