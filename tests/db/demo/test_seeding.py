"""The demo fleet is written whole or not at all, once, and the same each time (issue 2, point 5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from db import models
from db.base import ENTITY_NAMES, Model
from db.connections import Connections
from db.demo import DemoRefused, Size, seed
from db.demo import seeding as seeding_module
from db.demo.bulk import TARGETS, enlarge
from db.ids import new_id
from db.logs import ChainHead, verify_chain
from tests.db.demo.conftest import NOW, SCALE, TABLES, VOCABULARY, connect, reversed_text, seed_small

ARRIVAL = {"op_events": "created_at"}
"""The one column that is not of the story."""
_STRANGER = """
    INSERT INTO tenants (id, name, slug, created_at, updated_at) VALUES ($1, 'Mine', 'globex', now(), now())
"""


async def checksums(connections: Connections) -> dict[str, str]:
    """A checksum a table, over all its rows and columns but the time of arrival."""
    opened = await connect(connections)
    try:
        found = {}
        for table in TABLES:
            row = f"to_jsonb(t) - '{ARRIVAL[table]}'" if table in ARRIVAL else "to_jsonb(t)"
            found[table] = await opened.fetchval(
                f"SELECT md5(string_agg(h, '' ORDER BY h)) FROM (SELECT md5(({row})::text) AS h FROM {table} t)"
            )
        return found
    finally:
        await opened.close()


@pytest.mark.parametrize("slug", ["northwind", "globex"])
async def test_every_table_has_rows_in_each_tenant(fleet: Any, slug: str) -> None:
    tenant_id = await fleet.fetchval("SELECT id FROM tenants WHERE slug = $1", slug)
    counts = {}
    for table in TABLES:
        key = "id" if table == "tenants" else "tenant_id"
        counts[table] = await fleet.fetchval(f"SELECT count(*) FROM {table} WHERE {key} = $1", tenant_id)
    assert len(counts) == len(ENTITY_NAMES) + 3  # the key lists of decision 12
    assert not [table for table, count in counts.items() if count == 0]


async def test_small_has_about_three_thousand_rows(demo: Connections) -> None:
    opened = await connect(demo)
    try:
        counts = [await opened.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]
    finally:
        await opened.close()
    assert 2_500 <= sum(counts) <= 4_000


async def test_large_has_what_it_says(large: Connections) -> None:
    """To the row; globex stays small, and nothing is left to do for a second seed."""
    opened = await connect(large)
    try:
        tenant_id = await opened.fetchval("SELECT id FROM tenants WHERE slug = 'northwind'")
        for table, count in SCALE.items():
            found = await opened.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", tenant_id)
            assert (table, found) == (table, count)
            others = await opened.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id <> $1", tenant_id)
            assert others < 1_000
        waiting = "SELECT count(*) FROM approval_records WHERE request_type = 'COMPLETE_TASK' AND status = 'PENDING'"
        assert await opened.fetchval(waiting) >= 5
        first, last = await opened.fetchrow("SELECT min(timestamp), max(timestamp) FROM op_events")
        assert timedelta(days=27) < last - first < timedelta(days=28, hours=1)
    finally:
        await opened.close()
    assert (TARGETS["op_events"], TARGETS.keys()) == (1_000_000, SCALE.keys())
    for size in Size:
        assert await seed(large, size, VOCABULARY, reversed_text) == 0


async def test_large_is_the_same_in_one_go(
    large: Connections, empty: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the small fleet was there before or not."""
    monkeypatch.setattr(seeding_module, "enlarge", partial(enlarge, targets=SCALE))
    told: list[tuple[str, int, int]] = []
    written = await seed(empty, Size.LARGE, VOCABULARY, reversed_text, lambda *one: told.append(one), now=NOW)
    assert await checksums(empty) == await checksums(large)
    opened = await connect(empty)
    try:
        rows = sum([await opened.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES])
    finally:
        await opened.close()
    assert rows == written
    assert told[-1][1] == told[-1][2]


async def test_the_same_moment_gives_the_same_rows(demo: Connections, empty: Connections) -> None:
    """And another moment gives others."""
    await seed_small(empty)
    assert await checksums(empty) == await checksums(demo)
    one = seeding_module.build("globex", NOW, VOCABULARY, reversed_text)
    other = seeding_module.build("globex", NOW + timedelta(hours=1), VOCABULARY, reversed_text)
    assert one.tenant_id != other.tenant_id


async def test_a_second_seed_changes_nothing(demo: Connections) -> None:
    before = await checksums(demo)
    assert await seed_small(demo, datetime.now(UTC) + timedelta(days=1)) == 0
    assert await checksums(demo) == before


async def test_a_failure_leaves_nothing(empty: Connections, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(seeding_module, "append_op_events", fail)
    with pytest.raises(OSError, match="the disk is full"):
        await seed_small(empty)
    opened = await connect(empty)
    try:
        assert [await opened.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES] == [0] * len(TABLES)
    finally:
        await opened.close()


async def test_a_tenant_that_is_no_demo_is_left_alone(empty: Connections) -> None:
    opened = await connect(empty)
    try:
        await opened.execute(_STRANGER, new_id())
        with pytest.raises(DemoRefused, match="globex exists and is not the demo's"):
            await seed_small(empty)
        assert await opened.fetchval("SELECT count(*) FROM tenants") == 1
    finally:
        await opened.close()


async def test_progress_ends_at_the_total(empty: Connections) -> None:
    told: list[tuple[str, int, int]] = []
    written = await seed(empty, Size.SMALL, VOCABULARY, reversed_text, lambda *one: told.append(one), now=NOW)
    assert told[-1] == ("op_events", written, written)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize("slug", ["northwind", "globex"])
async def test_the_logs_are_whole(fleet: Any, slug: str) -> None:
    """AUD-3 and decision 8: the chain is unbroken, the events are numbered without holes, the counters agree."""
    tenant_id = await fleet.fetchval("SELECT id FROM tenants WHERE slug = $1", slug)
    counters = await fleet.fetchrow("SELECT * FROM gateway.tenant_counters WHERE tenant_id = $1", tenant_id)
    rows = await fleet.fetch("SELECT * FROM change_records WHERE tenant_id = $1 ORDER BY seq", tenant_id)
    assert (
        verify_chain([dict(row) for row in rows], head=ChainHead(counters["change_seq"], counters["change_hash"])) == []
    )
    numbers = await fleet.fetch("SELECT seq, timestamp FROM op_events WHERE tenant_id = $1 ORDER BY seq", tenant_id)
    assert [row["seq"] for row in numbers] == list(range(1, counters["event_seq"] + 1))


async def test_nothing_lies_in_the_future(fleet: Any) -> None:
    for table in TABLES:
        columns = {column.name for column in Model.metadata.tables[table].columns} & {"created_at", "updated_at"}
        for column in columns - ({"created_at"} if table in ARRIVAL else set()):
            assert await fleet.fetchval(f"SELECT count(*) FROM {table} WHERE {column} > $1", NOW) == 0, table


def test_the_order_of_writing_has_every_table() -> None:
    written = {one.__tablename__ for one in seeding_module._ORDER}
    assert written | {models.ChangeRecord.__tablename__, models.OpEvent.__tablename__} == set(TABLES)
