"""Plots as SVG: points, lines and axes, in colours that can be read on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

_WIDTH: Final = 400
"""Of one panel, with its margins."""
_HEIGHT: Final = 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 36, 44, 46
"""Margins of a panel."""
_SAMPLES: Final = 40
"""Pieces that a line is drawn in; on axes that are not both linear it is a curve."""
_TICKS: Final = 5
"""About as many ticks as a linear axis has."""
_STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #444c56 }
.title { font-weight: 600; font-size: 13px }
.axis { stroke: #848d97; fill: none }
.grid { stroke: #848d97; stroke-opacity: .25 }
.s0 { fill: #0969da; stroke: #0969da }
.s1 { fill: #bc4c00; stroke: #bc4c00 }
.s2 { fill: #1a7f37; stroke: #1a7f37 }
polyline { fill: none !important; stroke-width: 1.5; stroke-opacity: .7 }
@media (prefers-color-scheme: dark) {
  text { fill: #c9d1d9 }
  .s0 { fill: #58a6ff; stroke: #58a6ff }
  .s1 { fill: #f0883e; stroke: #f0883e }
  .s2 { fill: #56d364; stroke: #56d364 }
}
"""
MOST_SERIES: Final = 3
"""As many series of one panel have a colour."""


@dataclass(frozen=True)
class Series:
    """Points that belong together."""

    name: str
    points: Sequence[tuple[float, float]]
    line: Callable[[float], float] | None = None
    """What is drawn through them."""


@dataclass(frozen=True)
class Axis:
    """What is drawn along it, and how: a linear axis begins at 0, a logarithmic one at a power of ten."""

    title: str
    log: bool = False


@dataclass(frozen=True)
class Panel:
    """One plot; a picture may have several beside each other."""

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]


@dataclass(frozen=True)
class _Scale:
    """From values to places on the picture."""

    ticks: Sequence[float]
    log: bool
    begin: float
    end: float

    def place(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.begin + (value - low) / (high - low) * (self.end - self.begin)


def picture(title: str, panels: Sequence[Panel]) -> str:
    """The SVG, as text. `title` is for those who do not see it.

    Raises ValueError for a panel without points, with more than `MOST_SERIES`, or with values that its axes cannot
    show: negative ones, and 0 on a logarithmic one.
    """
    width = _WIDTH * len(panels)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}" '
        f'role="img" aria-label={quoteattr(title)}>',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
    ]
    for number, panel in enumerate(panels):
        lines += [f'<g transform="translate({_WIDTH * number} 0)">', *_panel(panel), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(panel: Panel) -> Iterator[str]:
    if len(panel.series) > MOST_SERIES:
        raise ValueError(f"{panel.title}: {len(panel.series)} series, of {MOST_SERIES} that can be told apart")
    places = [point for series in panel.series for point in series.points]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    x = _Scale(_ticks(panel.x, [place[0] for place in places]), panel.x.log, _LEFT, right)
    y = _Scale(_ticks(panel.y, [place[1] for place in places]), panel.y.log, bottom, _TOP)
    yield f'<text class="title" x="{_LEFT}" y="18">{escape(panel.title)}</text>'
    for tick in y.ticks:
        at = _number(y.place(tick))
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{_LEFT - 6}" y="{at}" text-anchor="end" dominant-baseline="central">{_label(tick)}</text>'
    for tick in x.ticks:
        at = _number(x.place(tick))
        yield f'<line class="axis" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 4}"/>'
        yield f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{_label(tick)}</text>'
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>'
    middle = (_LEFT + right) // 2
    yield f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(panel.x.title)}</text>'
    yield (
        f'<text x="14" y="{(_TOP + bottom) // 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {(_TOP + bottom) // 2})">{escape(panel.y.title)}</text>'
    )
    for number, series in enumerate(panel.series):
        yield from _series(series, number, x, y)
    if len(panel.series) > 1:
        yield from _legend(panel.series)


def _series(series: Series, number: int, x: _Scale, y: _Scale) -> Iterator[str]:
    if series.line is not None:
        first, last = (end(point[0] for point in series.points) for end in (min, max))
        drawn = [(one, series.line(one)) for one in _between(first, last, x.log)]
        # What would lie below the axis is not drawn.
        shown = [f"{_number(x.place(a))},{_number(y.place(b))}" for a, b in drawn if b >= y.ticks[0]]
        yield f'<polyline class="s{number}" points="{" ".join(shown)}"/>'
    for a, b in series.points:
        yield f'<circle class="s{number}" cx="{_number(x.place(a))}" cy="{_number(y.place(b))}" r="3.5"/>'


def _legend(series: Sequence[Series]) -> Iterator[str]:
    at = _LEFT
    for number, one in enumerate(series):
        yield f'<rect class="s{number}" x="{at}" y="26" width="8" height="8"/>'
        yield f'<text x="{at + 13}" y="34">{escape(one.name)}</text>'
        at += 28 + 7 * len(one.name)


def _between(first: float, last: float, log: bool) -> list[float]:
    """Values from the first to the last, evenly spread as they are drawn."""
    parts = [part / _SAMPLES for part in range(_SAMPLES + 1)]
    if log:
        return [first * (last / first) ** part for part in parts]
    return [first + (last - first) * part for part in parts]


def _ticks(axis: Axis, values: Sequence[float]) -> Sequence[float]:
    """Round values from one that is not above the smallest to one that is not below the largest."""
    if not values:
        raise ValueError(f"{axis.title}: no points")
    low, high = min(values), max(values)
    if low < 0 or (axis.log and low == 0):
        raise ValueError(f"{axis.title}: {low} has no place on this axis")
    if axis.log:
        begin = math.floor(math.log10(low))
        end = max(math.ceil(math.log10(high)), begin + 1)
        return [10.0**power for power in range(begin, end + 1)]
    step = _round_step(high / _TICKS)
    return [step * number for number in range(math.ceil(high / step) + 1)]


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, not below this."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * 0.999)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 and abs(value - round(value)) < 1e-6 else f"{value:.6g}"
