"""`python -m bench`: the read queries, for every contender, at 1, 16 and 64 connections."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Annotated, TypeVar

import typer

from app.cli.showing import console, progress
from bench import report, trivial
from bench.contenders import CONTENDERS, Contender, ContenderFailed
from bench.fleet import FleetUnusable, open_fleet
from bench.load import load_generator
from bench.processes import resident_bytes
from bench.queries import QUERIES
from bench.rounds import Cell, compare, measure, warm_up
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
        with console.status("Starting the servers"):
            servers = [held.enter_context(contender.running(fleet)) for contender in entered]
        started = {server.contender.name: resident_bytes([server.pid]) for server in servers}
        with console.status("Comparing the answers"):
            asked = compare(servers, asked_queries, fleet, enforce_rows=size == "large")
        console.print("The answers of all contenders are equal.")
        if compare_only:
            return
        load = held.enter_context(load_generator())
        reach = trivial.reach(load, max(0.5, seconds / 2))
        if reach < trivial.ENOUGH:
            console.print(
                f"The load generator reached {reach:,.0f} requests a second, which is less than {trivial.ENOUGH:,}: "
                "the machine is busy, and fast cells will show the generator."
            )
        with console.status("Warming up"):
            warm_up(servers, asked, load)
        with progress() as bar:
            task = bar.add_task("", total=rounds * len(counts) * len(asked_queries) * len(servers))
            began_cells = -1

            def tell(cell: Cell) -> None:
                nonlocal began_cells
                began_cells += 1
                bar.update(task, completed=began_cells, description=f"{cell[1]} {cell[0]} at {cell[2]}")

            cells = measure(servers, asked_queries, asked, counts, rounds, seconds, fleet, load, tell)
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
            started_bytes=started,
            cells=cells,
            client_per_second=reach,
            load_before=load_before,
            fleet=fleet,
        )
    for path in report.write(run, name):
        console.print(f"Written: {path}")


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
