"""Fixtures of the tests of communication."""

from __future__ import annotations

import pytest

from tests.app.governance.scene import Scene, make_scene
from tests.conftest import TenantUnderTest


@pytest.fixture
async def scene(tenant: TenantUnderTest) -> Scene:
    """An agent at work, whose policy allows all but RED by itself."""
    made = await make_scene(tenant)
    await made.envelope(autonomy_tier=2)
    return made
