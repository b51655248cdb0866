"""Transitions of agents, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refused
from app.running import run
from db import models
from db.enums import InstanceState
from db.ids import new_id
from db.logs import ChainHead, verify_chain
from db.models.gateway import TenantCounters
from tests.asking import recorded_reads
from tests.conftest import TenantUnderTest


@contextmanager
def sent() -> Iterator[list[str]]:
    """What is sent by single statements, in the order of sending, without what SQLAlchemy sends."""
    statements: list[str] = []
    with recorded_reads(statements):
        yield statements


async def agents(tenant: TenantUnderTest, count: int = 1) -> list[UUID]:
    """Agents that are ACTIVE."""
    template = models.AgentTemplate(id=new_id(), name="T")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome={}, genome_hash="0" * 64)
    made = [
        models.AgentInstance(
            id=new_id(),
            version_id=version.id,
            project_id=tenant.project.id,
            environment_id=tenant.environment.id,
            state=InstanceState.ACTIVE,
        )
        for _ in range(count)
    ]
    await tenant.add(template, version, *made)
    return [one.id for one in made]


async def move(tenant: TenantUnderTest, agent: UUID, to: InstanceState, **given: Any) -> Done | Refused:
    """`agentInstanceTransition`."""
    return await run(tenant.database, tenant.actor(), "transition_instance", {"instance_id": agent, "to": to, **given})


async def state_of(tenant: TenantUnderTest, agent: UUID) -> InstanceState:
    """Its state, read anew."""
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.get_one(models.AgentInstance, (tenant.id, agent))
        return found.state


async def records(tenant: TenantUnderTest) -> list[Any]:
    """The tenant's chain, which is whole."""
    async with tenant.database.transaction(tenant.actor()) as session:
        table = models.ChangeRecord.__table__
        rows = (await session.execute(select(table).order_by(table.c.seq))).mappings().all()
        counters = await session.get_one(TenantCounters, tenant.id)
        head = ChainHead(counters.change_seq, counters.change_hash)
    assert verify_chain([dict(row) for row in rows], head=head) == []
    return list(rows)


async def project(tenant: TenantUnderTest) -> models.Project:
    """The tenant's project, read anew."""
    async with tenant.database.transaction(tenant.actor()) as session:
        return await session.get_one(models.Project, (tenant.id, tenant.project.id))
