"""What the tests of live data share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.connections import Connections
from tests.app.governance.conftest import desk
from tests.app.governance.desk import Desk
from tests.app.live.gateway import Gateway, running
from tests.governed import registry

__all__ = ["Desk", "desk", "gateway", "registry"]


@pytest.fixture
async def gateway(connections: Connections, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway of the test's own."""
    async with running(connections, tmp_path) as made:
        yield made
