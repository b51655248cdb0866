"""The story that the tests of lineage are told with."""

import pytest

from tests.app.lineage.story import Story, tell
from tests.conftest import TenantUnderTest


@pytest.fixture
async def story(tenant: TenantUnderTest) -> Story:
    """A run and what stands behind it, in a tenant of the test's own."""
    return await tell(tenant)
