"""Commands that are ready at the same moment are one statement (db/group_commit.py, db/shared_reads.py), and each of
them is done as it would be alone."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import asyncpg
import pytest
from sqlalchemy import select, update

from app.commands import Done, Refusal, Refused
from app.running import run
from app.unit_of_work import UnitOfWork
from db import models
from db.enums import InstanceState, OpEventType
from db.ids import new_id
from db.tenant_pool import TenantPool
from tests.conftest import TenantUnderTest
from tests.declared import Declare
from tests.meeting import LONG, Meeting, names, renaming, statements_of, templates
from tests.transitions import agents, move, records, sent, state_of

ACTIVE, PAUSED, READONLY = InstanceState.ACTIVE, InstanceState.PAUSED, InstanceState.READONLY


pytestmark = pytest.mark.usefixtures("patient")


async def test_those_who_are_ready_together_are_one_statement(tenant: TenantUnderTest) -> None:
    """One that reads and one that writes, for all of them; each has its own record, and the chain is whole."""
    some = await agents(tenant, 5)
    with statements_of(tenant) as statements:
        outcomes = await asyncio.gather(*(move(tenant, agent, PAUSED, reason=str(agent)) for agent in some))
    # The first one is under way before anybody else is there.
    assert sorted(one.split()[0] for one in statements) == ["SELECT", "SELECT", "WITH"]
    assert [await state_of(tenant, agent) for agent in some] == [PAUSED] * 5
    kept = {row["id"]: row for row in await records(tenant)}
    for agent, outcome in zip(some, outcomes, strict=True):
        assert isinstance(outcome, Done)
        assert outcome.change_id is not None
        record = kept.pop(outcome.change_id)
        assert (record["target_id"], record["reason"], record["instance_id"]) == (agent, str(agent), agent)
        left = outcome.left["ChangeRecord", record["id"]]
        assert (left["seq"], left["hash"]) == (record["seq"], record["hash"])
    assert kept == {}


async def test_who_is_alone_waits_for_nobody(tenant: TenantUnderTest) -> None:
    (agent,) = await agents(tenant)
    async with asyncio.timeout(LONG / 2):
        assert isinstance(await move(tenant, agent, PAUSED), Done)


async def test_nobody_waits_long_for_one_who_takes_long_nor_a_second_time(
    tenant: TenantUnderTest, declare_brief: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whatever takes long would cost everybody beside it the longest wait, each time."""
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", 0.001)
    (agent,) = await agents(tenant)
    (template,) = await templates(tenant, 1)
    slow = Meeting(2)
    dawdling = asyncio.ensure_future(renaming(tenant, declare_brief(slow.rename), [template])[0])
    await slow.has_met(1)
    assert isinstance(await move(tenant, agent, PAUSED), Done)
    monkeypatch.setattr("db.group_commit.GATHERING_SECONDS", LONG)
    async with asyncio.timeout(LONG / 2):
        assert isinstance(await move(tenant, agent, ACTIVE), Done)
    assert not dawdling.done()
    await slow.barrier.wait()
    assert isinstance(await dawdling, Done)
    assert tenant.database._company.commits.is_idle


async def test_nobody_waits_for_one_who_has_come_to_nothing(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    (agent,) = await agents(tenant)
    (template,) = await templates(tenant, 1)
    slow = Meeting(2)
    dawdling = asyncio.ensure_future(renaming(tenant, declare_brief(slow.rename), [template])[0])
    await slow.has_met(1)
    moving = asyncio.create_task(move(tenant, agent, PAUSED))
    await asyncio.sleep(0.05)
    assert not moving.done(), "there is somebody to wait for"
    dawdling.cancel()
    async with asyncio.timeout(LONG / 2):
        assert isinstance(await moving, Done)


async def test_one_that_was_overtaken_keeps_nobody_from_writing(
    tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    """It is done again in a transaction, from the start; no number of the chain is taken for nothing."""
    ids = await templates(tenant, 3)
    meeting = Meeting(4)
    tasks = [asyncio.ensure_future(one) for one in renaming(tenant, declare_brief(meeting.rename), ids)]
    await meeting.has_met(3)
    async with tenant.database.transaction(tenant.actor()) as session:
        theirs = update(models.AgentTemplate).where(models.AgentTemplate.id == ids[1]).values(description="Theirs")
        await session.execute(theirs)
    await meeting.barrier.wait()
    assert all(isinstance(one, Done) for one in await asyncio.gather(*tasks))
    assert meeting.tries == 4
    assert await names(tenant, ids) == ["New 0", "New 1", "New 2"]
    assert [row["seq"] for row in await records(tenant)] == [1, 2, 3]


async def test_a_row_that_somebody_holds_is_waited_for_by_its_own_command_alone(
    tenant: TenantUnderTest, declare_brief: Declare
) -> None:
    ids = await templates(tenant, 3)
    meeting = Meeting(3)
    command = declare_brief(meeting.rename)
    async with tenant.database.writing(tenant.actor()) as holder:
        await holder.lock(models.AgentTemplate, tenant.id, [ids[1]])
        first, held, third = (asyncio.ensure_future(one) for one in renaming(tenant, command, ids))
        await asyncio.gather(first, third)
        assert not held.done()
    assert isinstance(await held, Done)
    assert await names(tenant, ids) == ["New 0", "New 1", "New 2"]


async def test_what_one_may_not_store_is_nobody_elses_fault(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    """A statement is refused as a whole; then each finds out by itself."""
    ids = await templates(tenant, 3)
    command = declare_brief(Meeting(3).rename)
    wrong = run(tenant.database, tenant.actor(), command, {"template_id": ids[0], "name": None})
    outcomes = await asyncio.gather(wrong, *renaming(tenant, command, ids[1:]), return_exceptions=True)
    assert isinstance(outcomes[0], asyncpg.NotNullViolationError)
    assert [type(one) for one in outcomes[1:]] == [Done, Done]
    assert await names(tenant, ids) == ["T0", "New 0", "New 1"]
    assert len(await records(tenant)) == 2


async def test_other_changes_are_another_statement(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    """As are those that no array holds as they are, such as lists."""
    ids = await templates(tenant, 6)
    command = declare_brief(Meeting(6).rename)
    changes: list[dict[str, Any]] = [{"name": "A"}, {"name": "B"}]
    changes += [{"description": "C"}] * 2 + [{"tags": ["x", "y"]}] * 2
    with statements_of(tenant) as statements:
        outcomes = await asyncio.gather(
            *(
                run(tenant.database, tenant.actor(), command, {"template_id": one, **change})
                for one, change in zip(ids, changes, strict=True)
            )
        )
    assert all(isinstance(one, Done) for one in outcomes)
    assert len([one for one in statements if one.lstrip().startswith("WITH")]) == 4
    assert len(await records(tenant)) == 6
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.get_one(models.AgentTemplate, (tenant.id, ids[5]))
        assert found.tags == ["x", "y"]


async def test_events_go_together(tenant: TenantUnderTest, declare_brief: Declare) -> None:
    barrier = asyncio.Barrier(3)

    async def report(uow: UnitOfWork, number: int) -> Any:
        """Look at a project, and note a decision."""
        found = await uow.get(models.Project, tenant.project.id)
        await barrier.wait()
        uow.emit(OpEventType.DECISION_MADE, payload={"number": number})
        return found

    command = declare_brief(report)
    with statements_of(tenant) as statements:
        await asyncio.gather(*(run(tenant.database, tenant.actor(), command, {"number": n}) for n in range(3)))
    assert len([one for one in statements if one.lstrip().startswith("WITH")]) == 1
    async with tenant.database.transaction(tenant.actor()) as session:
        events = list(await session.scalars(select(models.OpEvent).order_by(models.OpEvent.seq)))
    assert [one.seq for one in events] == [1, 2, 3]
    assert sorted(one.payload["number"] for one in events if one.payload) == [0, 1, 2]


async def test_tenants_never_share_a_statement(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Nor see each other's rows in one that others of their own share."""
    mine, theirs = await agents(tenant, 2), await agents(other_tenant, 2)
    with sent() as statements:
        outcomes = await asyncio.gather(
            *(move(one, agent, PAUSED) for one in (tenant, other_tenant) for agent in (*mine, *theirs))
        )
    assert len([one for one in statements if one.lstrip().startswith("WITH")]) == 2
    kinds = [type(one) for one in outcomes]
    assert kinds == [Done, Done, Refused, Refused, Refused, Refused, Done, Done]
    assert {one.code for one in outcomes if isinstance(one, Refused)} == {Refusal.NOT_FOUND}
    for one in (tenant, other_tenant):
        assert {row["tenant_id"] for row in await records(one)} == {one.id}


async def test_many_need_no_connection_while_they_wait(tenant: TenantUnderTest) -> None:
    """Else all of a small pool would be held by those who wait for one more."""
    pool = TenantPool(tenant.database.connections.gateway, size=1, wait_seconds=5, may_write=True)
    with patch.object(tenant.database, "_briefs", pool), patch.object(tenant.database._company.commits, "_pool", pool):
        some = await agents(tenant, 6)
        outcomes = await asyncio.gather(*(move(tenant, agent, PAUSED) for agent in some))
        assert all(isinstance(one, Done) for one in outcomes)
    await pool.close()


async def test_rows_that_are_asked_for_together(tenant: TenantUnderTest) -> None:
    """Who finds none hears so alone; where the one who asks for all goes away, the others ask by themselves."""
    first, *some = await agents(tenant, 4)
    busy = asyncio.create_task(move(tenant, first, PAUSED))
    await asyncio.sleep(0)
    leader, *others = (asyncio.create_task(move(tenant, agent, PAUSED)) for agent in (*some, new_id()))
    await asyncio.sleep(0)
    leader.cancel()
    outcomes = await asyncio.gather(busy, *others)
    assert leader.cancelled()
    assert [type(one) for one in outcomes] == [Done, Done, Done, Refused]
    assert await state_of(tenant, some[0]) is ACTIVE
