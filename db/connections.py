"""Which address and which role each kind of work uses.

With the embedded Postgres every kind has a role of its own. An external Postgres may come with one address alone, often
of a superuser or of the role that owns the tables. Row-level security does not bind those, so every connection that
serves requests then takes on ``fleetgraph_gateway`` as it opens (the server setting ``role``), and connections for
bootstrap and jobs take on ``fleetgraph_platform``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from db import roles

OLDEST_VERSION = 16


class DatabaseSetupError(RuntimeError):
    """The database cannot be used as it is set up; the message says why and how to mend it."""


@dataclass(frozen=True)
class Connection:
    """How to connect for one kind of work: a ``postgresql://`` address, and the role to take on, if any."""

    url: str
    role: str | None = None

    @property
    def sqlalchemy_url(self) -> str:
        """The address as ``create_async_engine`` takes it."""
        return "postgresql+asyncpg://" + self.url.removeprefix("postgresql://")

    @property
    def server_settings(self) -> dict[str, str]:
        """What asyncpg sends as it connects (``server_settings``). RESET goes back to this role, not to the login's."""
        return {"role": self.role} if self.role else {}


@dataclass(frozen=True)
class Connections:
    """The four kinds of work. ``warnings`` are sentences for the log and for ``fleetgraph doctor``."""

    gateway: Connection
    read: Connection
    platform: Connection
    owner: Connection
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Login:
    """What Postgres says of the role behind an address."""

    name: str
    version: int
    superuser: bool
    bypasses: bool
    owns_tables: bool
    may_be_gateway: bool
    may_be_platform: bool

    @property
    def unbound(self) -> bool:
        """Whether row-level security would not hold this role, or the role could switch it off."""
        return self.superuser or self.bypasses or self.owns_tables


_LOGIN = f"""
    SELECT current_user::text AS name, current_setting('server_version_num')::int / 10000 AS version,
           rolsuper AS superuser, rolbypassrls AS bypasses,
           EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'gateway')
                     AND pg_has_role(current_user, c.relowner, 'MEMBER')) AS owns_tables,
           EXISTS (SELECT FROM pg_roles WHERE rolname = '{roles.GATEWAY}' AND pg_has_role(current_user, oid, 'SET'))
               AS may_be_gateway,
           EXISTS (SELECT FROM pg_roles WHERE rolname = '{roles.PLATFORM}' AND pg_has_role(current_user, oid, 'SET'))
               AS may_be_platform
    FROM pg_roles WHERE rolname = current_user
"""


async def open_connection(url: str) -> asyncpg.Connection:
    """One connection to the address. Raises DatabaseSetupError where Postgres does not answer or refuses."""
    try:
        return await asyncpg.connect(url, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseSetupError(
            f"Cannot connect to {without_password(url)}: {error or 'no answer in 10 s'}"
        ) from error


async def examine(url: str) -> Login:
    """Asks the database about the role behind the address. Raises DatabaseSetupError."""
    connection = await open_connection(url)
    try:
        found = await connection.fetchrow(_LOGIN)
    finally:
        await connection.close()
    return Login(**dict(found))


async def prepare_roles(owner_url: str) -> None:
    """Makes the gateway's and the platform's role on an external Postgres; may be run again at any time.

    Raises DatabaseSetupError with the statements for an administrator where the role may not do that.
    """
    connection = await open_connection(owner_url)
    try:
        version = connection.get_server_version().major
        if version < OLDEST_VERSION:
            raise DatabaseSetupError(
                f"{without_password(owner_url)} is Postgres {version}; the gateway needs {OLDEST_VERSION} or later."
            )
        for statement in roles.role_statements():
            try:
                await connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError as error:
                user = await connection.fetchval("SELECT quote_ident(current_user)")
                raise DatabaseSetupError(
                    f"The role {user} may not make the gateway's roles ({error.args[0]}). Let an administrator run:\n"
                    + "\n".join(roles.administrator_statements(user))
                ) from error
    finally:
        await connection.close()


async def connections(
    gateway_url: str, *, owner_url: str | None = None, platform_url: str | None = None, read_url: str | None = None
) -> Connections:
    """Decides the roles for these addresses; those that are None fall back to ``gateway_url``.

    Needs the roles to exist (``prepare_roles``). Raises DatabaseSetupError where an address cannot do its work.
    """
    warnings: list[str] = []

    async def bound(url: str, variable: str) -> Connection:
        login = await examine(url)
        if login.name == roles.GATEWAY:
            return Connection(url)
        if not login.may_be_gateway:
            raise DatabaseSetupError(_not_a_member(login, roles.GATEWAY, variable))
        if login.unbound:
            warnings.append(
                f"{variable} connects as {login.name}, which row-level security does not bind; the gateway takes on "
                f"the role {roles.GATEWAY}. Better: let it connect as {roles.GATEWAY}, and give {login.name} to "
                "FLEETGRAPH_OWNER_DATABASE_URL alone."
            )
        return Connection(url, roles.GATEWAY)

    gateway = await bound(gateway_url, "FLEETGRAPH_DATABASE_URL")
    read = await bound(read_url, "FLEETGRAPH_READ_DATABASE_URL") if read_url else gateway
    platform_login = await examine(platform_url or gateway_url)
    if platform_login.name == roles.PLATFORM:
        platform = Connection(platform_url or gateway_url)
    elif platform_login.may_be_platform:
        platform = Connection(platform_url or gateway_url, roles.PLATFORM)
    else:
        raise DatabaseSetupError(_not_a_member(platform_login, roles.PLATFORM, "FLEETGRAPH_PLATFORM_DATABASE_URL"))
    return Connections(gateway, read, platform, Connection(owner_url or gateway_url), tuple(warnings))


def embedded_connections(url_for: Callable[[str], str]) -> Connections:
    """The connections of an embedded Postgres, from its function role -> address."""
    gateway = Connection(url_for(roles.GATEWAY))
    return Connections(gateway, gateway, Connection(url_for(roles.PLATFORM)), Connection(url_for(roles.OWNER)))


def _not_a_member(login: Login, role: str, variable: str) -> str:
    return (
        f"{variable} connects as {login.name}, which may not take on the role {role}. Run `fleetgraph migrate`, let an "
        f"administrator run: GRANT {role} TO {login.name} WITH INHERIT FALSE, SET TRUE; or connect as {role}."
    )


def without_password(url: str) -> str:
    """The address as it may be shown."""
    scheme, _, rest = url.partition("://")
    name, at, place = rest.rpartition("@")
    return f"{scheme}://{name.split(':', 1)[0]}{at}{place}"
