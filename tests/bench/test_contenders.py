"""All contenders are started as the benchmark starts them, and give the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import postgraphile

_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmark reads /proc, which Linux alone has")
def test_contenders_agree_on_every_query(tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLEETGRAPH_")}
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "--size", "small", "--compare-only"],
        cwd=_ROOT,
        env={**inherited, "FLEETGRAPH_BENCH_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "The answers of all contenders are equal." in ran.stderr
    for name in ("gateway", "plain", "bare"):
        assert (tmp_path / "small" / "logs" / f"{name}.log").stat().st_size > 0


def test_an_unknown_contender_is_named_with_those_that_are_known() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "--contenders", "gatway"],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "gatway" in ran.stderr
    assert "gateway, plain, bare" in ran.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which Linux alone has")
def test_postgraphiles_process_is_node_itself() -> None:
    """A script around it would be ended alone, and the server go on for ever."""
    process = subprocess.Popen([postgraphile.node(), "-e", "setInterval(() => {}, 1000)"])
    try:
        assert Path(f"/proc/{process.pid}/exe").readlink().name == "node"
    finally:
        process.terminate()
        process.wait(30)
