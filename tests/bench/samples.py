"""Results as the benchmarks write them, with figures that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from bench.rounds import Measurement

_BEGAN = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
CIRCUMSTANCES: Mapping[str, Any] = {
    "began": _BEGAN,
    "ended": _BEGAN + timedelta(minutes=5),
    "commit": "abc1234",
    "machine": "2 cores, a processor",
    "python": "3.11.7",
    "postgres": "18.4",
    "load_before": 0.25,
    "rounds": 3,
    "seconds": 2.0,
    "pool": 16,
}
QUERIES = ("Q1", "Q2", "Q3", "Q4", "Q5")
CONNECTIONS = (1, 16, 64)


def measured(
    per_second: float = 100.0, p50: float = 1.0, p99: float = 2.0, cpu: float = 1.0, resident: int = 100_000_000
) -> Measurement:
    """One measurement; its CPU is half the server's and half Postgres's."""
    return Measurement(200, 0, None, 2.0, per_second, p50, p99, cpu / 2, cpu / 2, resident, 0.1)


Contenders = Mapping[str, Measurement]


def reads(contenders: Contenders, others: Mapping[tuple[str, str, int], Measurement] | None = None) -> dict[str, Any]:
    """reads.json: every cell of a contender is the same, but for those in `others`."""
    special = others or {}
    return {
        **CIRCUMSTANCES,
        "queries": {name: {"what": f"what {name} asks", "text": "{ x }"} for name in QUERIES},
        "contenders": {name: f"what {name} is" for name in contenders},
        "cells": [
            {
                "contender": name,
                "query": query,
                "connections": count,
                "rounds": [{**_plain(special.get((name, query, count), one)), "cpu_ms": 1.0}] * 3,
            }
            for query in QUERIES
            for count in CONNECTIONS
            for name, one in contenders.items()
        ],
    }


def writes(rates: Mapping[str, float]) -> dict[str, Any]:
    """writes.json: requests a second of M1 by who does it."""
    cells = [
        {"cell": [name, tenants, count], "rounds": [_plain(measured(rate))] * 3}
        for name, rate in rates.items()
        for tenants in (1, 8)
        for count in CONNECTIONS
    ]
    return {**CIRCUMSTANCES, "cells": cells}


def ingest(rates: Mapping[str, float]) -> dict[str, Any]:
    """ingest.json: events a second by way."""
    cells = [
        {
            "cell": [way, writers],
            "rounds": [
                {
                    "events": 10,
                    "seconds": 1.0,
                    "per_second": rate,
                    "slowest_ms": 5.0,
                    "server_cpu_us": 1.0,
                    "database_cpu_us": 1.0,
                    "client_busy": 0.1,
                }
            ],
        }
        for way, rate in rates.items()
        for writers in (1, 8)
    ]
    return {**CIRCUMSTANCES, "cells": cells}


def fanout(gateway_per_cpu: float, p99: float, plain_per_cpu: float = 1_000.0) -> dict[str, Any]:
    """fanout.json with 1,000 subscribers of one group, told slowly, and 100, told at 1,000 events a second."""

    def cell(server: str, subscribers: int, per_cpu: float, rate: float, slowest: float) -> dict[str, Any]:
        return {
            "server": server,
            "subscribers": subscribers,
            "groups": 1,
            "deliveries_per_second": 2 * per_cpu,
            "deliveries_per_cpu_second": per_cpu,
            "events_per_second": 100.0,
            "rate": rate,
            "p50_ms": 1.0,
            "p99_ms": slowest,
            "worst_p99_ms": slowest,
            "steady_cpu": 0.5,
            "idle_bytes": 30 * 1024,
            "listeners_cpu": 0.5,
        }

    figures = [
        cell("gateway", 100, gateway_per_cpu, 1_000.0, p99),
        cell("gateway", 1_000, gateway_per_cpu, 200.0, 500.0),
        cell("plain", 1_000, plain_per_cpu, 20.0, 900.0),
    ]
    return {**CIRCUMSTANCES, "figures": figures}


def idle(connections: int = 10_000, minutes: float = 10.0, kilobytes: float = 31.0) -> dict[str, Any]:
    """idle.json."""
    figures = {
        "connections": connections,
        "groups": 10,
        "minutes": minutes,
        "opening_seconds": 9.0,
        "first_bytes": 30 * 1024,
        "last_bytes": kilobytes * 1024,
        "cpu": 0.02,
        "told_seconds": 0.5,
    }
    return {**CIRCUMSTANCES, "figures": figures}


def policy() -> dict[str, Any]:
    """policy.json."""
    figures = [{"way": "warm", "rounds": 9, "median_us": 20.0, "p99_us": 30.0}]
    return {**CIRCUMSTANCES, "aim_us": 50.0, "figures": figures}


def growth(points: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    """growth.json: curve -> x -> the median in milliseconds."""
    curves = [
        {
            "name": name,
            "what": f"what {name} asks",
            "points": [
                {"x": x, "rounds": [_plain(measured(p50=time, p99=2 * time, cpu=time / 2))]}
                for x, time in found.items()
            ],
        }
        for name, found in points.items()
    ]
    return {**CIRCUMSTANCES, "events": 1_000_000, "curves": curves}


def save(directory: Path, **files: Mapping[str, Any]) -> Path:
    """Writes `<name>.json` each, and returns the directory."""
    for name, data in files.items():
        (directory / f"{name}.json").write_bytes(orjson.dumps(data))
    return directory


def _plain(one: Measurement) -> dict[str, Any]:
    plain: dict[str, Any] = orjson.loads(orjson.dumps(one))
    return plain
