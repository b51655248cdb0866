"""Where a request comes from stands in the rows of the security journal that it writes, made unrecognisable (PII-3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.origin import LONGEST_AGENT, NOWHERE, ORIGIN, Origin, Raw, origin, origin_of
from app.running import run
from app.unit_of_work import PermissionDenied
from db.connections import Connections
from tests.app.live.gateway import running, socket_of
from tests.conftest import TenantUnderTest
from tests.serving import Served

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/128.0"
CREATE = "mutation($input: ProjectCreateInput!) { projectCreate(input: $input) { userErrors { code } } }"
EXPORT = "mutation($input: OperatorExportInput!) { operatorExport(input: $input) { userErrors { code } } }"


async def noted(tenant: TenantUnderTest, action: str) -> list[Origin]:
    """Where the rows of an action come from, oldest first."""
    async with tenant.database.platform() as connection:
        found = await connection.execute(
            text(
                "SELECT ip_address, user_agent FROM audit_logs WHERE tenant_id = :tenant AND action = :action"
                " ORDER BY timestamp, id"
            ),
            {"tenant": tenant.id, "action": action},
        )
        return [Origin(*row) for row in found]


@pytest.mark.parametrize(
    ("raw", "stored"),
    [
        ((("203.0.113.77", 40_000), [(b"user-agent", BROWSER.encode())]), ("203.0.113.0", "Mozilla Gecko Firefox")),
        ((("2001:db8:1:2::9", 1), [(b"host", b"x")]), ("2001:db8:1::", None)),
        ((None, [(b"user-agent", b"a\0b/1.0 \xff")]), (None, "a b \xff")),
        ((("", 0), []), (None, None)),
        ((None, [(b"user-agent", b"(bot)")]), (None, None)),
        ((None, [(b"user-agent", b"a" * 60_000)]), (None, "a" * LONGEST_AGENT)),
    ],
)
def test_pii_3_what_is_stored_names_no_machine(raw: Raw, stored: tuple[str | None, str | None]) -> None:
    """Neither the address, nor the program's version; what a server does not know is absent."""
    assert origin_of(raw) == stored


def test_what_no_request_does_comes_from_nowhere() -> None:
    """Jobs have no address."""
    assert origin() == NOWHERE == (None, None)


async def test_denials_and_grants_over_http_say_where_from(served: Served) -> None:
    """AUD-1, PII-3. Both rows, and each has the address of its own request."""
    viewer = await served.token("Viewer")
    places = {"203.0.113.77": "203.0.113.0", "2001:db8:1:2::9": "2001:db8:1::"}
    for address in places:
        transport = httpx.ASGITransport(app=served.application, client=(address, 40_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            for token, query, given in (
                (f"Bearer {viewer}", CREATE, {"name": "P", "slug": "p"}),
                (served.headers["Authorization"], EXPORT, {"operatorId": f"opr_{served.admin.id.hex}"}),
            ):
                body = {"query": query, "variables": {"input": given}}
                headers = {"Authorization": token, "User-Agent": BROWSER}
                assert (await client.post("/graphql", json=body, headers=headers)).status_code < 500
    wanted = [Origin(place, "Mozilla Gecko Firefox") for place in places.values()]
    assert await noted(served.tenant, "ACCESS_DENIED") == wanted
    assert await noted(served.tenant, "ACCESS_GRANTED") == wanted
    assert await noted(served.tenant, "GDPR_EXPORT") == wanted
    assert ORIGIN.get() is None  # nothing is left behind for what the task does next


@pytest.mark.parametrize(("trusted", "address"), [("127.0.0.1", "203.0.113.0"), ("", "127.0.0.0")])
async def test_over_a_server_the_address_is_that_which_a_trusted_proxy_forwards(
    connections: Connections, tenant: TenantUnderTest, tmp_path: Path, trusted: str, address: str
) -> None:
    """Over HTTP and on a socket."""
    async with running(connections, tmp_path, trusted_proxies=trusted) as gateway:
        token = await gateway.token(tenant, "Viewer")
        forwarded = {"X-Forwarded-For": "203.0.113.77", "User-Agent": BROWSER}
        body: dict[str, Any] = {"query": CREATE, "variables": {"input": {"name": "P", "slug": "p"}}}
        async with httpx.AsyncClient(headers={**forwarded, "Authorization": f"Bearer {token}"}) as client:
            await client.post(gateway.url, json=body)
        proxied = {"X-Forwarded-For": forwarded["X-Forwarded-For"]}
        async with socket_of(gateway, token, additional_headers=proxied, user_agent_header=BROWSER) as opened:
            refused = await (await opened.subscribe(CREATE, **body["variables"])).next()
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await noted(tenant, "ACCESS_DENIED") == [Origin(address, "Mozilla Gecko Firefox")] * 2


async def test_commands_outside_of_requests_have_no_address(tenant: TenantUnderTest) -> None:
    """What the gateway does itself, and what tests do without the edge."""
    with pytest.raises(PermissionDenied):
        await run(tenant.database, tenant.actor("read:projects"), "create_project", {"name": "P", "slug": "p"})
    assert await noted(tenant, "ACCESS_DENIED") == [NOWHERE]
