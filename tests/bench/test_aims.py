"""The table of aims says what was reached, what was not, and what nobody measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.aims import Aim, aims
from bench.results import load
from tests.bench import samples
from tests.bench.samples import measured

GOOD = {
    "gateway": measured(300, p99=2.0, cpu=0.4),
    "plain": measured(9, cpu=20.0),
    "bare": measured(400, cpu=0.5),
    "same": measured(330, cpu=0.4),
    "postgraphile": measured(100, p99=2.0, cpu=1.0),
}
ALL: dict[str, Any] = {
    "reads": samples.reads(GOOD),
    "writes": samples.writes({"M1": 100.0, "M1, plain": 30.0, "M1, PostGraphile": 150.0}),
    "ingest": samples.ingest({"copy": 100.0, "ndjson": 60.0}),
    "fanout": samples.fanout(30_000.0, p99=40.0),
    "idle": samples.idle(),
}


def _found(directory: Path, **files: Any) -> dict[str, Aim]:
    return {one.text: one for one in aims(load(samples.save(directory, **files)))}


def _one(found: dict[str, Aim], part: str) -> Aim:
    (one,) = (aim for text, aim in found.items() if part in text)
    return one


def test_all_of_them_can_be_met(tmp_path: Path) -> None:
    found = _found(tmp_path, **ALL)
    assert {text: one.figure for text, one in found.items() if not one.met} == {}
    assert [one.issue for one in found.values()].count(5) == 5
    assert _one(found, "2.5 times PostGraphile").figure == "3.00 / 3.00 / 3.00 at 1 / 16 / 64 connections"
    assert _one(found, "13 of the 15").figure.startswith("in 15 of 15")
    assert _one(found, "30 times plain").figure == "Q2 33.3, Q3 33.3, Q4 33.3, Q5 33.3"
    assert _one(found, "raw COPY").figure == "60%"


def test_without_results_nothing_is_claimed(tmp_path: Path) -> None:
    found = _found(tmp_path)
    assert found.keys() == _found(tmp_path, **ALL).keys()
    assert {(one.figure, one.verdict) for one in found.values()} == {("", "not measured")}


def test_contenders_that_took_no_part_leave_their_aims_unmeasured(tmp_path: Path) -> None:
    found = _found(tmp_path, reads=samples.reads({"gateway": GOOD["gateway"]}))
    assert [text for text, one in found.items() if one.met is not None] == ["under 150 MB resident a worker"]


def _slow(**cells: Any) -> dict[str, Any]:
    """Results of reads in which the gateway is worse in one cell, or the cells of one query."""
    query, count = cells.pop("query"), cells.pop("count", None)
    worse = {("gateway", query, one): measured(**cells) for one in samples.CONNECTIONS if count in (None, one)}
    return {"reads": samples.reads(GOOD, worse)}


@pytest.mark.parametrize(
    ("part", "files", "figure"),
    [
        ("2.5 times PostGraphile", _slow(query="Q4", per_second=100.0, cpu=0.4), "2.41 / 2.41 / 2.41"),
        ("never below 1.5", _slow(query="Q4", count=64, per_second=140.0), "1.40 on Q4 at 64"),
        ("half of PostGraphile's, geom", _slow(query="Q2", per_second=300.0, cpu=4.0), "4.00 on Q2"),
        ("13 of the 15", _slow(query="Q5", per_second=300.0, p99=2.6), "in 12 of 15; most: 1.30 on Q5"),
        ("30 times plain", _slow(query="Q3", count=16, per_second=260.0), "Q3 28.9"),
        ("80 %", _slow(query="Q1", per_second=90.0), "0.27 on Q1"),
        ("single statement", _slow(query="Q3", count=1, per_second=300.0, cpu=0.6), "1.20 / 0.80 / 0.80"),
        ("150 MB", _slow(query="Q1", count=1, resident=151_000_000), "151 MB"),
        (
            "M1 over eight tenants: requests/s at least 2.5",
            {"writes": samples.writes({"M1": 70, "M1, plain": 30})},
            "2.33",
        ),
        ("checks nothing", {"writes": samples.writes({"M1": 70, "M1, PostGraphile": 150})}, "0.47"),
        ("raw COPY", {"ingest": samples.ingest({"copy": 100.0, "ndjson": 49.0})}, "49%"),
        ("per CPU second", {"fanout": samples.fanout(19_000.0, p99=40.0)}, "19.0 times"),
        ("1,000 events a second", {"fanout": samples.fanout(30_000.0, p99=101.0)}, "101 ms, with 100 subscribers"),
        ("45 KB", {"idle": samples.idle(kilobytes=46.0)}, "46.0 KB"),
        ("ten minutes", {"idle": samples.idle(minutes=9.0)}, "10,000 for 9 minutes"),
    ],
)
def test_what_was_not_reached_says_so(tmp_path: Path, part: str, files: dict[str, Any], figure: str) -> None:
    """Each aim is missed here by a little; one cell is enough where it is to hold everywhere."""
    one = _one(_found(tmp_path, **files), part)
    assert figure in one.figure
    assert one.verdict == "**not met**"


def test_two_cells_of_fifteen_may_have_a_longer_tail(tmp_path: Path) -> None:
    worse = {("gateway", query, 1): measured(300, p99=9.0) for query in ("Q1", "Q2")}
    one = _one(_found(tmp_path, reads=samples.reads(GOOD, worse)), "13 of the 15")
    assert (one.met, one.figure.split(";")[0]) == (True, "in 13 of 15")


def test_a_round_without_right_answers_reaches_nothing(tmp_path: Path) -> None:
    """Its figures are NaN, which JSON writes as null."""
    nan = float("nan")
    none = measured(0.0, p50=nan, p99=nan, cpu=nan)
    found = _found(tmp_path, reads=samples.reads(GOOD, {("gateway", "Q3", 64): none}))
    for part in ("2.5 times PostGraphile", "never below", "half of PostGraphile's, geom", "single statement"):
        assert _one(found, part).met is False, part
