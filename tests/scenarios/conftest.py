"""Fixtures of the scenarios."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.connections import Connections
from tests.scenarios.acme import Story
from tests.serving import open_application


@pytest.fixture
async def story(connections: Connections, tmp_path: Path) -> AsyncIterator[Story]:
    """The application, with nobody in it."""
    async with open_application(connections, tmp_path) as (application, http):
        yield Story(application, http)
