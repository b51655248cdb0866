"""What has to be there before the gateway can serve: roles, tables, and in development the demo fleet."""

from __future__ import annotations

import asyncio

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.database import find_connections, owner_url
from app.settings import Settings
from db.connections import Connection, open_connection, prepare_roles

console = Console(stderr=True, highlight=False)


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

    with console.status("Migrating the database"):
        before, now = asyncio.run(run())
    if before != now:
        console.print(f"The database went from {f'version {before}' if before else 'empty'} to version {now}.")
    elif not quiet:
        console.print(f"The database is at the newest version, {now}.")


def versions(settings: Settings) -> tuple[str | None, str]:
    """The version of the database, None for an empty one, and the one that this gateway needs."""
    from db.migrate import current_version, head_version

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


def progress() -> Progress:
    """A bar that names what is under way, how far it is, and since when."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def seed_demo(settings: Settings, size: str) -> None:
    """Fills the database with the demo fleet of this size, with a bar of rows written."""
    from db.demo import seed

    with progress() as bar:
        task = bar.add_task("Seeding the demo fleet", total=None)

        def tell(table: str, done: int, total: int) -> None:
            bar.update(task, description=f"Seeding {table}", completed=done, total=total)

        asyncio.run(seed(owner_url(settings), size, tell))
