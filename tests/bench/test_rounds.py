"""Figures from outcomes: percentiles, medians, ratios."""

from __future__ import annotations

import math

import pytest

from bench.load import Outcome
from bench.report import geometric_mean
from bench.rounds import Measurement, median, median_ratio, percentile, rotated, summary


def _measured(per_second: float) -> Measurement:
    count = round(per_second * 2)
    return summary(Outcome(seconds=2.0, latencies=[0.001] * count), 1.0, 0.5, 10)


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 201)]
    assert percentile(values, 50) == 100
    assert percentile(values, 99) == 198
    assert percentile([7.0], 99) == 7
    assert math.isnan(percentile([], 50))


def test_a_summary_divides_by_the_right_answers() -> None:
    outcome = Outcome(seconds=2.0, latencies=[0.003, 0.001, 0.002], failures=1, failure="wrong", cpu_seconds=0.5)
    found = summary(outcome, 0.3, 0.15, 123)
    assert found.per_second == 1.5  # wrong answers are none
    assert (found.p50_ms, found.p99_ms) == (2.0, 3.0)
    assert found.server_cpu_ms == pytest.approx(100)  # but what they cost falls on the others
    assert found.cpu_ms == pytest.approx(150)
    assert found.client_busy == 0.25
    assert found.failures == 1


def test_nothing_answered_is_no_figure() -> None:
    found = summary(Outcome(seconds=2.0), 0.4, 0.2, 123)
    assert found.per_second == 0
    assert math.isnan(found.p50_ms)
    assert math.isnan(found.cpu_ms)


def test_ratios_compare_what_was_measured_together() -> None:
    ours, theirs = [_measured(100), _measured(10), _measured(30)], [_measured(50), _measured(100), _measured(10)]
    # Round by round 2, 0.1 and 3; the medians alone would say 30 / 50.
    assert median_ratio(ours, theirs, lambda one: one.per_second) == 2
    assert median(ours, lambda one: one.per_second) == 30


def test_in_turn_each_is_the_first() -> None:
    assert [rotated("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_geometric_mean() -> None:
    assert geometric_mean([1, 4]) == pytest.approx(2)
    assert math.isnan(geometric_mean([1, float("nan")]))
