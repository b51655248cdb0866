"""What has to be there before the gateway can serve: roles, tables, and in development the demo fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import asyncpg

from app.cli.failing import CommandError
from app.database import find_connections, owner_url, postgres
from app.settings import PREFIX, Settings
from db.connections import Connection, open_connection, prepare_roles
from db.version import current_version, head_version


@contextmanager
def ready_database(settings: Settings) -> Iterator[Settings]:
    """The settings with every address filled in, of a database that is at the newest version while the block lasts.

    In production with a database of one's own that version is not made here: several gateways start at once, and
    their role owns nothing. There `fleetgraph migrate` is a step of its own; without it this raises CommandError.
    """
    embedded = settings.database_url is None
    with ExitStack() as held:
        with _shown("Starting Postgres") if embedded else nullcontext():
            settings = held.enter_context(postgres(settings))
        if embedded or not settings.production:
            migrate_database(settings, quiet=True)
        else:
            current, newest = versions(settings)
            if current != newest:
                raise CommandError(
                    f"The database is at version {current or 'none'}, this gateway needs {newest}. Run `fleetgraph "
                    f"migrate` with {PREFIX}OWNER_DATABASE_URL; in production that is a step of its own."
                )
        yield settings


def migrate_database(settings: Settings, *, quiet: bool = False) -> None:
    """Makes the roles and runs the migrations that are missing; functions and walls are put in place anew each time.

    `quiet` says nothing where the version was the newest. Raises DatabaseSetupError where the address of the owner may
    not do that.
    """
    from db.migrate import migrate

    url = owner_url(settings)

    async def run() -> tuple[str | None, str]:
        await prepare_roles(url)
        return await migrate(Connection(url))

    with _shown("Migrating the database"):
        before, now = asyncio.run(run())
    if before != now:
        _say(f"The database went from {f'version {before}' if before else 'empty'} to version {now}.")
    elif not quiet:
        _say(f"The database is at the newest version, {now}.")


def versions(settings: Settings) -> tuple[str | None, str]:
    """The version of the database, None for an empty one, and the one that this gateway needs."""

    async def ask() -> str | None:
        connection = await open_connection(owner_url(settings))
        try:
            return await current_version(connection.fetchrow)
        finally:
            await connection.close()

    return asyncio.run(ask()), head_version()


def has_tenants(settings: Settings) -> bool:
    """Whether anything lives in the database yet."""

    async def ask() -> bool:
        platform = (await find_connections(settings)).platform
        connection = await asyncpg.connect(platform.url, server_settings=platform.server_settings)
        try:
            return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM tenants)"))
        finally:
            await connection.close()

    return asyncio.run(ask())


def _shown(what: str) -> AbstractContextManager[object]:
    """Tells what is under way, for as long as the block lasts."""
    from app.cli.showing import console  # not before something is shown: see there

    return console.status(what)


def _say(text: str) -> None:
    from app.cli.showing import console

    console.print(text)


def seed_demo(settings: Settings, size: str) -> None:
    """Fills the database with the demo fleet of this size, with a bar of rows written; leaves one that is there alone.

    Raises DemoRefused where a tenant that is no demo has one of the names, CommandError without a key for secrets.
    """
    from app.auth.permissions import PERMISSIONS, SYSTEM_ROLES
    from app.cli.showing import progress
    from app.sealing import open_seal
    from db.demo import Size, Vocabulary, seed

    seal = open_seal(settings)
    if seal is None:
        raise CommandError(f"The demo fleet has webhooks, and their secrets need a key: set {PREFIX}SECRET_KEY.")
    # A role that stands above tenants has no row inside one, where somebody could be given it (RBAC-4).
    built_in = tuple(role for role in SYSTEM_ROLES.values() if role.assignable)
    vocabulary = Vocabulary(tuple(PERMISSIONS.values()), built_in)

    async def run() -> int:
        found = await find_connections(settings)
        with progress() as bar:
            task = bar.add_task("Making the demo fleet", total=None)

            def tell(table: str, done: int, total: int) -> None:
                bar.update(task, description=f"Writing {table}", completed=done, total=total)

            return await seed(found, Size(size), vocabulary, seal.seal, tell)

    written = asyncio.run(run())
    if written:
        _say(f"The demo fleet is there: {written:,} rows in the tenants northwind and globex.")
    else:
        _say("The demo fleet was there already; nothing was written.")
