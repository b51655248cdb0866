"""How cost grows: with the rows of an answer, with its depth, with the size of the table.

    python -m bench.growth                  # bench/results/growth.md and growth.json, about five minutes
    python -m bench.growth --quick          # one short round up to 10,000 events, to see that all works

The gateway as it is served in production, one connection that asks again and again. All limits are those of production,
but for the rate. A database of its own is made for the run, and filled step by step: what is asked at each size of the
log is asked while the table has that many rows and no more. Rows and depth are measured at the largest size.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
import typer

from app.auth.actor import ActorKind
from app.cli.showing import console
from app.graph.ids import global_id
from app.graph.scalars import format_datetime
from bench import report
from bench.contenders import POOL, ContenderFailed, Request, Server
from bench.fleet import Fleet, FleetUnusable
from bench.growth_fleet import (
    APART,
    GENERATIONS,
    TALKERS,
    WIDTH,
    Log,
    add_generations,
    fill,
    ids_of,
    open_log,
)
from bench.growth_page import Curve, Point, markdown
from bench.load import Job, LoadGenerator, load_generator
from bench.queries import QUERIES, Variables, count_rows
from bench.rounds import Measurement, run
from bench.write_fleet import Tenant, WritingGateway, open_empty_fleet, populate
from db.embedded import EmbeddedPostgresError
from db.ids import created_at

ROWS: Final = (10, 30, 100, 300, 1_000, 3_000, 10_000)
SIZES: Final = (10_000, 100_000, 1_000_000)
PAGED: Final = 200
"""Events of the time range whose first hundred are a page."""
COUNTED: Final = 1_000
"""Events that the aggregate adds up."""

_VARIANTS: Final = 50
_REQUESTS: Final = 120
"""A cell lasts until about so many answers have come, so that there is a 99th percentile …"""
_MOST_SECONDS: Final = 12.0
"""… but no longer than this."""
_WARM_SECONDS: Final = 0.5

_BY_ROWS: Final = """
query Rows($from: DateTime!, $first: Int!) {
  agentInstances(first: %d, filter: { createdAt: { gte: $from } }) {
    edges { node { id opEvents(first: $first) { edges { node { id seq type timestamp payload } } } } }
  }
}
"""
_BY_DEPTH: Final = """
query Depth($from: DateTime!) {
  agentInstances(first: %d, filter: { createdAt: { gte: $from } }) { edges { node { %s } } }
}
"""
_BY_ID: Final = """
query Event($id: ID!) { opEvent(id: $id) { id seq type timestamp payload instance { id name state } } }
"""
_ADDED_UP: Final = """
query Counts($from: DateTime!, $to: DateTime!) {
  telemetryStats(filter: { timestamp: { gte: $from, lt: $to } }, groupBy: [TYPE]) { type count }
}
"""
_FIELDS: Final = "id name state"


@dataclass(frozen=True)
class Question:
    """What is asked for one point of a curve."""

    curve: str
    x: int
    text: str
    variables: Sequence[Variables]
    """Asked in turn."""
    count: Callable[[Any], int]
    """Counts in an answer's data what there have to be `expected` of."""
    expected: int


WHAT: Final[Mapping[str, str]] = {
    "rows": f"{TALKERS} agents, each with its first n op events (`id seq type timestamp payload`); n from 1 to 1,000, "
    "which is the longest page that a list of events may have, so that every answer is within the limits of production",
    "to-one": f"a page of {WIDTH} agents (`{_FIELDS}`), the agent that made each (`parentInstance`), the one that made "
    f"that …: {WIDTH} different agents a level",
    "to-many": f"a page of {WIDTH} agents, the agents that each has made (`spawnedInstances`, a connection), …: "
    f"{WIDTH} different agents a level",
    "page": f"Q4: 100 op events of a time range with instance and change record; the range holds {PAGED}",
    "by id": "one op event by its id, with its instance",
    "aggregate": f"`telemetryStats`: {COUNTED:,} op events of a time range counted by type",
}
"""The curves, by name."""


def by_rows(tenant: Tenant) -> list[Question]:
    """One query with more and more rows."""
    began = format_datetime(created_at(tenant.instances[0]))
    return [
        Question(
            "rows",
            rows,
            _BY_ROWS % TALKERS,
            [{"from": began, "first": rows // TALKERS}],
            lambda data: count_rows(data, "opEvents"),
            rows,
        )
        for rows in ROWS
    ]


def by_depth(generations: Sequence[datetime]) -> list[Question]:
    """As many rows a level, and more and more levels: up by to-one relations, and down by to-many ones."""
    found = []
    for depth in range(1, GENERATIONS + 1):
        up = down = _FIELDS
        for _ in range(depth - 1):
            up = f"{_FIELDS} parentInstance {{ {up} }}"
            down = f"{_FIELDS} spawnedInstances(first: 1) {{ edges {{ node {{ {down} }} }} }}"
        for curve, text, root in (("to-one", up, generations[-1]), ("to-many", down, generations[0])):
            given = [{"from": format_datetime(root)}]
            found.append(Question(curve, depth, _BY_DEPTH % (WIDTH, text), given, _agents, WIDTH * depth))
    return found


def _agents(data: Any) -> int:
    """Objects with a name, wherever they stand."""
    if isinstance(data, list):
        return sum(map(_agents, data))
    if not isinstance(data, dict):
        return 0
    return ("name" in data) + sum(map(_agents, data.values()))


def by_size(fleet: Fleet, log: Log, size: int) -> list[Question]:
    """The same three questions at one size of the log; what they ask for lies anywhere in it."""
    chance = random.Random(size)
    (events,) = (query for query in QUERIES if query.name == "Q4")
    ids = asyncio.run(ids_of(fleet, log, chance.sample(range(size), _VARIANTS)))

    def range_of(events: int) -> Variables:
        first = log.moment(chance.randrange(size - COUNTED))
        return {"from": format_datetime(first), "to": format_datetime(first + APART * events)}

    return [
        Question(
            "page",
            size,
            events.text,
            [range_of(PAGED) for _ in range(_VARIANTS)],
            lambda data: count_rows(data, "opEvents"),
            events.rows["opEvents"],
        ),
        Question(
            "by id",
            size,
            _BY_ID,
            [{"id": global_id("evt", one)} for one in ids],
            lambda data: data["opEvent"] is not None,
            1,
        ),
        Question(
            "aggregate",
            size,
            _ADDED_UP,
            [range_of(COUNTED) for _ in range(_VARIANTS)],
            lambda data: sum(one["count"] for one in data["telemetryStats"]),
            COUNTED,
        ),
    ]


class Bench:
    """Asks questions of one gateway, and keeps what was measured."""

    def __init__(self, fleet: Fleet, server: Server, load: LoadGenerator, token: str) -> None:
        self._fleet = fleet
        self._server = server
        self._load = load
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Authorization": f"Bearer {token}",
        }
        self._found: dict[str, dict[int, list[Measurement]]] = {name: {} for name in WHAT}

    def measure(self, questions: Sequence[Question], rounds: int, seconds: float, most: float) -> None:
        """Each question once a round. Raises ContenderFailed for a wrong answer."""
        asked = [(question, *self._prepare(question)) for question in questions]
        for _ in range(rounds):
            for question, job, takes in asked:
                console.print(f"{question.curve}, {question.x:,}", style="dim")
                lasting = min(max(seconds, _REQUESTS * takes), most)
                one = self._measure(question, replace(job, seconds=lasting))
                self._found[question.curve].setdefault(question.x, []).append(one)

    def curves(self) -> list[Curve]:
        """What was measured so far."""
        return [
            Curve(name, WHAT[name], [Point(x, rounds) for x, rounds in sorted(points.items())])
            for name, points in self._found.items()
        ]

    def _prepare(self, question: Question) -> tuple[Job, float]:
        """What is sent, with the answers that were checked; and how many seconds one takes, about.

        Every database connection of the pool gets to know the statements, since one asker goes through all of them.
        """
        requests = [
            Request("/graphql", orjson.dumps({"query": question.text, "variables": given}), self._headers)
            for given in question.variables
        ]
        bodies = [self._ask(question, request) for request in requests]
        raw = tuple(request.raw(self._server.port) for request in requests)
        job = Job("127.0.0.1", self._server.port, 1, 0.0, raw, tuple(bodies))
        self._measure(question, replace(job, connections=POOL, seconds=_WARM_SECONDS))
        began = time.perf_counter()
        for _ in range(3):
            self._server.ask(requests[0])
        return job, (time.perf_counter() - began) / 3

    def _ask(self, question: Question, request: Request) -> bytes:
        body = self._server.ask(request)
        answer = orjson.loads(body)
        found = -1 if answer.get("errors") else question.count(answer["data"])
        if found != question.expected:
            raise ContenderFailed(
                f"{question.curve} at {question.x:,}: {question.expected:,} were expected, "
                f"{found:,} were answered: {body[:1000]!r}"
            )
        return body

    def _measure(self, question: Question, job: Job) -> Measurement:
        one = run(self._server, job, self._fleet, self._load)
        if one.failure is not None:
            raise ContenderFailed(f"{question.curve} at {question.x:,}: {one.failures} wrong: {one.failure}")
        return one


def main(
    quick: Annotated[bool, typer.Option(help="One short round up to 10,000 events: to see that all works.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often each point is measured.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long, each time, at least.")] = 1.5,
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "growth",
) -> None:
    """Measure how cost grows with rows, depth and size, and write bench/results/NAME.md and NAME.json."""
    sizes: Sequence[int] = SIZES
    most = _MOST_SECONDS
    if quick:
        rounds, seconds, most, name, sizes = 1, 0.2, 0.5, f"{name}-quick", SIZES[:1]
    began, load_before = report.now(), os.getloadavg()[0]
    gateway = WritingGateway()
    with ExitStack() as stack:
        fleet = stack.enter_context(open_empty_fleet())
        load = stack.enter_context(load_generator())
        server = stack.enter_context(gateway.running(fleet))
        tokens = gateway.tokens(fleet)
        with console.status("Making a tenant with agents"):
            tenant = populate(fleet, server, tokens)[0]
            generations = asyncio.run(add_generations(fleet, tenant))
            log = asyncio.run(open_log(fleet, tenant))
        bench = Bench(fleet, server, load, tokens.issue(ActorKind.OPERATOR, tenant.operator, tenant=tenant.slug))
        before = 0
        for size in sizes:
            with console.status(f"Filling the log up to {size:,} events"):
                fill(fleet, log, before, size)
            bench.measure(by_size(fleet, log, size), rounds, seconds, most)
            before = size
        bench.measure([*by_rows(tenant), *by_depth(generations)], rounds, seconds, most)
        page = {
            **report.circumstances(began, load_before),
            "postgres": fleet.postgres_version,
            "rounds": rounds,
            "seconds": seconds,
            "pool": POOL,
            "events": before,
        }
    curves = bench.curves()
    data = {**page, "curves": [asdict(curve) for curve in curves]}
    for path in report.save(name, markdown(page, curves), data):
        console.print(f"Written: {path}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ContenderFailed, FleetUnusable, EmbeddedPostgresError) as error:
        typer.secho(str(error), fg="red", err=True)
        sys.exit(1)
