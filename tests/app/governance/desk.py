"""Who asks for approval and who decides, for the tests of approvals."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from app.auth.actor import Actor
from app.commands import Done, Refused
from app.governance.rules import ApprovalChoice
from app.running import run, run_as_system
from db import models
from db.enums import (
    ApprovalDecision,
    InstanceState,
    RiskLevel,
    RunStatus,
    TaskStatus,
    TaskType,
    ToolCallStatus,
)
from db.ids import new_id
from tests.governed import Registry

A = ApprovalDecision
APPROVE, DENY = ApprovalChoice


@dataclass
class Desk:
    """A tenant with people who ask and people who decide."""

    registry: Registry
    people: list[models.Operator]

    @property
    def asker(self) -> Actor:
        return self.registry.actor

    def person(self, at: int) -> Actor:
        """One of the others, who may do everything."""
        return self.registry.tenant.actor(operator_id=self.people[at].id)

    async def request(self, risk: RiskLevel = RiskLevel.YELLOW, **more: Any) -> models.ApprovalRecord:
        """A request by the asker."""
        given = {
            "request_type": "OPERATOR_OVERRIDE",
            "action_summary": "Do it.",
            "justification": "Because.",
            "risk_level": risk,
            "rollback_plan": "Undo it.",
            **more,
        }
        row: models.ApprovalRecord = await self.registry.done("request_approval", **given)
        return row

    async def decide(
        self, approval: models.ApprovalRecord, choice: ApprovalChoice, who: Actor | int = 0, **more: Any
    ) -> Done | Refused:
        """A vote."""
        actor = who if isinstance(who, Actor) else self.person(who)
        given = {"approval_id": approval.id, "decision": choice, "reason": "fine", **more}
        return await run(self.registry.tenant.database, actor, "decide_approval", given)

    async def system(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A command of the jobs."""
        tenant = self.registry.tenant
        outcome = await run_as_system(tenant.database, tenant.id, name, arguments)
        assert isinstance(outcome, Done)
        return outcome.extras

    async def rows(self, model: Any) -> list[Any]:
        """Every row of a kind, oldest first."""
        tenant = self.registry.tenant
        async with tenant.database.transaction(tenant.actor()) as session:
            return list(await session.scalars(select(model).where(model.tenant_id == tenant.id).order_by(model.id)))

    async def row(self, approval: models.ApprovalRecord) -> models.ApprovalRecord:
        """The request as it is now."""
        (found,) = [one for one in await self.rows(models.ApprovalRecord) if one.id == approval.id]
        assert isinstance(found, models.ApprovalRecord)
        return found

    async def change(self, approval: models.ApprovalRecord, **values: Any) -> None:
        """Put a request into a state, without the commands."""
        tenant = self.registry.tenant
        table = models.ApprovalRecord
        async with tenant.database.transaction(tenant.actor()) as session:
            await session.execute(
                update(table).where(table.tenant_id == tenant.id, table.id == approval.id).values(**values)
            )

    async def stages(self) -> list[str]:
        """Stages of the events, in order."""
        return [row.payload["stage"] for row in await self.rows(models.OpEvent) if "stage" in (row.payload or {})]

    async def told(self) -> list[str]:
        """Types of the notification events, in order."""
        return [row.event_type for row in await self.rows(models.NotificationEvent)]


def done(outcome: Done | Refused) -> Done:
    """The success that it must be."""
    assert isinstance(outcome, Done), outcome
    return outcome


def refused(outcome: Done | Refused) -> Refused:
    """The refusal that it must be."""
    assert isinstance(outcome, Refused), outcome
    return outcome


async def agent_of(desk: Desk, **columns: Any) -> models.AgentInstance:
    """A working agent, stored."""
    tenant = desk.registry.tenant
    version = await desk.registry.version()
    agent = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=tenant.project.id,
        environment_id=tenant.environment.id,
        **{"state": InstanceState.ACTIVE, **columns},
    )
    await tenant.add(agent)
    return agent


async def task_of(desk: Desk, status: TaskStatus = TaskStatus.NEEDS_APPROVAL) -> models.Task:
    """A task, stored."""
    task = models.Task(
        id=new_id(), project_id=desk.registry.tenant.project.id, title="t", type=TaskType.OPS, status=status
    )
    await desk.registry.tenant.add(task)
    return task


async def task_target(desk: Desk) -> tuple[str, UUID]:
    """A task as the target of a request."""
    return "Task", (await task_of(desk)).id


async def waiting_call(desk: Desk) -> tuple[models.ApprovalRecord, models.ToolCall]:
    """A tool call that waits, and the request that it waits for."""
    agent = await agent_of(desk)
    now = datetime.now(UTC)
    run_row = models.Run(
        id=new_id(),
        idempotency_key="r1",
        instance_id=agent.id,
        version_id=agent.version_id,
        session_key="s",
        started_at=now,
        model="m",
        status=RunStatus.RUNNING,
    )
    call = models.ToolCall(
        id=new_id(),
        run_id=run_row.id,
        instance_id=agent.id,
        tool_name="shell",
        risk_level=RiskLevel.YELLOW,
        started_at=now,
        status=ToolCallStatus.PENDING,
    )
    await desk.registry.tenant.add(run_row, call)
    approval = await desk.request(request_type="TOOL_EXECUTION")
    await desk.change(approval, tool_call_id=call.id, requester_id=None, requester_instance_id=agent.id)
    return approval, call
