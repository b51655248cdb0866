"""A tenant with agents and tasks to stop, for the tests of the emergency mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.commands import Done, Refused
from app.platform.rules import Standing
from db import models
from db.base import Model
from db.enums import (
    InstanceState,
    OperatorMode,
    TaskStatus,
    TaskType,
)
from db.ids import new_id
from tests.governed import Registry

N, M, T = InstanceState, OperatorMode, TaskStatus


@dataclass
class Fleet:
    """A tenant with projects, agents and tasks of the test's own."""

    registry: Registry
    version: models.AgentVersion

    async def project(self, name: str) -> UUID:
        """Another project."""
        project = models.Project(id=new_id(), name=name, slug=name)
        await self.registry.tenant.add(project)
        return project.id

    def agent(self, standing: Standing, project_id: UUID | None = None) -> models.AgentInstance:
        """An agent that stands so, not stored yet."""
        return models.AgentInstance(
            id=new_id(),
            version_id=self.version.id,
            project_id=project_id or self.registry.tenant.project.id,
            environment_id=self.registry.tenant.environment.id,
            state=standing.state,
            paused_by=standing.paused_by,
            pre_pause_state=standing.returns_to,
        )

    def task(
        self, status: TaskStatus, assignees: Sequence[models.AgentInstance], project_id: UUID | None = None
    ) -> list[Model]:
        """A task and its assignees, not stored yet."""
        task = models.Task(
            id=new_id(),
            project_id=project_id or self.registry.tenant.project.id,
            title="Work",
            type=TaskType.OPS,
            status=status,
            blocked_reason="waits for a key" if status is T.BLOCKED else None,
        )
        links = [
            models.TaskAssignee(task_id=task.id, instance_id=one.id, position=at) for at, one in enumerate(assignees)
        ]
        return [task, *links]

    async def add(self, *rows: Model) -> None:
        """Store rows."""
        await self.registry.tenant.add(*rows)

    async def set(self, mode: OperatorMode, project_id: UUID | None = None, **more: Any) -> Done | Refused:
        """Set the mode."""
        arguments = {"mode": mode, "project_id": project_id, "reason": "a drill", **more}
        return await self.registry.do("set_operator_control", **arguments)

    async def agents(self) -> dict[UUID, Standing]:
        """How every agent stands."""
        rows = await self.rows(models.AgentInstance)
        return {row.id: Standing(row.state, row.paused_by, row.pre_pause_state) for row in rows}

    async def tasks(self) -> dict[UUID, tuple[Any, ...]]:
        """How every task stands."""
        rows = await self.rows(models.Task)
        return {row.id: (row.status, row.blocked_reason, row.metadata_) for row in rows}

    async def rows(self, model: Any) -> list[Any]:
        """Every row of a kind, oldest first."""
        tenant = self.registry.tenant
        async with tenant.database.transaction(tenant.actor()) as session:
            return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))
