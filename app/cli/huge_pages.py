"""Memory that lives as long as the process, on huge pages.

A gateway that has started holds some 80 MB of code, schema and pools, of which each request touches a little
everywhere: with pages of 4 kB the processor forgets where they are before it comes by again. Linux from 6.1 moves
memory that is in use to pages of 2 MB when it is told to (MADV_COLLAPSE in madvise(2)); elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_COLLAPSE: Final = 25
"""MADV_COLLAPSE."""
SIZE: Final = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
"""Where Linux says how many bytes a huge page has; absent where it was built without them."""
_IN_USE: Final = 0.9
"""Which part of a huge page has to be in use already: the rest of it is memory that would be taken for nothing."""
_PRESENT: Final = 0x80
"""In the last byte of a page's eight in pagemap: it is in memory."""


def use_huge_pages() -> int:
    """Move what this process holds now to huge pages, as far as it fills them; how many there are now.

    Stops where the system does not know of them, has no memory for another, or does not allow it.
    """
    try:
        size = int(SIZE.read_text())
        starts = list(_filled(size))
        madvise = ctypes.CDLL(None).madvise
    except (OSError, ValueError, AttributeError):
        return 0
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for number, start in enumerate(starts):
        if madvise(start, size, _COLLAPSE) != 0:
            return number
    return len(starts)


def _filled(size: int) -> Iterator[int]:
    """Where in this process's own memory a huge page would begin that is in use, nearly all of it."""
    small = os.sysconf("SC_PAGESIZE")
    with open("/proc/self/maps") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pages:
        for line in maps.readlines():
            place, kind, _, _, _, *name = line.split(maxsplit=5)
            if kind != "rw-p" or (name and not name[0].startswith(("[heap]", "[anon"))):
                continue
            begin, end = (int(address, 16) for address in place.split("-"))
            for start in range(-(-begin // size) * size, end - size + 1, size):
                found = os.pread(pages.fileno(), size // small * 8, start // small * 8)
                if sum(last & _PRESENT for last in found[7::8]) >= _IN_USE * _PRESENT * (size // small):
                    yield start
