"""The embedded Postgres under force, many times over (`make test-long`)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.embedded import EmbeddedPostgres
from tests.db.servers import FAST, OTHER_PROCESS, ask, postmaster

_ROUNDS = 60


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_force_at_any_moment_never_stops_the_next_start_and_loses_nothing(tmp_path: Path) -> None:
    """A user, the server or both are killed at a random moment of their life; what was committed stays."""
    dice = random.Random(20)
    directory = tmp_path / "data"
    with EmbeddedPostgres(directory, settings=FAST) as server:
        ask(server.url(), "CREATE TABLE kept (round int)")
    for number in range(_ROUNDS):
        other = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        try:
            time.sleep(dice.uniform(0, 1.5))
            if dice.random() < 0.5:
                with contextlib.suppress(FileNotFoundError, IndexError, ProcessLookupError):
                    os.kill(postmaster(directory), dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT]))
            if dice.random() < 0.8:
                other.kill()
        finally:
            other.kill()
            other.communicate()
        with EmbeddedPostgres(directory, settings=FAST) as server:
            ask(server.url(), f"INSERT INTO kept VALUES ({number}) RETURNING round")
            assert ask(server.url(), "SELECT count(*) FROM kept") == number + 1
