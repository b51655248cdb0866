"""What a person keeps for themselves: saved views and watches (WATCH-1)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.auth.actor import Actor
from app.auth.scope import Assignment, Grants
from app.commands import Done, Refusal
from app.unit_of_work import PermissionDenied
from db import models
from db.enums import SavedViewScope, TaskType
from db.ids import new_id
from tests.asking import data_of
from tests.conftest import TenantUnderTest
from tests.governed import Registry

READ, WRITE = "read:saved-views", "write:saved-views"


async def person(tenant: TenantUnderTest, *permissions: str, project: Any = None) -> Actor:
    """Another operator who may do this, in one project if it is named."""
    row = models.Operator(id=new_id(), auth_id=f"p-{new_id()}", name="P", email=f"{new_id().hex}@example.com")
    await tenant.add(row)
    held = Assignment(frozenset(permissions), project_id=None if project is None else project.id)
    return tenant.actor(grants=Grants.union([held], datetime.now(UTC)), operator_id=row.id)


async def view(registry: Registry, actor: Actor, **given: Any) -> models.SavedView:
    wanted = {
        "project_id": registry.tenant.project.id,
        "name": "Mine",
        "scope": SavedViewScope.KANBAN,
        "filters": {"status": ["INBOX"]},
        **given,
    }
    outcome = await registry.do("create_saved_view", actor=actor, **wanted)
    assert isinstance(outcome, Done), outcome
    assert isinstance(outcome.row, models.SavedView)
    return outcome.row


async def seen(tenant: TenantUnderTest, actor: Actor) -> list[str]:
    data = await data_of(tenant, actor, "{ savedViews { edges { node { name } } } }")
    return [edge["node"]["name"] for edge in data["savedViews"]["edges"]]


async def test_watch_1_a_private_view_is_its_owner_s_alone(registry: Registry) -> None:
    """Others neither see it nor learn that it is there, whatever they may do."""
    owner = await person(registry.tenant, READ)
    kept = await view(registry, owner)
    assert await seen(registry.tenant, owner) == ["Mine"]
    assert await seen(registry.tenant, registry.actor) == []
    for name, given in (("update_saved_view", {"name": "Theirs"}), ("delete_saved_view", {})):
        refused = await registry.refused(name, view_id=kept.id, **given)
        assert (refused.code, refused.field) == (Refusal.NOT_FOUND, "view_id")
    assert isinstance(await registry.do("update_saved_view", actor=owner, view_id=kept.id, name="New"), Done)
    assert await seen(registry.tenant, owner) == ["New"]
    assert isinstance(await registry.do("delete_saved_view", actor=owner, view_id=kept.id), Done)
    assert await seen(registry.tenant, owner) == []


async def test_watch_1_a_shared_view_is_read_by_others_and_changed_by_its_owner(registry: Registry) -> None:
    owner = await person(registry.tenant, READ, WRITE)
    kept = await view(registry, owner, is_shared=True)
    assert await seen(registry.tenant, registry.actor) == ["Mine"]
    for name, given in (("update_saved_view", {"name": "Theirs"}), ("delete_saved_view", {})):
        refused = await registry.refused(name, view_id=kept.id, **given)
        assert refused.code is Refusal.DEPENDENCY_NOT_MET
    outcome = await registry.do("update_saved_view", actor=owner, view_id=kept.id, is_shared=False)
    assert isinstance(outcome, Done)
    assert await seen(registry.tenant, registry.actor) == []


async def test_watch_1_sharing_takes_the_permission_to_write_views(registry: Registry) -> None:
    reader = await person(registry.tenant, READ)
    kept = await view(registry, reader)
    for name, given in (
        ("update_saved_view", {"view_id": kept.id, "is_shared": True}),
        (
            "create_saved_view",
            {
                "project_id": registry.tenant.project.id,
                "name": "x",
                "scope": SavedViewScope.KANBAN,
                "filters": {},
                "is_shared": True,
            },
        ),
    ):
        with pytest.raises(PermissionDenied, match=WRITE):
            await registry.do(name, actor=reader, **given)
    assert await seen(registry.tenant, registry.actor) == []


async def test_watch_1_a_view_is_of_a_project_that_one_may_see(registry: Registry) -> None:
    far = models.Project(id=new_id(), name="Far", slug="far")
    await registry.tenant.add(far)
    reader = await person(registry.tenant, READ, project=far)
    with pytest.raises(PermissionDenied, match=READ):
        await view(registry, reader)
    assert (await view(registry, reader, project_id=far.id)).project_id == far.id


@pytest.mark.parametrize(
    ("given", "where"),
    [({"name": " "}, "name"), ({"filters": []}, "filters"), ({"filters": {"a": "x" * 20_001}}, "filters")],
)
async def test_watch_1_a_bad_view_is_refused(registry: Registry, given: dict[str, Any], where: str) -> None:
    usual: dict[str, Any] = {
        "project_id": registry.tenant.project.id,
        "name": "x",
        "scope": SavedViewScope.KANBAN,
        "filters": {},
    }
    refused = await registry.refused("create_saved_view", **{**usual, **given})
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, where)


# --- Watches ----------------------------------------------------------------------------------------------------------


async def task_in(tenant: TenantUnderTest) -> models.Task:
    made = models.Task(id=new_id(), project_id=tenant.project.id, title="Roof", type=TaskType.OPS)
    await tenant.add(made)
    return made


async def watches(tenant: TenantUnderTest) -> list[models.WatchSubscription]:
    async with tenant.database.transaction(tenant.actor()) as session:
        return list(await session.scalars(select(models.WatchSubscription)))


async def test_watch_1_a_switch(registry: Registry) -> None:
    """On, off, on; with a direction it says what is, and does nothing where it is so."""
    task = await task_in(registry.tenant)
    told = []
    for watching in (None, None, True, True, False, False):
        given: dict[str, Any] = {} if watching is None else {"watching": watching}
        outcome = await registry.do("toggle_watch", entity_id=("Task", task.id), **given)
        assert isinstance(outcome, Done)
        assert (outcome.row is not None) is outcome.extras["watching"]
        told.append((outcome.extras["watching"], len(await watches(registry.tenant))))
    assert told == [(True, 1), (False, 0), (True, 1), (True, 1), (False, 0), (False, 0)]
    async with registry.tenant.database.transaction(registry.actor) as session:
        found = await session.scalars(
            select(models.AuditLog.action).where(models.AuditLog.tenant_id == registry.tenant.id)
        )
        assert list(found) == ["WATCH_TOGGLED"] * 4


async def test_watch_1_a_project_is_its_own_place(registry: Registry) -> None:
    reader = await person(registry.tenant, READ, "read:projects", project=registry.tenant.project)
    outcome = await registry.do("toggle_watch", actor=reader, entity_id=("Project", registry.tenant.project.id))
    assert isinstance(outcome, Done)
    (row,) = await watches(registry.tenant)
    assert (row.project_id, row.operator_id) == (registry.tenant.project.id, reader.id)


async def test_watch_1_many_switches_at_once(registry: Registry) -> None:
    """An even number of turns is none, and none is lost."""
    task = await task_in(registry.tenant)
    outcomes = await asyncio.gather(*(registry.do("toggle_watch", entity_id=("Task", task.id)) for _ in range(6)))
    assert all(isinstance(one, Done) for one in outcomes)
    assert await watches(registry.tenant) == []


async def test_watch_1_what_is_watched_is_there_and_may_be_read(
    registry: Registry, other_tenant: TenantUnderTest
) -> None:
    foreign = await task_in(other_tenant)
    for entity in (("Task", foreign.id), ("Tenant", registry.tenant.id), ("Project", other_tenant.project.id)):
        refused = await registry.refused("toggle_watch", entity_id=entity)
        assert (refused.code, refused.field) == (Refusal.NOT_FOUND, "entity_id")
    refused = await registry.refused("toggle_watch", entity_id=("AgentTemplate", registry.template.id))
    assert (refused.code, refused.field) == (Refusal.VALIDATION_ERROR, "entity_id")
    task = await task_in(registry.tenant)
    blind = await person(registry.tenant, READ)
    with pytest.raises(PermissionDenied, match="read:tasks"):
        await registry.do("toggle_watch", actor=blind, entity_id=("Task", task.id))
    assert await watches(registry.tenant) == []
