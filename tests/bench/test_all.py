"""`python -m bench.all` runs every part, whatever becomes of the others, and says at the end what failed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

import pytest
import typer
from typer.testing import CliRunner

from bench import all as everything
from bench.all import PAGES, PARTS, command, run
from bench.results import _READERS


def test_every_part_is_a_program_whose_results_are_read() -> None:
    assert [part.name for part in PARTS] == list(_READERS)
    for part in [*PARTS, PAGES]:
        assert importlib.util.find_spec(part.module) is not None


def test_a_short_run_keeps_the_figures_of_the_long_one() -> None:
    for part in PARTS:
        assert command(part, quick=False) == [sys.executable, "-m", part.module]
        quick = command(part, quick=True)
        assert "--quick" in quick or quick[quick.index("--name") + 1] == f"{part.name}-quick"


def test_a_program_that_fails_or_hangs_is_told() -> None:
    assert run([sys.executable, "-c", "pass"]) is None
    assert run([sys.executable, "-c", "raise SystemExit(3)"]) == "ended with 3"
    assert run([sys.executable, "-c", "import time; time.sleep(60)"], most_seconds=0.5) == "took longer than 0 s"


def _asked(monkeypatch: pytest.MonkeyPatch, failing: str, *options: str) -> tuple[list[str], int, str]:
    """Modules that were run, the exit status, and what was said."""
    modules: list[str] = []

    def ran(arguments: Sequence[str]) -> str | None:
        modules.append(arguments[2])
        return "ended with 1" if arguments[2] == failing else None

    monkeypatch.setattr(everything, "run", ran)
    app = typer.Typer()
    app.command()(everything.main)
    said = CliRunner().invoke(app, list(options))
    return modules, said.exit_code, said.output


def test_one_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    modules, status, said = _asked(monkeypatch, "bench.writes")
    assert modules == [*(part.module for part in PARTS), PAGES.module]
    assert status == 1
    assert "writes: ended with 1" in said
    assert "growth: done" in said


def test_all_is_well_where_none_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _asked(monkeypatch, "none")[1] == 0


def test_parts_may_be_chosen_and_the_pages_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    modules, status, _ = _asked(monkeypatch, "none", "--only", "growth, writes")
    assert (modules, status) == (["bench.writes", "bench.growth", "bench.pages"], 0)
    modules, status, said = _asked(monkeypatch, "none", "--only", "growht")
    assert (modules, status) == ([], 2)
    assert "growht" in said
