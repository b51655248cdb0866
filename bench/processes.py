"""CPU time and memory of processes, from /proc (Linux), and processes that help to measure."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Stat:
    """One process; times in clock ticks."""

    parent: int
    own: int
    """User and system time of all its threads, those that ended included."""
    reaped: int
    """The same of its children that ended and were waited for."""


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU time used so far, in seconds, by the processes `roots` and everything below them.

    Children that have ended count too once their parent waited for them, so two readings may be subtracted.
    """
    stats = _stats()
    return sum(stats[pid].own + stats[pid].reaped for pid in _trees(roots, stats)) / _TICKS


def resident_bytes(roots: Iterable[int]) -> int:
    """Resident memory (VmRSS) of the processes `roots` and everything below them, in bytes.

    Pages that several of them share count once for each.
    """
    total = 0
    for pid in _trees(roots, _stats()):
        try:
            status = (_PROC / str(pid) / "status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def _stats() -> dict[int, _Stat]:
    """Every process of the machine by its id."""
    found: dict[int, _Stat] = {}
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        try:
            text = (_PROC / entry / "stat").read_text()
        except OSError:
            continue  # it ended meanwhile
        # The name, in parentheses, may itself hold spaces and parentheses.
        fields = text[text.rindex(")") + 2 :].split()
        user, system, user_reaped, system_reaped = (int(value) for value in fields[11:15])
        found[int(entry)] = _Stat(int(fields[1]), user + system, user_reaped + system_reaped)
    return found


def _trees(roots: Iterable[int], stats: dict[int, _Stat]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    found: set[int] = set()
    pending = [pid for pid in roots if pid in stats]
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending += children.get(pid, [])
    return found


@contextmanager
def helper_process(serve: Callable[[Connection], None], name: str) -> Iterator[Connection]:
    """A process that serves the other end of this pipe, for as long as the block lasts."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs,), name=name, daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.kill()
