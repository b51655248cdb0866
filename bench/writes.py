"""The governed writes, over HTTP against a gateway that really runs.

    python -m bench.writes                                  # bench/results/writes.md and writes.json
    python -m bench.writes --rounds 1 --seconds 0.5 --name writes-quick

M1 is an instance transition with its change record; P1 is `policyEvaluate`, an allowed tool call with its event. Each
at 1, 16 and 64 connections, over one tenant and over eight: a tenant's writers wait for each other where the log takes
its number, tenants do not. Each connection has an agent to itself, so what is measured is not the wait for one row.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated, Any, Final

import orjson
import typer

from app.auth.actor import ActorKind
from app.auth.tokens import LocalTokens
from app.cli.showing import console
from app.graph.ids import global_id
from app.live.doorbell import MISSED_PRESENCES, PRESENCE_SECONDS
from bench import report
from bench.contenders import POOL, Contender, ContenderFailed, Request, Server
from bench.fleet import Fleet, FleetUnusable
from bench.load import Job, LoadGenerator, load_generator
from bench.rounds import Measurement, median, rotated, run
from bench.write_fleet import TOOL, Tenant, WritingGateway, journal_rows, open_empty_fleet, populate, post, wake_all
from bench.write_rivals import (
    POSTGRAPHILE_ANSWERS,
    PlainWrites,
    PostgraphileWrites,
    contenders,
    plain_lane,
    postgraphile_lane,
)
from db.embedded import EmbeddedPostgresError

_TRANSITION: Final = """
mutation Transition($input: AgentInstanceTransitionInput!) {
  agentInstanceTransition(input: $input) {
    agentInstance { state }
    changeRecord { type }
    userErrors { code message }
  }
}
"""
_EVALUATE: Final = """
mutation Evaluate($input: PolicyEvaluateInput!) {
  policyEvaluate(input: $input) { policyDecision { decision } userErrors { code message } }
}
"""


@dataclass(frozen=True)
class Write:
    """A kind of write."""

    name: str
    what: str
    lane: Callable[[LocalTokens, Tenant, int], Sequence[Request]]
    """What the connection that has the tenant's n-th agent sends, again and again."""
    answers: Sequence[Mapping[str, Any]]
    """What is answered to each of these, as JSON."""
    journals: tuple[int, int]
    """Change records and op events that one leaves at least; what it leaves must be the same for all of them."""
    by: str = "gateway"
    """The contender that does it."""


def _pause_and_resume(tokens: LocalTokens, tenant: Tenant, agent: int) -> Sequence[Request]:
    token = tokens.issue(ActorKind.OPERATOR, tenant.operator, tenant=tenant.slug)
    instance = global_id("ins", tenant.instances[agent])
    return [post(token, _TRANSITION, {"instanceId": instance, "to": to}) for to in ("PAUSED", "ACTIVE")]


def _ask(tokens: LocalTokens, tenant: Tenant, agent: int) -> Sequence[Request]:
    instance = tenant.instances[agent]
    token = tokens.issue(ActorKind.INSTANCE, str(instance), tenant=tenant.slug, epoch=0)
    given = {
        "instanceId": global_id("ins", instance),
        "actionType": "TOOL_CALL",
        "toolName": TOOL,
        "toolArgs": {"query": "seasonal vegetables in autumn", "limit": 20},
        "estimatedCostUsd": 0.02,
    }
    return [post(token, _EVALUATE, given)]


WRITES: Final = (
    Write(
        "M1",
        "`agentInstanceTransition`, by an operator: ACTIVE to PAUSED and back, with state and change record read back",
        _pause_and_resume,
        [
            {
                "agentInstanceTransition": {
                    "agentInstance": {"state": state},
                    "changeRecord": {"type": "INSTANCE_TRANSITIONED"},
                    "userErrors": [],
                }
            }
            for state in ("PAUSED", "ACTIVE")
        ],
        (1, 0),
    ),
    Write(
        "P1",
        "`policyEvaluate`, by the agent itself: a GREEN tool call under the default policy of a tenant, allowed",
        _ask,
        [{"policyEvaluate": {"policyDecision": {"decision": "ALLOW"}, "userErrors": []}}],
        (0, 1),
    ),
)

_M1, _ = WRITES
RIVALS: Final = (
    Write(
        "M1, plain",
        PlainWrites.what,
        lambda _tokens, tenant, agent: plain_lane(_TRANSITION, tenant, agent),
        _M1.answers,
        (0, 0),
        PlainWrites.name,
    ),
    Write(
        "M1, PostGraphile",
        PostgraphileWrites.what,
        postgraphile_lane,
        POSTGRAPHILE_ANSWERS,
        (0, 0),
        PostgraphileWrites.name,
    ),
)
"""M1 by the others."""

Cell = tuple[str, int, int]
"""Write, tenants, connections."""

_WARM_SECONDS: Final = 0.5
_ALONE_SECONDS: Final = MISSED_PRESENCES * PRESENCE_SECONDS
"""For so long a gateway that has just started rings for others, who may be there; later only if they are."""


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each cell is measured.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long, each time.")] = 3.0,
    connections: Annotated[str, typer.Option(help="Numbers from 1 to 64, separated by commas.")] = "1,16,64",
    name: Annotated[str, typer.Option(help="Name of the files in bench/results.")] = "writes",
    rivals: Annotated[bool, typer.Option(help="Whether the others take part as well.")] = True,
) -> None:
    """Measure M1 and P1 over one tenant and over eight, and write bench/results/NAME.md and NAME.json."""
    try:
        counts = sorted({int(part) for part in connections.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1 or counts[-1] > 64:
        raise typer.BadParameter("Numbers from 1 to 64, separated by commas.", param_hint="--connections")
    began, load_before = report.now(), os.getloadavg()[0]
    gateway = WritingGateway()
    writes = [*WRITES, *(rival for rival in RIVALS if rivals)]
    with ExitStack() as stack:
        fleet = stack.enter_context(open_empty_fleet())
        load = stack.enter_context(load_generator())
        entered: Sequence[Contender] = [gateway, *(contenders() if rivals else ())]
        tokens = gateway.tokens(fleet)
        tenants: Sequence[Tenant] = []
        cells: dict[Cell, list[Measurement]] = {}
        for number in range(rounds):
            with ExitStack() as running:
                servers = {one.name: running.enter_context(one.running(fleet)) for one in entered}
                alone = time.monotonic() + _ALONE_SECONDS
                tenants = tenants or populate(fleet, servers[gateway.name], tokens)
                bodies = {write.name: _check(write, fleet, servers[write.by], tokens, tenants) for write in writes}
                asked = _Round(fleet, load, tokens, tenants, servers, bodies)
                order = list(product(counts, (1, len(tenants)), rotated(writes, number)))
                for count, spread, write in order:
                    asked.measure(write, spread, count, _WARM_SECONDS)
                time.sleep(max(0.0, alone - time.monotonic()))
                for count, spread, write in order:
                    console.print(f"{write.name}, {spread} tenants, {count} connections", style="dim")
                    one = asked.measure(write, spread, count, seconds)
                    cells.setdefault((write.name, spread, count), []).append(one)
        page = {
            **report.circumstances(began, load_before),
            "postgres": fleet.postgres_version,
            "rounds": rounds,
            "seconds": seconds,
            "pool": POOL,
        }
    figures = [{"cell": cell, "rounds": [asdict(one) for one in found]} for cell, found in cells.items()]
    for path in report.save(name, markdown(page, cells), {**page, "cells": figures}):
        console.print(f"Written: {path}")


def _check(
    write: Write, fleet: Fleet, server: Server, tokens: LocalTokens, tenants: Sequence[Tenant]
) -> Sequence[bytes]:
    """The bodies that answer a lane. Raises ContenderFailed where one is not as it has to be, or left no journal."""
    found: Sequence[bytes] = []
    wake_all(fleet)
    for tenant in tenants:
        before = journal_rows(fleet)
        found = [server.ask(request) for request in write.lane(tokens, tenant, 0)]
        for body, expected in zip(found, write.answers, strict=True):
            answer = orjson.loads(body)
            if answer.get("errors") or answer.get("data") != expected:
                raise ContenderFailed(f"{write.name}: {expected} was expected, {answer} was answered.")
        _check_journals(write, before, journal_rows(fleet), len(found))
    return found


def _check_journals(write: Write, before: tuple[int, int], after: tuple[int, int], times: int) -> None:
    left = tuple(b - a for a, b in zip(before, after, strict=True))
    for number, least in zip(left, write.journals, strict=True):
        if number % times or number < least * times:
            raise ContenderFailed(f"{write.name}: {times} of them left {left} change records and op events.")


def _job(
    write: Write,
    server: Server,
    tokens: LocalTokens,
    tenants: Sequence[Tenant],
    connections: int,
    seconds: float,
    bodies: Sequence[bytes],
) -> Job:
    """Connections are dealt to the tenants in turn, and each has an agent to itself."""
    lanes = [
        write.lane(tokens, tenants[number % len(tenants)], number // len(tenants)) for number in range(connections)
    ]
    requests = tuple(request.raw(server.port) for lane in lanes for request in lane)
    return Job("127.0.0.1", server.port, connections, seconds, requests, tuple(bodies) * connections, len(bodies))


@dataclass(frozen=True)
class _Round:
    """The servers of a round, and what they are asked."""

    fleet: Fleet
    load: LoadGenerator
    tokens: LocalTokens
    tenants: Sequence[Tenant]
    servers: Mapping[str, Server]
    bodies: Mapping[str, Sequence[bytes]]
    """Write -> what is answered to a lane of it."""

    def measure(self, write: Write, spread: int, connections: int, seconds: float) -> Measurement:
        """One cell. Raises ContenderFailed where an answer was wrong, or the journals do not fit them."""
        server, fleet = self.servers[write.by], self.fleet
        tenants = self.tenants[:spread]
        job = _job(write, server, self.tokens, tenants, connections, seconds, self.bodies[write.name])
        wake_all(fleet)
        before = journal_rows(fleet)
        one = run(server, job, fleet, self.load)
        if one.failure is not None:
            raise ContenderFailed(f"{write.name} at {connections}: {one.failures} wrong: {one.failure}")
        _check_journals(write, before, journal_rows(fleet), one.requests)
        return one


def markdown(page: Mapping[str, Any], cells: Mapping[Cell, Sequence[Measurement]]) -> str:
    """The page of results."""
    spreads = [
        (max(values) - min(values)) / median(found, lambda one: one.per_second)
        for found in cells.values()
        for values in [[one.per_second for one in found]]
    ]
    lines = [
        "# Governed writes",
        "",
        report.told(page),
        "",
        f"Medians of {page['rounds']} rounds, {page['seconds']:g} s each, the servers of each started anew; closed "
        f"loop over HTTP on loopback with keep-alive; one worker, {page['pool']} database connections, durable "
        "commits. Each connection has an agent to itself. Server, Postgres and load generator share the machine, and "
        "so do others: compare within this table. CPU is a request's, of server and Postgres together. Every answer "
        "was compared byte for byte, and after each measurement the logs had grown by exactly what the answers stand "
        "for.",
        "",
        *(f"- **{write.name}**: {write.what}" for write in (*WRITES, *RIVALS)),
        "",
        "| | Tenants | Connections | Requests/s | p50 ms | p99 ms | CPU ms | of it Postgres |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (write, tenants, connections), found in sorted(cells.items()):
        figures = [
            median(found, lambda one: one.per_second),
            median(found, lambda one: one.p50_ms),
            median(found, lambda one: one.p99_ms),
            median(found, lambda one: one.cpu_ms),
            median(found, lambda one: one.database_cpu_ms),
        ]
        shown = [f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}" for figure in figures]
        lines.append(f"| {write} | {tenants} | {connections} | {' | '.join(shown)} |")
    lines += [
        *against_others(cells),
        "",
        f"Between the rounds, requests per second of a cell varied by up to {max(spreads):.0%} (highest less lowest, "
        "over the median).",
    ]
    return "\n".join(lines) + "\n"


def against_others(cells: Mapping[Cell, Sequence[Measurement]]) -> list[str]:
    """M1 of the gateway against the others', as lines; none where they took no part."""
    lines: list[str] = []
    for rival in RIVALS:
        for (write, tenants, connections), theirs in sorted(cells.items()):
            ours = cells.get((_M1.name, tenants, connections))
            if write != rival.name or ours is None:
                continue
            pairs = list(zip(ours, theirs, strict=True))
            rate = statistics.median(a.per_second / b.per_second for a, b in pairs)
            cpu = statistics.median(a.cpu_ms / b.cpu_ms for a, b in pairs)
            lines.append(f"| {rival.name} | {tenants} | {connections} | {rate:.2f} | {cpu:.2f} |")
    if not lines:
        return []
    return [
        "",
        "M1 of the gateway as a multiple of the others' (requests per second: more is better; CPU: less), medians of "
        "the ratios round by round:",
        "",
        "| Against | Tenants | Connections | Requests/s | CPU |",
        "|---|--:|--:|--:|--:|",
        *lines,
    ]


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ContenderFailed, FleetUnusable, EmbeddedPostgresError) as error:
        typer.secho(str(error), fg="red", err=True)
        sys.exit(1)
