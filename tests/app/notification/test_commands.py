"""A person's own notifications and preferences (NOT-4, NOT-6), and how many are unread."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.actor import instance_actor
from app.auth.scope import Assignment, Grants
from app.commands import Done, Refusal, Refused
from app.running import run
from db import models
from db.enums import InstanceState, NotificationChannel, NotificationSeverity, NotificationType
from db.ids import new_id
from tests.asking import ask, data_of
from tests.governed import Registry, registry

__all__ = ["registry"]

UNREAD = "{ viewer { unreadNotifications } }"


async def told(registry: Registry, *, to: Any = None, **columns: Any) -> models.Notification:
    """A notification of the registry's operator, or of another recipient."""
    recipient = {"operator_id": registry.operator.id} if to is None else to
    made = models.Notification(id=new_id(), type=NotificationType.SYSTEM, title="Hello", **recipient, **columns)
    await registry.tenant.add(made)
    return made


async def other_person(registry: Registry) -> models.Operator:
    made = models.Operator(id=new_id(), auth_id=f"p-{new_id()}", name="P", email=f"{new_id().hex}@example.com")
    await registry.tenant.add(made)
    return made


async def rows(registry: Registry, model: Any) -> list[Any]:
    async with registry.tenant.database.transaction(registry.actor) as session:
        return list(
            await session.scalars(select(model).where(model.tenant_id == registry.tenant.id).order_by(model.id))
        )


async def actions(registry: Registry) -> list[str]:
    return [one.action for one in await rows(registry, models.AuditLog)]


async def test_not_6_read_once(registry: Registry) -> None:
    one = await told(registry)
    first = await registry.done("mark_notification_read", notification_id=one.id)
    again = await registry.done("mark_notification_read", notification_id=one.id)
    assert first.read_at is not None
    assert again.read_at == first.read_at
    assert await actions(registry) == ["NOTIFICATION_READ"]


@pytest.mark.parametrize("name", ["mark_notification_read", "delete_notification"])
async def test_not_6_only_the_recipient(registry: Registry, name: str) -> None:
    """Not even an admin touches what another person, or an agent, was told."""
    somebody = await other_person(registry)
    theirs = await told(registry, to={"operator_id": somebody.id})
    refused = await registry.refused(name, notification_id=theirs.id)
    assert (refused.code, refused.field) == (Refusal.NOT_FOUND, "notification_id")
    (row,) = await rows(registry, models.Notification)
    assert row.read_at is None


async def test_not_6_all_of_one_s_own_up_to_a_time(registry: Registry) -> None:
    somebody = await other_person(registry)
    await told(registry, to={"operator_id": somebody.id})
    for _ in range(3):
        await told(registry)
    late = await told(registry, created_at=datetime.now(UTC) + timedelta(minutes=5))
    outcome = await registry.do("mark_all_notifications_read", until=datetime.now(UTC) + timedelta(minutes=1))
    assert isinstance(outcome, Done)
    assert outcome.extras == {"count": 3}
    unread = [one.id for one in await rows(registry, models.Notification) if one.read_at is None]
    assert len(unread) == 2
    assert late.id in unread
    assert isinstance(await registry.do("mark_all_notifications_read"), Done)
    again = await registry.do("mark_all_notifications_read")
    assert isinstance(again, Done)
    assert again.extras == {"count": 0}
    assert await actions(registry) == ["NOTIFICATIONS_READ"] * 2  # nothing to read is nothing to note


async def test_not_6_deleted(registry: Registry) -> None:
    one = await told(registry)
    outcome = await registry.do("delete_notification", notification_id=one.id)
    assert isinstance(outcome, Done)
    assert await rows(registry, models.Notification) == []
    assert isinstance(await registry.do("delete_notification", notification_id=one.id), Refused)
    assert await actions(registry) == ["NOTIFICATION_DELETED"]


async def test_not_6_whoever_reads_notifications_in_one_project_reads_their_own(registry: Registry) -> None:
    held = Assignment(frozenset({"read:notifications"}), project_id=registry.tenant.project.id)
    grants = Grants.union([held], datetime.now(UTC))
    actor = registry.tenant.actor(grants=grants, operator_id=registry.operator.id)
    one = await told(registry)
    outcome = await run(registry.tenant.database, actor, "mark_notification_read", {"notification_id": one.id})
    assert isinstance(outcome, Done)


async def test_not_6_how_many_are_unread(registry: Registry) -> None:
    """One's own in the application, in one statement; an agent's are its own."""
    agent = models.AgentInstance(
        id=new_id(),
        version_id=(await registry.version()).id,
        project_id=registry.tenant.project.id,
        environment_id=registry.tenant.environment.id,
        state=InstanceState.ACTIVE,
    )
    await registry.tenant.add(agent)
    await told(registry, to={"instance_id": agent.id})
    await told(registry)
    await told(registry, channel=NotificationChannel.EMAIL)
    await told(registry, read_at=datetime.now(UTC))
    await told(registry, to={"operator_id": (await other_person(registry)).id})
    answer = await ask(registry.tenant.database, registry.actor, UNREAD)
    assert answer.data["viewer"] == {"unreadNotifications": 1}
    assert len(answer.statements) == 1
    as_agent = instance_actor(
        tenant_id=registry.tenant.id,
        tenant_slug=registry.tenant.slug,
        instance_id=agent.id,
        name="Scout",
        state="ACTIVE",
        project_id=registry.tenant.project.id,
        token_expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    assert (await data_of(registry.tenant, as_agent, UNREAD))["viewer"] == {"unreadNotifications": 1}
    await registry.do("mark_all_notifications_read")
    assert (await data_of(registry.tenant, registry.actor, UNREAD))["viewer"] == {"unreadNotifications": 0}


async def test_not_4_a_preference_a_channel(registry: Registry) -> None:
    """Set once and changed after; what is left out stays, null lifts the filters."""
    filters = {
        "event_types": ["TASK_ASSIGNED", "TASK_ASSIGNED"],
        "min_severity": NotificationSeverity.WARNING,
        "project_ids": [registry.tenant.project.id],
    }
    channel = NotificationChannel.EMAIL
    await registry.done("set_notification_preference", channel=channel, enabled=True, filters=filters)
    await registry.done("set_notification_preference", channel=channel, enabled=False, frequency="daily")
    await registry.done("set_notification_preference", channel=NotificationChannel.SLACK, enabled=True)
    email, _slack = await rows(registry, models.NotificationPreference)
    assert (email.operator_id, email.enabled, email.frequency) == (registry.operator.id, False, "daily")
    assert email.filters == {
        "eventTypes": ["TASK_ASSIGNED"],
        "minSeverity": "WARNING",
        "projectIds": [str(registry.tenant.project.id)],
    }
    await registry.done("set_notification_preference", channel=channel, enabled=False, filters=None)
    await registry.done("set_notification_preference", channel=channel, enabled=False)  # nothing new
    email, _slack = await rows(registry, models.NotificationPreference)
    assert email.filters is None
    assert await actions(registry) == ["NOTIFICATION_PREFERENCE_SET"] * 4


@pytest.mark.parametrize(
    ("given", "code", "where"),
    [
        ({"frequency": "yearly"}, Refusal.VALIDATION_ERROR, "frequency"),
        ({"filters": {"project_ids": [new_id()]}}, Refusal.NOT_FOUND, "filters.project_ids[0]"),
    ],
)
async def test_not_4_a_bad_preference_is_refused(
    registry: Registry, given: dict[str, Any], code: Refusal, where: str
) -> None:
    refused = await registry.refused(
        "set_notification_preference", channel=NotificationChannel.EMAIL, enabled=True, **given
    )
    assert (refused.code, refused.field) == (code, where)
    assert await rows(registry, models.NotificationPreference) == []


async def test_not_4_set_by_many_at_once_it_is_one_row(registry: Registry) -> None:
    outcomes = await asyncio.gather(
        *(
            registry.do("set_notification_preference", channel=NotificationChannel.EMAIL, enabled=bool(n % 2))
            for n in range(6)
        )
    )
    assert all(isinstance(one, Done) for one in outcomes)
    assert len(await rows(registry, models.NotificationPreference)) == 1
