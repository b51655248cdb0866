"""The benchmark of op events coming in: every way sends the same events, and the page says whether the aim is met."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bench.ingest import _COLUMNS, COPY_ROWS, Measured, Work, _copy, _events, _graphql, _ndjson, markdown
from db.ids import new_id

WORK = [Work(*(new_id() for _ in range(6))) for _ in range(3)]


def test_every_way_sends_the_same_events() -> None:
    """Each event once, in requests that know their length; COPY has every column and numbers without a gap."""
    events = _events(WORK, COPY_ROWS + 500)
    assert len({event["eventId"] for _, event in events}) == len(events)
    lines = [line for request in _ndjson("t", 1, events) for line in body_of(request).split(b"\n")]
    assert [orjson.loads(line) for line in lines] == [event for _, event in events]
    sent: list[Any] = []
    for request in _graphql("t", 1, events):
        sent += orjson.loads(body_of(request))["variables"]["input"]["events"]
    assert sent == [event for _, event in events]
    rows = [line.split("\t") for part in _copy(7, events) for line in part.decode().splitlines()]
    assert {len(row) for row in rows} == {len(_COLUMNS)}
    assert [int(row[-1]) for row in rows] == list(range(7, 7 + len(events)))


def body_of(request: bytes) -> bytes:
    head, body = request.split(b"\r\n\r\n", 1)
    assert f"Content-Length: {len(body)}".encode() in head
    return body


@pytest.mark.parametrize(("ours", "verdict"), [(60.0, "60%, reached"), (40.0, "40%, not reached")])
def test_the_page_compares_what_was_measured_in_the_same_round(ours: float, verdict: str) -> None:
    def measured(per_second: float) -> Measured:
        return Measured(1, 1.0, per_second, 1.0, 1.0, 1.0, 0.1)

    cells = {
        (way, writers): [measured(speed * factor) for factor in (1, 10)]
        for way, speed in (("copy", 100.0), ("ndjson", ours), ("graphql", 10.0))
        for writers in (1, 8)
    }
    began = datetime(2026, 1, 1, tzinfo=UTC)
    page = {"began": began, "ended": began + timedelta(minutes=3), "load_before": 0.1, "rounds": 2}
    page |= dict.fromkeys(("commit", "machine", "python", "postgres", "pool"), "x")
    assert verdict in markdown(page, cells)
