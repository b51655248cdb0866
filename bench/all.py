"""`python -m bench.all`: every benchmark in turn, each in a process of its own, and then the pages about them.

    make bench                                     # everything: about an hour on a quiet machine
    make bench ARGS=--quick                        # a short run of all, to see that they work; not for figures
    python -m bench.all --only writes,growth

One that fails does not stop the others; what is said at the end, and the exit status, tell of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from app.cli.showing import console
from bench.contenders import ROOT

_MOST_SECONDS: Final = 3600.0
"""How long one part may take: far longer than any does, so that one that hangs does not hold up the others."""
_STOP_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Part:
    """One benchmark, or what comes after them."""

    name: str
    module: str
    quick: Sequence[str] = ()
    """Its arguments for a short run, whose results have names of their own."""


PARTS: Final = (
    Part("reads", "bench", ("--quick",)),
    Part("writes", "bench.writes", ("--rounds", "1", "--seconds", "0.5", "--name", "writes-quick")),
    Part("ingest", "bench.ingest", ("--rounds", "1", "--events", "10000", "--name", "ingest-quick")),
    Part("fanout", "bench.live.fanout", ("--seconds", "2", "--cells", "1:1,100:10", "--name", "fanout-quick")),
    Part(
        "idle",
        "bench.live.idle",
        ("--connections", "200", "--minutes", "0.2", "--name", "idle-quick"),
    ),
    Part("policy", "bench.policy", ("--name", "policy-quick")),
    Part("growth", "bench.growth", ("--quick",)),
)
PAGES: Final = Part("pages", "bench.pages")
"""Always the last."""


def command(part: Part, quick: bool) -> list[str]:
    """The program of a part."""
    return [sys.executable, "-m", part.module, *(part.quick if quick else ())]


def run(
    arguments: Sequence[str], most_seconds: float = _MOST_SECONDS, stop_seconds: float = _STOP_SECONDS
) -> str | None:
    """Runs a program to its end; None where all was well, else what was wrong.

    One that takes longer than `most_seconds` is told to stop, and has `stop_seconds` to put its servers away; then it
    is killed together with them, so that nothing goes on beside the next benchmark.
    """
    # In a group of its own, which the terminal's Ctrl-C does not reach: it is passed on below.
    process = subprocess.Popen(list(arguments), cwd=ROOT, start_new_session=True)
    try:
        status = process.wait(most_seconds)
    except subprocess.TimeoutExpired:
        _stop(process, stop_seconds)
        return f"took longer than {most_seconds:,.0f} s"
    except KeyboardInterrupt:
        _stop(process, stop_seconds)
        raise
    return None if status == 0 else f"ended with {status}"


def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(
    quick: Annotated[bool, typer.Option(help="A short run of everything: to see that all works.")] = False,
    only: Annotated[str, typer.Option(help="Names of parts, separated by commas.")] = "",
) -> None:
    """Run every benchmark, then print the pages anew."""
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in {part.name for part in PARTS}]
    if unknown:
        known = ", ".join(part.name for part in PARTS)
        raise typer.BadParameter(f"{known} are known, {', '.join(unknown)} was given.", param_hint="--only")
    told, failed = [], 0
    for part in [*(part for part in PARTS if not names or part.name in names), PAGES]:
        console.rule(part.name)
        began = time.monotonic()
        wrong = run(command(part, quick and part is not PAGES))
        failed += wrong is not None
        told.append(f"{part.name}: {wrong or 'done'} ({time.monotonic() - began:,.0f} s)")
    console.rule("all")
    for line in told:
        console.print(line)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
