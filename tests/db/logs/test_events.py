"""Op events: numbers without holes, each event once, and a partition for every month (decisions 5 to 8)."""

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from db import models
from db.connections import Connections
from db.enums import OpEventType
from db.ids import created_at, first_id_at, milliseconds, new_id
from db.logs import (
    CHUNK,
    AppendedEvents,
    EventColumns,
    EventDraft,
    append_event_columns,
    append_op_events,
    fresh_id,
    in_chunks,
)
from tests.conftest import TenantUnderTest

NOW = datetime.now(UTC)


def heartbeat(**columns: Any) -> EventDraft:
    """A heartbeat of this moment, with these columns instead."""
    return EventDraft(**{"type": OpEventType.HEARTBEAT, "timestamp": NOW, **columns})


async def append(tenant: TenantUnderTest, *events: EventDraft) -> AppendedEvents:
    """Append in a transaction of its own, as the gateway."""
    async with tenant.database.transaction(tenant.actor()) as session:
        return await append_op_events(await session.connection(), tenant.id, events)


async def log_of(tenant: TenantUnderTest) -> list[dict[str, Any]]:
    """The tenant's events by number."""
    table = models.OpEvent.__table__
    async with tenant.database.transaction(tenant.actor()) as session:
        return [dict(row) for row in (await session.execute(select(table).order_by(table.c.seq))).mappings()]


async def test_an_event_may_be_named_before_it_is_stored(tenant: TenantUnderTest) -> None:
    """The row has the id that its writer gave it; one of another time, or beside a client's event id, is refused."""
    row_id = new_id(NOW)
    appended = await append(tenant, heartbeat(id=row_id))
    assert appended.ids == [row_id]
    assert (await log_of(tenant))[0]["id"] == row_id
    with pytest.raises(ValueError, match="time of timestamp"):
        heartbeat(id=new_id(NOW + timedelta(seconds=1)))
    with pytest.raises(ValueError, match="id follows from it"):
        heartbeat(id=row_id, event_id="e-1")


async def test_every_column_is_stored_as_it_was_given(tenant: TenantUnderTest) -> None:
    """Decisions 5 and 6: the id carries the event's time; no reference needs its row."""
    given = EventDraft(
        type=OpEventType.COST_TICK,
        timestamp=NOW.replace(microsecond=987_999),
        instance_id=new_id(),
        version_id=new_id(),
        project_id=new_id(),
        task_id=new_id(),
        run_id=new_id(),
        tool_call_id=new_id(),
        workflow_run_id=new_id(),
        change_record_id=new_id(),
        payload={"inputTokens": 7, "text": "é\U0001f98a", "nested": [{"a": None}]},
        event_id="e-1",
        delta_usd=Decimal("0.0000012345"),
        model="claude-sonnet-4",
    )
    appended = await append(tenant, heartbeat(), given)
    bare, row = await log_of(tenant)
    for name in EventDraft.__dataclass_fields__.keys() - {"timestamp", "id"}:
        assert row[name] == getattr(given, name), name
        assert bare[name] == (OpEventType.HEARTBEAT if name == "type" else None), name
    assert row["timestamp"] == NOW.replace(microsecond=987_000) == created_at(row["id"]), "cut, not rounded"
    assert abs(row["created_at"] - datetime.now(UTC)) < timedelta(minutes=5), "when it arrived"
    assert [bare["id"], row["id"]] == appended.ids
    assert (appended.stored, appended.last_seq) == (2, 2)
    assert [bare["seq"], row["seq"]] == [1, 2]


async def test_a_payload_is_kept_or_refused_and_never_bent(tenant: TenantUnderTest) -> None:
    """Every digit of a large number is stored; NaN, for which JSON has no form, does not become null."""
    await append(tenant, heartbeat(payload={"large": 10**30, "none": None}))
    async with tenant.database.transaction(tenant.actor()) as session:
        large = select(models.OpEvent.payload["large"].astext)
        assert await session.scalar(large) == str(10**30)
    with pytest.raises(ValueError, match="no NaN"):
        await append(tenant, heartbeat(payload={"share": math.nan}))


async def test_the_same_event_is_stored_once(tenant: TenantUnderTest) -> None:
    """OPE-1, decision 5: in one batch and in the next; repeats take no number, so that there is no hole."""
    instance = new_id()
    first = await append(tenant, heartbeat(event_id="a", instance_id=instance), heartbeat())
    again = await append(
        tenant,
        heartbeat(event_id="a", instance_id=instance, model="repeated"),
        heartbeat(event_id="b", instance_id=instance),
        heartbeat(event_id="b", instance_id=instance),
        heartbeat(),
    )
    assert again.ids[0] == first.ids[0]
    assert again.ids[1] == again.ids[2]
    assert (again.stored, again.last_seq) == (2, 4)
    rows = await log_of(tenant)
    assert [row["seq"] for row in rows] == [1, 2, 3, 4]
    assert [row["event_id"] for row in rows] == ["a", None, "b", None]
    assert await append(tenant, heartbeat(event_id="a", instance_id=instance)) == (first.ids[:1], 0, None)


def test_an_event_is_known_by_tenant_instance_event_id_and_time() -> None:
    """Decision 5: the id is a UUIDv7 of the timestamp whose random bits are a hash of the rest."""
    tenant_id, instance = new_id(), new_id()
    event = heartbeat(event_id="a", instance_id=instance)
    row_id = event.row_id(tenant_id)
    assert row_id.version == 7
    assert created_at(row_id) == NOW.replace(microsecond=NOW.microsecond // 1000 * 1000)
    assert heartbeat(event_id="a", instance_id=instance, payload={"more": 1}).row_id(tenant_id) == row_id
    others = {
        event.row_id(new_id()),
        heartbeat(event_id="b", instance_id=instance).row_id(tenant_id),
        heartbeat(event_id="a", instance_id=new_id()).row_id(tenant_id),
        heartbeat(event_id="a").row_id(tenant_id),
        heartbeat(event_id="a", instance_id=instance, timestamp=NOW + timedelta(seconds=1)).row_id(tenant_id),
        heartbeat().row_id(tenant_id),
        heartbeat().row_id(tenant_id),
        row_id,
    }
    assert len(others) == 8


async def test_senders_that_overlap_store_each_event_once_and_leave_no_hole(tenant: TenantUnderTest) -> None:
    """Decisions 5 and 8, with many writers at the same time sending the same events in different orders."""
    instance = new_id()

    async def send(sender: int) -> int:
        stored = 0
        for turn in range(5):
            names = [f"{turn}.{(n + sender) % 12}" for n in range(12)]
            batch = [heartbeat(event_id=name, instance_id=instance) for name in names]
            stored += (await append(tenant, *batch, heartbeat())).stored
        return stored

    stored = sum(await asyncio.gather(*(send(sender) for sender in range(8))))
    rows = await log_of(tenant)
    assert stored == len(rows) == 5 * 12 + 8 * 5
    assert [row["seq"] for row in rows] == list(range(1, stored + 1))
    assert len({row["event_id"] for row in rows}) == 5 * 12 + 1


async def test_a_rolled_back_batch_takes_no_number(tenant: TenantUnderTest) -> None:
    async with tenant.database.transaction(tenant.actor()) as session:
        await append_op_events(await session.connection(), tenant.id, [heartbeat()])
        await session.rollback()
    assert (await append(tenant, heartbeat())).last_seq == 1


async def test_a_batch_larger_than_a_chunk_keeps_its_order(tenant: TenantUnderTest) -> None:
    """Decision 7: statements of at most 5,000 events."""
    events = [heartbeat(payload={"n": n}) for n in range(CHUNK + 1)]
    began = time.monotonic()
    appended = await append(tenant, *events)
    assert time.monotonic() - began < 30
    assert (appended.stored, appended.last_seq) == (CHUNK + 1, CHUNK + 1)
    assert [row["payload"]["n"] for row in await log_of(tenant)] == list(range(CHUNK + 1))


def test_chunks() -> None:
    assert list(in_chunks(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert [len(chunk) for chunk in in_chunks(range(2 * CHUNK))] == [CHUNK, CHUNK]
    assert list(in_chunks([])) == []


async def test_another_tenants_log_is_out_of_reach(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Architecture section 7: the wall holds for the counters too."""
    for batch in ([heartbeat()], [heartbeat(event_id="a")]):
        with pytest.raises(LookupError, match=str(other_tenant.id)):
            async with tenant.database.transaction(tenant.actor()) as session:
                await append_op_events(await session.connection(), other_tenant.id, batch)
    assert await log_of(other_tenant) == []


def test_an_event_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        heartbeat(timestamp=datetime(2026, 1, 1))


# --- Partitions -------------------------------------------------------------------------------------------------------


async def call(url: str, function: str, *moments: datetime) -> list[str]:
    """What a function that makes or drops partitions returns."""
    connection = await asyncpg.connect(url)
    try:
        places = ", ".join(f"${n}" for n in range(1, len(moments) + 1))
        return [row[0] for row in await connection.fetch(f"SELECT gateway.{function}({places})", *moments)]
    finally:
        await connection.close()


async def test_partitions_are_made_a_month_each(tenant: TenantUnderTest, connections: Connections) -> None:
    """Decision 5: bounds are the smallest UUIDv7 of a month's first millisecond; what is there stays as it is."""
    march, april = datetime(2031, 3, 1, tzinfo=UTC), datetime(2031, 4, 1, tzinfo=UTC)
    with pytest.raises(IntegrityError, match="no partition"):
        await append(tenant, heartbeat(timestamp=march))
    platform = connections.platform.url
    since, until = march + timedelta(days=9), april + timedelta(days=3)
    assert await call(platform, "ensure_op_event_partitions", since, until) == [
        "op_events_2031_03",
        "op_events_2031_04",
    ]
    assert await call(platform, "ensure_op_event_partitions", since, until) == []
    edges = [march, april - timedelta(milliseconds=1), april, april + timedelta(days=30) - timedelta(milliseconds=1)]
    await append(tenant, *(heartbeat(timestamp=at, event_id=str(at)) for at in edges))
    async with tenant.database.transaction(tenant.actor()) as session:
        found = await session.execute(text("SELECT tableoid::regclass::text FROM op_events ORDER BY timestamp"))
        assert [row[0][-2:] for row in found] == ["03", "03", "04", "04"]
        assert (await session.execute(text("SELECT gateway.first_id_at(:at)"), {"at": april})).scalar_one() == (
            first_id_at(april)
        )
    for after in (datetime(2031, 2, 28, tzinfo=UTC), datetime(2031, 5, 1, tzinfo=UTC)):
        with pytest.raises(IntegrityError, match="no partition"):
            await append(tenant, heartbeat(timestamp=after))


async def test_partitions_are_made_by_many_at_once(connections: Connections) -> None:
    """Decision 5: safe under concurrency: each is made once, and nobody fails."""
    since, until = datetime(2032, 1, 1, tzinfo=UTC), datetime(2032, 6, 30, tzinfo=UTC)
    made = await asyncio.gather(
        *(call(connections.platform.url, "ensure_op_event_partitions", since, until) for _ in range(6))
    )
    assert sorted(name for names in made for name in names) == [f"op_events_2032_{month:02}" for month in range(1, 7)]


async def test_a_partition_has_the_indexes_checks_and_wall_of_its_table(
    tenant: TenantUnderTest, connections: Connections
) -> None:
    """A partition is no door past the wall: the gateway may not open it, and the owner sees nothing in it."""
    at = datetime(2033, 1, 15, tzinfo=UTC)
    await call(connections.platform.url, "ensure_op_event_partitions", at, at)
    await append(tenant, heartbeat(timestamp=at))
    owner = await asyncpg.connect(connections.owner.url)
    try:
        count = "SELECT count(*) FROM pg_index WHERE indrelid = $1::regclass"
        assert (
            await owner.fetchval(count, "op_events_2033_01")
            == await owner.fetchval(count, "op_events")
            == len(
                models.OpEvent.__table__.indexes  # type: ignore[attr-defined]
            )
            + 1
        )
        assert await owner.fetchval("SELECT count(*) FROM op_events_2033_01") == 0
        await owner.execute(f"SET app.tenant_id = '{tenant.id}'")
        assert await owner.fetchval("SELECT count(*) FROM op_events_2033_01") == 1
        with pytest.raises(asyncpg.CheckViolationError):
            await owner.execute(
                "INSERT INTO op_events_2033_01 (tenant_id, id, type, timestamp, seq) VALUES ($1, $2, 'X', now(), 1)",
                tenant.id,
                new_id(at),
            )
    finally:
        await owner.close()
    gateway = await asyncpg.connect(connections.gateway.url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gateway.fetchval("SELECT count(*) FROM op_events_2033_01")
    finally:
        await gateway.close()


async def test_partitions_that_are_old_are_dropped_whole(tenant: TenantUnderTest, connections: Connections) -> None:
    """RET: a partition goes when its last event is older; the month that is not over stays."""
    since, until = datetime(1990, 1, 1, tzinfo=UTC), datetime(1990, 4, 1, tzinfo=UTC)
    platform = connections.platform.url
    await call(platform, "ensure_op_event_partitions", since, until)
    await append(tenant, *(heartbeat(timestamp=since + timedelta(days=31 * n)) for n in range(3)))
    just_before = datetime(1990, 3, 1, tzinfo=UTC) - timedelta(milliseconds=1)
    assert await call(platform, "drop_op_event_partitions", just_before) == ["op_events_1990_01"]
    assert await call(platform, "drop_op_event_partitions", datetime(1990, 4, 1, tzinfo=UTC)) == [
        "op_events_1990_02",
        "op_events_1990_03",
    ]
    assert await log_of(tenant) == []
    assert (await append(tenant, heartbeat(timestamp=until))).last_seq == 4, "numbers go on"


@pytest.mark.parametrize("years", [-1, 21])
async def test_a_wrong_range_is_refused(years: int, connections: Connections) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="must lie between since"):
        await call(
            connections.platform.url, "ensure_op_event_partitions", NOW, NOW.replace(day=1, year=NOW.year + years)
        )


async def test_only_the_platform_makes_and_drops_partitions(connections: Connections) -> None:
    for function, moments in (("ensure_op_event_partitions", [NOW, NOW]), ("drop_op_event_partitions", [NOW])):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await call(connections.gateway.url, function, *moments)


async def test_events_are_never_changed_and_only_retention_removes_them(
    tenant: TenantUnderTest, connections: Connections
) -> None:
    """The gateway appends; the platform may delete as well (RET), and nobody updates."""
    await append(tenant, heartbeat())
    for url, statement in (
        (connections.gateway.url, "DELETE FROM op_events"),
        (connections.gateway.url, "UPDATE op_events SET model = 'x'"),
        (connections.platform.url, "UPDATE op_events SET model = 'x'"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _execute(url, statement)
    await _execute(connections.platform.url, f"DELETE FROM op_events WHERE tenant_id = '{tenant.id}'")
    assert await log_of(tenant) == []


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_events_that_are_said_to_be_new_and_are_not_leave_nothing_behind(tenant: TenantUnderTest) -> None:
    """Decision 8: neither those beside them nor a hole in the numbers."""

    def columns(*ids: Any) -> EventColumns:
        made = EventColumns()
        made.may_repeat = True
        for row_id in ids:
            row = {"id": row_id, "type": "HEARTBEAT", "timestamp": created_at(row_id), "event_id": str(row_id)}
            for name, values in made.lists.items():
                values.append(row.get(name))
        return made

    async def add(*ids: Any) -> int | None:
        async with tenant.database.transaction(tenant.actor()) as session:
            connection = await session.connection()
            return (await append_event_columns(connection, tenant.id, columns(*ids), are_new=True)).last_seq

    first, second, third = (fresh_id(milliseconds(NOW)) for _ in range(3))
    assert await add(first) == 1
    with pytest.raises(IntegrityError, match="duplicate key"):
        await add(second, first)
    assert await add(third) == 2
    assert [row["id"] for row in await log_of(tenant)] == [first, third]
