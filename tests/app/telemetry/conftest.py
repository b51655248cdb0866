"""The running gateway with two agents of one project, one of another, and the work of the first."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.auth.actor import ActorKind
from app.graph.ids import global_id
from app.graph.registry import ENTITIES
from app.telemetry.writing import EventWriter
from db import models
from db.connections import Connections
from db.enums import InstanceState, LifecycleState, RiskLevel, TaskType
from db.ids import new_id
from db.json_text import dump_json
from tests.conftest import TenantUnderTest
from tests.governed import GENOME, GENOME_HASH
from tests.serving import Served, serve


@dataclass
class Scene:
    """The gateway, and the rows by name."""

    served: Served
    agent: models.AgentInstance
    colleague: models.AgentInstance
    stranger: models.AgentInstance
    """Of another project."""
    other_project: models.Project
    task: models.Task
    run: models.Run
    call: models.ToolCall

    @property
    def tenant(self) -> TenantUnderTest:
        return self.served.tenant

    @property
    def writer(self) -> EventWriter:
        return self.served.application.gateway.event_writer

    def token(self, agent: models.AgentInstance) -> str:
        """An agent's own token."""
        tokens = self.served.application.gateway.authenticator.local
        assert tokens is not None
        return tokens.issue(ActorKind.INSTANCE, str(agent.id), tenant=self.tenant.slug, epoch=0)

    async def post(
        self,
        body: bytes | list[Any],
        *,
        token: str | None = None,
        kind: str = "application/x-ndjson",
        zipped: bool = False,
        **headers: str,
    ) -> httpx.Response:
        """Send to `/v1/op-events`; a list goes as lines, or as an array where `kind` says so."""
        if isinstance(body, list):
            lines = [one if isinstance(one, bytes) else dump_json(one).encode() for one in body]
            body = b"\n".join(lines) if "ndjson" in kind else b"[" + b",".join(lines) + b"]"
        sent = self.served.headers if token is None else {"Authorization": f"Bearer {token}"}
        sent = {**sent, "Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if zipped:
            body, sent = gzip.compress(body), {**sent, "Content-Encoding": "gzip"}
        return await self.served.client.post("/v1/op-events", content=body, headers=sent)

    async def log(self, tenant: TenantUnderTest | None = None) -> list[dict[str, Any]]:
        """The tenant's op events by number."""
        chosen, table = tenant or self.tenant, models.OpEvent.__table__
        async with chosen.database.transaction(chosen.actor()) as session:
            return [dict(row) for row in (await session.execute(select(table).order_by(table.c.seq))).mappings()]

    async def audits(self, action: str) -> list[dict[str, Any]]:
        """Rows of the security journal."""
        table = models.AuditLog.__table__
        async with self.tenant.database.transaction(self.tenant.actor()) as session:
            found = await session.execute(select(table).where(table.c.action == action).order_by(table.c.id))
            return [dict(row) for row in found.mappings()]


def gid(row: Any) -> str:
    """The global id of a row."""
    return global_id(ENTITIES[type(row).__name__].prefix, row.id)


def now_text(**ago: float) -> str:
    """A moment so long ago, as events have it."""
    return (datetime.now(UTC) - timedelta(**ago)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def add_agent(tenant: TenantUnderTest, project: models.Project, name: str) -> models.AgentInstance:
    """An active agent of a version of its own."""
    template = models.AgentTemplate(id=new_id(), name=f"{name} template")
    version = models.AgentVersion(
        id=new_id(),
        template_id=template.id,
        genome=GENOME,
        genome_hash=GENOME_HASH,
        lifecycle_state=LifecycleState.APPROVED,
    )
    agent = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=project.id,
        environment_id=tenant.environment.id,
        name=name,
        state=InstanceState.ACTIVE,
    )
    await tenant.add(template, version, agent)
    return agent


async def make_scene(served: Served) -> Scene:
    """A scene on this gateway."""
    tenant = served.tenant
    other = models.Project(id=new_id(), name="Other", slug="other")
    await tenant.add(other)
    agent = await add_agent(tenant, tenant.project, "Scout")
    colleague = await add_agent(tenant, tenant.project, "Clerk")
    stranger = await add_agent(tenant, other, "Stranger")
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="Work", type=TaskType.DOCS)
    run = models.Run(
        id=new_id(),
        project_id=tenant.project.id,
        idempotency_key=new_id().hex,
        instance_id=agent.id,
        version_id=agent.version_id,
        task_id=task.id,
        session_key="s",
        started_at=datetime.now(UTC),
        model="m",
    )
    call = models.ToolCall(
        id=new_id(),
        project_id=tenant.project.id,
        run_id=run.id,
        instance_id=agent.id,
        task_id=task.id,
        tool_name="search",
        risk_level=RiskLevel.GREEN,
        started_at=datetime.now(UTC),
    )
    await tenant.add(task, run, call)
    return Scene(served, agent, colleague, stranger, other, task, run, call)


@pytest.fixture
async def scene(connections: Connections, tenant: TenantUnderTest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A gateway of the test's own, with its scene."""
    async with serve(connections, tenant, tmp_path) as served:
        yield await make_scene(served)
