"""Interleaved rounds: every contender answers every query at every number of connections, again and again.

What stands beside each other in a table was measured within seconds of each other, in an order that changes from round
to round, so that whatever else the machine does falls on all contenders alike. For each round the servers are started
anew: where a process happens to have its code and its data in memory makes it faster or slower by some percent for as
long as it lives, and that is not what is asked.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from bench.contenders import ContenderFailed, Request, Server
from bench.fleet import Fleet
from bench.load import Job, LoadGenerator, Outcome
from bench.processes import cpu_seconds, resident_bytes
from bench.queries import Query, count_rows, difference

_Value = TypeVar("_Value")

Cell = tuple[str, str, int]
"""Contender, query, connections."""

_WARM_CONNECTIONS: Final = 16
_WARM_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Measurement:
    """One cell in one round."""

    requests: int
    failures: int
    failure: str | None
    seconds: float
    per_second: float
    """Right answers a second."""
    p50_ms: float
    p99_ms: float
    server_cpu_ms: float
    """CPU time of the server's processes for each right answer, in milliseconds; wrong ones cost, and yield nothing."""
    database_cpu_ms: float
    """The same of all of Postgres."""
    resident_bytes: int
    """Memory of the server's processes as the cell ended."""
    client_busy: float
    """Which part of the time the load generator used its CPU."""

    @property
    def cpu_ms(self) -> float:
        """CPU time for each right answer, server and Postgres together."""
        return self.server_cpu_ms + self.database_cpu_ms


@dataclass(frozen=True)
class Asked:
    """What a contender is asked for one query, and the bodies that it answered before the clock ran."""

    requests: Sequence[Request]
    bodies: Sequence[bytes]


Answers = Mapping[tuple[str, str], Asked]
"""(Contender, query) -> what it is asked, and answers."""


def compare(servers: Sequence[Server], queries: Sequence[Query], fleet: Fleet, enforce_rows: bool) -> Answers:
    """Asks every contender everything once.

    Raises ContenderFailed where an answer has errors, differs from the first contender's, changes from one time to the
    next, or where the fleet has fewer rows than the query is about (`enforce_rows`).
    """
    asked: dict[tuple[str, str], Asked] = {}
    for query in queries:
        reference: list[object] = []
        for server in servers:
            contender = server.contender
            requests = contender.requests(query, fleet)
            bodies = [server.ask(request) for request in requests]
            answers = [contender.answer(query, body) for body in bodies]
            if server is servers[0]:
                reference = answers
                for answer in answers if enforce_rows else []:
                    _check_rows(query, answer)
            if server.ask(requests[0]) != bodies[0]:
                raise ContenderFailed(f"{contender.name} answers {query.name} differently from one time to the next.")
            for answer, expected in zip(answers, reference, strict=True):
                if found := difference(answer, expected):
                    names = f"{contender.name} and {servers[0].contender.name}"
                    raise ContenderFailed(f"{names} differ on {query.name}: {found}.")
            asked[contender.name, query.name] = Asked(requests, bodies)
    return asked


def _check_rows(query: Query, answer: object) -> None:
    for key, least in query.rows.items():
        found = count_rows(answer, key)
        if found < least:
            raise ContenderFailed(f"{query.name} found {found} rows of {key}; it is about at least {least}.")


def warm_up(servers: Sequence[Server], asked: Answers, load: LoadGenerator) -> None:
    """Fills pools and caches, and lets compilers compile: each query on as many connections as the pools have."""
    for server in servers:
        for (name, _), each in asked.items():
            if name == server.contender.name:
                load.run(_job(server, each, _WARM_CONNECTIONS, _WARM_SECONDS))


def measure(
    servers: Sequence[Server],
    queries: Sequence[Query],
    asked: Answers,
    connections: Sequence[int],
    seconds: float,
    fleet: Fleet,
    load: LoadGenerator,
    tell: Callable[[Cell], None],
) -> Mapping[Cell, Measurement]:
    """All cells of one round, the servers of each in their order; `tell` hears of each before it begins."""
    measured: dict[Cell, Measurement] = {}
    for count in connections:
        for query in queries:
            for server in servers:
                cell = (server.contender.name, query.name, count)
                tell(cell)
                measured[cell] = run(server, _job(server, asked[cell[:2]], count, seconds), fleet, load)
    return measured


def rotated(values: Sequence[_Value], number: int) -> Sequence[_Value]:
    """The values in the order of round `number`: each begins as often as any other."""
    turn = number % len(values)
    return [*values[turn:], *values[:turn]]


def _job(server: Server, asked: Asked, connections: int, seconds: float) -> Job:
    requests = tuple(request.raw(server.port) for request in asked.requests)
    return Job("127.0.0.1", server.port, connections, seconds, requests, tuple(asked.bodies))


def run(server: Server, job: Job, fleet: Fleet, load: LoadGenerator) -> Measurement:
    """One job, and what server and Postgres used for it."""
    before = cpu_seconds([server.pid]), cpu_seconds([fleet.postgres_pid])
    outcome = load.run(job)
    after = cpu_seconds([server.pid]), cpu_seconds([fleet.postgres_pid])
    return summary(outcome, after[0] - before[0], after[1] - before[1], resident_bytes([server.pid]))


def summary(outcome: Outcome, server_cpu: float, database_cpu: float, resident: int) -> Measurement:
    """One measurement of an outcome and the CPU seconds that were used meanwhile. NaN where nothing was answered
    rightly."""
    right = sorted(outcome.latencies)
    nan = float("nan")
    return Measurement(
        requests=len(right),
        failures=outcome.failures,
        failure=outcome.failure,
        seconds=outcome.seconds,
        per_second=len(right) / outcome.seconds if outcome.seconds else nan,
        p50_ms=1000 * percentile(right, 50),
        p99_ms=1000 * percentile(right, 99),
        server_cpu_ms=1000 * server_cpu / len(right) if right else nan,
        database_cpu_ms=1000 * database_cpu / len(right) if right else nan,
        resident_bytes=resident,
        client_busy=outcome.cpu_seconds / outcome.seconds if outcome.seconds else 0.0,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed (nearest rank); NaN of nothing."""
    if not ordered:
        return float("nan")
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def median(rounds: Sequence[Measurement], value: Callable[[Measurement], float]) -> float:
    """The median of one value over the rounds."""
    return statistics.median(value(one) for one in rounds)


def median_ratio(
    ours: Sequence[Measurement], theirs: Sequence[Measurement], value: Callable[[Measurement], float]
) -> float:
    """The median over the rounds of ours / theirs: what was measured together is compared, not the medians."""
    pairs = [(value(a), value(b)) for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(a / b if b else float("nan") for a, b in pairs)
