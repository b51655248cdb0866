"""How many agents a project may have (BUD-7)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from app.commands import Done, Refusal, Refused
from db import models
from db.enums import InstanceState
from db.ids import new_id
from tests.governed import Registry


async def place(registry: Registry, version: models.AgentVersion) -> dict[str, Any]:
    """Where a new agent goes."""
    tenant = registry.tenant
    return {"version_id": version.id, "project_id": tenant.project.id, "environment_id": tenant.environment.id}


async def settle(registry: Registry, version: models.AgentVersion, *states: InstanceState) -> None:
    """Agents that are there already."""
    where = await place(registry, version)
    await registry.tenant.add(*(models.AgentInstance(id=new_id(), state=one, **where) for one in states))


async def limit(registry: Registry, config: Any) -> None:
    """Set the project's swarm configuration."""
    async with registry.tenant.database.transaction(registry.actor) as session:
        project = models.Project
        await session.execute(
            update(project).where(project.id == registry.tenant.project.id).values(swarm_config=config)
        )


@pytest.mark.parametrize(
    ("config", "most"),
    [(None, 5), ({"maxAgents": 2, "autoScale": False}, 2), ({"maxAgents": 7, "autoScale": True}, 7)],
)
async def test_bud_7_a_project_has_no_more_agents_than_it_may(registry: Registry, config: Any, most: int) -> None:
    version = await registry.version()
    await limit(registry, config)
    await settle(registry, version, InstanceState.RETIRED, InstanceState.RETIRED)
    await settle(registry, version, *[InstanceState.PAUSED] * (most - 1))
    await registry.done("create_instance", **await place(registry, version))
    refused = await registry.refused("create_instance", **await place(registry, version))
    assert (refused.code, refused.field) == (Refusal.DEPENDENCY_NOT_MET, "project_id")
    assert f"{most} agents" in refused.message


async def test_bud_7_those_that_are_made_at_once_count_each_other(registry: Registry) -> None:
    version = await registry.version()
    await settle(registry, version, *[InstanceState.ACTIVE] * 3)
    where = await place(registry, version)
    outcomes = await asyncio.gather(*(registry.do("create_instance", **where) for _ in range(6)))
    assert sum(isinstance(one, Done) for one in outcomes) == 2
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {Refusal.DEPENDENCY_NOT_MET}


async def test_bud_7_another_project_has_its_own_limit(registry: Registry) -> None:
    version = await registry.version()
    await settle(registry, version, *[InstanceState.ACTIVE] * 5)
    other = models.Project(id=new_id(), name="Other", slug="other")
    await registry.tenant.add(other)
    where = {**await place(registry, version), "project_id": other.id}
    assert isinstance(await registry.do("create_instance", **where), Done)
