"""Fixtures of the tests of governance."""

import pytest

from db import models
from db.ids import new_id
from tests.app.governance.desk import Desk
from tests.app.governance.releases import Releases
from tests.governed import Registry


@pytest.fixture
async def desk(registry: Registry) -> Desk:
    """An asker and three others."""
    people = [models.Operator(id=new_id(), auth_id=f"p{n}", name=f"P{n}", email=f"p{n}@example.com") for n in range(3)]
    await registry.tenant.add(*people)
    return Desk(registry, people)


@pytest.fixture
async def releases(registry: Registry) -> Releases:
    """Production, staging, and a second operator."""
    other = models.Operator(id=new_id(), auth_id="bob", name="Bob", email="bob@example.com")
    staging = models.Environment(id=new_id(), name="Staging", slug="staging", is_production=False)
    await registry.tenant.add(other, staging)
    return Releases(registry, other, staging)
