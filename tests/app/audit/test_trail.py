"""AUD-5: both journals as one list, the newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
import pytest
from sqlalchemy import Table, event, insert

from app.audit.trail import MOST
from app.auth.scope import TENANT_WIDE, Grants, Scope
from db import models
from db.canonical import GENESIS
from db.ids import new_id
from tests.app.query.both_ways import BothWays
from tests.asking import ask
from tests.conftest import TenantUnderTest, make_tenant

QUERY = """query($from: DateTime, $to: DateTime, $first: Int! = 1000) {
    auditTrail(from: $from, to: $to, first: $first) { at changeRecord { id summary } auditLog { id action } } }"""
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
READING = ("read:change-records", "read:audit")


def minute(number: int) -> datetime:
    return BEGIN + timedelta(minutes=number)


def change(number: int, at: datetime, project_id: UUID | None = None) -> dict[str, Any]:
    return {
        "id": new_id(),
        "type": "TASK_TRANSITIONED",
        "actor_type": "SYSTEM",
        "target_entity": "Task",
        "target_id": new_id(),
        "timestamp": at,
        "project_id": project_id,
        "summary": f"change {number}",
        "seq": number,
        "content_hash": GENESIS,
        "prev_hash": GENESIS,
        "hash": GENESIS,
    }


def log(number: int, at: datetime) -> dict[str, Any]:
    return {"id": new_id(), "severity": "INFO", "action": f"LOG_{number}", "actor_type": "SYSTEM", "timestamp": at}


async def write(tenant: TenantUnderTest, changes: Sequence[dict[str, Any]], logs: Sequence[dict[str, Any]]) -> None:
    """Rows of both journals as they are, without what commands do around them."""
    async with tenant.database.transaction(tenant.actor()) as session:
        for model, rows in ((models.ChangeRecord, changes), (models.AuditLog, logs)):
            if rows:
                table = cast("Table", model.__table__)
                await session.execute(insert(table), [{"tenant_id": tenant.id, **row} for row in rows])


async def write_in_turn(tenant: TenantUnderTest, count: int) -> None:
    """A change in each even minute and an entry of the security journal in each odd one."""
    changes = [change(number // 2 + 1, minute(number), tenant.project.id) for number in range(0, count, 2)]
    await write(tenant, changes, [log(number, minute(number)) for number in range(1, count, 2)])


async def the_statement(tenant: TenantUnderTest, **arguments: Any) -> tuple[str, Any]:
    """The one that finds the entries, with its parameters, as it comes to the driver."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "UNION ALL" in statement:
            asked.append((statement, parameters))

    engine = tenant.database.read_engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        await trail(tenant, **arguments)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    (found,) = asked
    return found


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a plan that read a table."""
    if "Relation Name" in plan:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


async def trail(tenant: TenantUnderTest, **arguments: Any) -> list[str]:
    answer = await ask(tenant.database, tenant.actor(*READING), QUERY, **arguments)
    assert not answer.errors, answer.errors
    return said(answer.data)


def said(data: Any) -> list[str]:
    return [
        one["changeRecord"]["summary"] if one["changeRecord"] else one["auditLog"]["action"]
        for one in data["auditTrail"]
    ]


async def test_aud_5_both_journals_are_one_list(tenant: TenantUnderTest) -> None:
    """The newest first, each entry of one journal, in one statement and one a journal for its rows."""
    await write_in_turn(tenant, 6)
    answer = await ask(tenant.database, tenant.actor(*READING), QUERY)
    assert said(answer.data) == ["LOG_5", "change 3", "LOG_3", "change 2", "LOG_1", "change 1"]
    assert [one["at"] for one in answer.data["auditTrail"]] == [
        f"2026-11-01T00:{number:02}:00.000Z" for number in (5, 4, 3, 2, 1, 0)
    ]
    assert all((one["changeRecord"] is None) != (one["auditLog"] is None) for one in answer.data["auditTrail"])
    assert len(answer.statements) == 3
    assert await trail(tenant, first=3) == ["LOG_5", "change 3", "LOG_3"]
    times = await ask(tenant.database, tenant.actor(*READING), "{ auditTrail(first: 1) { at } }")
    assert times.data == {"auditTrail": [{"at": "2026-11-01T00:05:00.000Z"}]}
    assert len(times.statements) == 1


async def test_entries_of_one_time_have_an_order(tenant: TenantUnderTest) -> None:
    """By id, which is the order in which they were written, across both journals."""
    changes, logs = [], []
    for number in range(1, 4):
        changes.append(change(number, BEGIN))
        logs.append(log(number, BEGIN))
    await write(tenant, changes, logs)
    assert await trail(tenant) == ["LOG_3", "change 3", "LOG_2", "change 2", "LOG_1", "change 1"]
    assert await trail(tenant, first=3) == ["LOG_3", "change 3", "LOG_2"]


async def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(tenant: TenantUnderTest) -> None:
    """`from` is in it, `to` is not, and each may be left out."""
    await write_in_turn(tenant, 6)
    bounds = {"from": minute(2).isoformat(), "to": minute(4).isoformat()}
    assert await trail(tenant, **bounds) == ["LOG_3", "change 2"]
    assert await trail(tenant, **{"from": minute(4).isoformat()}) == ["LOG_5", "change 3"]
    assert await trail(tenant, to=minute(2).isoformat()) == ["LOG_1", "change 1"]
    assert await trail(tenant, **{"from": minute(2).isoformat(), "to": minute(2).isoformat()}) == []


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"first": 0}, "first"),
        ({"first": -1}, "first"),
        ({"first": MOST + 1}, "first"),
        ({"from": minute(1).isoformat(), "to": minute(0).isoformat()}, "from"),
    ],
)
async def test_bad_input_is_named(tenant: TenantUnderTest, arguments: dict[str, Any], name: str) -> None:
    """The error says which argument."""
    answer = await ask(tenant.database, tenant.actor(*READING), QUERY, **arguments)
    assert answer.code == "BAD_USER_INPUT"
    assert answer.errors[0]["extensions"]["argument"] == name


@pytest.mark.parametrize("missing", READING)
async def test_each_journal_needs_its_permission(tenant: TenantUnderTest, missing: str) -> None:
    """The one that is missing is named, also where none of its rows is asked for."""
    await write_in_turn(tenant, 2)
    held = tenant.actor(*(one for one in READING if one != missing))
    answer = await ask(tenant.database, held, "{ auditTrail { at } }")
    assert answer.code == "FORBIDDEN"
    assert answer.errors[0]["extensions"]["permission"] == missing
    assert answer.data is None


async def test_a_scope_shows_what_the_lists_show(tenant: TenantUnderTest) -> None:
    """Changes of the project that is named; the security journal lies in no project."""
    await write(tenant, [change(1, minute(0), tenant.project.id), change(2, minute(1))], [log(3, minute(2))])
    own = Scope(projects=frozenset({tenant.project.id}))

    async def seen(grants: Grants) -> list[str]:
        answer = await ask(tenant.database, tenant.actor(grants=grants), QUERY)
        assert not answer.errors, answer.errors
        return said(answer.data)

    assert await seen(Grants({"read:change-records": own, "read:audit": own})) == ["change 1"]
    assert await seen(Grants({"read:change-records": own, "read:audit": TENANT_WIDE})) == ["LOG_3", "change 1"]


async def test_other_tenants_have_their_own(tenant: TenantUnderTest) -> None:
    """Walled in code and by row-level security: nothing of the neighbour's, nor by the statement alone."""
    other = await make_tenant(tenant.database)
    await write_in_turn(other, 4)
    await write(tenant, [change(1, minute(9))], [])
    assert await trail(tenant) == ["change 1"]
    statement, parameters = await the_statement(tenant)
    assert statement.count("tenant_id = $") == 2
    assert tenant.id in [UUID(str(one)) for one in parameters if isinstance(one, str | UUID)]


@pytest.mark.parametrize("arguments", [{}, {"from": minute(100).isoformat(), "to": minute(2_500).isoformat()}])
async def test_no_journal_is_read_whole(tenant: TenantUnderTest, arguments: dict[str, Any]) -> None:
    """Each is read along its index by time, and no farther than the answer may reach into it."""
    await write_in_turn(tenant, 6_000)
    owner = await asyncpg.connect(tenant.database.connections.owner.url)
    try:
        await owner.execute("ANALYZE change_records, audit_logs")
    finally:
        await owner.close()
    statement, parameters = await the_statement(tenant, first=20, **arguments)
    async with tenant.database.transaction(tenant.actor()) as session:
        connection = await session.connection()
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        ((plan,),) = (await connection.exec_driver_sql(explain, tuple(parameters))).all()
    found = list(scans((orjson.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    assert [scan["Relation Name"] for scan in found] == ["change_records", "audit_logs"]
    for scan in found:
        assert scan["Index Name"] == f"ix_{scan['Relation Name']}_tenant_id_timestamp_id", plan
        assert scan["Actual Rows"] <= 20, plan
        assert scan.get("Rows Removed by Filter", 0) == 0, plan


async def test_the_cost_is_that_of_its_size(tenant: TenantUnderTest) -> None:
    """As that of a list with `first`; 1,000 where nothing is said."""
    whole = "changeRecord { id actor { id } causedBy { id } target { id } } auditLog { id }"
    usual = await ask(tenant.database, tenant.actor(*READING), f"{{ auditTrail {{ at {whole} }} }}")
    assert not usual.errors
    often = " ".join(f"a{number}: auditTrail {{ at {whole} }}" for number in range(9))
    assert (await ask(tenant.database, tenant.actor(*READING), f"{{ {often} }}")).errors[0]["extensions"][
        "cost"
    ] == 54_000
    query = f"query($n: Int!) {{ auditTrail(first: $n) {{ at {whole} }} }}"
    dear = await ask(tenant.database, tenant.actor(*READING), query, n=MOST)
    assert dear.code == "OPERATION_TOO_COMPLEX"
    assert dear.errors[0]["extensions"]["cost"] == 6 * MOST
    most = await ask(tenant.database, tenant.actor(*READING), QUERY, first=MOST)
    assert not most.errors


async def test_compiled_and_by_resolvers_it_says_the_same(tenant: TenantUnderTest) -> None:
    """Beside what is compiled, and with rows below its own."""
    await write_in_turn(tenant, 6)
    query = """{ changeRecords(last: 2) { edges { node { id } } }
        auditTrail(first: 5) { __typename at c: changeRecord { id project { name } } auditLog { id action } } }"""
    answer = await BothWays(tenant.database).compare(tenant.actor(), query)
    assert not answer.errors
    assert len(answer.data["auditTrail"]) == 5
