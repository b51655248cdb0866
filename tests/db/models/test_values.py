"""Values come back as they were given: money, times, JSON, lists, text, enums."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, StatementError

from db import models
from db.base import Model
from db.enums import RiskLevel, TaskType
from db.ids import new_id
from tests.conftest import TenantUnderTest


async def stored(tenant: TenantUnderTest, row: Model, attribute: Any) -> Any:
    """What a row's column has after the row was inserted, read by another transaction."""
    await tenant.add(row)
    async with tenant.database.read(tenant.actor()) as reading:
        statement = sa.select(attribute).where(attribute.class_.id == row.id)  # type: ignore[attr-defined]
        ((value,),) = await reading.rows(statement)
    return value


def envelope(tenant: TenantUnderTest, **columns: Any) -> models.PolicyEnvelope:
    """An envelope of the tenant's project: it has a column of nearly each kind."""
    row_id = new_id()
    return models.PolicyEnvelope(id=row_id, name=str(row_id), attached_to_project_id=tenant.project.id, **columns)


@pytest.mark.parametrize(
    "amount",
    ["0", "0.0000000001", "-0.0000000001", "1234567890.0123456789", "9999999999.9999999999", "0.1", "1E+3"],
)
async def test_money_is_exact(amount: str, tenant: TenantUnderTest) -> None:
    """Decision 15: NUMERIC(20,10), ten digits on either side of the point."""
    money = Decimal(amount)
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="x", type=TaskType.OPS, estimated_cost=money)
    found = await stored(tenant, task, models.Task.estimated_cost)
    assert isinstance(found, Decimal)
    assert found == money


async def test_money_is_rounded_at_the_tenth_digit_and_refused_at_ten_billions(tenant: TenantUnderTest) -> None:
    """Half away from zero, as Postgres rounds NUMERIC; too much is an error and never a cut."""

    def task(amount: str) -> models.Task:
        return models.Task(
            id=new_id(), project_id=tenant.project.id, title="x", type=TaskType.OPS, estimated_cost=Decimal(amount)
        )

    assert await stored(tenant, task("0.00000000005"), models.Task.estimated_cost) == Decimal("0.0000000001")
    assert await stored(tenant, task("0.00000000004"), models.Task.estimated_cost) == 0
    with pytest.raises(DBAPIError, match="numeric field overflow"):
        await tenant.add(task("10000000000"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (datetime(2026, 3, 9, 12, 0, 0, 123_000, UTC), datetime(2026, 3, 9, 12, 0, 0, 123_000, UTC)),
        # Whoever writes a time to the microsecond gets the nearest millisecond.
        (datetime(2026, 3, 9, 12, 0, 0, 123_400, UTC), datetime(2026, 3, 9, 12, 0, 0, 123_000, UTC)),
        (datetime(2026, 3, 9, 23, 59, 59, 999_600, UTC), datetime(2026, 3, 10, 0, 0, 0, 0, UTC)),
        # Any zone is the same moment; it comes back in UTC.
        (
            datetime(2026, 3, 9, 12, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(2026, 3, 9, 6, 15, tzinfo=UTC),
        ),
        (datetime(2, 1, 1, tzinfo=UTC), datetime(2, 1, 1, tzinfo=UTC)),
        (datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)),
    ],
)
async def test_a_time_is_a_moment_in_milliseconds(given: datetime, kept: datetime, tenant: TenantUnderTest) -> None:
    """Decision 15: timestamptz(3)."""
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="x", type=TaskType.OPS, due_at=given)
    found = await stored(tenant, task, models.Task.due_at)
    assert found == kept
    assert found.utcoffset() == timedelta(0)


JSON_VALUES = [
    {},
    {"a": None, "b": [], "c": {}},
    {"deep": [{"er": [[[1]]]}]},
    {"whole": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1]},
    {"broken": [0.1, -1.5, 1e-7, 1e21, 1e22, 5e-324, 1.7976931348623157e308, 1.0]},
    {"text": 'ä€😀 " \\ / \b\f\n\r\t \u2028 \x7f', "": "empty key", "ключ": "другой"},
    {"no escape": "\\u0000"},
]


@pytest.mark.parametrize("value", JSON_VALUES)
async def test_json_comes_back_as_it_was(value: dict[str, Any], tenant: TenantUnderTest) -> None:
    """JSONB by orjson: whole numbers of 64 bits, doubles, any text."""
    found = await stored(tenant, envelope(tenant, caps=value), models.PolicyEnvelope.caps)
    assert found == value
    assert _kinds(found) == _kinds(value)


def _kinds(value: Any) -> Any:
    """The types of a JSON value's leaves, for what `==` does not tell apart: 1, 1.0 and True."""
    match value:
        case dict():
            return {key: _kinds(one) for key, one in value.items()}
        case list():
            return [_kinds(one) for one in value]
    return type(value)


async def test_a_large_double_comes_back_as_the_whole_number_that_it_is_written_as(tenant: TenantUnderTest) -> None:
    """JSONB knows numbers and no doubles: what is above 2^53 is the same to readers that follow RFC 8785 alone."""
    row = envelope(tenant, caps={"n": 6.047717867709399e16})
    found = await stored(tenant, row, models.PolicyEnvelope.caps)
    assert found == {"n": 60_477_178_677_093_990}
    assert float(found["n"]) == 6.047717867709399e16


async def test_larger_whole_numbers_are_kept_and_read_as_doubles(tenant: TenantUnderTest) -> None:
    """Beyond 64 bits every digit is stored; who reads JSON into Python gets the double next to it, as elsewhere."""
    large = 123_456_789_012_345_678_901_234_567_890
    row = envelope(tenant, caps={"n": large, "list": [-large], "text": "ä"})
    found = await stored(tenant, row, models.PolicyEnvelope.caps)
    assert found == {"n": float(large), "list": [float(-large)], "text": "ä"}
    async with tenant.database.read(tenant.actor()) as reading:
        digits = sa.select(models.PolicyEnvelope.caps["n"].astext).where(models.PolicyEnvelope.id == row.id)
        assert (await reading.rows(digits))[0][0] == str(large)


@pytest.mark.parametrize(
    "value",
    [
        {"n": math.nan},
        {"n": [math.inf]},
        {"n": {"m": -math.inf}},
        {1: "number as key"},
        {"o": object()},
        {"s": "\ud800"},
    ],
)
async def test_what_is_no_json_is_refused(value: Any, tenant: TenantUnderTest) -> None:
    """Nothing is turned into null or into text in silence."""
    with pytest.raises((StatementError, DBAPIError)):
        await tenant.add(envelope(tenant, caps=value))


async def test_absent_json_is_null_and_not_the_json_null(tenant: TenantUnderTest) -> None:
    """`isNull` filters and NOT NULL columns mean SQL's own null."""
    row = envelope(tenant, caps=None)
    await tenant.add(row)
    async with tenant.database.read(tenant.actor()) as reading:
        absent = sa.select(models.PolicyEnvelope.id).where(models.PolicyEnvelope.caps.is_(None))
        assert [one for (one,) in await reading.rows(absent)] == [row.id]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
async def test_any_json_comes_back_as_it_was(value: Any, tenant: TenantUnderTest) -> None:
    """The same for whatever there is."""
    async with tenant.database.read(tenant.actor()) as reading:
        ((found,),) = await reading.rows(sa.select(sa.literal({"v": value}, models.PolicyEnvelope.caps.type)))
    assert _as_doubles(found) == _as_doubles({"v": value})


def _as_doubles(value: Any) -> Any:
    """The value with numbers beyond 2^53 as the doubles next to them, as RFC 8785 reads them."""
    match value:
        case dict():
            return {key: _as_doubles(one) for key, one in value.items()}
        case list():
            return [_as_doubles(one) for one in value]
        case bool():
            return value
        case int() | float() if abs(value) > 2**53:
            return float(value)
    return value


@pytest.mark.parametrize("texts", [[], ["a"], ["", " ", "NULL", 'a"b', "a,b", "{}", "ä😀", "\n"], ["x"] * 500])
async def test_lists_of_text_keep_order_and_every_character(texts: list[str], tenant: TenantUnderTest) -> None:
    """text[]: an empty list is no absent one."""
    row = envelope(tenant, allowed_tools=texts)
    assert await stored(tenant, row, models.PolicyEnvelope.allowed_tools) == texts


async def test_lists_of_an_enum_come_back_as_its_members(tenant: TenantUnderTest) -> None:
    """text[] with a check."""
    risks = [RiskLevel.RED, RiskLevel.GREEN, RiskLevel.RED]
    found = await stored(
        tenant, envelope(tenant, require_approval_on_risk=risks), models.PolicyEnvelope.require_approval_on_risk
    )
    assert found == risks
    assert all(isinstance(one, RiskLevel) for one in found)


async def test_a_value_that_an_enum_lacks_is_refused_before_postgres(tenant: TenantUnderTest) -> None:
    """The error names the value and the enum."""
    task = models.Task(id=new_id(), project_id=tenant.project.id, title="x", type="GARDENING")
    with pytest.raises(StatementError, match="'GARDENING' is not a valid TaskType"):
        await tenant.add(task)


async def test_text_holds_anything_but_the_character_zero(tenant: TenantUnderTest) -> None:
    """Decision 15. At the edge that character is BAD_USER_INPUT; here Postgres is the last to say no."""
    text = "".join(map(chr, (*range(1, 0xD800), *range(0xE000, 0xFFFF), 0x10FFFF)))
    role = models.Role(id=new_id(), name="all", permissions=[], description=text)
    assert await stored(tenant, role, models.Role.description) == text
    with pytest.raises(DBAPIError, match="0x00"):
        await tenant.add(models.Role(id=new_id(), name="zero", permissions=[], description="a\0b"))


async def test_names_sort_by_code_point(tenant: TenantUnderTest) -> None:
    """Collation C: pages continue at the same place on every machine, whatever its locale."""
    names = ["", " ", "A", "Z", "a", "b", "z", "Ä", "ß", "ö", "😀"]
    await tenant.add(*(models.Role(id=new_id(), name=name, permissions=[]) for name in reversed(names)))
    async with tenant.database.read(tenant.actor()) as reading:
        found = await reading.rows(sa.select(models.Role.name).order_by(models.Role.name))
    assert [name for (name,) in found] == names


async def test_ids_sort_by_time_in_postgres_too(tenant: TenantUnderTest) -> None:
    """Keyset pages go by id, which is to say by creation."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [new_id(start + timedelta(milliseconds=n)) for n in range(20)]
    await tenant.add(*(models.Role(id=one, name=str(one), permissions=[]) for one in ids[::-1]))
    async with tenant.database.read(tenant.actor()) as reading:
        found: list[UUID] = [one for (one,) in await reading.rows(sa.select(models.Role.id).order_by(models.Role.id))]
    assert found == ids
