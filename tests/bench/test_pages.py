"""What is told of the results: up to date, the same each time, and without the parts that nobody measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.contenders import ROOT
from bench.pages import BEGIN, END, PAGE, PICTURES, README, block, files, page, with_block
from bench.results import Results, load
from tests.bench import samples
from tests.bench.samples import measured

CURVES = {
    "rows": {10: 1.1, 100: 2.0, 1_000: 11.0},
    "to-one": {1: 1.0, 2: 2.0, 3: 3.0},
    "to-many": {1: 1.0, 2: 3.0, 3: 5.0},
    "page": {10_000: 4.0, 100_000: 4.1, 1_000_000: 4.2},
    "by id": {10_000: 0.5, 100_000: 0.5, 1_000_000: 0.6},
    "aggregate": {10_000: 2.0, 100_000: 2.0, 1_000_000: 2.0},
}
FILES: dict[str, Any] = {
    "reads": samples.reads(
        {
            "gateway": measured(1_234, p99=8.5, cpu=0.4),
            "plain": measured(40),
            "bare": measured(1_500),
            "same": measured(1_300),
            "postgraphile": measured(617, p99=9.5, cpu=1.5),
        }
    ),
    "writes": samples.writes({"M1": 500.0, "P1": 400.0, "M1, plain": 100.0, "M1, PostGraphile": 800.0}),
    "ingest": samples.ingest({"copy": 100_000.0, "ndjson": 60_000.0, "graphql": 30_000.0}),
    "fanout": samples.fanout(30_000.0, p99=40.0),
    "idle": samples.idle(),
    "policy": samples.policy(),
    "growth": samples.growth(CURVES),
}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return load(samples.save(tmp_path, **FILES))


def test_the_committed_pages_are_what_the_committed_results_say() -> None:
    """Print them anew with `make docs`."""
    made = files(load(), (ROOT / README).read_text())
    for path, text in made.items():
        assert (ROOT / path).read_text() == text, path
    pictures = {path.relative_to(ROOT) for path in (ROOT / PICTURES).glob("*.svg")}
    assert pictures == {path for path in made if path.suffix == ".svg"}


def test_the_same_results_give_the_same_files(results: Results, tmp_path: Path) -> None:
    readme = f"a\n{BEGIN}\nold\n{END}\nb\n"
    made = files(results, readme)
    assert made == files(load(tmp_path), made[README])
    assert made.keys() == {README, PAGE, *(PICTURES / f"{name}.svg" for name in ("rows", "depth", "size"))}


def test_the_page_has_every_part(results: Results) -> None:
    text = page(results)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Aims",
        "Reads",
        "Writes",
        "Op events coming in",
        "Live",
        "Idle subscriptions",
        "Policy",
        "How cost grows",
    ]
    assert "2026-11-28 20:00 UTC, 5 minutes, commit abc1234." in text
    assert "| postgraphile | 16 | requests/s | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |" in text
    assert "| M1, plain | 8 | 16 | 5.00 | 1.00 |" in text
    assert "| ndjson | 8 | 60,000 | 0.60 |" in text
    assert "| gateway | 1,000 | 1 | 60,000 | 30,000 | 30.0 |" in text
    assert "20.0 µs median" in text
    assert "p50 is 1 ms + 10 µs a row, no point further off than 0%" in text
    assert "- **to-many**: p50 is -1 ms + 2 ms a level, no point further off than 0%" in text
    for name in re.findall(r"\]\((performance/\w+\.svg)\)", text):
        assert Path("docs") / name in files(results, f"{BEGIN}{END}")


def test_the_page_says_which_aims_were_met(results: Results) -> None:
    lines = [line for line in page(results).splitlines() if line.startswith(("| 5 |", "| 6 |"))]
    assert len(lines) == 15
    (missed,) = [line for line in lines if line.endswith("| **not met** |")]
    assert "2.5 times PostGraphile's, geometric mean of the five queries | 2.00 / 2.00 / 2.00 at" in missed


@pytest.mark.parametrize("name", FILES)
def test_a_part_whose_file_is_missing_is_left_out(tmp_path: Path, name: str) -> None:
    without = load(samples.save(tmp_path, **{one: data for one, data in FILES.items() if one != name}))
    made = files(without, f"{BEGIN}{END}")
    assert f"results/{name}.md" not in made[PAGE]
    assert made[PAGE].count("\n## ") == len(FILES)


def test_without_results_the_page_makes_no_claims(tmp_path: Path) -> None:
    made = files(load(tmp_path), f"{BEGIN}{END}")
    assert made.keys() == {PAGE, README}
    assert made[PAGE].count("not measured") == 15
    assert "has been measured yet" in made[README]


def test_every_measured_point_is_on_its_plot(results: Results) -> None:
    made = files(results, f"{BEGIN}{END}")
    for name, points in (("rows", 2 * 2 * 3), ("depth", 2 * 2 * 3), ("size", 2 * 3 * 3)):
        root = ElementTree.fromstring(made[PICTURES / f"{name}.svg"])
        assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == points, name


def test_the_block_compares_at_16_connections(results: Results) -> None:
    text = block(results)
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert head == "| | Fleetgraph | PostGraphile | plain Strawberry | x PostGraphile | x plain Strawberry |"
    assert rows[0] == "| Q1 | 1,234 · 8.5 · 0.4 | 617 · 9.5 · 1.5 | 40 · 2 · 1 | 2.00 | 30.9 |"
    assert rows[-1] == "| M1 | 500 · 2 · 1 | 800 · 2 · 1 | 100 · 2 · 1 | 0.62 | 5.00 |"
    assert [row[2:4] for row in rows] == ["Q1", "Q2", "Q3", "Q4", "Q5", "M1"]
    assert "Of the 15 aims that were measured 14 are met; not met: requests/s at least 2.5 times PostGraphile's" in text


def test_the_block_leaves_out_who_took_no_part(tmp_path: Path) -> None:
    only = {"gateway": measured(10), "plain": measured(5)}
    text = block(load(samples.save(tmp_path, reads=samples.reads(only))))
    assert text.splitlines()[0] == "| | Fleetgraph | plain Strawberry | x plain Strawberry |"
    assert "PostGraphile |" not in text


def test_the_block_stands_between_its_marks_and_nothing_else_changes() -> None:
    readme = f"# A\n{BEGIN}\nold \\1\n{END}\n## B\n"
    assert with_block(readme, r"new \1 \n") == f"# A\n{BEGIN}\nnew \\1 \\n\n{END}\n## B\n"
    for broken in ("# A", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"):
        with pytest.raises(ValueError, match=r"README\.md needs"):
            with_block(broken, "new")
