"""The door to Postgres: snapshots, tenants, pools, and what happens when the database goes away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Executable, select, text
from sqlalchemy.exc import DBAPIError

from app.graph.errors import masked
from db import models, roles
from db.connections import Connections
from db.ids import new_id
from db.session import Database, PoolExhausted, Reading
from tests.conftest import TenantUnderTest

PROJECTS = select(models.Project.name)


@pytest.fixture
async def narrow(connections: Connections) -> AsyncIterator[Database]:
    """A door with one connection, so that whoever comes next gets that of whoever was before."""
    opened = Database(connections, pool_size=1, pool_timeout_seconds=0.3, statement_timeout_ms=300)
    yield opened
    await opened.close()


async def scalar(reading: Reading, sql: str) -> Any:
    """The only value of a statement."""
    ((value,),) = await reading.rows(text(sql))
    return value


def role(**columns: Any) -> models.Role:
    """A row without references."""
    row_id = new_id()
    return models.Role(**{"id": row_id, "name": str(row_id), "permissions": []} | columns)


# Reading


async def test_a_reading_is_one_snapshot(tenant: TenantUnderTest) -> None:
    """All statements of an operation see the same state, whatever others commit meanwhile."""
    names = select(models.Role.name)
    async with tenant.database.read(tenant.actor()) as reading:
        assert await reading.rows(names) == []
        await tenant.add(role())
        assert await reading.rows(names) == []
        assert await scalar(reading, "SHOW transaction_isolation") == "repeatable read"
        assert reading.statements == 3
    async with tenant.database.read(tenant.actor()) as reading:
        assert len(await reading.rows(names)) == 1


async def test_a_reading_begins_with_its_first_statement(tenant: TenantUnderTest, narrow: Database) -> None:
    """An operation that asks nothing of the database holds no connection."""
    async with narrow.read(tenant.actor()) as idle, narrow.read(tenant.actor()) as busy:
        assert await busy.rows(PROJECTS)
        assert idle.statements == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE projects SET name = 'x'",
        "INSERT INTO roles (tenant_id, id, name, permissions) VALUES (gen_random_uuid(), gen_random_uuid(), 'x', '{}')",
        "CREATE TEMPORARY TABLE t (id int)",
    ],
)
async def test_a_reading_writes_nothing(statement: str, tenant: TenantUnderTest) -> None:
    """The transaction is read-only: not even a mistake of ours can write from a query."""
    with pytest.raises(DBAPIError, match="read-only transaction"):
        async with tenant.database.read(tenant.actor()) as reading:
            await reading.rows(text(statement))


async def test_after_a_reading_its_connection_writes_again(tenant: TenantUnderTest, narrow: Database) -> None:
    """Isolation and read-only are the transaction's, not the connection's."""
    async with narrow.read(tenant.actor()) as reading:
        before = await scalar(reading, "SELECT pg_backend_pid()")
    async with narrow.transaction(tenant.actor()) as session:
        assert await session.scalar(text("SELECT pg_backend_pid()")) == before
        assert await session.scalar(text("SHOW transaction_isolation")) == "read committed"
        (await session.get_one(models.Project, (tenant.id, tenant.project.id))).name = "Renamed"
    async with narrow.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Renamed",)]


async def test_statements_of_an_operation_wait_for_each_other(tenant: TenantUnderTest, narrow: Database) -> None:
    """Resolvers run side by side, and share one connection."""
    async with narrow.read(tenant.actor()) as reading:
        found = await asyncio.gather(*(scalar(reading, f"SELECT {n} FROM pg_sleep(0.01)") for n in range(8)))
    assert found == list(range(8))
    assert reading.statements == 8


async def test_a_reading_is_closed_after_an_error(tenant: TenantUnderTest, narrow: Database) -> None:
    """Whatever ends an operation, its connection goes back, and nothing of it is left on it."""
    for wrong in ("SELECT 1 / 0", "SELECT nothing_of_the_kind", "SYNTAX ERROR"):
        with pytest.raises(DBAPIError):
            async with narrow.read(tenant.actor()) as reading:
                await reading.rows(text(wrong))
    with contextlib.suppress(ZeroDivisionError):
        async with narrow.read(tenant.actor()) as reading:
            await reading.rows(PROJECTS)
            _ = 1 / 0
    async with narrow.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]


async def test_a_reading_that_is_over_answers_no_more(tenant: TenantUnderTest, narrow: Database) -> None:
    """A resolver that outlives its operation would otherwise take a connection and never give it back."""
    async with narrow.read(tenant.actor()) as reading:
        await reading.rows(PROJECTS)
    with pytest.raises(RuntimeError, match="The operation is over"):
        await reading.rows(PROJECTS)
    assert await narrow.fetch_one("SELECT 1") is not None


async def test_a_cancelled_operation_gives_its_connection_back(tenant: TenantUnderTest, narrow: Database) -> None:
    """A client that hangs up in the middle of a statement takes nothing away from the others."""

    async def operation() -> None:
        async with narrow.read(tenant.actor()) as reading:
            await reading.rows(text("SELECT pg_sleep(0.25)"))

    task = asyncio.create_task(operation())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with narrow.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]


async def test_who_gives_up_in_the_middle_of_a_statement_leaves_the_snapshot_to_the_others(
    tenant: TenantUnderTest, narrow: Database
) -> None:
    """graphql-core cancels a resolver whose neighbour failed, and goes on with the others."""
    async with narrow.read(tenant.actor()) as reading:
        backend = await scalar(reading, "SELECT pg_backend_pid()")
        gone = asyncio.create_task(reading.rows(text("SELECT pg_sleep(0.25)")))
        await asyncio.sleep(0.1)
        gone.cancel()
        assert await scalar(reading, "SELECT pg_backend_pid()") == backend
        assert gone.cancelled()
        assert reading.statements == 3


async def test_what_runs_at_the_end_of_an_operation_ends_with_it(tenant: TenantUnderTest, narrow: Database) -> None:
    """Be it under way or waiting for its turn: nobody is there who would want the rows."""
    async with narrow.read(tenant.actor()) as reading:
        await reading.rows(PROJECTS)
        late = [asyncio.create_task(reading.rows(text("SELECT pg_sleep(60)"))) for _ in range(2)]
        await asyncio.sleep(0.1)
    for one in late:
        with pytest.raises(RuntimeError, match="The operation is over"):
            await one
    assert reading.statements == 2
    row = await narrow.fetch_one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'")
    assert row is not None
    assert row["count"] == 0


async def test_who_goes_away_at_any_moment_leaves_nothing_begun(tenant: TenantUnderTest, narrow: Database) -> None:
    """asyncpg prepares a statement and runs it in two messages, of which only the second one ends a transaction."""
    await narrow.fetch_one("SELECT 1")
    moments, is_over = 0, False
    while not is_over:
        moments += 1
        asking: Any = asyncio.create_task(narrow.fetch_one(f"SELECT count(*) FROM roles /* {moments} */"))
        answered: set[Any] = set()
        while not (is_over := asking.done()) and len(answered) < moments:
            await asyncio.sleep(0)
            if asking._fut_waiter is not None and asking._fut_waiter.done():  # an answer that is not looked at yet
                answered.add(asking._fut_waiter)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled() != is_over
        async with narrow.read(tenant.actor()) as reading:
            assert await reading.rows(PROJECTS) == [("Core",)]
    assert moments > 2  # prepared, run


async def test_what_is_asked_after_a_failure_fails_for_the_same_reason(
    tenant: TenantUnderTest, narrow: Database
) -> None:
    """Resolvers that wait their turn are not told «current transaction is aborted», which nobody could act on."""
    async with narrow.read(tenant.actor()) as reading:
        statements: list[Executable] = [text("SELECT pg_sleep(5)"), PROJECTS, PROJECTS]
        slow, *others = await asyncio.gather(*(reading.rows(one) for one in statements), return_exceptions=True)
    assert isinstance(slow, DBAPIError)
    for other in others:
        assert isinstance(other, DBAPIError)
        assert other.__cause__ is slow
        assert masked(other, "r")["extensions"]["code"] == "TIMEOUT"


async def test_a_reading_that_starts_again_sees_what_was_written(tenant: TenantUnderTest, narrow: Database) -> None:
    """A mutation answers with the state after it."""
    async with narrow.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]
        await reading.restart()
        async with narrow.transaction(tenant.actor()) as session:
            (await session.get_one(models.Project, (tenant.id, tenant.project.id))).name = "Renamed"
        assert await reading.rows(PROJECTS) == [("Renamed",)]


# Tenants


async def test_the_tenant_is_set_first_and_gone_afterwards(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest, narrow: Database
) -> None:
    """One connection, two tenants in turn, and nobody's in between (architecture section 7)."""
    setting = "SELECT current_setting('app.tenant_id', true) AS tenant, pg_backend_pid() AS pid"
    visible = select(models.Project.id)
    seen: list[tuple[str, list[UUID]]] = []
    pids = set()
    for one in (tenant, other_tenant, tenant):
        async with narrow.read(one.actor()) as reading:
            found = [row_id for (row_id,) in await reading.rows(visible)]
            (current,) = await reading.rows(text(setting))
        seen.append((current.tenant, found))
        between = await narrow.fetch_one(setting)
        assert between is not None
        assert between["tenant"] in (None, "")
        pids |= {current.pid, between["pid"]}
        nothing = await narrow.fetch_one("SELECT count(*) AS n FROM projects")
        assert nothing is not None
        assert nothing["n"] == 0
    assert seen == [(str(one.id), [one.project.id]) for one in (tenant, other_tenant, tenant)]
    assert len(pids) == 1


@pytest.mark.parametrize("end", ["commit", "rollback", "error", "cancel"])
async def test_the_tenant_is_gone_however_a_transaction_ends(
    end: str, tenant: TenantUnderTest, narrow: Database
) -> None:
    """Also after an error in the middle, and after a cancelled statement."""

    async def work() -> None:
        async with narrow.transaction(tenant.actor()) as session:
            assert await session.scalar(text("SELECT current_setting('app.tenant_id')")) == str(tenant.id)
            if end == "rollback":
                await session.rollback()
            elif end == "error":
                await session.execute(text("SELECT 1 / 0"))
            elif end == "cancel":
                await session.execute(text("SELECT pg_sleep(0.25)"))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.1 if end == "cancel" else 0)
    if end == "cancel":
        task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled() or task.exception() is not None) == (end in ("error", "cancel"))
    left = await narrow.fetch_one("SELECT current_setting('app.tenant_id', true) AS tenant")
    assert left is not None
    assert left["tenant"] in (None, "")


# Transactions


async def test_a_transaction_is_all_or_nothing(tenant: TenantUnderTest) -> None:
    """Committed at the end, rolled back by whatever is raised in it."""
    kept, lost = role(tenant_id=tenant.id), role(tenant_id=tenant.id)
    async with tenant.database.transaction(tenant.actor()) as session:
        session.add(kept)
    with contextlib.suppress(ZeroDivisionError):
        async with tenant.database.transaction(tenant.actor()) as session:
            session.add(lost)
            await session.flush()
            _ = 1 / 0
    async with tenant.database.read(tenant.actor()) as reading:
        assert await reading.rows(select(models.Role.id)) == [(kept.id,)]


async def test_what_was_written_can_be_read_after_the_commit(tenant: TenantUnderTest) -> None:
    """The rows of a session stay as they are (expire_on_commit off): payloads are made from them."""
    row = role(tenant_id=tenant.id)
    async with tenant.database.transaction(tenant.actor()) as session:
        session.add(row)
    assert row.name == str(row.id)


async def test_a_refused_transaction_gives_its_connection_back(tenant: TenantUnderTest, narrow: Database) -> None:
    """Many in a row on the only connection: refused at the commit, and at a flush before it."""
    refused = replace(tenant, database=narrow)
    for _ in range(5):
        with pytest.raises(DBAPIError, match="fk_tasks_tenant_id_project_id"):
            async with narrow.transaction(tenant.actor()) as session:
                session.add(models.Task(id=new_id(), tenant_id=tenant.id, title="x", type="OPS", project_id=new_id()))
        with pytest.raises(DBAPIError, match="fk_tasks_tenant_id_project_id"):
            await refused.add(models.Task(id=new_id(), title="x", type="OPS", project_id=new_id()))
    async with narrow.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]


async def test_the_platform_passes_the_walls_in_one_transaction(
    tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    """Decision 24: bootstrap, retention, jobs and imports see every tenant; an error takes everything back."""
    names = select(models.Project.tenant_id).where(models.Project.tenant_id.in_([tenant.id, other_tenant.id]))
    async with tenant.database.platform() as connection:
        assert {one for (one,) in await connection.execute(names)} == {tenant.id, other_tenant.id}
    with contextlib.suppress(ZeroDivisionError):
        async with tenant.database.platform() as connection:
            await connection.execute(text("UPDATE projects SET name = 'x' WHERE id = :id"), {"id": tenant.project.id})
            _ = 1 / 0
    async with tenant.database.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]


async def test_the_platform_holds_one_connection_at_a_time(connections: Connections) -> None:
    """Its pool is small: a second connection for the same work would be one too many."""
    database = Database(connections, platform_pool_size=1)
    async with database.platform() as connection:
        assert await connection.scalar(text("SELECT current_user")) == "fleetgraph_platform"
    async with database.platform() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1
    await database.close()


async def test_fetch_one(narrow: Database) -> None:
    """One row by name, None where there is none, arguments by number, and no tenant."""
    row = await narrow.fetch_one("SELECT $1::int + $2 AS sum, 'x' AS more", 1, 2)
    assert row is not None
    assert dict(row) == {"sum": 3, "more": "x"}
    assert await narrow.fetch_one("SELECT 1 WHERE false") is None
    with pytest.raises(Exception, match="division by zero"):
        await narrow.fetch_one("SELECT 1 / 0")
    assert await narrow.fetch_one("SELECT 1") is not None


# Limits


async def test_a_statement_that_takes_too_long_is_a_timeout(tenant: TenantUnderTest, narrow: Database) -> None:
    """FLEETGRAPH_STATEMENT_TIMEOUT_MS; the client reads TIMEOUT, on every way in."""
    slow = text("SELECT pg_sleep(5)")
    started = time.monotonic()
    with pytest.raises(DBAPIError, match="statement timeout") as read:
        async with narrow.read(tenant.actor()) as reading:
            await reading.rows(slow)
    with pytest.raises(DBAPIError, match="statement timeout") as written:
        async with narrow.transaction(tenant.actor()) as session:
            await session.execute(slow)
    with pytest.raises(Exception, match="statement timeout") as fetched:
        await narrow.fetch_one("SELECT pg_sleep(5)")
    assert time.monotonic() - started < 4
    for error in (read, written, fetched):
        assert masked(error.value, "r")["extensions"]["code"] == "TIMEOUT"


async def test_the_platform_may_take_its_time(narrow: Database) -> None:
    """An import is one transaction of minutes."""
    async with narrow.platform() as connection:
        assert await connection.scalar(text("SHOW statement_timeout")) == "0"


async def test_a_pool_without_a_free_connection_says_so_in_time(tenant: TenantUnderTest, narrow: Database) -> None:
    """FLEETGRAPH_POOL_TIMEOUT_SECONDS; the client reads TIMEOUT, the log what to do."""
    async with narrow.read(tenant.actor()) as holder:
        await holder.rows(PROJECTS)
        started = time.monotonic()
        with pytest.raises(PoolExhausted, match=r"All 1 connections .* for 0\.3 s\. .*FLEETGRAPH_POOL_SIZE") as read:
            async with narrow.read(tenant.actor()) as reading:
                await reading.rows(PROJECTS)
        with pytest.raises(PoolExhausted):
            async with narrow.transaction(tenant.actor()):
                pytest.fail("there is no connection for this")
        with pytest.raises(PoolExhausted):
            await narrow.fetch_one("SELECT 1")
        assert time.monotonic() - started < 3
        assert masked(read.value, "r")["extensions"]["code"] == "TIMEOUT"
    async with narrow.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]


async def test_more_operations_than_connections_take_turns(tenant: TenantUnderTest, connections: Connections) -> None:
    """Twenty on two: each waits for its turn, and none is refused."""
    database = Database(connections, pool_size=2, pool_timeout_seconds=20)

    async def operation() -> int:
        async with database.read(tenant.actor()) as reading:
            await reading.rows(text("SELECT pg_sleep(0.005)"))
            return len(await reading.rows(PROJECTS))

    assert await asyncio.gather(*(operation() for _ in range(20))) == [1] * 20
    await database.close()


async def test_an_address_of_its_own_for_reading(tenant: TenantUnderTest, connections: Connections) -> None:
    """FLEETGRAPH_READ_DATABASE_URL: queries go to the replica, and go on with the primary after a write."""
    replica = replace(connections.read, role=roles.GATEWAY)  # the same server, another way in
    database = Database(replace(connections, read=replica), pool_size=1)
    assert database.read_engine is not database.engine
    async with database.read(tenant.actor()) as reading:
        assert await reading.rows(PROJECTS) == [("Core",)]
        on_replica = await scalar(reading, "SELECT pg_backend_pid()")
        await reading.restart()
        assert await scalar(reading, "SELECT pg_backend_pid()") != on_replica
    await database.close()
