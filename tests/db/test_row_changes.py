"""Notes of changed rows: whoever looks by snapshots sees each change exactly once, whatever order commits come in."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import delete, text, update

from app.live.tails import Changed, RowTail
from app.live.upkeep import forget_row_changes
from db import models
from db.base import Model
from db.connections import Connections
from db.ids import new_id
from db.session import Database
from tests.conftest import TenantUnderTest

LOGS = {"change_records", "op_events"}


@pytest.fixture
async def tail(tenant: TenantUnderTest) -> RowTail:
    made = RowTail(tenant.database, tenant.id)
    await made.start()
    return made


async def look(tail: RowTail, tenant: TenantUnderTest) -> set[Changed]:
    async with tenant.database.read(tenant.actor()) as reading:
        found = await tail.advance(reading)
    assert len(found) == len(set(found))
    return set(found)


def template(name: str = "T") -> models.AgentTemplate:
    return models.AgentTemplate(id=new_id(), name=f"{name} {new_id().hex}")


async def test_every_table_is_watched_but_the_two_logs(connections: Connections) -> None:
    """A table that a later migration adds is watched by itself."""
    owner = await asyncpg.connect(connections.owner.url)
    rows = await owner.fetch(
        "SELECT relname, array_agg(tgname::text ORDER BY tgname) AS names FROM pg_trigger "
        "JOIN pg_class c ON c.oid = tgrelid WHERE tgname LIKE 'note\\_%' "
        "AND relnamespace = 'public'::regnamespace GROUP BY relname"
    )
    await owner.close()
    watched = {row["relname"]: row["names"] for row in rows}
    public = {table.name for table in Model.metadata.tables.values() if table.schema is None}
    assert set(watched) == public - LOGS
    assert all(names == ["note_delete", "note_insert", "note_update"] for names in watched.values())


async def test_inserts_updates_and_deletes_are_noted_also_those_of_one_statement_over_many_rows(
    tenant: TenantUnderTest, tail: RowTail
) -> None:
    rows = [template() for _ in range(3)]
    await tenant.add(*rows)
    assert await look(tail, tenant) == {Changed("agent_templates", row.id, False) for row in rows}
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(update(models.AgentTemplate).values(description="x"))
    assert await look(tail, tenant) == {Changed("agent_templates", row.id, False) for row in rows}
    flag = models.FeatureFlag(id=new_id(), key="live", enabled=True)
    await tenant.add(flag)
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(delete(models.FeatureFlag))
    assert await look(tail, tenant) == {Changed("feature_flags", flag.id, True)}
    assert await look(tail, tenant) == set()


async def test_a_row_of_an_association_is_a_change_of_the_row_that_shows_it(
    tenant: TenantUnderTest, tail: RowTail
) -> None:
    """Decision 12: key lists belong to their row."""
    row = template()
    owner = models.Operator(id=new_id(), auth_id=f"s{new_id().hex}", name="Ada", email="ada@example.com")
    await tenant.add(row, owner)
    await look(tail, tenant)
    await tenant.add(models.AgentTemplateOwner(template_id=row.id, operator_id=owner.id, position=0))
    assert await look(tail, tenant) == {Changed("agent_templates", row.id, False)}


async def test_commits_out_of_order_are_each_seen_once(tenant: TenantUnderTest, tail: RowTail) -> None:
    """The transaction that began first ends last: a number would have been passed over, a snapshot passes over none."""
    early, late = template("early"), template("late")
    async with tenant.database.transaction(tenant.actor()) as session:
        await tenant.add_in(session, early)
        await tenant.add(late)
        assert await look(tail, tenant) == {Changed("agent_templates", late.id, False)}
        assert await look(tail, tenant) == set()
    assert await look(tail, tenant) == {Changed("agent_templates", early.id, False)}
    assert await look(tail, tenant) == set()


async def test_what_is_rolled_back_is_no_change(tenant: TenantUnderTest, tail: RowTail) -> None:
    async def fail() -> None:
        async with tenant.database.transaction(tenant.actor()) as session:
            await tenant.add_in(session, template())
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await look(tail, tenant) == set()


async def heads(database: Database, tenant_id: UUID, snapshot: str) -> list[tuple[int, int, bool]]:
    async with database.transaction(_Nobody()) as session:
        rows = await session.execute(
            text("SELECT * FROM gateway.heads(CAST(:ids AS uuid[]), CAST(:seen AS text[]))"),
            {"ids": [tenant_id], "seen": [snapshot]},
        )
        return [(row.event_seq, row.change_seq, row.rows_changed) for row in rows]


class _Nobody:
    """A caller without a tenant, as the poll over all tenants is."""

    tenant_id = UUID(int=0)
    id = UUID(int=0)

    def can(self, permission: str) -> bool:
        return False

    def read_scope(self, type_name: str) -> object:
        return None


async def test_heads_tell_of_the_named_tenants_alone_and_numbers_alone(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, tail: RowTail
) -> None:
    """The one look over all tenants that a gateway follows; it passes the walls, and shows no row."""
    assert tail.snapshot is not None
    await other_tenant.add(template())
    assert await heads(tenant.database, tenant.id, tail.snapshot) == [(0, 0, False)]
    await tenant.add(template())
    assert await heads(tenant.database, tenant.id, tail.snapshot) == [(0, 0, True)]
    await look(tail, tenant)
    assert await heads(tenant.database, tenant.id, tail.snapshot or "") == [(0, 0, False)]


async def test_notes_are_thrown_away_after_minutes(
    tenant: TenantUnderTest, tail: RowTail, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenant.add(template())
    await forget_row_changes(tenant.database, tenant.id)
    assert await look(tail, tenant) != set()
    monkeypatch.setattr("app.live.upkeep.KEPT", timedelta(seconds=-1))
    await forget_row_changes(tenant.database, tenant.id)
    async with tenant.database.transaction(tenant.actor()) as session:
        assert await session.scalar(text("SELECT count(*) FROM gateway.row_changes")) == 0
