"""`python -m bench`: the read queries, for every contender, at 1, 16 and 64 connections."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

import typer

from app.cli.showing import console, progress
from bench import report, trivial
from bench.contenders import CONTENDERS, Contender, ContenderFailed, Server
from bench.fleet import Fleet, FleetUnusable, open_fleet
from bench.load import load_generator
from bench.processes import resident_bytes
from bench.queries import QUERIES, Query
from bench.rounds import Answers, Cell, Measurement, compare, measure, rotated, warm_up
from db.embedded import EmbeddedPostgresError

_Choice = TypeVar("_Choice")
_QUERY_NAMES = ",".join(query.name for query in QUERIES)


def main(
    quick: Annotated[bool, typer.Option(help="One short round: to see that all works, not for figures.")] = False,
    size: Annotated[str, typer.Option(help="The fleet: large, or small (for trying the benchmark out).")] = "large",
    contenders: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(CONTENDERS),
    queries: Annotated[str, typer.Option(help="Names, separated by commas.")] = _QUERY_NAMES,
    connections: Annotated[str, typer.Option(help="Numbers, separated by commas.")] = "1,16,64",
    rounds: Annotated[int, typer.Option(min=1, help="How often each cell is measured.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long, each time.")] = 2.0,
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "reads",
    compare_only: Annotated[bool, typer.Option(help="Only compare the answers of the contenders.")] = False,
) -> None:
    """Measure the read queries Q1 to Q5, and write bench/results/NAME.md and NAME.json."""
    if quick:
        rounds, seconds, name = 1, 0.5, f"{name}-quick"
    if size not in ("small", "large"):
        raise typer.BadParameter("small and large are the sizes.", param_hint="--size")
    kinds = _chosen("--contenders", contenders, dict(CONTENDERS))
    asked_queries = _chosen("--queries", queries, {query.name: query for query in QUERIES})
    counts = _counts(connections)
    began, load_before = report.now(), os.getloadavg()[0]
    with contextlib.ExitStack() as held:
        fleet = held.enter_context(open_fleet(size))
        entered: list[Contender] = [kind() for kind in kinds]
        if compare_only:
            _start(held, entered, asked_queries, fleet, size == "large")
            console.print("The answers of all contenders are equal.")
            return
        load = held.enter_context(load_generator())
        reach = trivial.reach(load, max(0.5, seconds / 2))
        if reach < trivial.ENOUGH:
            console.print(
                f"The load generator reached {reach:,.0f} requests a second, which is less than {trivial.ENOUGH:,}: "
                "the machine is busy, and fast cells will show the generator."
            )
        asked: Answers = {}
        started: dict[str, list[int]] = {}
        cells: dict[Cell, list[Measurement]] = {}
        with progress() as bar:
            task = bar.add_task("", total=rounds * len(counts) * len(asked_queries) * len(entered))
            place = itertools.count()

            def tell(cell: Cell) -> None:
                bar.update(task, completed=next(place), description=f"{cell[1]} {cell[0]} at {cell[2]}")

            for number in range(rounds):
                bar.update(task, description=f"Starting the servers of round {number + 1}")
                with contextlib.ExitStack() as running:
                    servers, asked, memory = _start(running, entered, asked_queries, fleet, size == "large")
                    bar.update(task, description="Warming up")
                    warm_up(servers, asked, load)
                    order = rotated(servers, number)
                    measured = measure(order, asked_queries, asked, counts, seconds, fleet, load, tell)
                for one, resident in memory.items():
                    started.setdefault(one, []).append(resident)
                for cell, figures in measured.items():
                    cells.setdefault(cell, []).append(figures)
        run = report.Run(
            began=began,
            ended=report.now(),
            size=size,
            rounds=rounds,
            seconds=seconds,
            connections=counts,
            queries=asked_queries,
            contenders=entered,
            body_bytes={key: round(statistics.mean(map(len, each.bodies))) for key, each in asked.items()},
            started_bytes={one: round(statistics.median(found)) for one, found in started.items()},
            cells=cells,
            client_per_second=reach,
            load_before=load_before,
            fleet=fleet,
        )
    for path in report.write(run, name):
        console.print(f"Written: {path}")


def _start(
    held: contextlib.ExitStack,
    contenders: Sequence[Contender],
    queries: Sequence[Query],
    fleet: Fleet,
    enforce_rows: bool,
) -> tuple[Sequence[Server], Answers, Mapping[str, int]]:
    """All of them as servers that have given equal answers, with these and with their memory from before."""
    servers = [held.enter_context(contender.running(fleet)) for contender in contenders]
    memory = {server.contender.name: resident_bytes([server.pid]) for server in servers}
    return servers, compare(servers, queries, fleet, enforce_rows), memory


def _chosen(option: str, names: str, known: dict[str, _Choice]) -> Sequence[_Choice]:
    """What the names mean, in the order that they are known in; the first contender is compared with the others."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise typer.BadParameter(f"{', '.join(known)} are known, {names!r} was given.", param_hint=option)
    return [value for name, value in known.items() if name in wanted]


def _counts(text: str) -> Sequence[int]:
    try:
        counts = sorted({int(part) for part in text.split(",")})
    except ValueError:
        counts = []
    if not counts or counts[0] < 1 or counts[-1] > 1000:
        raise typer.BadParameter("Numbers from 1 to 1000, separated by commas.", param_hint="--connections")
    return counts


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ContenderFailed, FleetUnusable, EmbeddedPostgresError) as error:
        typer.secho(str(error), fg="red", err=True)
        sys.exit(1)
