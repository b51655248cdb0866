"""What `serve` makes of its process."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from app.cli.serving import settle_collector


@pytest.fixture
def _collector_as_before() -> Iterator[None]:
    thresholds, enabled = gc.get_threshold(), gc.isenabled()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    (gc.enable if enabled else gc.disable)()


@pytest.mark.usefixtures("_collector_as_before")
def test_the_collector_leaves_alone_what_stays_and_what_one_answer_makes() -> None:
    """What is there at the start is never looked at again, and an answer of tens of thousands of objects causes no
    pass."""
    gc.disable()
    settle_collector()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
    passes = sum(generation["collections"] for generation in gc.get_stats())
    answer = [{"row": {"id": number}} for number in range(20_000)]
    assert sum(generation["collections"] for generation in gc.get_stats()) == passes
    del answer
    loops = []
    for _ in range(200_000):
        loop: list[object] = []
        loop.append(loop)
        loops.append(loop)
    del loops
    assert sum(generation["collections"] for generation in gc.get_stats()) > passes, "cycles are still collected"
