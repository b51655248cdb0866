"""What `serve` does with its memory once it has started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.cli import huge_pages
from app.cli.huge_pages import use_huge_pages
from tests.systems import needs_huge_pages

_PROGRAM = """
import json, mmap
from pathlib import Path
from app.cli import huge_pages

def told():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(kilobytes.split()[0]) for name, kilobytes in (line.split(":") for line in lines)}

values = [str(number).encode() * 5 for number in range(1_000_000)]
reserved = mmap.mmap(-1, 64 << 20)
sparse = mmap.mmap(-1, 64 << 20)
for place in range(0, 64 << 20, 1 << 16):
    sparse[place] = 1
before = told()
moved = huge_pages.use_huge_pages()
print(json.dumps([moved, before, told(), values == [str(number).encode() * 5 for number in range(1_000_000)]]))
"""


@needs_huge_pages
def test_what_is_in_use_moves_to_huge_pages_and_nothing_else() -> None:
    """Memory that is only reserved, or hardly used, is not taken."""
    output = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True).stdout
    moved, before, after, unchanged = json.loads(output)
    assert unchanged
    assert before["AnonHugePages"] == 0
    assert moved >= 10, "1,000,000 objects fill some 80 MB"
    assert after["AnonHugePages"] >= 2048 * moved
    assert after["Rss"] < 1.1 * before["Rss"]


def test_a_system_without_huge_pages_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huge_pages, "SIZE", tmp_path / "hpage_pmd_size")
    assert use_huge_pages() == 0


@needs_huge_pages
def test_a_system_that_refuses_one_is_asked_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is short of memory, or too old, or does not allow it: each further call would be in vain."""
    asked: list[int] = []

    class Refusing:
        def __init__(self, _name: None) -> None: ...

        @staticmethod
        def madvise(start: int, _size: int, _advice: int) -> int:
            asked.append(start)
            return -1 if len(asked) == 3 else 0

    places: Any = iter(range(0, 10 << 21, 1 << 21))
    monkeypatch.setattr("ctypes.CDLL", Refusing)
    monkeypatch.setattr(huge_pages, "_filled", lambda _size: places)
    assert use_huge_pages() == 2
    assert asked == [0, 1 << 21, 2 << 21]
