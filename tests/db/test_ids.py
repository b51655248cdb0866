"""Row ids: UUIDv7 that sort by creation and carry its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.ids import EPOCH, created_at, first_id_after, first_id_at, id_from, milliseconds, new_id

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
MILLISECOND = timedelta(milliseconds=1)


def test_a_new_id_is_of_now_and_of_version_7() -> None:
    """RFC 9562: version 7, variant 2."""
    before = datetime.now(UTC)
    made = new_id()
    assert before - 2 * MILLISECOND <= created_at(made) <= datetime.now(UTC)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_ids_made_one_after_the_other_sort_so() -> None:
    """Also within one millisecond: pages of what was just made keep their order."""
    made = [new_id() for _ in range(5_000)]
    assert made == sorted(set(made))


@given(at=MOMENTS)
def test_an_id_keeps_its_time_to_the_millisecond(at: datetime) -> None:
    """Cut, not rounded: an id is never of a time that has not come."""
    for made in (new_id(at), id_from(at, 2**74 - 1), id_from(at, 0)):
        assert created_at(made) == at.replace(microsecond=at.microsecond // 1000 * 1000)
        assert made.version == 7
        assert first_id_at(at) <= made < first_id_after(at)


@given(at=MOMENTS, random=st.integers(0, 2**74 - 1), other=st.integers(0, 2**74 - 1))
def test_an_id_of_given_bits_is_the_same_again(at: datetime, random: int, other: int) -> None:
    """Decision 5: an event that is sent twice has one id; other bits are another id."""
    assert id_from(at, random) == id_from(at, random)
    assert (id_from(at, random) == id_from(at, other)) == (random == other)
    assert id_from(at, random) == id_from(at, random + 2**74), "74 bits count"


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), EPOCH - MILLISECOND, EPOCH - timedelta(microseconds=1)])
def test_before_1970_there_is_nothing(at: datetime) -> None:
    """Filters by time become ranges of ids, whatever time is asked for."""
    assert first_id_at(at).int == 0
    assert first_id_after(at).int == 0
    assert milliseconds(at) < 0


def test_the_end_of_time_has_a_millisecond_after_it() -> None:
    """9999-12-31T23:59:59.999Z is a time that may be asked for, and no datetime comes after it."""
    end = datetime.max.replace(tzinfo=UTC)
    assert first_id_at(end) < new_id(end) < first_id_after(end)


def test_another_zone_is_the_same_moment() -> None:
    """Only the moment counts."""
    at = datetime.fromisoformat("2026-03-09T12:00:00.500+05:45")
    assert first_id_at(at) == first_id_at(at.astimezone(UTC))
