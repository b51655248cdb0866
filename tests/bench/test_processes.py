"""CPU time and memory are those of a process and of everything below it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.processes import cpu_seconds, resident_bytes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc, which Linux alone has")

_BURN = """
import sys, time
held = bytearray({megabytes} * 1_000_000)
end = time.process_time() + {seconds}
while time.process_time() < end:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def _burner(seconds: float, megabytes: int = 0) -> str:
    return _BURN.format(seconds=seconds, megabytes=megabytes)


def test_children_count_while_they_run_and_after_they_ended() -> None:
    parent = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {_burner(0.3)!r}], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
child = subprocess.Popen([sys.executable, "-c", {_burner(0.3, 60)!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        # Less than two thirds of the sum would mean that one of the two is missing.
        assert 0.55 < cpu_seconds([process.pid]) < 3
        assert resident_bytes([process.pid]) > 60_000_000
        process.stdin.close()


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        pass
    assert cpu_seconds([process.pid]) == 0
    assert resident_bytes([process.pid]) == 0
