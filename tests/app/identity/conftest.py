"""A bootstrapped tenant for the tests of identity."""

import pytest

from db.session import Database
from tests.app.identity.stage import Stage, bootstrap


@pytest.fixture
async def stage(database: Database) -> Stage:
    """A tenant of the test's own, with three Admins."""
    return await bootstrap(database)
