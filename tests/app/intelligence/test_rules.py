"""Rates, traits, estimates: the numbers of section 14."""

from __future__ import annotations

import math

import pytest

from app.intelligence.rules import (
    Record,
    Trait,
    confidence_in,
    estimate,
    rediscovered,
    suitability,
    together,
    trait_of,
)


def record(good: int, bad: int, cost: float = 0.0, ms: float = 0.0) -> Record:
    return Record(good, bad, cost, ms)


@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [
        (1, 0, None),
        (2, 0, Trait.STRENGTH),
        (4, 1, None),
        (9, 2, Trait.STRENGTH),
        (1, 1, None),
        (1, 2, Trait.WEAKNESS),
        (0, 2, Trait.WEAKNESS),
        (0, 1, None),
        (0, 0, None),
    ],
)
def test_lrn_3_traits_show_after_two_tasks(good: int, bad: int, expected: Trait | None) -> None:
    """Above 0.8 a strength, below 0.5 a weakness, neither at the very number."""
    assert trait_of(record(good, bad)) is expected


def test_lrn_2_confidence_and_its_rediscovery() -> None:
    """0.4 of before and 0.6 of now."""
    assert confidence_in(Trait.STRENGTH, record(9, 1)) == pytest.approx(0.9)
    assert confidence_in(Trait.WEAKNESS, record(1, 9)) == pytest.approx(0.9)
    assert rediscovered(0.5, 1.0) == pytest.approx(0.8)
    assert rediscovered(1.0, 2.0) == 1.0
    assert Trait.WEAKNESS.named("OPS") == "weakness:OPS"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, 0.5),
        (record(0, 0), 0.5),
        (record(3, 1, cost=2.0), 0.7 * 0.75 + 0.3 * 0.5),
        (record(4, 0, cost=0.2), 1.0),
        (record(4, 0), 1.0),
        (record(0, 4, cost=10.0), 0.03),
    ],
)
def test_lrn_3_suitability(given: Record | None, expected: float) -> None:
    """0.7 success and 0.3 cheapness."""
    assert suitability(given) == pytest.approx(expected)


def test_lrn_4_an_estimate_weighs_by_tasks() -> None:
    """Means over what is known; confidence grows with the logarithm of the tasks."""
    found = estimate([record(3, 0, cost=1.0, ms=60_000), record(1, 0, cost=3.0, ms=180_000), record(1, 1)])
    assert found.cost_usd == pytest.approx(1.5)
    assert found.minutes == pytest.approx(1.5)
    assert found.confidence == pytest.approx(math.log10(7) / 2)
    assert found.tasks == 6


def test_lrn_4_without_history_there_are_defaults() -> None:
    """0.5 US dollars, 30 minutes, no confidence; never more than 1."""
    found = estimate([])
    assert (found.cost_usd, found.minutes, found.confidence, found.tasks) == (0.5, 30.0, 0.0, 0)
    assert estimate([record(500, 500)]).confidence == 1.0


def test_records_add_up() -> None:
    """Counts are added, means weighted."""
    assert together([record(1, 1, 2.0, 10.0), record(2, 0, 4.0, 30.0), record(0, 0, 99.0)]) == record(3, 1, 3.0, 20.0)
    assert together([]) == record(0, 0)
