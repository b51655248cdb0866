"""Rows by their keys: the same as the ORM makes of them, stored as it would store them (db/rows.py, db/writing.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, inspect, select

from db import models
from db.base import Model, TenantScoped
from db.callers import written
from db.enums import ActorType, ChangeRecordType, InstanceState, TaskStatus, TaskType
from db.ids import new_id
from db.logs import FIRST_OF_UPDATE, AppendedChange, ChangeDraft, append_change_records
from db.rows import keyed
from db.writing import Writing
from tests.conftest import Demo, TenantUnderTest
from tests.heard import heard

KEYED: list[type[Any]] = [one.class_ for one in Model.registry.mappers if issubclass(one.class_, TenantScoped)]


@pytest.mark.parametrize("model", sorted(KEYED, key=str))
def test_the_orm_knows_a_row_by_tenant_and_id(model: type[Any]) -> None:
    """In this order: the rows that are made here say so of themselves."""
    assert [one.key for one in inspect(model).primary_key] == ["tenant_id", "id"]


async def seen(tenant: TenantUnderTest, model: type[Model], row_id: Any) -> Any:
    """The row as another transaction sees it."""
    async with tenant.database.transaction(tenant.actor()) as session:
        return await session.get(model, (tenant.id, row_id))


def task(tenant: TenantUnderTest, **columns: Any) -> models.Task:
    """A task."""
    return models.Task(
        **{
            "id": new_id(),
            "project_id": tenant.project.id,
            "title": "T",
            "type": TaskType.ENGINEERING,
            "description": "d",
        }
        | columns
    )


def draft(row: Any) -> ChangeDraft:
    """A record about a row."""
    return ChangeDraft(
        type=ChangeRecordType.TASK_TRANSITIONED, actor_type=ActorType.SYSTEM, target_entity="Task", target_id=row.id
    )


async def append(work: Writing, tenant: TenantUnderTest, drafts: Sequence[ChangeDraft]) -> Sequence[AppendedChange]:
    """What a unit of work does at its end."""
    only = work.take_only_change(FIRST_OF_UPDATE)
    if only is not None:
        return await work.append(tenant.id, drafts, only)
    await work.flush(tenant.id)
    return await append_change_records(work.connection, tenant.id, drafts)


async def records(tenant: TenantUnderTest) -> int:
    """How many change records the tenant has."""
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.scalar(
            select(func.count()).select_from(models.ChangeRecord).where(models.ChangeRecord.tenant_id == tenant.id)
        )
        return int(found or 0)


async def test_a_row_is_what_the_orm_makes_of_it(demo_fleet: Demo) -> None:
    """Every column of a row of every table that the demo fleet fills, value and type."""
    tenant_id, compared = demo_fleet.northwind.tenant_id, 0
    for model in KEYED:
        table: Any = model
        async with demo_fleet.database.transaction(demo_fleet.northwind) as session:
            expected = list(
                await session.scalars(select(model).where(table.tenant_id == tenant_id).order_by(table.id).limit(5))
            )
        if not expected:
            continue
        async with demo_fleet.database.writing(demo_fleet.northwind) as work:
            ids = [one.id for one in expected]
            found = [await work.get(model, tenant_id, one) for one in ids]
        for one, other in zip(found, expected, strict=True):
            assert one is not None
            mine, theirs = ({k: v for k, v in vars(row).items() if k[0] != "_"} for row in (one, other))
            assert mine == theirs, model
            assert {k: type(v) for k, v in mine.items()} == {k: type(v) for k, v in theirs.items()}, model
        compared += 1
    assert compared > 45


async def test_what_was_changed_is_stored_and_nothing_else(tenant: TenantUnderTest) -> None:
    """Text, enum, decimal, time, JSON, list and null, with the time of the change, in one UPDATE of our own."""
    row = task(tenant, metadata_={"a": 1}, labels=["x"], budget_allocated=Decimal("1.5"))
    await tenant.add(row)
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    changes: dict[str, Any] = {
        "title": "Other",
        "status": TaskStatus.ASSIGNED,
        "metadata_": {"b": [1, None, "ü"]},
        "labels": ["y", "z"],
        "started_at": at,
        "budget_allocated": None,
    }
    with heard(tenant.database.engine) as by_the_orm:
        async with tenant.database.writing(tenant.actor()) as work:
            (mine,) = await work.lock(models.Task, tenant.id, [row.id])
            before = mine.updated_at
            for name, value in changes.items():
                setattr(mine, name, value)
            mine.description = "d"  # as it is already
            assert keyed(models.Task).changes(mine) == changes
            await work.flush(tenant.id)
        assert by_the_orm == []
    stored = await seen(tenant, models.Task, row.id)
    assert {name: getattr(stored, name) for name in changes} == changes
    assert stored.updated_at > before
    assert stored.description == "d"


async def test_json_null_is_no_value(tenant: TenantUnderTest) -> None:
    """As with the ORM, None in a JSON column is SQL's NULL."""
    row = task(tenant, metadata_={"a": 1})
    await tenant.add(row)
    async with tenant.database.writing(tenant.actor()) as work:
        (mine,) = await work.lock(models.Task, tenant.id, [row.id])
        mine.metadata_ = None
        await work.flush(tenant.id)
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.scalar(
            select(models.Task.metadata_.is_(None)).where(models.Task.tenant_id == tenant.id, models.Task.id == row.id)
        )
        assert found is True


async def test_what_nobody_changed_is_not_written(tenant: TenantUnderTest) -> None:
    """A row that was read alone, and one that was set to what it is."""
    row = task(tenant)
    await tenant.add(row)
    before = (await seen(tenant, models.Task, row.id)).updated_at
    async with tenant.database.writing(tenant.actor()) as work:
        (mine,) = await work.lock(models.Task, tenant.id, [row.id])
        mine.title = "T"
        assert not work.has_changed_rows
        await append(work, tenant, [draft(row)])
    assert (await seen(tenant, models.Task, row.id)).updated_at == before
    assert await records(tenant) == 1


async def test_the_session_takes_over_what_was_read(tenant: TenantUnderTest) -> None:
    """From its first use on it knows the rows and their changes, and its queries see them."""
    row, other = task(tenant), task(tenant)
    await tenant.add(row, other)
    async with tenant.database.writing(tenant.actor()) as work:
        (mine,) = await work.lock(models.Task, tenant.id, [row.id])
        mine.title = "Changed before"
        assert work.opened_session is None
        found = await work.session.scalar(
            select(models.Task).where(models.Task.tenant_id == tenant.id, models.Task.title == "Changed before")
        )
        assert found is mine
        assert not work.has_changed_rows
        (second,) = await work.lock(models.Task, tenant.id, [other.id])
        second.title = "Changed behind"
        await append(work, tenant, [draft(row)])
    assert (await seen(tenant, models.Task, row.id)).title == "Changed before"
    assert (await seen(tenant, models.Task, other.id)).title == "Changed behind"


async def test_a_lock_shows_the_row_as_it_is_now(tenant: TenantUnderTest) -> None:
    """Read first and locked later, it is what others have made of it meanwhile."""
    row = task(tenant)
    await tenant.add(row)
    async with tenant.database.writing(tenant.actor()) as work:
        known = await work.get(models.Task, tenant.id, row.id)
        assert known is not None
        async with tenant.database.transaction(tenant.actor()) as session:
            theirs = await session.get(models.Task, (tenant.id, row.id))
            assert theirs is not None
            theirs.title = "Theirs"
        assert await work.get(models.Task, tenant.id, row.id) is known
        (locked,) = await work.lock(models.Task, tenant.id, [row.id])
        assert locked is known
        assert known.title == "Theirs"


async def test_a_change_and_its_record_are_one_statement(
    tenant: TenantUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round trip, and both or neither."""
    row = task(tenant)
    await tenant.add(row)
    sent: list[str] = []
    fetch = Writing.fetch

    async def noted(self: Writing, sql: str, *arguments: Any) -> list[Any]:
        sent.append(sql)
        return await fetch(self, sql, *arguments)

    monkeypatch.setattr(Writing, "fetch", noted)
    with heard(tenant.database.engine) as by_the_orm:
        async with tenant.database.writing(tenant.actor()) as work:
            (mine,) = await work.lock(models.Task, tenant.id, [row.id])
            mine.title = "Changed"
            (appended,) = await append(work, tenant, [draft(row)])
    assert by_the_orm == []
    assert len(sent) == 2
    assert appended.seq == 1
    assert (await seen(tenant, models.Task, row.id)).title == "Changed"
    assert await records(tenant) == 1


@pytest.mark.parametrize("is_locked", [True, False])
async def test_a_row_that_is_gone_leaves_no_record(tenant: TenantUnderTest, is_locked: bool) -> None:
    """Nothing is recorded of a change that had nothing to change."""
    row_id = new_id()
    row = models.Role(id=row_id, name=str(row_id), permissions=[])
    await tenant.add(row)

    async def change() -> None:
        async with tenant.database.writing(tenant.actor()) as work:
            if is_locked:
                (mine,) = await work.lock(models.Role, tenant.id, [row.id])
            else:
                found = await work.get(models.Role, tenant.id, row.id)
                assert found is not None
                mine = found
            mine.name = "Changed"
            await work.fetch("DELETE FROM roles WHERE tenant_id = $1 AND id = $2", tenant.id, row.id)
            await append(work, tenant, [draft(row)])

    with pytest.raises(LookupError):
        await change()
    assert await records(tenant) == 0
    assert (await seen(tenant, models.Role, row.id)).name == str(row_id)


async def test_several_changed_rows_are_all_stored(tenant: TenantUnderTest) -> None:
    """A statement each, and the records after them."""
    rows = [task(tenant) for _ in range(3)]
    await tenant.add(*rows)
    async with tenant.database.writing(tenant.actor()) as work:
        found = await work.lock(models.Task, tenant.id, [one.id for one in reversed(rows)])
        assert [one.id for one in found] == [one.id for one in rows]
        for one in found:
            one.title = "Changed"
        await append(work, tenant, [draft(one) for one in found])
    assert [(await seen(tenant, models.Task, one.id)).title for one in rows] == ["Changed"] * 3
    assert await records(tenant) == 3


@pytest.mark.parametrize("uses_session", [False, True])
async def test_an_exception_takes_it_back(tenant: TenantUnderTest, uses_session: bool) -> None:
    """With or without the session, and the connection serves the next one."""
    row = task(tenant)
    await tenant.add(row)

    async def fail() -> None:
        async with tenant.database.writing(tenant.actor()) as work:
            (mine,) = await work.lock(models.Task, tenant.id, [row.id])
            mine.title = "Changed"
            await work.flush(tenant.id)
            if uses_session:
                await work.session.scalar(select(models.Task.id).limit(1))
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await fail()
        assert (await seen(tenant, models.Task, row.id)).title == "T"


async def test_a_foreign_row_is_not_there(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Another tenant's row is found neither by its own tenant's name nor by ours."""
    row = task(other_tenant)
    await other_tenant.add(row)
    async with tenant.database.writing(tenant.actor()) as work:
        assert await work.lock(models.Task, tenant.id, [row.id]) == []
        assert await work.lock(models.Task, other_tenant.id, [row.id]) == []
        assert await work.get(models.Task, other_tenant.id, row.id) is None


async def test_a_state_of_an_agent_is_noted_for_those_who_remember_it(tenant: TenantUnderTest) -> None:
    """What the driver is sent directly is heard as what SQLAlchemy sends: a pause must reach every gateway."""
    template = models.AgentTemplate(id=new_id(), name="T")
    version = models.AgentVersion(id=new_id(), template_id=template.id, genome={}, genome_hash="0" * 64)
    agent = models.AgentInstance(
        id=new_id(),
        version_id=version.id,
        project_id=tenant.project.id,
        environment_id=tenant.environment.id,
        state=InstanceState.ACTIVE,
    )
    await tenant.add(template, version, agent)
    async with tenant.database.writing(tenant.actor()) as work:
        (mine,) = await work.lock(models.AgentInstance, tenant.id, [agent.id])
        mine.state = InstanceState.PAUSED
        await append(work, tenant, [draft(row=agent)])
        assert [one.name for one in written(work.connection)] == ["AGENTS"]
