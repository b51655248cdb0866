"""The one way a task's status changes: stamps, records, events, and who hears of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.auth.actor import Actor, instance_actor, system_actor
from app.execution.moving import move_task
from app.notification.fanout import fan_out
from app.unit_of_work import UnitOfWork
from db import models
from db.enums import InstanceState, TaskStatus, TaskType, WatchEntityType
from db.ids import new_id
from tests.conftest import TenantUnderTest
from tests.governed import Registry, registry
from tests.notified import everybodys

__all__ = ["registry"]


async def agent(registry: Registry, name: str) -> models.AgentInstance:
    """An agent of the test's project."""
    version = await registry.version()
    instance = models.AgentInstance(
        id=new_id(),
        name=name,
        version_id=version.id,
        project_id=registry.tenant.project.id,
        environment_id=registry.tenant.environment.id,
        state=InstanceState.ACTIVE,
    )
    await registry.tenant.add(instance)
    return instance


async def work(registry: Registry, status: TaskStatus, *assignees: models.AgentInstance, **columns: Any) -> models.Task:
    """A task that stands there already."""
    task = models.Task(
        id=new_id(),
        project_id=registry.tenant.project.id,
        title="Mend the roof",
        type=TaskType.OPS,
        status=status,
        **columns,
    )
    await registry.tenant.add(task)
    await registry.tenant.add(
        *(models.TaskAssignee(task_id=task.id, instance_id=one.id, position=at) for at, one in enumerate(assignees))
    )
    return task


async def move(
    tenant: TenantUnderTest, task: models.Task, to: TaskStatus, by: Actor | None = None, **more: Any
) -> models.Task:
    """Move a task as the gateway does, or somebody else, and read it again."""
    actor = by or system_actor(tenant.id)
    async with tenant.database.transaction(actor) as session:
        uow = UnitOfWork(session, actor, "write:tasks")
        locked = await uow.lock(models.Task, task.id)
        assert locked is not None
        await move_task(uow, locked, to, **more)
        await uow.write_journals()
    async with tenant.database.transaction(actor) as session:
        found = await session.get(models.Task, (tenant.id, task.id))
        assert found is not None
        return found


async def told(tenant: TenantUnderTest) -> set[tuple[str, str, str | None]]:
    """Who was told what, once every event is fanned out."""
    await fan_out(tenant.database, tenant.id)
    rows = await everybodys(tenant)
    assert all(row.task_id for row in rows)
    return {(row.name, row.type, row.body) for row in rows}


EARLIER = datetime(2026, 1, 1, tzinfo=UTC)


async def test_tsk_3_started_is_stamped_once_and_review_cycles_count(registry: Registry) -> None:
    """The first entry into IN_PROGRESS stays; each return from REVIEW counts, no other."""
    task = await work(registry, TaskStatus.ASSIGNED)
    first = await move(registry.tenant, task, TaskStatus.IN_PROGRESS)
    assert first.started_at is not None
    assert first.review_cycles == 0
    submitted = await move(registry.tenant, task, TaskStatus.REVIEW)
    assert submitted.submitted_at is not None
    again = await move(registry.tenant, task, TaskStatus.IN_PROGRESS)
    assert (again.started_at, again.review_cycles) == (first.started_at, 1)
    held = await move(registry.tenant, task, TaskStatus.NEEDS_APPROVAL)
    assert held.completed_at is None
    back = await move(registry.tenant, task, TaskStatus.IN_PROGRESS)
    assert back.review_cycles == 1


@pytest.mark.parametrize("end", [TaskStatus.DONE, TaskStatus.CANCELED])
async def test_tsk_3_the_end_is_stamped(registry: Registry, end: TaskStatus) -> None:
    """DONE and CANCELED alike."""
    task = await work(registry, TaskStatus.REVIEW)
    assert (await move(registry.tenant, task, end)).completed_at is not None


async def test_tsk_3_failed_is_not_completed(registry: Registry) -> None:
    """A failed task may be tried again."""
    task = await work(registry, TaskStatus.IN_PROGRESS)
    assert (await move(registry.tenant, task, TaskStatus.FAILED, reason="broken")).completed_at is None


async def test_tsk_3_what_the_gateway_gives_back_was_submitted_before(registry: Registry) -> None:
    """Out of BLOCKED into REVIEW is no new submission for the gateway, and ASSIGNED no new assignment."""
    one = await agent(registry, "One")
    task = await work(registry, TaskStatus.BLOCKED, one, submitted_at=EARLIER)
    back = await move(registry.tenant, task, TaskStatus.REVIEW, by_system=True)
    assert back.submitted_at == EARLIER
    other = await work(registry, TaskStatus.BLOCKED, one)
    await move(registry.tenant, other, TaskStatus.ASSIGNED, by_system=True)
    assert await registry.types() == ["TASK_TRANSITIONED", "TASK_TRANSITIONED"]


async def test_tsk_3_a_block_has_its_reason_and_loses_it(registry: Registry) -> None:
    """With it go the marks of an emergency; other notes stay."""
    task = await work(registry, TaskStatus.IN_PROGRESS, metadata_={"mine": 1})
    blocked = await move(registry.tenant, task, TaskStatus.BLOCKED, reason="no roof left")
    assert blocked.blocked_reason == "no roof left"
    async with registry.tenant.database.transaction(registry.tenant.actor()) as session:
        row = await session.get(models.Task, (registry.tenant.id, task.id))
        assert row is not None
        row.metadata_ = {"mine": 1, "preBlockStatus": "IN_PROGRESS", "emergencyControlId": "x"}
    freed = await move(registry.tenant, task, TaskStatus.IN_PROGRESS)
    assert (freed.blocked_reason, freed.metadata_) == (None, {"mine": 1})


async def test_tsk_6_entering_assigned_records_whose_it_is(registry: Registry) -> None:
    """TASK_TRANSITIONED, and TASK_ASSIGNED that hangs on it, in the order of assignment."""
    one, two = await agent(registry, "One"), await agent(registry, "Two")
    task = await work(registry, TaskStatus.INBOX, two, one)
    await move(registry.tenant, task, TaskStatus.ASSIGNED, reason="go")
    moved, assigned = await registry.journal()
    assert moved["type"] == "TASK_TRANSITIONED"
    assert (moved["beforeState"], moved["afterState"], moved["reason"]) == (
        {"status": "INBOX"},
        {"status": "ASSIGNED"},
        "go",
    )
    assert assigned["type"] == "TASK_ASSIGNED"
    assert assigned["afterState"] == {"assigneeIds": [str(two.id), str(one.id)]}
    assert assigned["causedBy"] == {"seq": moved["seq"]}


async def test_tsk_7_assignees_followers_and_watchers_hear_of_it(registry: Registry) -> None:
    """Watchers of the task and of its project, agents that follow the thread; nobody else."""
    one, follower, _idle = [await agent(registry, name) for name in ("One", "Follower", "Idle")]
    task, other = await work(registry, TaskStatus.INBOX, one), await work(registry, TaskStatus.INBOX)
    people = [
        models.Operator(id=new_id(), auth_id=name, name=name, email=f"{name}@example.com")
        for name in ("watcher", "project watcher", "elsewhere")
    ]
    await registry.tenant.add(*people)
    targets = [
        (WatchEntityType.TASK, task.id),
        (WatchEntityType.PROJECT, registry.tenant.project.id),
        (WatchEntityType.TASK, other.id),
    ]
    await registry.tenant.add(
        *(
            models.WatchSubscription(operator_id=person.id, entity_type=kind, entity_id=entity)
            for person, (kind, entity) in zip(people, targets, strict=True)
        ),
        models.ThreadSubscription(
            instance_id=follower.id, task_id=task.id, subscribed_at=datetime.now(UTC) - timedelta(days=1)
        ),
    )
    await move(registry.tenant, task, TaskStatus.ASSIGNED)
    text = "Mend the roof: from INBOX to ASSIGNED"
    assert await told(registry.tenant) == {
        ("One", "TASK_ASSIGNED", "Mend the roof"),
        ("Follower", "TASK_TRANSITION", text),
        ("watcher", "TASK_TRANSITION", text),
        ("project watcher", "TASK_TRANSITION", text),
    }


async def test_tsk_7_an_agent_is_not_told_of_its_own_step(registry: Registry) -> None:
    """Whoever works on it with the agent is."""
    mover, other = [await agent(registry, name) for name in ("Mover", "Other")]
    task = await work(registry, TaskStatus.ASSIGNED, mover, other)
    await registry.tenant.add(
        *(
            models.ThreadSubscription(
                instance_id=one.id, task_id=task.id, subscribed_at=datetime.now(UTC) - timedelta(days=1)
            )
            for one in (mover, other)
        )
    )
    itself = instance_actor(
        tenant_id=registry.tenant.id,
        tenant_slug=registry.tenant.slug,
        instance_id=mover.id,
        name="Mover",
        state="ACTIVE",
        project_id=registry.tenant.project.id,
        token_expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    await move(registry.tenant, task, TaskStatus.IN_PROGRESS, itself)
    assert {name for name, _, _ in await told(registry.tenant)} == {"Other"}
