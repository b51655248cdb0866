"""What bench/growth.py found, as tables and as plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench import report
from bench.drawing import Axis, Panel, Series
from bench.fitting import Line, line_through
from bench.rounds import Measurement, median


@dataclass(frozen=True)
class Point:
    """One number of rows, levels or events, with what was measured there."""

    x: int
    rounds: Sequence[Measurement]


@dataclass(frozen=True)
class Curve:
    """A kind of question, asked for more and more."""

    name: str
    what: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Topic:
    """Curves that stand in one table."""

    name: str
    """Of its picture too."""
    title: str
    x: str
    curves: Sequence[str]
    unit: str
    """What one step along the line is."""
    is_log: bool
    """Whether the line is one over the logarithm, as the depth of an index is."""

    def position(self, x: float) -> float:
        """Where the line has this x."""
        return math.log10(x) if self.is_log else x


TOPICS: Final = (
    Topic("rows", "Rows of the answer", "rows", ("rows",), "row", False),
    Topic("depth", "Depth", "levels", ("to-one", "to-many"), "level", False),
    Topic("size", "Size of the table", "op events", ("page", "by id", "aggregate"), "tenfold", True),
)

Value = Callable[[Measurement], float]


def _p50(one: Measurement) -> float:
    return one.p50_ms


def _cpu(one: Measurement) -> float:
    return one.cpu_ms


def markdown(page: Mapping[str, Any], curves: Sequence[Curve]) -> str:
    """The page of results."""
    return "\n".join(["# How cost grows", "", report.told(page), "", taken(page), *tables(curves)]) + "\n"


def taken(page: Mapping[str, Any]) -> str:
    """How the figures came about."""
    return (
        f"The gateway as it is served in production: one worker, {page['pool']} database connections; the limit of the "
        f"rate is off. One connection asks again and again; medians of {page['rounds']} rounds of at least "
        f"{page['seconds']:g} s each, every answer compared byte for byte with one that was checked. Rows and depth "
        f"are measured on a log of {page['events']:,} op events of one tenant, its size while it is filled up: one "
        "event a second, so that more of them are a longer time. CPU is a request's, of server and Postgres together. "
        "Lines are fitted by least squares of the relative deviations; the deviation is that of the point that lies "
        "furthest off."
    )


def tables(curves: Sequence[Curve], heading: str = "##") -> list[str]:
    """A section for each topic, as lines."""
    lines: list[str] = []
    for topic in TOPICS:
        found = [curve for curve in curves if curve.name in topic.curves]
        if not found:
            continue
        lines += ["", f"{heading} {topic.title}", "", *(f"- **{one.name}**: {one.what}" for one in found)]
        lines += ["", f"| | {topic.x} | p50 ms | p99 ms | CPU ms | of it Postgres |", "|---|--:|--:|--:|--:|--:|"]
        for curve in found:
            for point in curve.points:
                figures = [median(point.rounds, value) for value in (_cpu, lambda one: one.database_cpu_ms)]
                columns = [
                    curve.name,
                    f"{point.x:,}",
                    report.number(median(point.rounds, _p50)),
                    report.slowest(point.rounds),
                    *map(report.number, figures),
                ]
                lines.append(f"| {' | '.join(columns)} |")
        lines.append("")
        lines += [sentence for curve in found if (sentence := fitted(topic, curve))]
    return lines


def fitted(topic: Topic, curve: Curve) -> str | None:
    """The lines of a curve in words; None where it has one point only."""
    if len(curve.points) < 2:
        return None
    time, cpu = line_of(topic, curve, _p50), line_of(topic, curve, _cpu)
    growth = _factor(curve, _p50)
    return (
        f"- **{curve.name}**: p50 is {_in_words(time, topic.unit)}; CPU is {_in_words(cpu, topic.unit)}. From "
        f"{curve.points[0].x:,} to {curve.points[-1].x:,} the median grows {report.multiple(growth)} times."
    )


def _in_words(line: Line, unit: str) -> str:
    sign = "-" if line.each < 0 else "+"
    each = f"{abs(line.each) * 1000:.3g} µs" if abs(line.each) < 1 else f"{abs(line.each):.3g} ms"
    return f"{line.fixed:.3g} ms {sign} {each} a {unit}, no point further off than {line.deviation:.0%}"


def _factor(curve: Curve, value: Value) -> float:
    return median(curve.points[-1].rounds, value) / median(curve.points[0].rounds, value)


def line_of(topic: Topic, curve: Curve, value: Value) -> Line:
    """The line through the medians. Raises ValueError as `line_through` does."""
    return line_through([(topic.position(point.x), median(point.rounds, value)) for point in curve.points])


def panels(topic: Topic, curves: Sequence[Curve]) -> list[Panel]:
    """The plots of a topic; none where nothing was measured for it."""
    found = [curve for curve in curves if curve.name in topic.curves]
    if not found:
        return []
    x = Axis(topic.x, log=topic.is_log)
    median_time, cpu_time = Axis("milliseconds"), Axis("CPU milliseconds a request")
    if topic.name == "rows":
        # Three decades: that it is a line is seen on even axes, that it holds for small answers on logarithmic ones.
        wide = Axis(topic.x, log=True), Axis("milliseconds", log=True)
        return [
            Panel("Response time by rows", x, median_time, _both(topic, found[0])),
            Panel("The same, logarithmic", *wide, _both(topic, found[0])),
        ]
    return [
        Panel(f"Response time by {topic.x}, median", x, median_time, [_series(topic, one, _p50) for one in found]),
        Panel(f"CPU by {topic.x}", x, cpu_time, [_series(topic, one, _cpu) for one in found]),
    ]


def _both(topic: Topic, curve: Curve) -> list[Series]:
    slow = [(float(point.x), median(point.rounds, lambda one: one.p99_ms)) for point in curve.points]
    return [_series(topic, curve, _p50, "median"), Series("99th percentile", slow)]


def _series(topic: Topic, curve: Curve, value: Value, name: str | None = None) -> Series:
    points = [(float(point.x), median(point.rounds, value)) for point in curve.points]
    if len(points) < 2:
        return Series(name or curve.name, points)
    line = line_of(topic, curve, value)
    return Series(name or curve.name, points, lambda x: line.at(topic.position(x)))
