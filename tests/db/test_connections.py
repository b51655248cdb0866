"""Addresses and roles: whoever the address connects as, requests run as a role that row-level security binds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from db.connections import (
    Connection,
    DatabaseSetupError,
    connections,
    embedded_connections,
    examine,
    prepare_roles,
    without_password,
)
from db.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    settings = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("external"), settings=settings) as started:
        yield started


@pytest.fixture
async def administrator(server: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A server on which nobody has prepared anything: the roles are gone, and one plain login role is there."""
    connection = await asyncpg.connect(server.url(database="postgres", user="postgres"))
    try:
        for statement in (
            "DROP DATABASE IF EXISTS fleet",
            "DROP DATABASE IF EXISTS fleetgraph",
            "DROP ROLE IF EXISTS plain, fleetgraph_gateway, fleetgraph_platform, fleetgraph_owner",
            "CREATE ROLE plain LOGIN",
            "CREATE DATABASE fleet OWNER plain",
        ):
            await connection.execute(statement)
        yield connection
    finally:
        await connection.close()


async def _whoami(connection: Connection) -> tuple[str, str, bool]:
    opened = await asyncpg.connect(connection.url, server_settings=connection.server_settings)
    try:
        row = await opened.fetchrow(
            "SELECT session_user::text, current_user::text, row_security_active('public.t'::regclass)"
        )
        return tuple(row)
    finally:
        await opened.close()


async def _make_table(url: str) -> None:
    opened = await asyncpg.connect(url)
    try:
        await opened.execute("""
            CREATE TABLE public.t (id int);
            ALTER TABLE public.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
            GRANT SELECT ON public.t TO fleetgraph_gateway, fleetgraph_platform;
        """)
    finally:
        await opened.close()


@pytest.mark.usefixtures("administrator")
async def test_an_address_of_a_superuser_alone_still_serves_behind_row_level_security(server: EmbeddedPostgres) -> None:
    url = server.url(database="fleet", user="postgres")
    await prepare_roles(url)
    await prepare_roles(url)
    await _make_table(url)
    found = await connections(url)
    assert await _whoami(found.gateway) == ("postgres", "fleetgraph_gateway", True)
    assert await _whoami(found.read) == ("postgres", "fleetgraph_gateway", True)
    assert await _whoami(found.platform) == ("postgres", "fleetgraph_platform", False)
    assert await _whoami(found.owner) == ("postgres", "postgres", False)
    assert len(found.warnings) == 1
    assert "row-level security does not bind" in found.warnings[0]


async def test_the_owner_of_the_tables_takes_on_the_gateway_role_too(
    server: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    url = server.url(database="fleet", user="plain")
    with pytest.raises(DatabaseSetupError, match="Let an administrator run") as refused:
        await prepare_roles(url)
    for statement in str(refused.value).splitlines()[1:]:
        await administrator.execute(statement)
    await prepare_roles(url)
    await _make_table(url)
    found = await connections(url)
    assert await _whoami(found.gateway) == ("plain", "fleetgraph_gateway", True)
    assert await _whoami(found.platform) == ("plain", "fleetgraph_platform", False)
    assert "row-level security does not bind" in found.warnings[0]


async def test_a_role_that_is_no_member_is_refused_with_the_remedy(
    server: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    await prepare_roles(server.url(database="fleet", user="postgres"))
    url = server.url(database="fleet", user="plain")
    with pytest.raises(DatabaseSetupError, match="GRANT fleetgraph_gateway TO plain"):
        await connections(url)
    await administrator.execute("GRANT fleetgraph_gateway TO plain WITH INHERIT FALSE, SET TRUE")
    with pytest.raises(DatabaseSetupError, match="GRANT fleetgraph_platform TO plain"):
        await connections(url)
    found = await connections(url, platform_url=server.url(database="fleet", user="postgres"))
    assert found.gateway.role == "fleetgraph_gateway"
    assert found.warnings == (), "a role that is bound anyway is no reason for a warning"


async def test_roles_of_ones_own_are_used_as_they_are(
    server: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    owner = server.url(database="fleet", user="postgres")
    await prepare_roles(owner)
    await administrator.execute("ALTER ROLE fleetgraph_gateway LOGIN")
    await administrator.execute("ALTER ROLE fleetgraph_platform LOGIN")
    await prepare_roles(owner)
    found = await connections(
        server.url(database="fleet", user="fleetgraph_gateway"),
        platform_url=server.url(database="fleet", user="fleetgraph_platform"),
        owner_url=owner,
    )
    assert (found.gateway.role, found.platform.role, found.owner.role) == (None, None, None)
    assert found.warnings == ()
    assert not (await examine(found.gateway.url)).unbound


async def test_a_gateway_role_that_was_given_too_much_is_put_right(
    server: EmbeddedPostgres, administrator: asyncpg.Connection
) -> None:
    await administrator.execute("CREATE ROLE fleetgraph_gateway LOGIN BYPASSRLS CREATEROLE")
    await prepare_roles(server.url(database="fleet", user="postgres"))
    powers = await administrator.fetchrow(
        "SELECT rolbypassrls, rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = 'fleetgraph_gateway'"
    )
    assert tuple(powers) == (False, False, True)


async def test_no_answer_is_reported_without_the_password(unused_tcp_port: int) -> None:
    with pytest.raises(DatabaseSetupError, match=r"Cannot connect to postgresql://me@127\.0\.0\.1") as refused:
        await examine(f"postgresql://me:hush@127.0.0.1:{unused_tcp_port}/fleet")
    assert "hush" not in str(refused.value)
    assert without_password("postgresql://me:a@b@h/d") == "postgresql://me@h/d"


def test_the_embedded_server_has_a_role_for_each_kind_of_work() -> None:
    found = embedded_connections(lambda user: f"postgresql://{user}@/fleetgraph")
    assert found.gateway == Connection("postgresql://fleetgraph_gateway@/fleetgraph")
    assert found.owner.sqlalchemy_url == "postgresql+asyncpg://fleetgraph_owner@/fleetgraph"
    assert found.platform.url == "postgresql://fleetgraph_platform@/fleetgraph"
