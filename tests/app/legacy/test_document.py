"""Values of a snapshot as the columns want them (CVX-2, CVX-3, MIG-0d)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.legacy.document import Doc, Rejection, as_column, dollars, iso, member, moment, whole
from app.legacy.mapping import table_of
from app.legacy.spool import Spool
from db.enums import ApprovalDecision, MeetingStatus, TaskType
from db.models import PolicyEnvelope, Run, Task


def doc(**fields: Any) -> Doc:
    return Doc("tasks", {"_id": "t1", "_creationTime": 1700000000000.9, **fields})


def test_a_document_is_the_same_whichever_way_its_numbers_are_written() -> None:
    """CVX-3: 3 and 3.0 are one number, so a second export of the same document is no conflict."""
    assert doc(a=3, b={"c": [4.0]}).hash == doc(a=3.0, b={"c": [4]}).hash
    assert doc(a=3).hash != doc(a=3.5).hash
    assert doc(a=3).values["a"] == 3
    assert doc(a=1, b=2).hash == doc(b=2, a=1).hash


def test_the_time_of_a_document_is_rounded_down() -> None:
    """MIG-0d."""
    assert doc().created == datetime(2023, 11, 14, 22, 13, 20, 0, tzinfo=UTC)
    assert iso(doc().created) == "2023-11-14T22:13:20.000Z"
    assert moment("at", 1.999) == datetime(1970, 1, 1, 0, 0, 0, 1_000, tzinfo=UTC)


@pytest.mark.parametrize("value", ["a\x00b", {"a\x00": 1}, ["ok", {"x": "\x00"}]])
def test_text_that_postgres_cannot_store_is_a_rejection(value: Any) -> None:
    with pytest.raises(Rejection, match="NUL"):
        doc(title=value)


def test_what_json_or_postgres_cannot_hold_is_a_rejection() -> None:
    """And no fault of the import: numbers without end, and nesting without end."""
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    for value in (float("inf"), float("-inf"), float("nan"), deep):
        with pytest.raises(Rejection):
            doc(field=value)


def test_fields_that_nobody_read_are_known() -> None:
    one = doc(title="x", extra=1, nothing=None)
    one.take("title")
    one.peek("extra")
    assert one.rest() == {"extra": 1}


@pytest.mark.parametrize(("value", "number"), [(3, 3), (3.0, 3), ("12", 12), ("-7", -7), (-(2**62), -(2**62))])
def test_whole_numbers(value: Any, number: int) -> None:
    """CVX-3: int64 values come as text."""
    assert whole("n", value) == number


@pytest.mark.parametrize("value", [True, 3.5, "3.5", "x", "", None, [], float("inf"), "9" * 30, 2**63])
def test_what_is_no_whole_number_is_rejected(value: Any) -> None:
    with pytest.raises(Rejection) as caught:
        whole("count", value)
    assert caught.value.field == "count"


@pytest.mark.parametrize("value", ["NaN", "Infinity", True, None, 10**11])
def test_what_is_no_amount_of_money_is_rejected(value: Any) -> None:
    """CVX-3: NaN and Infinity are exported as text."""
    with pytest.raises(Rejection):
        dollars("costUsd", value)


def test_money_is_exact() -> None:
    """MIG-11: to the cent and beyond; 0.1 + 0.2 is not what was written."""
    assert dollars("costUsd", 0.1) + dollars("costUsd", 0.2) == Decimal("0.3")
    assert dollars("costUsd", 0.16999999999999998) == Decimal("0.1700000000")
    assert dollars("costUsd", 7) == Decimal(7)


def test_enums_in_any_case_and_both_spellings_of_canceled() -> None:
    assert member("status", "CANCELLED", ApprovalDecision) is ApprovalDecision.CANCELED
    assert member("status", "CANCELLED", MeetingStatus) is MeetingStatus.CANCELLED
    assert member("type", "customer-research", TaskType) is TaskType.CUSTOMER_RESEARCH
    with pytest.raises(Rejection, match="is none of CONTENT"):
        member("type", "GARDENING", TaskType)


@pytest.mark.parametrize(
    ("column", "value", "stored"),
    [
        (table_of(Task).c.due_at, 1700000000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (table_of(Task).c.priority, 4.0, 4),
        (table_of(Task).c.labels, ["a", "b"], ["a", "b"]),
        (table_of(Task).c.title, None, None),
        (table_of(PolicyEnvelope).c.allowed_task_types, ["OPS"], [TaskType.OPS]),
        (table_of(Run).c.cost_usd, 0.08, Decimal("0.08")),
    ],
)
def test_a_columns_kind_decides(column: Any, value: Any, stored: Any) -> None:
    assert as_column(column, "field", value) == stored


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (table_of(Task).c.priority, 5),
        (table_of(Task).c.priority, 2**31),
        (table_of(Task).c.labels, "a"),
        (table_of(Task).c.labels, [1]),
        (table_of(Task).c.title, 7),
        (table_of(Task).c.due_at, -1),
        (table_of(Task).c.due_at, "2026-01-01"),
        (table_of(PolicyEnvelope).c.active, 1),
    ],
)
def test_what_a_column_cannot_hold_is_rejected(column: Any, value: Any) -> None:
    with pytest.raises(Rejection):
        as_column(column, "field", value)


def test_a_spool_gives_back_in_order_of_time_what_came_in_any_order() -> None:
    """Equal times keep the order they came in, also across the files that it wrote."""
    spool: Spool[str] = Spool(run=3)
    at = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 1, 2, 1, 3, 2, 1)]
    for number, one in enumerate(at):
        spool.add(one, f"{one.day}:{number}")
    assert list(spool) == ["1:1", "1:3", "1:6", "2:2", "2:5", "3:0", "3:4"]
    assert len(spool) == 7
    spool.close()
