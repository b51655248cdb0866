"""What a benchmark saves is what is read back, and its page says the same."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from bench import policy, report
from bench.growth_page import Curve, Point
from bench.live import idle
from bench.results import load
from bench.rounds import Measurement
from tests.bench import samples


def _page() -> dict[str, object]:
    return {**samples.CIRCUMSTANCES, **report.circumstances(samples.CIRCUMSTANCES["began"], 0.25)}


def test_policy(tmp_path: Path) -> None:
    found = [policy.timed("warm", policy.warm(), 5), policy.timed("cold", policy.cold(), 5)]
    page = _page()
    report.save("policy", policy.markdown(page, found), {**page, "figures": [asdict(one) for one in found]}, tmp_path)
    read = load(tmp_path).policy
    assert read is not None
    assert read.figures == found
    text = (tmp_path / "policy.md").read_text()
    for one in found:
        assert f"- policy, pure, {one.way}: {one.median_us:.1f} µs median, {one.p99_us:.1f} µs p99" in text
    assert text.count("of the aim of 50") == 1


def test_idle(tmp_path: Path) -> None:
    found = idle.Soaked(10_000, 10, 10.0, 11.1, 31.1 * 1024, 31.2 * 1024, 0.022, 0.49)
    page = _page()
    report.save("idle", idle.markdown(page, found), {**page, "figures": asdict(found)}, tmp_path)
    read = load(tmp_path).idle
    assert read is not None
    assert read.figures == found
    assert "10,000 idle subscriptions in 10 groups" in (tmp_path / "idle.md").read_text()
    assert "31.2 KB at the end; 2.2% of a CPU" in found.said


def test_growth_and_a_figure_that_was_none(tmp_path: Path) -> None:
    nan = float("nan")
    curve = Curve(
        "rows", "rows", [Point(10, [samples.measured(), Measurement(0, 3, "no", 2, 0, nan, nan, nan, nan, 1, 0)])]
    )
    report.save("growth", "", {**_page(), "curves": [asdict(curve)]}, tmp_path)
    read = load(tmp_path).growth
    assert read is not None
    (point,) = read.curves[0].points
    assert point.rounds[0] == samples.measured()
    assert math.isnan(point.rounds[1].p50_ms)
    assert point.rounds[1].failure == "no"
    assert report.slowest(point.rounds) == "- max"
    assert report.told(read.page) == report.told(_page() | {"ended": read.page["ended"]})


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert set(vars(load(tmp_path)).values()) == {None}
