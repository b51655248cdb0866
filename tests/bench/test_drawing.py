"""Plots: well-formed SVG that shows every point where it belongs."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.drawing import MOST_SERIES, Axis, Panel, Series, picture

_SVG = "{http://www.w3.org/2000/svg}"


def _drawn(*panels: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(picture('Rows & "depth" < size', panels))


def _places(root: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter(f"{_SVG}circle")]


def _labels(root: ElementTree.Element) -> set[str]:
    return {one.text or "" for one in root.iter(f"{_SVG}text")}


def test_every_point_is_a_circle_and_every_line_is_drawn() -> None:
    rows, slow = [(10.0, 1.0), (100.0, 2.0), (1_000.0, 11.0)], [(10.0, 3.0), (1_000.0, 30.0)]
    series = [Series("median", rows, lambda x: 0.9 + 0.01 * x), Series("99th percentile", slow)]
    linear = Panel("By rows", Axis("rows"), Axis("ms"), series)
    log = Panel("The same", Axis("rows", log=True), Axis("ms", log=True), series)
    root = _drawn(linear, log)
    assert root.tag == f"{_SVG}svg"
    assert root.attrib["aria-label"] == 'Rows & "depth" < size'
    assert len(_places(root)) == 2 * (len(rows) + len(slow))
    assert len(list(root.iter(f"{_SVG}polyline"))) == 2
    assert {"By rows", "The same", "median", "99th percentile", "rows", "ms"} <= _labels(root)
    assert not [one for one in root.iter() if one.tag == f"{_SVG}script" or any(a.startswith("on") for a in one.attrib)]


def test_points_stand_where_their_axes_say() -> None:
    """On a linear axis from 0, twice as much is twice as far; on a logarithmic one each tenfold is as far."""
    points = [(1.0, 10.0), (10.0, 20.0), (100.0, 40.0)]
    (a, b, c) = _places(_drawn(Panel("", Axis("x", log=True), Axis("y"), [Series("s", points)])))
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.11)
    bottom = 2 * a[1] - b[1]  # where 0 is
    assert bottom - c[1] == pytest.approx(4 * (bottom - a[1]), abs=0.5)
    assert a[1] > b[1] > c[1]


def test_axes_reach_around_the_points_with_round_ticks() -> None:
    root = _drawn(Panel("", Axis("x", log=True), Axis("y"), [Series("s", [(30.0, 0.07), (20_000.0, 0.34)])]))
    assert {"10", "100", "1,000", "10,000", "100,000", "0", "0.1", "0.2", "0.3", "0.4"} <= _labels(root)


def test_it_can_be_read_on_a_dark_page() -> None:
    style = _drawn(Panel("", Axis("x"), Axis("y"), [Series("s", [(1.0, 1.0)])])).findtext(f"{_SVG}style")
    assert style is not None
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for number in range(MOST_SERIES):
        assert f".s{number} " in light
        assert f".s{number} " in dark


@pytest.mark.parametrize(
    ("x", "series", "complaint"),
    [
        (Axis("rows"), [], "no points"),
        (Axis("rows"), [Series("s", [(-1.0, 1.0)])], "no place"),
        (Axis("rows", log=True), [Series("s", [(0.0, 1.0)])], "no place"),
        (Axis("rows"), [Series("s", [(1.0, 1.0)])] * (MOST_SERIES + 1), "told apart"),
    ],
)
def test_what_cannot_be_shown_is_refused(x: Axis, series: list[Series], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        picture("", [Panel("", x, Axis("y"), series)])
