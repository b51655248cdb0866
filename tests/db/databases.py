"""Databases of a test's own on the shared Postgres: empty, made from the models, or migrated."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from db import models, roles
from db.base import Model
from db.connections import Connection
from db.embedded import EmbeddedPostgres
from db.functions import auth, changes, logs, search, walls


@asynccontextmanager
async def empty_database(server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    """A database with nothing in it, as its owner sees it; dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    administrator = await asyncpg.connect(server.url(database="postgres", user="postgres"))
    try:
        await administrator.execute(roles.database_statement(name))
        try:
            yield Connection(server.url(database=name, user=roles.OWNER))
        finally:
            await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await administrator.close()


async def make_from_models(owner: Connection) -> None:
    """Fill an empty database with what the models say, without a migration."""
    engine = create_async_engine(owner.sqlalchemy_url, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"CREATE SCHEMA {models.gateway.SCHEMA}")
        await connection.run_sync(Model.metadata.create_all)
        for statement in (*logs.CREATE, *changes.CREATE, *auth.CREATE, *search.CREATE, *walls.CREATE):
            await connection.exec_driver_sql(statement)
    await engine.dispose()
