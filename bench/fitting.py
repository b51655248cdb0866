"""The straight line through measured points, and how far they lie from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """``fixed + each * x``."""

    fixed: float
    each: float
    deviation: float
    """How far the point that lies furthest from the line does so, as a part of what was measured there."""

    def at(self, x: float) -> float:
        """The line's value."""
        return self.fixed + self.each * x


def line_through(points: Sequence[tuple[float, float]]) -> Line:
    """The line from which the points deviate least: least squares, each deviation as a part of the point's own value.

    Not of the plain deviations: over three decades these would fit the largest point alone. Raises ValueError for
    values that are not positive, and for points without two different x.
    """
    if any(y <= 0 for _, y in points):
        raise ValueError(f"a line needs positive values: {points}")
    weights = [1 / (y * y) for _, y in points]
    total = sum(weights)
    mean_x, mean_y = (
        sum(weight * point[place] for weight, point in zip(weights, points, strict=True)) / (total or 1)
        for place in (0, 1)
    )
    spread = sum(weight * (x - mean_x) ** 2 for weight, (x, _) in zip(weights, points, strict=True))
    if len({x for x, _ in points}) < 2:
        raise ValueError(f"a line needs points at two places: {points}")
    each = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True)) / spread
    fixed = mean_y - each * mean_x
    return Line(fixed, each, max(abs(y - fixed - each * x) / y for x, y in points))
