"""GraphiQL as the gateway serves it: over a real socket, and in a real browser (issue point 7; trap 18)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from app.http import graphiql, graphiql_build
from app.http.request_id import RequestId
from tests.app.http.chromium import Window, window
from tests.app.http.graphiql_stage import AGENT_TOKEN, MANY_TENANTS_TOKEN, TOKEN, Stage, serving

BROWSER_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
RUNS = "query Fleet { runs(first: 3) { id costUsd } }"


@pytest.fixture(scope="module")
def built() -> Path:
    """The page, made from its sources if it is not there yet (as `make test` does before the tests)."""
    outcome = graphiql_build.build()
    assert outcome.reason is None, outcome.reason
    return outcome.path


@pytest.fixture
def stage(built: Path) -> Iterator[Stage]:
    stage = Stage()
    with serving(stage) as url:
        stage.url = f"{url}/graphql"
        yield stage


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=60)


def assets_of(html: str) -> list[str]:
    return [part.split('"')[0] for part in html.split('href="')[1:] + html.split('src="')[1:]]


class TestPage:
    def test_a_browser_gets_the_page_and_nothing_in_it_is_from_elsewhere(self, stage: Stage) -> None:
        response = get(stage.url, accept=BROWSER_ACCEPT)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "<title>Fleetgraph</title>" in response.text
        assert "//" not in "".join(assets_of(response.text))

    @pytest.mark.parametrize(
        ("path", "base"),
        [("/graphql", "graphql/assets/"), ("/graphql/", "assets/"), ("/fleet/graphql", "graphql/assets/")],
    )
    async def test_the_assets_are_found_below_any_prefix(self, built: Path, path: str, base: str) -> None:
        page = graphiql.Page(built)
        with serving(Starlette(routes=[Route(path, page.page)])) as url:
            addresses = assets_of(get(url + path).text)
        assert len(addresses) == 4
        assert all(address.startswith(base) for address in addresses)

    def test_headers_against_framing_sniffing_and_foreign_code(self, stage: Stage) -> None:
        headers = get(stage.url, accept=BROWSER_ACCEPT).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["worker-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"

    def test_an_api_client_gets_no_page(self, stage: Stage) -> None:
        response = get(stage.url, accept="*/*")
        assert response.status_code == 401
        assert "accept" in get(stage.url, accept=BROWSER_ACCEPT).headers["vary"].lower()


class TestAssets:
    def test_every_asset_has_its_media_type_and_is_cached_for_good(self, stage: Stage, built: Path) -> None:
        base = stage.url.removesuffix("graphql")
        for address in assets_of(get(stage.url, accept=BROWSER_ACCEPT).text):
            response = get(base + address)
            assert response.status_code == 200, address
            expected = {
                "css": "text/css; charset=utf-8",
                "js": "text/javascript; charset=utf-8",
                "svg": "image/svg+xml",
                "txt": "text/plain; charset=utf-8",
            }[address.rsplit(".", 1)[1]]
            assert response.headers["content-type"] == expected
            assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert response.headers["x-content-type-options"] == "nosniff"

    def test_a_script_is_compressed_for_who_takes_gzip_and_plain_for_who_does_not(
        self, stage: Stage, built: Path
    ) -> None:
        name = next((built / "assets").glob("page-*.js")).name
        url = f"{stage.url}/assets/{name}"
        small, plain = get(url, **{"accept-encoding": "gzip"}), get(url, **{"accept-encoding": "gzip;q=0"})
        assert small.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert small.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
        whole = (built / "assets" / name).read_bytes()
        assert small.content == plain.content == whole  # httpx has unpacked the first
        assert gzip.decompress((built / "assets" / f"{name}.gz").read_bytes()) == whole

    @pytest.mark.parametrize(
        "path",
        [
            "../manifest.json",
            "..%2fmanifest.json",
            "%2e%2e%2findex.html",
            "..%2f..%2fgraphiql.py",
            "%2fetc%2fpasswd",
            "manifest.json",
            "page.js.gz",
            "nothing.js",
            "",
        ],
    )
    def test_only_listed_files_exist(self, stage: Stage, path: str) -> None:
        request = httpx.Request("GET", f"{stage.url}/assets/")
        request.url = request.url.copy_with(raw_path=f"/graphql/assets/{path}".encode())  # httpx would tidy ".." away
        with httpx.Client(timeout=60) as client:
            assert client.send(request).status_code == 404

    def test_a_compressed_copy_is_no_asset_of_its_own(self, stage: Stage, built: Path) -> None:
        name = next((built / "assets").glob("*.gz")).name
        assert get(f"{stage.url}/assets/{name}").status_code == 404


class TestMissing:
    """A gateway without the page serves all the same, and says what is missing."""

    async def test_the_page_says_how_to_mend_it_and_doctor_says_why(self, tmp_path: Path) -> None:
        page = graphiql.Page(tmp_path / "page")
        assert "has not been built" in (page.status() or "")
        (tmp_path / "page.failed").write_text("npm ci failed: the registry </code> does not answer\n")
        status = page.status()
        assert status is not None
        assert "the registry </code> does not answer" in status
        assert graphiql_build.COMMAND in status
        with serving(RequestId(Starlette(routes=[Route("/graphql", page.page)]))) as url:
            response = get(f"{url}/graphql", accept=BROWSER_ACCEPT)
        assert response.status_code == 503
        assert graphiql_build.COMMAND in response.text
        assert "could not be built" in response.text
        assert "registry" not in response.text  # what npm printed is for the gateway's own people
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["cache-control"] == "no-store"

    def test_a_page_of_older_sources_is_reported(self, built: Path, tmp_path: Path) -> None:
        assert graphiql.Page(built).status() is None
        older = tmp_path / "page"
        (older / "assets").mkdir(parents=True)
        for name in ("index.html", "manifest.json"):
            (older / name).write_bytes((built / name).read_bytes())
        (older / "fingerprint.txt").write_text("0" * 64)
        assert "older sources" in (graphiql.Page(older).status() or "")


async def nothing_leaked(shown: Window, token: str) -> None:
    """The token is in the tab's storage alone, and the browser asked one host for everything."""
    assert shown.hosts == {shown.gateway.removeprefix("http://").split("/")[0]}
    assert not [address for address in shown.addresses if token in address]
    assert token not in shown.page.url
    kept = await shown.page.evaluate("() => [JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage})]")
    assert token not in kept[0]
    assert token in kept[1]


class TestBrowser:
    async def test_sign_in_run_the_schema_and_no_other_host(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(stage.url)
            assert await shown.page.title() == "Fleetgraph"
            await shown.sign_in("no token at all")
            assert "three parts" in await shown.page.inner_text("[role=alert]")
            await shown.sign_in("a.b.c")
            await shown.page.get_by_text("The token is not good any more.").wait_for()
            shown.complaints.clear()  # the browser's own note of that 401
            await shown.sign_in(f"Bearer {TOKEN[:20]}\n  {TOKEN[20:]}\n")  # as a terminal wraps it
            assert await shown.signed_in_as() == "Ada Lovelace"
            assert await shown.page.inner_text(".fleet-tenant") == "Northwind"
            assert await shown.page.locator(".fleet-mode").count() == 0
            tabs = await shown.page.locator("[role=tab]").all_inner_texts()
            assert tabs == [
                "RunLineage",
                "TaskThread",
                "TemplateVersions",
                "PendingApprovals",
                "OperatorChanges",
                "LiveTail",
            ]
            await shown.write(RUNS)
            await shown.run()
            assert f'"run_{2:032x}"' in await shown.response("costUsd")
            # the documentation has the schema that was fetched with the token
            await shown.page.click('button[aria-label="Show Documentation Explorer"]')
            await shown.page.click("a.graphiql-doc-explorer-type-name:text-is('Query')")
            await shown.page.click("a.graphiql-doc-explorer-field-name:text-is('runs')")
            await shown.page.get_by_text("How many of the runs, newest first.").wait_for()
            await shown.page.click('button[aria-label="Show GraphiQL Explorer"]')
            await shown.page.wait_for_selector(".graphiql-explorer-root >> text=costUsd")
            await nothing_leaked(shown, TOKEN)
            assert shown.complaints == []

    async def test_a_token_in_the_fragment_is_taken_and_stripped(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(f"{stage.url}#token={TOKEN}")
            await shown.signed_in_as()
            assert shown.page.url == stage.url
            await shown.page.reload()  # it asks once: the tab remembers
            await shown.signed_in_as()
            await nothing_leaked(shown, TOKEN)
            await shown.page.click("text=Sign out")
            await shown.page.wait_for_selector("input[name=token]")
            assert TOKEN not in await shown.page.evaluate("() => JSON.stringify({...sessionStorage})")
            assert shown.complaints == []

    async def test_the_tenant_goes_along_where_one_is_named(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(stage.url)
            await shown.sign_in(MANY_TENANTS_TOKEN, tenant="globex")
            await shown.signed_in_as()
            assert await shown.page.inner_text(".fleet-tenant") == "Globex"
            assert await shown.page.inner_text(".fleet-mode") == "DRAINING"  # an emergency is not to be overlooked

    async def test_an_agent_that_may_not_read_its_tenants_row_is_signed_in_all_the_same(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(f"{stage.url}#token={AGENT_TOKEN}")
            assert await shown.signed_in_as() == "scribe-01"
            assert "the agent" in await shown.page.inner_text(".fleet-state")
            assert await shown.page.locator(".fleet-tenant").count() == 0

    async def test_subscriptions_run_on_the_same_path_with_the_token_in_connection_init(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(stage.url)
            await shown.sign_in(MANY_TENANTS_TOKEN, tenant="globex")
            await shown.signed_in_as()
            await shown.write("subscription Live { runEnded { id } }")
            await shown.run()
            await shown.response("run_live_2")
            assert stage.connection_params == [
                {"Authorization": f"Bearer {MANY_TENANTS_TOKEN}", "Fleetgraph-Tenant": "globex"}
            ]
            await shown.run()  # the same button now stops it, at once
            await shown.page.wait_for_selector('button.graphiql-execute-button[aria-label*="Execute"]')
            await nothing_leaked(shown, MANY_TENANTS_TOKEN)

    async def test_a_token_that_dies_is_asked_for_again_and_nothing_typed_is_lost(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(f"{stage.url}#token={TOKEN}")
            await shown.signed_in_as()
            await shown.write(RUNS)
            stage.good_tokens.remove(TOKEN)
            await shown.run()
            await shown.page.get_by_text("The gateway no longer accepts this token.").wait_for()
            await shown.sign_in(MANY_TENANTS_TOKEN)
            await shown.signed_in_as()
            await shown.run()
            await shown.response(f"run_{2:032x}")

    async def test_a_link_may_carry_an_operation_that_nobody_runs(self, stage: Stage) -> None:
        async with window(stage.url) as shown:
            await shown.page.goto(f"{stage.url}?query=query+Shared+%7B+runs+%7B+id+%7D+%7D#token={TOKEN}")
            await shown.signed_in_as()
            assert await shown.page.inner_text("[role=tab] >> nth=0") == "Shared"
            await shown.page.get_by_text("query Shared").first.wait_for()
            await shown.page.click('button[aria-label="Show Examples"]')
            await shown.page.click(".fleet-examples >> text=What an operator changed last week")
            await shown.page.wait_for_selector("[role=tab] >> nth=6")
            since = json.loads(await shown.pane("variables"))["since"]
            age = await shown.page.evaluate("since => Date.now() - Date.parse(since)", since)
            assert 7 * 86_400_000 <= age < 7 * 86_400_000 + 600_000
