"""A tenant with agents and tasks, and short ways to have somebody do something with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import select

from app.auth.actor import Actor, instance_actor, system_actor
from app.commands import Done, Refused
from app.running import run
from db import models
from db.enums import ActorType, ApprovalDecision, InstanceState, OperatorMode, TaskStatus, TaskType
from db.ids import new_id
from tests.governed import Registry, registry

__all__ = ["CHECKED", "DELIVERABLE", "PLAN", "Desk", "desk", "registry"]

PLAN: Final[dict[str, Any]] = {"bullets": ["read", "write", "check"], "estimatedCost": 1.5}
DELIVERABLE: Final[dict[str, Any]] = {"summary": "It is done."}
CHECKED: Final[dict[str, Any]] = {
    "type": "general",
    "items": [{"label": "tests", "checked": True}, {"label": "docs", "checked": False, "note": "none needed"}],
}


@dataclass
class Desk:
    """Where tasks are worked on."""

    registry: Registry
    version: models.AgentVersion
    keys: int = field(default=0)

    @property
    def tenant(self) -> Any:
        return self.registry.tenant

    @property
    def human(self) -> Actor:
        return self.registry.actor

    @property
    def system(self) -> Actor:
        return system_actor(self.tenant.id)

    def as_agent(self, instance: models.AgentInstance) -> Actor:
        """The agent with its own token."""
        return instance_actor(
            tenant_id=self.tenant.id,
            tenant_slug=self.tenant.slug,
            instance_id=instance.id,
            name=instance.name or "",
            state=instance.state.value,
            project_id=instance.project_id,
            token_expires_at=datetime.now(UTC) + timedelta(hours=1),
        )

    def actor(self, kind: ActorType, instance: models.AgentInstance) -> Actor:
        """Somebody of this kind."""
        return {ActorType.HUMAN: self.human, ActorType.SYSTEM: self.system, ActorType.AGENT: self.as_agent(instance)}[
            kind
        ]

    async def agent(
        self, name: str = "Scout", state: InstanceState = InstanceState.ACTIVE, **columns: Any
    ) -> models.AgentInstance:
        """An agent that stands so."""
        (made,) = await self.agents(1, name, state, **columns)
        return made

    async def agents(
        self, count: int, name: str = "Scout", state: InstanceState = InstanceState.ACTIVE, **columns: Any
    ) -> list[models.AgentInstance]:
        """Agents that stand so."""
        given = {
            "version_id": self.version.id,
            "project_id": self.tenant.project.id,
            "environment_id": self.tenant.environment.id,
            **columns,
        }
        made = [models.AgentInstance(id=new_id(), name=name, state=state, **given) for _ in range(count)]
        await self.tenant.add(*made)
        return made

    async def task(
        self, status: TaskStatus = TaskStatus.INBOX, *assignees: models.AgentInstance, **columns: Any
    ) -> models.Task:
        """A task that stands there already, and who has it."""
        usual = {"id": new_id(), "project_id": self.tenant.project.id, "title": "Mend the roof", "type": TaskType.OPS}
        task = models.Task(status=status, **{**usual, **columns})
        await self.tenant.add(task)
        links = [
            models.TaskAssignee(task_id=task.id, instance_id=one.id, position=at) for at, one in enumerate(assignees)
        ]
        await self.tenant.add(*links)
        return task

    async def approval(
        self, task: models.Task, request_type: str, status: ApprovalDecision, **columns: Any
    ) -> models.ApprovalRecord:
        """A request for approval of a task."""
        made = models.ApprovalRecord(
            id=new_id(),
            request_type=request_type,
            target_entity="Task",
            target_id=task.id,
            task_id=task.id,
            action_summary="do it",
            justification="because",
            status=status,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            **columns,
        )
        await self.tenant.add(made)
        return made

    async def do(self, name: str, /, actor: Actor | None = None, **arguments: Any) -> Done | Refused:
        """Run a command."""
        return await run(self.tenant.database, actor or self.human, name, arguments)

    async def move(
        self, task: models.Task, to: TaskStatus, actor: Actor | None = None, **arguments: Any
    ) -> Done | Refused:
        """Ask for a step."""
        return await self.do("transition_task", actor, task_id=task.id, to=to, **arguments)

    async def moved(self, task: models.Task, to: TaskStatus, actor: Actor | None = None, **arguments: Any) -> Any:
        """Take a step; the task."""
        outcome = await self.move(task, to, actor, **arguments)
        assert isinstance(outcome, Done), outcome
        return outcome.row

    async def refused(self, task: models.Task, to: TaskStatus, actor: Actor | None = None, **arguments: Any) -> Refused:
        """Ask for a step that is refused, and see that nothing changed."""
        before = await self.get(models.Task, task.id)
        outcome = await self.move(task, to, actor, **arguments)
        assert isinstance(outcome, Refused), outcome
        after = await self.get(models.Task, task.id)
        assert (after.status, after.updated_at) == (before.status, before.updated_at)
        return outcome

    async def get(self, model: Any, row_id: UUID) -> Any:
        """A row as it is now."""
        async with self.tenant.database.transaction(self.human) as session:
            return await session.get(model, (self.tenant.id, row_id))

    async def rows(self, model: Any) -> list[Any]:
        """Every row of a kind, oldest first."""
        async with self.tenant.database.transaction(self.human) as session:
            return list(
                await session.scalars(select(model).where(model.tenant_id == self.tenant.id).order_by(model.id))
            )

    async def assignees(self, task: models.Task) -> list[UUID]:
        """Who has a task, in order."""
        table = models.TaskAssignee
        statement = select(table.instance_id).where(table.tenant_id == self.tenant.id, table.task_id == task.id)
        async with self.tenant.database.transaction(self.human) as session:
            return list(await session.scalars(statement.order_by(table.position)))

    async def tenant_links(self) -> list[models.TaskAssignee]:
        """Who has which task, of the whole tenant."""
        table = models.TaskAssignee
        async with self.tenant.database.transaction(self.human) as session:
            return list(await session.scalars(select(table).where(table.tenant_id == self.tenant.id)))

    async def mode(self, mode: OperatorMode, project_id: UUID | None = None) -> None:
        """An emergency mode, without its cascade."""
        await self.tenant.add(models.OperatorControl(mode=mode, project_id=project_id, updated_at=datetime.now(UTC)))


@pytest.fixture
async def desk(registry: Registry) -> Desk:
    """A desk of the test's own; its agents are of tier 2."""
    await registry.tier(2)
    return Desk(registry, await registry.version())
