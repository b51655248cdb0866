"""`python -m bench.all` runs every part, whatever becomes of the others, and says at the end what failed."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path

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
    assert run([sys.executable, "-c", "import time; time.sleep(60)"], 0.5, 5) == "took longer than 0 s"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which Linux alone has")
def test_what_does_not_stop_is_killed_with_what_it_started(tmp_path: Path) -> None:
    """The servers of a benchmark that hangs must not go on beside the next one."""
    started = tmp_path / "pid"
    script = f"""
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
open({str(started)!r}, "w").write(str(child.pid))
time.sleep(100)
"""
    assert run([sys.executable, "-c", script], most_seconds=2, stop_seconds=0.2) == "took longer than 2 s"
    child = int(started.read_text())
    until = time.monotonic() + 10
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether a process is there and not merely waiting for its parent to notice that it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


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
