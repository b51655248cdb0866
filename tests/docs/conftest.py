"""The gateway as `make run` starts it: a process of its own, from an empty directory, with the demo fleet."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Served:
    """What `fleetgraph serve` printed."""

    url: str
    link: str
    """The address with the token in its fragment."""
    token: str


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway on a free port, its demo fleet fresh; stopped in good order at the end."""
    directory = tmp_path_factory.mktemp("served")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLEETGRAPH_")}
    settings = {"FLEETGRAPH_DATA_DIR": str(directory / "data"), "FLEETGRAPH_PORT": "0"}
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "serve"],
            cwd=Path(__file__).resolve().parents[2],
            env={**inherited, **settings},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    too_late = threading.Timer(240, process.kill)
    too_late.start()
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", line):
                break
        link = re.search(r"http://\S+#token=(\S+)", printed)
        assert link is not None, f"{printed}\n{(directory / 'log').read_text()}"
        yield Served(link[0].partition("#")[0], link[0], link[1])
    finally:
        too_late.cancel()
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        process.wait(60)
