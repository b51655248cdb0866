"""The results as a Markdown table for people and as JSON with every single measurement."""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson

from bench.contenders import ROOT, Contender
from bench.fleet import Fleet
from bench.queries import Query
from bench.rounds import Cell, Measurement, median, median_ratio

RESULTS: Final = Path(__file__).parent / "results"
_BUSY: Final = 0.75
_ENOUGH_FOR_P99: Final = 100
_PACKAGES: Final = ("strawberry-graphql", "graphql-core", "sqlalchemy", "asyncpg", "uvicorn", "uvloop", "orjson")


@dataclass(frozen=True)
class Run:
    """Everything about one run of the benchmark."""

    began: datetime
    ended: datetime
    size: str
    rounds: int
    seconds: float
    """Seconds a cell and round."""
    connections: Sequence[int]
    queries: Sequence[Query]
    contenders: Sequence[Contender]
    body_bytes: Mapping[tuple[str, str], int]
    """(Contender, query) -> mean size of its answers."""
    started_bytes: Mapping[str, int]
    """Contender -> resident memory before the first request, median of the rounds."""
    cells: Mapping[Cell, Sequence[Measurement]]
    client_per_second: float
    """What the load generator reached against the trivial server."""
    load_before: float
    """Load average of the machine (1 minute) as it began."""
    fleet: Fleet


def write(run: Run, name: str, directory: Path = RESULTS) -> tuple[Path, Path]:
    """Writes `<name>.md` and `<name>.json`; returns their paths."""
    return save(name, markdown(run), _as_json(run), directory)


def save(name: str, page: str, data: Mapping[str, Any], directory: Path = RESULTS) -> tuple[Path, Path]:
    """Writes a page as `<name>.md` and its figures as `<name>.json`; returns their paths."""
    directory.mkdir(exist_ok=True)
    table, figures = directory / f"{name}.md", directory / f"{name}.json"
    table.write_text(page)
    figures.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return table, figures


def circumstances(began: datetime, load_before: float) -> dict[str, Any]:
    """What every run that ends now says about itself; `load_before` is the machine's load average as it began."""
    return {
        "began": began,
        "ended": now(),
        "commit": commit(),
        "machine": machine(),
        "python": platform.python_version(),
        "load_before": load_before,
    }


def told(page: Mapping[str, Any]) -> str:
    """The circumstances of a run, in words."""
    minutes = (page["ended"] - page["began"]).total_seconds() / 60
    postgres = f"PostgreSQL {page['postgres']}, " if "postgres" in page else ""
    return (
        f"{page['began']:%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes, commit {page['commit']}. {page['machine']}; "
        f"{postgres}Python {page['python']}. Load average before: {page['load_before']:.1f}."
    )


def markdown(run: Run) -> str:
    """The page."""
    parts = [_heading(run), *(_table(run, count) for count in run.connections)]
    if len(run.contenders) > 1:
        parts.append(_ratios(run))
    parts += [_memory(run), _remarks(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(run: Run) -> str:
    minutes = (run.ended - run.began).total_seconds() / 60
    rows = ", ".join(f"{count:,} {table}" for table, count in run.fleet.rows.items())
    lines = [
        "# Read queries",
        "",
        f"{run.began:%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes, commit {commit()}. {machine()}; "
        f"PostgreSQL {run.fleet.postgres_version}, Python {platform.python_version()}, "
        + ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
        + f". Load average before: {run.load_before:.1f}.",
        "",
        f"Medians of {run.rounds} interleaved rounds, {run.seconds:g} s each, the servers of each started anew; closed "
        f"loop over HTTP on loopback with keep-alive. The {run.size} demo fleet: {rows}. CPU is that of server and "
        "Postgres together. The machine is shared: compare what stands beside each other in this run, and nothing with "
        "figures from elsewhere.",
        "",
        "Contenders:",
        *(f"- **{contender.name}**: {contender.what}" for contender in run.contenders),
        "",
        "Queries:",
    ]
    for query in run.queries:
        sizes = [run.body_bytes[contender.name, query.name] for contender in run.contenders]
        lines.append(f"- **{query.name}**: {query.what}; {_between(sizes)}")
    return "\n".join(lines)


def _between(sizes: Sequence[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f"{low:,} bytes" if low == high else f"{low:,} to {high:,} bytes"


def _table(run: Run, count: int) -> str:
    lines = [
        f"## {count} connection{'' if count == 1 else 's'}",
        "",
        "| | Contender | Requests/s | p50 ms | p99 ms | CPU ms | of it Postgres | Wrong |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for query in run.queries:
        for contender in run.contenders:
            rounds = run.cells[contender.name, query.name, count]
            wrong = sum(one.failures for one in rounds)
            columns = [
                query.name,
                contender.name,
                number(median(rounds, lambda one: one.per_second)),
                number(median(rounds, lambda one: one.p50_ms)),
                slowest(rounds),
                number(median(rounds, lambda one: one.cpu_ms)),
                number(median(rounds, lambda one: one.database_cpu_ms)),
                str(wrong) if wrong else "",
            ]
            lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _ratios(run: Run) -> str:
    names = [contender.name for contender in run.contenders]
    lines = [
        f"## {names[0]} against the others",
        "",
        RATIOS,
        "",
        *ratio_table(run.cells, names, [query.name for query in run.queries], run.connections),
    ]
    return "\n".join(lines)


RATIOS: Final = (
    "Requests per second as a multiple of theirs (more is better), then CPU per request as a part of theirs (less is "
    "better): medians of the ratios round by round. The last column is the geometric mean."
)
"""What `ratio_table` shows."""


def ratio_table(
    cells: Mapping[Cell, Sequence[Measurement]],
    contenders: Sequence[str],
    queries: Sequence[str],
    connections: Sequence[int],
) -> list[str]:
    """The first contender against the others, as lines of a table."""
    first, *others = contenders
    lines = [
        f"| Against | Connections | Measure | {' | '.join(queries)} | Mean |",
        f"|---|--:|---|{'--:|' * (len(queries) + 1)}",
    ]
    measures: list[tuple[str, Callable[[Measurement], float]]] = [
        ("requests/s", lambda one: one.per_second),
        ("CPU", lambda one: one.cpu_ms),
    ]
    for other in others:
        for count in connections:
            for measure, value in measures:
                ratios = [
                    median_ratio(cells[first, query, count], cells[other, query, count], value) for query in queries
                ]
                columns = [other, str(count), measure, *map(multiple, [*ratios, geometric_mean(ratios)])]
                lines.append(f"| {' | '.join(columns)} |")
    return lines


def _memory(run: Run) -> str:
    head = " | ".join(f"{count} conn." for count in run.connections)
    lines = [
        "## Resident memory, MB",
        "",
        "Of the server's processes, without Postgres: before the first request, the median of the rounds, then the "
        "most that was seen in any of them.",
        "",
        f"| Contender | started | {head} |",
        f"|---|--:|{'--:|' * len(run.connections)}",
    ]
    for contender in run.contenders:
        cells = [(cell[2], rounds) for cell, rounds in run.cells.items() if cell[0] == contender.name]
        figures = [run.started_bytes[contender.name]]
        for count in run.connections:
            figures.append(max(one.resident_bytes for c, rounds in cells if c == count for one in rounds))
        lines.append(f"| {contender.name} | {' | '.join(f'{figure / 1e6:.0f}' for figure in figures)} |")
    return "\n".join(lines)


def _remarks(run: Run) -> str:
    lines = [
        "## Remarks",
        "",
        f"- The load generator reached {run.client_per_second:,.0f} requests a second against a server that does "
        "nothing.",
        f"- `max`: fewer than {_ENOUGH_FOR_P99} answers in a round, so the 99th percentile is the slowest of them.",
        "- Every answer was compared byte for byte with one that had been compared as JSON with the other contenders'.",
    ]
    busy = [cell for cell, rounds in run.cells.items() if median(rounds, lambda one: one.client_busy) > _BUSY]
    for contender, query, count in busy:
        lines.append(
            f"- {contender}, {query} at {count}: the load generator itself was busy more than {_BUSY:.0%} of the time, "
            "so the server may do more."
        )
    spreads = [_spread(rounds) for rounds in run.cells.values()]
    lines.append(
        f"- Noise: between the rounds, requests per second of a cell varied by {statistics.median(spreads):.0%} in the "
        f"middle and {max(spreads):.0%} at worst (highest less lowest, over the median)."
    )
    for (contender, query, count), rounds in run.cells.items():
        failure = next((one.failure for one in rounds if one.failure), None)
        if failure:
            lines.append(f"- {contender}, {query} at {count}: wrong answers; the first: `{failure[:200]}`")
    return "\n".join(lines)


def _spread(rounds: Sequence[Measurement]) -> float:
    values = [one.per_second for one in rounds]
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def geometric_mean(ratios: Sequence[float]) -> float:
    """The geometric mean; NaN where one of the ratios is."""
    if any(math.isnan(ratio) or ratio <= 0 for ratio in ratios):
        return float("nan")
    return statistics.geometric_mean(ratios)


def slowest(rounds: Sequence[Measurement]) -> str:
    """The 99th percentile in milliseconds; `max` behind it where so few answers make it the slowest one."""
    too_few = min(one.requests for one in rounds) < _ENOUGH_FOR_P99
    return number(median(rounds, lambda one: one.p99_ms)) + (" max" if too_few else "")


def number(value: float) -> str:
    """Three figures, or all of a large number."""
    if math.isnan(value):
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def multiple(value: float) -> str:
    """A ratio, to two figures or three."""
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def commit() -> str:
    """The commit that was measured, with a mark where files differ from it; "unknown" outside a clone."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def machine() -> str:
    """Cores and model of the processor."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} cores, {model}"


def _as_json(run: Run) -> dict[str, Any]:
    return {
        **circumstances(run.began, run.load_before),
        "ended": run.ended,
        "postgres": run.fleet.postgres_version,
        "packages": {package: version(package) for package in _PACKAGES},
        "size": run.size,
        "rows": run.fleet.rows,
        "rounds": run.rounds,
        "seconds": run.seconds,
        "client_per_second": run.client_per_second,
        "contenders": {contender.name: contender.what for contender in run.contenders},
        "queries": {query.name: {"what": query.what, "text": query.text.strip()} for query in run.queries},
        "body_bytes": {f"{contender} {query}": size for (contender, query), size in run.body_bytes.items()},
        "started_bytes": dict(run.started_bytes),
        "cells": [
            {
                "contender": contender,
                "query": query,
                "connections": count,
                "rounds": [{**asdict(one), "cpu_ms": one.cpu_ms} for one in rounds],
            }
            for (contender, query, count), rounds in run.cells.items()
        ],
    }


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)
