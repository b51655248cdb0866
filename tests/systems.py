"""What not every system on which the tests run can do."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

import pytest

from app.cli import huge_pages

_KERNEL: Final = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])

needs_huge_pages: Final = pytest.mark.skipif(
    sys.platform != "linux" or _KERNEL < (6, 1) or not huge_pages.SIZE.exists(),
    reason="only Linux from 6.1 moves memory to huge pages, and not where they were left out of it",
)
