"""The promises of the unit of work (decisions 1, 2 and 33, architecture 6): all or nothing, once, and on record."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from app.auth.actor import Actor
from app.commands import Done, Refusal, Refused
from app.idempotency import Key
from app.running import RETRIES, RefusedAfterChange, run
from app.unit_of_work import PermissionDenied, UnitOfWork
from db import models
from db.base import Model
from db.enums import ChangeRecordType, OpEventType
from db.ids import new_id
from db.models.gateway import IdempotencyKey
from db.pool import OF_THE_DRIVER
from db.session import Database
from db.texts import DriverText
from tests.conftest import TenantUnderTest
from tests.declared import Declare
from tests.fingerprint import fingerprint


async def rows_of(tenant: TenantUnderTest, model: type[Model]) -> int:
    """How many rows the tenant has in a table."""
    table: Any = model
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.scalar(select(func.count()).select_from(table).where(table.tenant_id == tenant.id))
        return int(found or 0)


async def make(tenant: TenantUnderTest, actor: Actor, key: str, **given: Any) -> Done | Refused:
    """A template made with an idempotency key."""
    return await run(tenant.database, actor, "create_template", given, Key.of("agentTemplateCreate", key, given))


def known(outcome: Done | Refused) -> tuple[Any, Any]:
    """What a result names: its row and its record."""
    assert isinstance(outcome, Done), outcome
    row: Any = outcome.row
    return (outcome.row_id if row is None else row.id, outcome.change_id)


async def test_the_same_key_from_several_connections_at_once_is_one_effect(tenant: TenantUnderTest) -> None:
    """Decision 33: the others wait for the first and get its very result."""
    actor = await somebody(tenant)
    outcomes = await asyncio.gather(*(make(tenant, actor, "k", name="Scout") for _ in range(4)))
    assert len({known(outcome) for outcome in outcomes}) == 1
    assert await rows_of(tenant, models.AgentTemplate) == 1
    assert await rows_of(tenant, models.ChangeRecord) == 1


async def test_the_same_key_with_another_input_is_a_conflict(tenant: TenantUnderTest) -> None:
    """Decision 33: also where both come at once, and whoever is second."""
    actor = await somebody(tenant)
    outcomes = await asyncio.gather(*(make(tenant, actor, "k", name=name) for name in ("Scout", "Writer")))
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert (refused.code, refused.field) == (Refusal.CONFLICT, "idempotency_key")
    assert await rows_of(tenant, models.AgentTemplate) == 1


async def test_a_key_is_its_callers_own(tenant: TenantUnderTest) -> None:
    """Decision 33: another operator's key of the same text is another key."""
    first = await make(tenant, await somebody(tenant), "k", name="Scout")
    second = await make(tenant, await somebody(tenant), "k", name="Scout")
    assert known(first) != known(second)


async def test_a_refusal_is_not_remembered(tenant: TenantUnderTest) -> None:
    """Decision 33: once its cause is gone, the same key and input are done."""
    actor, owner = await somebody(tenant), new_id()
    given = {"name": "Scout", "owner_ids": [owner]}
    key = Key.of("agentTemplateCreate", "k", {"name": "Scout"})
    before = await fingerprint(tenant.database, tenant.id)
    refused = await run(tenant.database, actor, "create_template", given, key)
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.NOT_FOUND
    assert await fingerprint(tenant.database, tenant.id) == before
    await tenant.add(models.Operator(id=owner, auth_id=f"o-{owner}", name="Owner", email="owner@example.com"))
    assert isinstance(await run(tenant.database, actor, "create_template", given, key), Done)


async def test_an_expired_key_is_free(tenant: TenantUnderTest) -> None:
    """Decision 33: after 24 hours the key is a new one, for any input."""
    actor = await somebody(tenant)
    first = await make(tenant, actor, "k", name="Scout")
    async with tenant.database.transaction(actor) as session:
        mine = IdempotencyKey.tenant_id == tenant.id
        kept = await session.scalar(select(IdempotencyKey.expires_at).where(mine))
        assert kept is not None
        assert timedelta(hours=23) < kept - tenant.project.created_at < timedelta(hours=25)
        await session.execute(update(IdempotencyKey).where(mine).values(expires_at=func.now() - timedelta(seconds=1)))
    second = await make(tenant, actor, "k", name="Writer")
    assert known(first) != known(second)
    assert known(await make(tenant, actor, "k", name="Writer")) == known(second)
    assert await rows_of(tenant, models.AgentTemplate) == 2


async def somebody(tenant: TenantUnderTest) -> Actor:
    """An operator of the tenant, with a row."""
    operator = models.Operator(id=new_id(), auth_id=f"o-{new_id()}", name="Ada", email=f"{new_id()}@example.com")
    await tenant.add(operator)
    return tenant.actor(operator_id=operator.id)


async def test_a_deadlock_is_run_again(tenant: TenantUnderTest, declare: Declare) -> None:
    """Issue 3: two commands that lock the same two rows the other way round are both done, and each once."""
    other = models.Project(id=new_id(), name="Other", slug="other")
    await tenant.add(other)
    barrier, attempts = asyncio.Barrier(2), 0

    async def swap(uow: UnitOfWork, order: list[Any]) -> Any:
        """Lock two projects, one after the other."""
        nonlocal attempts
        attempts += 1
        found = await uow.lock(models.Project, order[0])
        if attempts <= 2:
            await barrier.wait()
        last = await uow.lock(models.Project, order[1])
        assert found is not None
        assert last is not None
        last.description = f"{last.description or ''}x"
        uow.record(ChangeRecordType.PROJECT_CREATED, last)
        return last

    name, actor = declare(swap), tenant.actor()
    there = [tenant.project.id, other.id]
    outcomes = await asyncio.gather(
        *(run(tenant.database, actor, name, {"order": order}) for order in (there, there[::-1]))
    )
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert attempts == 3, "one of the two was the victim of a real deadlock"
    assert await rows_of(tenant, models.ChangeRecord) == 2


@pytest.mark.parametrize("failures", [1, RETRIES, RETRIES + 1])
async def test_a_serialisation_failure_is_run_again_three_times(
    tenant: TenantUnderTest, declare: Declare, failures: int
) -> None:
    """Issue 3: at most three times; what the attempts wrote is gone."""
    attempts = 0

    async def fail(uow: UnitOfWork) -> Any:
        """Fail as Postgres would."""
        nonlocal attempts
        attempts += 1
        made = await write_a_lot(uow)
        if attempts <= failures:
            await uow.session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END $$"))
        return made

    name = declare(fail)
    if failures > RETRIES:
        with pytest.raises(DBAPIError, match="try again"):
            await run(tenant.database, tenant.actor(), name, {})
    else:
        assert isinstance(await run(tenant.database, tenant.actor(), name, {}), Done)
    done = int(failures <= RETRIES)
    assert attempts == min(failures, RETRIES) + 1
    assert await rows_of(tenant, models.AgentTemplate) == done
    assert await rows_of(tenant, models.ChangeRecord) == done


async def write_a_lot(uow: UnitOfWork) -> Model:
    """A row, and one in every journal."""
    made = uow.add(models.AgentTemplate(name="Half"))
    uow.record(ChangeRecordType.TEMPLATE_CREATED, made)
    uow.emit(OpEventType.DECISION_MADE)
    uow.audit("TRIED", description="half-way")
    uow.notify("template.created", made)
    await uow.session.flush()
    return made


class Stumbled(Exception):
    """A fault in the middle of a command."""


async def test_a_command_that_fails_half_way_leaves_nothing(tenant: TenantUnderTest, declare: Declare) -> None:
    """Issue 3: neither rows nor journals, and its key is free."""

    async def stumble(uow: UnitOfWork) -> Any:
        """Write, and fail."""
        await write_a_lot(uow)
        raise Stumbled

    before = await fingerprint(tenant.database, tenant.id)
    with pytest.raises(Stumbled):
        await run(tenant.database, tenant.actor(), declare(stumble), {}, Key.of("stumble", "k", {}))
    assert await fingerprint(tenant.database, tenant.id) == before


@pytest.mark.parametrize("by_session", [False, True])
async def test_a_command_sees_by_its_own_statements_what_it_changed_and_what_it_changes_after_them_is_kept(
    tenant: TenantUnderTest, declare: Declare, by_session: bool
) -> None:
    """Whether a row was read with the ORM's session or without."""
    named = DriverText("SELECT name FROM projects WHERE tenant_id = :tenant AND id = :id AND :id IS NOT NULL")
    seen: list[Any] = []

    async def rename_twice(uow: UnitOfWork) -> Done:
        if by_session:
            assert uow.session is not None
        project = await uow.lock(models.Project, tenant.project.id)
        assert project is not None
        for name in ("Once", "Twice"):
            project.name = name
            seen.extend(await uow.rows(named, {"id": project.id, "tenant": tenant.id}))
        project.name = "Thrice"
        return Done(project)

    await run(tenant.database, tenant.actor(), declare(rename_twice), {})
    assert [row["name"] for row in seen] == ["Once", "Twice"]
    async with tenant.database.transaction(tenant.actor()) as session:
        project = await session.get(models.Project, (tenant.id, tenant.project.id))
        assert project is not None
        assert project.name == "Thrice"


@pytest.mark.parametrize("how", ["a row", "a flushed row", "a record"])
async def test_a_refusal_after_a_change_is_a_mistake_that_leaves_nothing(
    tenant: TenantUnderTest, declare: Declare, how: str
) -> None:
    """A refusal commits, so a command that had begun to change things would leave half of what it does."""

    async def hesitate(uow: UnitOfWork) -> Any:
        """Change, and refuse."""
        if how == "a record":
            uow.record(ChangeRecordType.PROJECT_CREATED, tenant.project)
        else:
            uow.add(models.Project(name="Half", slug="half"))
        if how == "a flushed row":
            await uow.session.flush()
        return Refused(Refusal.CONFLICT, "On second thoughts, no.")

    before = await fingerprint(tenant.database, tenant.id)
    with pytest.raises(RefusedAfterChange, match="On second thoughts"):
        await run(tenant.database, tenant.actor(), declare(hesitate), {})
    assert await fingerprint(tenant.database, tenant.id) == before


async def test_a_refusal_keeps_what_it_says_and_the_security_journal(tenant: TenantUnderTest, declare: Declare) -> None:
    """RUN-2: a refusal commits its containment; decision 4: and what matters to security."""

    async def contain(uow: UnitOfWork, keeps: bool) -> Any:
        """Refuse, and leave something."""
        uow.audit("ACCESS_DENIED")
        if keeps:
            uow.add(models.Project(name="Contained", slug="contained"))
        return Refused(Refusal.CONFLICT, "No.", keeps=keeps)

    name = declare(contain)
    for keeps in (False, True):
        assert isinstance(await run(tenant.database, tenant.actor(), name, {"keeps": keeps}), Refused)
    assert await rows_of(tenant, models.AuditLog) == 2
    assert await rows_of(tenant, models.Project) == 2


@pytest.mark.parametrize("moment", ["before the journals", "in the journals", "at the commit"])
async def test_a_connection_killed_between_statements_leaves_nothing(
    tenant: TenantUnderTest, declare: Declare, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Issue 3: the server ends the connection after rows were written; nothing stays, and the gateway goes on."""

    async def kill(uow: UnitOfWork) -> None:
        """End the connection of this very transaction, from another one."""
        number = await uow.session.scalar(select(func.pg_backend_pid()))
        async with tenant.database.transaction(tenant.actor()) as other:
            assert await other.scalar(select(func.pg_terminate_backend(number, 5_000)))

    async def go(uow: UnitOfWork) -> Any:
        """Write, and lose the connection or not."""
        made = await write_a_lot(uow)
        if moment == "before the journals" and is_deadly:
            await kill(uow)
        return made

    written = UnitOfWork.write_journals

    async def write(uow: UnitOfWork) -> None:
        if moment == "in the journals" and is_deadly:
            await uow.session.flush()
            await kill(uow)
        await written(uow)
        if moment == "at the commit" and is_deadly:
            await kill(uow)

    monkeypatch.setattr(UnitOfWork, "write_journals", write)
    name, key, actor = declare(go), Key.of("go", "k", {}), tenant.actor()
    before = await fingerprint(tenant.database, tenant.id)
    is_deadly = True
    with pytest.raises((DBAPIError, *OF_THE_DRIVER)):
        await run(tenant.database, actor, name, {}, key)
    assert await fingerprint(tenant.database, tenant.id) == before
    is_deadly = False
    assert isinstance(await run(tenant.database, actor, name, {}, key), Done)
    assert await rows_of(tenant, models.AgentTemplate) == 1
    assert await rows_of(tenant, models.OpEvent) == 1


async def test_a_denial_takes_back_what_was_written_and_is_noted(tenant: TenantUnderTest, declare: Declare) -> None:
    """AUD-1: what the command wrote before it found out is gone; the denial alone stays, in the security journal."""

    async def overreach(uow: UnitOfWork) -> Any:
        """Write, and find out that it is not allowed."""
        made = await write_a_lot(uow)
        uow.permit(permission="delete:projects")
        return made

    name, actor = declare(overreach), tenant.actor("write:projects")
    before = await fingerprint(tenant.database, tenant.id)
    with pytest.raises(PermissionDenied, match="delete:projects"):
        await run(tenant.database, actor, name, {}, Key.of("overreach", "k", {}))
    after = await fingerprint(tenant.database, tenant.id)
    assert {table for table in after if after[table] != before[table]} == {models.AuditLog.__tablename__}
    async with tenant.database.transaction(actor) as session:
        (noted,) = await session.scalars(select(models.AuditLog).where(models.AuditLog.tenant_id == tenant.id))
    assert (noted.action, noted.resource, noted.actor_id) == ("ACCESS_DENIED", "delete:projects", actor.id)


async def test_two_who_make_the_same_at_once(tenant: TenantUnderTest, database: Database) -> None:
    """TEN-3: one project of the slug; the other caller is told, without an error."""
    given = {"name": "Lab", "slug": "lab"}
    outcomes = await asyncio.gather(*(run(database, tenant.actor(), "create_project", given) for _ in range(3)))
    codes = [outcome.code for outcome in outcomes if isinstance(outcome, Refused)]
    assert codes == [Refusal.DUPLICATE_RESOURCE] * 2
