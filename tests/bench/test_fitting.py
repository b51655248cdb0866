"""The line through measured points."""

from __future__ import annotations

import pytest

from bench.fitting import line_through


def test_points_on_a_line_give_that_line() -> None:
    line = line_through([(x, 2 + 0.5 * x) for x in (10, 100, 1_000)])
    assert line.fixed == pytest.approx(2)
    assert line.each == pytest.approx(0.5)
    assert line.deviation == pytest.approx(0, abs=1e-12)
    assert line.at(10_000) == pytest.approx(5_002)


def test_the_deviation_is_that_of_the_point_that_lies_furthest_off() -> None:
    """For two values at one place and one far away, the best line is known: it goes between the two, nearer to the
    small one, since there a deviation weighs more."""
    line = line_through([(1, 10), (1, 20), (2, 40)])
    assert line.at(2) == pytest.approx(40)
    assert line.at(1) == pytest.approx(12)  # (10 / 100 + 20 / 400) / (1 / 100 + 1 / 400)
    assert line.deviation == pytest.approx(0.4)  # of 20, which is 8 above it


def test_small_answers_count_as_much_as_large_ones() -> None:
    """Plain least squares would follow the point at 10,000 and miss those of a millisecond by as much again."""
    points = [(10, 1.0), (100, 1.9), (1_000, 10.9), (10_000, 130.0)]
    line = line_through(points)
    assert line.fixed == pytest.approx(0.9, rel=0.1)
    assert line.deviation < 0.25


@pytest.mark.parametrize("points", [[], [(1, 2)], [(1, 2), (1, 3)], [(1, 0), (2, 1)], [(1, -1), (2, 1)]])
def test_what_has_no_line_is_refused(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="a line needs"):
        line_through(points)
