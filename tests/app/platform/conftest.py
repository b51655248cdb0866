"""Fixtures of the tests of the platform."""

import pytest

from db.enums import (
    LifecycleState,
)
from tests.app.platform.fleet import Fleet
from tests.governed import Registry


@pytest.fixture
async def fleet(registry: Registry) -> Fleet:
    """A fleet without agents yet."""
    return Fleet(registry, await registry.version(LifecycleState.APPROVED))
