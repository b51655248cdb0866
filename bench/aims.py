"""What the gateway is to reach, and whether it did in the results that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench import ingest, report
from bench.results import Fanout, Reads, Results, Writes
from bench.rounds import Measurement, median, median_ratio

GATEWAY: Final = "gateway"
POSTGRAPHILE: Final = "postgraphile"
PLAIN: Final = "plain"
BARE: Final = "bare"
SAME: Final = "same"

_KB: Final = 1024
_MB: Final = 1_000_000


@dataclass(frozen=True)
class Aim:
    """One aim, with what was measured for it."""

    issue: int
    text: str
    figure: str = ""
    met: bool | None = None
    """None where nothing was measured for it."""

    @property
    def verdict(self) -> str:
        """Whether it was met, in words."""
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


def aims(results: Results) -> list[Aim]:
    """All of them, those of the reads first."""
    return [*_of_reads(results.reads), *_of_writes(results.writes), *_of_ingestion(results), *_of_live(results)]


# --- Reads ------------------------------------------------------------------------------------------------------------


def _per_second(one: Measurement) -> float:
    return one.per_second


def _cpu(one: Measurement) -> float:
    return one.cpu_ms


def _ratios(
    reads: Reads, other: str, value: Callable[[Measurement], float], queries: Sequence[str], connections: Sequence[int]
) -> dict[tuple[str, int], float]:
    """(Query, connections) -> the gateway's value over the other's; empty where the other took no part."""
    if other not in reads.contenders:
        return {}
    return {
        (query, count): median_ratio(reads.cells[GATEWAY, query, count], reads.cells[other, query, count], value)
        for count in connections
        for query in queries
    }


def _means(ratios: dict[tuple[str, int], float]) -> dict[int, float]:
    """Connections -> geometric mean over the queries."""
    counts = dict.fromkeys(count for _, count in ratios)
    return {count: report.geometric_mean([ratios[cell] for cell in ratios if cell[1] == count]) for count in counts}


def _by_count(means: dict[int, float]) -> str:
    figures = " / ".join(report.multiple(mean) for mean in means.values())
    return f"{figures} at {' / '.join(map(str, means))} connections"


def _extreme(ratios: dict[tuple[str, int], float], which: Callable[..., tuple[str, int]]) -> str:
    """The lowest or the highest cell, in words."""
    cell = which(ratios, key=lambda one: ratios[one])
    return f"{report.multiple(ratios[cell])} on {cell[0]} at {cell[1]}"


def _of_reads(reads: Reads | None) -> Iterator[Aim]:
    texts = {
        "mean": "requests/s at least 2.5 times PostGraphile's, geometric mean of the five queries",
        "least": "requests/s never below 1.5 times PostGraphile's on any of them",
        "cpu": "CPU of the reads at most half of PostGraphile's, geometric mean",
        "p99": "p99 no worse than 1.25 times PostGraphile's in 13 of the 15 cells, medians of the rounds",
        "plain": "requests/s 30 times plain Strawberry's on Q2 to Q5, each at 16 connections",
        "same": "requests/s at least 80 % of a bare handler that runs the same SQL, geometric mean",
        "bare": "on Q3 less CPU than a bare handler with a single statement",
        "memory": "under 150 MB resident a worker",
    }
    found = {} if reads is None else dict(_measured_reads(reads))
    for key, text in texts.items():
        yield Aim(6, text, *found.get(key, ()))


def _measured_reads(reads: Reads) -> Iterator[tuple[str, tuple[str, bool]]]:
    queries, counts = reads.queries, reads.connections
    if rates := _ratios(reads, POSTGRAPHILE, _per_second, queries, counts):
        means = _means(rates)
        yield "mean", (_by_count(means), all(mean >= 2.5 for mean in means.values()))
        yield "least", (f"at least {_extreme(rates, min)}", all(rate >= 1.5 for rate in rates.values()))
        cpu = _ratios(reads, POSTGRAPHILE, _cpu, queries, counts)
        means = _means(cpu)
        figure = f"{_by_count(means)}; most: {_extreme(cpu, max)}"
        yield "cpu", (figure, all(mean <= 0.5 for mean in means.values()))
        yield "p99", _tails(reads)
    some = [query for query in queries if query != "Q1"]
    if some and 16 in counts and (rates := _ratios(reads, PLAIN, _per_second, some, [16])):
        figures = ", ".join(f"{query} {report.multiple(rate)}" for (query, _), rate in rates.items())
        yield "plain", (figures, all(rate >= 30 for rate in rates.values()))
    if rates := _ratios(reads, SAME, _per_second, queries, counts):
        means = _means(rates)
        figure = f"{_by_count(means)}; least: {_extreme(rates, min)}"
        yield "same", (figure, all(mean >= 0.8 for mean in means.values()))
    if "Q3" in queries and (cpu := _ratios(reads, BARE, _cpu, ["Q3"], counts)):
        yield "bare", (_by_count(_means(cpu)), all(one < 1 for one in cpu.values()))
    most = max(one.resident_bytes for cell, rounds in reads.cells.items() if cell[0] == GATEWAY for one in rounds)
    yield "memory", (f"at most {most / _MB:.0f} MB", most < 150 * _MB)


def _tails(reads: Reads) -> tuple[str, bool]:
    """In how many cells the gateway's p99 is no worse than 1.25 times PostGraphile's."""
    cells = [(query, count) for count in reads.connections for query in reads.queries]
    ratios = {
        cell: median(reads.cells[GATEWAY, *cell], lambda one: one.p99_ms)
        / median(reads.cells[POSTGRAPHILE, *cell], lambda one: one.p99_ms)
        for cell in cells
    }
    good = sum(ratio <= 1.25 for ratio in ratios.values())
    return f"in {good} of {len(cells)}; most: {_extreme(ratios, max)}", good * 15 >= 13 * len(cells)


# --- Writes -----------------------------------------------------------------------------------------------------------


def _of_writes(writes: Writes | None) -> Iterator[Aim]:
    for rival, least, than in (
        ("M1, plain", 2.5, "2.5 times plain Strawberry's"),
        ("M1, PostGraphile", 0.5, "half of PostGraphile's, which checks nothing"),
    ):
        text = f"M1 over eight tenants: requests/s at least {than}"
        rates = {} if writes is None else _write_rates(writes, rival)
        if rates:
            yield Aim(6, text, _by_count(rates), all(rate >= least for rate in rates.values()))
        else:
            yield Aim(6, text)


def _write_rates(writes: Writes, rival: str) -> dict[int, float]:
    """Connections -> requests a second of M1 over the rival's, both over eight tenants."""
    return {
        count: median_ratio(writes.cells["M1", 8, count], theirs, _per_second)
        for (write, tenants, count), theirs in writes.cells.items()
        if write == rival and tenants == 8
    }


# --- Live -------------------------------------------------------------------------------------------------------------


def _of_ingestion(results: Results) -> Iterator[Aim]:
    text = "op events by NDJSON from 8 writers at least half as fast as raw COPY"
    if results.ingest is None:
        yield Aim(5, text)
    else:
        reached = ingest.share(results.ingest.cells, ingest.AIM_CELL)
        yield Aim(5, text, f"{reached:.0%}", reached >= ingest.AIM)


def _of_live(results: Results) -> Iterator[Aim]:
    fanout = results.fanout
    found = {} if fanout is None else dict(_measured_live(fanout))
    texts = {
        "deliveries": "20 times plain Strawberry's deliveries per CPU second, 1,000 subscribers of one group",
        "p99": "p99 from publish to receipt under 100 ms at 1,000 events a second",
    }
    for key, text in texts.items():
        yield Aim(5, text, *found.get(key, ()))
    each = [] if results.idle is None else [results.idle.figures.last_bytes]
    if fanout is not None:
        each += [one.idle_bytes for one in fanout.figures if one.server == GATEWAY and one.subscribers == 1_000]
    text = "under 45 KB for an idle subscriber"
    yield Aim(5, text, f"at most {max(each) / _KB:.1f} KB", max(each) < 45 * _KB) if each else Aim(5, text)
    text = "10,000 idle subscriptions on one process stay up for ten minutes"
    if results.idle is None:
        yield Aim(5, text)
    else:
        idle = results.idle.figures
        figure = f"{idle.connections:,} for {idle.minutes:g} minutes, none lost, {idle.cpu:.1%} of a CPU"
        yield Aim(5, text, figure, idle.connections >= 10_000 and idle.minutes >= 10)


def _measured_live(fanout: Fanout) -> Iterator[tuple[str, tuple[str, bool]]]:
    cells = {(one.server, one.subscribers, one.groups): one for one in fanout.figures}
    ours, theirs = cells.get((GATEWAY, 1_000, 1)), cells.get((PLAIN, 1_000, 1))
    if ours is not None and theirs is not None:
        times = ours.deliveries_per_cpu_second / theirs.deliveries_per_cpu_second
        yield "deliveries", (f"{report.multiple(times)} times", times >= 20)
    steady = [one for one in fanout.figures if one.server == GATEWAY and one.rate >= 1_000]
    if steady:
        worst = max(steady, key=lambda one: one.p99_ms)
        most = max(one.subscribers for one in steady)
        figure = (
            f"at most {worst.p99_ms:.0f} ms, with {_many(worst.subscribers, 'subscriber')} in "
            f"{_many(worst.groups, 'group')}; the most that were told at that rate: {_many(most, 'subscriber')}"
        )
        yield "p99", (figure, worst.p99_ms < 100)


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
