"""Two tenants with a row in each table that others point at."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from db.connections import Connections
from db.session import Database
from tests.db.models.rows import Sample, make_sample


@pytest.fixture(scope="session")
def samples(connections: Connections) -> tuple[Sample, Sample]:
    """One's own tenant and another."""

    async def make() -> tuple[Sample, Sample]:
        database = Database(connections)
        async with database.platform() as connection:
            made = await make_sample(connection), await make_sample(connection)
        await database.close()
        return made

    return asyncio.run(make())


@pytest.fixture
def own(samples: tuple[Sample, Sample]) -> Sample:
    """One's own tenant. Nothing is to be left behind in it."""
    return samples[0]


@pytest.fixture
def other(samples: tuple[Sample, Sample]) -> Sample:
    """Another tenant."""
    return samples[1]


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[AsyncConnection]:
    """A connection that passes row-level security, so that what refuses is a constraint."""
    async with database.platform() as opened:
        transaction = await opened.begin_nested()
        yield opened
        await transaction.rollback()
