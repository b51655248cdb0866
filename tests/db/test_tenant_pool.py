"""The pool of connections for queries: in the order of asking, in the tenant of the asker, and never stuck."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from db import models
from db.connections import Connections
from db.ids import new_id
from db.pool import PoolExhausted, is_gone
from db.tenant_pool import TenantPool
from tests.conftest import TenantUnderTest

TENANT = "SELECT current_setting('app.tenant_id')"


class Seen(Exception):
    """A holder's own exception, with what it saw."""


@pytest.fixture
async def pool(connections: Connections) -> AsyncIterator[TenantPool]:
    """A pool of two."""
    opened = TenantPool(connections.read, size=2, wait_seconds=5)
    yield opened
    await opened.close()


async def tenant_of(pool: TenantPool, tenant_id: UUID) -> str:
    async with pool.connection(tenant_id) as connection:
        return str((await connection.fetch(TENANT, ()))[0][0])


async def test_a_connection_is_in_the_tenant_of_whoever_holds_it(
    pool: TenantPool, tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    """Also after it changed hands; row-level security shows that tenant's rows alone."""
    for asker in (tenant, other_tenant, tenant, tenant, other_tenant):
        assert await tenant_of(pool, asker.id) == str(asker.id)
        async with pool.connection(asker.id) as connection:
            found = await connection.fetch("SELECT DISTINCT tenant_id FROM projects", ())
        assert [row[0] for row in found] == [asker.id]
    assert pool.idle == 1, "one connection serves those who come one after the other"


async def test_who_waits_longest_is_served_first(pool: TenantPool, tenant: TenantUnderTest) -> None:
    """A new request does not overtake those that wait."""
    served: list[int] = []

    async def ask(number: int) -> None:
        async with pool.connection(tenant.id) as connection:
            served.append(number)
            await connection.fetch("SELECT pg_sleep(0.01)", ())

    await asyncio.gather(ask(0), ask(0))  # opens both, which takes one longer than the other
    served.clear()
    await asyncio.gather(*(ask(number) for number in range(12)))
    assert served == list(range(12))
    assert (pool.in_use, pool.idle) == (0, 2)


@pytest.mark.parametrize(("may_write", "served"), [(False, "ABAAAB"), (True, "AABBAA")])
async def test_in_the_pool_for_commands_a_connection_stays_with_its_tenant_for_a_while(
    may_write: bool, served: str, connections: Connections, tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    """To give it another tenant is a statement of its own; with one connection everybody is passed by once at most."""
    pool = TenantPool(connections.gateway, size=1, wait_seconds=5, may_write=may_write)
    order = ""

    async def ask(letter: str) -> None:
        nonlocal order
        async with pool.connection((tenant if letter == "A" else other_tenant).id):
            order += letter
            await asyncio.sleep(0)

    async with pool.connection(tenant.id):
        asking = [asyncio.create_task(ask(letter)) for letter in "ABAAAB"]
        await asyncio.sleep(0)
    await asyncio.gather(*asking)
    await pool.close()
    assert order == served


async def test_who_leaves_is_passed_over_by_a_connection_of_the_same_tenant(
    connections: Connections, tenant: TenantUnderTest, other_tenant: TenantUnderTest
) -> None:
    pool = TenantPool(connections.gateway, size=1, wait_seconds=5, may_write=True)
    async with pool.connection(tenant.id):
        waiting = [asyncio.create_task(tenant_of(pool, one.id)) for one in (other_tenant, tenant, tenant)]
        await asyncio.sleep(0)
        waiting[1].cancel()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in found] == [str(other_tenant.id), "", str(tenant.id)]
    assert (pool.in_use, pool.idle) == (0, 1)
    await pool.close()


async def test_waiting_has_an_end(connections: Connections, tenant: TenantUnderTest) -> None:
    """Whoever waited in vain leaves the line, and the connection goes to the next."""
    pool = TenantPool(connections.read, size=1, wait_seconds=0.05)
    async with pool.connection(tenant.id):
        with pytest.raises(PoolExhausted, match="FLEETGRAPH_POOL_SIZE"):
            await tenant_of(pool, tenant.id)
    assert await tenant_of(pool, tenant.id) == str(tenant.id)
    await pool.close()


async def test_each_waits_as_long_as_it_may(connections: Connections, tenant: TenantUnderTest) -> None:
    """One timer serves all: who came later is told later, whoever was given a connection is told nothing."""
    pool = TenantPool(connections.read, size=1, wait_seconds=0.4)
    ended: list[str] = []

    async def ask(name: str) -> None:
        try:
            await tenant_of(pool, tenant.id)
        except PoolExhausted:
            ended.append(f"{name} in vain")
        else:
            ended.append(name)

    async with pool.connection(tenant.id):
        asking = [asyncio.create_task(ask("first"))]
        await asyncio.sleep(0.25)
        asking.append(asyncio.create_task(ask("second")))
        await asyncio.sleep(0.25)
        assert ended == ["first in vain"]
        asking.append(asyncio.create_task(ask("third")))
        await asyncio.sleep(0.25)
        assert ended == ["first in vain", "second in vain"]
    await asyncio.gather(*asking)
    assert ended == ["first in vain", "second in vain", "third"]
    assert (pool.in_use, pool.idle) == (0, 1)
    await asyncio.sleep(0.5)
    assert await tenant_of(pool, tenant.id) == str(tenant.id)
    await pool.close()


async def test_who_waited_in_vain_leaves_nothing_for_the_collector(
    connections: Connections, tenant: TenantUnderTest
) -> None:
    """An exception that came by way of a future would hold every frame of the request, which hold the future."""

    pool = TenantPool(connections.read, size=1, wait_seconds=0.05)

    class Request:
        """What a request holds."""

    async def ask(request: Request) -> None:
        with pytest.raises(PoolExhausted):
            await tenant_of(pool, tenant.id)

    gc.collect()
    gc.disable()
    try:
        async with pool.connection(tenant.id):
            request = Request()
            kept = weakref.ref(request)
            await asyncio.create_task(ask(request))
            del request
            await asyncio.sleep(0)
            assert kept() is None
    finally:
        gc.enable()
    await pool.close()


async def test_who_goes_away_when_the_time_is_over_is_gone(connections: Connections, tenant: TenantUnderTest) -> None:
    """Its cancellation is what it hears of, and the connection goes to the next."""
    pool = TenantPool(connections.read, size=1, wait_seconds=0.05)
    async with pool.connection(tenant.id):
        asking = asyncio.create_task(tenant_of(pool, tenant.id))
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop's own timer must not be the one that tells it
        pool._look()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await tenant_of(pool, tenant.id) == str(tenant.id)
    await pool.close()


async def test_who_goes_away_takes_the_statement_along(
    connections: Connections, pool: TenantPool, tenant: TenantUnderTest
) -> None:
    """A client that hung up leaves nothing running in Postgres, and the pool as large as it was."""

    async def ask() -> None:
        async with pool.connection(tenant.id) as connection:
            await connection.fetch("SELECT pg_sleep(60) /* abandoned */", ())

    asking = [asyncio.create_task(ask()) for _ in range(2)]
    waiting = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    for task in (*asking, waiting):
        task.cancel()
    await asyncio.wait((*asking, waiting))
    assert await tenant_of(pool, tenant.id) == str(tenant.id)
    watcher = await asyncpg.connect(connections.owner.url)
    try:
        for _ in range(100):
            left = await watcher.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%abandoned%' "
                "AND pid <> pg_backend_pid()"
            )
            if left == 0:
                break
            await asyncio.sleep(0.05)
        assert left == 0
    finally:
        await watcher.close()
    assert pool.in_use == 0


async def test_a_connection_that_died_is_told_from_a_statement_that_failed(
    pool: TenantPool, tenant: TenantUnderTest
) -> None:
    """What is gone may be asked again on another connection."""
    async with pool.connection(tenant.id) as connection:
        ((pid,),) = await connection.fetch("SELECT pg_backend_pid()", ())
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as failed:
        async with pool.connection(tenant.id) as connection:
            await connection.fetch("SELECT pg_terminate_backend(pg_backend_pid())", ())
    assert is_gone(failed.value)
    async with pool.connection(tenant.id) as connection:
        ((another,),) = await connection.fetch("SELECT pg_backend_pid()", ())
    assert another != pid
    with pytest.raises(asyncpg.PostgresError) as wrong:
        async with pool.connection(tenant.id) as connection:
            await connection.fetch("SELECT 1 / 0", ())
    assert not is_gone(wrong.value)
    assert not is_gone(PoolExhausted("full"))


async def test_nothing_can_be_written(pool: TenantPool, tenant: TenantUnderTest) -> None:
    """The sessions are read-only, inside of a snapshot and outside."""
    statement = "UPDATE projects SET name = 'written'"
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with pool.connection(tenant.id) as connection:
            await connection.fetch(statement, ())
    async with pool.connection(tenant.id) as connection:
        await connection.begin()
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.fetch(statement, ())


async def test_a_snapshot_is_one_for_all_of_its_statements(pool: TenantPool, tenant: TenantUnderTest) -> None:
    """What others commit meanwhile is not in it; it ends with the block, also where the holder fails."""
    count = "SELECT count(*) FROM environments"

    async def more() -> None:
        row_id = new_id()
        await tenant.add(models.Environment(id=row_id, name=row_id.hex, slug=row_id.hex, is_production=False))

    async def look() -> None:
        async with pool.connection(tenant.id) as connection:
            await connection.begin()
            before = (await connection.fetch(count, ()))[0][0]
            await more()
            raise Seen(before, (await connection.fetch(count, ()))[0][0])

    with pytest.raises(Seen) as seen:
        await look()
    before, after = seen.value.args
    assert before == after
    assert pool.idle == 1, "the connection is as good as before"
    async with pool.connection(tenant.id) as connection:
        assert (await connection.fetch(count, ()))[0][0] == before + 1


async def test_who_was_given_a_connection_in_the_moment_of_leaving_passes_it_on(
    connections: Connections, tenant: TenantUnderTest
) -> None:
    """No connection is lost between a hand-over and a cancellation."""
    pool = TenantPool(connections.read, size=1, wait_seconds=5)
    for _ in range(20):
        holder = await pool.take(tenant.id)
        waiting = asyncio.create_task(tenant_of(pool, tenant.id))
        await asyncio.sleep(0)
        pool.give_back(holder)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await asyncio.wait_for(tenant_of(pool, tenant.id), 5) == str(tenant.id)
    assert pool.in_use == 0
    await pool.close()
