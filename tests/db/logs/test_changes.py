"""The change log: numbers without holes, a chain that shows every tampering, and no way to rewrite it (AUD-3)."""

import asyncio
import hashlib
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from asyncpg.pgproto import pgproto
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from db import models
from db.canonical import GENESIS
from db.connections import Connections
from db.enums import ActorType, ChangeRecordType
from db.ids import created_at, new_id
from db.logs import (
    CONTENT_FIELDS,
    AppendedChange,
    ChainHead,
    ChangeDraft,
    append_change_records,
    content_hash,
    verify_chain,
)
from db.logs.content import _canonical, _moment, fields_of, text_of
from db.models.gateway import TenantCounters
from db.session import Database
from tests.conftest import TenantUnderTest
from tests.heard import heard

Rows = list[dict[str, Any]]

STRANGE: dict[str, Any] = {
    "numbers": [0, -0.0, 1.0, 4096.0, 0.1, 1e-7, 1e21, 1e22, 1.5e300, 5e-324, 2**53 - 1, 2**53 + 1, -(2**70), 10**30],
    "texts": ["", "é", "e\u0301", "\U0001f98a", '"\\/\b\f\n\r\t', "\u2028", "</script>", "\x7f", "\x01"],
    "nothing": [None, [], {}, [None], {"": None}, True, False],
    "\U0001f600": 1,
    "\ufb33": 2,
}
"""JSON that a careless round trip through the database would change."""


def draft(**changes: Any) -> ChangeDraft:
    """A record of a task's transition by the gateway, with these columns instead."""
    columns: dict[str, Any] = {
        "type": ChangeRecordType.TASK_TRANSITIONED,
        "actor_type": ActorType.SYSTEM,
        "target_entity": "Task",
        "target_id": new_id(),
    }
    return ChangeDraft(**{**columns, **changes})


async def append(tenant: TenantUnderTest, *records: ChangeDraft) -> list[AppendedChange]:
    """Append in a transaction of its own, as the gateway."""
    async with tenant.database.transaction(tenant.actor()) as session:
        return await append_change_records(await session.connection(), tenant.id, records)


async def log_of(tenant: TenantUnderTest) -> Rows:
    """The tenant's records as an auditor reads them."""
    table = models.ChangeRecord.__table__
    async with tenant.database.transaction(tenant.actor()) as session:
        return [dict(row) for row in (await session.execute(select(table).order_by(table.c.seq))).mappings()]


async def head_of(tenant: TenantUnderTest) -> ChainHead:
    """Number and hash that the tenant's counters name as the newest."""
    async with tenant.database.transaction(tenant.actor()) as session:
        counters = (await session.execute(select(TenantCounters))).scalar_one()
        return ChainHead(counters.change_seq, counters.change_hash)


async def test_a_tenant_begins_with_counters_at_zero(tenant: TenantUnderTest) -> None:
    """Decision 3: the counters come with the tenant."""
    assert await head_of(tenant) == ChainHead(0, GENESIS)
    assert verify_chain(await log_of(tenant), head=await head_of(tenant)) == []


async def test_records_are_numbered_and_chained_in_the_order_given(tenant: TenantUnderTest) -> None:
    """Decision 2: hash = sha256(previous hash || number || content hash), from 64 zeros on."""
    first = await append(tenant, draft(summary="one"), draft(summary="two"))
    second = await append(tenant, draft(summary="three"))
    rows = await log_of(tenant)
    assert [row["summary"] for row in rows] == ["one", "two", "three"]
    assert [row["seq"] for row in rows] == [1, 2, 3]
    assert [AppendedChange(row["id"], row["seq"], row["hash"]) for row in rows] == first + second
    by_hand = GENESIS
    for row in rows:
        parts = bytes.fromhex(by_hand) + row["seq"].to_bytes(8, "big") + bytes.fromhex(row["content_hash"])
        assert row["prev_hash"] == by_hand
        by_hand = hashlib.sha256(parts).hexdigest()
        assert row["hash"] == by_hand
    assert await head_of(tenant) == ChainHead(3, by_hand)
    assert verify_chain(rows, head=await head_of(tenant)) == []
    assert verify_chain(rows[1:], after=ChainHead(1, first[0].hash)) == []


async def test_every_column_is_stored_as_it_was_given(tenant: TenantUnderTest) -> None:
    operator = models.Operator(id=new_id(), auth_id=f"a-{new_id()}", name="Ada", email="ada@example.com")
    await tenant.add(operator)
    cause = (await append(tenant, draft()))[0].id
    at = datetime(2026, 3, 1, 12, 0, 0, 987_999, tzinfo=timezone(timedelta(hours=2)))
    record = draft(
        type=ChangeRecordType.POLICY_ATTACHED,
        actor_type=ActorType.HUMAN,
        actor_id=operator.id,
        before_state=STRANGE,
        after_state={},
        reason="Because.",
        evidence_links=["https://example.com/1", ""],
        timestamp=at,
        project_id=tenant.project.id,
        summary="x",
        idempotency_key="k",
        caused_by_id=cause,
        metadata={"source": "live"},
        id=new_id(at),
    )
    await append(tenant, record)
    row = (await log_of(tenant))[1]
    for name in set(CONTENT_FIELDS) - {"tenant_id", "timestamp", "before_state"}:
        assert row[name] == getattr(record, name), name
    assert row["tenant_id"] == tenant.id
    assert row["timestamp"] == datetime(2026, 3, 1, 10, 0, 0, 987_000, tzinfo=UTC), "cut to milliseconds, not rounded"
    assert row["created_at"] == created_at(record.id)
    assert row["before_state"]["texts"] == STRANGE["texts"]
    assert row["before_state"]["numbers"][-1] == 1e30


async def test_what_is_stored_has_the_hash_of_what_was_given(tenant: TenantUnderTest) -> None:
    """The chain of an untouched log verifies, whatever is in it."""
    states = [STRANGE, {"a": STRANGE}, {}, None]
    records = [draft(before_state=state, after_state={"list": [state]}, reason="\u00e9\U0001f98a") for state in states]
    await append(tenant, *records, draft(evidence_links=[]), draft(evidence_links=None))
    rows = await log_of(tenant)
    assert verify_chain(rows, head=await head_of(tenant)) == []
    for record, row in zip(records, rows, strict=False):
        as_given = {name: getattr(record, name) for name in CONTENT_FIELDS if name != "tenant_id"}
        assert row["content_hash"] == content_hash({**as_given, "tenant_id": tenant.id})


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {
            "target_id": pgproto.UUID(str(new_id())),
            "actor_type": ActorType.HUMAN,
            "actor_id": pgproto.UUID(str(new_id())),
        },
        {"before_state": {"b": None, "a": {"z": [1, "x"], "y": True}}, "after_state": {}, "metadata": {"n": -1}},
        {"before_state": {"id": new_id(), "at": datetime(2026, 1, 1, 1, tzinfo=UTC), "kind": ActorType.AGENT}},
        {"after_state": {"half": 0.5, "whole": 2.0, "large": 2**70}},
        {"after_state": STRANGE, "metadata": {"\u20ac": 1, "\U0001f98a": 2, "\ufb33": 3}},
        {"reason": '\u00e9\n"\U0001f98a', "summary": "", "evidence_links": ["https://a.example/1"]},
        {"timestamp": datetime(2026, 3, 1, 12, 0, 0, 987_999, tzinfo=timezone(timedelta(hours=2)))},
    ],
)
def test_the_short_way_writes_the_very_same_text(columns: dict[str, Any]) -> None:
    """Most records take it; an auditor knows the other one."""
    record, tenant_id = draft(**columns), new_id()
    assert text_of(record, tenant_id) == _canonical({**fields_of(record), "tenant_id": tenant_id})


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000Z"),
        (datetime(2026, 1, 31, 1, 2, 3, 45_999, tzinfo=timezone(timedelta(hours=2))), "2026-01-30T23:02:03.045Z"),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "1969-12-31T23:59:59.999Z"),
        (datetime(999, 1, 1, tzinfo=UTC), "999-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_written_as_ever(moment: datetime, text: str) -> None:
    """A record's hash is of this text: another form would break every chain."""
    assert _moment(moment) == text


def _change(rows: Rows, seq: int, **values: Any) -> Rows:
    return [{**row, **values} if row["seq"] == seq else row for row in rows]


def _chained_again(rows: Rows) -> Rows:
    """What a forger does who knows the chain but cannot reach the head."""
    previous, made = GENESIS, []
    for seq, row in enumerate(rows, 1):
        content = content_hash(row)
        link = bytes.fromhex(previous) + seq.to_bytes(8, "big") + bytes.fromhex(content)
        made.append({**row, "seq": seq, "prev_hash": previous, "content_hash": content})
        previous = made[-1]["hash"] = hashlib.sha256(link).hexdigest()
    return made


TAMPERINGS: dict[str, tuple[Callable[[Rows], Rows], int]] = {
    "a reason is rewritten": (lambda rows: _change(rows, 3, reason="another"), 3),
    "a state is rewritten": (lambda rows: _change(rows, 3, after_state={"status": "CANCELED"}), 3),
    "a state is emptied": (lambda rows: _change(rows, 3, after_state=None), 3),
    "an actor is exchanged": (lambda rows: _change(rows, 2, actor_type="HUMAN", actor_id=new_id()), 2),
    "a record is moved to another tenant": (lambda rows: _change(rows, 1, tenant_id=new_id()), 1),
    "a time is moved by a millisecond": (
        lambda rows: _change(rows, 4, timestamp=rows[3]["timestamp"] + timedelta(milliseconds=1)),
        4,
    ),
    "content and its hash are rewritten": (
        lambda rows: _change(rows, 3, reason="x", content_hash=content_hash({**rows[2], "reason": "x"})),
        3,
    ),
    "a record is removed": (lambda rows: rows[:2] + rows[3:], 4),
    "the first record is removed": (lambda rows: rows[1:], 2),
    "two records change places": (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], 3),
    "a record is doubled": (lambda rows: [*rows[:2], rows[1], *rows[2:]], 2),
    "the end is cut off": (lambda rows: rows[:-1], 4),
    "a record is rewritten and everything chained again": (
        lambda rows: _chained_again(_change(rows, 2, reason="forged")),
        5,
    ),
    "a record is removed and everything chained again": (lambda rows: _chained_again(rows[:2] + rows[3:]), 4),
}


@pytest.fixture
async def written(tenant: TenantUnderTest) -> tuple[Rows, ChainHead]:
    """Five records and the head that the counters name."""
    await append(tenant, *(draft(reason=f"reason {n}", after_state={"status": "DONE", "n": n}) for n in range(5)))
    return await log_of(tenant), await head_of(tenant)


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_tampering_shows(name: str, written: tuple[Rows, ChainHead]) -> None:
    """AUD-3: an auditor who knows the head sees that the log was touched, and where."""
    rows, head = written
    tamper, where = TAMPERINGS[name]
    faults = verify_chain(tamper(rows), head=head)
    assert faults
    assert faults[0].seq == where
    assert verify_chain(rows, head=head) == []


async def test_many_writers_leave_no_hole(tenant: TenantUnderTest) -> None:
    """Architecture section 5: commit order is number order, and a rolled back transaction takes no number."""

    async def write(writer: int) -> list[tuple[str, int]]:
        made = []
        for turn in range(6):
            try:
                async with tenant.database.transaction(tenant.actor()) as session:
                    records = [draft(summary=f"{writer}.{turn}.{n}") for n in range(1 + (writer + turn) % 3)]
                    appended = await append_change_records(await session.connection(), tenant.id, records)
                    if turn % 3 == 2:
                        raise ConnectionAbortedError
            except ConnectionAbortedError:
                continue
            made += [(str(record.summary), one.seq) for record, one in zip(records, appended, strict=True)]
        return made

    told = [one for made in await asyncio.gather(*(write(writer) for writer in range(8))) for one in made]
    rows = await log_of(tenant)
    assert [row["seq"] for row in rows] == list(range(1, len(told) + 1))
    assert {(row["summary"], row["seq"]) for row in rows} == set(told)
    assert verify_chain(rows, head=await head_of(tenant)) == []


async def test_each_tenant_has_its_own_chain(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    await append(tenant, draft(), draft())
    assert [one.seq for one in await append(other_tenant, draft())] == [1]
    assert [row["prev_hash"] for row in await log_of(other_tenant)] == [GENESIS]


async def test_appending_is_one_statement(tenant: TenantUnderTest) -> None:
    """Decision 2: one SQL statement takes the numbers, chains and inserts."""
    with heard(tenant.database.engine) as seen:
        await append(tenant, *(draft() for _ in range(100)))
    assert len([one for one in seen if "set_config" not in one]) == 1


async def test_nothing_to_append_takes_nothing(tenant: TenantUnderTest) -> None:
    assert await append(tenant) == []
    assert await head_of(tenant) == ChainHead(0, GENESIS)


async def test_another_tenants_chain_is_out_of_reach(tenant: TenantUnderTest, other_tenant: TenantUnderTest) -> None:
    """Architecture section 7: the wall holds for the counters too."""
    for foreign in (other_tenant.id, new_id()):
        with pytest.raises(LookupError, match=str(foreign)):
            async with tenant.database.transaction(tenant.actor()) as session:
                await append_change_records(await session.connection(), foreign, [draft()])
    assert await log_of(other_tenant) == []


async def test_an_idempotency_key_counts_once(tenant: TenantUnderTest) -> None:
    """MIG-5: the same key is not recorded twice, and the refused attempt takes no number."""
    await append(tenant, draft(idempotency_key="once"))
    with pytest.raises(IntegrityError, match="idempotency_key"):
        await append(tenant, draft(idempotency_key="once"))
    assert [one.seq for one in await append(tenant, draft(idempotency_key="twice"))] == [2]


@pytest.mark.parametrize(
    ("statement", "done"),
    [
        ("UPDATE change_records SET reason = 'another'", "UPDATE"),
        ("DELETE FROM change_records", "DELETE"),
        ("TRUNCATE change_records", "TRUNCATE"),
    ],
)
async def test_history_is_not_rewritten(
    statement: str, done: str, tenant: TenantUnderTest, connections: Connections
) -> None:
    """AUD-3: the gateway and the platform may not, and the trigger refuses even the owner of the table."""
    await append(tenant, draft(reason="as it was"))
    for connection in (connections.gateway, connections.platform):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await _run(connection.url, tenant.id, statement)
    with pytest.raises(asyncpg.RestrictViolationError, match=f"append-only: {done} is refused"):
        await _run(connections.owner.url, tenant.id, statement)
    assert [row["reason"] for row in await log_of(tenant)] == ["as it was"]


async def _run(url: str, tenant_id: UUID, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SET app.tenant_id = '{tenant_id}'")
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_entity": "task"}, "target_entity 'task'"),
        ({"actor_id": new_id()}, "actor_id must be absent"),
        ({"timestamp": datetime(2026, 1, 1)}, "has no time zone"),
        ({"timestamp": datetime(1969, 12, 31, tzinfo=UTC)}, "before 1970"),
    ],
)
def test_a_wrong_draft_says_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draft(**changes)


@pytest.mark.parametrize("state", [{"x": math.nan}, {"x": math.inf}, {"x": "\ud800"}, {"x": {1, 2}}, {"x": 10**400}])
async def test_what_is_no_json_is_refused_before_anything_is_written(
    state: dict[str, Any], tenant: TenantUnderTest
) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        await append(tenant, draft(), draft(after_state=state))
    assert not isinstance(refused.value, IntegrityError)
    assert await log_of(tenant) == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4), st.randoms())
def test_the_hash_does_not_depend_on_the_order_of_keys(state: dict[str, Any], random: Any) -> None:
    """RFC 8785: equal JSON, equal hash."""
    keys = list(state)
    random.shuffle(keys)
    row = dict.fromkeys(CONTENT_FIELDS)
    assert content_hash({**row, "after_state": state}) == content_hash(
        {**row, "after_state": {key: state[key] for key in keys}}
    )
    assert content_hash({**row, "after_state": state}) != content_hash({**row, "before_state": state})


async def test_postgres_and_python_make_the_same_link(database: Database) -> None:
    content, previous = hashlib.sha256(b"content").hexdigest(), hashlib.sha256(b"previous").hexdigest()
    for seq in (1, 255, 256, 2**31, 2**63 - 1):
        row = await database.fetch_one("SELECT gateway.link($1, $2, $3) AS link", previous, seq, content)
        assert row is not None
        parts = bytes.fromhex(previous) + seq.to_bytes(8, "big", signed=True) + bytes.fromhex(content)
        assert row["link"] == hashlib.sha256(parts).hexdigest()


async def test_a_cascade_names_its_cause(tenant: TenantUnderTest) -> None:
    """Decision 1: rows of a cascade carry the id of the first, in one statement with it too."""
    first = draft()
    await append(tenant, first, draft(caused_by_id=first.id), draft(caused_by_id=first.id))
    assert [row["caused_by_id"] for row in await log_of(tenant)] == [None, first.id, first.id]
    with pytest.raises(IntegrityError, match="caused_by"):
        await append(tenant, draft(caused_by_id=new_id()))


async def test_the_build_of_a_version_is_immutable(tenant: TenantUnderTest) -> None:
    """GEN-6: genome, hash, template and parent never change; the lifecycle does."""
    template = models.AgentTemplate(id=new_id(), name="Scribe")
    other = models.AgentTemplate(id=new_id(), name="Other")
    version = models.AgentVersion(
        id=new_id(), template_id=template.id, genome={"promptBundleHash": "p1"}, genome_hash="0" * 64
    )
    parent = models.AgentVersion(id=new_id(), template_id=template.id, genome={}, genome_hash="1" * 64)
    await tenant.add(template, other, version, parent)
    for change in (
        """genome = '{"promptBundleHash": "p2"}'""",
        f"genome_hash = '{'1' * 64}'",
        f"template_id = '{other.id}'",
        f"parent_version_id = '{parent.id}'",
    ):
        with pytest.raises(IntegrityError, match=rf"Agent version {version.id} is immutable.*GEN-6"):
            async with tenant.database.transaction(tenant.actor()) as session:
                await session.execute(text(f"UPDATE agent_versions SET {change} WHERE id = '{version.id}'"))
    async with tenant.database.transaction(tenant.actor()) as session:
        await session.execute(text("UPDATE agent_versions SET lifecycle_state = 'TESTING', eval_status = 'RUNNING'"))
