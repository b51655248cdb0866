"""From the settings to the database: the embedded Postgres where no address is given, and which role does what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from msgspec import structs

from app.settings import Settings, SettingsError
from db import roles
from db.connections import Connections, connections
from db.embedded import EmbeddedPostgres
from db.session import Database

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.database")


@contextmanager
def postgres(settings: Settings) -> Iterator[Settings]:
    """The settings with every database address filled in, for as long as the block lasts.

    Without FLEETGRAPH_DATABASE_URL the embedded Postgres of the data directory is started, or the one that runs there
    is shared, and let go at the end. Raises EmbeddedPostgresError.
    """
    if settings.database_url is not None:
        yield settings
        return
    with EmbeddedPostgres(settings.data_dir) as server:
        yield structs.replace(
            settings,
            database_url=server.url(user=roles.GATEWAY),
            owner_database_url=server.url(user=roles.OWNER),
            platform_database_url=server.url(user=roles.PLATFORM),
        )


def owner_url(settings: Settings) -> str:
    """The address that migrations and seeding use. Raises SettingsError where the block of ``postgres`` is missing."""
    url = settings.owner_database_url or settings.database_url
    if url is None:
        raise SettingsError("FLEETGRAPH_DATABASE_URL is not set, and the embedded Postgres was not started")
    return url


async def find_connections(settings: Settings) -> Connections:
    """Asks the database which role each kind of work must take on. Raises DatabaseSetupError."""
    return await connections(
        settings.database_url or owner_url(settings),
        owner_url=settings.owner_database_url,
        platform_url=settings.platform_database_url,
        read_url=settings.read_database_url,
    )


def open_database(settings: Settings, found: Connections) -> Database:
    """The only door to Postgres, as the settings ask for it; says in the log what is amiss with its roles."""
    for advice in found.warnings:
        log.warning("database_role", advice=advice)
    return Database(
        found,
        pool_size=settings.pool_size,
        pool_timeout_seconds=settings.pool_timeout_seconds,
        platform_pool_size=settings.platform_pool_size,
        statement_timeout_ms=settings.statement_timeout_ms,
    )
